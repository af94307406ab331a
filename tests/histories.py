"""What Prometheus has scraped of khealth when this or that happened: the series are those of khealth's own Metrics."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry
from promql import asked, rules

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.core.agents import AgentCount
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import Routine
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.api import Api
from khealth_exporter.routines.pod import PodRoutine
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.alerting import Alerting, Severity
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Completed, Event, Phase
from khealth_exporter.vocabulary.reading import Reading
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Verdict

MODULE = "rcscheduler"
TIMEOUT, HOLD, ENDING = 20.0, 20.0, 2.0
"""Seconds: until init's deadline, of the hold, and of cleanup."""
USUAL: Mapping[str, float] = {
    "accept": 0.01,
    "create": 0.02,
    "schedule": 0.02,
    "sandbox": 0.3,
    "start": 0.3,
    "ready": 0.0,
}
"""Seconds that the steps of a pod take."""

EDGES = {"0.25", "0.5", "1.0", "2.0", "5.0", "8.0", "20.0", "+Inf"}
"""Of the histograms' edges these are enough, and each costs time."""

_STUCK = {Component.SCHEDULER: SCHEDULE, Component.NODE: SANDBOX, Component.REGISTRY: START}
"""The step in which a pod of a failed attempt is stuck."""


class AnyReason(RcScheduler):
    """A routine that fails for whatever reason a history has."""

    name: ClassVar[str] = "any-reason"


class Checked(AnyReason):
    """A user's check; the severity is its module's."""

    name: ClassVar[str] = "checked"
    severity: ClassVar[Severity] = Severity.WARNING

    @classmethod
    def alerting(cls, settings: RcSchedulerSettings) -> Alerting:
        """Return what its user says that a failure means."""
        del settings
        return Alerting(cls.severity, Component.WORKLOAD)


def _checked(severity: Severity) -> type[Routine[Any]]:
    """Return a user's check of a severity."""
    made: type[Checked] = type(f"Checked{severity}", (Checked,), {"severity": severity})
    return made


KINDS: Mapping[str, type[Routine[Any]]] = {
    MODULE: AnyReason,
    "control-plane": Api,
    "workloads": PodRoutine,
    "storage": PodRoutine,
    **{f"custom-{severity}": _checked(severity) for severity in Severity},
}
"""The routine of each module."""
PODS: Mapping[type[Routine[Any]], int] = {AnyReason: 3, PodRoutine: 1}
"""Pods of an attempt."""
REQUEST = 0.005
"""Seconds that each step of control-plane/api takes."""


def _place(name: str) -> tuple[str, str]:
    """Return the module and the label of `module/label`, or of a label of rcscheduler's."""
    module, _, label = name.rpartition("/")
    return module or MODULE, label


@dataclass(frozen=True)
class Attempt:
    """How one attempt goes: why it fails, and what its steps take, in seconds, where that is unusual.

    `readings` are the gauges that it sets.
    """

    reason: Reason | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    quality: Quality = Quality.EXACT
    readings: tuple[Reading, ...] = ()

    def __mul__(self, times: int) -> list["Attempt"]:
        return [self] * times


WELL = Attempt()


def failed(reason: str, *readings: Reading) -> Attempt:
    """Return an attempt that ends with a reason."""
    return Attempt(next(known for known in Reason if known == reason), readings=readings)


@dataclass(frozen=True)
class Life:
    """One process of khealth, from its start (in seconds) to its end, and what its routines meet, attempt by attempt.

    A routine is named `module/label`, or by its label alone in the module rcscheduler. After its last attempt, a
    routine does nothing. A standby has no routines, and is no leader. `left` are pods and controllers that stay;
    `unseen` are the times between which Prometheus does not reach the process; `readings` are its routines' gauges,
    and `agents` what there is of agents, if any are needed.
    """

    routines: Mapping[str, Sequence[Attempt]]
    begin: float = 0.0
    end: float = math.inf
    interval: float = 60.0
    instance: str = "10.0.0.1:8080"
    pod: str = "khealth-1"
    leader: bool = True
    suspended: frozenset[str] = frozenset()
    refused: float = math.inf
    left: int = 0
    unseen: tuple[float, float] = (math.inf, math.inf)
    readings: tuple[Reading, ...] = ()
    agents: AgentCount | None = None


def _declared(kind: type[Routine[Any]], attempts: Iterable[Attempt]) -> type[Routine[Any]]:
    """Return what a routine is declared as: one that can fail for every reason has only those that it gives besides.

    Each reason has its series, and each of these costs time.
    """
    more = {attempt.reason for attempt in attempts if attempt.reason}
    if not issubclass(kind, AnyReason) or more <= set(kind.all_reasons()):
        return kind
    return type(kind.__name__, (kind,), {"reasons": (*kind.reasons, *more)})


Measured = tuple[tuple[Measurement, ...], tuple[Sample, ...]]
Changes = list[tuple[float, Callable[[], object]]]


class _Process:
    """A life's Metrics, and what happens to them at which time."""

    def __init__(self, life: Life) -> None:
        self.life, self.now = life, life.begin
        self.metrics = Metrics(CollectorRegistry(), Clock(lambda: self.now, lambda: self.now))
        self.metrics.agents.count = lambda: life.agents
        self.changes: Changes = [(life.refused, lambda: self.metrics.loaded(well=False))]
        for name, attempts in life.routines.items():
            module, label = _place(name)
            kind = _declared(KINDS[module], attempts)
            settings = kind.Settings(interval=life.interval, suspend=name in life.suspended)
            self.metrics.declare(module, label, kind, settings)
            begun = Event(module, label, 1, Phase.INIT, Result.SUCCESS, 0, 0, 0, life.begin)
            self.metrics.apply(replace(begun, readings=life.readings))
        if life.leader:
            self.metrics.leading(leads=True)
            self.metrics.loaded(well=True)
        self._there = {"Pod": life.left, "ReplicationController": life.left}
        self._objects(0)
        for name, attempts in life.routines.items():
            at = life.begin
            for attempt in attempts:
                self._attempt(name, at, attempt)
                at += life.interval
        self.changes.sort(key=lambda change: change[0])

    def _objects(self, more: int) -> None:
        for kind, each in (("Pod", 3), ("ReplicationController", 1)):
            self._there[kind] += more * each
            self.metrics.objects(kind, self._there[kind])

    def _attempt(self, name: str, begin: float, attempt: Attempt) -> None:
        """Plan what one attempt changes, and when."""
        steps = {**USUAL, **attempt.steps}
        ready = sum(steps.values())
        reached = attempt.reason is None or attempt.reason.component not in {Component.API_SERVER, Component.KHEALTH}
        end = begin + (TIMEOUT if attempt.reason else ready)
        measured = _measured(KINDS[_place(name)[0]], attempt, steps)
        over = end + (0 if attempt.reason else HOLD) + ENDING
        completed = Completed(over - begin, tuple(pod.quality for pod in measured[1]))
        self._publish(name, end, Phase.INIT, attempt.reason, measured, readings=attempt.readings)
        self._publish(name, over, Phase.CLEANUP, None, ((), ()), completed, judged=attempt.reason is not None)
        if reached:
            self.changes += [(begin + 0.1, lambda: self._objects(1)), (over, lambda: self._objects(-1))]

    def _publish(  # noqa: PLR0913, PLR0917 - an Event has these parts
        self,
        name: str,
        at: float,
        phase: Phase,
        reason: Reason | None,
        measured: Measured,
        completed: Completed | None = None,
        *,
        judged: bool = False,
        readings: tuple[Reading, ...] = (),
    ) -> None:
        result = reason.result if reason else Result.SUCCESS
        gives = reason is not None or (phase is Phase.CLEANUP and not judged)
        verdict = Verdict(result, reason, component=reason.component if reason else None) if gives else None
        place = _place(name)
        event = Event(*place, 1, phase, result, at, at, 1, at, reason, "", verdict, *measured, completed=completed)
        self.changes.append((at, lambda: self.metrics.apply(replace(event, readings=readings))))

    def step_to(self, now: float) -> bool:
        """Let happen what happens until then; tell whether anything did."""
        before = len(self.changes)
        while self.changes and self.changes[0][0] <= now:
            self.now, change = self.changes.pop(0)
            change()
        self.now = now
        return len(self.changes) != before


def _measured(kind: type[Routine[Any]], attempt: Attempt, steps: Mapping[str, float]) -> Measured:
    """Return what is measured of the attempt, and of its pods."""
    reason = attempt.reason
    if reason and (
        reason.component in {Component.API_SERVER, Component.KHEALTH} or reason.result is not Result.FAILURE
    ):
        return (), ()
    if kind not in PODS:
        return tuple(Measurement(step, REQUEST, 0.001) for step in kind.steps), ()
    accept = Measurement(ACCEPT, steps["accept"], 0.001)
    stuck = _STUCK.get(reason.component) if reason and reason.component else None
    pods = []
    for number in range(PODS[kind]):
        well = reason is None or (reason is Reason.ONE_NODE and number > 0)
        taken = list(_taken(steps if well else {**steps, **({stuck.name: TIMEOUT} if stuck else {})}, well, stuck))
        if reason is Reason.POD_NOT_CREATED:
            taken = [(CREATE, TIMEOUT)]
        measured = tuple(
            Measurement(step, seconds, 0.001, attempt.quality) for step, seconds in taken if step in kind.steps
        )
        pods.append(Sample(f"pod-{number}", str(number), "node-1", measured, {}))
    return (accept,), tuple(pods)


def _taken(steps: Mapping[str, float], well: bool, stuck: Step | None) -> Iterator[tuple[Step, float]]:
    """Yield the steps of one pod, up to the one that it is stuck in."""
    startup = 0.0
    for step in (CREATE, SCHEDULE, SANDBOX, START, READY):
        seconds = steps[step.name]
        yield step, seconds
        startup += seconds if step in {SCHEDULE, SANDBOX, START} else 0
        if not well and step is stuck:
            break
    yield STARTUP, startup


@cache
def wanted() -> frozenset[str]:
    """Return the names of the series that rules ask for, in expressions and descriptions."""
    texts = [rule["expr"] for _, rule in rules()]
    told = [text for _, rule in rules() for text in rule.get("annotations", {}).values()]
    names = {name for text in texts for name in asked(text).names}
    return frozenset(names | set(re.findall(r"khealth_\w+", " ".join(told))))


def scraped(cluster: str, lives: Iterable[Life], every: float, until: float) -> dict[str, str]:
    """Return each series of a cluster's khealth in promtool's notation, scraped so often, until then (in seconds)."""
    count = int(until // every) + 1
    found: dict[str, list[tuple[int, float]]] = {}
    for life in lives:
        process, known = _Process(life), None
        place = (
            f'cluster="{cluster}",instance="{life.instance}",job="khealth-metrics",namespace="khealth",pod="{life.pod}"'
        )
        for index in range(math.ceil(life.begin / every), count):
            now = index * every
            if now >= life.end:
                break
            changed = process.step_to(now)
            if life.unseen[0] <= now < life.unseen[1]:
                continue
            if changed or known is None:
                known = _samples(process.metrics, place)
            health = _health(process.metrics, place)
            for name, value in {**known, **health, f"process_start_time_seconds{{{place}}}": life.begin}.items():
                found.setdefault(name, []).append((index, value))
    return {name: notation(samples, count) for name, samples in found.items()}


def _samples(metrics: Metrics, place: str) -> dict[str, float]:
    # A registry that does not ask for descriptions cannot find steps and agents by their names.
    plain = metrics.registry.restricted_registry(wanted()).collect()
    families = chain(plain, metrics.steps.collect(), metrics.agents.collect())
    return {
        _series(sample.name, sample.labels, place): sample.value
        for family in families
        for sample in family.samples
        if sample.name in wanted() and sample.labels.get("le", "+Inf") in EDGES
    }


def _health(metrics: Metrics, place: str) -> dict[str, float]:
    """Return `khealth_success`, which may have expired without any event."""
    return {_series(s.name, s.labels, place): s.value for family in metrics.success.collect() for s in family.samples}


def _series(name: str, labels: Mapping[str, str], place: str) -> str:
    own = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{own}{',' if own else ''}{place}}}"


def notation(samples: Sequence[tuple[int, float]], count: int) -> str:
    """Write samples by index in promtool's notation; one that does not come any more is stale from then on."""
    words: list[str] = []
    at = 0
    place = 0
    while place < len(samples):
        index, value = samples[place]
        if index > at:
            words.append(("stale" if at else "_") + (f" _x{index - at - 1}" if index - at > 1 else ""))
        run = 1
        while place + run < len(samples) and samples[place + run] == (index + run, value):
            run += 1
        words.append(f"{value!r}" if run == 1 else f"{value!r}+0x{run - 1}")
        place, at = place + run, index + run
    if at < count:
        words.append("stale")
    return " ".join(words)
