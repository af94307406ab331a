"""The open connections: counted, bounded, and closed in favour of new ones."""

import asyncio
from collections import OrderedDict
from typing import cast

from aiohttp.web_protocol import RequestHandler


class Connection(asyncio.Protocol):
    """Hands everything on to aiohttp's protocol of one connection, and knows what is to be known to close it."""

    def __init__(self, connections: "Connections", inner: RequestHandler) -> None:
        self._connections, self._inner = connections, inner
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[None] | None = None
        self.busy = False
        self.last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        self._inner.data_received(data)

    def eof_received(self) -> None:
        """Hand on that nothing more comes; the transport closes then."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on that the client does not take its answer."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it takes more."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.forget(self._inner)
        self._inner.connection_lost(exc)

    def drop(self) -> None:
        """Close it at once, whatever is under way."""
        if self.transport:
            self.transport.abort()
        elif self.opening:
            self.opening.cancel()


class Connections:
    """All connections, at most `most` of them, in the order in which a request last began or ended on them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: OrderedDict[RequestHandler, Connection] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, inner: RequestHandler) -> Connection:
        """Return a new connection; where there are too many, the one that has been idle for longest makes room."""
        while len(self._open) >= self._most:
            self.make_room()
        connection = self._open[inner] = Connection(self, inner)
        return connection

    def make_room(self) -> None:
        """Drop the connection that has been idle for longest, or if none is idle, busy for longest."""
        idle = (inner for inner, connection in self._open.items() if not connection.busy)
        inner = next(idle, next(iter(self._open), None))
        if inner is not None:
            self._open.pop(inner).drop()

    def forget(self, inner: RequestHandler) -> None:
        """Take note that a connection has ended."""
        self._open.pop(inner, None)

    def begin(self, inner: RequestHandler) -> None:
        """Take note that a request is being answered."""
        if connection := self._open.get(inner):
            connection.busy = True
            self._open.move_to_end(inner)

    def end(self, inner: RequestHandler) -> bool:
        """Take note that it has its answer; tell whether another may follow on the same connection."""
        connection = self._open.get(inner)
        if connection is None:
            return True
        connection.busy = False
        self._open.move_to_end(inner)
        return not connection.last

    def retire(self) -> None:
        """Close what is open: connections that are idle at once, the others after the answer that is under way."""
        for connection in list(self._open.values()):
            connection.last = True
            if connection.busy:
                continue
            if connection.transport:
                connection.transport.close()
            else:
                connection.drop()

    def drop_all(self) -> None:
        """Close everything at once."""
        while self._open:
            self.make_room()
