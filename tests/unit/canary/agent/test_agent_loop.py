"""Coroutines side by side, and the times of arrival that they get."""

import socket
import time
from types import SimpleNamespace

import pytest
from sockets import Slow, pair

from khealth_exporter.canary.agent import loop, stamps
from khealth_exporter.canary.agent.stamps import receive, stamp

FOREVER = time.monotonic() + 10_000


def test_coroutines_wait_for_each_other() -> None:
    said: list[str] = []
    with pair() as (near, far):

        async def listens() -> None:
            assert await loop.readable(near, FOREVER)
            said.append(near.recv(10).decode())

        async def speaks() -> None:
            assert await loop.writable(far, FOREVER)
            far.send(b"hello")

        loop.run([listens(), speaks()], FOREVER)
    assert ["hello"] == said


def test_waiting_ends_at_its_time() -> None:
    waited: list[bool] = []
    with pair() as (near, _):

        async def listens() -> None:
            waited.append(await loop.readable(near, time.monotonic() + 0.01))

        loop.run([listens()], FOREVER)
    assert [False] == waited


def test_no_more_than_so_many_run_at_a_time() -> None:
    active, most = [0], [0]

    async def works() -> None:
        active[0] += 1
        most[0] = max(most[0], active[0])
        await loop.pause(time.monotonic())
        active[0] -= 1

    loop.run((works() for _ in range(20)), FOREVER, 3)
    assert (0, 3) == (active[0], most[0])


class Working:
    """Coroutines that have much to do."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    async def works(self, number: int) -> None:
        self.begun.append(number)
        try:
            await loop.pause(FOREVER)
        finally:
            self.ended.append(number)


def test_what_is_under_way_at_the_end_cleans_up_and_the_rest_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time comes once two have begun."""
    working = Working()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 10.0 if len(working.begun) > 1 else 0.0))
    loop.run((working.works(number) for number in range(5)), 5.0, 2)
    assert [0, 1] == working.begun == sorted(working.ended)


def test_what_is_under_way_once_there_is_enough_cleans_up() -> None:
    working = Working()

    async def finds_enough() -> None:
        await loop.pause(0)
        working.begun.append(-1)

    loop.run([working.works(0), finds_enough()], FOREVER, 2, lambda: -1 in working.begun)
    assert ([0, -1], [0]) == (working.begun, working.ended)


def test_an_exception_ends_all() -> None:
    async def fails() -> None:
        await loop.pause(0)
        raise LookupError

    async def works() -> None:
        await loop.pause(FOREVER)

    with pytest.raises(LookupError):
        loop.run([works(), fails()], FOREVER)


def test_nothing_to_do_ends_at_once() -> None:
    loop.run([], FOREVER)


@pytest.mark.usefixtures("stamping")
def test_the_kernel_tells_when_bytes_came_however_late_they_are_read() -> None:
    with pair() as (near, far):
        stamp(near)
        before = time.monotonic()
        far.send(b"a")
        after = time.monotonic()
        while time.monotonic() < after + 0.02:
            """Be busy with something else."""
        came = receive(near, 10)
    assert came.uncertainty is not None
    assert before - 0.001 <= came.at <= after + 0.001


def test_without_the_kernels_time_it_is_the_time_of_reading() -> None:
    with pair() as (near, far):
        far.send(b"a")
        before = time.monotonic()
        came = receive(near, 10)
    assert came.uncertainty is None
    assert before <= came.at <= time.monotonic()


@pytest.mark.usefixtures("stamping")
def test_no_time_without_a_cpu_between_both_clocks_shifts_an_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it did: the answer seemed to have come earlier, and nothing said that this is uncertain."""
    real = time.time_ns
    calls: list[None] = []

    def time_ns() -> int:
        calls.append(None)
        if len(calls) == 1:
            time.sleep(0.05)
        return real()

    with pair() as (near, far):
        stamp(near)
        before = time.monotonic()
        far.send(b"a")
        monkeypatch.setattr(time, "time_ns", time_ns)
        came = receive(near, 10)
    assert came.uncertainty is not None
    assert before <= came.at + came.uncertainty


@pytest.mark.usefixtures("stamping")
def test_how_far_both_clocks_are_apart_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns

    def time_ns() -> int:
        time.sleep(0.01)
        return real()

    with pair() as (near, far):
        stamp(near)
        far.send(b"a")
        loop.run([_is_readable(near)], FOREVER)
        monkeypatch.setattr(time, "time_ns", time_ns)
        came = receive(near, 10)
    assert came.uncertainty is not None
    assert came.uncertainty >= 0.005


async def _is_readable(sock: socket.socket) -> None:
    assert await loop.readable(sock, FOREVER)


@pytest.mark.usefixtures("stamping")
def test_a_clock_that_was_set_in_between_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pair() as (near, far):
        stamp(near)
        far.send(b"a")
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        assert receive(near, 10).uncertainty is None


@pytest.mark.parametrize("field", [stamps._RTT, stamps._RETRANSMITTED])
def test_a_handshake_that_the_kernel_did_not_time_is_timed_by_the_process(
    monkeypatch: pytest.MonkeyPatch, field: int
) -> None:
    """Where a packet was sent again, or a kernel of another kind knows nothing, the uncertainty says so."""
    known = [0] * 24
    known[stamps._RTT] = 1
    known[field] = int(field != stamps._RTT)
    monkeypatch.setattr(stamps, "_TCP_INFO", _Info(known))
    took: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:

        async def connects() -> None:
            took.extend(await stamps.connect(client, server.getsockname(), FOREVER))

        began = time.monotonic()
        loop.run([connects()], FOREVER)
    seconds, uncertainty = took
    assert 1e-6 < seconds < time.monotonic() - began
    assert uncertainty > 1e-6


class _Info:
    """What a kernel says of a connection."""

    size = 104

    def __init__(self, values: list[int]) -> None:
        self._values = values

    def unpack(self, _: bytes) -> list[int]:
        return self._values


async def asks(near: socket.socket, trip: stamps.Trip) -> None:
    sent = stamps.Sent(near, b"a")
    sent.answered(await sent.next_arrival(FOREVER, 10), 0.0, trip)


async def answers(far: socket.socket) -> None:
    assert await loop.readable(far, FOREVER)
    far.send(far.recv(10))


def slow_trip() -> stamps.Trip:
    trip = stamps.Trip()
    with pair() as (near, far), Slow.of(near) as slow:
        stamp(slow)
        slow.settimeout(0)
        loop.run([asks(slow, trip), answers(far)], FOREVER)
    return trip


@pytest.mark.usefixtures("stamping")
def test_the_kernel_tells_when_bytes_left() -> None:
    """So no time without a CPU between a look at the clock and the packet is in a round trip."""
    assert slow_trip().uncertainty < Slow.WAITS


def test_where_it_does_not_the_time_of_sending_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_DEPARTURES", 0)
    trip = slow_trip()
    assert 2 * Slow.WAITS <= trip.uncertainty
    assert 2 * Slow.WAITS <= trip.seconds


@pytest.mark.usefixtures("stamping")
def test_a_departure_that_is_told_late_does_not_look_like_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some devices tell it after a while; until it is read, the socket seems readable."""
    trip, departed = stamps.Trip(), stamps.Sent._departed
    calls: list[None] = []

    def late(sent: stamps.Sent) -> None:
        calls.append(None)
        if len(calls) > 1:
            departed(sent)

    monkeypatch.setattr(stamps.Sent, "_departed", late)
    with pair() as (near, far), Slow.of(near) as slow:
        stamp(slow)
        slow.settimeout(0)

        async def answers_later() -> None:
            while len(calls) < 2:
                await loop.pause(time.monotonic())
            await answers(far)

        loop.run([asks(slow, trip), answers_later()], FOREVER)
    assert 2 == len(calls)
    assert trip.uncertainty < Slow.WAITS
