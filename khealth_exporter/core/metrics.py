"""Every metric, and how one Event changes them."""

import platform
from collections.abc import Iterable
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from khealth_exporter import __version__
from khealth_exporter.cluster.watch.watch import CAUSES
from khealth_exporter.core.metric_families import ROUTINE, UNCERTAINTY_EDGES, Agents, Health, OwnDelay, StepHistograms
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.alerting import Alerting
from khealth_exporter.vocabulary.event import Event
from khealth_exporter.vocabulary.reading import Figure
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality
from khealth_exporter.vocabulary.step import POD_EDGES

REQUEST_EDGES = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds; of one request's answer."""
_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class Metrics:
    """All of khealth's metrics in one registry; also the Telemetry of its own requests, watches and event loop."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self.registry, self._clock = registry, clock
        self._of_routines: list[Counter | Gauge | Histogram] = []
        self._resting: set[tuple[str, str]] = set()
        self._figures: dict[Figure, Gauge] = {}
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
        self.attempts = self._counter("attempts", "Completed attempts, with any result.", ROUTINE)
        self.failures = self._counter("failures", "Failed attempts, by reason.", reason)
        self.inconclusive = self._counter(
            "inconclusive", "Attempts that say nothing about the cluster, by reason.", reason
        )
        self.consecutive = self._gauge(
            "consecutive_failures", "Failures since the last success. Inconclusive attempts do not change it.", ROUTINE
        )
        self.success = Health(self._clock)
        self.registry.register(self.success)
        self.last_attempt = self._gauge("last_attempt_timestamp_seconds", "Unix time of the last verdict.", ROUTINE)
        self.last_success = self._gauge("last_success_timestamp_seconds", "Unix time of the last success.", ROUTINE)
        self.interval = self._gauge("interval_seconds", "Interval at which attempts begin.", ROUTINE)

    def _make_measurements(self) -> None:
        self.attempt_duration = self._histogram(
            "attempt_duration_seconds",
            "Duration of an attempt's init and cleanup, without the hold.",
            ROUTINE,
            POD_EDGES,
        )
        self.steps = StepHistograms()
        self.registry.register(self.steps)
        self.check_info = self._gauge(
            "check_info",
            "Always 1. How much a user's check matters, and the component that it is about.",
            (*ROUTINE, "severity", "component"),
        )
        self.startup = self._histogram(
            "pod_startup_duration_seconds",
            "Time from a pod's creation until all its containers have started: the pod-startup SLI.",
            ROUTINE,
            POD_EDGES,
        )
        self.uncertainty = self._histogram(
            "measurement_uncertainty_seconds", "Uncertainty of measured steps.", ROUTINE, UNCERTAINTY_EDGES
        )
        self.samples = self._counter(
            "samples", "Measured objects, by the worst quality of their steps.", (*ROUTINE, "quality")
        )

    def _make_own(self) -> None:
        build = self._gauge("build_info", "Always 1. The version of khealth.", ("version", "python_version"))
        build.labels(__version__, platform.python_version()).set(1)
        self.leader = self._gauge("leader", "1 if this replica is the leader, 0 otherwise.")
        self.leader_since = self._gauge(
            "leader_since_timestamp_seconds", "Unix time since which this replica is the leader."
        )
        self.known_objects = self._gauge("objects", "Objects in the namespace that khealth created.", ("kind",))
        self.suspended = self._gauge("suspended", "1 if the configuration suspends the routine, 0 otherwise.", ROUTINE)
        self.skipped = self._counter(
            "skipped_attempts", "Attempts that were not begun, because the API server was throttling.", ROUTINE
        )
        info = self._gauge(
            "reason_info", "Always 1. The component that each reason points to.", ("reason", "component")
        )
        for reason in Reason:
            if reason.component:  # Otherwise the step that failed names it.
                info.labels(reason, reason.component).set(1)
        self.reloaded = self._gauge(
            "config_last_reload_successful",
            "1 if khealth uses the configuration that it read last, 0 if it refused it.",
        )
        self.reloaded_at = self._gauge(
            "config_last_reload_success_timestamp_seconds", "Unix time of the last successful configuration load."
        )
        self.agents = Agents()
        self.registry.register(self.agents)
        self.swept_objects = self._counter("swept_objects", "Deleted objects of dead runs.", ("kind",))

    def _make_telemetry(self) -> None:
        self.requests = self._counter(
            "api_requests", "Requests to the API server, by status code.", ("verb", "resource", "code")
        )
        self.request_duration = self._histogram(
            "api_request_duration_seconds",
            "Duration of requests to the API server.",
            ("verb", "resource"),
            REQUEST_EDGES,
        )
        self.watch_restarts = self._counter("watch_restarts", "Watches that were opened again, by cause.", ("cause",))
        for cause in CAUSES:
            self.watch_restarts.labels(cause)
        self._watch_lag = self._histogram(
            "watch_lag_seconds", "Delay with which a watch showed khealth's own writes.", (), UNCERTAINTY_EDGES
        )
        self._loop_busy = OwnDelay("khealth_event_loop_busy_seconds", "Busy time of each iteration of the event loop.")
        self._watch_read_delay = OwnDelay(
            "khealth_watch_read_delay_seconds",
            "Time from when the kernel receives the first bytes of a watch after a pause until khealth reads them.",
        )
        self.registry.register(self._loop_busy)
        self.registry.register(self._watch_read_delay)

    def leading(self, *, leads: bool) -> None:
        """Take in that this replica has become the leader, or is the leader no longer."""
        self.leader.set(leads)
        self.leader_since.set(self._clock.utc() if leads else 0)

    def loaded(self, *, well: bool) -> None:
        """Take in that a configuration was loaded, or was refused."""
        self.reloaded.set(well)
        if well:
            self.reloaded_at.set(self._clock.utc())

    def declare(self, module: str, label: str, kind: type[Routine[Any]], settings: RoutineSettings) -> None:
        """Let a routine's series be 0 from the start; what has no value before a verdict stays absent.

        For a routine that is there already, take in what is new. A suspended routine has no verdict.
        """
        labels = module, label
        for metric in (self.attempts, self.skipped, self.consecutive, self.attempt_duration, self.uncertainty):
            metric.labels(*labels)
        self.interval.labels(*labels).set(settings.interval)
        self.success.declare(labels, settings.interval)
        for reason in kind.all_reasons():
            counter = self.failures if reason.result is Result.FAILURE else self.inconclusive
            counter.labels(*labels, reason)
        for quality in Quality:
            self.samples.labels(*labels, quality)
        self.steps.declare(labels, steps := kind.steps_of(settings))
        if any(step.sli for step in steps):
            self.startup.labels(*labels)
        self._declare_alerting(labels, kind.alerting(settings))
        for found in kind.sweeps():
            self.swept_objects.labels(found.name)
            self.known_objects.labels(found.name)
        for figure in kind.figures:
            self._figure(figure)
        self._rest(labels, suspend=settings.suspended_at(self._clock.utc()))

    def _declare_alerting(self, labels: tuple[str, str], alerting: Alerting | None) -> None:
        self.check_info.remove_by_labels(dict(zip(ROUTINE, labels, strict=True)))
        if alerting:
            self.check_info.labels(*labels, alerting.severity, alerting.component).set(1)

    def _figure(self, figure: Figure) -> Gauge:
        if figure not in self._figures:
            self._figures[figure] = self._gauge(figure.name, figure.meaning, ROUTINE)
        return self._figures[figure]

    def _rest(self, labels: tuple[str, str], *, suspend: bool) -> None:
        """Drop what a routine found while it is suspended, so that it alerts no one, now or when it resumes."""
        self.suspended.labels(*labels).set(suspend)
        if not suspend:
            self._resting.discard(labels)
            return
        self._resting.add(labels)
        self.consecutive.labels(*labels).set(0)
        self.success.forget(labels)
        for gauge in (self.last_attempt, self.last_success, *self._figures.values()):
            gauge.remove_by_labels(dict(zip(ROUTINE, labels, strict=True)))

    def forget(self, module: str, label: str) -> None:
        """Drop every series of a routine that no longer exists."""
        for metric in self._of_routines:
            metric.remove_by_labels({"module": module, "routine": label})
        self.success.forget((module, label))
        self.steps.forget((module, label))
        self._resting.discard((module, label))

    def apply(self, event: Event) -> None:
        """Take in one Event."""
        labels = event.module, event.routine
        for measured in (*event.measurements, *(m for sample in event.samples for m in sample.measurements)):
            self._measure(labels, measured)
        for found in event.distributions:
            self.uncertainty.labels(*labels).observe(found.uncertainty)
            self.steps.add(labels, found)
        for reading in event.readings if labels not in self._resting else ():
            self._figure(reading.figure).labels(*labels).set(reading.value)
        if event.verdict:
            self._judge(event, event.verdict.result)
        if event.completed:
            self.attempt_duration.labels(*labels).observe(event.completed.duration)
            for quality in event.completed.qualities:
                self.samples.labels(*labels, quality).inc()

    def skip(self, module: str, label: str) -> None:
        """Count an attempt that was not begun; it is none of the completed ones."""
        self.skipped.labels(module, label).inc()

    def _measure(self, labels: tuple[str, str], measured: Measurement) -> None:
        self.uncertainty.labels(*labels).observe(measured.uncertainty)
        if measured.quality in (Quality.COLD, Quality.FOREIGN, Quality.DISCARDED):
            return
        if measured.step.sli:
            self.startup.labels(*labels).observe(measured.seconds)
        else:
            self.steps.observe(labels, measured.step, measured.seconds)

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
            self.success.judge(labels, event.at, well=result is Result.SUCCESS)

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

    def watch_read_delay(self, seconds: float) -> None:
        """Take how long what a watch told waited between the kernel and khealth."""
        self._watch_read_delay.observe(seconds)

    def loop_busy(self, seconds: float) -> None:
        """Take in how long the event loop was busy."""
        self._loop_busy.observe(seconds)

    def swept(self, kind: str) -> None:
        """Count an object of a dead run that was deleted."""
        self.swept_objects.labels(kind).inc()

    def objects(self, kind: str, count: int) -> None:
        """Set how many objects of a kind there are."""
        self.known_objects.labels(kind).set(count)

    def forget_objects(self, kind: str) -> None:
        """Drop the series of a kind that khealth no longer creates."""
        self.known_objects.remove_by_labels({"kind": kind})
