"""The event loop's busy time."""

import asyncio
import selectors
import time
from collections.abc import Callable

from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.run_queue import RunQueue

_WAITED = 20e-6
"""Seconds; a select that took less found its work waiting, so the loop had not been idle."""


class BusySelector(selectors.DefaultSelector):
    """A selector that knows how long the event loop was busy between two waits, at the cost of two clock readings."""

    def __init__(self, busy: Callable[[float], None]) -> None:
        super().__init__()
        self._busy = busy
        self._woke = self._idle_until = time.monotonic()
        self._waiting = False
        self.queue = RunQueue()
        """How long the loop was ready to run, and kept waiting for a processor."""

    @property
    def idle_until(self) -> float:
        """Until when the loop had nothing to do, in monotonic seconds; now, while it waits."""
        return time.monotonic() if self._waiting else self._idle_until

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for work, having taken how long the last piece of it took."""
        before = time.monotonic()
        self._busy(before - self._woke)
        # With a timeout of 0 the loop only looks: however long that takes, it is not idle.
        self._waiting = timeout != 0
        ready = super().select(timeout)
        self._woke = time.monotonic()
        if self._waiting and self._woke - before > _WAITED:
            self._idle_until = self._woke
        self._waiting = False
        return ready

    def close(self) -> None:
        """Give up what it holds of the system."""
        self.queue.close()
        super().close()


def measured_loop(clock: Clock, busy: Callable[[float], None]) -> asyncio.AbstractEventLoop:
    """Return an event loop whose busy time `clock` knows; `busy` hears of each iteration's, in seconds."""
    selector = BusySelector(busy)
    clock.follow(lambda: selector.idle_until, selector.queue.waited)
    return asyncio.SelectorEventLoop(selector)
