"""Runner: phases, bounds, the one verdict."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from khealth_exporter.cluster.client.trouble import own_trouble
from khealth_exporter.cluster.redaction import redacted
from khealth_exporter.core import heavy
from khealth_exporter.core.notes import Notes, Totals, failure_in
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineConfig
from khealth_exporter.core.stop import Stop
from khealth_exporter.core.turns import Turns
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Event, Phase, Skipped
from khealth_exporter.vocabulary.reason import CLIENTS_SILENT, Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import joined
from khealth_exporter.vocabulary.verdict import Evidence, Failed, Verdict

_FIRST_RETRY, _LONGEST_RETRY = 0.25, 5.0
"""Seconds between two tries of a cleanup that fails: doubled each time, up to the longest."""

OVERTIME = 15.0
"""Seconds beyond its bound that a phase has to find out what to blame. After that it is cut off."""
_LONGEST_NOTE = 200
"""Characters of an exception's text that a note keeps."""

_log = structlog.get_logger()


class Runner:
    """Owns one routine's loop, and turns what happens into Events: init, polls until the TTL, always cleanup.

    Each attempt works in the context that `context` returns when it begins.
    """

    def __init__(
        self, wanted: RoutineConfig, context: Callable[[], Context], publish: Callable[[Event | Skipped], None]
    ) -> None:
        self.wanted = wanted
        """The routine that it runs; only its share may change."""
        self.module, self.label, self.kind, self.settings = wanted.module, wanted.label, wanted.kind, wanted.settings
        self.publish, self.context = publish, context
        self.clock: Clock = context().clock
        self.log = _log.bind(module=self.module, routine=self.label)
        self.progressed = self.clock.now()
        """When its loop last made progress, in monotonic seconds."""
        self.turns = Turns(wanted, context)
        """When its next attempt begins."""
        self._numbers: Iterator[int] = itertools.count(1)
        self._promised: list[int] = []

    def begin(self) -> int | None:
        """Begin an attempt at once, and return its number; None while one runs."""
        if not self.turns.ask():
            return None
        self._promised.append(next(self._numbers))
        return self._promised[-1]

    async def run(
        self, stop: Stop, *, offset: float = 0.0, once: bool = False, numbers: Iterator[int] | None = None
    ) -> None:
        """Run attempts on their grid until asked to stop: the first at once, the others from `offset` seconds on.

        The first waits for the agents that it needs. A heavy routine begins with a slot of its grid too. With `once`
        there is one attempt, at once, and one poll instead of the hold. `numbers` numbers the attempts, from 1 on
        unless an earlier runner of the same routine has used some.
        """
        self._numbers = numbers or self._numbers
        asked = await self.turns.prepared(stop) or once
        grid = partial(heavy.grid, now=self.clock.now(), offset=offset)
        if self.kind.heavy and not once:
            asked = await self.turns.first(stop, grid(self.wanted))
            if stop.requested:
                return
        while True:
            self.clock.anchor()
            began = self.clock.now()
            if not asked and heavy.throttled(self.wanted, self.context()):
                self._skip()
            else:
                with own_trouble():
                    number = self._promised.pop() if self._promised else next(self._numbers)
                    await _Attempt(self, number, stop, once=once).run()
            if once or stop.requested:
                return
            asked = await self.turns.next(stop, grid(self.wanted), began)
            if stop.requested:
                return

    def _skip(self) -> None:
        self.progressed = self.clock.now()
        self.publish(Skipped(self.module, self.label, self.clock.utc()))

    def make(self, number: int) -> Routine[Any]:
        """Return a new object of the routine for an attempt."""
        return self.kind(AttemptId(self.module, self.label, number), self.settings, self.context())


class _Attempt:
    """One attempt: every phase is bounded and makes one Event; the first that does not succeed gives the verdict."""

    def __init__(self, runner: Runner, number: int, stop: Stop, *, once: bool) -> None:
        self._runner, self._number, self._stop, self._once = runner, number, stop, once
        self._clock, self._settings = runner.clock, runner.settings
        self._began, self._begun = self._clock.utc(), self._clock.now()
        self._judged = False
        self._completed = Totals()

    async def run(self) -> None:
        """Run the phases; nothing that a routine does keeps cleanup from its turn."""
        try:
            routine = self._runner.make(self._number)
        except Exception as error:  # noqa: BLE001 - a routine that cannot even be made stops no other
            self._end(Phase.INIT, self._clock.now(), self._bug(Phase.INIT, error), Notes(self._runner.wanted))
            self._end(Phase.CLEANUP, self._clock.now(), _Outcome(), Notes(self._runner.wanted))
            return
        routine.stop = self._stop
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
        begun, notes = self._clock.now(), Notes(self._runner.wanted)
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
        begun, notes = self._clock.now(), Notes(self._runner.wanted)
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
            failed = failure_in(error, self._runner.wanted)
            if failed is None:
                return self._bug(phase, error)
            failed = self._excused(failed)
            return _Outcome(failed.reason, failed.note, failed.evidence, failed.settled, failed.component)
        return _Outcome()

    def _excused(self, failed: Failed) -> Failed:
        """Return what a failure means: after an outage of the API server its clients need not be back yet."""
        outage = self._runner.context().cluster.client.outage
        if failed.reason not in CLIENTS_SILENT or self._begun > outage.over:
            return failed
        ago = max(0.0, self._clock.now() - outage.ended)
        note = (
            f"the API server was away until {ago:.0f} s ago, and others may not be back: {failed.reason}: {failed.note}"
        )
        return Failed(Reason.RECOVERING, note, failed.evidence, step=failed.step, settled=failed.settled)

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
                distributions=joined(notes.distributions),
                readings=tuple(notes.readings),
                remarks=tuple(notes.remarks),
                matrix=notes.matrix,
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
