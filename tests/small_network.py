"""Parts of a network on the loopback: an agent in a thread, relays that are slow or lose, and a name server."""

import contextlib
import heapq
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_process import SECRET, Asker

from khealth_exporter.canary.agent import resolver
from khealth_exporter.canary.agent.agent import Agent
from khealth_exporter.canary.agent.server import Server, bound
from khealth_exporter.canary.agent.stamps import Arrival, Sent, receive, stamp

ADDRESS = "127.0.0.1"
PATIENCE = 60.0
"""Seconds for what happens at once, unless a thread has no CPU."""


@contextlib.contextmanager
def agent_in_a_thread(folder: Path, name: str = "agent", node: str = "node-1") -> Iterator[Asker]:
    """Serve an agent in this process."""
    secret_file = folder / "secret"
    secret_file.write_bytes(SECRET)
    answering = Agent(name, node, str(secret_file))
    server = Server(ADDRESS, 0, answering.check, answering.reply)
    with contextlib.closing(server._selector), server._listening, server._datagrams:
        with _turning(server):
            yield Asker(name, ADDRESS, server.port, secret_file)
        for exchange in server._exchanges:
            exchange.sock.close()


@contextlib.contextmanager
def _turning(server: Server) -> Iterator[None]:
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            server._turn()

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        socket.create_connection((ADDRESS, server.port)).close()
        thread.join()


class Relay:
    """Sends datagrams and streams on to an agent after `delay` seconds, and their answers too.

    Every datagram for which `loses` is true, by its number, goes no further. `delays` has what each packet that went
    on has really been held for.
    """

    def __init__(self, port: int, delay: float = 0.0, loses: Callable[[int], bool] = lambda _: False) -> None:
        self._to = (ADDRESS, port)
        self._delay = delay
        self._loses = loses
        self._came = 0
        self._due: list[tuple[float, int, float, Callable[[], object]]] = []
        self._selector = selectors.DefaultSelector()
        self._sockets = contextlib.ExitStack()
        self._ended = threading.Event()
        self.delays: list[float] = []
        self._listening, self._front = (self._kept(sock) for sock in bound(ADDRESS, 0))
        self.port: int = self._listening.getsockname()[1]
        self._listening.listen()
        self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
        self._selector.register(self._front, selectors.EVENT_READ, self._there)
        self._backs: dict[tuple[str, int], socket.socket] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        """Relay in a thread."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", (ADDRESS, self.port))
            thread.join()
            self._sockets.close()
            self._selector.close()

    def _kept(self, sock: socket.socket) -> socket.socket:
        self._sockets.enter_context(sock)
        sock.settimeout(0)
        stamp(sock)
        return sock

    def _run(self) -> None:
        while not self._ended.is_set():
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(timeout):
                with contextlib.suppress(BlockingIOError):
                    key.data()
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, came, send = heapq.heappop(self._due)
                self.delays.append(time.monotonic() - came)
                with contextlib.suppress(OSError):
                    send()

    def _later(self, came: float, send: Callable[[], object]) -> None:
        self._came += 1
        heapq.heappush(self._due, (came + self._delay, self._came, came, send))

    def _there(self) -> None:
        came = receive(self._front, 65536)
        if not came.data or self._loses(self._came):
            self._came += 1
            return
        back = self._backs.get(came.address)
        if back is None:
            back = self._backs[came.address] = self._kept(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            back.connect(self._to)
            self._selector.register(back, selectors.EVENT_READ, lambda: self._back(back, came.address))
        self._later(came.at, lambda: back.send(came.data))

    def _back(self, back: socket.socket, asker: tuple[str, int]) -> None:
        came = receive(back, 65536)
        self._later(came.at, lambda: self._front.sendto(came.data, asker))

    def _accept(self) -> None:
        near, far = self._kept(self._listening.accept()[0]), self._kept(socket.create_connection(self._to))
        for one, other in ((near, far), (far, near)):
            self._selector.register(one, selectors.EVENT_READ, lambda one=one, other=other: self._stream(one, other))

    def _stream(self, one: socket.socket, other: socket.socket) -> None:
        try:
            came = receive(one, 65536)
        except ConnectionError:
            came = None
        if came is None or not came.data:
            self._selector.unregister(one)
            return
        self._later(came.at, lambda: other.send(came.data))


class NameServer:
    """Answers each DNS query with what `answers` makes of it: messages, one for each datagram."""

    def __init__(self, answers: Callable[[bytes], list[bytes]]) -> None:
        self._answers = answers
        self.asked: list[bytes] = []
        self._listening, self._datagrams = bound(ADDRESS, 0)
        self._listening.listen()
        self.port: int = self._listening.getsockname()[1]

    @contextlib.contextmanager
    def running(self) -> Iterator["NameServer"]:
        """Answer in a thread, until the end of the block."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", (ADDRESS, self.port))
            thread.join()
            self._listening.close()
            self._datagrams.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._datagrams, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._listening:
                        self._stream()
                        continue
                    query, asker = self._datagrams.recvfrom(65536)
                    if not query:
                        return
                    self.asked.append(query)
                    for message in self._answers(query):
                        self._datagrams.sendto(message, asker)

    def _stream(self) -> None:
        stream, _ = self._listening.accept()
        with stream:
            query = stream.recv(65536)[2:]
            self.asked.append(query)
            for message in self._answers(query):
                for byte in len(message).to_bytes(2, "big") + message:
                    stream.sendall(bytes([byte]))


@contextlib.contextmanager
def name_server(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answers: Callable[[bytes], list[bytes]], more: str = ""
) -> Iterator[NameServer]:
    """Let a test answer lookups, however late it does; `more` is the rest of resolv.conf."""
    (folder / "resolv.conf").write_text(f"nameserver {ADDRESS}\n{more}")
    monkeypatch.setenv("KHEALTH_RESOLV_CONF", str(folder / "resolv.conf"))
    monkeypatch.setattr(resolver, "_TRY_SECONDS", PATIENCE)
    with NameServer(answers).running() as server:
        monkeypatch.setattr(resolver, "PORT", server.port)
        yield server


def waits(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """Let the first waits for what comes back last so long, however long they should; the others, as they should.

    So a test decides which answers come too late, and not how busy the machine is.
    """
    left, real = list(seconds), Sent.next_arrival

    async def next_arrival(sent: Sent, until: float, most: int) -> Arrival:
        return await real(sent, time.monotonic() + left.pop(0) if left else until, most)

    monkeypatch.setattr(Sent, "next_arrival", next_arrival)


def dns_answer(query: bytes, *records: bytes, code: int = 0, flags: int = 0x8080) -> bytes:
    """Return the message that answers a query with records."""
    identifier, _, _, _, _, _ = struct.unpack_from("!6H", query)
    return struct.pack("!6H", identifier, flags | code, 1, len(records), 0, 0) + query[12:] + b"".join(records)


def dns_record(kind: int, content: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    """Return a record, by default of the name that was asked for."""
    return owner + struct.pack("!2HIH", kind, 1, 5, len(content)) + content
