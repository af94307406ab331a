"""Who answers a request: the API server, or a proxy on the way to it."""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from khealth_exporter.cluster.credentials.proxy import Proxy
from khealth_exporter.cluster.errors import ProxyRefusedError, Refusal, judge, no_answer
from khealth_exporter.cluster.redaction import secrets_of


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one try: the server, the proxy if there is any, and what both are shown."""

    server: URL
    proxy: Proxy | None
    authorization: Mapping[str, str]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request itself, besides those of its kind; without TLS the proxy reads them."""
        return CIMultiDict([*self.authorization.items(), *(() if self._tunnel else self._to_proxy.items())])

    @property
    def connect_headers(self) -> CIMultiDict[str]:
        """The headers of CONNECT."""
        return CIMultiDict(self._to_proxy if self._tunnel else ())

    def judge(self, status: int, body: bytes, headers: Mapping[str, str]) -> Refusal:
        """Say what an answer means whose code is not what was hoped for."""
        if not self._tunnel and self.proxy:
            # A page may repeat what its writer was shown, in any form.
            return judge(status, body, headers, proxy=self._named, mute=bool(self._to_proxy), secrets=self._secrets())
        return judge(status, body, headers, secrets=self._secrets())

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
        return str(self.proxy or "")

    @property
    def _to_proxy(self) -> Mapping[str, str]:
        return self.proxy.headers if self.proxy else {}

    def _is_tls_of_server(self, error: BaseException) -> bool:
        if not isinstance(error, ssl.SSLError):
            return False
        other = getattr(error, "host", None), getattr(error, "port", None)  # aiohttp's tell with which side
        return self.proxy is None or other != (self.proxy.url.host, self.proxy.url.port)

    def _secrets(self) -> Iterator[str]:
        """Yield what neither may repeat to others; impersonated names are no secrets."""
        for shown in (self.authorization.get("Authorization"), *self._to_proxy.values()):
            yield from secrets_of(shown or "")
