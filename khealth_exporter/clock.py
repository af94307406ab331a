"""Monotonic time with a UTC anchor; the event loop's busy time."""

import asyncio
import selectors
import time
from collections.abc import Callable

_WAITED = 20e-6
"""Seconds; a select that took less found its work waiting, so the loop had not been idle."""


class Clock:
    """One process's time: durations are of the monotonic clock, and its anchor translates them to UTC."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, utc: Callable[[], float] = time.time
    ) -> None:
        self._monotonic, self._utc = monotonic, utc
        self._offset = 0.0
        self._idle_since: Callable[[], float] | None = None
        self.anchor()

    def anchor(self) -> None:
        """Take the difference to UTC anew, so that a long run follows the machine's corrected clock."""
        before = self._monotonic()
        utc = self._utc()
        self._offset = utc - (before + self._monotonic()) / 2

    def now(self) -> float:
        """Return the monotonic time, in seconds."""
        return self._monotonic()

    def utc(self, at: float | None = None) -> float:
        """Return a monotonic time (now, if None) in Unix seconds."""
        return (self._monotonic() if at is None else at) + self._offset

    def follow(self, selector: "BusySelector") -> None:
        """Take the loop's own delay from this selector."""
        self._idle_since = lambda: selector.idle_until

    def delay(self, at: float) -> float:
        """Return how long, in seconds, something read at `at` may have waited for this busy event loop."""
        return max(0.0, at - self._idle_since()) if self._idle_since else 0.0


class BusySelector(selectors.DefaultSelector):
    """A selector that knows how long the event loop was busy between two waits, at the cost of two clock readings."""

    def __init__(self, busy: Callable[[float], None]) -> None:
        super().__init__()
        self._busy = busy
        self._woke = self.idle_until = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for work, having taken how long the last piece of it took."""
        before = time.monotonic()
        self._busy(before - self._woke)
        ready = super().select(timeout)
        self._woke = time.monotonic()
        if self._woke - before > _WAITED:
            self.idle_until = self._woke
        return ready


def measured_loop(clock: Clock, busy: Callable[[float], None]) -> asyncio.AbstractEventLoop:
    """Return an event loop whose busy time `clock` knows; `busy` hears of each iteration's, in seconds."""
    selector = BusySelector(busy)
    clock.follow(selector)
    return asyncio.SelectorEventLoop(selector)
