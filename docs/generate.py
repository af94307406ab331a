"""Writes docs/metrics.md and docs/routines.md from the code; with --check, says how they differ."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from deploy import written
from khealth_exporter.cli.routine_catalog import ModuleDescription, RoutineDescription, describe
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import RoutineSettings
from khealth_exporter.measure.clock import Clock
from khealth_exporter.modules import MODULES
from khealth_exporter.vocabulary.event import Completed, Event, Phase
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Reading
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Quality
from khealth_exporter.vocabulary.verdict import Verdict

DOCS = Path(__file__).parent
UNITS = {"_timestamp_seconds": "Unix time in seconds", "_seconds": "seconds", "_info": "none"}
ABSENT = {
    "khealth_success": "before the first conclusive verdict, when it is older than 3 intervals, while suspended",
    "khealth_last_attempt_timestamp_seconds": "before the first verdict, while suspended",
    "khealth_last_success_timestamp_seconds": "before the first success, while suspended",
    "khealth_api_certificate_expiry_timestamp_seconds": "until a verified TLS handshake has shown a certificate",
    "khealth_nodes_failing": "before the first attempt",
    "khealth_objects": "a series: while no enabled routine creates its kind",
    "khealth_api_requests": "a series: until its first request",
    "khealth_api_request_duration_seconds": "a series: until its first request",
}
"""When a metric, or one of its series, is not there. All others are there from the start."""


def everything() -> CollectorRegistry:
    """Return a registry in which every metric has a series."""
    registry = CollectorRegistry(auto_describe=True)
    metrics = Metrics(registry, Clock())
    metrics.request("list", "pods", "200", 0.01)
    begun = Event("", "", 1, Phase.CLEANUP, Result.SUCCESS, 0.0, 0.0, 0.0, Clock().now())
    for module in MODULES:
        for kind in module.routines:
            metrics.declare(module.name, kind.name, kind, RoutineSettings())
            readings = tuple(Reading(figure, 0.0) for figure in kind.figures)
            completed = Completed(0.0, (Quality.EXACT,))
            event = replace(begun, module=module.name, routine=kind.name, readings=readings, completed=completed)
            metrics.apply(replace(event, verdict=Verdict(Result.SUCCESS)))
    return registry


def metrics_page() -> str:
    """Return docs/metrics.md."""
    rows = [row for family in everything().collect() for row in _metric(family)]
    return "\n".join(
        (
            "# Metrics",
            "",
            "`make generate` writes this page from the code. Counters and histograms with closed label sets are 0 from",
            "the start. A series without a value is absent, not 0: the last column says when. `process_*` and",
            "`python_*` are as prometheus_client exposes them.",
            "",
            "| metric | type | labels | unit | meaning | absent |",
            "|---|---|---|---|---|---|",
            *sorted(rows),
            "",
            "A step's buckets depend on what it measures: [routines.md](routines.md) lists their range.",
            "`khealth_step_info` and `khealth_reason_info` are joined to find the component.",
            "A reason that several components can cause has no `khealth_reason_info`.",
            "",
        )
    )


def _metric(family: Metric) -> Iterator[str]:
    if not family.name.startswith("khealth_"):
        return
    labels = dict.fromkeys(name for sample in family.samples for name in sample.labels if name != "le")
    name = f"{family.name}_total" if family.type == "counter" else family.name
    unit = next((unit for ending, unit in UNITS.items() if family.name.endswith(ending)), "number")
    shown = ", ".join(f"`{label}`" for label in labels) or "-"
    yield f"| `{name}` | {family.type} | {shown} | {unit} | {family.documentation} | {ABSENT.get(family.name, '-')} |"


def routines_page() -> str:
    """Return docs/routines.md."""
    lines = [
        "# Routines",
        "",
        "`make generate` writes this page from the code. `khealth routines` prints the same for the installed version.",
        "[writing-a-routine.md](writing-a-routine.md) shows how to add one.",
        "",
        "| module | routine | what it does | runs by default | API writes a minute |",
        "|---|---|---|---|---|",
    ]
    described = [describe(module) for module in MODULES]
    lines += [_summary(module, routine) for module in described for routine in module.routines]
    for module in described:
        for routine in module.routines:
            lines += ["", *_routine(module, routine)]
    return "\n".join((*lines, ""))


def _summary(module: ModuleDescription, routine: RoutineDescription) -> str:
    kind = next(kind for m in MODULES if m.name == module.name for kind in m.routines if kind.name == routine.name)
    interval = kind.Settings.model_fields["interval"].default
    writes = f"{kind.writes * 60 / interval:g} (at {interval:g} s)"
    on = routine.off_because or "yes"
    return (
        f"| `{module.name}` | [`{routine.name}`](#{module.name}{routine.name}) | {routine.meaning} | {on} | {writes} |"
    )


def _routine(module: ModuleDescription, routine: RoutineDescription) -> Iterator[str]:
    yield from (f"## {module.name}/{routine.name}", "", routine.meaning, "")
    yield from ("| step | component | from → to | buckets (s) | objective |", "|---|---|---|---|---|")
    for step in routine.steps:
        edges = f"{step.edges[0]:g}-{step.edges[-1]:g}"
        objective = f"{step.objective.share:.0%} within {step.objective.seconds:g} s" if step.objective else "-"
        yield f"| `{step.name}` | {step.component} | {step.meaning} | {edges} | {objective} |"
    yield from ("", f"Failures: {_reasons(routine, Result.FAILURE)}.", "")
    yield from (f"Inconclusive: {_reasons(routine, Result.INCONCLUSIVE)}.", "")
    yield from ("| setting | type | default | meaning |", "|---|---|---|---|")
    for setting in routine.settings:
        default = "required" if setting.required else f"`{_written(setting.default)}`"
        yield f"| `{setting.name}` | {setting.type} | {default} | {setting.meaning} |"
    yield from ("", "| permission | scope | why |", "|---|---|---|")
    yield from (_permission(permission) for permission in routine.permissions)


def _written(default: object) -> str:
    """Return a default as a configuration file has it."""
    return default if isinstance(default, str) and default else json.dumps(default)


def _reasons(routine: RoutineDescription, result: Result) -> str:
    return ", ".join(f"`{reason}`" for reason in routine.reasons if reason.result is result)


def _permission(permission: Permission) -> str:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    words = [permission.scope, *(["optional"] if permission.optional else [])]
    words += [f"with `{permission.when}: true`"] if permission.when else []
    return f"| {permission.verb} {resource} | {', '.join(words)} | {permission.why} |"


def generated() -> Mapping[Path, str]:
    """Return each page's text."""
    return {DOCS / "metrics.md": metrics_page(), DOCS / "routines.md": routines_page()}


if __name__ == "__main__":
    sys.exit(written.main(generated, __doc__))
