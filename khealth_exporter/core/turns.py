"""Turns: when the attempts of one routine begin."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.stop import Stop
from khealth_exporter.vocabulary.verdict import Failed

_SHORTEST = 0.001
"""Seconds for which an attempt has its slot at least: one that took no time does not get the same slot again."""
_EARLIEST = 0.1
"""Share of an interval that an attempt has at least before another one begins early."""

_STARTING = 60.0
"""Seconds for which a first attempt waits for the agents that it needs."""
_FOLLOWING = 15.0
"""Seconds in which agents in the networks of nodes are to be Ready after the others."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Grid:
    """The moments at which attempts begin: one offset for the whole run, then every `interval` seconds."""

    origin: float
    interval: float

    def next(self, now: float) -> float:
        """Return the first slot that is not before `now`; one that was missed is not made up for."""
        return self.origin + max(0, math.ceil((now - self.origin) / self.interval)) * self.interval


class Turns:
    """Waits for the next turn: a slot of the grid, a reason of the routine's to begin early, or a request.

    Only slots follow one another in a grid: whatever comes in between does not shift it.
    """

    def __init__(self, wanted: RoutineConfig, context: Callable[[], Context]) -> None:
        self._wanted, self._context = wanted, context
        self._clock = context().clock
        self._asked = asyncio.Event()
        self.log = _log.bind(module=wanted.module, routine=wanted.label)
        self.due: float | None = None
        """When the next attempt begins, in monotonic seconds; None while one runs, or is about to begin."""

    def ask(self) -> bool:
        """Let the next turn come at once, and tell whether it does: not while an attempt runs."""
        if self.due is None:
            return False
        self.due = None
        self._asked.set()
        return True

    async def prepared(self, stop: Stop) -> bool:
        """Wait before any attempt until the agents run that it needs, if any; return as `next` does.

        Pods that are made only now take a while, and that must not be held against the cluster.
        """
        if not self._wanted.kind.needs_agents:
            return False
        self.due = self._clock.now() + _STARTING
        return await self._come(stop, _STARTING, self._agents(self.due))

    async def first(self, stop: Stop, grid: Grid) -> bool:
        """Wait for a slot before any attempt; return as `next` does."""
        now = self._clock.now()
        self.due = grid.next(now)
        return await self._come(stop, self.due - now)

    async def next(self, stop: Stop, grid: Grid, began: float) -> bool:
        """Wait for the turn after the one that `began` at this monotonic time, or for a stop; tell if it was asked."""
        now = self._clock.now()
        self.due = grid.next(max(now, began + _SHORTEST))
        earliest = began + max(_SHORTEST, _EARLIEST * self._wanted.settings.interval)
        return await self._come(stop, self.due - now, self._early(earliest))

    async def _come(self, stop: Stop, seconds: float, *reasons: Coroutine[Any, Any, None]) -> bool:
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(wait) for wait in (stop.wait(), self._until_asked(), *reasons)}
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        asked = self._asked.is_set()
        self._asked.clear()
        self.due = None
        return asked

    async def _until_asked(self) -> None:
        await self._asked.wait()

    async def _agents(self, deadline: float) -> None:
        agents = self._context().agents
        with suppress(Failed):  # The attempt finds out itself what is wrong.
            if agents:
                await agents.ready(deadline)
                if self._wanted.kind.compares_hosts:
                    await agents.hosts(min(deadline, self._clock.now() + _FOLLOWING))

    async def _early(self, earliest: float) -> None:
        try:
            await asyncio.sleep(earliest - self._clock.now())
            await self._wanted.kind.early(self._wanted, self._context())
        except Exception as error:
            self.log.exception("internal error", exc_info=error)
            await asyncio.Event().wait()
