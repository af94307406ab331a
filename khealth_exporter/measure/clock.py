"""Monotonic time with a UTC anchor."""

import time
from collections.abc import Callable

_READINGS, _TOGETHER = 5, 50e-6
"""Readings of both clocks at most, and seconds within which they count as one."""


class Clock:
    """One process's time: durations are of the monotonic clock, and its anchor translates them to UTC."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, utc: Callable[[], float] = time.time) -> None:
        self._monotonic, self._utc = monotonic, utc
        self._offset = 0.0
        self._idle_since: Callable[[], float] | None = None
        self.anchor()

    def anchor(self) -> None:
        """Measure the difference to UTC again, so that a long run follows the machine's corrected clock."""
        before = self._monotonic()
        utc = self._utc()
        self._offset = utc - (before + self._monotonic()) / 2

    def now(self) -> float:
        """Return the monotonic time, in seconds."""
        return self._monotonic()

    def utc(self, at: float | None = None) -> float:
        """Return a monotonic time (now, if None) in Unix seconds."""
        return (self._monotonic() if at is None else at) + self._offset

    def both(self) -> tuple[float, float]:
        """Return the monotonic time and the machine's UTC clock of the same moment, in seconds.

        The UTC clock is read itself, not the anchor. Where khealth was interrupted between the two readings, they are
        taken again.
        """
        for _ in range(_READINGS):
            before = self._monotonic()
            utc = self._utc()
            after = self._monotonic()
            if after - before < _TOGETHER:
                break
        return (before + after) / 2, utc

    def follow(self, idle_since: Callable[[], float]) -> None:
        """Take from this function when the event loop was last idle, in monotonic seconds."""
        self._idle_since = idle_since

    def delay(self, at: float) -> float:
        """Return how long, in seconds, something read at `at` may have waited for this busy event loop."""
        return max(0.0, at - self._idle_since()) if self._idle_since else 0.0
