"""One golden `/metrics`: every name, type, help and label set that khealth exposes."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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

from khealth_exporter.core.metrics import Metrics
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
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
    plain = Event(MODULE, LABEL, number, phase, result, began, ended, 2.0, reason, verdict=verdict)
    return replace(plain, **more)


def sample(name: str, *measured: Measurement) -> Sample:
    return Sample(name, f"uid-{name}", "node-1", measured, {})


EXACT = sample("pod-a", Measurement("create", 0.02, 0.004), Measurement("startup", 0.7, 0.004))
COLD = sample("pod-b", Measurement("start", 3.0, 0.004), Measurement("startup", 3.5, 0.004, Quality.COLD))
DEGRADED = sample("pod-c", Measurement("create", 0.3, 0.08, Quality.DEGRADED))
DISCARDED = sample("pod-d", Measurement("create", 0.98, 0.08, Quality.DISCARDED))
STUCK = sample(
    "pod-e", Measurement("sandbox", 18.0, 0.004, censored=True), Measurement("startup", 18.5, 0.004, censored=True)
)
ACCEPT = Measurement("accept", 0.006, 0.0005)
DELETE = sample("pod-a", Measurement("delete", 1.2, 0.004))
EVENTS = (
    event(1, Phase.INIT, measurements=(ACCEPT,), samples=(EXACT, COLD)),
    event(1, Phase.POLL),
    event(1, Phase.CLEANUP, gives=True, samples=(DELETE,)),
    event(2, Phase.INIT, Reason.SANDBOX_FAILED, gives=True, samples=(DEGRADED, DISCARDED, STUCK)),
    event(2, Phase.CLEANUP),
    event(3, Phase.INIT, Reason.QUOTA_EXCEEDED, gives=True),
    event(3, Phase.CLEANUP, Reason.POD_NOT_DELETED),
)


def exposition() -> str:
    """Return what `/metrics` says after a scripted series of Events, and of khealth's own doings."""
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    clock = Clock(monotonic=lambda: 0.0, utc=lambda: BEGAN + 240.0)
    metrics = Metrics(registry, clock)
    for label in (LABEL, "new"):
        metrics.declare(MODULE, label, RcScheduler, RcSchedulerSettings())
    metrics.begin()
    for number in range(1, 4):
        events = [e for e in EVENTS if e.attempt == number]
        for taken in events:
            metrics.apply(taken)
        metrics.ended(MODULE, LABEL, 4.0, [s for e in events for s in e.samples])
    metrics.request("list", "pods", "200", 0.004)
    metrics.request("create", "replicationcontrollers", "none", 10.0)
    metrics.watch_restarted("ended")
    metrics.watch_lag(0.003)
    metrics.loop_busy(0.0002)
    metrics.swept("Pod")
    metrics.objects("Pod", 3)
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
    """What Prometheus scrapes changes only on purpose: `make golden` writes the file anew."""
    golden = golden_folder / "metrics.txt"
    text = normalised(exposition())
    if write_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.read_text().splitlines() == text.splitlines()


def test_there_are_no_created_series() -> None:
    """Nobody asks when a series began, and they double the cost of a scrape."""
    assert not re.search(r"_created[ {]", exposition())


def test_promtool_finds_nothing_wrong() -> None:
    """Prometheus' own linter has nothing to say of names, types, units and help."""
    checked = subprocess.run(  # noqa: S603 - Prometheus' own tool
        [needs("promtool"), "check", "metrics"],
        input=exposition(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)
