"""Collector: the only reader of its module's Events; Snapshot: what it knows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import structlog

from khealth_exporter.clock import Clock
from khealth_exporter.event import Event, Evidence, Measurement, Phase, Result, Sample, Verdict
from khealth_exporter.metrics import EXPIRY, Metrics
from khealth_exporter.routine import Context, Routine, RoutineSettings
from khealth_exporter.runner import Runner, Stop

_REMEMBERED = 100
"""Attempts of a routine that a snapshot shows."""
_EVIDENT = 10
"""Attempts of a routine whose evidence it shows."""


class State(StrEnum):
    """How a routine, a module or everything stands, from best to worst."""

    WELL = "well"
    WAITING = "waiting"
    EXPIRED = "expired"
    INCONCLUSIVE = "inconclusive"
    FAILING = "failing"

    @property
    def http_code(self) -> int:
        """The code that `/status` answers with: 200 well, 500 failing, 503 not known."""
        return {State.WELL: 200, State.FAILING: 500}.get(self, 503)


_log = structlog.get_logger()

_STATES = {Result.SUCCESS: State.WELL, Result.FAILURE: State.FAILING, Result.INCONCLUSIVE: State.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of one attempt; times in Unix seconds, `duration` in seconds of init and cleanup without the hold.

    `verdict` is None until there is one, `ended` None until cleanup has ended.
    """

    number: int
    began: float
    phase: Phase
    duration: float = 0.0
    verdict: Verdict | None = None
    judged: float | None = None
    ended: float | None = None
    measurements: tuple[Measurement, ...] = ()
    samples: tuple[Sample, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def after(self, event: Event) -> "Attempt":
        """Return this attempt with what one more of its Events says."""
        held = 0.0 if event.phase is Phase.POLL else event.duration
        return replace(
            self,
            phase=event.phase,
            duration=self.duration + held,
            verdict=event.verdict or self.verdict,
            judged=event.ended if event.verdict else self.judged,
            ended=event.ended if event.phase is Phase.CLEANUP else None,
            measurements=self.measurements + event.measurements,
            samples=_joined(self.samples, event.samples),
            evidence=self.evidence or event.evidence,
        )


def _joined(earlier: tuple[Sample, ...], later: tuple[Sample, ...]) -> tuple[Sample, ...]:
    known = {sample.uid or sample.object: sample for sample in earlier}
    for sample in later:
        key = sample.uid or sample.object
        known[key] = known[key].joined(sample) if key in known else sample
    return tuple(known.values())


@dataclass(frozen=True, slots=True)
class RoutineStatus:
    """One routine as it stands; times in Unix seconds, `since` when its state began."""

    module: str
    routine: str
    interval: float
    state: State = State.WAITING
    since: float | None = None
    consecutive_failures: int = 0
    last_success: float | None = None
    last_failure: Attempt | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        """The latest attempt that has a verdict."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.verdict), None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a Collector knows of its module at one moment."""

    module: str
    routines: tuple[RoutineStatus, ...]

    @property
    def state(self) -> State:
        """The worst state of its routines."""
        return worst(tuple(status.state for status in self.routines))


def worst(states: Sequence[State]) -> State:
    """Return the worst of some states; with none, nothing is known yet."""
    return max(states, key=list(State).index, default=State.WAITING)


class Collector:
    """Runs the routines of one module, and is the only reader of their Events."""

    def __init__(self, module: str, metrics: Metrics, clock: Clock) -> None:
        self.module, self._metrics, self._clock = module, metrics, clock
        self._stop = Stop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._runners: list[Runner] = []
        self._known: dict[str, RoutineStatus] = {}

    def add(self, label: str, kind: type[Routine[Any]], settings: RoutineSettings, context: Context) -> None:
        """Add a routine; its series stand at 0 from here on."""
        self._metrics.declare(self.module, label, kind, settings)
        self._runners.append(Runner(self.module, label, kind, settings, context, self._events.put_nowait))
        self._known[label] = RoutineStatus(self.module, label, settings.interval)

    async def start(self, *, jitter: float = 0.0, once: bool = False) -> None:
        """Run the routines; return when all have cleaned up and every Event is read.

        `jitter`, from 0 to 1, shifts the grid by that share of an interval; `once` makes one attempt of each, with one
        poll instead of the hold.
        """
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read())
            async with asyncio.TaskGroup() as routines:
                for runner in self._runners:
                    offset = jitter * runner.settings.interval
                    routines.create_task(runner.run(self._stop, offset=offset, once=once))
            await self._events.join()
            reader.cancel()

    def terminate(self) -> None:
        """Ask the routines to begin nothing more and to clean up."""
        self._stop.request()

    def status(self) -> Snapshot:
        """Return what is known now."""
        now = self._clock.utc()
        return Snapshot(self.module, tuple(_expired(status, now) for status in self._known.values()))

    def silent(self, seconds: float) -> tuple[str, ...]:
        """Return the routines whose loops have not moved on for so long, beyond what their settings explain."""
        now = self._clock.now()
        return tuple(
            f"{self.module}/{runner.label}"
            for runner in self._runners
            if now - runner.progressed > max(seconds, 2 * runner.settings.interval)
        )

    async def _read(self) -> None:
        while True:
            event = await self._events.get()
            try:
                self._take(event)
            except Exception as error:  # noqa: BLE001 - what one Event breaks must not cost the others
                where = {"module": event.module, "routine": event.routine, "attempt": event.attempt}
                _log.error("an Event could not be taken in", **where, phase=event.phase, exc_info=error)
            finally:
                self._events.task_done()

    def _take(self, event: Event) -> None:
        self._metrics.apply(event)
        before = self._known[event.routine].last
        status = self._known[event.routine] = after(self._known[event.routine], event)
        attempt = status.attempts[-1]
        if attempt.ended is not None:
            self._metrics.ended(event.module, event.routine, attempt.duration, attempt.samples)
        if event.verdict and event.verdict.result is not Result.SUCCESS:
            _log.warning(
                "attempt did not succeed", module=event.module, routine=event.routine, attempt=event.attempt,
                phase=event.phase, result=event.result, reason=event.reason, note=event.note,
            )  # fmt: skip
        elif event.reason:
            _log.warning(
                "cleanup did not succeed either", module=event.module, routine=event.routine, attempt=event.attempt,
                reason=event.reason, note=event.note,
            )  # fmt: skip
        again = before is not None and before.verdict is not None and before.verdict.reason is event.reason
        for seen in event.evidence if event.verdict and not again else ():
            _log.info("evidence", routine=event.routine, kind=seen.kind, name=seen.name, lines=" | ".join(seen.lines))


def after(status: RoutineStatus, event: Event) -> RoutineStatus:
    """Return a routine's status with what one more Event says."""
    *earlier, last = status.attempts or (None,)
    if last is None or last.number != event.attempt:
        earlier, last = list(status.attempts), Attempt(event.attempt, event.began, event.phase)
    attempt = last.after(event)
    if len(earlier) > 1:
        # Two hundred pods in a hundred attempts are more than anyone looks at.
        earlier[-2] = replace(earlier[-2], samples=())
        earlier[-_EVIDENT : -_EVIDENT + 1] = [replace(old, evidence=()) for old in earlier[-_EVIDENT : -_EVIDENT + 1]]
    status = replace(status, attempts=(*earlier, attempt)[-_REMEMBERED:])
    return _judged(status, attempt, event.verdict) if event.verdict else _kept(status, attempt)


def _judged(status: RoutineStatus, attempt: Attempt, verdict: Verdict) -> RoutineStatus:
    state = _STATES[verdict.result]
    since = status.since if status.state is state else attempt.judged
    status = replace(status, state=state, since=since)
    match verdict.result:
        case Result.SUCCESS:
            return replace(status, consecutive_failures=0, last_success=attempt.judged)
        case Result.FAILURE:
            failures = status.consecutive_failures + 1
            return replace(status, consecutive_failures=failures, last_failure=attempt)
        case _:
            return status


def _kept(status: RoutineStatus, attempt: Attempt) -> RoutineStatus:
    """Return the status with the last failure as it stands now, if it is this attempt."""
    if status.last_failure and status.last_failure.number == attempt.number:
        return replace(status, last_failure=attempt)
    return status


def _expired(status: RoutineStatus, now: float) -> RoutineStatus:
    last = status.last
    if last is None or last.judged is None or now - last.judged <= EXPIRY * status.interval:
        return status
    return replace(status, state=State.EXPIRED, since=last.judged + EXPIRY * status.interval)
