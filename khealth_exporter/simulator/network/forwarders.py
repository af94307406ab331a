"""Forward what comes to an address of a Service, TCP and UDP, to one of its endpoints."""

import asyncio
import socket
from collections.abc import Callable, Container
from contextlib import suppress
from typing import Final, Protocol

Endpoint = tuple[str, int]
"""An address and a port."""
Choose = Callable[[str], Endpoint | None]
"""Returns the endpoint for a client's address; None if there is none, or if nothing gets through to it."""

_CHUNK: Final = 65536
_BACKLOG: Final = 100
_IDLE: Final = 5.0
"""Seconds after which the datagrams of a client are forgotten."""


class Forwarder(Protocol):
    """Listens on one port of a Service."""

    def keep(self, addresses: Container[str]) -> None:
        """Send no more datagrams to other addresses than these; connections stay."""

    def close(self) -> None:
        """Stop listening, and end what is under way."""


async def listen(protocol: str, host: str, port: int, choose: Choose) -> Forwarder:
    """Forward one port. Raises `OSError`."""
    if protocol == "UDP":
        made = _Datagrams(choose)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=(host, port))
        return made
    connections = _Connections(choose)
    connections.server = await asyncio.start_server(connections.take, host, port, backlog=_BACKLOG)
    return connections


class _Connections:
    """Forwards connections."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._open: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server | None = None

    def keep(self, addresses: Container[str]) -> None:
        pass

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
        for task in self._open:
            task.cancel()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until one of the two sides ends it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in one
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._forward(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")[0]
        endpoint = self._choose(client)
        if endpoint is None:
            while await reader.read(_CHUNK):
                pass
            return
        # As where packets are rewritten, the endpoint sees the client's own address.
        far_reader, far_writer = await asyncio.open_connection(*endpoint, local_addr=(client, 0))
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
        except* OSError:
            pass
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class _Datagrams(asyncio.DatagramProtocol):
    """Forwards datagrams; each client has an endpoint of its own as long as it sends."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._clients: dict[Endpoint, _Answers] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, client: Endpoint) -> None:
        answers = self._clients.get(client)
        if answers is None:
            endpoint = self._choose(client[0])
            if endpoint is None or self._transport is None:
                return
            answers = self._clients[client] = _Answers(client, endpoint, self._transport)
            asyncio.get_running_loop().call_later(_IDLE, self._forget, client)
        answers.send(data)

    def keep(self, addresses: Container[str]) -> None:
        for client in [client for client, answers in self._clients.items() if answers.address not in addresses]:
            self._forget(client)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for client in list(self._clients):
            self._forget(client)

    def _forget(self, client: Endpoint) -> None:
        answers = self._clients.pop(client, None)
        if answers is not None:
            answers.close()


class _Answers:
    """The socket that sends one client's datagrams to its endpoint, and returns the answers."""

    def __init__(self, client: Endpoint, endpoint: Endpoint, back: asyncio.DatagramTransport) -> None:
        self._client, self.address, self._back = client, endpoint[0], back
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003  # the socket module's own signature
        self._socket.bind((client[0], 0))
        self._socket.connect(endpoint)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def send(self, data: bytes) -> None:
        with suppress(OSError):
            self._socket.send(data)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError):
            self._back.sendto(self._socket.recv(_CHUNK), self._client)
