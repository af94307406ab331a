"""Streams on sockets of their own: the ways to a server, and everything that can go wrong on them."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Never

import pytest
import trustme
from aiohappyeyeballs import start_connection
from yarl import URL

from khealth_exporter.cluster.credentials.proxy import usable
from khealth_exporter.cluster.errors import Refused, no_answer
from khealth_exporter.cluster.stream import wire
from khealth_exporter.cluster.stream.opening import Way, ask
from khealth_exporter.cluster.stream.socket_reader import Piece
from khealth_exporter.cluster.stream.stream import Stream
from khealth_exporter.cluster.stream.tls_layer import TlsLayer
from khealth_exporter.measure.arrival import Arrival
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

PATIENCE = 60.0
"""Seconds after which a test has failed that waits for something."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Authority:
    """A certificate authority, and both sides of its TLS."""

    ca: trustme.CA = field(default_factory=trustme.CA)

    def server(self, name: str) -> ssl.SSLContext:
        """Return what a server of this name talks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """Return what trusts it."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The authority that both sides trust."""
    return Authority()


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve connections on a port, and close them all in the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        async with asyncio.timeout(PATIENCE):
            yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Says:
    """A server that notes the request's head, and then says this."""

    parts: tuple[bytes, ...]
    heads: list[str] = field(default_factory=list)
    stay: bool = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; `stay` until the other side closes it."""
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        for part in self.parts:
            writer.write(part)
            await writer.drain()
        if self.stay:
            await reader.read()


@dataclass
class Proxy:
    """A proxy that leads every CONNECT to one port."""

    port: int
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    heads: list[str] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.answer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        finally:
            far_writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.write_eof() if writer.can_write_eof() else writer.close()


async def told(way: Way) -> bytes:
    """Return all that a stream tells."""
    stream = Stream(await ask(way, {"Accept": "application/json"}, Clock()), "watch pods")
    try:
        return await stream.read_all()
    finally:
        stream.close()


def answer(*lines: bytes) -> tuple[bytes, ...]:
    """Return a chunked answer, in the pieces that it is sent in."""
    return (CHUNKED, *(b"%x\r\n%s\r\n" % (len(line), line) for line in lines), b"0\r\n\r\n")


async def test_a_request_says_what_it_must() -> None:
    """Host, with its port, and the target as it was given."""
    server = Says(answer(b"a\n", b"b\n"))
    async with serving(server) as port:
        assert b"a\nb\n" == await told(Way(URL(f"http://127.0.0.1:{port}/x?labelSelector=a%3Db"), None, ""))
    head = f"GET /x?labelSelector=a%3Db HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n"
    assert [head] == server.heads


async def test_tls_is_verified_by_the_servers_name(authority: Authority) -> None:
    """And not by the address that was connected to."""
    server = Says(answer(b"a\n"))
    async with serving(server, authority.server("kubernetes")) as port:
        url = URL(f"https://127.0.0.1:{port}/")
        assert b"a\n" == await told(Way(url, authority.client(), "kubernetes"))
        with pytest.raises(ssl.SSLCertVerificationError):
            await told(Way(url, authority.client(), "127.0.0.1"))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tunnel_leads_through_a_proxy(authority: Authority, scheme: str) -> None:
    """CONNECT, with the proxy's own credentials, which the server does not see; in TLS too, where the proxy asks it."""
    server = Says(answer(b"a\n"))
    proxied = authority.server("127.0.0.1") if scheme == "https" else None
    async with serving(server, authority.server("kubernetes")) as port:
        proxy = Proxy(port)
        async with serving(proxy, proxied) as way_in:
            proxy_url = usable(f"{scheme}://me:secret@127.0.0.1:{way_in}", "")
            way = Way(URL("https://kubernetes:6443/x"), authority.client(), "kubernetes", proxy_url)
            assert b"a\n" == await told(way)
    assert "CONNECT kubernetes:6443 HTTP/1.1" in proxy.heads[0]
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.heads[0]
    assert ["GET /x HTTP/1.1\r\nHost: kubernetes:6443\r\nAccept: application/json\r\n\r\n"] == server.heads


async def test_without_tls_the_proxy_is_asked_for_the_whole_url() -> None:
    """There is no tunnel."""
    proxy = Says(answer(b"a\n"))
    async with serving(proxy) as port:
        way = Way(URL("http://kubernetes/x?a=b"), None, "", usable(f"http://me@127.0.0.1:{port}", ""))
        assert b"a\n" == await told(way)
    assert proxy.heads[0].startswith("GET http://kubernetes/x?a=b HTTP/1.1\r\nHost: kubernetes\r\n")
    assert "Proxy-Authorization: Basic bWU6" in proxy.heads[0]


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 407 Who are you?\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nmore", b"what?\r\n\r\n", b""]
)
async def test_a_proxy_that_refuses_is_an_error(authority: Authority, said: bytes) -> None:
    """Nothing is sent to what may not be the server."""
    proxy = Says((said,))
    async with serving(proxy) as port:
        with pytest.raises(OSError, match=r"CONNECT|HTTP answer|before an answer|sends more"):
            await told(Way(URL("https://kubernetes/x"), authority.client(), "", usable(f"http://127.0.0.1:{port}", "")))


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"garbage\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",),
    ],
)
async def test_what_is_no_answer_is_an_error(parts: tuple[bytes, ...]) -> None:
    """With the words of what came."""
    async with serving(Says(parts)) as port:
        with pytest.raises(OSError, match=r"no HTTP|before an answer|Content-Length"):
            await told(Way(URL(f"http://127.0.0.1:{port}/"), None, ""))


@pytest.mark.parametrize("parts", [(b"5\r\nab",), (b"zz\r\n",), (b"2\r\nab",)])
async def test_a_stream_that_breaks_is_refused(parts: tuple[bytes, ...]) -> None:
    """A chunk that is cut is no end."""
    async with serving(Says((CHUNKED, *parts))) as port:
        with pytest.raises(Refused):
            await told(Way(URL(f"http://127.0.0.1:{port}/"), None, ""))


@pytest.mark.usefixtures("stamping")
async def test_lines_are_handed_on_as_they_arrive(authority: Authority) -> None:
    """Each with its arrival, stamped by the kernel, TLS or not."""
    arrivals: list[Piece] = []
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED)
        for line in (b"2\r\na\n\r\n", b"2\r\nb\n\r\n", b"0\r\n\r\n"):
            await go.wait()
            go.clear()
            writer.write(line)

    def take(pieces: Sequence[Piece]) -> None:
        arrivals.extend(pieces)
        go.set()

    clock = Clock()
    async with serving(serve, authority.server("kubernetes")) as port:
        opened = await ask(Way(URL(f"https://127.0.0.1:{port}/"), authority.client(), "kubernetes"), {}, clock)
        stream = Stream(opened, "watch pods")
        before = clock.now()
        go.set()
        await stream.follow(take)
        stream.close()
    assert [b"a\n", b"b\n"] == [data for data, _ in arrivals]
    assert all(arrival.stamped for _, arrival in arrivals)
    assert before - 0.001 <= arrivals[0][1].at <= arrivals[1][1].at <= clock.now()


@pytest.mark.usefixtures("stamping")
async def test_what_arrives_while_nobody_follows_keeps_its_time() -> None:
    """A stream may be left and taken up again; nothing is lost, and the kernel knows when it came."""
    sent, written = asyncio.Event(), asyncio.Event()
    clock = Clock()
    times: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED)
        await sent.wait()
        times.append(clock.now())
        writer.write(b"2\r\na\n\r\n0\r\n\r\n")
        times.append(clock.now())
        written.set()

    arrivals: list[Arrival] = []
    async with serving(serve) as port:
        stream = Stream(await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {}, clock), "watch pods")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.follow(lambda pieces: arrivals.extend(arrival for _, arrival in pieces))
        sent.set()
        await written.wait()
        await asyncio.sleep(0.1)
        await stream.follow(lambda pieces: arrivals.extend(arrival for _, arrival in pieces))
        stream.close()
    before, after = times
    assert before - 0.001 <= arrivals[0].at < after + 0.05
    assert arrivals[0].stamped


async def test_what_comes_with_the_head_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read of it, not the last one for all."""
    parts = (CHUNKED[:9], CHUNKED[9:] + b"2\r\na\n\r\n", b"0\r\n\r\n")
    come = [(part, Arrival(float(number), None, stamped=True)) for number, part in enumerate(parts, 1)]

    async def receive(_: wire.Wire) -> list[Piece]:
        return come

    async with serving(Says((), stay=True)) as port:
        monkeypatch.setattr(wire.Wire, "receive", receive)
        stream = Stream(await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {}, Clock()), "watch pods")
        seen: list[tuple[bytes, float]] = []
        await stream.follow(lambda pieces: seen.extend((data, arrival.at) for data, arrival in pieces))
        stream.close()
    assert [(b"a\n", 2.0)] == seen


async def test_closing_ends_what_is_followed() -> None:
    """Who follows is told, and does not wait any longer."""
    async with serving(Says((CHUNKED, b"2\r\na\n\r\n"), stay=True)) as port:
        stream = Stream(await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {}, Clock()), "watch pods")
        following = asyncio.ensure_future(stream.follow(lambda _: stream.close()))
        with pytest.raises(Refused, match="closed"):
            await following
        with pytest.raises(Refused, match="closed"):
            await stream.follow(lambda _: None)


async def test_what_the_taker_raises_is_raised() -> None:
    """An OSError of its own is no broken connection."""

    def take(_: Sequence[Piece]) -> None:
        raise FileNotFoundError("mine")

    async with serving(Says(answer(b"a\n"))) as port:
        stream = Stream(await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {}, Clock()), "watch pods")
        with pytest.raises(FileNotFoundError, match="mine"):
            await stream.follow(take)
        stream.close()


async def test_a_failure_is_told_though_who_followed_is_cancelled_meanwhile() -> None:
    """To who follows next: what was lost must not stay unseen."""

    def take(_: Sequence[Piece]) -> Never:
        following.cancel()
        raise FileNotFoundError("mine")

    async with serving(Says((CHUNKED, b"2\r\na\n\r\n"), stay=True)) as port:
        stream = Stream(await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {}, Clock()), "watch pods")
        following: asyncio.Future[None] = asyncio.ensure_future(stream.follow(take))
        with pytest.raises((asyncio.CancelledError, FileNotFoundError)):
            await following
        with pytest.raises(FileNotFoundError, match="mine"):
            await stream.follow(take)
        stream.close()
    async with serving(Says((CHUNKED,), stay=True)) as port:
        below = await wire.Wire.connect("127.0.0.1", port, Clock())
        below.send(b"\r\n\r\n")
        following = asyncio.ensure_future(below.follow(take))
        with pytest.raises((asyncio.CancelledError, FileNotFoundError)):
            await following
        with pytest.raises(FileNotFoundError, match="mine"):
            await below.follow(take)
        below.close()


@pytest.mark.parametrize("name", ["asyncio", "khealth"])
async def test_a_system_without_room_for_a_thread_is_no_answer(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As without room for a socket, be it to look up a name or to read: nothing is left open."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    closed: list[socket.socket] = []
    async with serving(Says(answer())) as port:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(wire, "start_connection", noting(closed))
        with pytest.raises(OSError, match="can't start new thread") as refused:
            await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {}, Clock())
        monkeypatch.undo()
    assert Reason.PROBER_STARVED is no_answer(refused.value).reason
    assert [-1] * (name == "khealth") == [sock.fileno() for sock in closed]


def noting(sockets: list[socket.socket]) -> Callable[..., Awaitable[socket.socket]]:
    """Return what connects as the product does, and notes the socket."""

    async def connected(*arguments: Any, **options: Any) -> socket.socket:
        sockets.append(await start_connection(*arguments, **options))
        return sockets[-1]

    return connected


async def test_a_certificate_error_outlives_a_server_that_has_gone(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hears no alert; a new authority is looked for all the same."""

    def broken(_: wire.Wire, _data: bytes, _layers: object) -> None:
        raise BrokenPipeError

    handshake = TlsLayer.handshake

    def failing(layer: TlsLayer, data: bytes) -> bool:
        if data:
            monkeypatch.setattr(wire.Wire, "_send", broken)
        return handshake(layer, data)

    monkeypatch.setattr(TlsLayer, "handshake", failing)
    async with serving(Says(answer()), authority.server("kubernetes")) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(Way(URL(f"https://127.0.0.1:{port}/"), ssl.create_default_context(), "kubernetes"), {}, Clock())


async def test_a_header_cannot_smuggle_another() -> None:
    """A token with a line break comes from a broken file."""
    async with serving(Says(answer())) as port:
        with pytest.raises(ValueError, match="line break"):
            await ask(Way(URL(f"http://127.0.0.1:{port}/"), None, ""), {"Authorization": "a\r\nb: c"}, Clock())
