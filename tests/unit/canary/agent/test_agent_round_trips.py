"""The question `round_trips`, against relays whose delays and losses are known."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_process import Asker
from small_network import ADDRESS, PATIENCE, Relay

from khealth_exporter.canary.agent import round_trips
from khealth_exporter.canary.agent.question import BadQuestion, Question
from khealth_exporter.canary.agent.stamps import Arrival, receive, stamp

EDGES = [0.001, 0.01, 0.1, 1]


def ask(*probes: dict[str, object], within: float = 2 * PATIENCE) -> list[dict[str, Any]]:
    now = time.monotonic()
    question = Question({"probes": [{"id": str(n), **probe} for n, probe in enumerate(probes)], "edges": EDGES}, now)
    document: Any = round_trips.run(question, now + within)
    results: list[dict[str, Any]] = document["results"]
    return results


def probe(protocol: str, port: int, **others: object) -> dict[str, object]:
    place = {"protocol": protocol, "address": ADDRESS, "port": port}
    return {**place, "count": 10, "spacing": 0.002, "timeout": 30, **others}


PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp", "http"])


@PROTOCOLS
def test_every_round_trip_is_counted_once(agent: Asker, protocol: str) -> None:
    (found,) = ask(probe(protocol, agent.port))
    assert (10, 0, 10, "") == (found["sent"], found["lost"], sum(found["counts"]), found["error"])
    assert 0 < found["least"] <= found["median"] <= found["most"] <= found["sum"]
    assert found["uncertainty"] > 0


@PROTOCOLS
def test_results_have_the_order_of_the_probes(agent: Asker, protocol: str) -> None:
    found = ask(*[probe(protocol, agent.port, count=count) for count in (1, 3, 2)])
    assert [("0", 1), ("1", 3), ("2", 2)] == [(one["id"], one["sent"]) for one in found]


@pytest.mark.parametrize("protocol", ["udp", "http"])
def test_a_known_delay_is_reported(agent: Asker, protocol: str) -> None:
    """A slow relay holds packets longer than it means to on a busy machine, and says how long it really did."""
    with Relay(agent.port, delay=0.01).running() as relay:
        (found,) = ask(probe(protocol, relay.port))
    both_ways = sum(relay.delays) / 10
    assert both_ways >= 0.02
    assert both_ways <= found["sum"] / 10
    assert found["least"] >= 0.02


@contextlib.contextmanager
def echoing(held: Callable[[Arrival], float]) -> Iterator[int]:
    """Echo ten datagrams, and say of each that it was held for so many seconds; provide the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((ADDRESS, 0))
        stamp(other)

        def answer() -> None:
            for _ in range(10):
                came = receive(other, 100)
                nanoseconds = round(held(came) * 1e9).to_bytes(8, "big")
                other.sendto(b"khealth!" + came.data[8:16] + nanoseconds + came.data[24:], came.address)

        thread = threading.Thread(target=answer)
        thread.start()
        yield other.getsockname()[1]
        thread.join()


def test_the_time_for_which_the_other_agent_held_a_packet_does_not_count() -> None:
    """An agent without a CPU is no slow network."""

    def slowly(came: Arrival) -> float:
        while (now := time.monotonic()) < came.at + 0.02:
            pass
        return now - came.at

    with echoing(slowly) as port:
        (found,) = ask(probe("udp", port, spacing=0.1))
    assert (10, 0) == (found["sent"], found["lost"])
    assert found["least"] < 0.02


def test_a_longer_time_than_the_round_trip_took_is_not_believed() -> None:
    with echoing(lambda _: 5.0) as port:
        (found,) = ask(probe("udp", port))
    assert (10, 0) == (found["sent"], found["lost"])
    assert found["least"] > 0


def test_lost_datagrams_are_counted_with_their_timeout(agent: Asker) -> None:
    """Else an outage would make the network look faster."""
    with Relay(agent.port, loses=lambda number: number < 3).running() as relay:
        (found,) = ask(probe("udp", relay.port, timeout=0.5))
    assert (10, "ETIMEDOUT: no answer in time") == (found["sent"], found["error"])
    # A relay that has no CPU for a while loses more of them.
    assert found["counts"][3] >= found["lost"] >= 3
    assert found["sum"] >= found["lost"] * 0.5


@PROTOCOLS
def test_where_nothing_listens_every_round_trip_is_lost(protocol: str) -> None:
    # A port that was free a moment ago may be another test's by now.
    (found,) = ask(probe(protocol, 1, count=2))
    assert (2, 2, "ECONNREFUSED: Connection refused") == (found["sent"], found["lost"], found["error"])


def test_one_slow_place_holds_no_other_up() -> None:
    """It answers once the other one has seen all of its connections."""
    with socket.create_server((ADDRESS, 0)) as other:
        expected = iter(range(10))

        def waits(_: Arrival) -> float:
            for _number in expected:
                other.accept()[0].close()
            return 0.0

        with echoing(waits) as port:
            found = ask(probe("udp", port), probe("tcp", other.getsockname()[1]))
    assert [(10, 0), (10, 0)] == [(one["sent"], one["lost"]) for one in found]


def test_what_is_under_way_at_the_end_of_the_time_is_unfinished() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ADDRESS, 0))
        (found,) = ask(probe("udp", silent.getsockname()[1]), within=0.1)
    assert (0, 0, "unfinished") == (found["sent"], found["lost"], found["error"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "EPROTO: status 503"),
        (b"SSH-2.0\r\n", "EPROTO: no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"." * 30_000, ""),
    ],
    ids=["503", "ssh", "endless"],
)
def test_a_server_that_is_no_agent_is_told(answer: bytes, error: str) -> None:
    with socket.create_server((ADDRESS, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        (found,) = ask(probe("http", server.getsockname()[1], count=1))
        thread.join()
    assert error == found["error"]


@pytest.mark.parametrize(("protocol", "size"), [("udp", 1400), ("udp", 9000), ("http", 8000), ("udp", 0)])
def test_packets_may_be_larger(agent: Asker, protocol: str, size: int) -> None:
    (found,) = ask(probe(protocol, agent.port, size=size))
    assert (10, 0) == (found["sent"], found["lost"])


def test_a_datagram_that_the_interface_cannot_take_whole_is_told() -> None:
    """Only with don't-fragment; the loopback takes 65,536 bytes, so it is not reached here."""
    (found,) = ask(probe("udp", 9, size=65_000, fragment=False, address="127.0.0.1", count=1))
    assert found["error"].partition(":")[0] in {"EMSGSIZE", "ECONNREFUSED"}


def test_fragments_may_be_allowed(agent: Asker) -> None:
    (found,) = ask(probe("udp", agent.port, size=3000, fragment=True))
    assert 0 == found["lost"]


@pytest.mark.parametrize(
    "change",
    [{"protocol": "icmp"}, {"address": "example.org"}, {"port": 0}, {"count": 0}, {"count": 1.5}, {"spacing": -1},
     {"size": 70000}, {"timeout": "1"}, {"fragment": 1}, {"id": None}, {"count": True}],
    ids=str,
)  # fmt: skip
def test_a_probe_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadQuestion, match=next(iter(change))):
        ask(probe("udp", 8079) | change)


@pytest.mark.parametrize("edges", [[2, 1], [0], ["1"], 5, [1] * 65, [float("nan")]], ids=str)
def test_edges_must_rise(edges: object) -> None:
    now = time.monotonic()
    with pytest.raises(BadQuestion, match="edges"):
        round_trips.run(Question({"probes": [], "edges": edges}, now), now + 1)


def test_a_probe_must_be_an_object() -> None:
    now = time.monotonic()
    with pytest.raises(BadQuestion, match=r"probes\[0\]: no object"):
        round_trips.run(Question({"probes": [5], "edges": []}, now), now + 1)
