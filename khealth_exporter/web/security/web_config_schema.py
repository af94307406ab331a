"""The keys of the web configuration file, as in the exporter-toolkit's docs/web-configuration.md."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from khealth_exporter.vocabulary.settings import Settings, parse_duration

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]

_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_COSTS = range(4, 17)
"""A check at cost 16 takes seconds; one at cost 20 takes a minute, longer than any scrape timeout."""
_MAX_INTERVAL = 7 * 86400.0
"""Seconds."""
_HEADERS = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}


def _secret(value: object) -> str:
    # The messages of pydantic contain the value.
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - pydantic converts a ValueError
    return value


def _hash(value: object) -> str:
    match = _BCRYPT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a bcrypt hash: create one with `htpasswd -nBC 10 USER`")
    if int(match["cost"]) not in _COSTS:
        raise ValueError(f"has a bcrypt cost outside of {_COSTS[0]} to {_COSTS[-1]}: create a hash with cost 10")
    return match[0]


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("a user name cannot contain a colon (RFC 7617)")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        allowed = _HEADERS.get(name)
        if allowed is None:
            raise ValueError(f"the header {name} cannot be set; known: {', '.join(_HEADERS)}")
        if allowed and text not in allowed:
            raise ValueError(f"the header {name} must be {' or '.join(allowed)}")
        if not text.isprintable() or not text.isascii():
            raise ValueError(f"the header {name} must be one line of ASCII text")
    return value


def _interval(value: object) -> float:
    return 0.0 if value == 0 else parse_duration(value)


Secret = Annotated[str, BeforeValidator(_secret)]
BcryptHash = Annotated[str, BeforeValidator(_hash)]


class TlsSettings(Settings):
    """TLS and client certificates; paths are relative to the folder of the file."""

    cert: str = ""
    key: Secret = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: ClientAuth = "NoClientCert"
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()


class HttpSettings(Settings):
    """HTTP versions and response headers."""

    http2: bool = True
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)


class RateSettings(Settings):
    """`burst` requests at once, then one every `interval` seconds; an interval of 0 means no limit."""

    interval: Annotated[float, BeforeValidator(_interval), Field(ge=0, le=_MAX_INTERVAL)] = 0.0
    burst: int = Field(default=0, ge=0)


class WebSettings(Settings):
    """The web configuration file."""

    tls_server_config: TlsSettings | None = None
    http_server_config: HttpSettings = Field(default_factory=HttpSettings)
    basic_auth_users: dict[Annotated[str, AfterValidator(_user)], BcryptHash] = Field(default_factory=dict)
    rate_limit: RateSettings = RateSettings()
