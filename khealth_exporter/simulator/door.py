"""The listening socket, which can be closed and opened again on the same port."""

import asyncio
import socket

from aiohttp import web

from khealth_exporter.simulator.world import World


class Door:
    """The API server's listening socket."""

    def __init__(self, world: World, handler: web.Server, reservation: socket.socket) -> None:
        """Listen on the address of `reservation`, a bound socket that keeps the port from other programs."""
        self._world = world
        self._handler = handler
        self._listener: socket.socket | None = None
        self._listening: asyncio.Server | None = None
        self.host, self.port = reservation.getsockname()[:2]

    def open(self) -> None:
        """Listen; connections are queued from now on."""
        listener = bound(self.host, self.port)
        listener.listen(socket.SOMAXCONN)
        self._listener = listener
        listener.setblocking(False)  # noqa: FBT003  # the socket module's own signature
        self._world.tasks.create_task(self._accept(listener))

    def shut(self) -> None:
        """Stop listening and drop every connection."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._handler.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _accept(self, listener: socket.socket) -> None:
        """Accept connections, unless the socket was closed in the meantime."""
        if self._listener is listener:
            self._listening = await asyncio.get_running_loop().create_server(
                self._handler, sock=listener, ssl=self._world.settings.tls
            )


def bound(host: str, port: int) -> socket.socket:
    """Return a socket with that address; port 0 takes any. Raises `OSError`."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
