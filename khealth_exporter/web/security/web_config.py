"""The web configuration file, in the format of Prometheus' exporter-toolkit."""

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from khealth_exporter.config.document import Document, parse
from khealth_exporter.config.problem import ConfigError, Problem, in_order
from khealth_exporter.config.schema import Found, validated
from khealth_exporter.config.value import Place, Value
from khealth_exporter.web.security.files import Files, reason
from khealth_exporter.web.security.tls import TlsReader
from khealth_exporter.web.security.web_config_schema import WebSettings


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests at once, and then one each `interval` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the web server is protected.

    `tls` is what a handshake needs, or None where nothing is encrypted. A certificate that a client shows has to carry
    one of `client_names`, if there are any. `users` maps names to bcrypt hashes; where there are none, nobody is asked.
    `notes` are sentences that an administrator has to be told.
    """

    tls: ssl.SSLContext | None = None
    client_names: frozenset[str] = frozenset()
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: Rate | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading of the file came to: `config` is None where something is wrong, which `problems` tells then.

    `seen` has by path what stands for the content of each file that was read.
    """

    config: WebConfig | None
    problems: tuple[Problem, ...]
    seen: Mapping[Path, str]
    unguarded: bool = False
    """Whether it says in so many words that nobody needs a password: `basic_auth_users: {}`."""

    def usable(self) -> WebConfig:
        """Return the configuration; ConfigError with all that is wrong."""
        if self.config is None:
            raise ConfigError(self.problems)
        return self.config


def read_web(path: Path) -> Reading:
    """Read a web configuration and all files that it names; nothing is raised."""
    files = Files()
    try:
        document = parse(files.read(path), str(path))
    except OSError as error:
        problem = Problem(str(path), 0, 0, "", f"cannot be read: {reason(error)}")
        return Reading(None, (problem,), files.seen)
    except ConfigError as error:
        return Reading(None, error.problems, files.seen)
    config, problems = _config(document, files, path.parent)
    return Reading(None if problems else config, in_order(problems), files.seen, _unguarded(document.root))


def _config(document: Document, files: Files, folder: Path) -> tuple[WebConfig | None, list[Problem]]:
    found = Found(document.file, "", _without_empty_sections(document.root))
    settings, more = validated(WebSettings, found)
    problems = [*document.problems, *more]
    if settings is None:
        return None, problems
    tls = settings.tls_server_config
    context = None
    if tls:
        reader = TlsReader(tls, found.within("tls_server_config"), files, folder)
        context = reader.context()
        problems += reader.problems
    limit = settings.rate_limit
    if limit.interval and not limit.burst:
        section = found.within("rate_limit")
        problems.append(section.problem("must be at least 1, or no request is answered", None, "burst"))
    return (
        WebConfig(
            context,
            frozenset(map(name_of, tls.client_allowed_sans)) if tls else frozenset(),
            {user: hashed.encode() for user, hashed in settings.basic_auth_users.items()},
            settings.http_server_config.headers,
            Rate(limit.interval, limit.burst) if limit.interval else None,
            tuple(_notes(settings)),
        ),
        problems,
    )


def _unguarded(root: Value | None) -> bool:
    users = root.entries.get("basic_auth_users") if root else None
    return users is not None and users.content == {}


def _without_empty_sections(root: Value | None) -> Value:
    """Return the document without sections that have nothing in them, which means the same as leaving them out."""
    if root is None:
        return Value(Place(1, 1), None)
    if not isinstance(root.content, dict):
        return root
    filled = {key: value for key, value in root.content.items() if value.content is not None}
    return Value(root.place, filled, root.text)


def _notes(settings: WebSettings) -> Iterator[str]:
    if "http2" in settings.http_server_config.model_fields_set and settings.http_server_config.http2:
        yield "http2 has no effect: khealth speaks HTTP/1.1"
    tls = settings.tls_server_config
    if tls and tls.client_auth_type == "RequestClientCert":
        yield "client_auth_type RequestClientCert asks for no certificate: one that nobody verifies proves nothing"
    if settings.basic_auth_users and not (tls and tls.model_fields_set):
        yield "basic_auth_users without tls_server_config: passwords come in clear text"


def name_of(text: str) -> str:
    """Return a certificate's name so that it can be compared: an IP address in its one canonical form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text
