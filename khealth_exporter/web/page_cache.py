"""Rendered pages: compressed once, and shared by requests that arrive within a short time."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_FASTEST = 1
"""The gzip level. Higher levels cost more time and save little: the text is repetitive."""


def gzipped(body: bytes) -> bytes:
    """Return a body, compressed with gzip."""
    return gzip.compress(body, _FASTEST)


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """One response body in both encodings."""

    plain: bytes
    gzip: bytes

    @classmethod
    def of(cls, body: bytes) -> Self:
        """Return a body with its compressed form."""
        return cls(body, gzipped(body))


class PageCache:
    """Renders a page at most once in `max_age` seconds of `clock`, and only while it holds `lock`.

    `snapshot` runs on the event loop. It collects the data and returns a function that renders it in a thread.
    """

    def __init__(
        self,
        snapshot: Callable[[], Callable[[], bytes]],
        lock: asyncio.Lock,
        clock: Callable[[], float],
        max_age: float,
    ) -> None:
        self._snapshot, self._lock, self._clock, self._max_age = snapshot, lock, clock, max_age
        self._latest: tuple[float, EncodedBody] | None = None

    async def get(self) -> EncodedBody:
        """Return the page with data that is at most `max_age` seconds older than this call."""
        called = self._clock()
        async with self._lock:
            # After a wait for another request's rendering, that rendering is recent enough.
            if self._latest is None or called - self._latest[0] >= self._max_age:
                taken, render = self._clock(), self._snapshot()
                self._latest = taken, await asyncio.to_thread(lambda: EncodedBody.of(render()))
            return self._latest[1]
