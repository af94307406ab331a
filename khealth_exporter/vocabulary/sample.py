"""What is measured, and how far it can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from khealth_exporter.vocabulary.step import Step


class Quality(StrEnum):
    """How far a measured step can be trusted, from best to worst; a sample's is the worst of its steps'."""

    EXACT = "exact"
    COLD = "cold"
    DEGRADED = "degraded"
    DISCARDED = "discarded"

    @property
    def rank(self) -> int:
        """The place in the order from best (0) to worst."""
        return _RANKS[self]


_RANKS = {quality: rank for rank, quality in enumerate(Quality)}


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
class Sample:
    """What was measured of one object; `observed` maps a milestone to its time in Unix seconds, None if not reached.

    Samples of one uid that different phases of an attempt record are parts of one.
    """

    object: str
    uid: str
    node: str | None
    measurements: tuple[Measurement, ...]
    observed: Mapping[str, float | None]

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
        )
