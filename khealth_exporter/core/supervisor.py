"""Supervisor: runs one routine as it is wanted now."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.runner import Runner
from khealth_exporter.core.stop import Stop
from khealth_exporter.vocabulary.event import Event, Skipped
from khealth_exporter.vocabulary.verdict import Failed

_LOOK = 60.0
"""Longest time in seconds between two looks at the clock while a window lasts: the machine's clock may be set."""


class NotBegun(Exception):  # noqa: N818 - it reads as what happened
    """An attempt was asked for, and not begun; the text says why."""


class UnknownRoutine(NotBegun):
    """There is no routine of this name."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How runners run: `jitter`, from 0 to 1, is the share of an interval by which their grids are shifted."""

    jitter: float = 0.0
    once: bool = False


class Supervisor:
    """Lets one runner of a routine follow another as what is wanted changes, each when the last has cleaned up.

    `resumed` is called when the routine begins to run, as at the end of a window in which it was suspended.
    """

    def __init__(
        self,
        publish: Callable[[Event | Skipped], None],
        numbers: Iterator[int] | None = None,
        resumed: Callable[[], None] = lambda: None,
    ) -> None:
        self._publish, self._numbers, self._resumed = publish, numbers or itertools.count(1), resumed
        self._stop = Stop()
        self._terminated = False
        self._why: Failed | None = None
        self._context: Context | None = None
        self.wanted: RoutineConfig | None = None
        """The routine as it is to run; None if it is to run no more."""
        self.runner: Runner | None = None
        """The runner that runs now, or still cleans up."""

    def want(self, wanted: RoutineConfig | None, context: Context) -> None:
        """Run the routine like this from now on, in `context` from its next attempt on; no change disturbs nothing."""
        self._context = context
        if wanted != self.wanted:
            self._stop.request()
        elif self.runner and wanted:
            self.runner.wanted = wanted
        self.wanted = wanted

    def terminate(self, why: Failed | None = None) -> None:
        """Begin nothing more, and clean up; an init that this cuts short failed with `why`, if that is given."""
        self._terminated, self._why = True, why
        self._stop.request(why)

    def renew(self) -> None:
        """Let `run` be called again, after it was asked to terminate and has returned."""
        self._terminated, self._why = False, None

    def begin(self) -> int:
        """Begin an attempt at once, and return its number; raise NotBegun."""
        if self.wanted is None:
            raise UnknownRoutine("the routine is being removed")
        if self._terminated:
            raise NotBegun("khealth is stopping")
        if self._suspended(self.wanted):
            raise NotBegun("the routine is suspended")
        number = self.runner.begin() if self.runner and not self._stop.requested else None
        if number is None:
            raise NotBegun("an attempt is running")
        return number

    async def run(self, pace: Pace) -> None:
        """Run the routine as wanted, until it is not wanted, is asked to terminate, or has made its one attempt."""
        while self.wanted and self._context:
            # If it was asked to terminate before it began, its one attempt is interrupted at once.
            self._stop = Stop(requested=self._terminated, why=self._why)
            if not self._suspended(self.wanted):
                self._resumed()
                await self._succeed(self.wanted, pace)
            elif not pace.once:
                await self._rest(self.wanted)
            if pace.once or self._terminated:
                return

    async def _succeed(self, wanted: RoutineConfig, pace: Pace) -> None:
        self.runner = Runner(wanted, self._current, self._publish)
        offset = pace.jitter * wanted.settings.interval
        try:
            await self.runner.run(self._stop, offset=offset, once=pace.once, numbers=self._numbers)
        finally:
            self.runner = None

    def _suspended(self, wanted: RoutineConfig) -> bool:
        return wanted.settings.suspended_at(self._current().clock.utc())

    async def _rest(self, wanted: RoutineConfig) -> None:
        """Return when something else is wanted, or when the window may have ended."""
        clock = self._current().clock
        left = None if wanted.settings.suspend else min(_LOOK, wanted.settings.suspend_until - clock.utc())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._stop.wait()
        clock.anchor()

    def _current(self) -> Context:
        assert self._context  # noqa: S101 - for the type checker: nothing runs before it is wanted
        return self._context
