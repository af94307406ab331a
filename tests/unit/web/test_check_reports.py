"""Reports of checks over HTTP: what is accepted, what is refused, and that nothing else changes anything."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from serving import HOST, PATIENCE, Talk, talk_without_end
from structlog.testing import capture_logs

from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.reports import Expected, Reports
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.check_reports import MAX_BODY, ReportServer
from khealth_exporter.web.http_server import Limits

WELL = '{"OK": true, "Errors": []}'
ILL = '{"OK": false, "Errors": ["no route to host"]}'
JSON_TYPE = "Content-Type: application/json"


@dataclass
class Scene:
    """A server that awaits one report."""

    reports: Reports
    expected: Expected
    port: int

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """Open a connection."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            yield Talk(reader, writer)
        finally:
            writer.transport.abort()

    async def post(self, body: str | bytes = WELL, *headers: str, run: str | None = None, path: str = "/check") -> int:
        """Send a report, by default with the right identifier, and return the code of the answer."""
        content = body.encode() if isinstance(body, str) else body
        identifier = f"kh-run-uuid: {self.expected.run if run is None else run}"
        async with self.talk() as client:
            await client.say(request(path, f"Content-Length: {len(content)}", identifier, *headers) + content)
            return (await client.answer())[0]

    @property
    def told(self) -> Sequence[str] | None:
        """The errors of the report that was accepted; None if none was."""
        return self.expected.report.errors if self.expected.report else None


def request(path: str, *headers: str, method: str = "POST") -> bytes:
    """Return the head of a request."""
    lines = (f"{method} {path} HTTP/1.1", "Host: khealth", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@asynccontextmanager
async def receiving(
    seconds: float = PATIENCE, limits: Limits | None = None, body_timeout: float = PATIENCE
) -> AsyncIterator[Scene]:
    """Await one report for some seconds until the block ends."""
    clock = Clock()
    reports = Reports(clock, random.Random(1))
    server = ReportServer(reports, limits=limits or Limits(64, idle=PATIENCE), body_timeout=body_timeout)
    async with asyncio.timeout(PATIENCE):
        bound = await server.start(Address(HOST, 0))
        try:
            reports.served(f"http://{bound}/check")
            yield Scene(reports, await reports.expect(clock.now() + seconds, Signal()), bound.port)
        finally:
            await server.stop()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (WELL, ()),
        (ILL, ("no route to host",)),
        ('{"ok":true,"currentUUID":""}', ()),
        ('{"Errors":null,"OK":true}', ()),
        ('{"oK":false,"ERRORS":["a","","b"],"runDuration":5}', ("a", "b")),
        ('{"OK":true}', ()),
        (b'{"OK":false,"Errors":["a\xffb"]}', ("a\ufffdb",)),
        (r'{"OK":false,"Errors":["a \udcff b"]}', ("a b",)),
        (r'{"OK":false,"Errors":["\udcff"]}', ("an error that cannot be printed",)),
        (f'{{"OK":true,"n":{"9" * 5000},"x":1e999}}', ()),
    ],
    ids=[
        "success",
        "failure",
        "v3's client",
        "null",
        "any case",
        "no errors",
        "not UTF-8",
        "half a character",
        "nothing but half a character",
        "other numbers",
    ],
)
async def test_a_report_is_accepted(body: str | bytes, errors: tuple[str, ...]) -> None:
    """Keys have any case, and others are ignored."""
    async with receiving() as here:
        assert 200 == await here.post(body, JSON_TYPE)
        assert errors == here.told


@pytest.mark.parametrize("header", ["Content-Type: Application/JSON; charset=utf-8", "Accept: */*"])
async def test_a_content_type_may_be_absent_or_have_parameters(header: str) -> None:
    """v2 does not look at it."""
    async with receiving() as here:
        assert 200 == await here.post(WELL, header)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_another_content_type_is_refused(kind: str) -> None:
    """With 415."""
    async with receiving() as here:
        assert (415, None) == (await here.post(WELL, f"Content-Type: {kind}"), here.told)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_only_post_is_accepted(method: str) -> None:
    """With 405: Kuberhealthy's nodecheck sends a GET, and any answer is good enough for it."""
    async with receiving() as here, here.talk() as client:
        await client.say(request("/check", f"kh-run-uuid: {here.expected.run}", "Connection: close", method=method))
        assert 405 == (await client.answer())[0]


@pytest.mark.parametrize("path", ["/", "/check/", "/externalCheckStatus", "/metrics", "/check/x"])
async def test_there_is_one_path(path: str) -> None:
    """The port is for reports alone."""
    async with receiving() as here:
        assert (404, None) == (await here.post(path=path), here.told)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '"OK"',
        "OK=true",
        '{"OK": "true"}',
        '{"OK": 1}',
        '{"OK": 0}',
        '{"OK": ""}',
        '{"OK": true, "Errors": {}}',
        '{"OK": false, "Errors": ["no"], "x": NaN}',
        '{"OK": false, "Errors": "no"}',
        '{"OK": false, "Errors": [1]}',
        '{"OK": true} {}',
        '{"OK": ' + "[" * 60_000,
        b"\x00" * 100,
    ],
)
async def test_what_is_no_report_is_refused(body: str | bytes) -> None:
    """With 400, and the identifier still works."""
    async with receiving() as here:
        assert (400, None) == (await here.post(body), here.told)
        assert 200 == await here.post()


@pytest.mark.parametrize("errors", ["", ', "Errors": null', ', "Errors": []', ', "Errors": ["", " \\n", null]'])
async def test_a_failure_needs_an_error(errors: str) -> None:
    """Not OK without an error that has text is 400."""
    async with receiving() as here:
        assert (400, None) == (await here.post(f'{{"OK": false{errors}}}'), here.told)


@pytest.mark.parametrize("errors", ['["x"]', '[""]'])
async def test_a_success_has_no_errors(errors: str) -> None:
    """OK with errors is 400."""
    async with receiving() as here:
        assert (400, None) == (await here.post(f'{{"OK": true, "Errors": {errors}}}'), here.told)


@pytest.mark.parametrize("run", ["", "nonsense", "00000000-0000-4000-8000-000000000000", "x" * 8000])
async def test_an_identifier_that_nobody_awaits_is_refused(run: str) -> None:
    """With 400, as in v3: its client takes that for final; the address of the sender does not matter."""
    async with receiving() as here:
        assert (400, None) == (await here.post(run=run), here.told)


async def test_the_identifier_is_accepted_once() -> None:
    """The second report changes nothing."""
    async with receiving() as here:
        assert (200, 400) == (await here.post(WELL), await here.post(ILL))
        assert () == here.told


async def test_of_two_reports_at_once_the_first_whole_one_counts() -> None:
    """The other one has begun earlier."""
    async with receiving() as here, here.talk() as slow:
        identifier, content = f"kh-run-uuid: {here.expected.run}", ILL.encode()
        await slow.say(request("/check", f"Content-Length: {len(content)}", identifier) + content[:5])
        assert 200 == await here.post(WELL)
        await slow.say(content[5:])
        assert (400, ()) == ((await slow.answer())[0], here.told)


async def test_a_report_after_the_deadline_is_gone() -> None:
    """With 410."""
    async with receiving(0.0) as here:
        assert (410, None) == (await here.post(), here.told)


async def test_an_attempt_that_is_over_awaits_nothing() -> None:
    """With 400, as for any identifier that is not known."""
    async with receiving() as here:
        here.reports.forget(here.expected)
        assert 400 == await here.post()


@pytest.mark.parametrize(("size", "code"), [(MAX_BODY, 200), (MAX_BODY + 1, 413), (8 * MAX_BODY, 413)])
async def test_a_body_has_a_limit(size: int, code: int) -> None:
    """The client reads the answer, even if it is sent while it still writes."""
    async with receiving() as here:
        frame = len(json.dumps({"OK": False, "Errors": [""]}))
        body = json.dumps({"OK": False, "Errors": ["x" * (size - frame)]})
        assert (size, code) == (len(body), await here.post(body))


async def test_a_gigantic_body_is_refused_unread() -> None:
    """Its announced length is enough."""
    async with receiving() as here, here.talk() as client:
        identifier = f"kh-run-uuid: {here.expected.run}"
        await client.say(request("/check", "Content-Length: 10000000000", identifier))
        assert 413 == (await client.answer())[0]
        assert await client.ended()


async def test_an_endless_chunked_body_is_refused() -> None:
    """No length is announced; the connection ends, whatever else the client has to say."""
    more = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    async with receiving() as here:
        begin = request("/check", "Transfer-Encoding: chunked", f"kh-run-uuid: {here.expected.run}")
        answer = await asyncio.to_thread(talk_without_end, here.port, begin, more)
        assert b"413" == answer.split()[1]
        assert here.told is None


async def test_a_body_that_takes_its_time_is_refused() -> None:
    """A byte now and then does not help."""
    async with receiving(body_timeout=0.1) as here, here.talk() as client:
        identifier = f"kh-run-uuid: {here.expected.run}"
        await client.say(request("/check", "Content-Length: 1000", identifier) + b"{")
        assert 400 == (await client.answer())[0]
        assert await client.ended()


async def test_a_head_that_never_ends_is_cut_off() -> None:
    """Within the idle time."""
    async with receiving(limits=Limits(64, idle=0.1)) as here, here.talk() as client:
        await client.say(b"POST /check HTTP/1.1\r\nHost: khealth\r\n")
        assert await client.ended()


async def test_silent_connections_do_not_keep_a_report_away() -> None:
    """At the limit, the one that has been idle longest makes room."""
    async with receiving(limits=Limits(4, idle=PATIENCE)) as here:
        hostile = [await asyncio.open_connection(HOST, here.port) for _ in range(20)]
        assert 200 == await here.post()
        for _, writer in hostile:
            writer.transport.abort()


async def test_a_refused_report_says_why_the_check_stayed_silent() -> None:
    """Only what carried the right identifier is told of."""
    async with receiving() as here:
        await here.post("x" * 100, run="stolen")
        assert "" == here.expected.refused
        await here.post("x" * (MAX_BODY + 1))
        assert "HTTP 413: the body is larger than 64 KiB" == here.expected.refused


async def test_errors_are_cut_to_what_can_be_shown() -> None:
    """Their number and their length are bounded, and they have one line each."""
    async with receiving() as here:
        errors = ["a\nb" + "x" * 500, *map(str, range(99))]
        assert 200 == await here.post(json.dumps({"OK": False, "Errors": errors}))
        assert here.told
        assert (51, "and 50 more errors") == (len(here.told), here.told[-1])
        assert here.told[0].startswith("a bx")
        assert max(map(len, here.told)) <= 400


async def test_a_hostile_client_leaves_no_trace() -> None:
    """After thousands of bad requests, the register is as it was, the log is empty, and the true report counts."""
    bad: Sequence[tuple[str | bytes, str]] = [
        (WELL, ""),
        (WELL, "stolen"),
        ("{" * 1000, "stolen"),
        (b"\xff" * 70_000, "stolen"),
        ("{", "right"),
    ]
    with capture_logs() as logged:
        async with receiving() as here:
            for number in range(300):
                body, run = bad[number % len(bad)]
                await here.post(body, run=here.expected.run if run == "right" else run)
            assert (1, None) == (len(here.reports), here.told)
            assert (200, ()) == (await here.post(), here.told)
    assert [] == [entry for entry in logged if entry["log_level"] != "debug"]
