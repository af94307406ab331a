"""Coroutines side by side, and the times of arrival that they get."""

import socket
import time

import pytest
from sockets import pair

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


def test_what_is_under_way_at_the_end_cleans_up_and_the_rest_never_begins() -> None:
    ended: list[int] = []

    async def works(number: int) -> None:
        try:
            await loop.pause(FOREVER)
        finally:
            ended.append(number)

    rest = (works(number) for number in range(5))
    loop.run(rest, time.monotonic() + 0.01, 2)
    assert [0, 1] == sorted(ended)


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


def test_the_kernel_tells_when_bytes_came_however_late_they_are_read() -> None:
    with pair() as (near, far):
        stamp(near)
        before = time.monotonic()
        far.send(b"a")
        after = time.monotonic()
        while time.monotonic() < after + 0.02:
            """Be busy with something else."""
        came = receive(near, 10)
    assert came.exact
    assert before - 0.001 <= came.at <= after + 0.001


def test_without_the_kernels_time_it_is_the_time_of_reading() -> None:
    with pair() as (near, far):
        far.send(b"a")
        before = time.monotonic()
        came = receive(near, 10)
    assert not came.exact
    assert before <= came.at <= time.monotonic()


def test_a_clock_that_was_set_in_between_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pair() as (near, far):
        stamp(near)
        far.send(b"a")
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        assert not receive(near, 10).exact


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


def test_the_kernel_tells_when_bytes_left() -> None:
    """So no time without a CPU between a look at the clock and the packet is in a round trip."""
    trip = stamps.Trip()
    with pair() as (near, far):
        stamp(near)
        far.send(b"b")
        loop.run([asks(near, trip)], FOREVER)
    expected = 1e-6
    assert expected == trip.uncertainty


def test_where_it_does_not_the_time_of_sending_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_DEPARTURES", 0)
    trip = stamps.Trip()
    with pair() as (near, far):
        stamp(near)

        async def answers() -> None:
            assert await loop.readable(far, FOREVER)
            far.send(far.recv(10))

        loop.run([asks(near, trip), answers()], FOREVER)
    assert 1e-6 < trip.uncertainty <= trip.seconds + 1e-6


def test_a_departure_that_is_told_late_does_not_look_like_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some devices tell it after a while; until it is read, the socket seems readable."""
    trip, departed = stamps.Trip(), stamps.Sent._departed
    calls: list[None] = []

    def late(sent: stamps.Sent) -> None:
        calls.append(None)
        if len(calls) > 1:
            departed(sent)

    monkeypatch.setattr(stamps.Sent, "_departed", late)
    with pair() as (near, far):
        stamp(near)
        near.settimeout(0)

        async def answers() -> None:
            assert await loop.readable(far, FOREVER)
            while len(calls) < 2:
                await loop.pause(time.monotonic())
            far.send(far.recv(10))

        loop.run([asks(near, trip), answers()], FOREVER)
    assert 2 == len(calls)
    assert 1e-6 == trip.uncertainty
