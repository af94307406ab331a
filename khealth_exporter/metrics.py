"""Every metric, and how one Event changes them."""

import platform
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as MetricCollector
from prometheus_client.utils import floatToGoString

from khealth_exporter import __version__
from khealth_exporter.clock import Clock
from khealth_exporter.cluster.watch import CAUSES
from khealth_exporter.event import Event, Measurement, Quality, Reason, Result, Sample
from khealth_exporter.pods import STARTUP
from khealth_exporter.routine import Routine, RoutineSettings

STEP_EDGES = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20, 30, 60, 120, 300,
)  # fmt: skip
"""Seconds; dense around the objectives of 1 s and 5 s."""
UNCERTAINTY_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
"""Seconds; of khealth's own errors and delays."""
REQUEST_EDGES = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds; of one request's answer."""
EXPIRY = 3
"""Intervals after which a verdict no longer says how the cluster is: health expires."""
KINDS = ("Pod", "ReplicationController")
"""What khealth makes."""

_ROUTINE = ("module", "routine")


class Metrics:
    """All of khealth's metrics in one registry; also the Telemetry of its own requests, watches and event loop."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self.registry, self._clock = registry, clock
        self.answered = False
        """Whether the API server has ever said a word."""
        self._make_verdicts()
        self._make_measurements()
        self._make_own()
        self._make_telemetry()

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return Counter(f"khealth_{name}", text, tuple(labels), registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(f"khealth_{name}", text, tuple(labels), registry=self.registry)

    def _histogram(self, name: str, text: str, labels: Iterable[str], edges: tuple[float, ...]) -> Histogram:
        return Histogram(f"khealth_{name}", text, tuple(labels), buckets=edges, registry=self.registry)

    def _make_verdicts(self) -> None:
        reason = (*_ROUTINE, "reason")
        self.attempts = self._counter("attempts", "Attempts that have a verdict, whichever.", _ROUTINE)
        self.failures = self._counter("failures", "Attempts in which the cluster failed, by where.", reason)
        self.inconclusive = self._counter("inconclusive", "Attempts that say nothing of the cluster, by why.", reason)
        self.consecutive = self._gauge(
            "consecutive_failures", "Failures since the last success; inconclusive attempts leave it.", _ROUTINE
        )
        self.success = Health(self._clock)
        self.registry.register(self.success)
        self.last_attempt = self._gauge(
            "last_attempt_timestamp_seconds", "When the last attempt got its verdict, in Unix time.", _ROUTINE
        )
        self.last_success = self._gauge(
            "last_success_timestamp_seconds", "When the last attempt succeeded, in Unix time.", _ROUTINE
        )
        self.interval = self._gauge("interval_seconds", "How often attempts begin.", _ROUTINE)

    def _make_measurements(self) -> None:
        self.attempt_duration = self._histogram(
            "attempt_duration_seconds", "Duration of init and cleanup, the hold left out.", _ROUTINE, STEP_EDGES
        )
        self.steps = self._histogram(
            "step_duration_seconds",
            "Duration of each step of a canary's way; one that was stuck at its deadline counts with the time waited.",
            (*_ROUTINE, "step"),
            STEP_EDGES,
        )
        self.startup = self._histogram(
            "pod_startup_duration_seconds",
            "From a pod's creation until all its containers have started: the pod-startup SLI.",
            _ROUTINE,
            STEP_EDGES,
        )
        self.uncertainty = self._histogram(
            "measurement_uncertainty_seconds", "The error bars of the measured steps.", _ROUTINE, UNCERTAINTY_EDGES
        )
        self.samples = self._counter(
            "samples", "Measured objects, by the worst quality of their steps.", (*_ROUTINE, "quality")
        )

    def _make_own(self) -> None:
        build = self._gauge("build_info", "Always 1: which khealth this is.", ("version", "python_version"))
        build.labels(__version__, platform.python_version()).set(1)
        self.leader = self._gauge("leader", "Whether this replica is the one at work.")
        self.leader_since = self._gauge("leader_since_timestamp_seconds", "Since when it is, in Unix time.")
        self.known_objects = self._gauge("objects", "Objects in the namespace that khealth made.", ("kind",))
        self.suspended = self._gauge("suspended", "Whether a routine is suspended by configuration.", _ROUTINE)
        info = self._gauge(
            "reason_info", "Always 1: the component that each reason belongs to.", ("reason", "component")
        )
        for reason in Reason:
            info.labels(reason, reason.component).set(1)
        self.reloaded = self._gauge("config_last_reload_successful", "Whether the configuration last read is in force.")
        self.reloaded_at = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When a configuration last came into force, in Unix time."
        )
        self.swept_objects = self._counter("swept_objects", "Objects of dead runs that were deleted.", ("kind",))
        for kind in KINDS:
            self.swept_objects.labels(kind)
            self.known_objects.labels(kind)

    def _make_telemetry(self) -> None:
        self.requests = self._counter(
            "api_requests", "Requests to the API server, by the answer's code.", ("verb", "resource", "code")
        )
        self.request_duration = self._histogram(
            "api_request_duration_seconds",
            "Duration of requests to the API server.",
            ("verb", "resource"),
            REQUEST_EDGES,
        )
        self.watch_restarts = self._counter("watch_restarts", "Watches that had to be opened again.", ("cause",))
        for cause in CAUSES:
            self.watch_restarts.labels(cause)
        self._watch_lag = self._histogram(
            "watch_lag_seconds", "How late the watch showed what khealth itself wrote.", (), UNCERTAINTY_EDGES
        )
        self._loop_busy = LoopBusy()
        self.registry.register(self._loop_busy)

    def begin(self) -> None:
        """Say that the configuration is in force, and that this replica is the one at work."""
        now = self._clock.utc()
        self.leader.set(1)
        self.leader_since.set(now)
        self.reloaded.set(1)
        self.reloaded_at.set(now)

    def declare(self, module: str, label: str, kind: type[Routine[Any]], settings: RoutineSettings) -> None:
        """Let a routine's series stand at 0 from the start; what has no value before a verdict stays absent."""
        self.attempts.labels(module, label)
        self.consecutive.labels(module, label)
        self.attempt_duration.labels(module, label)
        self.uncertainty.labels(module, label)
        self.suspended.labels(module, label).set(0)
        self.interval.labels(module, label).set(settings.interval)
        self.success.declare((module, label), settings.interval)
        for reason in dict.fromkeys((*kind.reasons, Reason.INTERRUPTED, Reason.INTERNAL_ERROR)):
            counter = self.failures if reason.result is Result.FAILURE else self.inconclusive
            counter.labels(module, label, reason)
        for quality in Quality:
            self.samples.labels(module, label, quality)
        for step in kind.steps:
            if step is STARTUP:
                self.startup.labels(module, label)
            else:
                self.steps.labels(module, label, step.name)

    def apply(self, event: Event) -> None:
        """Take in one Event."""
        for measured in (*event.measurements, *(m for sample in event.samples for m in sample.measurements)):
            self._measure(event.module, event.routine, measured)
        if event.verdict:
            self._judge(event)

    def ended(self, module: str, label: str, duration: float, samples: Iterable[Sample]) -> None:
        """Take in an attempt that has ended: its duration without the hold in seconds, and all that it sampled."""
        self.attempt_duration.labels(module, label).observe(duration)
        for sample in samples:
            self.samples.labels(module, label, sample.quality).inc()

    def _measure(self, module: str, label: str, measured: Measurement) -> None:
        self.uncertainty.labels(module, label).observe(measured.uncertainty)
        if measured.quality in (Quality.DISCARDED, Quality.COLD):
            return
        if measured.step == STARTUP.name:
            self.startup.labels(module, label).observe(measured.seconds)
        else:
            self.steps.labels(module, label, measured.step).observe(measured.seconds)

    def _judge(self, event: Event) -> None:
        labels = event.module, event.routine
        self.attempts.labels(*labels).inc()
        self.last_attempt.labels(*labels).set(event.ended)
        match event.verdict.result if event.verdict else None:
            case Result.SUCCESS:
                self.consecutive.labels(*labels).set(0)
                self.last_success.labels(*labels).set(event.ended)
                self.success.judge(labels, event.ended, well=True)
            case Result.FAILURE:
                self.consecutive.labels(*labels).inc()
                self.failures.labels(*labels, event.reason).inc()
                self.success.judge(labels, event.ended, well=False)
            case _:
                self.inconclusive.labels(*labels, event.reason).inc()

    def request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count a request."""
        self.answered = self.answered or code != "none"
        self.requests.labels(verb, resource, code).inc()
        self.request_duration.labels(verb, resource).observe(seconds)

    def watch_restarted(self, cause: str) -> None:
        """Count a watch that had to be opened again."""
        self.watch_restarts.labels(cause).inc()

    def watch_lag(self, seconds: float) -> None:
        """Take in how late a watch showed a write."""
        self._watch_lag.observe(seconds)

    def loop_busy(self, seconds: float) -> None:
        """Take in how long the event loop was busy."""
        self._loop_busy.observe(seconds)

    def swept(self, kind: str) -> None:
        """Count an object of a dead run that was deleted."""
        self.swept_objects.labels(kind).inc()

    def objects(self, kind: str, count: int) -> None:
        """Set how many objects of a kind there are."""
        self.known_objects.labels(kind).set(count)


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

    def judge(self, labels: tuple[str, str], ended: float, *, well: bool) -> None:
        """Take in a conclusive verdict and its time."""
        self._verdicts[labels] = (ended, well)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the verdicts that still hold."""
        family = GaugeMetricFamily(
            "khealth_success", "The latest conclusive verdict; absent when it is too old.", labels=_ROUTINE
        )
        for labels, (ended, well) in tuple(self._verdicts.items()):
            if self._clock.utc() - ended <= EXPIRY * self._intervals.get(labels, float("inf")):
                family.add_metric(labels, float(well))
        yield family
