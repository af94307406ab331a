"""One golden `/metrics`: every name, type, help and label set that khealth exposes."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    disable_created_metrics,
    enable_created_metrics,
    generate_latest,
)
from tools import needs

from khealth_exporter.canaries.checks.settings import CheckSettings
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, SANDBOX, START, STARTUP
from khealth_exporter.canaries.visit import FAILING
from khealth_exporter.core.agents import AgentCount
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.api import CERTIFICATE, UPDATE, Api
from khealth_exporter.routines.check import Check
from khealth_exporter.routines.pod import PodRoutine
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Completed, Event, Phase
from khealth_exporter.vocabulary.reading import Figure, Reading
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import API_EDGES, POD_EDGES, Step
from khealth_exporter.vocabulary.verdict import Verdict

BEGAN = 1_800_000_000.0
MODULE = LABEL = "rcscheduler"


@pytest.fixture(autouse=True)
def _without_created_series() -> Iterator[None]:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    yield
    enable_created_metrics()  # type: ignore[no-untyped-call]


def event(number: int, phase: Phase, reason: Reason | None = None, *, gives: bool = False, **more: Any) -> Event:
    """Return an Event that gives the verdict, or not."""
    result = reason.result if reason else Result.SUCCESS
    began = BEGAN + 60.0 * number
    ended = began + {Phase.INIT: 2.0, Phase.POLL: 22.0, Phase.CLEANUP: 24.0}[phase]
    verdict = Verdict(result, reason) if gives else None
    plain = Event(MODULE, LABEL, number, phase, result, began, ended, 2.0, ended - BEGAN, reason, verdict=verdict)
    return replace(plain, **more)


def completed(*samples: Sample) -> Completed:
    return Completed(4.0, tuple(found.quality for found in samples))


def sample(name: str, *measured: Measurement) -> Sample:
    return Sample(name, f"uid-{name}", "node-1", measured, {})


EXACT = sample("pod-a", Measurement(CREATE, 0.02, 0.004), Measurement(STARTUP, 0.7, 0.004))
COLD = sample("pod-b", Measurement(START, 3.0, 0.004), Measurement(STARTUP, 3.5, 0.004, Quality.COLD))
DEGRADED = sample("pod-c", Measurement(CREATE, 0.3, 0.08, Quality.DEGRADED))
DISCARDED = sample("pod-d", Measurement(CREATE, 0.98, 0.08, Quality.DISCARDED))
STUCK = sample(
    "pod-e", Measurement(SANDBOX, 18.0, 0.004, censored=True), Measurement(STARTUP, 18.5, 0.004, censored=True)
)
ACCEPTED = Measurement(ACCEPT, 0.006, 0.0005)
DELETED = sample("pod-a", Measurement(DELETE, 1.2, 0.004))
EVENTS = (
    event(1, Phase.INIT, measurements=(ACCEPTED,), samples=(EXACT, COLD)),
    event(1, Phase.POLL),
    event(1, Phase.CLEANUP, gives=True, samples=(DELETED,), completed=completed(EXACT, COLD, DELETED)),
    event(2, Phase.INIT, Reason.SANDBOX_FAILED, gives=True, samples=(DEGRADED, DISCARDED, STUCK)),
    event(2, Phase.CLEANUP, completed=completed(DEGRADED, DISCARDED, STUCK)),
    event(3, Phase.INIT, Reason.QUOTA_EXCEEDED, gives=True),
    event(3, Phase.CLEANUP, Reason.POD_NOT_DELETED, completed=completed()),
)


READ = event(
    1,
    Phase.INIT,
    module="control-plane",
    routine="api",
    measurements=(Measurement(UPDATE, 0.004, 0.0005),),
    readings=(Reading(CERTIFICATE, BEGAN + 90 * 86400),),
)
VISITED = event(1, Phase.INIT, module="workloads", routine="pod", readings=(Reading(FAILING, 1.0),))


def exposition() -> str:
    """Return what `/metrics` says after a scripted series of Events, and of khealth's own doings."""
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    clock = Clock(monotonic=lambda: 240.0, utc=lambda: BEGAN + 240.0)
    metrics = Metrics(registry, clock)
    for label in (LABEL, "new"):
        metrics.declare(MODULE, label, RcScheduler, RcSchedulerSettings())
    for module, kind in (("control-plane", Api), ("workloads", PodRoutine)):
        metrics.declare(module, kind.name, kind, kind.Settings())
    template = {"kind": "Pod", "spec": {"containers": [{"name": "check", "image": "check"}]}}
    metrics.declare("custom", "mine", Check, CheckSettings.model_validate({"template": template}))
    metrics.leading(leads=True)
    metrics.loaded(well=True)
    for taken in (*EVENTS, READ, VISITED):
        metrics.apply(taken)
    metrics.request("list", "pods", "200", 0.004)
    metrics.request("create", "replicationcontrollers", "none", 10.0)
    metrics.watch_restarted("ended")
    metrics.watch_lag(0.003)
    metrics.loop_busy(0.0002)
    metrics.swept("Pod")
    metrics.objects("Pod", 3)
    metrics.agents.count = lambda: AgentCount(3, 4)
    return generate_latest(registry).decode()


def normalised(text: str) -> str:
    """Return an exposition without what differs from machine to machine: values of the process, and versions."""
    lines = []
    for line in text.splitlines():
        if re.match(r"(process|python)_", line):
            line = re.sub(r" \S+$", " *", line)  # noqa: PLW2901 - it is the same line
            line = re.sub(r'(implementation|major|minor|patchlevel|version)="[^"]*"', r'\1="*"', line)  # noqa: PLW2901
        if line.startswith("khealth_build_info"):
            line = re.sub(r'="[^"]*"', '="*"', line)  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def test_the_exposition_is_the_golden_one(golden_folder: Path, *, write_golden: bool) -> None:
    """What Prometheus scrapes changes only on purpose: `make golden` regenerates the file."""
    golden = golden_folder / "metrics.txt"
    text = normalised(exposition())
    if write_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.read_text().splitlines() == text.splitlines()


def test_there_are_no_created_series() -> None:
    """Nobody asks when a series began, and they double the cost of a scrape."""
    assert not re.search(r"_created[ {]", exposition())


def checked(text: str) -> tuple[int, str, str]:
    """Return what promtool says of an exposition."""
    told = subprocess.run(  # noqa: S603 - Prometheus' own tool
        [needs("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return told.returncode, told.stdout, told.stderr


def test_promtool_finds_nothing_wrong() -> None:
    """Prometheus' own linter has nothing to say of names, types, units and help."""
    assert (0, "", "") == checked(exposition())


class Writes(RcScheduler):
    """A routine with a `create` of its own."""

    name: ClassVar[str] = "writes"
    steps: ClassVar[tuple[Step, ...]] = (Step("create", Component.API_SERVER, "", API_EDGES),)
    figures: ClassVar[tuple[Figure, ...]] = (Figure("writes_end_timestamp_seconds", "When writes end."),)


def test_two_routines_may_each_have_a_create() -> None:
    """One family with two sets of edges, and figures besides, are well-formed."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, Clock(lambda: 0.0, lambda: BEGAN))
    for kind in (RcScheduler, Writes):
        metrics.declare(MODULE, kind.name, kind, RcSchedulerSettings())
    begun = event(1, Phase.INIT, readings=(Reading(Writes.figures[0], BEGAN),))
    metrics.apply(replace(begun, measurements=(Measurement(Writes.steps[0], 0.02, 0.001),), routine="writes"))
    metrics.apply(event(1, Phase.INIT, samples=(EXACT,)))
    text = generate_latest(registry).decode()
    labels = f'module="{MODULE}",routine="{{}}",step="create"'
    buckets = [
        [line for line in text.splitlines() if line.startswith("khealth_step_duration_seconds_bucket") and of in line]
        for of in (labels.format(LABEL), labels.format("writes"))
    ]
    assert (0, "", "") == checked(text)
    assert [len(POD_EDGES) + 1, len(API_EDGES) + 1] == [len(lines) for lines in buckets]
    assert [1.0, 1.0] == [float(lines[-1].rpartition(" ")[2]) for lines in buckets]
