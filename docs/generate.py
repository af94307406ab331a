"""Writes metrics.md, routines.md, and tables of other pages, from the code; --check compares."""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from deploy import written
from docs.kubectl_rows import NO_PROXY, ROWS, Row
from khealth_exporter.canaries.agents import blame
from khealth_exporter.canary import __main__ as canary
from khealth_exporter.cli.arguments import parse
from khealth_exporter.cli.routine_catalog import ModuleDescription, RoutineDescription, describe
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import RoutineSettings
from khealth_exporter.measure.clock import Clock
from khealth_exporter.modules import MODULES
from khealth_exporter.simulator.faults import FAULTS, MOMENTARY, NODE_FAULTS
from khealth_exporter.vocabulary.event import Completed, Event, Phase
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Reading
from khealth_exporter.vocabulary.reason import Reason
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
    "khealth_check_info": "of routines that are no checks",
    "khealth_objects": "a series: while no enabled routine creates its kind",
    "khealth_api_requests": "a series: until its first request",
    "khealth_api_request_duration_seconds": "a series: until its first request",
}
"""When a metric, or one of its series, is not there. All others are there from the start."""

OPEN = {
    "module": "a module of [routines.md](routines.md)",
    "routine": "the name of the routine in the configuration; by default the one in [routines.md](routines.md)",
    "step": "a step of the routine: see [routines.md](routines.md)",
    "reason": "a reason that the routine can have: see [Reasons](#reasons)",
    "verb": "the verb of the request, as in RBAC",
    "resource": "the plural name of the resource, as in RBAC",
    "code": "the HTTP status code, or `none` if there was no answer",
    "severity": "`critical`, `warning` or `info`: what the user of a check says that its failure means",
    "version": "the version of khealth",
    "python_version": "the version of Python",
}
"""Labels whose values are not listed, and what they are."""
GIVEN = {"check": {"template": {"kind": "Pod", "spec": {"containers": [{"name": "check", "image": "check"}]}}}}
"""Settings of routines whose series follow from required ones."""
BEGIN, END = "<!-- {}: written by `make generate` -->", "<!-- end of {} -->"


def everything() -> CollectorRegistry:
    """Return a registry in which every metric has a series."""
    registry = CollectorRegistry(auto_describe=True)
    metrics = Metrics(registry, Clock())
    metrics.request("list", "pods", "200", 0.01)
    begun = Event("", "", 1, Phase.CLEANUP, Result.SUCCESS, 0.0, 0.0, 0.0, Clock().now())
    for module in MODULES:
        for kind in module.routines:
            given = GIVEN.get(kind.name)
            settings = kind.Settings.model_validate(given) if given else RoutineSettings()
            metrics.declare(module.name, kind.name, kind, settings)
            readings = tuple(Reading(figure, 0.0) for figure in kind.figures)
            completed = Completed(0.0, (Quality.EXACT,))
            event = replace(begun, module=module.name, routine=kind.name, readings=readings, completed=completed)
            metrics.apply(replace(event, verdict=Verdict(Result.SUCCESS)))
    return registry


def metrics_page() -> str:
    """Return docs/metrics.md."""
    families = [family for family in everything().collect() if family.name.startswith("khealth_")]
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
            *sorted(map(_metric, families)),
            "",
            "`khealth_step_info` and `khealth_reason_info` are joined to find the component.",
            "",
            "## Labels",
            "",
            "| label | values |",
            "|---|---|",
            *_labels(families),
            "",
            "## Qualities",
            "",
            "From best to worst. A sample has the worst quality of its steps; a step that does not count enters no",
            "histogram of durations, so it is never slow in the sense of an objective. Foreign steps follow the SLI of",
            "[SIG Scalability](https://github.com/kubernetes/community/blob/master/sig-scalability/slos/pod_startup_latency.md):",
            "the startup latency of stateless and schedulable pods, excluding the time to pull images and to run init",
            "containers.",
            "",
            "| quality | meaning |",
            "|---|---|",
            *(f"| `{quality}` | {quality.meaning} |" for quality in Quality),
            "",
            "## Reasons",
            "",
            "A reason that several components can cause has no `khealth_reason_info`: the step that failed names the",
            "component. The [runbook](../alerts/runbook.md) explains each reason that a routine can have.",
            "",
            "| reason | result | component |",
            "|---|---|---|",
            *(f"| `{reason}` | {reason.result} | {reason.component or 'of the step'} |" for reason in Reason),
            "",
            "## Buckets",
            "",
            "Upper bounds in seconds, without `+Inf`.",
            "",
            "| histogram | buckets |",
            "|---|---|",
            *_buckets(families),
            "",
        )
    )


def _labels(families: Sequence[Metric]) -> Iterator[str]:
    found: dict[str, set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        for label, value in sample.labels.items():
            found.setdefault(label, set()).add(value)
    for label in sorted(found.keys() - {"le"}):
        yield f"| `{label}` | {OPEN.get(label) or ', '.join(f'`{value}`' for value in sorted(found[label]))} |"


def _buckets(families: Sequence[Metric]) -> Iterator[str]:
    """Yield the bucket edges of each histogram; for steps, with the routines that have these edges."""
    for family in sorted((family for family in families if family.type == "histogram"), key=lambda f: f.name):
        of_series: dict[tuple[str, ...], list[str]] = {}
        for sample in family.samples:
            if edge := sample.labels.get("le", "+Inf").replace("+Inf", ""):
                series = tuple(sample.labels.get(label, "") for label in ("module", "routine", "step"))
                of_series.setdefault(series, []).append(f"{float(edge):g}")
        routines: dict[str, dict[str, None]] = {}
        for (module, routine, _), edges in of_series.items():
            routines.setdefault(", ".join(edges), {})[f"`{module}/{routine}`"] = None
        for shown, names in routines.items():
            of = f": {', '.join(names)}" if len(routines) > 1 else ""
            yield f"| `{family.name}`{of} | `{shown}` |"


def _metric(family: Metric) -> str:
    labels = dict.fromkeys(name for sample in family.samples for name in sample.labels if name != "le")
    name = f"{family.name}_total" if family.type == "counter" else family.name
    unit = next((unit for ending, unit in UNITS.items() if family.name.endswith(ending)), "number")
    shown = ", ".join(f"`{label}`" for label in labels) or "-"
    return f"| `{name}` | {family.type} | {shown} | {unit} | {family.documentation} | {ABSENT.get(family.name, '-')} |"


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
    lines += ["", _heavy_routines()]
    for module in described:
        for routine in module.routines:
            lines += ["", *_routine(module, routine)]
    return "\n".join((*lines, ""))


def _heavy_routines() -> str:
    names = ", ".join(f"`{module.name}/{kind.name}`" for module in MODULES for kind in module.routines if kind.heavy)
    return f"Heavy routines begin at different moments, and pause while the API server throttles: {names}."


def _summary(module: ModuleDescription, routine: RoutineDescription) -> str:
    kind = next(kind for m in MODULES if m.name == module.name for kind in m.routines if kind.name == routine.name)
    interval = kind.Settings.model_fields["interval"].default
    writes = f"{kind.writes * 60 / interval:g} (at {interval:g} s)"
    on = f"no: {routine.off_because}" if routine.off_because else "yes"
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
    words = [permission.scope, *(["optional"] if permission.optional else [])]
    words += [f"with `{permission.when}: true`"] if permission.when else []
    return f"| {permission} | {', '.join(words)} | {permission.why} |"


def flags(parse: Callable[[Sequence[str]], object]) -> Iterator[str]:
    """Yield a table of every flag of every command, as `khealth COMMAND --help` prints them."""
    commands = re.findall(r"^    ([a-z-]+) ", _help(parse), re.MULTILINE)
    found: dict[tuple[str, str], list[str]] = {}
    for command in commands:
        for shown, meaning in re.findall(
            r"^  ([^\s-]\S*|--.*?)(?: {2,}|\n +)(\S.*)$", _help(parse, command), re.MULTILINE
        ):
            found.setdefault((shown, meaning), []).append(command)
    yield from ("| flag | commands | meaning |", "|---|---|---|")
    for (shown, meaning), of in found.items():
        names = "all" if of == commands else ", ".join(f"`{command}`" for command in of)
        yield f"| `{shown}` | {names} | {meaning} |".replace("|ROUTINE`", "\\|ROUTINE`")


def _help(parse: Callable[[Sequence[str]], object], *command: str) -> str:
    out = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "10000"}), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        parse([*command, "--help"])
    return out.getvalue()


def faults() -> Iterator[str]:
    """Yield a table of the faults of `khealth demo`."""
    yield from ("| fault | effect | one node | once |", "|---|---|---|---|")
    for name, effect in FAULTS.items():
        node, once = ("yes" if name in kind else "-" for kind in (NODE_FAULTS, MOMENTARY))
        yield f"| `{name}` | {effect} | {node} | {once} |"


def filled(text: str, tables: Mapping[str, Iterable[str]]) -> str:
    """Return a page with its tables between their marks."""
    for name, lines in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        text = "\n".join((f"{before}{begin}", "", *lines, "", f"{end}{rest.partition(end)[2]}"))
    return text


def kubectl_rows() -> Iterator[str]:
    """Yield a table of each section of what is made of a kubeconfig and of the environment."""
    for section, rows in ROWS.items():
        yield from (f"## {section}", "", "| kubeconfig and environment | khealth | kubectl |", "|---|---|---|")
        yield from (f"| {_given(row)} | {row.outcome} | {row.kubectl or 'the same'} |" for row in rows)
        yield ""


def no_proxy_rows() -> Iterator[str]:
    """Yield a table of exceptions from the environment's proxy."""
    yield from ("| `NO_PROXY` | server | proxy |", "|---|---|---|")
    for exceptions, host, used in NO_PROXY:
        yield f"| {f'`{exceptions}`' if exceptions else '-'} | `https://{host}` | {'used' if used else 'not used'} |"


def _given(row: Row) -> str:
    parts = [f"cluster `{{{row.cluster}}}`"] if row.cluster else []
    parts += [f"user `{{{row.user}}}`"] if row.user != Row.user or not (parts or row.environment) else []
    return ", ".join([*parts, *(f"`{name}={value}`" for name, value in row.environment.items())])


def generated() -> Mapping[Path, str]:
    """Return each page's text."""
    command_line, kubectl, silent = DOCS / "command-line.md", DOCS / "kubectl.md", DOCS / "blame.md"
    tables = {"flags": flags(parse), "faults": faults(), "canary": flags(canary.parser().parse_args)}
    return {
        DOCS / "metrics.md": metrics_page(),
        DOCS / "routines.md": routines_page(),
        command_line: filled(command_line.read_text(), tables),
        silent: filled(silent.read_text(), {"agents": blame.table()}),
        kubectl: filled(kubectl.read_text(), {"rows": kubectl_rows(), "exceptions": no_proxy_rows()}),
    }


if __name__ == "__main__":
    sys.exit(written.main(generated, __doc__))
