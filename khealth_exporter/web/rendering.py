"""A rendering that all who ask within a short time share."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_FASTEST = 1
"""gzip's level: what is shown is compressed for a short time, and levels above save little of its repetitive text."""


def compressed(body: bytes) -> bytes:
    """Return a body as gzip."""
    return gzip.compress(body, _FASTEST)


@dataclass(frozen=True, slots=True)
class Packed:
    """One body in both encodings."""

    plain: bytes
    gzip: bytes

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Return a body with its compressed form."""
        return cls(body, compressed(body))


class Shared:
    """Renders at most once in `fresh` seconds of `clock`, however many ask, and only while it holds `turn`.

    `take` is called in the event loop: it takes what is known, and returns what renders that in a thread.
    """

    def __init__(
        self, take: Callable[[], Callable[[], bytes]], turn: asyncio.Lock, clock: Callable[[], float], fresh: float
    ) -> None:
        self._take, self._turn, self._clock, self._fresh = take, turn, clock, fresh
        self._latest: tuple[float, Packed] | None = None

    async def latest(self) -> Packed:
        """Return a rendering of what was known at most `fresh` seconds before now, or after."""
        asked = self._clock()
        async with self._turn:
            # Who waited for somebody else's rendering takes that one: it began since he asked, or shortly before.
            if self._latest is None or asked - self._latest[0] >= self._fresh:
                taken, render = self._clock(), self._take()
                self._latest = taken, await asyncio.to_thread(lambda: Packed.of(render()))
            return self._latest[1]
