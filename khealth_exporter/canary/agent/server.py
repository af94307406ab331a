"""The agent's sockets: one thread that answers at once what is short, and hands tasks to others."""

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Callable

from khealth_exporter.canary.agent import echo, http
from khealth_exporter.canary.agent.stamps import family, receive, stamp

_MOST_CONNECTIONS = 64
_MOST_BUFFERED = 1 << 20
"""Bytes of unfinished requests, all together."""
_CHUNK = 16_384
_BACKLOG = 128
_TAKEN = 100
"""How many free ports of TCP to try that UDP has no more."""
_REQUEST_SECONDS = 10.0
_DRAIN_SECONDS = 1.0
"""How long a refused client may go on sending; an end before that would destroy the answer on its way."""

Check = Callable[[http.Head], int]
"""Returns how many bytes of body a request has; raises http.Refused."""
Reply = Callable[[http.Head, bytes, "Exchange"], bytes | None]
"""Returns the answer, or None if it has taken the connection; raises http.Refused."""


class Exchange:
    """A connection, and what has come of its one request; `at` is the monotonic time of the last arrival."""

    __slots__ = ("at", "draining", "head", "raw", "sock", "until")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.raw = bytearray()
        self.head: http.Head | None = None
        self.until = time.monotonic() + _REQUEST_SECONDS
        self.at = 0.0
        self.draining = False


def bound(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return sockets for TCP and UDP at the same port, any that is free for both if it is 0; raise OSError."""
    left = _TAKEN if port == 0 else 0
    while True:
        try:
            return _pair(address, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise
            left -= 1


def _pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(socket.socket(family(address), socket.SOCK_STREAM))
        datagrams = stack.enter_context(socket.socket(family(address), socket.SOCK_DGRAM))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.bind((address, port))
        datagrams.bind((address, stream.getsockname()[1]))
        stack.pop_all()
        return stream, datagrams


class Server:
    """Listens for TCP and UDP at the same address and port; raises OSError."""

    def __init__(self, address: str, port: int, check: Check, reply: Reply) -> None:
        self._check = check
        self._reply = reply
        self._exchanges: dict[Exchange, None] = {}
        self._selector = selectors.DefaultSelector()
        self._listening, self._datagrams = bound(address, port)
        self.port: int = self._listening.getsockname()[1]
        """The port, also where 0 was asked for."""
        for sock in (self._listening, self._datagrams):
            stamp(sock)  # A connection inherits it.
            sock.settimeout(0)
            self._selector.register(sock, selectors.EVENT_READ)
        self._listening.listen(_BACKLOG)

    def serve(self) -> None:
        """Answer without an end."""
        while True:
            self._turn()

    def _turn(self) -> None:
        """Wait for one thing to happen, and see to it. Nothing wakes an idle agent."""
        timeout = None
        if self._exchanges:
            timeout = max(0.0, min(exchange.until for exchange in self._exchanges) - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._datagrams:
                echo.send_back(self._datagrams)
            elif key.fileobj is self._listening:
                self._accept()
            elif key.data in self._exchanges:
                self._read(key.data)
        now = time.monotonic()
        for exchange in [exchange for exchange in self._exchanges if exchange.until <= now]:
            self._end(exchange)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._listening.accept()
            sock.settimeout(0)
            exchange = Exchange(sock)
            self._exchanges[exchange] = None
            self._selector.register(sock, selectors.EVENT_READ, exchange)
            self._make_room()

    def _make_room(self) -> None:
        """End the oldest connections, so that a client that holds many keeps no other out."""
        while (
            len(self._exchanges) > _MOST_CONNECTIONS
            or sum(len(exchange.raw) for exchange in self._exchanges) > _MOST_BUFFERED
        ):
            self._end(next(iter(self._exchanges)))

    def _read(self, exchange: Exchange) -> None:
        try:
            came = receive(exchange.sock, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._end(exchange)
            return
        if not came.data:
            self._end(exchange)
        elif not exchange.draining:
            exchange.raw += came.data
            exchange.at = came.at
            self._answer(exchange)
            self._make_room()

    def _answer(self, exchange: Exchange) -> None:
        """Answer a request that is complete, or wrong."""
        try:
            body = self._body(exchange)
            if body is None or exchange.head is None:
                return
            answer = self._reply(exchange.head, body, exchange)
        except http.Refused as refused:
            self._send(exchange, http.answer(refused.status, f"{refused}\n".encode(), "text/plain"))
            self._drain(exchange)
            return
        if answer is None:
            self._forget(exchange)
        else:
            self._send(exchange, answer)
            self._end(exchange)

    def _body(self, exchange: Exchange) -> bytes | None:
        """Return the body, or None if the request is not complete; raise http.Refused."""
        if exchange.head is None:
            end = exchange.raw.find(b"\r\n\r\n", 0, http.MOST_HEAD)
            if end < 0:
                if len(exchange.raw) >= http.MOST_HEAD:
                    raise http.Refused(431, f"the head has more than {http.MOST_HEAD} bytes")
                return None
            head = http.head(bytes(exchange.raw[:end]))
            head.length = self._check(head)
            exchange.head = head
            del exchange.raw[: end + 4]
        if len(exchange.raw) < exchange.head.length:
            return None
        return bytes(exchange.raw[: exchange.head.length])

    def _send(self, exchange: Exchange, answer: bytes) -> None:
        """Send a short answer: a new connection has room for all of it."""
        with contextlib.suppress(OSError):
            exchange.sock.send(answer)

    def _drain(self, exchange: Exchange) -> None:
        exchange.draining = True
        exchange.raw.clear()
        exchange.until = min(exchange.until, time.monotonic() + _DRAIN_SECONDS)
        with contextlib.suppress(OSError):
            exchange.sock.shutdown(socket.SHUT_WR)

    def _end(self, exchange: Exchange) -> None:
        self._forget(exchange)
        exchange.sock.close()

    def _forget(self, exchange: Exchange) -> None:
        del self._exchanges[exchange]
        self._selector.unregister(exchange.sock)
