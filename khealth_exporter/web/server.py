"""The web server itself: limits and headers, and what runs while it serves."""

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from khealth_exporter.web.address import Address
from khealth_exporter.web.handlers import Pages, Sources
from khealth_exporter.web.listener import Acceptor, listen
from khealth_exporter.web.open_connections import Connections
from khealth_exporter.web.page import CONTENT_SECURITY_POLICY
from khealth_exporter.web.security.access_control import BODY, AccessControl, Handler
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import Passwords

_PATIENCE = 75.0
"""Seconds; longer than usual scrape intervals."""
_GREETING = 10.0
"""Seconds that a client has to agree on TLS."""
_CONNECTIONS = 512
_LINE, _HEADER, _HEADERS = 4096, 8192, 64

_HEADERS_OF_ALL = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class WebServer:
    """Serves what `sources` knows on some addresses, from `start` to `stop`, as `protection` allows it.

    `patience` is for how many seconds a connection may idle, or take to send a request; `greeting` for how many it may
    take to agree on TLS. More than `most` connections are never open: the idlest makes room for a new one. By
    `clock`, a monotonic clock in seconds, the status page is rendered again.
    """

    def __init__(  # noqa: PLR0913 - its bounds are named, and have defaults
        self,
        addresses: Sequence[Address],
        sources: Sources,
        protection: ActiveWebConfig | None = None,
        *,
        patience: float = _PATIENCE,
        greeting: float = _GREETING,
        most: int = _CONNECTIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = tuple(addresses)
        self._protection = protection or ActiveWebConfig()
        self._connections = Connections(min(most, _openable()))
        self._passwords = Passwords()
        self._greeting = greeting
        guard = AccessControl(self._protection, self._passwords, self._connections)
        self._bounds: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": patience,
            "lingering_time": 0.0,
            "max_line_size": _LINE,
            "max_field_size": _HEADER,
            "max_headers": _HEADERS,
        }
        self._runner = web.AppRunner(application(sources, guard, clock), shutdown_timeout=2.0, **self._bounds)
        self._sockets = ExitStack()
        self._serving = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.addresses: tuple[Address, ...] = ()
        """Where it does listen, once started."""

    async def start(self) -> None:
        """Listen; CannotListen if an address is taken, not allowed or not this machine's: then on none of them."""
        with ExitStack() as opened:
            sockets = [opened.enter_context(listen(address)) for address in self._wanted]
            self._sockets = opened.pop_all()
        await self._runner.setup()
        acceptor = Acceptor(self._connections, self._handler, lambda: self._protection.config.tls, self._greeting)
        group = await self._serving.enter_async_context(asyncio.TaskGroup())
        self._tasks = [group.create_task(acceptor.accept(listening, group)) for listening in sockets]
        self._tasks.append(group.create_task(self._protection.follow(self._connections.retire)))
        bound = zip(self._wanted, sockets, strict=True)
        self.addresses = tuple(Address(address.host, listening.getsockname()[1]) for address, listening in bound)

    def _handler(self) -> RequestHandler:
        """Return what answers the requests of one connection."""
        assert self._runner.server  # noqa: S101 - it has been set up
        return _Nameless(self._runner.server, loop=asyncio.get_running_loop(), **self._bounds)

    async def stop(self) -> None:
        """Stop listening, and end what is being answered within two seconds."""
        for task in self._tasks:
            task.cancel()
        self._sockets.close()
        await self._runner.cleanup()
        self._connections.drop_all()
        await self._serving.aclose()
        self._passwords.close()
        self.addresses = ()


class _Nameless(RequestHandler):
    """Answers requests that cannot be parsed without naming aiohttp's and Python's versions."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that has failed before the application saw it."""
        response = super().handle_error(request, status, exc, message)
        response.headers["Server"] = "khealth"
        return response


def _openable() -> int:
    """Return how many connections may be open, so that half of the files are left for the rest of khealth."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if most == resource.RLIM_INFINITY else max(1, most // 2)


def application(sources: Sources, guard: AccessControl, clock: Callable[[], float] = time.monotonic) -> web.Application:
    """Return the web application, without a socket."""
    app = web.Application(middlewares=[guard.watched, guard.passed, _plain_errors], client_max_size=BODY)
    pages = Pages(sources, clock)
    for path, handler in pages.routes().items():
        app.router.add_get(path, handler)
    app.router.add_post("/-/reload", pages.reload)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in _HEADERS_OF_ALL.items():
            response.headers.setdefault(name, value)
        response.headers.update(guard.config.headers)
        response.headers.pop("Server", None)

    app.on_response_prepare.append(add_headers)
    return app


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what is wrong with a request in plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        known = (route.get_info() for route in request.app.router.resources())
        paths = "\n".join(str(info.get("path") or info.get("formatter")) for info in known)
        return web.Response(text=f"no such path; there are:\n{paths}\n", status=404)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return web.Response(text=f"this path takes {allowed}\n", status=405, headers={"Allow": allowed})
