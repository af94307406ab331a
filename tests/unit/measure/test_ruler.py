"""From moments to measurements: error bars and quality."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pod_traces import LIMITS

from khealth_exporter.canaries.pod_steps import CREATE
from khealth_exporter.measure.moments import Lag, Moment
from khealth_exporter.measure.ruler import SLO_EDGES, Ruler, straddling
from khealth_exporter.vocabulary.sample import Measurement, Quality
from khealth_exporter.vocabulary.settings import MeasurementSettings

TIMES = st.floats(0, 400, allow_nan=False)


MOMENTS = st.builds(Moment, TIMES, st.floats(0, 80), st.booleans())


LAGS = st.builds(Lag, st.floats(0, 2), st.floats(0, 3))


@given(MOMENTS, MOMENTS, LAGS)
@example(Moment(5.0), Moment(2.0), Lag())
def test_the_error_bar_covers_what_was_cut(begin: Moment, end: Moment, lag: Lag) -> None:
    """A step that comes out negative is 0, with an error bar of at least what was cut, and is never dropped."""
    measured = Ruler(LIMITS, lag).measure(CREATE, begin, end)
    assert max(0.0, end.at - begin.at) == measured.seconds
    assert measured.uncertainty >= begin.at - end.at


@given(MOMENTS, MOMENTS, LAGS)
def test_the_error_bar_covers_what_khealth_knows_of_its_own_delay(begin: Moment, end: Moment, lag: Lag) -> None:
    """The delay of either end, and the watch's lag, are in the error bar."""
    measured = Ruler(LIMITS, lag).measure(CREATE, begin, end)
    assert measured.uncertainty >= max(begin.delay, end.delay) + lag.possible


def test_two_ends_of_one_update_are_no_time_apart() -> None:
    """Whatever the watch's lag: it is the same for both."""
    moment = Moment(5.0, 0.5)
    measured = Ruler(LIMITS, Lag(0.0, 0.25)).measure(CREATE, moment, moment)
    assert (0.0, 0.0) == (measured.seconds, measured.uncertainty)


@pytest.mark.parametrize(
    ("begin", "end", "lag", "quality"),
    [
        (Moment(0.0), Moment(0.1), Lag(), Quality.EXACT),
        (Moment(0.0, 0.02), Moment(0.1, 0.02), Lag(0.05, 0.2), Quality.EXACT),
        (Moment(0.0, 0.021), Moment(0.1), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.1, 0.021), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.1), Lag(0.051, 0.051), Quality.DEGRADED),
        (Moment(0.0, recovered=True), Moment(0.1), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.1, recovered=True), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.9, 0.2), Lag(), Quality.DISCARDED),
        (Moment(0.0), Moment(0.9, 0.05), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(5.1), Lag(0.06, 0.2), Quality.DISCARDED),
    ],
)
def test_quality_follows_khealths_own_delay(begin: Moment, end: Moment, lag: Lag, quality: Quality) -> None:
    """Above the limits a step is degraded, and discarded where it may lie on either side of an objective's edge."""
    assert quality is Ruler(LIMITS, lag).measure(CREATE, begin, end).quality


def test_the_limits_come_from_the_settings() -> None:
    """`measurement.loop_lag` and `measurement.watch_lag` say from where on a step is degraded."""
    patient = Ruler(MeasurementSettings(loop_lag=1.0, watch_lag=1.0), Lag(0.9, 0.9))
    assert Quality.EXACT is patient.measure(CREATE, Moment(0.0, 0.9), Moment(0.1)).quality


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from([Quality.EXACT, Quality.COLD]))
def test_only_degraded_measurements_are_discarded(duration: float, uncertainty: float, quality: Quality) -> None:
    """An exact measurement stays what it is, however near to an edge."""
    measured = Measurement(CREATE, duration, uncertainty, quality)
    assert measured == straddling(measured)


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_discarded_measurement_may_lie_on_either_side_of_an_edge(duration: float, uncertainty: float) -> None:
    """A degraded measurement is discarded exactly where its error bar reaches beyond an edge."""
    measured = straddling(Measurement(CREATE, duration, uncertainty, Quality.DEGRADED))
    unclear = any(duration - uncertainty < edge < duration + uncertainty for edge in SLO_EDGES)
    near = any(math.isclose(abs(duration - edge), uncertainty, abs_tol=1e-9) for edge in SLO_EDGES)
    assert near or unclear == (measured.quality is Quality.DISCARDED)
