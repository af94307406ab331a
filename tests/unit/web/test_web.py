"""The responses of the web server, and its limits."""

import asyncio
import gzip
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from serving import BEGAN, FAILING, STATUS, WAITING, WELL, Known, served, talk
from sockets import has_ipv6

from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, State
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.address import Address, CannotListen
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.matrix import Matrix, Pair
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.web.connection_limit import ConnectionLimiter
from khealth_exporter.web.security.access_control import AccessControl
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import PasswordVerifier
from khealth_exporter.web.server import WebServer, application

Client = TestClient[Request, Application]


@pytest.fixture
def known() -> Known:
    """Return the backend of the server under test."""
    return Known()


@pytest.fixture
async def client(known: Known) -> AsyncIterator[Client]:
    """Yield a client of the application."""
    async with TestClient(
        TestServer(application(known, AccessControl(ActiveWebConfig(), PasswordVerifier()), ConnectionLimiter(9)))
    ) as client:
        yield client


@pytest.fixture
async def server(known: Known) -> AsyncIterator[WebServer]:
    """Yield a server on a port of its own."""
    server = WebServer([Address("127.0.0.1", 0)], known)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def taken() -> Iterator[Address]:
    """Yield an address that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield Address("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8080", Address("", 8080)),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080)),
        ("[::]:8080", Address("::", 8080)),
        ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("localhost:0", Address("localhost", 0)),
        ("[fd00::1]:65535", Address("fd00::1", 65535)),
    ],
)
def test_an_address_is_parsed(text: str, expected: Address) -> None:
    """In every supported form."""
    assert expected == Address.parse(text)


@pytest.mark.parametrize(
    "text", ["", "8080", ":", ":x", ":65536", "::1:8080", "[::1]", "[:::]:80", "a b:80", ":-1", ":+1"]
)
def test_an_invalid_address_is_rejected(text: str) -> None:
    """An incomplete address has no default."""
    with pytest.raises(ValueError, match="is not an address: "):
        Address.parse(text)


@pytest.mark.parametrize("text", [":8080", "0.0.0.0:8080", "[::]:8080", "localhost:0"])
def test_an_address_is_written_as_on_the_command_line(text: str) -> None:
    """So that a logged address can be pasted."""
    assert text == str(Address.parse(text))


async def test_metrics_are_text_by_default(client: Client, known: Known) -> None:
    """So that any HTTP client can read them."""
    answer = await client.get("/metrics", headers={"Accept-Encoding": "identity"})
    expected = ("text/plain; version=0.0.4; charset=utf-8", generate_latest(known.registry))
    assert expected == (answer.headers["Content-Type"], await answer.read())


async def test_metrics_are_openmetrics_on_request(client: Client, known: Known) -> None:
    """Prometheus requests OpenMetrics."""
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    text = generate_openmetrics(known.registry)  # type: ignore[no-untyped-call]
    expected = ("application/openmetrics-text", text)
    assert expected == (answer.content_type, await answer.read())


@pytest.mark.parametrize("escaping", ["underscores", "allow-utf-8", "dots", "values"])
@pytest.mark.parametrize("version", ["", "; version=0.0.1", "; version=1.0.0"])
async def test_metrics_are_as_prometheus_client_encodes_them(
    client: Client, known: Known, version: str, escaping: str
) -> None:
    """Names and escaping included, in every format that a client can request."""
    Metrics(known.registry, Clock()).request("list", "pods", "200", 0.1)
    for kind in ("application/openmetrics-text", "text/plain"):
        accept = f"{kind}{version}; escaping={escaping}"
        answer = await client.get("/metrics", headers={"Accept": accept})
        encode, content_type = choose_encoder(accept)
        assert (content_type, encode(known.registry)) == (answer.headers["Content-Type"], await answer.read())


async def test_metrics_are_compressed_on_request(known: Known, server: WebServer) -> None:
    """With gzip, if the client accepts it."""
    async with ClientSession(auto_decompress=False) as session:
        url = f"http://{server.addresses[0]}/metrics"
        answer = await session.get(url, headers={"Accept-Encoding": "gzip"})
        assert generate_latest(known.registry) == gzip.decompress(await answer.read())


async def test_the_page_is_compressed_on_request(server: WebServer) -> None:
    """Browsers request it every few seconds."""
    url = f"http://{server.addresses[0]}/"
    async with ClientSession(auto_decompress=False) as session:
        packed = await session.get(url, headers={"Accept-Encoding": "gzip"})
        plain = await session.get(url, headers={"Accept-Encoding": "identity"})
        assert await plain.read() == gzip.decompress(await packed.read())


@pytest.mark.parametrize("state", list(State))
async def test_every_state_has_an_icon(client: Client, state: State) -> None:
    """For the browser's tab."""
    answer = await client.get(f"/favicon/{state}.svg")
    expected = (200, "image/svg+xml", "<svg ")
    assert expected == (answer.status, answer.content_type, (await answer.text())[:5])


async def test_the_icon_of_an_unknown_state_is_not_found(client: Client) -> None:
    """The response lists the known states."""
    answer = await client.get("/favicon/ill.svg")
    expected = (404, f"unknown state; known states: {', '.join(State)}\n")
    assert expected == (answer.status, await answer.text())


async def test_metrics_can_be_selected_by_name(client: Client) -> None:
    """`?name[]=` limits a scrape to some series."""
    answer = await client.get("/metrics", params=[("name[]", "others")])
    expected = "# HELP others Others.\n# TYPE others gauge\nothers 1.0\n"
    assert expected == await answer.text()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (STATUS, 200),
        (FAILING, 500),
        (WAITING, 503),
        (replace(STATUS, state=State.INCONCLUSIVE), 503),
        (replace(STATUS, state=State.EXPIRED), 503),
        (replace(STATUS, state=State.SUSPENDED), 503),
    ],
)
@pytest.mark.parametrize("path", ["/status", "/status/rcscheduler", "/health"])
async def test_the_code_is_the_state(client: Client, known: Known, path: str, status: RoutineStatus, code: int) -> None:
    """200 well, 500 failing, 503 unknown."""
    known.statuses = (status,)
    assert code == (await client.get(path)).status


async def test_status_contains_every_module(client: Client) -> None:
    """The overall state, and the state of each."""
    document = await (await client.get("/status")).json()
    expected = ("well", ["rcscheduler"])
    assert expected == (document["state"], [module["module"] for module in document["modules"]])


async def test_a_suspended_routine_does_not_hide_the_state_of_others(client: Client, known: Known) -> None:
    """And it does not make a healthy cluster unknown."""
    suspended = replace(FAILING, state=State.SUSPENDED)
    known.statuses = (suspended, STATUS)
    well = await client.get("/status")
    known.statuses = (suspended, FAILING)
    failing = await client.get("/status")
    assert ((200, "well"), (500, "failing")) == tuple(
        [(answer.status, (await answer.json())["state"]) for answer in (well, failing)]
    )


async def test_a_suspended_routine_has_no_reason(client: Client, known: Known) -> None:
    """Earlier failures are in its history."""
    known.statuses = (replace(FAILING, state=State.SUSPENDED),)
    assert "rcscheduler: suspended\n" == await (await client.get("/health")).text()


STEPS = {
    "create": 0.5,
    "schedule": None,
    "sandbox": None,
    "start": None,
    "ready": None,
    "startup": None,
    "delete": None,
}
"""The steps of the pod; None for those without a measurement."""


async def test_status_of_a_module_contains_its_routines(client: Client) -> None:
    """State, times, and attempts. A success has no evidence."""
    expected = {
        "module": "rcscheduler",
        "state": "well",
        "routines": [
            {
                "routine": "pool-a",
                "state": "well",
                "since": "2026-11-23T14:30:00.500000Z",
                "suspended_until": None,
                "skipped_at": None,
                "interval_seconds": 60.0,
                "consecutive_failures": 0,
                "last_success": "2026-11-23T14:30:00.500000Z",
                "remarks": {},
                "last_failure": None,
                "attempts": [
                    {
                        "started_at": "2026-11-23T14:30:00.500000Z",
                        "phase": None,
                        "result": "success",
                        "reason": None,
                        "component": None,
                        "note": "",
                        "duration_seconds": 1.5,
                        "steps": {"accept": 0.25},
                        "evidence": [],
                        "samples": [
                            {
                                "object": "khealth-a-x",
                                "uid": "uid",
                                "node": "node-1",
                                "quality": "exact",
                                "uncertainty_seconds": 0.001,
                                "steps": STEPS,
                                "observed": {"created": "2026-11-23T14:30:00.500000Z"},
                            }
                        ],
                    }
                ],
            }
        ],
    }
    assert expected == await (await client.get("/status/rcscheduler")).json()


async def test_status_contains_the_evidence_of_a_failure(client: Client, known: Known) -> None:
    """Reason, component, evidence, and measurements in one document."""
    known.statuses = (FAILING,)
    failure = (await (await client.get("/status/rcscheduler")).json())["routines"][0]["last_failure"]
    expected = (
        "pod_crashed",
        "node",
        [{"kind": "Pod", "name": "khealth-a-x", "lines": ["<b>CrashLoopBackOff</b>"]}],
        [
            {
                "object": "khealth-a-x",
                "uid": "uid",
                "node": "node-1",
                "quality": "exact",
                "uncertainty_seconds": 0.001,
                "steps": STEPS,
                "observed": {"created": "2026-11-23T14:30:00.500000Z"},
            }
        ],
    )
    assert expected == (failure["reason"], failure["component"], failure["evidence"], failure["samples"])


async def test_a_step_that_did_not_end_has_no_duration(client: Client, known: Known) -> None:
    """As in `khealth once --json`: a script would take the waiting time for a duration."""
    stuck = replace(WELL, measurements=(replace(WELL.measurements[0], censored=True),))
    known.statuses = (replace(STATUS, attempts=(stuck,)),)
    attempt = (await (await client.get("/status/rcscheduler")).json())["routines"][0]["attempts"][0]
    assert {"accept": None} == attempt["steps"]


async def test_status_contains_the_matrix_of_a_routine(client: Client, known: Known) -> None:
    """The worst pair first; one of which nothing came back has no duration."""
    pairs = Pair("node-1", "node-2", 0.00031, 0.00001, 0.0), Pair("node-2", "node-1", None, 0.0, 1.0, failing=True)
    known.statuses = (replace(STATUS, matrix=Matrix.of(pairs)),)
    (routine,) = (await (await client.get("/status/rcscheduler")).json())["routines"]
    well = {"from": "node-1", "to": "node-2", "seconds": 0.00031, "jitter_seconds": 0.00001, "loss": 0.0}
    lost = {"from": "node-2", "to": "node-1", "seconds": None, "jitter_seconds": 0.0, "loss": 1.0}
    expected = {"measured": 2, "pairs": [lost | {"failing": True}, well | {"failing": False}]}
    assert expected == routine["matrix"]


async def test_status_contains_the_remarks_of_a_routine(client: Client, known: Known) -> None:
    """By name."""
    known.statuses = (replace(STATUS, remarks=(Remark("round", "42 h"), Remark("nodes", "node-1"))),)
    routine = (await (await client.get("/status/rcscheduler")).json())["routines"][0]
    assert {"round": "42 h", "nodes": "node-1"} == routine["remarks"]


async def test_a_running_attempt_has_a_phase(client: Client, known: Known) -> None:
    """The phase that it is in."""
    known.statuses = (replace(WAITING, attempts=(Attempt(1, BEGAN, Phase.INIT),)),)
    attempt = (await (await client.get("/status/rcscheduler")).json())["routines"][0]["attempts"][0]
    expected = ("poll", None)
    assert expected == (attempt["phase"], attempt["result"])


async def test_the_status_of_an_unknown_module_is_not_found(client: Client) -> None:
    """The response lists the known modules."""
    answer = await client.get("/status/dns")
    expected = (404, "unknown module; known modules: rcscheduler\n")
    assert expected == (answer.status, await answer.text())


DEAD = Remark("failing nodes", "node-3 (kubelet_silent)", failing=True)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (STATUS, "rcscheduler: well\n"),
        (WAITING, "rcscheduler: waiting\n"),
        (FAILING, "rcscheduler: failing (pod_crashed)\n"),
        (replace(STATUS, remarks=(DEAD,)), "rcscheduler: well (failing nodes: node-3 (kubelet_silent))\n"),
        (replace(WAITING, remarks=(DEAD,)), "rcscheduler: waiting\n"),
        (replace(STATUS, remarks=(replace(DEAD, failing=False),)), "rcscheduler: well\n"),
    ],
)
async def test_health_is_one_line(client: Client, known: Known, status: RoutineStatus, line: str) -> None:
    """In the format of the first khealth."""
    known.statuses = (status,)
    assert line == await (await client.get("/health")).text()


async def test_the_configuration_is_shown_as_text(client: Client) -> None:
    """So that browsers show it instead of saving it."""
    answer = await client.get("/config")
    expected = ("text/plain", "namespace: khealth\n")
    assert expected == (answer.content_type, await answer.text())


async def test_progress_is_healthy(client: Client) -> None:
    """A liveness probe succeeds while every loop makes progress."""
    answer = await client.get("/-/healthy")
    expected = (200, "healthy\n")
    assert expected == (answer.status, await answer.text())


async def test_a_stalled_loop_is_named(client: Client, known: Known) -> None:
    """The log of the kubelet then contains the reason of the restart."""
    known.stuck = ("rcscheduler/pool-a", "watch of pods")
    answer = await client.get("/-/healthy")
    expected = (503, "no progress for 5 minutes: rcscheduler/pool-a, watch of pods\n")
    assert expected == (answer.status, await answer.text())


@pytest.mark.parametrize(("begun", "expected"), [(True, (200, "ready\n")), (False, (503, "not ready\n"))])
async def test_ready_shows_whether_khealth_can_be_scraped(
    client: Client, known: Known, *, begun: bool, expected: tuple[int, str]
) -> None:
    """For a readiness probe."""
    known.begun = begun
    answer = await client.get("/-/ready")
    assert expected == (answer.status, await answer.text())


LACKING = Denied(
    "create", "replicationcontrollers", "khealth", BEGAN, BEGAN + 60, why="make the canaries", note="HTTP 403: <no>"
)
LIST_NODES = Denied(
    "list", "nodes", "", BEGAN, BEGAN, optional=True, why="tell no node is Ready from no room", note="no"
)


async def test_status_says_that_the_credentials_are_not_accepted(client: Client, known: Known) -> None:
    """As a right that every request needs, of no resource."""
    known.lacking = (
        Denied("authenticate", "", "", BEGAN, BEGAN + 60, why="every request", note="HTTP 401: Unauthorized"),
    )
    (entry,) = (await (await client.get("/status")).json())["forbidden"]
    shown = entry["verb"], entry["resource"], entry["namespace"], entry["note"]
    assert ("authenticate", None, None, "HTTP 401: Unauthorized") == shown
    assert "the API server does not accept khealth's credentials" in await (await client.get("/")).text()


async def test_status_contains_missing_permissions(client: Client, known: Known) -> None:
    """In the terms of RBAC, with their purpose. They do not change the state."""
    known.lacking = (LACKING, LIST_NODES)
    answer = await client.get("/status")
    expected = [
        {
            "verb": "create",
            "resource": "replicationcontrollers",
            "namespace": "khealth",
            "optional": False,
            "why": "make the canaries",
            "since": "2026-11-23T14:30:00.500000Z",
            "last": "2026-11-23T14:31:00.500000Z",
            "note": "HTTP 403: <no>",
        },
        {
            "verb": "list",
            "resource": "nodes",
            "namespace": None,
            "optional": True,
            "why": "tell no node is Ready from no room",
            "since": "2026-11-23T14:30:00.500000Z",
            "last": "2026-11-23T14:30:00.500000Z",
            "note": "no",
        },
    ]
    assert (200, expected) == (answer.status, (await answer.json())["forbidden"])


async def test_status_has_an_empty_list_without_missing_permissions(client: Client) -> None:
    """So that scripts need no special case."""
    assert [] == (await (await client.get("/status")).json())["forbidden"]


async def test_status_tells_the_end_of_a_suspension_and_the_latest_skip(client: Client, known: Known) -> None:
    """As times in UTC."""
    known.statuses = (replace(STATUS, suspended_until=BEGAN + 60, skipped=BEGAN + 30),)
    (routine,) = (await (await client.get("/status/rcscheduler")).json())["routines"]
    expected = ("2026-11-23T14:31:00.500000Z", "2026-11-23T14:30:30.500000Z")
    assert expected == (routine["suspended_until"], routine["skipped_at"])


async def test_the_page_answers_200_whatever_the_state(client: Client, known: Known) -> None:
    """So that browsers show the page. The codes of `/status` are for scripts."""
    known.statuses = (FAILING,)
    answer = await client.get("/")
    expected = (200, "text/html")
    assert expected == (answer.status, answer.content_type)


@pytest.mark.parametrize(
    ("path", "code"), [("/", 200), ("/metrics", 200), ("/status", 200), ("/nowhere", 404), ("/-/reload", 405)]
)
async def test_every_response_has_security_headers(client: Client, path: str, code: int) -> None:
    """And no versions."""
    answer = await client.get(path)
    headers = {name: answer.headers.get(name) for name in ("X-Content-Type-Options", "X-Frame-Options", "Server")}
    expected = (code, {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Server": None})
    assert expected == (answer.status, headers)


async def test_head_is_answered_without_a_body(client: Client) -> None:
    """Load balancers send HEAD."""
    answer = await client.head("/health")
    expected = (200, b"")
    assert expected == (answer.status, await answer.read())


async def test_an_unknown_path_is_answered_with_the_known_ones(client: Client) -> None:
    """The response lists all paths."""
    answer = await client.get("/metric")
    expected = [
        "path not found; available paths:",
        "/",
        "/favicon/{state}.svg",
        "/metrics",
        "/status",
        "/status/{module}",
        "/health",
        "/config",
        "/runbook",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/-/run/{module}/{routine}",
    ]
    assert expected == (await answer.text()).splitlines()


async def test_an_unsupported_method_is_rejected(client: Client) -> None:
    """The response lists the supported ones."""
    answer = await client.post("/status", data=b"x")
    expected = (405, "GET, HEAD", "method not allowed; use GET, HEAD\n")
    assert expected == (answer.status, answer.headers["Allow"], await answer.text())


async def test_a_port_in_use_is_reported(taken: Address, known: Known) -> None:
    """With the address and the reason."""
    with pytest.raises(CannotListen, match=f"^cannot listen on {taken}: address already in use$"):
        await WebServer([taken], known).start()


async def test_one_port_in_use_releases_the_others(taken: Address, known: Known) -> None:
    """If one address fails, none stays in use."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = Address("127.0.0.1", probe.getsockname()[1])
    with pytest.raises(CannotListen):
        await WebServer([free, taken], known).start()
    server = WebServer([free], known)
    await server.start()
    await server.stop()


async def test_an_address_of_another_machine_is_reported(known: Known) -> None:
    """With the address and the reason."""
    with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.1:80: cannot assign requested address$"):
        await WebServer([Address("192.0.2.1", 80)], known).start()


async def test_every_address_is_served_on_both_protocols(known: Known) -> None:
    """`:PORT` answers over IPv4 and, if available, IPv6."""
    server = WebServer([Address("", 0)], known)
    await server.start()
    hosts = ["127.0.0.1", *(["[::1]"] if has_ipv6() else [])]
    async with ClientSession() as session:
        answers = [await session.get(f"http://{host}:{server.addresses[0].port}/-/ready") for host in hosts]
    await server.stop()
    assert [200] * len(hosts) == [answer.status for answer in answers]


async def _exchange(address: Address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "request_text",
    [b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 9000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n", b"nonsense\r\n\r\n"],
    ids=["line", "header", "headers", "nonsense"],
)  # fmt: skip
async def test_an_excessive_request_is_rejected(server: WebServer, request_text: bytes) -> None:
    """With 400, and the connection is closed."""
    expected = b"400"
    assert expected == (await _exchange(server.addresses[0], request_text)).split()[1]


async def test_a_rejected_request_is_answered_without_versions(server: WebServer) -> None:
    """Even a malformed one."""
    assert b"aiohttp" not in await _exchange(server.addresses[0], b"nonsense\r\n\r\n")


@pytest.mark.parametrize("request_text", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["silent", "half"])
async def test_a_client_that_sends_no_request_is_disconnected(request_text: bytes) -> None:
    """After the idle timeout, without an answer."""
    async with served(idle=0.01) as (server, _), talk(server) as client:
        client.writer.write(request_text)
        assert await client.ended()


async def test_a_stopped_server_releases_its_port(known: Known) -> None:
    """After `stop` the port is free."""
    server = WebServer([Address("127.0.0.1", 0)], known)
    await server.start()
    address = server.addresses[0]
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await _exchange(address, b"")


async def test_the_runbook_links_back_to_the_status_page(client: Client) -> None:
    """With a relative link, so that it works behind a proxy."""
    text = await (await client.get("/runbook")).text()
    assert ["./"] == re.findall(r'<header><a href="([^"]*)"', text)
