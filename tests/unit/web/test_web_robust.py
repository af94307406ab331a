"""Slow, silent, greedy, and hostile clients do not delay scrapes."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from prometheus_client import Gauge
from serving import HOST, PATIENCE, TLS, Keys, Known, Talk, keys, served, talk, talk_without_end
from sockets import has_ipv6
from structlog.testing import capture_logs

from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.security import access_control
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.server import WebServer

READY = (200, "ready\n")
HOSTS = [HOST, *(["::1"] if has_ipv6() else [])]
SECURED = [False, True]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Return a folder with certificates, and a configuration with TLS."""
    made = keys(tmp_path_factory.mktemp("keys"))
    made.write(f"{TLS}}}")
    return made


def path_of(issued: Keys, *, tls: bool) -> Path | None:
    """Return the configuration, or None without TLS."""
    return issued.folder / "web.yaml" if tls else None


def context_of(issued: Keys, *, tls: bool) -> ssl.SSLContext | None:
    """Return the client's TLS context, or None without TLS."""
    return issued.client() if tls else None


async def many(stack: AsyncExitStack, server: WebServer, number: int, context: ssl.SSLContext | None) -> list[Talk]:
    """Open many connections, and leave them."""
    return [await stack.enter_async_context(talk(server, context)) for _ in range(number)]


@pytest.fixture
async def crowd() -> AsyncIterator[AsyncExitStack]:
    """Yield a stack that holds connections until the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize("hello", [b"", b"\x16\x03", b"nonsense\r\n\r\n"], ids=["silent", "half", "nonsense"])
async def test_a_stalled_handshake_is_disconnected(issued: Keys, hello: bytes) -> None:
    """After the handshake timeout, and without an error in the log."""
    with capture_logs() as logged:
        async with served(path_of(issued, tls=True), handshake=0.05) as (server, _), talk(server) as client:
            client.writer.write(hello)
            assert await client.ended()
    assert [] == [entry for entry in logged if entry["log_level"] not in {"debug", "info"}]


async def test_a_handshake_byte_by_byte_is_disconnected(issued: Keys) -> None:
    """The timeout is for the whole handshake."""
    hello = ssl.MemoryBIO()
    shy = issued.client().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        shy.do_handshake()
    content = hello.read()
    async with served(path_of(issued, tls=True), handshake=0.05) as (server, _), talk(server) as client:
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(client.ended())
            for number in range(len(content) - 1):
                if ended.done():
                    break
                client.writer.write(content[number : number + 1])
                await asyncio.sleep(0.005)
        assert ended.result()


@pytest.mark.parametrize("tls", SECURED)
async def test_two_hundred_idle_connections_delay_no_scrape(issued: Keys, crowd: AsyncExitStack, *, tls: bool) -> None:
    """Each has sent one request before."""
    context = context_of(issued, tls=tls)
    async with served(path_of(issued, tls=tls)) as (server, _):
        idle = await many(crowd, server, 200, context)
        for client in idle:
            assert READY == await client.ask()
        async with talk(server, context) as scraper:
            assert 200 == (await scraper.ask("/metrics"))[0]
        assert READY == await idle[0].ask()


@pytest.mark.parametrize("tls", SECURED)
async def test_two_hundred_silent_connections_delay_no_scrape(
    issued: Keys, crowd: AsyncExitStack, *, tls: bool
) -> None:
    """Without any data, not even a TLS handshake."""
    async with served(path_of(issued, tls=tls)) as (server, _):
        await many(crowd, server, 200, None)
        async with talk(server, context_of(issued, tls=tls)) as scraper:
            assert 200 == (await scraper.ask("/metrics"))[0]


@pytest.mark.parametrize("tls", SECURED)
@pytest.mark.parametrize("shaken", SECURED)
async def test_connections_are_limited_and_a_scrape_gets_through(
    issued: Keys, crowd: AsyncExitStack, *, tls: bool, shaken: bool
) -> None:
    """A new connection is always accepted."""
    async with served(path_of(issued, tls=tls), connections=10) as (server, _):
        for _ in range(5):
            await many(crowd, server, 20, context_of(issued, tls=tls and shaken))
            async with talk(server, context_of(issued, tls=tls)) as scraper:
                assert 200 == (await scraper.ask("/metrics"))[0]
            assert len(server._connections) <= 10


async def test_the_connection_idle_longest_is_closed_for_a_new_one(crowd: AsyncExitStack) -> None:
    """Not the oldest connection."""
    async with served(connections=3) as (server, _):
        first, second, third = await many(crowd, server, 3, None)
        for client in (second, third, first):
            assert READY == await client.ask()
        async with talk(server) as fourth:
            assert READY == await fourth.ask()
            assert await second.ended()
            assert [READY, READY] == [await client.ask() for client in (first, third)]


async def test_a_busy_connection_is_not_closed_while_others_are_idle(crowd: AsyncExitStack) -> None:
    """Its response is completed."""
    known, going_on, begun = Known(), asyncio.Event(), asyncio.Event()

    async def reload() -> tuple[str, ...]:
        begun.set()
        await going_on.wait()
        return ()

    known.reload = reload  # type: ignore[method-assign]
    async with (
        served(known=known, connections=2) as (server, _),
        talk(server) as busy,
        asyncio.TaskGroup() as group,
    ):
        asked = group.create_task(busy.ask("/-/reload", "Content-Length: 0", method="POST"))
        await begun.wait()
        for client in await many(crowd, server, 5, None):
            await client.say(b"GET / HTTP/1.1\r\n")
        async with talk(server) as scraper:
            assert READY == await scraper.ask()
        going_on.set()
        assert (200, "reloaded\n") == await asked


async def test_without_idle_connections_the_longest_request_is_closed(crowd: AsyncExitStack) -> None:
    """The most recent request is the last to be closed."""
    known, going_on, begun = Known(), asyncio.Event(), asyncio.Semaphore(0)

    async def reload() -> tuple[str, ...]:
        begun.release()
        await going_on.wait()
        return ()

    known.reload = reload  # type: ignore[method-assign]
    async with served(known=known, connections=2) as (server, _), asyncio.TaskGroup() as group:
        silent, other = await many(crowd, server, 2, None)
        assert [READY, READY] == [await client.ask() for client in (silent, other)]
        await other.say(b"POST /-/reload HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.acquire()
        asked = group.create_task(silent.ask("/-/reload", "Content-Length: 0", method="POST"))
        while sum(connection.busy for connection in server._connections._open.values()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        async with talk(server) as scraper:
            assert READY == await scraper.ask()
        assert await other.ended()
        going_on.set()
        assert (200, "reloaded\n") == await asked


async def test_draining_finishes_the_current_response() -> None:
    """Idle connections close at once, busy ones after the response."""
    known, going_on, begun = Known(), asyncio.Event(), asyncio.Event()

    async def reload() -> tuple[str, ...]:
        begun.set()
        await going_on.wait()
        return ()

    known.reload = reload  # type: ignore[method-assign]
    async with served(known=known) as (server, _), talk(server) as client, asyncio.TaskGroup() as group:
        asked = group.create_task(client.ask("/-/reload", "Content-Length: 0", method="POST"))
        await begun.wait()
        server._connections.drain()
        going_on.set()
        assert ((200, "reloaded\n"), True) == (await asked, await client.ended())


@pytest.mark.parametrize("tls", SECURED)
async def test_closed_connections_are_not_kept_in_memory(issued: Keys, *, tls: bool) -> None:
    """With and without TLS."""
    context = context_of(issued, tls=tls)
    async with served(path_of(issued, tls=tls)) as (server, _):
        async with talk(server, context) as client:
            assert READY == await client.ask()
            assert 1 == len(server._connections)
        while len(server._connections):  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("tls", SECURED)
@pytest.mark.parametrize("path", ["/metrics", "/nowhere", "/-/reload"])
@pytest.mark.parametrize(
    "body",
    ["Content-Length: 1025", "Content-Length: 1099511627776", "Transfer-Encoding: chunked"],
    ids=["more", "huge", "endless"],
)
async def test_a_body_is_rejected_unread(issued: Keys, path: str, body: str, *, tls: bool) -> None:
    """The response does not wait for it, and the connection is closed."""
    known = Known()
    async with (
        served(path_of(issued, tls=tls), known) as (server, _),
        talk(server, context_of(issued, tls=tls)) as client,
    ):
        answer = await client.ask(path, body, method="POST")
        assert ((413, "request body too large: no request needs one\n"), True, 0) == (
            answer,
            await client.ended(),
            known.reloads,
        )


async def test_a_client_that_sends_an_endless_body_is_disconnected() -> None:
    """It is not read to its end."""

    async def send_for_ever(client: Talk) -> None:
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await client.say(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with served() as (server, _), talk(server) as client:
        with pytest.raises(ConnectionError):
            await send_for_ever(client)


async def test_a_small_body_is_accepted() -> None:
    """As from `curl -d ''`; the connection stays open."""
    async with served() as (server, _), talk(server) as client:
        await client.say(b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        await client.say(b"a=b")
        assert [(200, "reloaded\n"), READY] == [await client.answer(), await client.ask()]


async def test_a_missing_body_is_not_awaited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the body timeout."""
    monkeypatch.setattr(access_control, "_BODY_TIMEOUT", 0.01)
    async with served() as (server, _), talk(server) as client:
        answer = await client.ask("/-/reload", "Content-Length: 3", method="POST")
        assert ((400, "request body incomplete\n"), True) == (answer, await client.ended())


async def test_endless_headers_are_rejected() -> None:
    """They are not read to their end."""
    begin, more = b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: " + b"b" * 1000 + b"\r\n"
    async with served() as (server, _):
        answer = await asyncio.to_thread(talk_without_end, server.addresses[0].port, begin, more)
    assert b"400" == answer.split()[1]


@pytest.mark.parametrize("tls", SECURED)
async def test_a_request_byte_by_byte_is_disconnected(issued: Keys, *, tls: bool) -> None:
    """Single bytes do not extend the timeout."""
    async with (
        served(path_of(issued, tls=tls), idle=0.1) as (server, _),
        talk(server, context_of(issued, tls=tls)) as client,
        asyncio.TaskGroup() as group,
    ):
        ended = group.create_task(client.ended())
        client.writer.write(b"GET / HTTP/1.1\r\n")
        while not ended.done():
            client.writer.write(b"A")
            await asyncio.sleep(0.005)
        assert ended.result()


async def test_a_client_that_reads_nothing_delays_no_scrape() -> None:
    """It fills only its own connection."""
    known = Known()
    for number in range(200):
        Gauge(f"filling_{number}", "x" * 500, registry=known.registry)
    async with served(known=known) as (server, _), talk(server) as greedy, talk(server) as scraper:
        greedy.deafen()
        greedy.writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        for _ in range(10):
            assert 200 == (await scraper.ask("/metrics"))[0]


async def test_accepted_connections_have_a_send_timeout() -> None:
    """The kernel closes a connection after 30 seconds without acknowledgment."""
    async with served() as (server, _), talk(server) as client:
        assert READY == await client.ask()
        (connection,) = server._connections._open.values()
        assert connection.transport is not None
        accepted = connection.transport.get_extra_info("socket")
        assert 30_000 == accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, when: Callable[[], bool]) -> None:
    """Let accept fail twice, from the moment on at which `when` holds."""
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, 0

    async def failing(listening: socket.socket) -> Any:
        nonlocal failures
        if failures < 2 and (failures or when()):
            failures += 1
            raise OSError(number, os.strerror(number))
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", failing)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
async def test_a_connection_makes_room_when_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch, crowd: AsyncExitStack, number: int
) -> None:
    """The connection idle longest is closed, and one error is logged."""
    refuse(monkeypatch, number, lambda: len(server._connections) > 0)
    with capture_logs() as logged:
        async with served() as (server, _):
            (first,) = await many(crowd, server, 1, None)
            assert await first.ended()
            async with talk(server) as scraper:
                assert READY == await scraper.ask()
    assert ["connection not accepted"] == [e["event"] for e in logged if e["log_level"] == "error"]


@pytest.mark.parametrize(
    ("number", "errors"),
    [(errno.ECONNABORTED, 0), (errno.EPROTO, 1), (errno.EPERM, 1)],
    ids=["aborted", "proto", "perm"],
)
async def test_no_connection_is_closed_when_another_one_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, crowd: AsyncExitStack, number: int, errors: int
) -> None:
    """There is room: the others stay open. A client that disconnects is no error."""
    refuse(monkeypatch, number, lambda: len(server._connections) > 0)
    with capture_logs() as logged:
        async with served() as (server, _):
            (first,) = await many(crowd, server, 1, None)
            async with talk(server) as scraper:
                assert READY == await scraper.ask()
            assert READY == await first.ask()
    assert errors == len([e for e in logged if e["log_level"] == "error"])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("tls", SECURED)
async def test_ipv4_and_ipv6_are_served(issued: Keys, host: str, *, tls: bool) -> None:
    """IPv4 and IPv6, with TLS and without."""
    async with (
        served(path_of(issued, tls=tls), host=host) as (server, _),
        talk(server, context_of(issued, tls=tls), host) as client,
    ):
        assert READY == await client.ask()


async def test_several_addresses_have_the_same_protection(issued: Keys) -> None:
    """Each `--listen` has the same protection."""
    server = WebServer([Address(host, 0) for host in HOSTS * 2], Known(), ActiveWebConfig(path_of(issued, tls=True)))
    await server.start()
    try:
        async with ClientSession() as session, asyncio.timeout(PATIENCE):
            urls = [f"https://{address}/-/ready" for address in server.addresses]
            answers = [await session.get(url, ssl=issued.client()) for url in urls]
            assert ([200] * len(urls), len(urls)) == ([answer.status for answer in answers], len(set(urls)))
    finally:
        await server.stop()
