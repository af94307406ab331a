"""Matrix: what a routine measured between nodes, pair by pair."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_KEPT = 2500
"""Pairs that are kept, the worst: all of 50 nodes with each other, or 3 neighbors of 800."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The way from one node to another: the median round trip and its jitter in seconds, and the share that was lost.

    `seconds` is None if no round trip ended. `failing` tells that the last attempt found the pair at fault.
    """

    source: str
    target: str
    seconds: float | None
    jitter: float
    loss: float
    failing: bool = False

    @property
    def badness(self) -> tuple[bool, float, float]:
        """The order from best to worst: what is at fault, what loses most, what is slowest."""
        return self.failing, self.loss, self.seconds or 0.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """The pairs of nodes that an attempt measured, the worst first; a later attempt's replaces it.

    Of `measured` pairs only the worst are kept. Node names are text for people, and never labels of metrics.
    """

    pairs: tuple[Pair, ...]
    measured: int

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Self:
        """Return the matrix of these pairs."""
        ordered = sorted(pairs, key=lambda pair: (pair.source, pair.target))
        ordered.sort(key=lambda pair: pair.badness, reverse=True)
        return cls(tuple(ordered[:_KEPT]), len(ordered))

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes in the pairs that are kept, in order."""
        return tuple(sorted({name for pair in self.pairs for name in (pair.source, pair.target)}))
