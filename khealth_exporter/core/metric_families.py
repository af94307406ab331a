"""The two metrics that are more than prometheus_client's own classes can say."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as MetricCollector
from prometheus_client.utils import floatToGoString

from khealth_exporter.measure.clock import Clock

UNCERTAINTY_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
"""Seconds; of khealth's own errors and delays."""
EXPIRY = 3
"""Intervals after which a verdict no longer says how the cluster is: health expires."""
ROUTINE = ("module", "routine")
"""The labels of whatever is told of a routine."""


class LoopBusy(MetricCollector):
    """`khealth_event_loop_busy_seconds`, counted by hand: what is taken at each iteration must cost next to nothing."""

    def __init__(self) -> None:
        self._counts = [0] * (len(UNCERTAINTY_EDGES) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Take in one iteration's busy time."""
        self._counts[bisect_left(UNCERTAINTY_EDGES, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram."""
        edges = [*map(floatToGoString, UNCERTAINTY_EDGES), "+Inf"]
        yield HistogramMetricFamily(
            "khealth_event_loop_busy_seconds",
            "Busy time of each iteration of the event loop.",
            buckets=list(zip(edges, accumulate(self._counts), strict=True)),
            sum_value=self._sum,
        )


class Health(MetricCollector):
    """`khealth_success`: absent before the first conclusive verdict, and again when that is too old."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._verdicts: dict[tuple[str, str], tuple[float, bool]] = {}
        self._intervals: dict[tuple[str, str], float] = {}

    def declare(self, labels: tuple[str, str], interval: float) -> None:
        """Say how often a routine is run, in seconds."""
        self._intervals[labels] = interval

    def forget(self, labels: tuple[str, str]) -> None:
        """Know nothing of a routine any more, until it is declared again."""
        self._verdicts.pop(labels, None)
        self._intervals.pop(labels, None)

    def judge(self, labels: tuple[str, str], ended: float, *, well: bool) -> None:
        """Take in a conclusive verdict and its time."""
        self._verdicts[labels] = (ended, well)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the verdicts that still hold."""
        family = GaugeMetricFamily(
            "khealth_success", "The latest conclusive verdict; absent when it is too old.", labels=ROUTINE
        )
        for labels, (ended, well) in tuple(self._verdicts.items()):
            if self._clock.utc() - ended <= EXPIRY * self._intervals.get(labels, float("inf")):
                family.add_metric(labels, float(well))
        yield family
