"""The web server: what it serves, its limits, and its response headers."""

import time
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.connection_limit import ConnectionLimiter, Handler
from khealth_exporter.web.handlers import Backend, Handlers
from khealth_exporter.web.http_server import HttpServer, Limits
from khealth_exporter.web.page import CONTENT_SECURITY_POLICY
from khealth_exporter.web.security.access_control import MAX_BODY, AccessControl
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import PasswordVerifier

_LIMITS = Limits(connections=512, idle=75.0)
"""Idle connections: longer than usual scrape intervals."""

_RESPONSE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class WebServer:
    """Serves the metrics and status of `backend` on some addresses, protected as `web_config` says.

    `clock` is a monotonic clock in seconds, for the age of the cached status page.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        backend: Backend,
        web_config: ActiveWebConfig | None = None,
        *,
        limits: Limits = _LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requested = tuple(addresses)
        self._web_config = web_config or ActiveWebConfig()
        self._connections = limits.limiter
        self._passwords = PasswordVerifier()
        access_control = AccessControl(self._web_config, self._passwords)
        self._server = HttpServer(
            application(backend, access_control, self._connections, clock),
            self._connections,
            limits,
            headers=self._response_headers,
            tls=lambda: self._web_config.config.tls,
        )
        self.addresses: tuple[Address, ...] = ()
        """The addresses that the server listens on, with their real ports; empty before `start`."""

    async def start(self) -> None:
        """Listen on all addresses; CannotListen, and no address in use, if one of them fails."""
        drain = self._connections.drain
        self.addresses = await self._server.start(self._requested, lambda: self._web_config.reload_on_change(drain))

    def _response_headers(self) -> Mapping[str, str]:
        return _RESPONSE_HEADERS | dict(self._web_config.config.headers)

    async def stop(self) -> None:
        """Stop listening; responses in progress have two seconds to finish."""
        await self._server.stop()
        self._passwords.close()
        self.addresses = ()


def application(
    backend: Backend,
    access_control: AccessControl,
    connections: ConnectionLimiter,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """Return the web application, without sockets."""
    middlewares = [connections.track_request, access_control.check_access, plain_text_errors]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    handlers = Handlers(backend, clock)
    for path, handler in handlers.routes().items():
        app.router.add_get(path, handler)
    app.router.add_post("/-/reload", handlers.reload)
    app.router.add_post("/-/run/{module}/{routine}", handlers.run_now)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in _RESPONSE_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.update(access_control.config.headers)
        response.headers.pop("Server", None)

    app.on_response_prepare.append(add_headers)
    return app


@web.middleware
async def plain_text_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 404 and 405 in plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        routes = (route.get_info() for route in request.app.router.resources())
        paths = "\n".join(str(info.get("path") or info.get("formatter")) for info in routes)
        return web.Response(text=f"path not found; available paths:\n{paths}\n", status=404)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return web.Response(text=f"method not allowed; use {allowed}\n", status=405, headers={"Allow": allowed})
