"""Requests: how they are tried, timed and counted, against small servers that misbehave on order."""

import asyncio
import base64
import gzip
import random
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiohttp import web

import khealth_exporter
from khealth_exporter.cluster.client import client as client_module
from khealth_exporter.cluster.client.client import Answer, Client
from khealth_exporter.cluster.client.request import Relayed, Tries
from khealth_exporter.cluster.client.trouble import own_trouble
from khealth_exporter.cluster.credentials.credentials import Credentials, CredentialsError, plain_credentials
from khealth_exporter.cluster.credentials.loaded import Loaded
from khealth_exporter.cluster.credentials.proxy import usable
from khealth_exporter.cluster.errors import Refused, judge, no_credentials
from khealth_exporter.cluster.stream import opening
from khealth_exporter.cluster.stream.socket_reader import Piece
from khealth_exporter.cluster.stream.stream import Stream
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

PATIENCE = 60.0
"""Seconds after which a test has failed that waits for something."""


@dataclass
class Hands:
    """A clock that a test sets."""

    seconds: float = 1000.0

    @property
    def clock(self) -> Clock:
        """The clock that has these hands."""
        return Clock(lambda: self.seconds, lambda: self.seconds)


class Counted:
    """Telemetry that remembers requests; each takes a hundred seconds of the clock that has `hands`.

    What of its deadline is left to a request is also the time that it really has: that must be more than it needs.
    """

    def __init__(self) -> None:
        self.hands = Hands()
        self.requests: list[tuple[str, str, str]] = []
        self.seconds: list[float] = []

    def request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Remember a request."""
        self.hands.seconds += 100
        self.requests.append((verb, resource, code))
        self.seconds.append(seconds)

    @property
    def codes(self) -> list[str]:
        """The codes alone."""
        return [code for _, _, code in self.requests]

    def watch_restarted(self, cause: str) -> None:
        """Take no notice."""

    def watch_lag(self, seconds: float) -> None:
        """Take no notice."""

    def watch_read_delay(self, seconds: float) -> None:
        """Take no notice."""

    def loop_busy(self, seconds: float) -> None:
        """Take no notice."""

    def swept(self, kind: str) -> None:
        """Take no notice."""

    def objects(self, kind: str, count: int) -> None:
        """Take no notice."""

    def forget_objects(self, kind: str) -> None:
        """Take no notice."""


@dataclass
class Seen:
    """One request as a server has seen it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    port: int
    """The client's, which tells connections apart."""


@dataclass
class Server:
    """A server that behaves as it is told, request after request; the last behaviour stays."""

    script: list[Behaviour]
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Behave."""
        assert request.transport is not None
        port = request.transport.get_extra_info("peername")[1]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.raw_path, headers, await request.read(), port))
        behave = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await behave(request)

    async def hang(self, _request: web.Request) -> web.StreamResponse:
        """Answer nothing until the test is over."""
        await self.released.wait()
        return web.Response()

    async def saw(self, requests: int) -> None:
        """Wait for so many requests."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < requests:  # noqa: ASYNC110 - a test's own server has no need of an event
                await asyncio.sleep(0.005)


def answering(code: int = 200, body: bytes = b'{"kind":"Status"}', **headers: str) -> Behaviour:
    """Return what answers like that, as an API server does."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, body=body, headers=named)

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection without an answer."""
    assert isinstance(request.transport, asyncio.Transport)
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """Cut the connection in the middle of the answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    return await reset(request)


@asynccontextmanager
async def serving(*script: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on a port of this machine."""
    server = Server(list(script))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"{'https' if tls else 'http'}://{host}:{port}"
    try:
        yield server
    finally:
        server.released.set()
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one try take as long as a test waits: a busy machine may do nothing for ten seconds."""
    for ask in (Client.request, Client._repeated):
        monkeypatch.setitem(ask.__kwdefaults__ or {}, "try_timeout", PATIENCE)


@pytest.fixture
def telemetry() -> Counted:
    """Return what counts."""
    return Counted()


@asynccontextmanager
async def client_of(
    server: Server | str, telemetry: Counted, *, credentials: Credentials | None = None, clock: Clock | None = None
) -> AsyncIterator[Client]:
    """Return a client of that server."""
    url = server if isinstance(server, str) else server.url
    client = Client(credentials or plain_credentials(url), clock or Clock(), telemetry, random.Random(1))
    try:
        yield client
    finally:
        await client.close()


async def get(client: Client, *, seconds: float = PATIENCE, **options: Any) -> Answer:
    """Get a pod within so many seconds."""
    deadline = client.clock.now() + seconds
    return await client.request("get", "pods", "/api/v1/pods/a", deadline=deadline, **options)


async def refused(asked: Awaitable[object]) -> Refused:
    """Return how a request is refused."""
    with pytest.raises(Refused) as caught:
        await asked
    return caught.value


@contextmanager
def closed_port() -> Iterator[str]:
    """Return the URL of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


# --- one request -----------------------------------------------------------------------------------------------------


async def test_an_answer_comes_with_its_times(telemetry: Counted) -> None:
    """Sent before answered, both within the call; the server's clock beside them."""
    async with (
        serving(answering(body=b'{"a":1}', Date="Wed, 21 Oct 2015 07:28:00 GMT")) as server,
        client_of(server, telemetry) as client,
    ):
        before = client.clock.now()
        answer = await get(client)
        after = client.clock.now()
    assert (answer.code, answer.body, answer.tries, answer.delay) == (200, b'{"a":1}', 1, 0.0)
    assert before <= answer.sent <= answer.answered <= after
    assert answer.date == 1445412480.0


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT"])
async def test_a_server_that_does_not_know_the_date_has_none(telemetry: Counted, date: str) -> None:
    """A wrong header is no error."""
    async with serving(answering(Date=date)) as server, client_of(server, telemetry) as client:
        assert (await get(client)).date is None


@pytest.mark.parametrize(
    ("verb", "method", "content"),
    [
        ("get", "GET", None),
        ("list", "GET", None),
        ("create", "POST", "application/json"),
        ("update", "PUT", "application/json"),
        ("patch", "PATCH", "application/merge-patch+json"),
        ("delete", "DELETE", "application/json"),
        ("deletecollection", "DELETE", "application/json"),
    ],
)
async def test_a_verb_becomes_a_method(telemetry: Counted, verb: str, method: str, content: str | None) -> None:
    """Kubernetes' verbs, HTTP's methods."""
    body = {"a": 1} if content else None
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        await client.request(verb, "pods", "/api/v1/pods", body=body, deadline=client.clock.now() + PATIENCE)
    seen = server.seen[0]
    assert (seen.method, seen.headers.get("content-type")) == (method, content)
    assert seen.body == (b'{"a":1}' if content else b"")
    assert telemetry.requests == [(verb, "pods", "200")]


async def test_a_request_says_who_asks(telemetry: Counted) -> None:
    """The token, and a User-Agent that begins with the version."""
    async with serving(answering()) as server:
        credentials = plain_credentials(server.url, token="secret")
        async with client_of(server, telemetry, credentials=credentials) as client:
            await get(client)
    headers = server.seen[0].headers
    assert headers["authorization"] == "Bearer secret"
    assert headers["user-agent"].startswith(f"khealth/{khealth_exporter.__version__} ")
    assert headers["accept"] == "application/json"


async def test_path_and_query_are_appended_to_the_servers_own_path(telemetry: Counted) -> None:
    """Behind Rancher every path has a prefix; selectors are encoded."""
    async with serving(answering()) as server:
        credentials = plain_credentials(f"{server.url}/k8s/clusters/x/")
        async with client_of(server, telemetry, credentials=credentials) as client:
            await get(client, query={"labelSelector": "a=b,c in (d,e)&f"})
    path, _, query = server.seen[0].target.partition("?")
    assert path == "/k8s/clusters/x/api/v1/pods/a"
    assert query == "labelSelector=a%3Db,c+in+(d,e)%26f"


async def test_bytes_are_sent_as_they_are(telemetry: Counted) -> None:
    """Who encodes for himself is not disturbed."""
    async with serving(answering(201)) as server, client_of(server, telemetry) as client:
        answer = await client.request("create", "pods", "/", body=b"{ }", deadline=client.clock.now() + PATIENCE)
    assert (answer.code, server.seen[0].body) == (201, b"{ }")


async def test_a_compressed_answer_is_unpacked(telemetry: Counted) -> None:
    """The API server compresses large lists."""
    async with (
        serving(answering(body=gzip.compress(b"large"), Content_Encoding="gzip")) as server,
        client_of(server, telemetry) as client,
    ):
        assert (await get(client)).body == b"large"


async def test_connections_are_kept_for_half_a_minute(telemetry: Counted) -> None:
    """Two requests share one; none goes out on a connection that was idle for longer."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        await get(client)
        await get(client)
        connector = client._connections._kept.connector
        assert connector is not None
        assert connector._keepalive_timeout == 30.0
    assert server.seen[0].port == server.seen[1].port


async def test_a_redirect_is_not_followed(telemetry: Counted) -> None:
    """Credentials go nowhere but to the server."""
    async with serving(answering(302, Location="/elsewhere")) as server, client_of(server, telemetry) as client:
        refusal = (await refused(get(client))).refusal
    assert (refusal.reason, refusal.code, len(server.seen)) == (Reason.API_ERROR, 302, 1)


async def test_a_proxy_is_asked_instead_of_the_server(telemetry: Counted) -> None:
    """With the whole URL, as proxies want it."""
    async with serving(answering()) as proxy:
        credentials = Credentials(lambda: Loaded("http://cluster.invalid", proxy=usable(proxy.url, "")), Clock())
        async with client_of(proxy, telemetry, credentials=credentials) as client:
            assert (await get(client)).code == 200
    assert proxy.seen[0].headers["host"] == "cluster.invalid"


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [(404, Reason.API_REJECTED), (403, Reason.API_REJECTED), (500, Reason.API_ERROR), (410, Reason.WATCH_INTERRUPTED)],
)
async def test_a_refusal_that_stays_is_raised_at_once(telemetry: Counted, code: int, reason: Reason) -> None:
    """To ask again would change nothing."""
    async with serving(answering(code)) as server, client_of(server, telemetry) as client:
        refusal = await refused(get(client))
    assert (refusal.reason, refusal.refusal.code, refusal.tries, len(server.seen)) == (reason, code, 1, 1)
    assert refusal.note.startswith(f"get pods: HTTP {code}: ")
    assert refusal.unanswered == (code >= 500)
    assert telemetry.requests == [("get", "pods", str(code))]


QUOTA = b'{"kind":"Status","message":"Operation cannot be fulfilled on resourcequotas \\"q\\": the object has been modified"}'


@pytest.mark.parametrize(
    ("trouble", "counted"),
    [
        (answering(409, QUOTA), "409"),
        (answering(429), "429"),
        (answering(502), "502"),
        (answering(503), "503"),
        (answering(504), "504"),
        (reset, "none"),
        (half, "none"),
    ],
)
async def test_what_may_pass_is_tried_again_on_a_new_connection(
    telemetry: Counted, trouble: Behaviour, counted: str
) -> None:
    """Each try is counted, and the answer tells that it was not the first."""
    async with serving(trouble, answering()) as server, client_of(server, telemetry) as client:
        answer = await get(client)
    assert (answer.code, answer.tries, telemetry.codes) == (200, 2, [counted, "200"])
    assert server.seen[0].port != server.seen[1].port


async def test_a_try_that_hangs_is_given_up_and_its_connection_closed(telemetry: Counted) -> None:
    """The next one is made elsewhere, well before the deadline."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        server.script = [server.hang, answering()]
        answer = await get(client, try_timeout=0.5)
    assert telemetry.codes == [*["none"] * (answer.tries - 1), "200"]
    assert answer.tries > 1
    assert server.seen[0].port != server.seen[1].port


async def test_only_the_last_try_is_timed(telemetry: Counted) -> None:
    """What came before is told by the number of tries."""
    async with serving(answering(503), answering()) as server, client_of(server, telemetry) as client:
        before = client.clock.now()
        answer = await get(client)
    assert answer.sent > before + client_module._FIRST_PAUSE / 2


async def test_a_connection_that_was_closed_while_idle_is_a_try_of_its_own(telemetry: Counted) -> None:
    """The HTTP client would repeat it unseen, and its time would be the API server's."""
    async with serving(answering(), reset, answering()) as server, client_of(server, telemetry) as client:
        await get(client)
        answer = await get(client)
    assert (answer.tries, telemetry.codes) == (2, ["200", "none", "200"])
    ports = [seen.port for seen in server.seen]
    assert ports[0] == ports[1] != ports[2]


async def test_after_a_failure_no_idle_connection_is_used_again(telemetry: Counted) -> None:
    """Behind a load balancer that drops packets all of them may be dead."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        both = asyncio.Barrier(2)

        async def together(_request: web.Request) -> web.StreamResponse:
            await both.wait()
            return web.Response()

        server.script = [together]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(get(client), get(client))
        server.script = [reset, answering()]
        await get(client)
        await get(client)
    before, after = {seen.port for seen in server.seen[:3]}, {seen.port for seen in server.seen[3:]}
    assert len(before) == 2
    assert not before & after


async def test_a_failure_disturbs_no_other_request(telemetry: Counted) -> None:
    """What is under way keeps its connection, and the connection ends with it."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        gate = asyncio.Event()

        async def slow(_request: web.Request) -> web.StreamResponse:
            await gate.wait()
            return web.Response()

        server.script = [slow, answering(503), answering()]
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            under_way = group.create_task(get(client))
            await server.saw(1)
            assert (await get(client)).tries == 2
            gate.set()
        assert under_way.result().tries == 1
        await get(client)
        assert len(client._connections._users) == 1
    assert server.seen[3].port == server.seen[2].port


async def test_nobody_listening_is_unreachable(telemetry: Counted, pauses: list[float]) -> None:
    """It is tried until the deadline."""
    with closed_port() as url:
        async with client_of(url, telemetry, clock=telemetry.hands.clock) as client:
            refusal = await refused(get(client, seconds=500))
    assert (refusal.reason, refusal.unanswered, refusal.tries) == (Reason.API_UNREACHABLE, True, 5)
    assert (telemetry.codes, len(pauses)) == (["none"] * 5, 4)
    assert "Connect call failed" in refusal.note


async def test_a_name_that_nobody_knows_is_unreachable(telemetry: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS is a part of the way to the API server."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with client_of("http://khealth.invalid", telemetry, clock=telemetry.hands.clock) as client:
        refusal = await refused(get(client, seconds=100))
    assert refusal.reason is Reason.API_UNREACHABLE
    assert "Name or service not known" in refusal.note


async def test_a_paused_server_is_a_time_out(telemetry: Counted) -> None:
    """The kernel still takes connections for a program that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as paused:
        url = f"http://127.0.0.1:{paused.getsockname()[1]}"
        async with client_of(url, telemetry, clock=telemetry.hands.clock) as client:
            refusal = await refused(get(client, seconds=0.3))
    assert (refusal.reason, refusal.unanswered, telemetry.codes) == (Reason.API_TIMEOUT, True, ["none"])


async def test_the_deadline_fails_with_the_last_refusals_reason(telemetry: Counted) -> None:
    """It is what stands in the way."""
    clock = telemetry.hands.clock
    async with (
        serving(answering(503), answering(429)) as server,
        client_of(server, telemetry, clock=clock) as client,
    ):
        refusal = await refused(get(client, seconds=300))
    assert (refusal.reason, refusal.tries, len(server.seen)) == (Reason.THROTTLED, 3, 3)


async def test_a_try_that_the_deadline_cuts_short_says_less_than_a_refusal(telemetry: Counted) -> None:
    """It had no fair chance to be answered; that it may have been heard is told."""
    hands = telemetry.hands

    async def late(_request: web.Request) -> web.StreamResponse:
        hands.seconds += 99.5
        return web.Response(status=503)

    async with serving(late) as server, client_of(server, telemetry, clock=hands.clock) as client:
        server.script.append(server.hang)
        refusal = await refused(get(client, seconds=200))
    assert (refusal.reason, refusal.tries, refusal.unanswered) == (Reason.API_UNREACHABLE, 2, True)


def test_a_refusal_says_more_than_credentials_that_came_too_late_for_another_try() -> None:
    """The pause before it may leave no time at all."""
    tries = Tries()
    tries.add(judge(503, b""), cut_short=True)
    last = tries.add(no_credentials(TimeoutError("the credentials took 0.0 s of 0.0 s")), cut_short=True)
    assert Reason.API_UNREACHABLE is last.reason


JUST_BEFORE: dict[str, Callable[[Client], Awaitable[object]]] = {
    "request": lambda client: get(client, seconds=0.01),
    "connect": lambda client: connected(client, 0.01),
    "stream": lambda client: opened(client, 0.01),
}
"""Each way of asking, a hundredth of a second before its deadline."""


@pytest.mark.parametrize("way", JUST_BEFORE)
async def test_a_request_just_before_its_deadline_has_more_time(
    telemetry: Counted, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """An answer that comes by then is one."""
    monkeypatch.setattr(client_module, "LEAST_TIME", PATIENCE)

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return await answering()(request)

    async with serving(slow) as server, client_of(server, telemetry, clock=telemetry.hands.clock) as client:
        await JUST_BEFORE[way](client)
    assert 1 == len(server.seen)


@pytest.mark.parametrize("way", JUST_BEFORE)
async def test_without_an_answer_a_second_after_its_deadline_the_api_server_is_silent(
    telemetry: Counted, way: str
) -> None:
    """It had that time at least."""
    began = asyncio.get_running_loop().time()
    async with serving(answering()) as server, client_of(server, telemetry, clock=telemetry.hands.clock) as client:
        server.script = [server.hang]
        assert Reason.API_TIMEOUT is (await refused(JUST_BEFORE[way](client))).reason
    assert asyncio.get_running_loop().time() - began > 0.99


async def test_a_deadline_that_has_passed_is_not_the_clusters_fault(telemetry: Counted) -> None:
    """Nothing is sent, and nothing is blamed on the API server."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        refusal = await refused(get(client, seconds=0))
    assert (refusal.reason, refusal.tries, refusal.unanswered) == (Reason.PROBER_STARVED, 0, False)
    assert server.seen == []


async def test_a_create_that_was_heard_but_not_answered_is_recognisable(telemetry: Counted) -> None:
    """The second try finds the object there: the caller knows by the name whose it is."""
    status = b'{"kind":"Status","reason":"AlreadyExists","message":"pods \\"a\\" already exists","code":409}'
    async with serving(reset, answering(409, status)) as server, client_of(server, telemetry) as client:
        deadline = client.clock.now() + PATIENCE
        refusal = await refused(client.request("create", "pods", "/api/v1/pods", body={}, deadline=deadline))
    assert (refusal.refusal.exists, refusal.unanswered, refusal.tries) == (True, True, 2)


# --- pauses ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long the client wants to wait between tries, which it does not."""
    asked: list[float] = []
    sleep = asyncio.sleep

    async def no_sleep(seconds: float) -> None:
        if seconds:  # A sleep of 0, with which aiohttp gives way, is no pause.
            asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    return asked


async def test_retry_after_is_honoured(telemetry: Counted, pauses: list[float]) -> None:
    """The server knows when it will be back."""
    script = answering(429, Retry_After="7"), answering(503, Retry_After="2"), answering()
    async with serving(*script) as server, client_of(server, telemetry) as client:
        assert (await get(client)).tries == 3
    assert pauses == [7, 2]


async def test_a_retry_after_beyond_the_deadline_ends_the_request(telemetry: Counted, pauses: list[float]) -> None:
    """There is nothing to wait for."""
    async with serving(answering(429, Retry_After="61")) as server, client_of(server, telemetry) as client:
        refusal = await refused(get(client))
    assert (refusal.reason, refusal.refusal.retry_after, len(server.seen), pauses) == (Reason.THROTTLED, 61, 1, [])


@pytest.mark.parametrize(("code", "throttled"), [(429, True), (503, False), (200, False)])
async def test_the_latest_429_is_remembered(telemetry: Counted, code: int, throttled: bool) -> None:
    """Although another try was answered."""
    async with serving(answering(code), answering()) as server, client_of(server, telemetry) as client:
        before = client.clock.now()
        await get(client)
    assert throttled is (before <= client.throttled_at <= client.clock.now())


async def test_pauses_grow_with_jitter_up_to_two_seconds(telemetry: Counted, pauses: list[float]) -> None:
    """Many probers do not come back together."""
    async with serving(*[answering(503)] * 12, answering()) as server, client_of(server, telemetry) as client:
        await get(client, seconds=600)
    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 7], strict=True):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == 12


async def test_the_last_pause_leaves_time_for_an_answer(
    telemetry: Counted, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what remains is waited, the other half is for the try."""
    for name in ("_FIRST_PAUSE", "_LONGEST_PAUSE"):
        monkeypatch.setattr(client_module, name, 100 * getattr(client_module, name))
    script = [answering(503)] * 5 + [answering()]
    async with serving(*script) as server, client_of(server, telemetry, clock=telemetry.hands.clock) as client:
        await get(client, seconds=550)
    assert pauses[-1] == pytest.approx(25)


# --- credentials -----------------------------------------------------------------------------------------------------


class Renewing:
    """Credentials of which a test says what each reading gives."""

    def __init__(self, server: str, *tokens: str | CredentialsError) -> None:
        self.tokens = list(tokens)
        self.server = server
        self.readings = 0

    def __call__(self) -> Loaded:
        self.readings += 1
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        if isinstance(token, CredentialsError):
            raise token
        return Loaded(self.server, authorization=token)


async def test_a_401_is_answered_with_new_credentials(telemetry: Counted) -> None:
    """A token may have been replaced a moment ago."""
    async with serving(answering(401), answering()) as server:
        reads = Renewing(server.url, "old", "new")
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            answer = await get(client)
    assert [seen.headers["authorization"] for seen in server.seen] == ["old", "new"]
    assert (answer.tries, telemetry.codes) == (2, ["401", "200"])


async def test_a_second_401_is_forbidden(telemetry: Counted) -> None:
    """Credentials are read again once a request, no more."""
    async with serving(answering(401)) as server:
        reads = Renewing(server.url, "old", "new")
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            refusal = await refused(get(client))
    assert (refusal.reason, refusal.tries, reads.readings) == (Reason.FORBIDDEN, 2, 2)


async def test_a_401_whose_renewal_fails_tells_why(telemetry: Counted) -> None:
    """The plug-in's words are worth more than the server's."""
    async with serving(answering(401)) as server:
        reads = Renewing(server.url, "old", CredentialsError("please log in"))
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            refusal = await refused(get(client))
    assert (refusal.reason, refusal.note) == (Reason.FORBIDDEN, "get pods: please log in")
    assert len(server.seen) == 1


class Expired(Credentials):
    """Credentials that have expired for good."""

    async def headers(self) -> dict[str, str]:
        """Refuse."""
        raise CredentialsError("please log in")


class Slow(Credentials):
    """Credentials whose plug-in takes its time."""

    async def headers(self) -> dict[str, str]:
        """Wait for longer than any test."""
        await asyncio.sleep(1000)
        return {}


async def test_credentials_that_take_nearly_all_the_time_are_no_fault_of_the_api_server(telemetry: Counted) -> None:
    """Nothing is sent whose answer could not come in time."""
    hands = telemetry.hands

    class Late(Credentials):
        async def headers(self) -> dict[str, str]:
            hands.seconds += 99.5
            return {}

    async with serving(answering()) as server:
        credentials = Late(lambda: Loaded(server.url), hands.clock)
        async with client_of(server, telemetry, credentials=credentials, clock=hands.clock) as client:
            found = [await refused(get(client, seconds=100)), await refused(opened(client, 100))]
    assert ([Reason.FORBIDDEN, Reason.FORBIDDEN], []) == ([refusal.reason for refusal in found], server.seen)


@pytest.mark.parametrize(("kind", "note"), [(Expired, "please log in"), (Slow, "no credentials in time")])
async def test_without_credentials_nothing_is_sent(telemetry: Counted, kind: type[Credentials], note: str) -> None:
    """It says nothing of the cluster, and is not counted as a request."""
    async with serving(answering()) as server:
        clock = telemetry.hands.clock
        credentials = kind(lambda: Loaded(server.url), clock)
        async with client_of(server, telemetry, credentials=credentials, clock=clock) as client:
            refusal = await refused(get(client, seconds=0.1))
    assert (refusal.reason, refusal.note, refusal.unanswered) == (Reason.FORBIDDEN, f"get pods: {note}", False)
    assert (server.seen, telemetry.requests) == ([], [])


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return a server's side, which asks for the client's certificate too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_tls(authority: trustme.CA, *, name: str | None = None) -> ssl.SSLContext:
    """Return a client's side, with a certificate if it has a name."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if name:
        authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_clients_certificate_is_shown(telemetry: Counted, authority: trustme.CA) -> None:
    """It is who asks."""
    shown: list[Any] = []

    async def look(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        shown.append(request.transport.get_extra_info("peercert"))
        return web.Response()

    async with serving(look, tls=server_tls(authority)) as server:
        credentials = plain_credentials(server.url, tls=client_tls(authority, name="khealth@example.com"))
        async with client_of(server, telemetry, credentials=credentials) as client:
            await get(client)
    assert shown[0]["subjectAltName"] == (("email", "khealth@example.com"),)


async def test_another_certificate_takes_another_connection(telemetry: Counted, authority: trustme.CA) -> None:
    """A connection of the old certificate would still be who asked before."""
    async with serving(answering(), answering(401), answering(), tls=server_tls(authority)) as server:
        contexts = iter([client_tls(authority, name=f"{name}@example.com") for name in ("old", "new")])
        materials = iter([b"old", b"new"])
        credentials = Credentials(lambda: Loaded(server.url, tls=next(contexts), material=next(materials)), Clock())
        async with client_of(server, telemetry, credentials=credentials) as client:
            await get(client)
            await get(client)
    ports = [seen.port for seen in server.seen]
    assert ports[0] == ports[1] != ports[2]


async def test_a_server_that_is_not_trusted_is_unreachable(telemetry: Counted, authority: trustme.CA) -> None:
    """After the authority has been read again once: it may have been replaced while khealth runs."""
    readings = 0

    def read() -> Loaded:
        nonlocal readings
        readings += 1
        return Loaded(server.url, tls=client_tls(trustme.CA()))

    clock = telemetry.hands.clock
    async with (
        serving(answering(), tls=server_tls(authority)) as server,
        client_of(server, telemetry, credentials=Credentials(read, clock), clock=clock) as client,
    ):
        refusal = await refused(get(client, seconds=300))
    assert (refusal.reason, refusal.tries, readings) == (Reason.API_UNREACHABLE, 3, 2)
    assert "certificate verify failed" in refusal.note
    assert "object at 0x" not in refusal.note


async def test_an_authority_that_was_replaced_is_read(telemetry: Counted, authority: trustme.CA) -> None:
    """A cluster may change its authority without khealth being restarted."""
    async with serving(answering(), tls=server_tls(authority)) as server:
        loads = iter(
            [
                Loaded(server.url, tls=client_tls(trustme.CA()), material=b"old"),
                Loaded(server.url, tls=client_tls(authority), material=b"new"),
            ]
        )
        async with client_of(server, telemetry, credentials=Credentials(lambda: next(loads), Clock())) as client:
            assert (await get(client)).tries == 2


async def test_a_server_may_bear_another_name(telemetry: Counted, authority: trustme.CA) -> None:
    """tls-server-name is what its certificate is checked for."""
    async with serving(answering(), tls=server_tls(authority, "kubernetes.default")) as server:
        loaded = Loaded(server.url, tls=client_tls(authority), server_hostname="kubernetes.default")
        async with client_of(server, telemetry, credentials=Credentials(lambda: loaded, Clock())) as client:
            assert (await get(client)).code == 200


async def test_a_request_is_sent_only_after_the_handshake(telemetry: Counted, authority: trustme.CA) -> None:
    """To connect is not what is measured."""
    clock, shaken = Clock(), list[float]()
    context = server_tls(authority, "kubernetes.default")
    context.sni_callback = lambda *_: shaken.append(clock.now())
    async with serving(answering(), tls=context) as server:
        loaded = Loaded(server.url, tls=client_tls(authority), server_hostname="kubernetes.default")
        credentials = Credentials(lambda: loaded, clock)
        async with client_of(server, telemetry, credentials=credentials, clock=clock) as client:
            answer = await get(client)
    assert len(shaken) == 1
    assert answer.sent > shaken[0]


# --- cancellation ----------------------------------------------------------------------------------------------------


async def test_a_cancelled_request_is_counted_and_its_connection_closed(telemetry: Counted) -> None:
    """Cancellation is never swallowed; the next request makes a new connection."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        server.script = [server.hang, answering()]
        task = asyncio.ensure_future(get(client))
        await server.saw(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await get(client)
    assert telemetry.codes == ["none", "200"]
    assert server.seen[0].port != server.seen[1].port


async def test_a_bound_of_the_caller_is_his_own(telemetry: Counted) -> None:
    """A timeout around a request is a TimeoutError, not a refusal, and the try is counted."""
    bounds: list[asyncio.Timeout] = []

    async def hang(request: web.Request) -> web.StreamResponse:
        bounds[0].reschedule(0.0)
        return await server.hang(request)

    async def bounded(client: Client) -> None:
        async with asyncio.timeout(PATIENCE) as bound:
            bounds.append(bound)
            await get(client)

    async with serving(hang) as server, client_of(server, telemetry) as client:
        with pytest.raises(TimeoutError):
            await bounded(client)
    assert telemetry.codes == ["none"]


# --- what is behind the API server -----------------------------------------------------------------------------------


def relayed(most: int = 100) -> Relayed:
    """Return a question to what marks its own answers by a header."""
    return Relayed(lambda _code, headers, _body: "Own" in headers, most, {"Ask": "1"}, b"{}")


async def relay(client: Client, question: Relayed, *, seconds: float = PATIENCE) -> Answer:
    """Put a question to a pod."""
    deadline = client.clock.now() + seconds
    return await client.relay("create", "pods/proxy", "/api/v1/namespaces/a/pods/b:1/proxy/c", question, deadline)


@pytest.mark.parametrize("code", [200, 401, 429, 503])
async def test_whatever_a_pod_answers_itself_is_its_answer(telemetry: Counted, code: int) -> None:
    """Its codes say nothing of the API server: neither new credentials nor another try would help."""
    async with serving(answering(code, b"told", Own="yes")) as server, client_of(server, telemetry) as client:
        answer = await relay(client, relayed())

        assert (code, b"told", "yes") == (answer.code, answer.body, answer.headers["own"])
        assert ["POST"] == [seen.method for seen in server.seen]
        assert "1" == server.seen[0].headers["ask"]


@pytest.mark.parametrize(("code", "reason"), [(403, Reason.API_REJECTED), (503, Reason.API_ERROR)])
async def test_what_the_api_server_answers_in_a_pods_place_is_a_refusal(
    telemetry: Counted, code: int, reason: Reason
) -> None:
    """It is tried once: the caller knows best whether to ask again."""
    async with serving(answering(code)) as server, client_of(server, telemetry) as client:
        failed = await refused(relay(client, relayed()))

        assert (reason, 1, code) == (failed.reason, len(server.seen), failed.refusal.code)


async def test_a_401_of_the_api_server_renews_the_credentials_of_a_relayed_question(telemetry: Counted) -> None:
    """It is told from one of the pod's."""
    script = answering(401), answering(200, b"told", Own="yes")
    async with serving(*script) as server, client_of(server, telemetry) as client:
        assert b"told" == (await relay(client, relayed())).body


async def test_an_answer_of_a_pod_that_is_too_long_is_cut_off(telemetry: Counted) -> None:
    """A pod must not fill khealth's memory."""
    async with serving(answering(200, b"x" * 101, Own="yes")) as server, client_of(server, telemetry) as client:
        assert "more than 100 bytes" in (await refused(relay(client, relayed()))).note


async def test_a_question_that_a_pod_thinks_about_may_take_until_the_deadline(telemetry: Counted) -> None:
    """A time-out of one try would cut it short; at the deadline nobody is known to be the cause."""
    async with serving(answering()) as server, client_of(server, telemetry, clock=telemetry.hands.clock) as client:
        server.script[:] = [server.hang]
        failed = await refused(relay(client, relayed(), seconds=0.3))

        assert (Reason.API_TIMEOUT, True) == (failed.reason, failed.refusal.late)


# --- streams ---------------------------------------------------------------------------------------------------------


async def read(stream: Stream) -> bytes:
    """Return what arrives next; empty at the end."""
    arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def take(pieces: Sequence[Piece]) -> None:
        arrived.set_result(b"".join(data for data, _ in pieces))
        following.cancel()

    following = asyncio.ensure_future(stream.follow(take))
    try:
        await following
    except asyncio.CancelledError:
        if not arrived.done():
            following.cancel()
            raise
    return arrived.result() if arrived.done() else b""


class Lines:
    """A stream of which a test says what it sends, and when."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.cut = False

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Send what comes; end at None."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while (chunk := await self.queue.get()) is not None:
            await response.write(chunk)
        return await reset(request) if self.cut else response


WATCH = {"watch": "1", "resourceVersion": "5"}


async def test_a_stream_gives_bytes_as_they_arrive(telemetry: Counted) -> None:
    """And nothing at the end; it is counted when its headers have come."""
    lines = Lines()
    async with (
        serving(lines) as server,
        client_of(server, telemetry) as client,
        asyncio.timeout(PATIENCE),
        client.stream("pods", "/api/v1/pods", query=WATCH, connect_timeout=PATIENCE) as stream,
    ):
        assert telemetry.requests == [("watch", "pods", "200")]
        for chunk in (b'{"type":', b'"ADDED"}\n'):
            lines.queue.put_nowait(chunk)
            assert await read(stream) == chunk
        lines.queue.put_nowait(None)
        assert await read(stream) == b""
    seen = server.seen[0]
    assert (seen.method, seen.target) == ("GET", "/api/v1/pods?watch=1&resourceVersion=5")
    assert seen.headers["accept-encoding"] == "identity"


async def test_a_stream_may_be_silent_for_longer_than_it_may_take_to_open(
    telemetry: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long silence may last is its reader's business."""
    lines, bounds, bound = Lines(), list[asyncio.Timeout](), asyncio.timeout

    def noted(seconds: float | None) -> asyncio.Timeout:
        bounds.append(bound(seconds))
        return bounds[-1]

    monkeypatch.setattr(asyncio, "timeout", noted)
    async with (
        serving(lines) as server,
        client_of(server, telemetry) as client,
        client.stream("pods", "/", query=WATCH, connect_timeout=PATIENCE) as stream,
    ):
        assert bounds
        for opening in bounds:
            with suppress(RuntimeError):  # It has been left.
                opening.reschedule(0.0)
        with pytest.raises(TimeoutError):
            async with bound(0.1):
                await read(stream)
        lines.queue.put_nowait(b"late")
        assert await read(stream) == b"late"
        lines.queue.put_nowait(None)


async def test_a_stream_has_a_connection_of_its_own(telemetry: Counted) -> None:
    """It takes none that may be dead, and leaves none to others."""
    lines = Lines()
    async with serving(answering(), lines, answering()) as server, client_of(server, telemetry) as client:
        await get(client)
        async with client.stream("pods", "/", query=WATCH, connect_timeout=PATIENCE):
            await get(client)
        lines.queue.put_nowait(None)
        await get(client)
    ports = [seen.port for seen in server.seen]
    assert ports[0] == ports[2] == ports[3] != ports[1]


async def test_a_stream_that_is_left_closes_its_connection(telemetry: Counted) -> None:
    """The server notices."""
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()
            raise

    async with serving(endless) as server, client_of(server, telemetry) as client:
        async with client.stream("pods", "/", query=WATCH, connect_timeout=PATIENCE) as stream:
            await read(stream)
        async with asyncio.timeout(PATIENCE):
            await gone.wait()


async def test_a_stream_that_breaks_is_refused(telemetry: Counted) -> None:
    """A broken connection is no end."""
    lines = Lines()
    lines.cut = True
    async with (
        serving(lines) as server,
        client_of(server, telemetry) as client,
        client.stream("pods", "/", query=WATCH, connect_timeout=PATIENCE) as stream,
    ):
        lines.queue.put_nowait(b"a")
        assert await read(stream) == b"a"
        lines.queue.put_nowait(None)
        refusal = await refused(read(stream))
    assert refusal.reason is Reason.API_UNREACHABLE


async def opened(client: Client, seconds: float = PATIENCE) -> None:
    """Open a stream, and leave it."""
    async with client.stream("pods", "/", query=WATCH, connect_timeout=seconds):
        pass


@pytest.mark.parametrize(("code", "expired"), [(410, True), (403, False), (503, False), (204, False)])
async def test_a_stream_is_refused_at_once(telemetry: Counted, *, code: int, expired: bool) -> None:
    """Who watches knows better when to try again."""
    async with serving(answering(code)) as server, client_of(server, telemetry) as client:
        refusal = await refused(opened(client))
    assert (refusal.refusal.code, refusal.refusal.expired, len(server.seen)) == (code, expired, 1)
    assert telemetry.requests == [("watch", "pods", str(code))]


async def test_a_stream_that_is_not_answered_in_time_is_refused(telemetry: Counted) -> None:
    """Its headers have a timeout, its body has none."""
    async with serving(answering()) as server, client_of(server, telemetry, clock=telemetry.hands.clock) as client:
        server.script = [server.hang]
        refusal = await refused(opened(client, 0.2))
    assert (refusal.reason, telemetry.codes) == (Reason.API_TIMEOUT, ["none"])


async def test_a_stream_that_is_being_opened_ends_with_its_client(telemetry: Counted) -> None:
    """It would be followed without end otherwise."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        asked.set()
        await answered.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(PATIENCE)
        return response

    async def follow() -> None:
        async with client.stream("pods", "/", query=WATCH, connect_timeout=PATIENCE) as stream:
            await stream.follow(lambda _: None)

    async with serving(slow) as server, client_of(server, telemetry) as client, asyncio.timeout(PATIENCE):
        following = asyncio.ensure_future(follow())
        await asked.wait()
        await client.close()
        answered.set()
        assert "closed" in (await refused(following)).note


async def test_a_stream_to_nobody_is_refused(telemetry: Counted) -> None:
    """As a request would be."""
    with closed_port() as url:
        async with client_of(url, telemetry) as client:
            refusal = await refused(opened(client))
    assert refusal.reason is Reason.API_UNREACHABLE


async def test_a_streams_401_is_answered_with_new_credentials(telemetry: Counted) -> None:
    """A watch outlives many tokens."""
    lines = Lines()
    lines.queue.put_nowait(None)
    async with serving(answering(401), lines) as server:
        reads = Renewing(server.url, "old", "new")
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            await opened(client)
    assert [seen.headers["authorization"] for seen in server.seen] == ["old", "new"]
    assert telemetry.codes == ["401", "200"]


async def test_a_streams_second_401_is_forbidden(telemetry: Counted) -> None:
    """Credentials are read again once."""
    async with serving(answering(401)) as server:
        reads = Renewing(server.url, "old", "new")
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            refusal = await refused(opened(client))
    assert (refusal.reason, reads.readings) == (Reason.FORBIDDEN, 2)


async def connected(client: Client, seconds: float = PATIENCE) -> Answer:
    """Get a path on a new connection."""
    return await client.connect("/readyz", client.clock.now() + seconds)


async def watched_at_last(client: Client, seconds: float = PATIENCE) -> None:
    """Open a stream as a routine does, which has no loop of its own around it."""
    async with client.stream("pods", "/", query=WATCH, connect_timeout=seconds, retries=True):
        pass


async def test_a_new_connections_401_is_answered_with_new_credentials(telemetry: Counted) -> None:
    """As that of any other request."""
    async with serving(answering(401), answering()) as server:
        reads = Renewing(server.url, "old", "new")
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            answer = await connected(client)
    assert (["old", "new"], 2) == ([seen.headers["authorization"] for seen in server.seen], answer.tries)


@pytest.mark.parametrize("ask", [get, connected, watched_at_last])
async def test_every_way_of_asking_says_for_whom(
    telemetry: Counted, ask: Callable[[Client], Awaitable[object]]
) -> None:
    """Impersonation names several groups in headers of one name, and users in any script."""
    wanted = (("Impersonate-User", "jürgen 例"), ("Impersonate-Group", "g"), ("Impersonate-Group", "h"))
    seen: list[tuple[str, str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.extend((name, value) for name, value in request.headers.items() if name.startswith("Impersonate"))
        return web.Response(body=b"{}")

    async with serving(note) as server:
        credentials = Credentials(lambda: Loaded(server.url, authorization="a", impersonation=wanted), Clock())
        async with client_of(server, telemetry, credentials=credentials) as client:
            await ask(client)
    assert list(wanted) == seen


@pytest.mark.parametrize("ask", [connected, watched_at_last])
@pytest.mark.parametrize("trouble", [answering(503), reset])
async def test_every_way_of_asking_is_tried_again(
    telemetry: Counted, pauses: list[float], ask: Callable[[Client], Awaitable[object]], trouble: Behaviour
) -> None:
    """An API server that restarts is no failure before the deadline."""
    async with serving(trouble, answering()) as server, client_of(server, telemetry) as client:
        await ask(client)
    assert (2, 1) == (len(server.seen), len(pauses))


@pytest.mark.parametrize("ask", [connected, opened, watched_at_last])
async def test_every_way_of_asking_after_its_deadline_is_not_the_clusters_fault(
    telemetry: Counted, ask: Callable[[Client, float], Awaitable[object]]
) -> None:
    """Nothing is sent, and nothing is blamed on the API server."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        refusal = await refused(ask(client, 0.0))
    assert (Reason.PROBER_STARVED, []) == (refusal.reason, server.seen)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_new_connection_tells_when_the_certificate_ends(
    telemetry: Counted, authority: trustme.CA, name: str
) -> None:
    """Each answer that of its own server: several may be asked at the same time."""
    ends = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, not_after=ends).configure_cert(tls)
    async with serving(answering(), tls=tls) as server:
        url = server.url.replace("127.0.0.1", name)
        credentials = plain_credentials(url, tls=client_tls(authority))
        async with client_of(server, telemetry, credentials=credentials) as client:
            answer = await client.connect(
                "/readyz", client.clock.now() + PATIENCE, host="127.0.0.1", port=int(url.rpartition(":")[2])
            )
    assert ends.timestamp() == answer.certificate_end


async def test_closing_ends_what_is_under_way(telemetry: Counted) -> None:
    """It is not tried again, and nothing is left behind."""
    async with serving(answering()) as server, client_of(server, telemetry) as client:
        server.script = [server.hang]
        task = asyncio.ensure_future(get(client))
        await server.saw(1)
        await client.close()
        assert (await refused(task)).tries == 1
    assert len(server.seen) == 1


# --- rights ----------------------------------------------------------------------------------------------------------

PODS = "/api/v1/namespaces/khealth/pods"
LACKING = (
    b'{"kind":"Status","message":"pods is forbidden: User \\"a\\" cannot list resource \\"pods\\" in API group \\"\\" in'
    b' the namespace \\"khealth\\"","reason":"Forbidden","code":403}'
)


async def listed(client: Client) -> Answer:
    """List the namespace's pods."""
    return await client.request("list", "pods", PODS, deadline=client.clock.now() + PATIENCE)


async def watched(client: Client) -> None:
    """Open a watch of the namespace's pods."""
    async with client.stream("pods", PODS, query={"watch": "1"}, connect_timeout=PATIENCE):
        pass


async def test_a_new_connection_that_is_denied_is_kept_until_it_is_let_pass(telemetry: Counted) -> None:
    """A path is refused in words of its own; it is a missing right, no fault of the API server."""
    body = b'{"kind":"Status","message":"forbidden: User \\"a\\" cannot get path \\"/readyz\\"","reason":"Forbidden","code":403}'
    async with serving(answering(403, body=body), answering()) as server, client_of(server, telemetry) as client:
        error = await refused(connected(client))
        kept = [(found.verb, found.resource) for found in client.denials.now()]
        await connected(client)
        after = client.denials.now()
    assert (Reason.FORBIDDEN, [("get", "readyz")], ()) == (error.reason, kept, after)


@pytest.mark.parametrize(("verb", "ask"), [("list", listed), ("watch", watched)])
async def test_a_lacking_right_is_named_in_the_note_and_kept(
    telemetry: Counted, verb: str, ask: Callable[[Client], Awaitable[object]]
) -> None:
    """With verb, resource and namespace; until the same request is let pass."""
    async with (
        serving(answering(403, body=LACKING), answering()) as server,
        client_of(server, telemetry) as client,
    ):
        error = await refused(ask(client))
        kept = [str(found) for found in client.denials.now()]
        await ask(client)
        after = client.denials.now()
    words = f"khealth may not {verb} pods in namespace khealth"
    assert (True, [words], ()) == (error.note.startswith(f"{words}: HTTP 403: "), kept, after)


# --- what is on the way ----------------------------------------------------------------------------------------------

PAGE = (
    b"<html><h1>No</h1>Authorization: Bearer hunter22, from http://joe:s3cr%40t@proxy/"
    b"User joe, s3cr@t, sent am9lOnMzY3JAdA==</html>"
)


@dataclass
class Forward:
    """A forward proxy that says the same to whatever it is asked, and cuts the connection; or says nothing."""

    said: bytes | None
    asked: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        if self.said is None:
            await reader.read()
        else:
            writer.write(self.said)
        writer.close()


def told(code: int, body: bytes = PAGE) -> bytes:
    """Return an answer of a proxy."""
    return f"HTTP/1.1 {code} No\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def behind(
    proxy: Forward | str, telemetry: Counted, server: str, user: str = "joe:s3cr%40t"
) -> AsyncIterator[Client]:
    """Return a client whose requests go through a proxy, with a password for it and a token for the server."""
    async with AsyncExitStack() as stack:
        if isinstance(proxy, Forward):
            served = await stack.enter_async_context(await asyncio.start_server(proxy, "127.0.0.1", 0))
            port = served.sockets[0].getsockname()[1]
        else:
            port = int(proxy.rpartition(":")[2])
        tls = ssl.create_default_context() if server.startswith("https") else None
        url = f"http://{user}@127.0.0.1:{port}"
        loaded = Loaded(server, tls=tls, proxy=usable(url, ""), authorization="Bearer hunter22")
        clock = telemetry.hands.clock
        credentials = Credentials(lambda: loaded, clock)
        yield await stack.enter_async_context(client_of("", telemetry, credentials=credentials, clock=clock))


async def asked_both_ways(client: Client, seconds: float = 150.0) -> list[Refused]:
    """Return how a request, which is tried again once if that may help, and a watch are refused."""
    return [await refused(get(client, seconds=seconds)), await refused(opened(client, seconds))]


def is_the_proxys(found: Sequence[Refused]) -> bool:
    """Tell whether a proxy on this machine is named, without a secret."""
    inconclusive = all(refusal.reason is Reason.PROXY_ERROR for refusal in found)
    named = all(": proxy http://127.0.0.1:" in refusal.note for refusal in found)
    return inconclusive and named and not any(secret in str(found) for secret in ("s3cr", "hunter22", "joe", "am9l"))


@pytest.mark.parametrize("code", [302, 400, 403, 404, 407, 429, 500, 502, 503, 504])
async def test_a_proxy_that_refuses_the_tunnel_is_named_without_its_password(telemetry: Counted, code: int) -> None:
    """For a request and for a watch, in the same words; what lasts is not tried again."""
    async with behind(Forward(told(code)), telemetry, "https://cluster.invalid") as client:
        found = await asked_both_ways(client)
    assert is_the_proxys(found), found
    assert [f"HTTP {code} to CONNECT"] * 2 == [refusal.note.rpartition(": ")[2] for refusal in found]
    assert (code in range(400, 500)) == (not found[0].refusal.retry)


@pytest.mark.parametrize("said", [b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", None])
async def test_a_proxy_that_leads_nowhere_is_named(telemetry: Counted, said: bytes | None) -> None:
    """It cuts the connection, does not speak HTTP, cuts the tunnel, or says nothing at all."""
    async with behind(Forward(said), telemetry, "https://cluster.invalid") as client:
        found = await asked_both_ways(client, 1.0 if said is None else 150.0)
    assert is_the_proxys(found), found


@pytest.mark.parametrize("server", ["https://cluster.invalid", "http://cluster.invalid"])
async def test_a_proxy_that_is_not_there_is_named(telemetry: Counted, server: str) -> None:
    """Nobody listens."""
    with closed_port() as url:
        async with behind(url, telemetry, server) as client:
            found = await asked_both_ways(client)
    assert is_the_proxys(found), found


@pytest.mark.parametrize("code", [403, 407, 502])
async def test_a_proxy_that_reads_the_request_is_named_without_its_password(telemetry: Counted, code: int) -> None:
    """Without TLS, what is no Status may be the proxy's, and its page may repeat what it was sent."""
    async with behind(Forward(told(code)), telemetry, "http://cluster.invalid") as client:
        found = await asked_both_ways(client)
    assert is_the_proxys(found), found


async def test_a_proxy_with_tls_is_verified_by_the_machines_authorities_if_the_server_has_none(
    telemetry: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a request and for a watch."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(client_module, "system_tls", ssl.create_default_context)
    monkeypatch.setattr(opening, "system_tls", ssl.create_default_context)
    async with await asyncio.start_server(Forward(told(407)), "127.0.0.1", 0, ssl=context) as served:
        proxy = usable(f"https://127.0.0.1:{served.sockets[0].getsockname()[1]}", "")
        credentials = Credentials(lambda: Loaded("http://cluster.invalid", proxy=proxy), Clock())
        async with client_of("", telemetry, credentials=credentials) as client:
            found = await asked_both_ways(client, PATIENCE)
    assert all("HTTP 407" in refusal.note for refusal in found), found


async def test_a_page_of_a_proxy_without_a_password_is_told(telemetry: Counted) -> None:
    """It was shown nothing but the request: its words tell what to do."""
    async with serving(answering(403, b"<html>Denied by policy 7</html>")) as server:
        credentials = Credentials(lambda: Loaded("http://cluster.invalid", proxy=usable(server.url, "")), Clock())
        async with client_of(server, telemetry, credentials=credentials) as client:
            found = await refused(get(client))
    assert found.note.endswith(": HTTP 403: Denied by policy 7")


@pytest.mark.parametrize("server", ["https://cluster.invalid", "http://cluster.invalid"])
@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("joe:p%E2%82%ACss", "joe:p€ss".encode()),
        ("j%C3%B6:%C3%A9%3A", "jö:é:".encode()),
        ("joe:p%E9", b"joe:p\xe9"),
        ("joe", b"joe:"),
        (":pw", b":pw"),
        ("joe:a:b@c", b"joe:a:b@c"),
    ],
)
async def test_a_proxy_is_shown_user_and_password_as_kubectl_shows_them(
    telemetry: Counted, server: str, user: str, said: bytes
) -> None:
    """Byte for byte as the URL has them, by a request and by a watch, with TLS and without."""
    proxy = Forward(told(403))
    async with behind(proxy, telemetry, server, user) as client:
        await asked_both_ways(client)
    shown = [re.findall(rb"Proxy-Authorization: Basic (\S+)", head) for head in proxy.asked]
    assert [[base64.b64encode(said)]] * 2 == shown


async def test_impersonated_names_are_not_redacted(telemetry: Counted) -> None:
    """The names of a user and of groups are ordinary words, and the note is useless without them."""
    said = 'pods is forbidden: User "khealth" cannot create resource "pods" in API group ""'
    body = msgspec.json.encode({"kind": "Status", "code": 403, "reason": "Forbidden", "message": said})
    impersonation = (
        ("Impersonate-User", "khealth"),
        ("Impersonate-Group", "pods"),
        ("Impersonate-Extra-a", "forbidden"),
    )
    async with serving(answering(403, body), answering(403, body)) as server:
        loaded = Loaded(server.url, authorization="Bearer hunter22", impersonation=impersonation)
        async with client_of(server, telemetry, credentials=Credentials(lambda: loaded, Clock())) as client:
            found = [await refused(get(client)), await refused(opened(client))]
    assert [said] * 2 == [refusal.note.partition("HTTP 403: ")[2] for refusal in found]


async def test_what_the_api_server_says_through_a_proxy_is_its_own(telemetry: Counted) -> None:
    """A Status names no proxy."""
    said = told(404, b'{"kind":"Status","message":"pods \\"a\\" not found","reason":"NotFound"}')
    async with behind(Forward(said), telemetry, "http://cluster.invalid") as client:
        found = await asked_both_ways(client)
    assert [Reason.API_REJECTED] * 2 == [refusal.reason for refusal in found]


async def test_the_latest_refusal_is_kept_until_the_api_server_answers(telemetry: Counted) -> None:
    """It tells why nothing goes on; an answer that refuses the request alone is an answer."""
    async with serving(answering(503), answering(404), answering()) as server, client_of(server, telemetry) as client:
        troubles = [client.trouble]
        for _ in range(2):
            await refused(get(client, retries=False))
            troubles.append(client.trouble)
    assert [None, Reason.API_ERROR, None] == [trouble and trouble.reason for trouble in troubles]


async def test_an_attempt_knows_its_own_latest_refusal(telemetry: Counted) -> None:
    """Not another one's; before it has asked, that of the watches."""
    scripts = [answering(503), answering(504), answering()]

    async def attempt(client: Client, asks: int) -> Reason | None:
        with own_trouble():
            for _ in range(asks):
                async with asyncio.TaskGroup() as group:
                    group.create_task(_ignored(get(client, retries=False)))
            return client.trouble.reason if client.trouble else None

    async with serving(*scripts) as server, client_of(server, telemetry) as client:
        await refused(opened(client))
        found = [await asyncio.create_task(attempt(client, asks)) for asks in (0, 1, 1)]
        assert client.trouble is not None
        assert Reason.API_ERROR is client.trouble.reason
    assert [Reason.API_ERROR, Reason.API_TIMEOUT, None] == found


async def _ignored(asked: Awaitable[object]) -> None:
    with suppress(Refused):
        await asked


async def test_one_api_server_of_several_that_is_away_is_no_trouble(telemetry: Counted) -> None:
    """The others do what is asked."""
    with closed_port() as url:
        async with serving(answering()) as server, client_of(server, telemetry) as client:
            await get(client)
            deadline = client.clock.now() + 0.2
            await refused(client.connect("/readyz", deadline, host="127.0.0.1", port=int(url.rpartition(":")[2])))
            assert client.trouble is None


async def test_credentials_that_are_not_accepted_are_named_until_they_are(telemetry: Counted) -> None:
    """A 401 is what khealth may not do at all; where new credentials help at once, it is nothing to tell."""
    async with serving(answering(401), answering(401), answering(401), answering()) as server:
        reads = Renewing(server.url, "old", "new", "newer")
        async with client_of(server, telemetry, credentials=Credentials(reads, Clock())) as client:
            await refused(get(client))
            (denied,) = client.denials.now()
            await get(client)
            assert () == client.denials.now()
    shown = str(denied), denied.verb, denied.resource, denied.note
    assert (
        "the API server does not accept khealth's credentials",
        "authenticate",
        "",
        "HTTP 401: without a word",
    ) == shown
