"""When something was seen, and how late khealth may have seen it."""

import math
from collections import deque
from dataclasses import dataclass

from msgspec import Struct

_WRITES = 64
"""Writes of our own whose lag is remembered: thirty-two attempts."""
_SHARE = 0.9
"""The share of them that the lag which counts is not below: a few slow answers do not widen the bars of all pods."""
_FACTOR = 4.0
"""How many times as late the watches may be while khealth writes nothing: the API server is busiest then. What share
of the true durations lies within such a bar is measured: docs/accuracy.md."""


class Moment(Struct, frozen=True):
    """When something was seen (monotonic seconds), and how much earlier, for khealth's own doing, it may have been."""

    at: float
    delay: float = 0.0
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Lag:
    """How late the watch shows what was written, in seconds: `certain` is sure, `possible` cannot be ruled out."""

    certain: float = 0.0
    possible: float = 0.0

    @classmethod
    def of_write(cls, sent: float, answered: float, seen: float) -> "Lag":
        """Take it from a write of our own: it happened after it was sent, and before it was answered."""
        return cls(max(0.0, seen - answered), max(0.0, seen - sent))

    def or_worse(self, other: "Lag") -> "Lag":
        """Return the worse of two."""
        return Lag(max(self.certain, other.certain), max(self.possible, other.possible))


class Lags:
    """What khealth's latest writes, of all attempts, say about the lag of the watches.

    A multiple of a high quantile of them counts for every pod; of a few, of the worst.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WRITES)
        self.possible = 0.0
        """How late, in seconds, the watches may be."""

    def note(self, lag: Lag) -> None:
        """Take note of one more write's."""
        self._recent.append(lag.possible)
        self.possible = _FACTOR * sorted(self._recent)[math.ceil(_SHARE * len(self._recent)) - 1]
