"""What a reading of credentials gives, made from what was found in files."""

import hashlib
import os
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from yarl import URL

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError
from khealth_exporter.cluster.credentials.proxy import Proxy, proxy_for, split, user_header
from khealth_exporter.cluster.redaction import redacted


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that one reading of credentials gave.

    `material` differs where the certificates do. `token_file` is what the token in `authorization` came from;
    `expires`, in Unix seconds, is when they have to be read again. `impersonation` is the headers that name somebody
    else. `in_cluster` tells that they are a pod's own.
    """

    server: str
    tls: ssl.SSLContext | None = None
    material: bytes = b""
    namespace: str | None = None
    proxy: Proxy | None = None
    server_hostname: str | None = None
    authorization: str | None = None
    impersonation: tuple[tuple[str, str], ...] = ()
    token_file: Path | None = None
    expires: float | None = None
    in_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Where the API server is, and what to show it, as files say; certificates and the key in PEM."""

    server: str
    authority: bytes | None = None
    verified: bool = True
    """Whether the server's certificate must be valid."""
    certificate: bytes | None = None
    key: bytes | None = None
    server_hostname: str | None = None
    authorization: str | None = None
    impersonation: tuple[tuple[str, str], ...] = ()
    proxy_url: str = ""
    """The cluster's own proxy; without it the environment's counts."""
    namespace: str | None = None
    token_file: Path | None = None
    expires: float | None = None
    in_cluster: bool = False


def loaded(found: Found) -> Loaded:
    """Return what was found, checked; raise CredentialsError."""
    url = server_url(found.server)
    secure = url.scheme == "https"
    server = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path.rstrip('/')}"
    URL(server)  # It raises ValueError for a host that no request can name.
    own = user_header(url)
    return Loaded(
        server=server,
        tls=_tls(found) if secure else None,
        material=_material(found) if secure else b"",
        namespace=found.namespace,
        proxy=proxy_for(url, found.proxy_url, os.environ),
        server_hostname=found.server_hostname if secure else None,
        # As in Go, what the URL itself says comes first.
        authorization=own or found.authorization,
        impersonation=found.impersonation,
        token_file=None if own else found.token_file,
        expires=found.expires,
        in_cluster=found.in_cluster,
    )


def server_url(server: str) -> SplitResult:
    """Return the parts of a server's URL, of kind http where it names none; raise CredentialsError for what is none."""
    url = split(server, "server")
    if not url.scheme or not url.netloc:
        url = split(f"http://{server}", "server")
        if url.path not in {"", "/"}:
            raise CredentialsError("server: not a URL")
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise CredentialsError("server: not the URL of a server, https://HOST:PORT")
    return url


def bearer(token: str) -> str:
    """Return the header that shows a token, however its file ends; raise CredentialsError for what is none."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise CredentialsError("the token is empty, or holds what no token can")
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    """Return the header that shows a name and a password."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _tls(found: Found) -> ssl.SSLContext:
    """Return how to talk TLS; it trusts the kubeconfig's authority alone, the machine's own where there is none."""
    if found.authority and not found.verified:
        raise CredentialsError("a certificate authority together with insecure-skip-tls-verify")
    try:
        context = ssl.create_default_context(cadata=(found.authority or b"").decode("ascii", "ignore") or None)
        # As Go does: what is trusted need not be a root, but may be an intermediate authority or the server's own
        # certificate (Python's default since 3.13), and an authority needs no key identifier (Python's until 3.12).
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])
        if not found.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if found.certificate is not None and found.key is not None:
            _show(context, found.certificate, found.key)
    except ssl.SSLError as error:
        raise CredentialsError(f"its certificates cannot be used: {error}") from error
    return context


def _show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Let TLS show a certificate. OpenSSL reads both from files: these are in memory alone, and gone at once."""
    with ExitStack() as files:
        paths: list[str] = []
        for content in (certificate, key):
            file = files.enter_context(os.fdopen(os.memfd_create("khealth"), "wb"))
            file.write(content)
            file.flush()
            paths.append(f"/proc/self/fd/{file.fileno()}")
        # Without a password OpenSSL would ask for that of an encrypted key, on the terminal.
        context.load_cert_chain(paths[0], paths[1], password="")


def _material(found: Found) -> bytes:
    """Return a digest of all certificates, which tells whether any was replaced."""
    contents = (found.verified, found.authority, found.certificate, found.key)
    return hashlib.sha256(repr(contents).encode()).digest()


@contextmanager
def told_as(where: str) -> Iterator[None]:
    """Say of what goes wrong inside where it was; a secret that stands in the place of a path is not repeated."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise CredentialsError(f"{where}: not text in UTF-8") from error
    except (CredentialsError, OSError, ValueError) as error:
        raise CredentialsError(redacted(f"{where}: {error}")) from error
