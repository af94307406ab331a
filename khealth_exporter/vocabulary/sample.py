"""What is measured, and how far it can be trusted."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from khealth_exporter.vocabulary.step import Step


class Quality(StrEnum):
    """How far a measured step can be trusted, from best to worst; a sample's is the worst of its steps'."""

    EXACT = "exact"
    COLD = "cold"
    FOREIGN = "foreign"
    DEGRADED = "degraded"
    DISCARDED = "discarded"

    @property
    def meaning(self) -> str:
        """What it says of a step, and whether the step counts in its histogram."""
        return _MEANINGS[self]

    @property
    def rank(self) -> int:
        """The place in the order from best (0) to worst."""
        return _RANKS[self]


_RANKS = {quality: rank for rank, quality in enumerate(Quality)}
_MEANINGS = {
    Quality.EXACT: "khealth and its watches were on time",
    Quality.COLD: "`startup` only: the time to pull the image may be included; not counted",
    Quality.FOREIGN: "something that others put into the pod may have made it longer; not counted",
    Quality.DEGRADED: "khealth or a watch was late; counted",
    Quality.DISCARDED: "degraded, and on which side of an objective's limit it lies is not known; not counted",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One step's duration in seconds, and how sure of it khealth is.

    `uncertainty` is in seconds: the truth lies within `seconds` ± `uncertainty`. A `censored` one had not ended when
    its deadline came: `seconds` is then the time waited.
    """

    step: Step
    seconds: float
    uncertainty: float
    quality: Quality = Quality.EXACT
    censored: bool = False


@dataclass(frozen=True, slots=True)
class Distribution:
    """Many durations of one step, which a canary has counted in the step's buckets.

    `counts` has one number for each edge of the step and one for what is above all of them; `seconds` is the sum of
    all durations, and `uncertainty` the largest of one, in seconds.
    """

    step: Step
    counts: tuple[int, ...]
    seconds: float
    uncertainty: float

    @classmethod
    def of(cls, step: Step, durations: Sequence[float], uncertainty: float) -> "Distribution":
        """Return what counts these durations, in seconds; each lies in the bucket of the first edge not below it."""
        places = [bisect_left(step.edges, seconds) for seconds in durations]
        counts = tuple(places.count(place) for place in range(len(step.edges) + 1))
        return cls(step, counts, sum(durations), uncertainty)

    @property
    def count(self) -> int:
        """How many durations it counts."""
        return sum(self.counts)

    @property
    def mean(self) -> Measurement | None:
        """The mean duration; None if there was none."""
        return Measurement(self.step, self.seconds / self.count, self.uncertainty) if self.count else None

    def plus(self, other: "Distribution") -> "Distribution":
        """Return one distribution with what both count of the same step."""
        return Distribution(
            self.step,
            tuple(mine + others for mine, others in zip(self.counts, other.counts, strict=True)),
            self.seconds + other.seconds,
            max(self.uncertainty, other.uncertainty),
        )


def joined(distributions: Iterable[Distribution]) -> tuple[Distribution, ...]:
    """Return one distribution for each step."""
    found: dict[Step, Distribution] = {}
    for one in distributions:
        found[one.step] = found[one.step].plus(one) if one.step in found else one
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured of one object; `observed` maps a milestone to its time in Unix seconds, None if not reached.

    `injected` names what others have put into it, which makes steps foreign. Samples of one uid that different phases
    of an attempt record are parts of one.
    """

    object: str
    uid: str
    node: str | None
    measurements: tuple[Measurement, ...]
    observed: Mapping[str, float | None]
    injected: tuple[str, ...] = ()

    @property
    def quality(self) -> Quality:
        """The worst quality of its measurements."""
        return max((m.quality for m in self.measurements), key=lambda quality: quality.rank, default=Quality.EXACT)

    @property
    def key(self) -> str:
        """What tells its object from others of the attempt: the uid, or the name of one that never existed."""
        return self.uid or self.object

    @property
    def uncertainty(self) -> float:
        """The largest uncertainty of its measurements, in seconds."""
        return max((m.uncertainty for m in self.measurements), default=0.0)

    def joined(self, later: "Sample") -> "Sample":
        """Return one sample with what both say of the same object; a milestone that was reached stays reached."""
        known = {name: time for name, time in later.observed.items() if time is not None}
        return Sample(
            self.object,
            self.uid,
            later.node or self.node,
            self.measurements + later.measurements,
            {**self.observed, **known},
            tuple(dict.fromkeys((*self.injected, *later.injected))),
        )
