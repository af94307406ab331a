"""Serves an aiohttp application on some addresses, within limits, and starts and stops that."""

import asyncio
import resource
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.connection_limit import ConnectionLimiter
from khealth_exporter.web.listener import Acceptor, listen
from khealth_exporter.web.request_handler import ReticentRequestHandler

_MAX_LINE, _MAX_HEADER, _MAX_HEADERS = 4096, 8192, 64
_HANDSHAKE_TIMEOUT = 10.0
"""Seconds that a client has to complete the TLS handshake."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    `idle` is the number of seconds that a connection may be idle, or take to send the head of a request; `handshake`
    the number of seconds for the TLS handshake. At most `connections` are open: then a new one replaces the one that
    has been idle longest.
    """

    connections: int
    idle: float
    handshake: float = _HANDSHAKE_TIMEOUT

    @property
    def limiter(self) -> ConnectionLimiter:
        """A new limiter of connections: half of the limit of open files is for the rest of khealth."""
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = self.connections if open_files == resource.RLIM_INFINITY else max(1, open_files // 2)
        return ConnectionLimiter(min(self.connections, files))


class HttpServer:
    """Serves an application; `connections` must be what the application's `track_request` belongs to.

    `headers` returns the headers of answers that the application does not make, `tls` the TLS configuration of a new
    connection, None for none.
    """

    def __init__(
        self,
        app: web.Application,
        connections: ConnectionLimiter,
        limits: Limits,
        *,
        headers: Callable[[], Mapping[str, str]] = dict,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._connections, self._headers = connections, headers
        self._limits: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": limits.idle,
            "lingering_time": 0.0,
            "max_line_size": _MAX_LINE,
            "max_field_size": _MAX_HEADER,
            "max_headers": _MAX_HEADERS,
        }
        self._runner = web.AppRunner(app, shutdown_timeout=2.0, **self._limits)
        self._acceptor = Acceptor(connections, self._new_handler, tls, limits.handshake)
        self._sockets = ExitStack()
        self._serving = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(
        self, addresses: Sequence[Address], *beside: Callable[[], Coroutine[Any, Any, None]]
    ) -> tuple[Address, ...]:
        """Listen on all addresses, and return them with their real ports; run loops beside until the server stops.

        CannotListen, and no address in use, if one of them fails.
        """
        with ExitStack() as opened:
            sockets = [opened.enter_context(listen(address)) for address in addresses]
            self._sockets = opened.pop_all()
        await self._runner.setup()
        group = await self._serving.enter_async_context(asyncio.TaskGroup())
        self._tasks = [group.create_task(self._acceptor.accept(listening, group)) for listening in sockets]
        self._tasks += [group.create_task(loop()) for loop in beside]
        bound = zip(addresses, sockets, strict=True)
        return tuple(Address(address.host, listening.getsockname()[1]) for address, listening in bound)

    def _new_handler(self) -> RequestHandler:
        """Return the request handler of one connection."""
        assert self._runner.server  # noqa: S101 - for the type checker: `start` has set it up
        return ReticentRequestHandler(self._runner.server, self._headers, **self._limits)

    async def stop(self) -> None:
        """Stop listening; responses in progress have two seconds to finish."""
        for task in self._tasks:
            task.cancel()
        self._sockets.close()
        await self._runner.cleanup()
        self._connections.abort_all()
        await self._serving.aclose()
