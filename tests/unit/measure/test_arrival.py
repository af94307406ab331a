"""When bytes arrived: the kernel's stamp, as long as the clocks can be trusted."""

import math
import socket
import struct
from collections.abc import Iterator

import pytest

from khealth_exporter.measure.arrival import ANCILLARY, SO_TIMESTAMPNS, Ancillary, Arrival, ArrivalClock
from khealth_exporter.measure.clock import Clock

UTC = 1_700_000_000.0


class Hands:
    """Two clocks that a test sets."""

    def __init__(self) -> None:
        self.monotonic, self.utc = 100.0, UTC
        self.clock = Clock(lambda: self.monotonic, lambda: self.utc)
        self.arrivals = ArrivalClock(self.clock)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.monotonic += seconds
        self.utc += seconds

    def arrival(self, stamp: float | None, *, busy: float = 0.0) -> Arrival:
        """Read bytes that the kernel stamped with this time of its UTC clock."""
        return self.read([] if stamp is None else stamped(stamp), busy=busy)

    def read(self, ancillary: Ancillary, *, busy: float = 0.0, apart: float = 0.0) -> Arrival:
        """Read bytes with this ancillary data; khealth may be interrupted between two readings of the clock."""
        before, utc = self.monotonic, self.utc
        self.pass_by(apart)
        return self.arrivals.arrival((ancillary, busy, before, utc, self.monotonic))


def stamped(stamp: float) -> list[tuple[int, int, bytes]]:
    """Return what recvmsg returns beside the bytes."""
    fraction, seconds = math.modf(stamp)
    return [(socket.SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("@ll", int(seconds), round(fraction * 1e9)))]


@pytest.fixture
def hands() -> Hands:
    """Clocks at the moment when a socket was made."""
    return Hands()


def test_the_stamp_is_the_arrival(hands: Hands) -> None:
    """What khealth took to read is known, and no part of the error."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc - 0.25)
    assert arrival.stamped
    assert [109.75, 0.25, 110.0] == pytest.approx([arrival.at, arrival.delay, arrival.read], abs=1e-6)
    assert 0.0 == arrival.uncertainty


def test_a_stamp_of_a_moment_ago_is_never_in_the_future(hands: Hands) -> None:
    """The two clocks are read one after the other."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc + 0.0005)
    assert (110.0, 0.0, True) == (arrival.at, arrival.delay, arrival.stamped)


@pytest.mark.parametrize("late", [-3600.0, -0.01, 10.5, 3600.0])
def test_a_stamp_out_of_the_sockets_life_is_refused(hands: Hands, late: float) -> None:
    """It is of another clock than the one that is read."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc - late)
    assert (110.0, 0.0, False) == (arrival.at, arrival.delay, arrival.stamped)


def test_no_stamp_is_the_time_of_reading(hands: Hands) -> None:
    """With what the event loop's busy time leaves open."""
    arrival = hands.arrival(None, busy=0.125)
    assert (100.0, 0.125, False) == (arrival.at, arrival.delay, arrival.stamped)
    assert (100.0, 0.125) == (arrival.read, arrival.uncertainty)


def test_an_interruption_between_two_readings_spoils_no_stamp(hands: Hands) -> None:
    """The clocks' difference of a moment ago is better than one that was read with a pause."""
    hands.pass_by(1.0)
    stamp = hands.utc - 0.25
    arrival = hands.read(stamped(stamp), apart=0.5)
    assert arrival.stamped
    assert [100.75, 0.75] == pytest.approx([arrival.at, arrival.delay], abs=1e-6)


def test_what_was_read_at_once_may_have_come_since_the_last_reading(hands: Hands) -> None:
    """The stamp is of the last segment; the first one came after what was read before."""
    hands.pass_by(10.0)
    hands.arrival(hands.utc - 0.25)
    assert not (second := hands.arrival(hands.utc - 0.125)).woke
    assert 0.125 == pytest.approx(second.spread, abs=1e-6)
    hands.pass_by(1.0)
    assert hands.arrival(hands.utc - 0.25).woke


@pytest.mark.parametrize("jump", [-3600.0, -0.005, 0.005, 3600.0])
def test_a_clock_that_was_set_spoils_one_stamp(hands: Hands, jump: float) -> None:
    """The stamp may be of before, the reading of after; the next one counts again."""
    hands.utc += jump
    hands.pass_by(1.0)
    assert not hands.arrival(hands.utc - 0.0001).stamped
    hands.pass_by(1.0)
    assert hands.arrival(hands.utc - 0.0001).stamped


def test_a_clock_that_is_slewed_spoils_nothing(hands: Hands) -> None:
    """NTP changes its rate by 500 ppm at most."""
    for _ in range(100):
        hands.pass_by(60.0)
        hands.utc += 60.0 * 500e-6
        assert hands.arrival(hands.utc - 0.0001).stamped


@pytest.mark.parametrize("data", [b"", b"short"])
def test_a_stamp_that_is_none_counts_as_none(hands: Hands, data: bytes) -> None:
    """Another kind, or cut short."""
    hands.pass_by(1.0)
    assert not hands.read([(socket.SOL_SOCKET, SO_TIMESTAMPNS, data), (socket.SOL_SOCKET, 1, data)]).stamped


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            yield near, far


def test_the_kernel_stamps_what_waits_to_be_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """However long khealth does something else: it arrived before."""
    near, far = pair
    clock = Clock()
    arrivals = ArrivalClock(clock)
    arrivals.watch(near)
    # The kernel switches its stamps on a moment after the first socket asks for them.
    while True:
        before = clock.now()
        far.sendall(b"x")
        after = clock.now()
        while clock.now() < after + 0.05:
            pass
        data, ancillary, _, _ = near.recvmsg(10, ANCILLARY)
        arrival = arrivals.arrival((ancillary, 0.0, *clock.readings()))
        if arrival.stamped:
            break
    assert b"x" == data
    assert before - 0.001 <= arrival.at <= after + 0.001
    assert arrival.delay >= 0.049
