"""What is known of routines at one moment, and how one more Event changes it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from khealth_exporter.core.routine import RoutineSettings
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.matrix import Matrix
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Quality, Sample, joined
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Verdict

EXPIRY = 3
"""Intervals after which a verdict no longer says how the cluster is: health expires."""
_REMEMBERED = 100
"""Attempts of a routine that a snapshot shows."""
_EVIDENT = 10
"""Attempts of a routine whose evidence it shows."""


class State(StrEnum):
    """How a routine, a module or everything stands, from best to worst; what is suspended hides nothing of the rest."""

    SUSPENDED = "suspended"
    WELL = "well"
    WAITING = "waiting"
    EXPIRED = "expired"
    INCONCLUSIVE = "inconclusive"
    FAILING = "failing"

    @property
    def http_code(self) -> int:
        """The code that `/status` answers with: 200 well, 500 failing, 503 not known."""
        return {State.WELL: 200, State.FAILING: 500}.get(self, 503)


_STATES = {Result.SUCCESS: State.WELL, Result.FAILURE: State.FAILING, Result.INCONCLUSIVE: State.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of one attempt; times in Unix seconds, `duration` in seconds of init and cleanup without the hold.

    `verdict` is None until there is one, `ended` None until cleanup has ended. `judged` and `judged_at` are when the
    verdict came, the latter in monotonic seconds. Older attempts no longer have `samples` and
    `evidence`; what stays are `steps`, the attempt's own and those of its slowest object, and `qualities`: of
    how many objects' figures, by the Quality of the same place.
    """

    number: int
    began: float
    phase: Phase
    duration: float = 0.0
    verdict: Verdict | None = None
    judged: float | None = None
    judged_at: float | None = None
    ended: float | None = None
    measurements: tuple[Measurement, ...] = ()
    samples: tuple[Sample, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    steps: tuple[Measurement, ...] = ()
    qualities: tuple[int, ...] = (0,) * len(Quality)
    distributions: tuple[Distribution, ...] = ()

    def after(self, event: Event, order: Sequence[Step] = ()) -> "Attempt":
        """Return this attempt with what one more of its Events says; `order` is that of the steps it may have."""
        held = 0.0 if event.phase is Phase.POLL else event.duration
        measurements, samples = self.measurements + event.measurements, _joined(self.samples, event.samples)
        distributions = joined(self.distributions + event.distributions)
        slowest = max(samples, key=_slowness, default=None)
        found = [sample.quality for sample in samples]
        return replace(
            self,
            phase=event.phase,
            duration=self.duration + held,
            verdict=event.verdict or self.verdict,
            judged=event.ended if event.verdict else self.judged,
            judged_at=event.at if event.verdict else self.judged_at,
            ended=event.ended if event.phase is Phase.CLEANUP else None,
            measurements=measurements,
            distributions=distributions,
            samples=samples,
            evidence=self.evidence or event.evidence,
            steps=_in_order((*measurements, *means(distributions), *(slowest.measurements if slowest else ())), order),
            qualities=tuple(found.count(quality) for quality in Quality),
        )

    @property
    def own(self) -> tuple[Measurement, ...]:
        """What was measured of the attempt itself: each step, or the mean of its distribution."""
        return (*self.measurements, *means(self.distributions))


def means(distributions: Iterable[Distribution]) -> Iterator[Measurement]:
    """Yield the mean of each distribution that counts anything."""
    return (mean for mean in (one.mean for one in distributions) if mean)


def _in_order(measurements: Sequence[Measurement], order: Sequence[Step]) -> tuple[Measurement, ...]:
    places = {step.name: place for place, step in enumerate(order)}
    return tuple(sorted(measurements, key=lambda measured: places.get(measured.step.name, len(places))))


def _joined(earlier: tuple[Sample, ...], later: tuple[Sample, ...]) -> tuple[Sample, ...]:
    known = {sample.key: sample for sample in earlier}
    for sample in later:
        before = known.get(sample.key)
        known[sample.key] = before.joined(sample) if before else sample
    return tuple(known.values())


def _slowness(sample: Sample) -> tuple[bool, float]:
    """Order objects by how long they took until they stood; one that is stuck took longest."""
    stuck = any(measured.censored for measured in sample.measurements)
    return stuck, sum(measured.seconds for measured in sample.measurements if not measured.step.teardown)


@dataclass(frozen=True, slots=True)
class RoutineStatus:
    """One routine as it stands; times in Unix seconds, `since` when its state began, `suspended` since when it is.

    `due` is when the next attempt begins; None while one runs, and where nothing is known of it. `suspended_until` is
    when a suspension ends by itself, None where it does not. `skipped` is when an attempt was last skipped because the
    API server was throttling, None once another one has ended a phase.
    """

    module: str
    routine: str
    interval: float
    steps: tuple[Step, ...] = ()
    state: State = State.WAITING
    since: float | None = None
    consecutive_failures: int = 0
    last_success: float | None = None
    last_failure: Attempt | None = None
    attempts: tuple[Attempt, ...] = ()
    suspended: float | None = None
    suspended_until: float | None = None
    due: float | None = None
    skipped: float | None = None
    remarks: tuple[Remark, ...] = ()
    matrix: Matrix | None = None

    @property
    def last(self) -> Attempt | None:
        """The latest attempt that has a verdict."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.verdict), None)

    @property
    def still_failing(self) -> str:
        """What still fails although the last attempt succeeded, such as another node; nothing in any other state."""
        told = (f"{remark.name}: {remark.text}" for remark in self.remarks if remark.failing)
        return ", ".join(told) if self.state is State.WELL else ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a Collector knows of its module at one moment."""

    module: str
    routines: tuple[RoutineStatus, ...]

    @property
    def state(self) -> State:
        """The worst state of its routines."""
        return worst(tuple(status.state for status in self.routines))


@dataclass(frozen=True, slots=True)
class About:
    """Who looks at what: khealth's version and Python's, the cluster's address, and the time in Unix seconds."""

    version: str
    python: str
    cluster: str
    now: float


def worst(states: Sequence[State]) -> State:
    """Return the worst of some states; with none, nothing is known yet."""
    return max(states, key=list(State).index, default=State.WAITING)


def after(status: RoutineStatus, event: Event) -> RoutineStatus:
    """Return a routine's status with what one more Event says."""
    *earlier, last = status.attempts or (None,)
    if last is None or last.number != event.attempt:
        earlier, last = list(status.attempts), Attempt(event.attempt, event.began, event.phase)
    attempt = last.after(event, status.steps)
    if len(earlier) > 1:
        # Two hundred pods in a hundred attempts are more than anyone looks at.
        earlier[-2] = replace(earlier[-2], samples=())
        earlier[-_EVIDENT : -_EVIDENT + 1] = [replace(old, evidence=()) for old in earlier[-_EVIDENT : -_EVIDENT + 1]]
    remarks = {remark.name: remark for remark in (*status.remarks, *event.remarks)}
    status = replace(
        status,
        attempts=(*earlier, attempt)[-_REMEMBERED:],
        remarks=tuple(remarks.values()),
        matrix=event.matrix or status.matrix,
        skipped=None,
    )
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


def as_wanted(status: RoutineStatus, settings: RoutineSettings, now: float) -> RoutineStatus:
    """Return a routine's status as it is when it is to run with these settings from now on, in Unix seconds."""
    rests = settings.suspended_at(now)
    until = settings.suspend_until if rests and not settings.suspend else None
    status = replace(status, interval=settings.interval, suspended_until=until)
    if rests is (status.suspended is not None):
        return status
    # What was found before says nothing of what comes after.
    suspended = now if rests else None
    return replace(status, state=State.WAITING, since=now, consecutive_failures=0, suspended=suspended, skipped=None)


def shown(status: RoutineStatus, clock: Clock) -> RoutineStatus:
    """Return a routine's status as it is now: suspended, expired, or as its last attempt left it."""
    if status.suspended is not None:
        return replace(status, state=State.SUSPENDED, since=status.suspended, consecutive_failures=0)
    last = status.last
    if status.state is State.WAITING or last is None or last.judged_at is None:
        return status
    if not expired(last.judged_at, status.interval, clock.now()):
        return status
    return replace(status, state=State.EXPIRED, since=clock.utc(last.judged_at + EXPIRY * status.interval))


def expired(judged_at: float, interval: float, now: float) -> bool:
    """Tell whether a verdict is too old to say how the cluster is.

    Both times are monotonic: setting the machine's clock back must not keep a stuck routine well. `interval` is in
    seconds.
    """
    return now - judged_at > EXPIRY * interval
