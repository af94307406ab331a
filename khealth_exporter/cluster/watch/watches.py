"""The shared watches of one namespace: a kind is watched while a routine needs it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Never, TypeVar

from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.cluster.watch.watch import Watch
from khealth_exporter.measure.keep_running import keep_running
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)
_LATER = 1.0
"""Seconds between two looks at what is needed no more."""


class Watches:
    """One watch for each kind that is needed; routines share them.

    `changed` is what the watches fire when one goes live, or stops being live.
    """

    def __init__(self, make: Callable[[Kind[Any]], Watch[Any]], changed: Signal) -> None:
        self._make, self._changed = make, changed
        self._watches: dict[Kind[Any], Watch[Any]] = {}
        self._needed: tuple[Kind[Any], ...] = ()
        self._renewed = asyncio.Event()

    def need(self, kinds: Iterable[Kind[Any]]) -> None:
        """Watch exactly these kinds from now on; a kind that an attempt still follows is dropped when it ends."""
        self._needed = tuple(dict.fromkeys(kinds))
        for kind in self._needed:
            if kind not in self._watches:
                self._watches[kind] = self._make(kind)
        self._renewed.set()

    def of(self, kind: Kind[T]) -> Watch[T]:
        """Return the watch of a kind; KeyError if no routine declares that it watches it."""
        return self._watches[kind]

    def all(self) -> tuple[Watch[Any], ...]:
        """Return every watch."""
        return tuple(self._watches.values())

    def live(self, kinds: Iterable[Kind[Any]]) -> bool:
        """Tell whether the watches of these kinds are all live."""
        return all(self._watches[kind].live for kind in kinds)

    def gaps(self, kinds: Iterable[Kind[Any]]) -> int:
        """Return how often changes of these kinds may have gone unseen."""
        return sum(self._watches[kind].gaps for kind in kinds)

    async def see(self, kinds: Iterable[Kind[Any]], deadline: float) -> None:
        """Wait until these kinds are watched; raise Refused or Failed otherwise, at once if waiting cannot help."""
        watches = [self._watches[kind] for kind in kinds]

        def settled() -> bool:
            hopeless = (w.trouble and w.trouble.reason is Reason.FORBIDDEN for w in watches)
            return all(watch.live for watch in watches) or any(hopeless)

        await self._changed.until(settled, deadline)
        blind = [watch for watch in watches if not watch.live]
        if blind:
            trouble = next((watch.trouble for watch in blind if watch.trouble), None)
            raise trouble or Failed(Reason.API_TIMEOUT, "no list or watch request was answered in time")

    async def run(self) -> Never:
        """Keep the needed watches running until cancelled."""
        async with asyncio.TaskGroup() as group:
            tasks: dict[Kind[Any], asyncio.Task[None]] = {}
            while True:
                self._renewed.clear()
                for kind, watch in self._watches.items():
                    if kind not in tasks:
                        tasks[kind] = group.create_task(keep_running(watch.run, f"watch of {watch.resource}"))
                for kind in [kind for kind, watch in self._watches.items() if self._droppable(kind, watch)]:
                    tasks.pop(kind).cancel()
                    del self._watches[kind]
                await self._wait()

    def _droppable(self, kind: Kind[Any], watch: Watch[Any]) -> bool:
        return kind not in self._needed and not watch.followed

    async def _wait(self) -> None:
        """Wait for a change of what is needed; look again soon while an attempt follows what is needed no more."""
        ending = any(kind not in self._needed for kind in self._watches)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LATER if ending else None):
                await self._renewed.wait()


@contextmanager
def following(watches: Iterable[Watch[Any]]) -> Iterator[Signal]:
    """Provide a signal that fires after every change of these watches' objects, until the block ends."""
    changed = Signal()
    opened = [watch.subscribe(None, changed) for watch in watches]
    try:
        yield changed
    finally:
        for subscription in opened:
            subscription.close()
