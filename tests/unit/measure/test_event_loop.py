"""How long the event loop was busy."""

import asyncio
import os
import selectors
import threading
import time

from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.event_loop import BusySelector, measured_loop


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


def test_a_loop_that_waits_is_idle() -> None:
    """Another thread that asks meanwhile hears that nothing keeps the loop busy."""
    reading, writing = os.pipe()
    try:
        with BusySelector(lambda _: None) as selector:
            selector.register(reading, selectors.EVENT_READ)
            asker = threading.Thread(target=selector.select, args=(20.0,))
            asker.start()
            before = selector.idle_until
            while selector.idle_until <= before:
                time.sleep(0.001)
            os.write(writing, b"x")
            asker.join()
    finally:
        os.close(reading)
        os.close(writing)
