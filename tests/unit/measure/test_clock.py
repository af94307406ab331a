"""Monotonic time with a UTC anchor, and how late khealth may have seen something."""

import pytest

from khealth_exporter.measure.clock import Clock


class Hands:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.monotonic, self.utc = 100.0, 5000.0

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.monotonic, utc=lambda: self.utc)


def test_monotonic_time_is_translated_by_the_anchor() -> None:
    """A moment's UTC is as far from the anchor's as the moment is from the anchor."""
    hands = Hands()
    clock = hands.clock()
    hands.monotonic += 7.0
    assert (107.0, 5007.0, 5003.0) == (clock.now(), clock.utc(), clock.utc(103.0))


def test_a_machine_clock_that_jumps_changes_no_duration() -> None:
    """Between two anchors UTC is monotonic, whatever somebody does to the machine's clock."""
    hands = Hands()
    clock = hands.clock()
    hands.monotonic, hands.utc = hands.monotonic + 1.0, 9999.0
    assert 5001.0 == clock.utc()


def test_an_anchor_follows_the_corrected_clock() -> None:
    """A long run takes over a machine clock that was set right."""
    hands = Hands()
    clock = hands.clock()
    hands.utc = 6000.0
    clock.anchor()
    assert 6000.0 == clock.utc()


def test_without_a_selector_there_is_no_delay() -> None:
    """Who knows nothing of a loop assumes no delay."""
    assert 0.0 == Clock().delay(1e9)


class Idle:
    """What a clock reads of a selector."""

    idle_until = 100.0


@pytest.mark.parametrize(("at", "delay"), [(100.5, 0.5), (99.0, 0.0)])
def test_the_delay_is_the_time_since_the_loop_was_idle(at: float, delay: float) -> None:
    """What was read since then may have waited for the loop all the time; never less than nothing."""
    clock = Clock()
    clock.follow(lambda: Idle().idle_until)
    assert delay == clock.delay(at)
