"""Collector: runs the routines of its module, and is the only reader of their Events."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import structlog

from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.snapshot import RoutineStatus, Snapshot, after, as_wanted, shown
from khealth_exporter.core.stop import Stop
from khealth_exporter.core.supervisor import Pace, Supervisor, UnknownRoutine
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.event import Event, Skipped
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Failed

__all__ = ["Collector", "Snapshot"]

_log = structlog.get_logger()


class Collector:
    """Runs the routines of one module, and is the only reader of their Events."""

    def __init__(self, module: str, metrics: Metrics, clock: Clock) -> None:
        self.module, self._metrics, self._clock = module, metrics, clock
        self._stop = Stop()
        """Asks the present `start` to end."""
        self._events: asyncio.Queue[Event | Skipped] = asyncio.Queue()
        self._supervisors: dict[str, Supervisor] = {}
        self._known: dict[str, RoutineStatus] = {}
        # One that comes back must not give its objects the names that they had before it went.
        self._numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
        self._running: tuple[asyncio.TaskGroup, Pace] | None = None

    def want(self, routines: Iterable[RoutineConfig], context: Context) -> None:
        """Run exactly these from now on, in `context` from their next attempts on; series of new ones stand at 0.

        Routines that do not change are not disturbed. All others clean up first; then they start again, or disappear.
        """
        wanted = {routine.label: routine for routine in routines}
        for label, supervisor in self._supervisors.items():
            if label not in wanted:
                supervisor.want(None, context)
        for label, routine in wanted.items():
            self._show(routine)
            new = label not in self._supervisors
            if new:
                resumed = partial(self._resumed, label)
                self._supervisors[label] = Supervisor(self._events.put_nowait, self._numbers[label], resumed)
            self._supervisors[label].want(routine, context)
            if new and self._running:
                self._begin(label, *self._running)
        # In the configuration's order; what still cleans up comes last.
        going = [label for label in self._known if label not in wanted]
        self._known = {label: self._known[label] for label in (*wanted, *going)}

    def _show(self, routine: RoutineConfig) -> None:
        """Let metrics and status say how a routine is wanted now: whether it is suspended may depend on the time."""
        label, settings = routine.label, routine.settings
        self._metrics.declare(self.module, label, routine.kind, settings)
        known = self._known.get(label) or RoutineStatus(self.module, label, settings.interval)
        self._known[label] = as_wanted(replace(known, steps=routine.steps), settings, self._clock.utc())

    def _resumed(self, label: str) -> None:
        if self._known[label].suspended is not None:
            _log.info("suspension ended", module=self.module, routine=label)
        if wanted := self._supervisors[label].wanted:
            self._show(wanted)

    def begin(self, label: str) -> int:
        """Begin an attempt of a routine at once, and return its number; raise NotBegun."""
        if label not in self._supervisors:
            raise UnknownRoutine("unknown routine")
        return self._supervisors[label].begin()

    async def start(self, *, jitter: float = 0.0, once: bool = False) -> None:
        """Run what is wanted until asked to terminate; return when all have cleaned up and every Event is read.

        It may be called again then: a replica that is no longer the leader can become it again.
        `jitter`, from 0 to 1, shifts the grid by that share of an interval; `once` makes one attempt of each, with one
        poll instead of the hold, and returns by itself.
        """
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read())
            async with asyncio.TaskGroup() as routines:
                self._running = routines, Pace(jitter, once)
                for label in self._supervisors:
                    self._begin(label, *self._running)
                if not once:
                    await self._stop.wait()
            self._running = None
            await self._events.join()
            reader.cancel()
        self._stop = Stop()
        for supervisor in self._supervisors.values():
            supervisor.renew()

    def _begin(self, label: str, group: asyncio.TaskGroup, pace: Pace) -> None:
        group.create_task(self._supervise(label, pace))

    async def _supervise(self, label: str, pace: Pace) -> None:
        """Run a routine; let it vanish when it is wanted no more, has cleaned up, and all that it said is read."""
        supervisor = self._supervisors[label]
        while True:
            await supervisor.run(pace)
            await self._events.join()
            if not supervisor.wanted:
                break
            if pace.once or self._stop.requested:
                return
        del self._supervisors[label], self._known[label]
        self._metrics.forget(self.module, label)

    def terminate(self, why: Failed | None = None) -> None:
        """Ask the routines to begin nothing more and to clean up; what this cuts short failed with `why`, if given."""
        self._stop.request()
        for supervisor in self._supervisors.values():
            supervisor.terminate(why)

    def status(self) -> Snapshot:
        """Return what is known now."""
        routines = (replace(shown(status, self._clock), due=self._due(label)) for label, status in self._known.items())
        return Snapshot(self.module, tuple(routines))

    def _due(self, label: str) -> float | None:
        """Return when a routine's next attempt begins, in Unix seconds, if that is known."""
        runner = self._supervisors[label].runner if label in self._supervisors else None
        due = runner.turns.due if runner else None
        return self._clock.utc(due) if due is not None else None

    def silent(self, seconds: float) -> tuple[str, ...]:
        """Return the routines whose loops have not moved on for so long, beyond what their settings explain."""
        now = self._clock.now()
        return tuple(
            f"{self.module}/{runner.label}"
            for runner in (supervisor.runner for supervisor in self._supervisors.values())
            if runner and now - runner.progressed > max(seconds, 2 * runner.settings.interval)
        )

    async def _read(self) -> None:
        while True:
            event = await self._events.get()
            try:
                self._take(event)
            except Exception as error:  # noqa: BLE001 - what one Event breaks must not cost the others
                _log.error("internal error: event not processed", **_named(event), exc_info=error)
            finally:
                self._events.task_done()

    def _take(self, event: Event | Skipped) -> None:
        if isinstance(event, Skipped):
            self._metrics.skip(event.module, event.routine)
            self._known[event.routine] = replace(self._known[event.routine], skipped=event.at)
            _log.warning("API server is throttling: attempt skipped", module=event.module, routine=event.routine)
            return
        self._metrics.apply(event)
        before = self._known[event.routine].last
        self._known[event.routine] = after(self._known[event.routine], event)
        self._log(event)
        again = before is not None and before.verdict is not None and before.verdict.reason is event.reason
        for seen in event.evidence if event.verdict and not again else ():
            _log.info("evidence", routine=event.routine, kind=seen.kind, name=seen.name, lines=" | ".join(seen.lines))

    def _log(self, event: Event) -> None:
        """Log an attempt that did not succeed, and a cleanup that failed after it."""
        if event.reason is None:
            return
        log = _log.bind(module=event.module, routine=event.routine, attempt=event.attempt)
        if event.verdict is None:
            log.warning("cleanup failed too", reason=event.reason, note=event.note)
            return
        said = "attempt failed" if event.result is Result.FAILURE else "attempt inconclusive"
        component = event.verdict.component
        log.warning(said, phase=event.phase, reason=event.reason, component=component, note=event.note)


def _named(event: Event | Skipped) -> dict[str, object]:
    named: dict[str, object] = {"module": event.module, "routine": event.routine}
    return named | ({"attempt": event.attempt, "phase": event.phase} if isinstance(event, Event) else {})
