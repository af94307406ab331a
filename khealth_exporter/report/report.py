"""Report: what one run of `once` found, and its exit code."""

from collections.abc import Iterator
from dataclasses import dataclass

from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.verdict import Verdict

_NO_ANSWER = frozenset({Reason.API_UNREACHABLE, Reason.API_TIMEOUT})
_UNTOLD = Verdict(
    Result.INCONCLUSIVE, Reason.INTERRUPTED, "khealth was stopped before there was a verdict", Component.KHEALTH
)
_UNBEGUN = Verdict(Result.INCONCLUSIVE, Reason.INTERRUPTED, "khealth was stopped before it began", Component.KHEALTH)


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of `once` found; `answered` tells whether the API server answered any request at all."""

    version: str
    cluster: str
    snapshots: tuple[Snapshot, ...]
    answered: bool

    @property
    def exit_code(self) -> int:
        """0 well; 1 an attempt failed; 3 the cluster could not be asked, so that nothing is known of it."""
        verdicts = [entry.verdict for entry in entries(self)]
        if not self.answered or all(_says_nothing(verdict) for verdict in verdicts):
            return 3
        return 1 if any(verdict.result is Result.FAILURE for verdict in verdicts) else 0

    @property
    def result(self) -> Result:
        """Failure if any attempt failed; else success if any succeeded, as the exit code has it."""
        results = {entry.verdict.result for entry in entries(self)}
        return next((r for r in (Result.FAILURE, Result.SUCCESS) if r in results), Result.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the report: an attempt, or that there was none."""

    status: RoutineStatus
    attempt: Attempt | None
    verdict: Verdict

    @property
    def own_steps(self) -> tuple[str, ...]:
        """The names of the steps that its routine measures for the attempt itself."""
        return tuple(step.name for step in self.status.steps if not step.per_object)

    @property
    def object_steps(self) -> tuple[str, ...]:
        """The names of the steps that its routine measures for each object."""
        return tuple(step.name for step in self.status.steps if step.per_object)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The steps of the attempt itself, or the mean of each, in the order in which its routine declares them."""
        places = {step.name: place for place, step in enumerate(self.status.steps)}
        measured = self.attempt.own if self.attempt else ()
        return tuple(sorted(measured, key=lambda m: places.get(m.step.name, len(places))))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What was measured of its objects."""
        return self.attempt.samples if self.attempt else ()

    @property
    def seconds(self) -> float:
        """How long it took, without the hold."""
        return round(self.attempt.duration, 6) if self.attempt else 0.0

    @property
    def reason(self) -> str:
        """Why it did not succeed, with the component to look at; empty for a success."""
        reason = self.verdict.reason
        return f"{reason.value} ({self.verdict.component or 'unknown'})" if reason else ""

    @property
    def evidence(self) -> str:
        """What the objects looked like, in lines."""
        evidence = self.attempt.evidence if self.attempt else ()
        return "\n".join("\n  ".join((f"{one.kind} {one.name}", *one.lines)) for one in evidence)


def entries(report: Report) -> Iterator[Entry]:
    """Yield every attempt, and every routine that made none."""
    for snapshot in report.snapshots:
        yield from of_module(snapshot)


def of_module(snapshot: Snapshot) -> Iterator[Entry]:
    """Yield a module's attempts, and its routines that made none."""
    for status in snapshot.routines:
        yield from (Entry(status, attempt, attempt.verdict or _UNTOLD) for attempt in status.attempts)
        if not status.attempts:
            yield Entry(status, None, _UNBEGUN)


def _says_nothing(verdict: Verdict) -> bool:
    return verdict.result is Result.INCONCLUSIVE or verdict.reason in _NO_ANSWER
