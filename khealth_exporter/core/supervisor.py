"""Supervisor: runs one routine as it is wanted now."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.runner import Runner, Stop
from khealth_exporter.vocabulary.event import Event
from khealth_exporter.vocabulary.verdict import Failed


@dataclass(frozen=True, slots=True)
class Pace:
    """How runners run: `jitter`, from 0 to 1, is the share of an interval by which their grids are shifted."""

    jitter: float = 0.0
    once: bool = False


class Supervisor:
    """Lets one runner of a routine follow another as what is wanted changes, each when the last has cleaned up."""

    def __init__(self, publish: Callable[[Event], None], numbers: Iterator[int] | None = None) -> None:
        self._publish, self._numbers = publish, numbers or itertools.count(1)
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
            self.wanted = wanted
            self._stop.request()

    def terminate(self, why: Failed | None = None) -> None:
        """Begin nothing more, and clean up; an init that this cuts short failed with `why`, if that is given."""
        self._terminated, self._why = True, why
        self._stop.request(why)

    def renew(self) -> None:
        """Let `run` be called again, after it was asked to terminate and has returned."""
        self._terminated, self._why = False, None

    async def run(self, pace: Pace) -> None:
        """Run the routine as wanted, until it is not wanted, is asked to terminate, or has made its one attempt."""
        while self.wanted and self._context:
            # If it was asked to terminate before it began, its one attempt is interrupted at once.
            self._stop = Stop(requested=self._terminated, why=self._why)
            if not self.wanted.settings.suspend:
                await self._succeed(self.wanted, pace)
            elif not pace.once:
                await self._stop.wait()
            if pace.once or self._terminated:
                return

    async def _succeed(self, wanted: RoutineConfig, pace: Pace) -> None:
        self.runner = Runner(wanted, self._current, self._publish)
        offset = pace.jitter * wanted.settings.interval
        try:
            await self.runner.run(self._stop, offset=offset, once=pace.once, numbers=self._numbers)
        finally:
            self.runner = None

    def _current(self) -> Context:
        assert self._context  # noqa: S101 - for the type checker: nothing runs before it is wanted
        return self._context
