"""What a reading of credentials gives, made from what was found in files."""

import hashlib
import ipaddress
import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that one reading of credentials gave.

    `material` differs where the certificates do. `token_file` is what the token in `authorization` came from;
    `expires`, in Unix seconds, is when a plug-in has to be asked again. `in_cluster` tells that they are a pod's own.
    """

    server: str
    tls: ssl.SSLContext | None = None
    material: bytes = b""
    namespace: str | None = None
    proxy: str | None = None
    server_hostname: str | None = None
    authorization: str | None = None
    token_file: Path | None = None
    expires: float | None = None
    in_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Where the API server is, and what to show it, as files and the environment say; certificates by their paths."""

    server: str
    authority: str | None = None
    verified: bool = True
    """Whether the server's certificate must be valid."""
    certificate: str | None = None
    key: str | None = None
    server_hostname: str | None = None
    authorization: str | None = None
    proxy: str | None = None
    unproxied: str = ""
    """The environment's exceptions from its proxy, separated by commas."""
    own_proxy: bool = False
    """Whether the proxy is the cluster's own, which has no exceptions."""
    namespace: str | None = None
    token_file: Path | None = None
    expires: float | None = None
    in_cluster: bool = False


def loaded(found: Found) -> Loaded:
    """Return what was found, checked; raise CredentialsError, or OSError where a certificate cannot be read."""
    server = urlsplit(found.server)
    if server.scheme not in {"http", "https"} or not server.hostname:
        raise CredentialsError(f"{found.server} is no URL of a server")
    scheme, _, token = (found.authorization or "").partition(" ")
    tls = _tls(found) if server.scheme == "https" else None
    return Loaded(
        server=found.server.rstrip("/"),
        tls=tls,
        material=_material(found) if tls else b"",
        namespace=found.namespace,
        proxy=_proxy(found, server.hostname),
        server_hostname=found.server_hostname if tls else None,
        authorization=bearer(token) if scheme.lower() == "bearer" else found.authorization,
        token_file=found.token_file,
        expires=found.expires,
        in_cluster=found.in_cluster,
    )


def bearer(token: str) -> str:
    """Return the header that shows a token, however its file ends; raise CredentialsError for what is none."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise CredentialsError("the token is empty, or holds what no token can")
    return f"Bearer {token}"


def _tls(found: Found) -> ssl.SSLContext:
    """Return how to talk TLS; it trusts the kubeconfig's authority alone, the machine's own where there is none."""
    try:
        context = ssl.create_default_context(cafile=found.authority)
        # Python 3.13 is stricter than Go: it refuses authorities without a key identifier, as many clusters have.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])
        if not found.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if found.certificate:
            # Without a password OpenSSL would ask for that of an encrypted key, on the terminal.
            context.load_cert_chain(found.certificate, found.key, password="")
    except ssl.SSLError as error:
        raise CredentialsError(f"its certificates cannot be used: {error}") from error
    return context


def _material(found: Found) -> bytes:
    """Return a digest of all certificates, which tells whether any was replaced."""
    files = (found.authority, found.certificate, found.key)
    contents = [Path(file).read_bytes() if file else b"" for file in files]
    return hashlib.sha256(repr((found.verified, contents)).encode()).digest()


def _proxy(found: Found, host: str) -> str | None:
    """Return the kubeconfig's proxy, or else the environment's where it does not except this host, as kubectl does."""
    proxy = found.proxy or None
    if proxy is None or (not found.own_proxy and _excepted(host, found.unproxied)):
        return None
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise CredentialsError(f"a proxy of kind {urlsplit(proxy).scheme or '?'}: only http and https are understood")
    return proxy


def _excepted(host: str, exceptions: str) -> bool:
    """Tell whether no environment's proxy is for this host: by name, by address, by network; never for the machine."""
    if host == "localhost" or urllib.request.proxy_bypass(host):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or any(_holds(network.strip(), address) for network in exceptions.split(","))
    return False


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    with suppress(ValueError):
        return "/" in network and address in ipaddress.ip_network(network, strict=False)
    return False


@contextmanager
def told_as(where: str, *malformed: type[Exception]) -> Iterator[None]:
    """Say of what goes wrong inside where it was; `malformed` is raised for the ways in which a file can be wrong."""
    expected: tuple[type[Exception], ...] = (CredentialsError, OSError, ValueError, *malformed)
    try:
        yield
    except expected as error:
        # A reader's own messages may quote a whole user, secrets and all.
        cause = re.sub(r"/\{.*\}", "", str(error), flags=re.DOTALL) or type(error).__name__
        raise CredentialsError(f"{where}: {cause}") from error
