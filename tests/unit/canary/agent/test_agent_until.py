"""The question `until`, where the moment of the change is known."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_process import Asker
from small_network import ADDRESS, PATIENCE, NameServer, Relay, dns_answer, dns_record, name_server

from khealth_exporter.canary.agent import until
from khealth_exporter.canary.agent.question import BadQuestion, Question
from khealth_exporter.canary.agent.resolver import Settings
from khealth_exporter.canary.agent.stamps import Trip

TRIES = {"every": 0.03, "calm": 10, "timeout": 15}
"""A try has time enough on a busy machine: whether it is answered is for each test to say."""
CLOCKS = 0.001
"""Seconds; the kernel's clock and the process's are less apart."""


def ask(*checks: dict[str, object], within: float = 2 * PATIENCE) -> tuple[float, list[dict[str, Any]]]:
    """Return when the question was put, and the results."""
    now = time.monotonic()
    asked = [{"id": str(n), "address": ADDRESS, **TRIES, **check} for n, check in enumerate(checks)]
    document: Any = until.run(Question({"checks": asked}, now), now + within)
    return now, document["results"]


def judged(want: dict[str, object], *tries: tuple[float, float | None, str]) -> dict[str, Any]:
    """Return what comes of tries: when each began, when it was answered, and the name in the answer or the error."""
    check = until._Check(Question({"id": "a", "address": ADDRESS, "protocol": "http", **want}, 100.0), Settings())
    for began, at, told in tries:
        trip = Trip()
        trip.at, trip.name, trip.error = (100.0 + at, told, "") if at is not None else (0.0, "", told)
        check._took(100.0 + began, trip)
    return dict(check.result())


def test_an_answer_came_after_the_try_that_failed_last() -> None:
    found = judged({"want": "answer"}, (0.0, None, "EIO"), (0.5, None, "ETIMEDOUT"), (1.0, 1.25, "a"))
    assert (True, 3, {"a": 1}, "") == tuple(found[key] for key in ("reached", "tries", "answers", "error"))
    assert (1.25, 0.75) == (found["seconds"], found["uncertainty"])


def test_silence_lasts_from_the_last_answer_to_the_try_after_it() -> None:
    silent = [(number, None, "ETIMEDOUT") for number in (1.5, 2.0, 2.5)]
    found = judged({"want": "silence", "calm": 3}, (0.0, None, "EIO"), (0.5, 0.6, "a"), (1.0, 1.25, "b"), *silent)
    assert (True, 6, {"a": 1, "b": 1}, "ETIMEDOUT") == tuple(
        found[key] for key in ("reached", "tries", "answers", "error")
    )
    assert (1.25, 0.5) == (found["seconds"], found["uncertainty"])


def test_a_name_counts_as_gone_from_its_last_answer_and_errors_tell_nothing() -> None:
    others = [(1.0, None, "EIO"), (1.5, 1.6, "b"), (2.0, 2.1, "c")]
    found = judged({"want": "not", "not": "a", "calm": 2}, (0.0, 0.1, "b"), (0.5, 0.75, "a"), *others)
    assert (True, 5, {"a": 1, "b": 2, "c": 1}) == tuple(found[key] for key in ("reached", "tries", "answers"))
    assert (0.75, 1.0) == (found["seconds"], found["uncertainty"])


def test_what_was_not_reached_tells_the_last_error() -> None:
    found = judged({"want": "answer"}, (0.0, None, "EIO"), (0.5, None, "ECONNREFUSED"))
    assert (False, 2, "ECONNREFUSED") == (found["reached"], found["tries"], found["error"])


@pytest.mark.usefixtures("stamping")
def test_the_first_answer_is_timed(agent: Asker) -> None:
    changed: list[float] = []

    def loses(number: int) -> bool:
        """Note when the first datagram went through."""
        if number >= 5 and not changed:
            changed.append(time.monotonic())
        return number < 5

    with Relay(agent.port, loses=loses).running() as relay:
        began, (found,) = ask({"protocol": "udp", "port": relay.port, "want": "answer", "timeout": 0.5})
    assert (True, {"": 1}, "") == (found["reached"], found["answers"], found["error"])
    # If the relay has no CPU for a while, it loses tries that have ended, and the answer belongs to a later one.
    assert found["tries"] >= 6
    assert changed[0] - began <= found["seconds"] + CLOCKS
    assert 0 < found["uncertainty"] <= found["seconds"]


@contextlib.contextmanager
def answering(name: Callable[[int], str], most: int = 10_000) -> Iterator[tuple[int, list[tuple[float, float]]]]:
    """Answer so many requests, each with the name that its number has, and then refuse connections.

    Provide the port, and from when to when each answer was sent.
    """
    sent: list[tuple[float, float]] = []
    ended = threading.Event()

    def answer(server: socket.socket) -> None:
        while len(sent) < most:
            connection, _ = server.accept()
            with connection, contextlib.suppress(ConnectionError):
                if ended.is_set():
                    break
                if connection.recv(1000):
                    body, began = name(len(sent)).encode(), time.monotonic()
                    head = b"HTTP/1.1 200 OK\r\ncontent-length:%d\r\n\r\n" % len(body)
                    connection.sendall(head + body)
                    sent.append((began, time.monotonic()))
        server.close()

    with socket.create_server((ADDRESS, 0)) as server:
        place = server.getsockname()
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        try:
            yield place[1], sent
        finally:
            ended.set()
            with contextlib.suppress(ConnectionError):
                socket.create_connection(place).close()
            thread.join()


@pytest.mark.usefixtures("stamping")
def test_silence_begins_after_the_last_answer() -> None:
    with answering(lambda _: "here", most=5) as (port, sent):
        began, (found,) = ask({"protocol": "http", "port": port, "want": "silence"})
    assert (True, {"here": 5}) == (found["reached"], found["answers"])
    assert sent[4][0] - began - CLOCKS <= found["seconds"] <= sent[4][1] - began + CLOCKS
    assert found["uncertainty"] > 0
    assert found["error"]


def test_what_never_answers_is_silent_from_the_beginning() -> None:
    _, (found,) = ask({"protocol": "tcp", "port": 1, "want": "silence"})
    assert (True, 0.0, 10, {}) == tuple(found[key] for key in ("reached", "seconds", "tries", "answers"))
    assert "ECONNREFUSED: Connection refused" == found["error"]


def test_what_says_nothing_is_silent_from_the_beginning() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ADDRESS, 0))
        place = {"protocol": "udp", "port": silent.getsockname()[1]}
        _, (found,) = ask({**place, "want": "silence", "timeout": 0.05})
    assert (True, 0.0, 10, {}) == tuple(found[key] for key in ("reached", "seconds", "tries", "answers"))
    assert "ETIMEDOUT: no answer in time" == found["error"]


@pytest.mark.usefixtures("stamping")
def test_the_last_answer_by_a_name_is_timed() -> None:
    with answering(lambda number: "old" if number in {0, 1, 2, 4} else f"new-{number % 2}") as (port, sent):
        began, (found,) = ask({"protocol": "http", "port": port, "want": "not", "not": "old"})
    assert found["reached"]
    assert 4 == found["answers"]["old"]
    assert sent[4][0] - began - CLOCKS <= found["seconds"] <= sent[4][1] - began + CLOCKS
    assert found["seconds"] >= 4 * TRIES["every"]


def test_what_is_not_reached_in_time_has_waited_so_long(agent: Asker) -> None:
    rare = {"calm": 1000, "every": 0.1}
    _, found = ask(
        {"protocol": "http", "port": agent.port, "want": "silence", **rare},
        {"protocol": "http", "port": agent.port, "want": "not", "not": "agent", **rare},
        {"protocol": "tcp", "port": 1, "want": "answer", **rare},
        within=0.2,
    )
    assert [False] * 3 == [one["reached"] for one in found]
    assert all(one["seconds"] >= 0.2 for one in found)


def test_several_checks_run_side_by_side(agent: Asker) -> None:
    place = {"port": agent.port, "want": "answer", "every": 0.1}
    _, found = ask(*({"protocol": protocol, **place} for protocol in ("tcp", "udp", "http")))
    assert [True] * 3 == [one["reached"] for one in found]
    assert [{"": 1}, {"": 1}, {"agent": 1}] == [one["answers"] for one in found]


def test_it_ends_as_soon_as_all_checks_are_reached(agent: Asker) -> None:
    """No later try keeps the answer back."""
    began, (found,) = ask({"protocol": "tcp", "port": agent.port, "want": "answer", "timeout": 30, "every": 0.1})
    assert found["reached"]
    assert time.monotonic() - began < 30


def test_the_names_that_are_counted_have_a_limit() -> None:
    with answering(lambda number: f"name-{number}") as (port, _):
        _, (found,) = ask({"protocol": "http", "port": port, "want": "not", "not": "x", "calm": 70})
    assert 64 == len(found["answers"])


@contextlib.contextmanager
def names(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answers: Callable[[bytes], list[bytes]]
) -> Iterator[NameServer]:
    """Let a test answer lookups in a pod that has a search list."""
    with name_server(monkeypatch, folder, answers, "search stale.local\noptions ndots:5\n") as server:
        yield server


LOOPBACK, DEAD = dns_record(1, b"\x7f\0\0\1"), dns_record(1, b"\x7f\x09\x09\x09")
NAMED = {"address": "a-1.elb.example.com", "timeout": 30, "every": 0.1, "calm": 2}


@pytest.mark.parametrize("protocol", ["tcp", "udp", "http"])
@pytest.mark.parametrize("name", ["a-1.elb.example.com", "a-1.elb.example.com.", "A-1.ELB.example.com"])
def test_a_host_name_is_looked_up_as_it_stands(
    agent: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, protocol: str, name: str
) -> None:
    """A load balancer of some providers has no address of its own."""
    with names(monkeypatch, tmp_path, lambda query: [dns_answer(query, LOOPBACK)]) as server:
        # Rarely: an agent has no room for what a late name server sends to it at once.
        rare = {**NAMED, "address": name, "every": 1}
        _, (found,) = ask({**rare, "protocol": protocol, "port": agent.port, "want": "answer"})
        assert (True, 1) == (found["reached"], found["tries"])
        assert {b"\x03a-1\x03elb\x07example\x03com\0\0\1\0\1"} == {query[12:] for query in server.asked}


def test_a_host_name_is_looked_up_for_each_try(agent: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It may not resolve yet, and its addresses may change."""
    asked = 0

    def answers(query: bytes) -> list[bytes]:
        nonlocal asked
        asked += query.endswith(b"\0\1\0\1")
        records = [[], [], [DEAD], [LOOPBACK]][min(asked, 3)]
        return [dns_answer(query, *records, code=0 if records else 3)]

    with names(monkeypatch, tmp_path, answers):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": agent.port, "want": "answer"})
    assert found["reached"]
    assert found["tries"] >= 3


def test_of_several_addresses_each_has_its_turn(agent: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A load balancer may answer at some of them only."""
    with names(monkeypatch, tmp_path, lambda query: [dns_answer(query, DEAD, LOOPBACK)]):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": agent.port, "want": "answer"})
    assert found["reached"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (3, "no address: A: nxdomain; AAAA: nxdomain"),
        (0, "no address: A: nodata; AAAA: nodata"),
        (2, "no lookup: A: servfail; AAAA: servfail"),
    ],
)
def test_a_name_that_does_not_resolve_is_a_failed_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, error: str
) -> None:
    with names(monkeypatch, tmp_path, lambda query: [dns_answer(query, code=code)]):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": 1, "want": "silence"})
    assert (True, 2, {}, error) == tuple(found[key] for key in ("reached", "tries", "answers", "error"))


def test_a_name_of_which_one_question_fails_may_have_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That it has no address is not known."""

    def answers(query: bytes) -> list[bytes]:
        return [dns_answer(query, code=2 if query.endswith(b"\0\1\0\1") else 0)]

    with names(monkeypatch, tmp_path, answers):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": 1, "want": "silence"})
    assert "no lookup: A: servfail; AAAA: nodata" == found["error"]


def test_a_silent_name_server_takes_no_longer_than_a_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tries of a check would pile up. One question alone could take a minute here."""
    with names(monkeypatch, tmp_path, lambda _: []):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": 1, "want": "silence", "timeout": 0.05}, within=30)
    assert found["error"].startswith("no lookup: A: timeout")
    assert (True, 2) == (found["reached"], found["tries"])


@pytest.mark.parametrize(
    "address",
    ["", ".", "a..b", ".a", "a b", "a_b", "a/b", "a:80", "*.a", "256.1.1.1", "1.2.3", "10", "fd00::x", "a" * 64,
     "ä", "a\r\nb", ".".join(["a" * 63] * 4), "[::1]", "user@a", 5, None],
    ids=repr,
)  # fmt: skip
def test_what_is_neither_an_address_nor_a_name_is_refused(address: object) -> None:
    with pytest.raises(BadQuestion):
        ask({"protocol": "http", "port": 8079, "want": "answer", "address": address})


@pytest.mark.parametrize(
    "check",
    [{"want": "peace"}, {"want": "not"}, {"want": "not", "not": "a", "protocol": "tcp"}, {"want": "answer", "every": 0},
     {"want": "answer", "every": 0.005, "timeout": 30}],
    ids=str,
)  # fmt: skip
def test_a_check_that_makes_no_sense_is_refused(check: dict[str, object]) -> None:
    with pytest.raises(BadQuestion):
        ask({"protocol": "http", "port": 8079} | check)
