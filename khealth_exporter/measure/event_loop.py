"""The event loop's busy time."""

import asyncio
import os
import selectors
import time
from collections.abc import Callable
from contextlib import suppress

from khealth_exporter.measure.clock import Clock

_WAITED = 20e-6
"""Seconds; a select that took less found its work waiting, so the loop had not been idle."""


class RunQueue:
    """How long one thread has waited for a processor, by the kernel's own account (/proc/…/schedstat)."""

    def __init__(self) -> None:
        self._file: int | None = None
        with suppress(OSError, ValueError, LookupError):
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            self.waited()

    def waited(self) -> float:
        """Return the seconds since the thread began that made this object; always 0 where the kernel does not tell."""
        if self._file is None:
            return 0.0
        return int(os.pread(self._file, 64, 0).split()[1]) / 1e9

    def close(self) -> None:
        """Ask no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class BusySelector(selectors.DefaultSelector):
    """A selector that knows how long the event loop was busy between two waits, at the cost of a few clock readings.

    Until `idle_until` the loop had been waiting with nothing to do; since then it was busy, or ready to run and kept
    waiting for a processor.
    """

    def __init__(self, busy: Callable[[float], None]) -> None:
        super().__init__()
        self._busy = busy
        self._queue = RunQueue()
        self._woke = self.idle_until = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for work, having taken how long the last piece of it took."""
        before = time.monotonic()
        self._busy(before - self._woke)
        queued = 0.0 if timeout == 0 else self._queue.waited()
        ready = super().select(timeout)
        self._woke = time.monotonic()
        # With a timeout of 0 the loop only looks: however long that takes, it was not idle.
        if timeout != 0 and self._woke - before > _WAITED:
            self.idle_until = max(before, self._woke - (self._queue.waited() - queued))
        return ready

    def close(self) -> None:
        """Give up what it holds of the system."""
        self._queue.close()
        super().close()


def measured_loop(clock: Clock, busy: Callable[[float], None]) -> asyncio.AbstractEventLoop:
    """Return an event loop whose busy time `clock` knows; `busy` hears of each iteration's, in seconds."""
    selector = BusySelector(busy)
    clock.follow(lambda: selector.idle_until)
    return asyncio.SelectorEventLoop(selector)
