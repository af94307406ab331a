"""A TCP connection that is read with the kernel's time stamps, through as many layers of TLS as it has."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohappyeyeballs import start_connection
from msgspec.structs import replace

from khealth_exporter.cluster.stream.socket_reader import Piece, SocketReader
from khealth_exporter.cluster.stream.tls_layer import TlsLayer
from khealth_exporter.measure.clock import Clock

_NEXT_ADDRESS = 0.25
"""Seconds until the next of a name's addresses is tried beside the first (RFC 8305)."""

Receive = Callable[[Sequence[Piece]], bool]


class Wire:
    """A connection; what it receives is read as soon as it comes, and stamped by the kernel."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._layers: list[TlsLayer] = []
        self._receive: Receive | None = None
        self._over: asyncio.Future[None] | None = None
        self._ended = self._closed = False
        self._failed: Exception | None = None
        """Why nothing more can be handed on."""
        self._reader = SocketReader(sock, clock, self._tell)

    @classmethod
    async def connect(cls, host: str, port: int, clock: Clock) -> "Wire":
        """Connect to the first of the host's addresses that answers; raise OSError."""
        loop, sock = asyncio.get_running_loop(), None
        try:
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1)
            return cls(sock, clock)
        except RuntimeError as error:
            if sock:
                sock.close()
            raise OSError(errno.ENOMEM, str(error)) from error  # The system permits no more threads.

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Talk TLS from now on, inside of what is there; raise OSError, ssl.SSLError among them."""
        layer, data = TlsLayer(context, name), b""
        while True:
            try:
                complete = layer.handshake(data)
            except ssl.SSLError:
                with suppress(OSError):  # An alert tells the server why, if it still listens.
                    self.send(layer.outgoing())
                raise
            if told := layer.outgoing():
                self.send(told)
            if complete:
                break
            data = b"".join([part for part, _ in await self.receive()])
            if not data:
                raise ConnectionResetError("the server ended the connection in the middle of the TLS handshake")
        self._layers.append(layer)

    def send(self, data: bytes) -> None:
        """Send these bytes, which are few; raise OSError."""
        self._send(data, self._layers)

    def _send(self, data: bytes, layers: list[TlsLayer]) -> None:
        for layer in reversed(layers):
            data = layer.encrypt(data)
        # The kernel takes 16 KiB at least, and nothing else is on its way.
        if self._socket.send(data, socket.MSG_DONTWAIT) < len(data):
            raise ConnectionAbortedError("the server does not read what it is sent")

    async def receive(self) -> list[Piece]:
        """Return what has come, at least a byte; nothing at the end. Raise OSError."""
        received: list[Piece] = []

        def take(pieces: Sequence[Piece]) -> bool:
            received.extend(pieces)
            return True

        await self.follow(take)
        return received

    async def follow(self, receive: Receive, patience: float = 0.0) -> None:
        """Hand on what comes until `receive` says that it has enough, or the connection ends.

        Raise OSError where it breaks, and what `receive` raises. What comes within `patience` seconds is handed on
        together; while nobody follows, it is kept. It always has the time of its arrival.
        """
        over = self._over = self._loop.create_future()
        self._receive, self._reader.patience = receive, patience
        self.flush()
        try:
            await over
        finally:
            self._over = None

    def _tell(self) -> None:
        """Wake the event loop, from the reader's thread."""
        with suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(self.flush)

    def flush(self) -> None:
        """Hand on at once what has come, to who follows."""
        over, receive, self._receive = self._over, self._receive, None
        if over is None or receive is None or over.done():
            return  # What is received may lead to another call: it waits for its turn.
        try:
            ended = self._hand_on(receive)
        except Exception as error:  # noqa: BLE001 - it is for who follows
            self._failed = error  # Who follows may be cancelled in this turn; it is told to who follows next.
            _set(over, error)
            return
        self._receive = receive
        if ended:
            _set(over)

    def _hand_on(self, receive: Receive) -> bool:
        """Hand on what has come, and tell whether that is all."""
        if self._failed:
            raise self._failed
        pieces: list[Piece] = []
        try:
            for data, arrival in self._reader.take():
                self._ended = self._ended or not data
                if told := self._decrypted(data):
                    more = any(layer.partial for layer in self._layers)
                    pieces.append((told, replace(arrival, more=True) if more else arrival))
        finally:
            enough = bool(pieces) and receive(pieces)
        if self._closed:
            raise ConnectionAbortedError("the connection is closed")
        if self._reader.failed and not enough:
            raise self._reader.failed
        return enough or self._ended or any(layer.ended for layer in self._layers)

    def _decrypted(self, data: bytes) -> bytes:
        for depth, layer in enumerate(self._layers):
            data = layer.decrypt(data) if data else data
            if told := layer.outgoing():
                self._send(told, self._layers[:depth])
        return data

    def close(self) -> None:
        """Close the connection at once; who follows it is told."""
        self._closed = True
        if self._over:
            _set(self._over, ConnectionAbortedError("the connection is closed"))
        self._reader.close()


def _set(over: asyncio.Future[None], error: Exception | None = None) -> None:
    """End a wait, unless it has ended: who is told of bytes may have closed the connection."""
    if over.done():
        return
    if error is None:
        over.set_result(None)
    else:
        over.set_exception(error)
