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
from small_network import ADDRESS, NameServer, Relay, dns_answer, dns_record

from khealth_exporter.canary.agent import resolver, until
from khealth_exporter.canary.agent.question import BadQuestion, Question

TRIES = {"every": 0.01, "calm": 10, "timeout": 0.05}


def ask(*checks: dict[str, object], within: float = 30) -> tuple[float, list[dict[str, Any]]]:
    """Return when the question was put, and the results."""
    now = time.monotonic()
    asked = [{"id": str(n), "address": ADDRESS, **TRIES, **check} for n, check in enumerate(checks)]
    document: Any = until.run(Question({"checks": asked}, now), now + within)
    return now, document["results"]


def test_the_first_answer_is_timed(agent: Asker) -> None:
    changed: list[float] = []

    def loses(number: int) -> bool:
        """Note when the first datagram went through."""
        if number >= 5 and not changed:
            changed.append(time.monotonic())
        return number < 5

    with Relay(agent.port, loses=loses).running() as relay:
        began, (found,) = ask({"protocol": "udp", "port": relay.port, "want": "answer", "timeout": 1})
    assert (True, 6) == (found["reached"], found["tries"])
    assert abs(began + found["seconds"] - changed[0]) <= found["uncertainty"]


def test_silence_begins_after_the_last_answer(agent: Asker) -> None:
    changed: list[float] = []

    def loses(number: int) -> bool:
        if number >= 10 and not changed:
            changed.append(time.monotonic())
        return number >= 10

    with Relay(agent.port, loses=loses).running() as relay:
        began, (found,) = ask({"protocol": "udp", "port": relay.port, "want": "silence", "timeout": 1, "calm": 20})
    assert found["reached"]
    # The relay lets five through; on a busy machine, one of them may be too late to count.
    assert {""} == found["answers"].keys()
    assert 1 <= found["answers"][""] <= 5
    assert "ETIMEDOUT: no answer in time" == found["error"]
    assert 0 < found["seconds"] < changed[0] - began
    assert changed[0] - began <= found["seconds"] + found["uncertainty"] + 1


def test_what_never_answers_is_silent_from_the_beginning() -> None:
    _, (found,) = ask({"protocol": "tcp", "port": 1, "want": "silence"})
    assert (True, 0.0, 10, {}) == tuple(found[key] for key in ("reached", "seconds", "tries", "answers"))


@contextlib.contextmanager
def answering(name: Callable[[int], str]) -> Iterator[tuple[int, list[float]]]:
    """Answer /ping with the name that a number has; provide the port, and when each request came."""
    times: list[float] = []
    ended = threading.Event()

    def answer(server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(ConnectionError):
                if ended.is_set():
                    return
                if connection.recv(1000):
                    body = name(len(times)).encode()
                    times.append(time.monotonic())
                    head = b"HTTP/1.1 200 OK\r\ncontent-length:%d\r\n\r\n" % len(body)
                    connection.sendall(head + body)

    with socket.create_server((ADDRESS, 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1], times
        finally:
            ended.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()


def test_the_last_answer_by_a_name_is_timed() -> None:
    with answering(lambda number: "old" if number in {0, 1, 2, 4} else f"new-{number % 2}") as (port, times):
        began, (found,) = ask({"protocol": "http", "port": port, "want": "not", "not": "old", "timeout": 5})
    assert found["reached"]
    assert 4 == found["answers"]["old"]
    assert times[4] - began <= found["seconds"] + found["uncertainty"]
    assert found["seconds"] >= 0.04


def test_what_is_not_reached_in_time_has_waited_so_long(agent: Asker) -> None:
    _, found = ask(
        {"protocol": "http", "port": agent.port, "want": "silence"},
        {"protocol": "http", "port": agent.port, "want": "not", "not": "agent"},
        {"protocol": "tcp", "port": 1, "want": "answer"},
        within=0.2,
    )
    assert [False] * 3 == [one["reached"] for one in found]
    assert all(one["seconds"] >= 0.2 for one in found)
    assert "ECONNREFUSED: Connection refused" == found[2]["error"]


def test_several_checks_run_side_by_side(agent: Asker) -> None:
    place = {"port": agent.port, "want": "answer"}
    _, found = ask(*({"protocol": protocol, **place} for protocol in ("tcp", "udp", "http")))
    assert [True] * 3 == [one["reached"] for one in found]
    assert [{"": 1}, {"": 1}, {"agent": 1}] == [one["answers"] for one in found]


def test_the_names_that_are_counted_have_a_limit() -> None:
    with answering(lambda number: f"name-{number}") as (port, _):
        _, (found,) = ask({"protocol": "http", "port": port, "want": "not", "not": "x", "calm": 100, "timeout": 5})
    assert 64 == len(found["answers"])


@contextlib.contextmanager
def name_server(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answers: Callable[[bytes], list[bytes]]
) -> Iterator[NameServer]:
    """Let a test answer lookups."""
    (folder / "resolv.conf").write_text(f"nameserver {ADDRESS}\nsearch stale.local\noptions ndots:5\n")
    monkeypatch.setenv("KHEALTH_RESOLV_CONF", str(folder / "resolv.conf"))
    with NameServer(answers).running() as server:
        monkeypatch.setattr(resolver, "PORT", server.port)
        yield server


LOOPBACK, DEAD = dns_record(1, b"\x7f\0\0\1"), dns_record(1, b"\x7f\x09\x09\x09")
NAMED = {"address": "a-1.elb.example.com", "timeout": 1, "every": 0.1}


@pytest.mark.parametrize("protocol", ["tcp", "udp", "http"])
@pytest.mark.parametrize("name", ["a-1.elb.example.com", "a-1.elb.example.com.", "A-1.ELB.example.com"])
def test_a_host_name_is_looked_up_as_it_stands(
    agent: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, protocol: str, name: str
) -> None:
    """A load balancer of some providers has no address of its own."""
    with name_server(monkeypatch, tmp_path, lambda query: [dns_answer(query, LOOPBACK)]) as server:
        _, (found,) = ask({**NAMED, "protocol": protocol, "port": agent.port, "want": "answer", "address": name})
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

    with name_server(monkeypatch, tmp_path, answers):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": agent.port, "want": "answer"})
    assert found["reached"]
    assert found["tries"] >= 3


def test_of_several_addresses_each_has_its_turn(agent: Asker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A load balancer may answer at some of them only."""
    with name_server(monkeypatch, tmp_path, lambda query: [dns_answer(query, DEAD, LOOPBACK)]):
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
    with name_server(monkeypatch, tmp_path, lambda query: [dns_answer(query, code=code)]):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": 1, "want": "answer"}, within=1)
    assert (False, True, error) == (found["reached"], found["tries"] > 0, found["error"])


def test_a_name_of_which_one_question_fails_may_have_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That it has no address is not known."""

    def answers(query: bytes) -> list[bytes]:
        return [dns_answer(query, code=2 if query.endswith(b"\0\1\0\1") else 0)]

    with name_server(monkeypatch, tmp_path, answers):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": 1, "want": "answer"}, within=1)
    assert "no lookup: A: servfail; AAAA: nodata" == found["error"]


def test_a_silent_name_server_takes_no_longer_than_a_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tries of a check would pile up."""
    with name_server(monkeypatch, tmp_path, lambda _: []):
        _, (found,) = ask({**NAMED, "protocol": "tcp", "port": 1, "want": "answer", "timeout": 0.05}, within=1)
    assert found["error"].startswith("no lookup: A: timeout")
    assert found["tries"] > 0


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
