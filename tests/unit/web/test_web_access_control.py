"""Passwords, rate limits, request bodies, and reloads."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from serving import ANNA, PATIENCE, Known, served, talk

from khealth_exporter.core.supervisor import NotBegun, UnknownRoutine
from khealth_exporter.web.security import passwords as module
from khealth_exporter.web.security.access_control import TokenBucket
from khealth_exporter.web.security.passwords import PasswordVerifier, TooManyChecks
from khealth_exporter.web.security.web_config import RateLimit
from khealth_exporter.web.server import WebServer

USERS = {"anna": ANNA.encode()}
PATHS = ["/", "/metrics", "/status", "/status/rcscheduler", "/health", "/config", "/-/healthy", "/-/ready", "/nowhere"]


def protected(folder: Path, text: str = f"basic_auth_users: {{anna: {ANNA}}}") -> Path:
    """Write a configuration."""
    path = folder / "web.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def basic(user: str, password: str) -> str:
    """Return the header of a user and a password."""
    return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Return a list that records every computed hash."""
    seen: list[tuple[bytes, bytes]] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        seen.append((password, hashed))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return seen


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Yield an event; no computation of a hash ends before it is set."""
    going_on = threading.Event()

    def checkpw(_password: bytes, _hashed: bytes) -> bool:
        return not going_on.wait(PATIENCE)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    yield going_on
    going_on.set()


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_shown_without_a_password(tmp_path: Path, path: str) -> None:
    """Not even whether a path exists."""
    async with served(protected(tmp_path)) as (server, _), ClientSession() as session:
        answer = await session.get(f"http://{server.addresses[0]}{path}")
        expected = (
            401,
            'Basic realm="khealth", charset="UTF-8"',
            "authentication required: send a user name and a password\n",
        )
        assert expected == (answer.status, answer.headers["WWW-Authenticate"], await answer.text())


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
async def test_nothing_is_changed_without_a_password(tmp_path: Path, method: str) -> None:
    """A reload needs the same password."""
    known = Known()
    async with served(protected(tmp_path), known) as (server, _), talk(server) as client:
        code, _ = await client.ask("/-/reload", "Content-Length: 0", method=method)
        assert (401, 0) == (code, known.reloads)


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/nowhere"])
async def test_a_password_opens_every_path(tmp_path: Path, path: str) -> None:
    """A user has access to everything."""
    async with served(protected(tmp_path)) as (server, _), talk(server) as client:
        assert 200 == (await client.ask(path, basic("anna", "right")))[0]


@pytest.mark.parametrize("header", [
    basic("anna", "wrong"), basic("anna", ""), basic("otto", "right"), basic("", ""), basic("anna", "right\0"), basic("anna", "r" * 3000),
    basic("änna", "right"), "Authorization: Bearer right", "Authorization: Basic", "Authorization: Basic %%%",
    "Authorization: Basic " + base64.b64encode(b"anna").decode(), "Authorization: Basic " + base64.b64encode(b"anna:\xff").decode(),
])  # fmt: skip
async def test_wrong_credentials_are_rejected(tmp_path: Path, header: str) -> None:
    """A wrong password, an unknown user, a malformed header."""
    async with served(protected(tmp_path)) as (server, _), talk(server) as client:
        assert 401 == (await client.ask("/metrics", header))[0]


async def test_a_password_may_be_longer_than_72_bytes() -> None:
    """Only the first 72 bytes count, as everywhere with bcrypt."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4))
    assert await PasswordVerifier().verify({"anna": hashed}, "anna", "x" * 80, "")


async def test_a_correct_password_is_hashed_once(checks: list[tuple[bytes, bytes]]) -> None:
    """Later scrapes use the cache."""
    passwords = PasswordVerifier()
    assert all([await passwords.verify(USERS, "anna", "right", "") for _ in range(3)])
    assert 1 == len(checks)


async def test_a_wrong_password_is_hashed_once(checks: list[tuple[bytes, bytes]]) -> None:
    """Repeated requests use the cache."""
    passwords = PasswordVerifier()
    assert not any([await passwords.verify(USERS, "anna", "wrong", "") for _ in range(3)])
    assert 1 == len(checks)


async def test_concurrent_checks_of_one_password_share_one_hash(
    stuck: threading.Event, checks: list[tuple[bytes, bytes]]
) -> None:
    """Concurrent scrapes wait for one computation."""
    stuck.set()
    passwords = PasswordVerifier()
    found = await asyncio.gather(*(passwords.verify(USERS, "anna", "right", "") for _ in range(20)))
    assert (20, 1) == (len(found), len(checks))


async def test_a_new_hash_ends_the_old_password() -> None:
    """The cache depends on the hash."""
    passwords = PasswordVerifier()
    assert await passwords.verify(USERS, "anna", "right", "")
    assert not await passwords.verify({"anna": bcrypt.hashpw(b"new", bcrypt.gensalt(4))}, "anna", "right", "")


async def test_a_removed_user_is_unknown() -> None:
    """Even if another user has the same hash."""
    passwords = PasswordVerifier()
    assert await passwords.verify(USERS, "anna", "right", "")
    assert not await passwords.verify({"otto": ANNA.encode()}, "anna", "right", "")


async def test_an_unknown_user_costs_as_much_as_a_known_one(checks: list[tuple[bytes, bytes]]) -> None:
    """Response times do not reveal user names: the same hash is computed for both."""
    passwords = PasswordVerifier()
    for user in ("anna", "otto"):
        await passwords.verify(USERS, user, "wrong", "")
    assert [(b"wrong", ANNA.encode())] * 2 == checks


async def test_an_unknown_user_with_the_password_of_another_is_rejected() -> None:
    """The check against another user's hash only takes time."""
    assert not await PasswordVerifier().verify(USERS, "otto", "right", "")


async def test_no_password_is_kept() -> None:
    """The cache contains keyed hashes."""
    passwords = PasswordVerifier()
    await passwords.verify(USERS, "anna", "right", "")
    await passwords.verify(USERS, "anna", "wrong", "")
    assert not [word for word in ("right'", "wrong'", "$2b$") if word in str((passwords._correct, passwords._wrong))]


async def test_the_cache_of_wrong_passwords_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of wrong passwords does not evict correct ones."""
    monkeypatch.setattr(module, "_CACHED_FAILURES", 5)
    passwords = PasswordVerifier()
    await passwords.verify(USERS, "anna", "right", "")
    for number in range(20):
        await passwords.verify(USERS, "anna", f"wrong {number}", "")
    assert (5, {"anna"}) == (len(passwords._wrong), set(passwords._correct))


async def test_waiting_checks_are_limited_for_one_address(stuck: threading.Event) -> None:
    """Other addresses can still be checked."""
    passwords = PasswordVerifier()
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(passwords.verify(USERS, "anna", str(number), "192.0.2.1"))
        await asyncio.sleep(0)
        with pytest.raises(TooManyChecks):
            await passwords.verify(USERS, "anna", "4", "192.0.2.1")
        other = group.create_task(passwords.verify(USERS, "anna", "right", "192.0.2.2"))
        await asyncio.sleep(0)
        assert not other.done()
        stuck.set()
    assert 0 == passwords._waiting.total()


async def test_waiting_checks_are_limited_in_total(stuck: threading.Event) -> None:
    """For a flood from many addresses."""
    passwords = PasswordVerifier()
    async with asyncio.TaskGroup() as group:
        for number in range(32):
            group.create_task(passwords.verify(USERS, "anna", str(number), f"192.0.2.{number}"))
        await asyncio.sleep(0)
        with pytest.raises(TooManyChecks):
            await passwords.verify(USERS, "anna", "32", "192.0.2.99")
        stuck.set()


async def test_a_flood_of_guesses_delays_no_scrape(tmp_path: Path) -> None:
    """A cached password is accepted while all computations hang."""
    going_on = threading.Event()
    async with served(protected(tmp_path)) as (server, _), talk(server) as scraper, asyncio.TaskGroup() as group:
        assert 200 == (await scraper.ask("/metrics", basic("anna", "right")))[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bcrypt, "checkpw", lambda *_: not going_on.wait(PATIENCE))
            guesses = [group.create_task(guess(server, number)) for number in range(40)]
            refused, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
            assert 200 == (await scraper.ask("/metrics", basic("anna", "right")))[0]
            going_on.set()
            assert {429} == {task.result() for task in refused}
            assert 401 in [await task for task in guesses]


async def guess(server: WebServer, number: int) -> int:
    """Guess a password, and return the code of the answer."""
    async with talk(server) as client:
        return (await client.ask("/metrics", basic("anna", f"wrong {number}")))[0]


async def test_a_password_check_does_not_block_the_event_loop(stuck: threading.Event) -> None:
    """It uses its own thread, not those that render pages."""
    passwords = PasswordVerifier()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        checking = group.create_task(passwords.verify(USERS, "anna", "right", ""))
        assert 1 == await asyncio.to_thread(int, "1")
        assert not checking.done()
        stuck.set()


@given(burst=st.integers(1, 5), interval=st.floats(0.1, 10), gaps=st.lists(st.floats(0, 20), max_size=30))
def test_the_rate_limit_is_not_exceeded(burst: int, interval: float, gaps: list[float]) -> None:
    """In any period: the burst, and one request for each interval."""
    bucket, now, passed = TokenBucket(RateLimit(interval, burst)), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.take(now):
            passed.append(now)
    for begin in range(len(passed)):
        for end in range(begin, len(passed)):
            assert end - begin + 1 <= burst + (passed[end] - passed[begin]) / interval + 1e-6


@given(st.integers(1, 5), st.floats(0.1, 10))
def test_requests_within_the_rate_limit_pass(burst: int, interval: float) -> None:
    """A burst at once, then one request every interval."""
    bucket = TokenBucket(RateLimit(interval, burst))
    assert [True] * burst + [False] == [bucket.take(0.0) for _ in range(burst + 1)]
    assert bucket.take(interval * 1.001)


async def test_a_request_above_the_rate_limit_is_rejected(tmp_path: Path) -> None:
    """Every request counts, before the password check."""
    path = protected(tmp_path, "rate_limit: {interval: 24h, burst: 2}")
    async with served(path) as (server, _), talk(server) as client:
        expected = [200, 200, 429]
        assert expected == [(await client.ask())[0] for _ in range(3)]


async def test_configured_headers_are_set(tmp_path: Path) -> None:
    """They override khealth's own, on every response."""
    path = protected(
        tmp_path, "http_server_config: {headers: {X-Frame-Options: sameorigin, Strict-Transport-Security: max-age=1}}"
    )
    async with served(path) as (server, _), ClientSession() as session:
        answer = await session.get(f"http://{server.addresses[0]}/nowhere")
        found = [answer.headers[name] for name in ("X-Frame-Options", "Strict-Transport-Security", "Referrer-Policy")]
        assert ["sameorigin", "max-age=1", "no-referrer"] == found


@pytest.mark.parametrize(("wrong", "expected"), [
    ((), (200, "reloaded\n")), (("khealth.yaml:1:1: is bad", "and so on"), (500, "khealth.yaml:1:1: is bad\nand so on\n")),
])  # fmt: skip
async def test_a_reload_returns_the_errors(wrong: tuple[str, ...], expected: tuple[int, str]) -> None:
    """As Prometheus does: 200, or 500 with the errors."""
    known = Known()
    known.wrong = wrong
    async with served(known=known) as (server, _), talk(server) as client:
        answer = await client.ask("/-/reload", "Content-Length: 0", method="POST")
        assert (expected, 1) == (answer, known.reloads)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_reload_is_a_post(method: str) -> None:
    """A link cannot reload khealth."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        answer = await client.ask("/-/reload", method=method)
        assert ((405, "method not allowed; use POST\n"), 0) == (answer, known.reloads)


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/nowhere"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_all_other_paths_are_read_only(path: str, method: str) -> None:
    """They reject all methods that change something."""
    async with served() as (server, _), talk(server) as client:
        assert 405 == (await client.ask(path, "Content-Length: 0", method=method))[0]


@pytest.mark.parametrize(("headers", "code"), [
    ([], 200),
    (["Sec-Fetch-Site: same-origin", "Origin: http://localhost"], 200),
    (["Sec-Fetch-Site: none"], 200),
    (["Origin: http://localhost"], 200),
    (["Sec-Fetch-Site: cross-site"], 403),
    (["Sec-Fetch-Site: same-site"], 403),
    (["Sec-Fetch-Site: cross-site", "Origin: http://localhost"], 403),
    (["Origin: http://evil.example"], 403),
    (["Origin: http://localhost:81"], 403),
    (["Origin: null"], 403),
])  # fmt: skip
async def test_another_sites_page_cannot_reload(headers: list[str], code: int) -> None:
    """The browser of an administrator would send the password."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        answer = await client.ask("/-/reload", "Content-Length: 0", *headers, method="POST")
        assert (code, int(code == 200)) == (answer[0], known.reloads)


async def test_an_attempt_is_begun_on_request() -> None:
    """202 with its number."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        answer = await client.ask("/-/run/control-plane/api", "Content-Length: 0", method="POST")
        assert ((202, "control-plane/api: attempt 7 begun\n"), ["control-plane/api"]) == (answer, known.begun_attempts)


@pytest.mark.parametrize(("refused", "expected"), [
    (NotBegun("an attempt is running"), (409, "a/b: no attempt begun: an attempt is running\n")),
    (NotBegun("the routine is suspended"), (409, "a/b: no attempt begun: the routine is suspended\n")),
    (UnknownRoutine("unknown routine"), (404, "unknown routine; known routines: rcscheduler/pool-a\n")),
])  # fmt: skip
async def test_an_attempt_that_is_not_begun_is_refused_with_the_reason(
    refused: NotBegun, expected: tuple[int, str]
) -> None:
    """409 for what may work later, 404 with the names that there are."""
    known = Known()
    known.not_begun = refused
    async with served(known=known) as (server, _), talk(server) as client:
        assert expected == await client.ask("/-/run/a/b", "Content-Length: 0", method="POST")


@pytest.mark.parametrize(("path", "name"), [
    ("/-/run/control%2Dplane/ap%69", "control-plane/api"), ("/-/run/a%20b/%C3%A4", "a b/ä"),
])  # fmt: skip
async def test_names_of_routines_may_be_percent_encoded(path: str, name: str) -> None:
    """As clients write them."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        await client.ask(path, "Content-Length: 0", method="POST")
        assert [name] == known.begun_attempts


@pytest.mark.parametrize("path", ["/-/run", "/-/run/a", "/-/run/a/b/c", "/-/run/a%2Fb", "/-/run//b"])
async def test_a_request_for_an_attempt_names_module_and_routine(path: str) -> None:
    """Nothing less, and nothing more."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        code, _ = await client.ask(path, "Content-Length: 0", method="POST")
        assert (404, []) == (code, known.begun_attempts)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_an_attempt_is_begun_by_a_post(method: str) -> None:
    """A link cannot begin one."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        answer = await client.ask("/-/run/a/b", method=method)
        assert ((405, "method not allowed; use POST\n"), []) == (answer, known.begun_attempts)


async def test_an_attempt_needs_the_password(tmp_path: Path) -> None:
    """The same as everything else."""
    known = Known()
    async with served(protected(tmp_path), known) as (server, _), talk(server) as client:
        code, _ = await client.ask("/-/run/a/b", "Content-Length: 0", method="POST")
        assert (401, []) == (code, known.begun_attempts)


@pytest.mark.parametrize(("header", "code"), [
    ("Sec-Fetch-Site: same-origin", 202), ("Sec-Fetch-Site: cross-site", 403), ("Origin: http://evil.example", 403),
])  # fmt: skip
async def test_another_sites_page_cannot_begin_an_attempt(header: str, code: int) -> None:
    """The browser of an administrator would send the password."""
    known = Known()
    async with served(known=known) as (server, _), talk(server) as client:
        answer = await client.ask("/-/run/a/b", "Content-Length: 0", header, method="POST")
        assert (code, int(code == 202)) == (answer[0], len(known.begun_attempts))


async def test_reloads_run_one_at_a_time() -> None:
    """Concurrent requests wait."""
    known, under_way, most = Known(), 0, 0

    async def reload() -> tuple[str, ...]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return ()

    known.reload = reload  # type: ignore[method-assign]
    async with served(known=known) as (server, _), talk(server) as one, talk(server) as two:
        await asyncio.gather(*(client.ask("/-/reload", "Content-Length: 0", method="POST") for client in (one, two)))
    assert 1 == most
