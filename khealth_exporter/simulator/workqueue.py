"""A controller's queue: each key waits once, has one worker at a time, and backs off on failure."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_FIRST_BACKOFF = 0.005
_LONGEST_BACKOFF = 1000.0


class WorkQueue(Generic[K]):
    """The keys that wait for a worker."""

    def __init__(self, speed: float) -> None:
        """Divide every delay by `speed`."""
        self._speed = speed
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Queue the key."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Queue the key after that many seconds of the cluster's time."""
        asyncio.get_running_loop().call_later(seconds / self._speed, self.add, key)

    def add_failed(self, key: K) -> None:
        """Queue the key again, with exponential back-off."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(_FIRST_BACKOFF * 2.0**failures, _LONGEST_BACKOFF))

    def forget(self, key: K) -> None:
        """Reset the key's failures."""
        self._failures.pop(key, None)

    async def work(self, look: Callable[[K], Awaitable[None]]) -> None:
        """Work on the keys one after another, without end."""
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._working.add(key)
            try:
                await look(key)
            finally:
                self._working.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)
