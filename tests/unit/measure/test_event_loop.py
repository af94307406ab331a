"""How long the event loop was busy, and how long the kernel let khealth wait."""

import asyncio
import os
import selectors
import time
from pathlib import Path

import pytest

from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.event_loop import BusySelector, RunQueue, measured_loop


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
