"""Every metric, and how one Event changes them."""

import platform
from collections.abc import Iterable
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from khealth_exporter import __version__
from khealth_exporter.canaries.pod_way import STARTUP
from khealth_exporter.cluster.watch.watch import CAUSES
from khealth_exporter.core.metric_families import ROUTINE, UNCERTAINTY_EDGES, Health, LoopBusy
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.event import Event
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample

STEP_EDGES = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20, 30, 60, 120, 300,
)  # fmt: skip
"""Seconds; dense around the objectives of 1 s and 5 s."""
REQUEST_EDGES = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds; of one request's answer."""
KINDS = ("Pod", "ReplicationController")
"""What khealth makes."""

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Metrics:
    """All of khealth's metrics in one registry; also the Telemetry of its own requests, watches and event loop."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self.registry, self._clock = registry, clock
        self._of_routines: list[Counter | Gauge | Histogram] = []
        self._resting: set[tuple[str, str]] = set()
        self.answered = False
        """Whether the API server has ever said a word."""
        self._make_verdicts()
        self._make_measurements()
        self._make_own()
        self._make_telemetry()

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return self._kept(Counter(f"khealth_{name}", text, tuple(labels), registry=self.registry), labels)

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return self._kept(Gauge(f"khealth_{name}", text, tuple(labels), registry=self.registry), labels)

    def _histogram(self, name: str, text: str, labels: Iterable[str], edges: tuple[float, ...]) -> Histogram:
        made = Histogram(f"khealth_{name}", text, tuple(labels), buckets=edges, registry=self.registry)
        return self._kept(made, labels)

    def _kept(self, made: _Metric, labels: Iterable[str]) -> _Metric:
        if set(ROUTINE) <= set(labels):
            self._of_routines.append(made)
        return made

    def _make_verdicts(self) -> None:
        reason = (*ROUTINE, "reason")
        self.attempts = self._counter("attempts", "Attempts that have a verdict, whichever.", ROUTINE)
        self.failures = self._counter("failures", "Attempts in which the cluster failed, by where.", reason)
        self.inconclusive = self._counter("inconclusive", "Attempts that say nothing of the cluster, by why.", reason)
        self.consecutive = self._gauge(
            "consecutive_failures", "Failures since the last success; inconclusive attempts leave it.", ROUTINE
        )
        self.success = Health(self._clock)
        self.registry.register(self.success)
        self.last_attempt = self._gauge(
            "last_attempt_timestamp_seconds", "When the last attempt got its verdict, in Unix time.", ROUTINE
        )
        self.last_success = self._gauge(
            "last_success_timestamp_seconds", "When the last attempt succeeded, in Unix time.", ROUTINE
        )
        self.interval = self._gauge("interval_seconds", "How often attempts begin.", ROUTINE)

    def _make_measurements(self) -> None:
        self.attempt_duration = self._histogram(
            "attempt_duration_seconds", "Duration of init and cleanup, the hold left out.", ROUTINE, STEP_EDGES
        )
        self.steps = self._histogram(
            "step_duration_seconds",
            "Duration of each step of a canary's way; one that was stuck at its deadline counts with the time waited.",
            (*ROUTINE, "step"),
            STEP_EDGES,
        )
        self.startup = self._histogram(
            "pod_startup_duration_seconds",
            "From a pod's creation until all its containers have started: the pod-startup SLI.",
            ROUTINE,
            STEP_EDGES,
        )
        self.uncertainty = self._histogram(
            "measurement_uncertainty_seconds", "The error bars of the measured steps.", ROUTINE, UNCERTAINTY_EDGES
        )
        self.samples = self._counter(
            "samples", "Measured objects, by the worst quality of their steps.", (*ROUTINE, "quality")
        )

    def _make_own(self) -> None:
        build = self._gauge("build_info", "Always 1: which khealth this is.", ("version", "python_version"))
        build.labels(__version__, platform.python_version()).set(1)
        self.leader = self._gauge("leader", "Whether this replica is the one at work.")
        self.leader_since = self._gauge("leader_since_timestamp_seconds", "Since when it is, in Unix time.")
        self.known_objects = self._gauge("objects", "Objects in the namespace that khealth made.", ("kind",))
        self.suspended = self._gauge("suspended", "Whether a routine is suspended by configuration.", ROUTINE)
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
        self.leader.set(1)
        self.leader_since.set(self._clock.utc())
        self.loaded(well=True)

    def loaded(self, *, well: bool) -> None:
        """Take in that a configuration has come into force, or was refused."""
        self.reloaded.set(well)
        if well:
            self.reloaded_at.set(self._clock.utc())

    def declare(self, module: str, label: str, kind: type[Routine[Any]], settings: RoutineSettings) -> None:
        """Let a routine's series stand at 0 from the start; what has no value before a verdict stays absent.

        For one that is there already, take in what is new. A routine that is suspended has no verdict.
        """
        self.attempts.labels(module, label)
        self.consecutive.labels(module, label)
        self.attempt_duration.labels(module, label)
        self.uncertainty.labels(module, label)
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
        self._rest((module, label), suspend=settings.suspend)

    def _rest(self, labels: tuple[str, str], *, suspend: bool) -> None:
        """Let what a routine has found count no more while it is suspended: nobody is woken by it, then or after."""
        self.suspended.labels(*labels).set(suspend)
        if not suspend:
            self._resting.discard(labels)
            return
        self._resting.add(labels)
        self.consecutive.labels(*labels).set(0)
        self.success.forget(labels)
        for gauge in (self.last_attempt, self.last_success):
            gauge.remove_by_labels(dict(zip(ROUTINE, labels, strict=True)))

    def forget(self, module: str, label: str) -> None:
        """Let every series of a routine vanish: it is no more."""
        for metric in self._of_routines:
            metric.remove_by_labels({"module": module, "routine": label})
        self.success.forget((module, label))
        self._resting.discard((module, label))

    def apply(self, event: Event) -> None:
        """Take in one Event."""
        for measured in (*event.measurements, *(m for sample in event.samples for m in sample.measurements)):
            self._measure(event.module, event.routine, measured)
        if event.verdict:
            self._judge(event, event.verdict.result)

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

    def _judge(self, event: Event, result: Result) -> None:
        labels = event.module, event.routine
        self.attempts.labels(*labels).inc()
        if result is Result.FAILURE:
            self.failures.labels(*labels, event.reason).inc()
        elif result is Result.INCONCLUSIVE:
            self.inconclusive.labels(*labels, event.reason).inc()
        if labels in self._resting:
            return
        self.last_attempt.labels(*labels).set(event.ended)
        if result is Result.SUCCESS:
            self.consecutive.labels(*labels).set(0)
            self.last_success.labels(*labels).set(event.ended)
        elif result is Result.FAILURE:
            self.consecutive.labels(*labels).inc()
        if result is not Result.INCONCLUSIVE:
            self.success.judge(labels, event.ended, well=result is Result.SUCCESS)

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
