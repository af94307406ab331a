"""Credentials: how to reach the API server and with which identity, kept fresh while khealth runs."""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from multidict import CIMultiDict

from khealth_exporter.cluster.credentials import kubeconfig as files
from khealth_exporter.cluster.credentials import service_account
from khealth_exporter.cluster.credentials.exec_plugin import PATIENCE, CredentialsError
from khealth_exporter.cluster.credentials.loaded import Loaded, bearer
from khealth_exporter.cluster.credentials.proxy import Proxy
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.daemon_thread import in_daemon_thread

__all__ = ["Credentials", "CredentialsError", "Mode", "load_credentials", "plain_credentials"]

Mode = Literal["auto", "in-cluster", "kubeconfig"]

_TOKEN_AGE = 60.0
"""Seconds after which a token's file is read again: client-go's figure, within which the kubelet's rotation fits."""

_AHEAD = 60.0
"""Seconds before a plug-in's credentials expire in which they are renewed; half of their life if that is less."""

_AGAIN = 10.0
"""Seconds until a renewal that failed is tried again, while the old credentials still hold."""

_PATIENCE = PATIENCE + 10.0
"""Seconds until a renewal counts as failed: a plug-in's time, and some for files, whose file system may hang."""


class Credentials:
    """How to reach the API server, and with which identity; `read` returns all of it, and may block."""

    def __init__(self, read: Callable[[], Loaded], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._reading: asyncio.Future[Loaded] | None = None
        self._loaded = read()
        self._tls = self._loaded.tls
        self._adopt(self._loaded)

    @property
    def server(self) -> str:
        """https://host:port without a trailing slash, with the path that it may have."""
        return self._loaded.server

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to talk TLS, another object where the certificates have changed; None for http://."""
        return self._tls

    @property
    def namespace(self) -> str | None:
        """The context's or the service account's own namespace."""
        return self._loaded.namespace

    @property
    def in_cluster(self) -> bool:
        """Whether they are those of the pod that khealth runs in."""
        return self._loaded.in_cluster

    @property
    def proxy(self) -> Proxy | None:
        """The proxy on the way."""
        return self._loaded.proxy

    @property
    def server_hostname(self) -> str | None:
        """The name that the server's certificate must bear, if not the host's."""
        return self._loaded.server_hostname

    async def headers(self) -> Mapping[str, str]:
        """Return the headers that authenticate a request; raise CredentialsError if they expired and cannot be renewed.

        Of one name there may be several, in a MultiDict. Tokens in files are read again once a minute; a plug-in is
        asked again before what it gave expires.
        """
        if self._stale_at is not None and self._clock.utc() >= self._stale_at:
            if self._loaded.token_file:
                await self._read_token(self._loaded.token_file)
            else:
                await self._renew_ahead()
        own = [("Authorization", self._authorization)] if self._authorization else []
        return CIMultiDict([*own, *self._loaded.impersonation])

    async def renew(self) -> None:
        """Read everything again, after a 401; other callers wait for the same reading. Raise CredentialsError."""
        if self._reading is None:
            self._reading = in_daemon_thread(self._read_same_server)
            self._reading.add_done_callback(self._finish)
        try:
            async with asyncio.timeout(_PATIENCE):
                # Shielded, because another request may wait for it too, and a thread cannot be cancelled.
                await asyncio.shield(self._reading)
        except TimeoutError as error:
            raise CredentialsError(f"credentials could not be read within {_PATIENCE:g} s") from error

    def _read_same_server(self) -> Loaded:
        loaded = self._read()
        if loaded.server != self.server:
            raise CredentialsError(f"the cluster is at {loaded.server} now: khealth goes there when it is restarted")
        return loaded

    def _finish(self, reading: asyncio.Future[Loaded]) -> None:
        self._reading = None
        if not reading.cancelled() and reading.exception() is None:
            self._adopt(reading.result())

    def _adopt(self, loaded: Loaded) -> None:
        # Connections that are kept alive are those of one context: another is taken only where it differs.
        if self._loaded.material != loaded.material:
            self._tls = loaded.tls
        self._loaded = loaded
        self._authorization = loaded.authorization
        self._stale_at = self._stale(loaded)

    def _stale(self, loaded: Loaded) -> float | None:
        """Return when to look for new credentials, in Unix seconds."""
        now = self._clock.utc()
        if loaded.token_file:
            return now + _TOKEN_AGE
        if loaded.expires is None:
            return None
        left = max(loaded.expires - now, 0)
        return now + left - min(_AHEAD, left / 2)

    async def _read_token(self, file: Path) -> None:
        self._stale_at = self._clock.utc() + _TOKEN_AGE
        # The old token holds until the API server says otherwise; the file may be in the middle of its replacement.
        with suppress(OSError, ValueError, CredentialsError):
            async with asyncio.timeout(_PATIENCE):
                self._authorization = bearer(await in_daemon_thread(file.read_text))

    async def _renew_ahead(self) -> None:
        expires = self._loaded.expires or 0
        try:
            await self.renew()
        except CredentialsError:
            if self._clock.utc() >= expires:
                raise
            self._stale_at = self._clock.utc() + _AGAIN


def plain_credentials(
    server: str, *, tls: ssl.SSLContext | None = None, token: str | None = None, namespace: str | None = None
) -> Credentials:
    """Return credentials that need no reading: for a simulated cluster, and for tests."""
    authorization = bearer(token) if token else None
    loaded = Loaded(server.rstrip("/"), tls=tls, namespace=namespace, authorization=authorization)
    return Credentials(lambda: loaded, Clock())


def load_credentials(
    mode: Mode, kubeconfig: Path | None, context: str | None, clock: Clock | None = None
) -> Credentials:
    """Find credentials and read them, which may run a plug-in and take up to its timeout; raise CredentialsError.

    `auto` takes a kubeconfig where one is named, by `kubeconfig`, `context` or $KUBECONFIG; else the service account
    of the pod that it runs in; else ~/.kube/config.
    """
    # A path of the command line is one file, whatever is in its name; the variable is a list, as PATH is.
    listed = (
        [kubeconfig] if kubeconfig else [Path(path) for path in os.environ.get("KUBECONFIG", "").split(":") if path]
    )
    named = bool(listed or context)
    if mode == "in-cluster" or (mode == "auto" and not named and service_account.in_pod()):
        return Credentials(service_account.from_service_account, clock or Clock())
    home = _home_kubeconfig()
    if mode == "auto" and not named and not home.exists():
        raise CredentialsError(
            "no credentials: neither --kubeconfig nor $KUBECONFIG is set; this is no pod, as $KUBERNETES_SERVICE_HOST"
            f" or {service_account.SERVICE_ACCOUNT}/token is missing; and {home} does not exist"
        )
    paths = tuple(dict.fromkeys(listed)) or (home,)
    # The context stays the same for good: who switches kubectl to another cluster does not mean khealth.
    clock = clock or Clock()
    chosen = context or files.current_context(paths)
    return Credentials(partial(files.from_kubeconfig, paths, chosen, clock.utc), clock)


def _home_kubeconfig() -> Path:
    # Not Path.home(), which raises for a user that the machine does not know, as in many containers.
    return Path(os.path.expanduser("~/.kube/config"))  # noqa: PTH111
