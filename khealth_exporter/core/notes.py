"""What one attempt reports, held to what its routine declares."""

from collections.abc import Iterator

from khealth_exporter.core.routine import Recorded, RoutineConfig
from khealth_exporter.vocabulary.event import Completed
from khealth_exporter.vocabulary.matrix import Matrix
from khealth_exporter.vocabulary.reading import Reading, Remark
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed


class UndeclaredError(Exception):
    """A routine reported a step, buckets, a reason or a figure that its class does not declare."""


class Notes:
    """What the running phase has recorded so far."""

    def __init__(self, routine: RoutineConfig) -> None:
        self._kind, self._steps = routine.kind, routine.steps
        self.measurements: list[Measurement] = []
        self.samples: list[Sample] = []
        self.distributions: list[Distribution] = []
        self.readings: list[Reading] = []
        self.remarks: list[Remark] = []
        self.matrix: Matrix | None = None

    def record(self, found: Recorded) -> None:
        """Keep what a routine found out; raise UndeclaredError for what it does not declare."""
        match found:
            case Sample():
                for measured in found.measurements:
                    self._check(measured)
                self.samples.append(found)
            case Measurement():
                self._check(found)
                self.measurements.append(found)
            case Distribution():
                self._check(found)
                self._check_buckets(found)
                self.distributions.append(found)
            case Reading():
                if found.figure not in self._kind.figures:
                    raise UndeclaredError(f"figure {found.figure.name} is not declared by {self._kind.__name__}")
                self.readings.append(found)
            case Remark():
                self.remarks.append(found)
            case Matrix():
                self.matrix = found

    def _check(self, measured: Measurement | Distribution) -> None:
        if measured.step not in self._steps:
            raise UndeclaredError(f"step {measured.step.name} is not declared by {self._kind.__name__}")

    def _check_buckets(self, found: Distribution) -> None:
        step, wanted = found.step, len(found.step.edges) + 1
        if len(found.counts) != wanted or min(found.counts) < 0:
            raise UndeclaredError(f"step {step.name} has {wanted} buckets, and not {found.counts}")
        if step.sli or step.per_object:
            raise UndeclaredError(f"step {step.name} is measured for each object")


class Totals:
    """What all phases of an attempt add up to."""

    def __init__(self) -> None:
        self._duration = 0.0
        self._worst: dict[str, Quality] = {}

    def add(self, notes: Notes, seconds: float) -> None:
        """Take in a phase and how long it took."""
        self._duration += seconds
        for sample in notes.samples:
            self._worst[sample.key] = max(
                self._worst.get(sample.key, Quality.EXACT), sample.quality, key=lambda q: q.rank
            )

    def completed(self) -> Completed:
        """Return the attempt as a whole."""
        return Completed(self._duration, tuple(self._worst.values()))


def failure_in(error: Exception, routine: RoutineConfig) -> Failed | None:
    """Return the failure that an exception stands for; None if it is an internal error.

    Tasks of a routine's own TaskGroup can fail together: of several failures the one of the earliest step counts, and
    it is settled only if all are. An exception that is no Failed, or whose reason the routine does not declare, is an
    internal error.
    """
    found = list(_leaves(error))
    failures = [leaf for leaf in found if isinstance(leaf, Failed) and leaf.reason in routine.kind.all_reasons()]
    if len(failures) < len(found):
        return None
    first = min(failures, key=lambda failed: _place(failed, routine.steps))
    settled = all(failed.settled for failed in failures)
    return Failed(first.reason, first.note, first.evidence, step=first.step, settled=settled)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _place(failed: Failed, steps: tuple[Step, ...]) -> int:
    """Return the index of the failed step; a failure that names no step comes first, as it concerns them all."""
    return steps.index(failed.step) if failed.step in steps else -1
