"""Monotonic time with a UTC anchor."""

import time
from collections.abc import Callable


class Clock:
    """One process's time: durations are of the monotonic clock, and its anchor translates them to UTC."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, utc: Callable[[], float] = time.time) -> None:
        self.monotonic, self.utc_now = monotonic, utc
        """The machine's clocks, both in seconds: its monotonic one, and the one that may be set."""
        self._offset = 0.0
        self._idle_since: Callable[[], float] | None = None
        self._queued: Callable[[], float] = float
        self.anchor()

    def anchor(self) -> None:
        """Measure the difference to UTC again, so that a long run follows the machine's corrected clock."""
        before, utc, after = self.readings()
        self._offset = utc - (before + after) / 2

    def now(self) -> float:
        """Return the monotonic time, in seconds."""
        return self.monotonic()

    def utc(self, at: float | None = None) -> float:
        """Return a monotonic time (now, if None) in Unix seconds."""
        return (self.monotonic() if at is None else at) + self._offset

    def readings(self) -> tuple[float, float, float]:
        """Return the monotonic time, the machine's UTC clock (not the anchor), and the monotonic time again."""
        return self.monotonic(), self.utc_now(), self.monotonic()

    def follow(self, idle_since: Callable[[], float], queued: Callable[[], float] = float) -> None:
        """Take from these functions when the event loop was last idle, in monotonic seconds, and `queued`'s answer."""
        self._idle_since, self._queued = idle_since, queued

    def delay(self, at: float) -> float:
        """Return how long, in seconds, something read at `at` may have waited for this busy event loop."""
        return max(0.0, at - self._idle_since()) if self._idle_since else 0.0

    def queued(self) -> float:
        """Return the seconds that the event loop has been kept waiting for a processor since it began."""
        return self._queued()
