"""From moments and answers to measurements with their error bars."""

from dataclasses import dataclass, field, replace

from khealth_exporter.measure.moments import Lag, Moment
from khealth_exporter.vocabulary.sample import Measurement, Quality
from khealth_exporter.vocabulary.settings import MeasurementSettings
from khealth_exporter.vocabulary.step import Step

SLO_EDGES = (1.0, 5.0)
"""Seconds; a duration that may lie on either side of one says nothing about the objective."""


@dataclass(frozen=True, slots=True)
class Ruler:
    """Measures steps by what is known of khealth's own delay."""

    limits: MeasurementSettings
    lag: Lag = field(default_factory=Lag)

    def measure(self, step: Step, begin: Moment, end: Moment, *, censored: bool = False) -> Measurement:
        """Return a step's duration between two moments that watches showed.

        One that comes out negative is 0, and its error bar is at least what was cut off. Where one update showed both
        ends, the API server itself knows of no time between them.
        """
        seconds = end.at - begin.at
        uncertainty = 0.0 if end is begin else max(begin.delay, end.delay) + self.lag.possible
        late = max(begin.delay, end.delay) > self.limits.loop_lag or self.lag.certain > self.limits.watch_lag
        measured = Measurement(
            step,
            max(0.0, seconds),
            max(uncertainty, -seconds),
            Quality.DEGRADED if late or begin.recovered or end.recovered else Quality.EXACT,
            censored,
        )
        return straddling(measured)

    def answer(self, step: Step, sent: float, answered: float, *, delay: float, tries: int) -> Measurement:
        """Return the duration of a request; the times are monotonic, and `delay` is khealth's own, all in seconds.

        A request that was repeated is degraded: an earlier try may have been the one that worked.
        """
        late = tries > 1 or delay > self.limits.loop_lag
        quality = Quality.DEGRADED if late else Quality.EXACT
        return straddling(Measurement(step, answered - sent, delay, quality))


def straddling(measured: Measurement) -> Measurement:
    """Discard a degraded measurement whose error bar lies on both sides of an objective's limit."""
    unclear = any(abs(measured.seconds - edge) < measured.uncertainty for edge in SLO_EDGES)
    discard = measured.quality is Quality.DEGRADED and unclear
    return replace(measured, quality=Quality.DISCARDED) if discard else measured
