"""Open connections: counted, limited, and closed to make room for new ones."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TrackedConnection(asyncio.Protocol):
    """Forwards all events of one connection to aiohttp's RequestHandler, and can close the connection."""

    def __init__(self, limiter: "ConnectionLimiter", handler: RequestHandler) -> None:
        self._limiter, self._handler = limiter, handler
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[None] | None = None
        """The task that performs the TLS handshake."""
        self.busy = False
        """Whether a request is in progress."""
        self.draining = False
        """Whether the connection closes after the current response."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Forward the event."""
        self.transport = cast("asyncio.Transport", transport)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Forward the event."""
        self._handler.data_received(data)

    def eof_received(self) -> None:
        """Forward the event; the transport then closes."""
        self._handler.eof_received()

    def pause_writing(self) -> None:
        """Forward the event: the client does not read its response."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Forward the event: the client reads again."""
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forward the event, and release the connection's place."""
        self._limiter.discard(self._handler)
        self._handler.connection_lost(exc)

    def abort(self) -> None:
        """Close the connection at once, even during a handshake or a response."""
        if self.transport:
            self.transport.abort()
        elif self.opening:
            self.opening.cancel()


class ConnectionLimiter:
    """At most `limit` open connections, ordered by the time at which a request last started or finished."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[RequestHandler, TrackedConnection] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, handler: RequestHandler) -> TrackedConnection:
        """Return a new connection; at the limit, the connection that has been idle longest is closed first."""
        while len(self._open) >= self._limit:
            self.evict()
        connection = self._open[handler] = TrackedConnection(self, handler)
        return connection

    def evict(self) -> None:
        """Close the connection that has been idle longest; if none is idle, the one that has been busy longest."""
        idle = (handler for handler, connection in self._open.items() if not connection.busy)
        handler = next(idle, next(iter(self._open), None))
        if handler is not None:
            self._open.pop(handler).abort()

    def discard(self, handler: RequestHandler) -> None:
        """Release the place of a closed connection."""
        self._open.pop(handler, None)

    def request_started(self, handler: RequestHandler) -> None:
        """Mark a connection as busy."""
        if connection := self._open.get(handler):
            connection.busy = True
            self._open.move_to_end(handler)

    def request_finished(self, handler: RequestHandler) -> bool:
        """Mark a connection as idle; return whether it may stay open for another request."""
        connection = self._open.get(handler)
        if connection is None:
            return True
        connection.busy = False
        self._open.move_to_end(handler)
        return not connection.draining

    @web.middleware
    async def track_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Mark the connection as busy during the request; close it afterwards if it is draining."""
        self.request_started(request.protocol)
        try:
            response = await handler(request)
        finally:
            keep_open = self.request_finished(request.protocol)
        if not keep_open:
            response.force_close()
        return response

    def drain(self) -> None:
        """Close all connections: idle ones at once, busy ones after the current response."""
        for connection in list(self._open.values()):
            connection.draining = True
            if connection.busy:
                continue
            if connection.transport:
                connection.transport.close()
            else:
                connection.abort()

    def abort_all(self) -> None:
        """Close all connections at once."""
        while self._open:
            self.evict()
