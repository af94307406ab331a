"""Loads the web configuration file, in the format of Prometheus' exporter-toolkit."""

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from khealth_exporter.config.document import Document, parse
from khealth_exporter.config.problem import ConfigError, Problem, in_order
from khealth_exporter.config.schema import Found, validated
from khealth_exporter.config.value import Place, Value
from khealth_exporter.web.security.file_digests import DigestingReader, error_text
from khealth_exporter.web.security.tls_context import TlsContextBuilder
from khealth_exporter.web.security.web_config_schema import WebSettings


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`burst` requests at once, then one every `interval` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The protection of the web server.

    `tls` is None if connections are not encrypted. If `allowed_sans` is not empty, a client certificate needs one of
    these subject alternative names. `users` maps names to bcrypt hashes; without users there is no authentication.
    `warnings` are log messages about settings that have less effect than they may seem to have.
    """

    tls: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The configuration, or None and the errors in it as `problems`.

    `digests` has, by path, the digest of each file that was read.
    """

    config: WebConfig | None
    problems: tuple[Problem, ...]
    digests: Mapping[Path, str]
    authentication_off: bool = False
    """Whether the file turns authentication off explicitly: `basic_auth_users: {}`."""

    def usable(self) -> WebConfig:
        """Return the configuration; ConfigError with all errors if it is invalid."""
        if self.config is None:
            raise ConfigError(self.problems)
        return self.config


def load_web_config(path: Path) -> LoadResult:
    """Read a web configuration and all files that it names; raises nothing."""
    files = DigestingReader()
    try:
        document = parse(files.read(path), str(path))
    except OSError as error:
        problem = Problem(str(path), 0, 0, "", f"cannot be read: {error_text(error)}")
        return LoadResult(None, (problem,), files.digests)
    except ConfigError as error:
        return LoadResult(None, error.problems, files.digests)
    config, problems = _config(document, files, path.parent)
    return LoadResult(
        None if problems else config, in_order(problems), files.digests, _authentication_off(document.root)
    )


def _config(document: Document, files: DigestingReader, folder: Path) -> tuple[WebConfig | None, list[Problem]]:
    found = Found(document.file, "", _without_empty_sections(document.root))
    settings, more = validated(WebSettings, found)
    problems = [*document.problems, *more]
    if settings is None:
        return None, problems
    tls = settings.tls_server_config
    context = None
    if tls:
        builder = TlsContextBuilder(tls, found.within("tls_server_config"), files, folder)
        context = builder.build()
        problems += builder.problems
    limit = settings.rate_limit
    if limit.interval and not limit.burst:
        section = found.within("rate_limit")
        problems.append(section.problem("must be at least 1, otherwise khealth rejects every request", None, "burst"))
    return (
        WebConfig(
            context,
            frozenset(map(canonical_name, tls.client_allowed_sans)) if tls else frozenset(),
            {user: hashed.encode() for user, hashed in settings.basic_auth_users.items()},
            settings.http_server_config.headers,
            RateLimit(limit.interval, limit.burst) if limit.interval else None,
            tuple(_warnings(settings)),
        ),
        problems,
    )


def _authentication_off(root: Value | None) -> bool:
    users = root.entries.get("basic_auth_users") if root else None
    return users is not None and users.content == {}


def _without_empty_sections(root: Value | None) -> Value:
    """Return the document without empty sections: they mean the same as absent ones."""
    if root is None:
        return Value(Place(1, 1), None)
    if not isinstance(root.content, dict):
        return root
    filled = {key: value for key, value in root.content.items() if value.content is not None}
    return Value(root.place, filled, root.text)


def _warnings(settings: WebSettings) -> Iterator[str]:
    if "http2" in settings.http_server_config.model_fields_set and settings.http_server_config.http2:
        yield "http2 has no effect: khealth speaks HTTP/1.1"
    tls = settings.tls_server_config
    if tls and tls.client_auth_type == "RequestClientCert":
        yield "client_auth_type RequestClientCert requests no certificate: unverified ones are not accepted"
    if settings.basic_auth_users and not (tls and tls.model_fields_set):
        yield "basic_auth_users without tls_server_config: passwords are sent in clear text"


def canonical_name(text: str) -> str:
    """Return a certificate's name for comparison: an IP address in its canonical form, any other name unchanged."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text
