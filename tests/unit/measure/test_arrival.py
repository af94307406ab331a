"""When bytes arrived: the kernel's stamp, as long as the clocks can be trusted."""

import socket

import pytest

from khealth_exporter.measure.arrival import Arrival, ArrivalClock
from khealth_exporter.measure.clock import Clock

UTC = 1_700_000_000.0


class Hands:
    """Two clocks that a test sets; `interruption` passes, in seconds, between two readings of them."""

    def __init__(self) -> None:
        self.monotonic, self.utc, self.interruption = 100.0, UTC, 0.0
        self.clock = Clock(lambda: self.monotonic, self._utc)
        self.arrivals = ArrivalClock(self.clock)

    def _utc(self) -> float:
        now = self.utc
        self.pass_by(self.interruption)
        return now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.monotonic += seconds
        self.utc += seconds

    def arrival(self, stamp: float | None, *, asked: float | None = None, woke: float | None = None) -> Arrival:
        """Read bytes that the kernel stamped with this time of its UTC clock."""
        self.arrivals.look()
        return self.arrivals.arrival(stamp, asked, woke)


@pytest.fixture
def hands() -> Hands:
    """Clocks at the moment when a socket was made."""
    return Hands()


def test_the_stamp_is_the_arrival(hands: Hands) -> None:
    """What khealth took to read is known, and no part of the error."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc - 0.25, asked=105.0, woke=109.875)
    assert arrival.stamped
    assert [109.75, 0.125] == pytest.approx([arrival.at, arrival.delay], abs=1e-6)
    assert 0.0 == arrival.uncertainty


def test_what_the_kernel_read_by_itself_has_no_known_delay(hands: Hands) -> None:
    """It arrived when it arrived."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc - 0.25)
    assert (True, None, 0.0) == (arrival.stamped, arrival.delay, arrival.uncertainty)


def test_a_stamp_of_a_moment_ago_may_seem_to_be_in_the_future(hands: Hands) -> None:
    """The two clocks are read one after the other; the delay is never below 0."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc + 0.0005, asked=105.0, woke=110.0)
    assert (0.0, True) == (arrival.delay, arrival.stamped)


@pytest.mark.parametrize("late", [-3600.0, -0.01, 10.5, 3600.0])
def test_a_stamp_out_of_the_sockets_life_is_refused(hands: Hands, late: float) -> None:
    """It is of another clock than the one that is read."""
    hands.pass_by(10.0)
    arrival = hands.arrival(hands.utc - late)
    assert (110.0, False) == (arrival.at, arrival.stamped)


def test_no_stamp_is_the_time_of_reading(hands: Hands) -> None:
    """With what a busy event loop leaves open."""
    hands.clock.follow(lambda: 99.9375)
    hands.pass_by(0.0625)
    arrival = hands.arrival(None, asked=99.0, woke=100.0)
    assert (100.0, 0.1875, False) == (arrival.at, arrival.delay, arrival.stamped)
    assert 0.1875 == arrival.uncertainty


def test_what_the_kernel_read_by_itself_without_a_stamp_came_at_any_time_since() -> None:
    """Since the last bytes of which it is known when they came: all of them, not only the first."""
    hands = Hands()
    hands.pass_by(1.0)
    hands.arrivals.look()
    hands.arrivals.arrival(None, 100.5, 100.75)
    for _ in range(2):
        arrival = hands.arrivals.arrival(None, None, None)
        assert (101.0, 0.25, False) == (arrival.at, arrival.uncertainty, arrival.stamped)


def test_an_interruption_between_two_readings_spoils_no_stamp(hands: Hands) -> None:
    """The clocks' difference of a moment ago is better than one that was read with a pause."""
    hands.pass_by(1.0)
    stamp = hands.utc - 0.25
    hands.interruption = 0.5
    arrival = hands.arrival(stamp)
    assert arrival.stamped
    assert 100.75 == pytest.approx(arrival.at, abs=1e-6)


def test_what_was_read_at_once_may_have_come_since_the_last_reading(hands: Hands) -> None:
    """The stamp is of the last segment; the first one came after what was read before."""
    hands.pass_by(10.0)
    hands.arrival(hands.utc - 0.25)
    assert 0.125 == pytest.approx(hands.arrival(hands.utc - 0.125).spread, abs=1e-6)


@pytest.mark.parametrize(("asked", "late"), [(109.0, False), (109.9, True), (None, False)])
def test_who_asks_late_is_told(hands: Hands, asked: float | None, *, late: bool) -> None:
    """What waited then did so for khealth, and not for a processor."""
    hands.pass_by(10.0)
    assert late == hands.arrival(hands.utc - 0.25, asked=asked, woke=110.0).late


def test_a_full_read_may_have_left_behind_what_came_before_its_stamp(hands: Hands) -> None:
    """The next one's first bytes came as early as its own may have; a read that was not full took all there was."""
    hands.pass_by(10.0)
    stamp = hands.utc - 0.25
    hands.arrivals.look()
    spreads = [
        hands.arrivals.arrival(stamp + later, None, None, full=full).spread
        for later, full in ((0.0, True), (0.0, True), (0.0625, False), (0.125, False))
    ]
    assert [9.75, 9.75, 9.8125, 0.0625] == pytest.approx(spreads, abs=1e-6)


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


def test_a_socket_that_cannot_be_stamped_is_no_error(hands: Hands) -> None:
    """Every arrival is then the time of reading."""
    with socket.socket() as closed:
        pass
    assert not hands.arrivals.watch(closed)
