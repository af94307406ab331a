"""Monotonic time with a UTC anchor; the event loop's busy time."""

import asyncio
import os
import selectors
import time
from pathlib import Path

import pytest

from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.event_loop import BusySelector, RunQueue, measured_loop


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


def test_busy_time_is_what_passes_between_two_waits() -> None:
    """Each iteration's busy time is told once, at the next wait."""
    told: list[float] = []
    with BusySelector(told.append) as selector:
        selector.select(0)
        before = time.monotonic()
        while time.monotonic() - before < 0.002:
            pass
        selector.select(0)
    assert 2 == len(told)
    assert told[1] >= 0.002


def test_a_selector_that_waited_was_idle() -> None:
    """After a wait with nothing to do, `idle_until` has moved on."""
    with BusySelector(lambda _: None) as selector:
        before = time.monotonic()
        selector.select(0.001)
        assert selector.idle_until >= before


def test_a_selector_that_only_looks_was_not_idle() -> None:
    """With work at hand the loop was busy, however long it is so."""
    reading, writing = os.pipe()
    try:
        with BusySelector(lambda _: None) as selector:
            selector.register(reading, selectors.EVENT_READ)
            os.write(writing, b"x")
            idle_until = selector.idle_until
            selector.select(0)
            assert idle_until == selector.idle_until
    finally:
        os.close(reading)
        os.close(writing)


def test_a_measured_loop_tells_of_its_busy_time() -> None:
    """The loop runs as any other, and every iteration is heard of."""
    told: list[float] = []
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: measured_loop(clock, told.append)) as runner:
        runner.run(asyncio.sleep(0))
    assert told
    assert min(told) >= 0


def test_the_kernels_account_of_waiting_only_grows() -> None:
    """Seconds that the thread has waited for a processor, since it began."""
    queue = RunQueue()
    first, second = queue.waited(), queue.waited()
    queue.close()
    assert 0.0 <= first <= second


def test_without_the_kernels_account_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such file, the wait is unknown and taken for nothing."""

    def missing(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", missing)
    assert 0.0 == RunQueue().waited()


def test_a_closed_account_says_nothing(tmp_path: Path) -> None:
    """After `close`, no file is held, and closing again does no harm."""
    assert tmp_path
    queue = RunQueue()
    queue.close()
    queue.close()
    assert 0.0 == queue.waited()
