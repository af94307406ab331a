"""A TCP connection that is read with the kernel's time stamps, through as many layers of TLS as it has."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from aiohappyeyeballs import start_connection

from khealth_exporter.cluster.stream.tls_layer import TlsLayer
from khealth_exporter.measure.arrival import ANCILLARY, Arrival, ArrivalClock
from khealth_exporter.measure.clock import Clock

_READ = 64 << 10
"""Bytes that are read at once: a busy watch's line is a few KiB."""

_NEXT_ADDRESS = 0.25
"""Seconds until the next of a name's addresses is tried beside the first (RFC 8305)."""


class Wire:
    """A connection; what it receives is read as soon as the event loop finds it, and stamped by the kernel."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the function has no keyword
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._layers: list[TlsLayer] = []
        self._over: asyncio.Future[None] | None = None
        """Done when nothing more is handed on to who follows."""
        self._arrivals = ArrivalClock(clock)
        self._arrivals.watch(sock)

    @classmethod
    async def connect(cls, host: str, port: int, clock: Clock) -> "Wire":
        """Connect to the first of the host's addresses that answers; raise OSError."""
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return cls(await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1), clock)

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Talk TLS from now on, inside of what is there; raise OSError, ssl.SSLError among them."""
        layer, data = TlsLayer(context, name), b""
        while True:
            try:
                complete = layer.handshake(data)
            finally:
                if told := layer.outgoing():  # An alert tells the server why, where the handshake has failed.
                    await self.send(told)
            if complete:
                break
            data, _ = await self.receive()
            if not data:
                raise ConnectionResetError("the server ended the connection in the middle of the TLS handshake")
        self._layers.append(layer)

    async def send(self, data: bytes) -> None:
        """Send these bytes; raise OSError."""
        for layer in reversed(self._layers):
            data = layer.encrypt(data)
        await self._loop.sock_sendall(self._socket, data)

    async def receive(self) -> tuple[bytes, Arrival | None]:
        """Return what has come, at least a byte; none at the end. Raise OSError."""
        received: list[tuple[bytes, Arrival]] = []

        def take(data: bytes, arrival: Arrival) -> bool:
            received.append((data, arrival))
            return True

        await self.follow(take)
        return received[0] if received else (b"", None)

    async def follow(self, take: Callable[[bytes, Arrival], bool]) -> None:
        """Hand on what comes until `take` says that it has enough, or the connection ends.

        Raise OSError where it breaks, and what `take` raises. While nobody follows, the kernel keeps what comes, with
        the time of its arrival.
        """
        if self._socket.fileno() < 0:
            raise ConnectionAbortedError("the connection is closed")
        over = self._over = self._loop.create_future()

        def readable() -> None:
            if over.done():
                return
            try:
                ended = self._read(take)
            except Exception as error:  # noqa: BLE001 - it is for who follows
                _set(over, error)
            else:
                if ended:
                    _set(over)

        self._loop.add_reader(self._socket, readable)
        try:
            await over
        finally:
            self._over = None
            if self._socket.fileno() >= 0:
                self._loop.remove_reader(self._socket)

    def _read(self, take: Callable[[bytes, Arrival], bool]) -> bool:
        """Read once, and tell whether that was the last time."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ, ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            return True
        arrival = self._arrivals.arrival(ancillary)
        for depth, layer in enumerate(self._layers):
            data = layer.decrypt(data)
            if told := layer.outgoing():
                self._answer(depth, told)
        enough = bool(data) and take(data, arrival)
        return enough or any(layer.ended for layer in self._layers)

    def _answer(self, depth: int, data: bytes) -> None:
        """Send what TLS has to say of itself, through the layers below."""
        for layer in reversed(self._layers[:depth]):
            data = layer.encrypt(data)
        if self._socket.send(data) < len(data):
            raise ConnectionAbortedError("the server does not read what TLS has to tell it")

    def close(self) -> None:
        """Close the connection at once; who follows it is told."""
        if self._over:
            _set(self._over, ConnectionAbortedError("the connection is closed"))
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()


def _set(over: asyncio.Future[None], error: Exception | None = None) -> None:
    """End a wait, unless it has ended: who is told of bytes may have closed the connection."""
    if over.done():
        return
    if error is None:
        over.set_result(None)
    else:
        over.set_exception(error)
