"""Who answers a request: the API server, or a proxy on the way to it."""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from khealth_exporter.cluster.errors import ProxyRefusedError, Refusal, judge, no_answer


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one try: the server, the proxy if there is any, and what both are shown."""

    server: URL
    proxy: URL | None
    authorization: Mapping[str, str]

    def judge(self, status: int, body: bytes, headers: Mapping[str, str]) -> Refusal:
        """Say what an answer means whose code is not what was hoped for."""
        return judge(status, body, headers, proxy="" if self._tunnel else self._named, secrets=self._secrets())

    def no_answer(self, error: BaseException, *, sent: bool) -> Refusal:
        """Say what it means that no answer came; `sent` tells whether the request itself had gone out.

        Until then the proxy is to blame. Without TLS it is all that khealth talks to.
        """
        if isinstance(error, aiohttp.ClientHttpProxyError):
            error = ProxyRefusedError(error.status)  # Its own words hold the proxy's URL, password and all.
        by_proxy = not (self._tunnel and (sent or self._is_tls_of_server(error)))
        return no_answer(error, proxy=self._named if by_proxy else "", secrets=self._secrets())

    @property
    def _tunnel(self) -> bool:
        return self.server.scheme == "https"

    @property
    def _named(self) -> str:
        return str(self.proxy.origin()) if self.proxy else ""

    def _is_tls_of_server(self, error: BaseException) -> bool:
        if not isinstance(error, ssl.SSLError):
            return False
        other = getattr(error, "host", None), getattr(error, "port", None)  # aiohttp's tell with which side
        return self.proxy is None or other != (self.proxy.host, self.proxy.port)

    def _secrets(self) -> Iterator[str]:
        """Yield what neither may repeat to others: what follows the scheme of a header, and the proxy's password."""
        for shown in self.authorization.values():
            yield shown.partition(" ")[2] or shown
        if self.proxy:
            yield from filter(None, (self.proxy.raw_password, self.proxy.password))
