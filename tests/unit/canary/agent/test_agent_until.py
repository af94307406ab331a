"""The question `until`, where the moment of the change is known."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_process import Asker
from small_network import ADDRESS, Relay

from khealth_exporter.canary.agent import until
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


@pytest.mark.parametrize(
    "check",
    [{"want": "peace"}, {"want": "not"}, {"want": "not", "not": "a", "protocol": "tcp"}, {"want": "answer", "every": 0},
     {"want": "answer", "every": 0.005, "timeout": 30}],
    ids=str,
)  # fmt: skip
def test_a_check_that_makes_no_sense_is_refused(check: dict[str, object]) -> None:
    with pytest.raises(BadQuestion):
        ask({"protocol": "http", "port": 8079} | check)
