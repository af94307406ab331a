"""Metrics that prometheus_client's own classes cannot express."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as MetricCollector
from prometheus_client.utils import floatToGoString

from khealth_exporter.core.agents import AgentCount
from khealth_exporter.core.snapshot import expired
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.step import Step

UNCERTAINTY_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
"""Seconds; of khealth's own errors and delays."""
ROUTINE = ("module", "routine")
"""The labels of every metric of a routine."""


class OwnDelay(MetricCollector):
    """A histogram of one of khealth's own delays, counted by hand: an observation must cost little."""

    def __init__(self, name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._counts = [0] * (len(UNCERTAINTY_EDGES) + 1)
        self._bounds = _bounds(UNCERTAINTY_EDGES)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Take in one delay."""
        self._counts[bisect_left(UNCERTAINTY_EDGES, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram."""
        yield HistogramMetricFamily(
            self._name,
            self._meaning,
            buckets=list(zip(self._bounds, accumulate(self._counts), strict=True)),
            sum_value=self._sum,
        )


class StepHistograms(MetricCollector):
    """`khealth_step_duration_seconds`, where each step has bucket edges of its own, and `khealth_step_info`."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, str], _Buckets] = {}
        self._components: dict[tuple[str, str, str], Component] = {}

    def declare(self, labels: tuple[str, str], steps: Iterable[Step]) -> None:
        """Let a routine have the series of these steps alone; new ones, and those with new edges, stand at 0."""
        wanted = {(*labels, step.name): step for step in steps}
        before = {key: buckets for key, buckets in self._of.items() if key[:2] == labels}
        self.forget(labels)
        for key, step in wanted.items():
            self._components[key] = step.component
            if not step.sli:
                same = key in before and before[key].edges == step.edges
                self._of[key] = before[key] if same else _Buckets(step.edges)

    def observe(self, labels: tuple[str, str], step: Step, seconds: float) -> None:
        """Count a duration; that of a step which newer settings no longer have counts nowhere."""
        if buckets := self._of.get((*labels, step.name)):
            buckets.observe(seconds)

    def add(self, labels: tuple[str, str], found: Distribution) -> None:
        """Count many durations; KeyError if the step was never declared, ValueError if it has other buckets."""
        self._of[(*labels, found.step.name)].add(found)

    def forget(self, labels: tuple[str, str]) -> None:
        """Drop all series of a routine."""
        for kept in (self._of, self._components):
            for key in [key for key in kept if key[:2] == labels]:
                del kept[key]

    def collect(self) -> Iterator[HistogramMetricFamily | GaugeMetricFamily]:
        """Yield the histograms, and what they are about."""
        family = HistogramMetricFamily(
            "khealth_step_duration_seconds",
            "Duration of each step. A step that was stuck at its deadline counts with the time waited.",
            labels=(*ROUTINE, "step"),
        )
        for labels, buckets in tuple(self._of.items()):
            family.add_metric(labels, buckets.cumulative(), buckets.sum)
        yield family
        info = GaugeMetricFamily(
            "khealth_step_info",
            "Always 1. The component that each step of a routine measures.",
            labels=(*ROUTINE, "step", "component"),
        )
        for labels, component in tuple(self._components.items()):
            info.add_metric((*labels, component), 1.0)
        yield info


class _Buckets:
    """One histogram's counts."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges, self._counts = edges, [0] * (len(edges) + 1)
        self._bounds = _bounds(edges)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[bisect_left(self.edges, seconds)] += 1
        self.sum += seconds

    def add(self, found: Distribution) -> None:
        """Count many durations; ValueError if their buckets are others."""
        self._counts = [mine + more for mine, more in zip(self._counts, found.counts, strict=True)]
        self.sum += found.seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the buckets as the exposition format has them: each counts what its edge and lower ones hold."""
        return list(zip(self._bounds, map(float, accumulate(self._counts)), strict=True))


def _bounds(edges: tuple[float, ...]) -> tuple[str, ...]:
    """Return the edges as the exposition format has them."""
    return (*map(floatToGoString, edges), "+Inf")


class Agents(MetricCollector):
    """`khealth_agents`: absent while nobody needs agents."""

    def __init__(self) -> None:
        self.count: Callable[[], AgentCount | None] = lambda: None
        """Tells how many there are and should be."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield both numbers."""
        family = GaugeMetricFamily(
            "khealth_agents",
            "Agents: how many are Ready, and how many are wanted. Absent while no routine needs them.",
            labels=("state",),
        )
        if count := self.count():
            family.add_metric(("ready",), count.ready)
            family.add_metric(("wanted",), count.wanted)
        yield family


class Health(MetricCollector):
    """`khealth_success`: absent before the first conclusive verdict, and when that verdict has expired."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._verdicts: dict[tuple[str, str], tuple[float, bool]] = {}
        self._intervals: dict[tuple[str, str], float] = {}

    def declare(self, labels: tuple[str, str], interval: float) -> None:
        """Set how often a routine runs, in seconds."""
        self._intervals[labels] = interval

    def forget(self, labels: tuple[str, str]) -> None:
        """Drop what is known of a routine, until it is declared again."""
        self._verdicts.pop(labels, None)
        self._intervals.pop(labels, None)

    def judge(self, labels: tuple[str, str], at: float, *, well: bool) -> None:
        """Take in a conclusive verdict and its time, in monotonic seconds."""
        self._verdicts[labels] = (at, well)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the verdicts that have not expired."""
        family = GaugeMetricFamily(
            "khealth_success",
            "Latest conclusive verdict: 1 for success, 0 for failure. Absent if too old.",
            labels=ROUTINE,
        )
        for labels, (at, well) in tuple(self._verdicts.items()):
            if not expired(at, self._intervals.get(labels, float("inf")), self._clock.now()):
                family.add_metric(labels, float(well))
        yield family
