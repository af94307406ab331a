"""The proxy on the way to the API server: the kubeconfig's, or the environment's by the rules of Go's httpproxy."""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from yarl import URL

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError

_PORTS = {"http": "80", "https": "443"}

_SPOKEN = frozenset({"http", "https"})
"""How khealth talks to a proxy; kubectl speaks SOCKS as well."""


_USER_PART = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*")
"""What a URL may hold before its host, as Go's net/url has it."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the way to the API server: its URL without user and password, and the header that shows these."""

    url: URL
    authorization: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """What it alone is shown."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def __str__(self) -> str:
        return str(self.url)


def proxy_for(server: SplitResult, proxy_url: str, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a server, if there is one; raise CredentialsError for one that khealth cannot talk to.

    `proxy_url` is the kubeconfig's own, which has no exceptions.
    """
    if proxy_url:
        return usable(proxy_url, "proxy-url")
    proxy = _environments(server, environment)
    return usable(proxy, f"{server.scheme.upper()}_PROXY") if proxy else None


def usable(proxy: str, source: str) -> Proxy:
    """Return a proxy that khealth can talk to; raise CredentialsError, which does not quote it: it holds a password."""
    url = split(proxy, source)
    if url.scheme.startswith("socks"):
        raise CredentialsError(f"{source}: a SOCKS proxy is not supported, only an HTTP proxy, http:// or https://")
    if url.scheme not in _SPOKEN or not url.hostname:
        raise CredentialsError(f"{source}: not the URL of an HTTP proxy, http://HOST:PORT or https://HOST:PORT")
    try:
        return Proxy(URL(f"{url.scheme}://{url.netloc.rpartition('@')[2]}"), user_header(url))
    except ValueError as error:  # Its host is none that DNS knows, for one.
        raise CredentialsError(f"{source}: not a URL") from error


def user_header(url: SplitResult) -> str | None:
    """Return the header that shows the user part of a URL, byte for byte as Go sends it; None if it has none."""
    if url.username is None:
        return None
    said = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password or "")
    return f"Basic {b64encode(said).decode()}"


def split(url: str, source: str) -> SplitResult:
    """Return a URL's parts; raise CredentialsError, which does not quote it: it may hold a password."""
    try:
        parts = urlsplit(url)
        valid = parts.port != 0 and not any(character.isspace() for character in url)
    except ValueError as error:  # Its port is no number, for one.
        raise CredentialsError(f"{source}: not a URL") from error
    if not valid:
        raise CredentialsError(f"{source}: not a URL")
    if not _USER_PART.fullmatch(parts.netloc.rpartition("@")[0]):
        raise CredentialsError(f"{source}: not a URL: its user or password is not percent-encoded")
    return parts


def _environments(server: SplitResult, environment: Mapping[str, str]) -> str | None:
    """Return the environment's proxy as golang.org/x/net/http/httpproxy finds it, as kubectl does."""
    proxy = _parsed(_any(environment, f"{server.scheme.upper()}_PROXY"))
    if proxy is None or _excepted(server, _any(environment, "NO_PROXY")):
        return None
    if server.scheme == "http" and environment.get("REQUEST_METHOD"):
        raise CredentialsError("HTTP_PROXY is not used where REQUEST_METHOD is set, as in a CGI program")
    return proxy


def _any(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.lower()) or ""


def _parsed(proxy: str) -> str | None:
    """Return a proxy's URL, of kind http where it names none; None for what is no URL: it has no effect."""
    if "://" in proxy:
        return proxy  # Go would take the name of the kind for a host if the rest is no URL: better an error.
    with suppress(CredentialsError):
        if split(f"http://{proxy}", "").hostname:
            return f"http://{proxy}"
    return None


def _excepted(server: SplitResult, exceptions: str) -> bool:
    """Tell whether the environment's proxy is not for this server."""
    host = _ascii((server.hostname or "").lower())
    port = str(server.port or _PORTS[server.scheme])
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(text.strip().lower(), host, port, address) for text in exceptions.split(","))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _matches(exception: str, host: str, port: str, address: _Address | None) -> bool:
    """Tell whether one entry of NO_PROXY means this server: `*`, a network, an address, or a domain; or with a port."""
    if exception == "*":
        return True
    with suppress(ValueError):
        if exception.partition("/")[2].isdecimal():
            return address is not None and address in ipaddress.ip_network(exception, strict=False)
    name, only = _split(exception)
    if not name or (only and only != port):
        return False
    if (own := _address(name)) is not None:
        return address == own
    if address is not None:
        return False
    name = _ascii(name.removeprefix("*") if name.startswith("*.") else name)
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split(text: str) -> tuple[str, str]:
    """Return the host and the port of an entry; brackets are part of an address without a port."""
    if text.startswith("[") and "]:" in text:
        host, _, port = text[1:].partition("]:")
        return host, port
    host, _, port = text.partition(":")
    return (text, "") if ":" in port else (host, port)


def _address(host: str) -> _Address | None:
    """Return the address that a host is, if any; one of IPv4 in the form of IPv6 is one of IPv4, as in Go."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
    return None


def _ascii(host: str) -> str:
    """Return a name as DNS has it."""
    with suppress(UnicodeError):
        return host if host.isascii() else ".".join(part.encode("idna").decode() for part in host.split("."))
    return host
