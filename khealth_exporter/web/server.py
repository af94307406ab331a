"""The web server: its limits, its response headers, and its start and stop."""

import asyncio
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from khealth_exporter.web.address import Address
from khealth_exporter.web.connection_limit import ConnectionLimiter
from khealth_exporter.web.handlers import Backend, Handlers
from khealth_exporter.web.listener import Acceptor, listen
from khealth_exporter.web.page import CONTENT_SECURITY_POLICY
from khealth_exporter.web.request_handler import ReticentRequestHandler
from khealth_exporter.web.security.access_control import MAX_BODY, AccessControl, Handler
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import PasswordVerifier

_IDLE_TIMEOUT = 75.0
"""Seconds; longer than usual scrape intervals."""
_HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a client has to complete the TLS handshake."""
_MAX_CONNECTIONS = 512
_MAX_LINE, _MAX_HEADER, _MAX_HEADERS = 4096, 8192, 64

_RESPONSE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class WebServer:
    """Serves the metrics and status of `backend` on some addresses, protected as `web_config` says.

    `idle_timeout` is the number of seconds that a connection may be idle, or take to send a request;
    `handshake_timeout` the number of seconds for the TLS handshake. At `max_connections` a new connection replaces the
    one that has been idle longest. `clock` is a monotonic clock in seconds, for the age of the cached status page.
    """

    def __init__(  # noqa: PLR0913 - limits with names and defaults
        self,
        addresses: Sequence[Address],
        backend: Backend,
        web_config: ActiveWebConfig | None = None,
        *,
        idle_timeout: float = _IDLE_TIMEOUT,
        handshake_timeout: float = _HANDSHAKE_TIMEOUT,
        max_connections: int = _MAX_CONNECTIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requested = tuple(addresses)
        self._web_config = web_config or ActiveWebConfig()
        self._connections = ConnectionLimiter(min(max_connections, _connection_limit()))
        self._passwords = PasswordVerifier()
        self._handshake_timeout = handshake_timeout
        access_control = AccessControl(self._web_config, self._passwords, self._connections)
        self._limits: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": idle_timeout,
            "lingering_time": 0.0,
            "max_line_size": _MAX_LINE,
            "max_field_size": _MAX_HEADER,
            "max_headers": _MAX_HEADERS,
        }
        self._runner = web.AppRunner(application(backend, access_control, clock), shutdown_timeout=2.0, **self._limits)
        self._sockets = ExitStack()
        self._serving = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.addresses: tuple[Address, ...] = ()
        """The addresses that the server listens on, with their real ports; empty before `start`."""

    async def start(self) -> None:
        """Listen on all addresses; CannotListen, and no address in use, if one of them fails."""
        with ExitStack() as opened:
            sockets = [opened.enter_context(listen(address)) for address in self._requested]
            self._sockets = opened.pop_all()
        await self._runner.setup()
        acceptor = Acceptor(
            self._connections, self._new_handler, lambda: self._web_config.config.tls, self._handshake_timeout
        )
        group = await self._serving.enter_async_context(asyncio.TaskGroup())
        self._tasks = [group.create_task(acceptor.accept(listening, group)) for listening in sockets]
        self._tasks.append(group.create_task(self._web_config.reload_on_change(self._connections.drain)))
        bound = zip(self._requested, sockets, strict=True)
        self.addresses = tuple(Address(address.host, listening.getsockname()[1]) for address, listening in bound)

    def _new_handler(self) -> RequestHandler:
        """Return the request handler of one connection."""
        assert self._runner.server  # noqa: S101 - for the type checker: `start` has set it up
        return ReticentRequestHandler(self._runner.server, self._response_headers, **self._limits)

    def _response_headers(self) -> Mapping[str, str]:
        return _RESPONSE_HEADERS | dict(self._web_config.config.headers)

    async def stop(self) -> None:
        """Stop listening; responses in progress have two seconds to finish."""
        for task in self._tasks:
            task.cancel()
        self._sockets.close()
        await self._runner.cleanup()
        self._connections.abort_all()
        await self._serving.aclose()
        self._passwords.close()
        self.addresses = ()


def _connection_limit() -> int:
    """Return how many connections may be open: half of the open-file limit is for the rest of khealth."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if open_files == resource.RLIM_INFINITY else max(1, open_files // 2)


def application(
    backend: Backend, access_control: AccessControl, clock: Callable[[], float] = time.monotonic
) -> web.Application:
    """Return the web application, without sockets."""
    middlewares = [access_control.track_request, access_control.check_access, _plain_text_errors]
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
async def _plain_text_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
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
