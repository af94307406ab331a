"""Runner: phases, bounds, the one verdict."""

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from khealth_exporter.cluster.client.trouble import own_trouble
from khealth_exporter.cluster.redaction import redacted
from khealth_exporter.core.notes import Notes, Totals, failure_in
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineConfig
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Evidence, Failed, Verdict

_FIRST_RETRY, _LONGEST_RETRY = 0.25, 5.0
"""Seconds between two tries of a cleanup that fails: doubled each time, up to the longest."""

OVERTIME = 15.0
"""Seconds beyond its bound that a phase has to find out what to blame. After that it is cut off."""
_LONGEST_NOTE = 200
"""Characters of an exception's text that a note keeps."""
_SHORTEST = 0.001
"""Seconds for which an attempt has its slot at least: one that took no time does not get the same slot again."""
_EARLIEST = 0.1
"""Share of an interval that an attempt has at least before another one begins early."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Grid:
    """The moments at which attempts begin: one offset for the whole run, then every `interval` seconds."""

    origin: float
    interval: float

    def next(self, now: float) -> float:
        """Return the first slot that is not before `now`; one that was missed is not made up for."""
        return self.origin + max(0, math.ceil((now - self.origin) / self.interval)) * self.interval


class Stop:
    """A flag that asks for an end; nothing is cancelled by it."""

    def __init__(self, *, requested: bool = False, why: Failed | None = None) -> None:
        self._raised = asyncio.Event()
        self.why: Failed | None = why
        """What an init that is cut short means, unless a request of its own was refused; None for an interruption."""
        if requested:
            self.request(why)

    def request(self, why: Failed | None = None) -> None:
        """Ask for an end."""
        self.why = why
        self._raised.set()

    @property
    def requested(self) -> bool:
        """Whether an end is asked for."""
        return self._raised.is_set()

    async def wait(self) -> None:
        """Return once an end is asked for."""
        await self._raised.wait()


class Runner:
    """Owns one routine's loop, and turns what happens into Events: init, polls until the TTL, always cleanup.

    Each attempt works in the context that `context` returns when it begins.
    """

    def __init__(self, wanted: RoutineConfig, context: Callable[[], Context], publish: Callable[[Event], None]) -> None:
        self.wanted = wanted
        self.module, self.label, self.kind, self.settings = wanted.module, wanted.label, wanted.kind, wanted.settings
        self.publish, self.context = publish, context
        self.clock: Clock = context().clock
        self.log = _log.bind(module=self.module, routine=self.label)
        self.progressed = self.clock.now()
        """When its loop last made progress, in monotonic seconds."""
        self.due: float | None = None
        """When its next attempt begins, in monotonic seconds; None while one runs."""

    async def run(
        self, stop: Stop, *, offset: float = 0.0, once: bool = False, numbers: Iterator[int] | None = None
    ) -> None:
        """Run attempts on their grid until asked to stop: the first at once, the others from `offset` seconds on.

        With `once` there is one attempt, and one poll instead of the hold. `numbers` numbers the attempts, from 1 on
        unless an earlier runner of the same routine has used some.
        """
        grid = Grid(self.clock.now() + offset, self.settings.interval)
        for number in numbers or itertools.count(1):
            self.clock.anchor()
            began, self.due = self.clock.now(), None
            with own_trouble():
                await _Attempt(self, number, stop, once=once).run()
            if once or stop.requested:
                return
            now = self.clock.now()
            self.due = grid.next(max(now, began + _SHORTEST))
            await self._wait(stop, self.due - now, began + max(_SHORTEST, _EARLIEST * self.settings.interval))
            if stop.requested:
                return

    async def _wait(self, stop: Stop, seconds: float, earliest: float) -> None:
        """Wait for the next slot, for a reason to begin early, but not before `earliest`, or for a stop."""
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(stop.wait()), group.create_task(self._early(earliest))}
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _early(self, earliest: float) -> None:
        try:
            await asyncio.sleep(earliest - self.clock.now())
            await self.kind.early(self.wanted, self.context())
        except Exception as error:
            self.log.exception("internal error", exc_info=error)
            await asyncio.Event().wait()

    def make(self, number: int) -> Routine[Any]:
        """Return a new object of the routine for an attempt."""
        return self.kind(AttemptId(self.module, self.label, number), self.settings, self.context())


class _Attempt:
    """One attempt: every phase is bounded and makes one Event; the first that does not succeed gives the verdict."""

    def __init__(self, runner: Runner, number: int, stop: Stop, *, once: bool) -> None:
        self._runner, self._number, self._stop, self._once = runner, number, stop, once
        self._clock, self._settings = runner.clock, runner.settings
        self._began = self._clock.utc()
        self._judged = False
        self._completed = Totals()

    async def run(self) -> None:
        """Run the phases; nothing that a routine does keeps cleanup from its turn."""
        try:
            routine = self._runner.make(self._number)
        except Exception as error:  # noqa: BLE001 - a routine that cannot even be made stops no other
            self._end(Phase.INIT, self._clock.now(), self._bug(Phase.INIT, error), Notes(self._runner.kind))
            self._end(Phase.CLEANUP, self._clock.now(), _Outcome(), Notes(self._runner.kind))
            return
        try:
            well = await self._phase(routine, Phase.INIT, self._settings.timeout, routine.init)
            if well and self._settings.hold and not self._stop.requested:
                await self._phase(routine, Phase.POLL, self._settings.hold, lambda: self._hold(routine))
        finally:
            try:
                await self._cleanup(routine)
            finally:
                self._close(routine)

    def _close(self, routine: Routine[Any]) -> None:
        try:
            routine.close()
        except Exception as error:  # noqa: BLE001 - one routine's bug must not end the others
            self._bug(Phase.CLEANUP, error)

    async def _phase(
        self, routine: Routine[Any], phase: Phase, seconds: float, work: Callable[[], Awaitable[None]]
    ) -> bool:
        """Run init or the hold, and tell whether it succeeded."""
        begun, notes = self._clock.now(), Notes(self._runner.kind)
        routine.deadline, routine.record = begun + seconds, notes.record
        try:
            outcome = await self._bounded(phase, work, seconds + OVERTIME, self._stop)
        except asyncio.CancelledError:
            self._end(phase, begun, _Outcome(Reason.INTERRUPTED, "khealth is stopping"), notes)
            raise
        self._end(phase, begun, outcome, notes)
        return outcome.reason is None

    async def _hold(self, routine: Routine[Any]) -> None:
        """Poll until the TTL is over, the last time at its end."""
        while self._clock.now() < routine.deadline and not self._once:
            await routine.poll()
            self._runner.progressed = self._clock.now()
            await routine.rest(min(self._settings.pause, routine.deadline - self._clock.now()))
        await routine.poll()

    async def _cleanup(self, routine: Routine[Any]) -> None:
        """Clean up, again and again within the bound; a request to stop does not end it."""
        begun, notes = self._clock.now(), Notes(self._runner.kind)
        routine.deadline, routine.record = begun + self._settings.timeout, notes.record
        pause = _FIRST_RETRY
        while True:
            left = routine.deadline - self._clock.now()
            outcome = await self._bounded(Phase.CLEANUP, routine.cleanup, left + OVERTIME, None)
            self._runner.progressed = self._clock.now()
            if outcome.settled or self._clock.now() + pause >= routine.deadline:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY)
        self._end(Phase.CLEANUP, begun, outcome, notes)

    async def _bounded(
        self, phase: Phase, work: Callable[[], Awaitable[None]], seconds: float, stop: "Stop | None"
    ) -> "_Outcome":
        """Run work until it ends, time is up, or a stop (if any may end it) is asked for."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._guarded(phase, work))
            stopper = group.create_task(_cancel_at(stop, task)) if stop else None
            await asyncio.wait({task}, timeout=max(0.0, seconds))
            task.cancel()
            if stopper:
                stopper.cancel()
        if not task.cancelled():
            return task.result()
        if stop and stop.requested:
            # A hold that is cut short has shown nothing wrong; an init that is cut short has shown nothing.
            return _Outcome() if phase is Phase.POLL else self._interrupted(stop.why)
        return self._bug(phase, TimeoutError(f"{phase} did not end within its bound"))

    def _interrupted(self, why: Failed | None) -> "_Outcome":
        if why is None:
            return _Outcome(Reason.INTERRUPTED, "khealth is stopping")
        why = self._runner.context().cluster.client.trouble or why
        return _Outcome(why.reason, why.note, why.evidence, component=why.component)

    async def _guarded(self, phase: Phase, work: Callable[[], Awaitable[None]]) -> "_Outcome":
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - one routine's bug must not end the others
            failed = failure_in(error, self._runner.kind)
            if failed is None:
                return self._bug(phase, error)
            return _Outcome(failed.reason, failed.note, failed.evidence, failed.settled, failed.component)
        return _Outcome()

    def _bug(self, phase: Phase, error: Exception) -> "_Outcome":
        self._runner.log.error("internal error", phase=phase, attempt=self._number, exc_info=error)
        note = redacted(f"{type(error).__name__}: {error}")[:_LONGEST_NOTE]
        return _Outcome(Reason.INTERNAL_ERROR, note, settled=False, component=Reason.INTERNAL_ERROR.component)

    def _end(self, phase: Phase, begun: float, outcome: "_Outcome", notes: Notes) -> None:
        """Publish the phase's Event; it carries the verdict if it is the first that did not succeed, or the last."""
        now = self._clock.now()
        gives = not self._judged and (outcome.reason is not None or phase is Phase.CLEANUP)
        self._judged = self._judged or gives
        self._runner.progressed = now
        self._completed.add(notes, 0.0 if phase is Phase.POLL else now - begun)
        self._runner.publish(
            Event(
                module=self._runner.module,
                routine=self._runner.label,
                attempt=self._number,
                phase=phase,
                result=outcome.result,
                began=self._began,
                ended=self._clock.utc(now),
                duration=now - begun,
                at=now,
                reason=outcome.reason,
                note=outcome.note,
                verdict=outcome.verdict if gives else None,
                measurements=tuple(notes.measurements),
                samples=tuple(notes.samples),
                readings=tuple(notes.readings),
                remarks=tuple(notes.remarks),
                evidence=outcome.evidence,
                completed=self._completed.completed() if phase is Phase.CLEANUP else None,
            )
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a phase ended; once `settled`, nothing is left to clean up."""

    reason: Reason | None = None
    note: str = ""
    evidence: tuple[Evidence, ...] = ()
    settled: bool = True
    component: Component | None = None

    @property
    def result(self) -> Result:
        return self.reason.result if self.reason else Result.SUCCESS

    @property
    def verdict(self) -> Verdict:
        component = self.component or (self.reason.component if self.reason else None)
        return Verdict(self.result, self.reason, self.note, component)


async def _cancel_at(stop: Stop, task: asyncio.Task[_Outcome]) -> None:
    await stop.wait()
    task.cancel()
