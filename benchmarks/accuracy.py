"""How exact khealth's times are: beside two bare watchers of the same pods, and against the API server's audit log."""

import math
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.audit import Interval, Truth, lines, truth
from benchmarks.figures import Goal, conclude, needed, parser, percentile, table
from benchmarks.harness import configuration, events, namespace, program, samples, wait_for_watcher, watched
from benchmarks.repeated import Found, parsed, repeated
from khealth_exporter.canaries.pod_steps import WAY

NAMESPACE = "bench-accuracy"
ROUTINES = {
    "small": {"replicas": 3, "pod_ttl": "1s", "poll_interval": "1s"},
    "large": {"replicas": 10, "pod_ttl": "1s", "poll_interval": "1s"},
}
SPANS = {
    "schedule": ("created", "scheduled"),
    "sandbox": ("scheduled", "sandboxed"),
    "start": ("sandboxed", "started"),
    "ready": ("started", "ready"),
    "startup": ("created", "started"),
}
"""Steps between two milestones, which a bare watcher sees too."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
DRAWS = 400
"""Number of bootstrap resamples for an interval."""
STEPS = ("create", *SPANS, "delete")

Seen = Mapping[str, Mapping[str, float]]
"""By pod and milestone, a time in Unix seconds."""


@dataclass(frozen=True, slots=True)
class Run:
    """What three observers and the API server itself say of the same pods."""

    khealth: Mapping[str, Mapping[str, Any]]
    watchers: tuple[Seen, Seen]
    truth: Truth


def observe(log: Path, pods: int, seconds: float, interval: float) -> Run:
    """Let khealth exercise the cluster until so many pods have gone, watched by two others."""
    end = time.monotonic() + seconds
    start = log.stat().st_size
    with namespace(NAMESPACE), tempfile.TemporaryDirectory() as folder:
        recorded, seen = Path(folder) / "events", [Path(folder) / name for name in "ab"]
        with ExitStack() as running:
            for file in seen:
                out = running.enter_context(file.open("wb"))
                running.enter_context(program("-m", "benchmarks.watcher", NAMESPACE, out=out))
                wait_for_watcher(file)
            settings = configuration(Path(folder) / "config.yaml", NAMESPACE, ROUTINES)
            running.enter_context(program("-m", "benchmarks.recorder", settings, recorded, interval))
            while time.monotonic() < end and len(gone(recorded)) < pods:
                time.sleep(2)
        time.sleep(1)
        told = truth(lines(log, start, NAMESPACE), NAMESPACE)
        return Run(samples(events(recorded)), (watched(seen[0]), watched(seen[1])), told)


def gone(recorded: Path) -> list[str]:
    """Return the pods that have gone their whole way."""
    return [name for name, sample in samples(events(recorded)).items() if "deleted" in sample["observed"]]


def differences(run: Run) -> dict[str, tuple[list[float], list[float]]]:
    """Return, by milestone, khealth minus each watcher, and one watcher minus the other, in seconds."""
    one, other = run.watchers
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in WAY.milestones}
    for pod, sample in run.khealth.items():
        for name, at in sample["observed"].items():
            if name in one.get(pod, {}) and name in other.get(pod, {}):
                found[name][0].extend((at - one[pod][name], at - other[pod][name]))
                found[name][1].append(one[pod][name] - other[pod][name])
    return found


def interval(run: Run, milestones: Sequence[str]) -> tuple[float, float]:
    """Return the bootstrap interval of 95 % of the p99 ratio: how precise it is with so few pods."""
    one, other = run.watchers
    pods = [
        [(sample["observed"][name], one[pod][name], other[pod][name]) for name in milestones
         if name in sample["observed"] and name in one.get(pod, {}) and name in other.get(pod, {})]
        for pod, sample in run.khealth.items()
    ]  # fmt: skip
    chance, ratios = random.Random(1), []  # noqa: S311 - nothing here is secret
    for _ in range(DRAWS):
        times = [seen for pod in chance.choices(pods, k=len(pods)) for seen in pod]
        ours = percentile([abs(k - bare) for k, *both in times for bare in both], 0.99)
        ratios.append(ours / (percentile([abs(a - b) for _, a, b in times], 0.99) or float("nan")))
    return percentile(ratios, 0.025), percentile(ratios, 0.975)


def beside(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Compare khealth with the bare watchers, and print it."""
    found = differences(run)
    found["all"] = ([d for ours, _ in found.values() for d in ours], [d for _, bare in found.values() for d in bare])
    figures: dict[str, Any] = {}
    for name, (ours, bare) in found.items():
        figures[name] = {
            "pairs": len(ours),
            "median_ms": 1000 * percentile(ours, 0.5),
            "bare_median_ms": 1000 * percentile(bare, 0.5),
            "p90_ms": 1000 * percentile([abs(d) for d in ours], 0.9),
            "bare_p90_ms": 1000 * percentile([abs(d) for d in bare], 0.9),
            "p99_ms": 1000 * percentile([abs(d) for d in ours], 0.99),
            "bare_p99_ms": 1000 * percentile([abs(d) for d in bare], 0.99),
        }
        figures[name]["p99_ratio"] = figures[name]["p99_ms"] / (figures[name]["bare_p99_ms"] or float("nan"))
        low, high = interval(run, WAY.milestones if name == "all" else (name,))
        figures[name] |= {"ratio_low": low, "ratio_high": high}
    heads = ("milestone", *figures["all"])
    table("khealth minus bare watcher, beside bare watcher minus bare watcher", heads, _rows(figures))
    medians = max(abs(figure["median_ms"]) for figure in figures.values())
    return figures, [
        Goal("khealth minus bare watcher: worst median, ms", medians, 2.0),
        Goal("p99 of the difference, to that of two bare watchers: all milestones", figures["all"]["p99_ratio"], 1.2),
        Goal("the same: worst milestone", max(figure["p99_ratio"] for figure in figures.values()), 1.2),
    ]


def errors(run: Run) -> Iterator[tuple[str, float, float, float]]:
    """Yield each measured step that the log tells of: its name, error, error bar and the truth's width, in seconds."""
    for pod, sample in run.khealth.items():
        for step, measured in sample["measurements"].items():
            true = _true(run.truth, pod, step)
            if true and not measured["censored"]:
                yield step, true.error(measured["seconds"]), measured["uncertainty"], true.high - true.low


def bare_errors(run: Run) -> Iterator[tuple[str, float]]:
    """Yield the errors of the first bare watcher, for the steps that it sees."""
    for pod, seen in run.watchers[0].items():
        for step, (begin, end) in SPANS.items():
            true = _true(run.truth, pod, step)
            if true and begin in seen and end in seen and pod in run.khealth:
                yield step, true.error(max(0.0, seen[end] - seen[begin]))


def _true(told: Truth, pod: str, step: str) -> Interval | None:
    known, controller = told.pods.get(pod, {}), pod.rpartition("-")[0]
    match step:
        case "create":
            begin, end = told.accepted.get(controller), known.get("created")
        case "delete":
            begin, end = told.asked_to_go.get(controller), known.get("deleted")
        case _:
            begin, end = (known.get(name) for name in SPANS[step])
    return begin.until(end) if begin and end else None


def milestones_against_truth(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Compare when khealth and the bare watchers saw each milestone with the audit log, and print it."""
    figures: dict[str, Any] = {}
    for name in WAY.milestones:
        ours, bare = milestone_errors(run, name)
        figures[name] = {"pods": len(ours)}
        for label, share in QUANTILES.items():
            figures[name][f"{label}_ms"] = 1000 * percentile(ours, share)
            figures[name][f"bare_{label}_ms"] = 1000 * percentile(bare, share)
    heads = ("milestone", *figures[WAY.created])
    table("How late each milestone was seen, by the audit log", heads, _rows(figures))
    goals = []
    for label in QUANTILES:
        over = max(figure[f"{label}_ms"] - figure[f"bare_{label}_ms"] for figure in figures.values())
        goals.append(Goal(f"error of a milestone beyond the bare watchers', {label}, worst milestone, ms", over, 0.0))
    return figures, goals


def milestone_errors(run: Run, name: str) -> tuple[list[float], list[float]]:
    """Return how far khealth, and both bare watchers, are off a milestone's true time, in seconds."""
    ours, bare = [], []
    for pod, sample in run.khealth.items():
        true = run.truth.pods.get(pod, {}).get(name)
        seen = [watcher[pod][name] for watcher in run.watchers if name in watcher.get(pod, {})]
        if true and name in sample["observed"] and len(seen) == len(run.watchers):
            ours.append(abs(true.error(sample["observed"][name])))
            bare += [abs(true.error(at)) for at in seen]
    return ours, bare


def against_truth(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Compare khealth's steps with the audit log, and print it."""
    measured: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for step, *rest in errors(run):
        measured[step].append((rest[0], rest[1], rest[2]))
        measured["all"].append((rest[0], rest[1], rest[2]))
    bare: dict[str, list[float]] = defaultdict(list)
    for step, error in bare_errors(run):
        bare[step].append(abs(error))
    figures = {step: _figures(measured[step], bare[step]) for step in (*STEPS, "all") if measured[step]}
    table("khealth's steps against the audit log", ("step", *figures["all"]), _rows(figures))
    inside = figures["all"]["inside_bar"] if "all" in figures else 0.0
    worst = min((figure["inside_bar"] for figure in figures.values()), default=0.0)
    bar = figures["all"]["bar_p50_ms"] if "all" in figures else float("nan")
    return figures, [
        Goal("median error bar, ms", bar, 40.0),
        Goal("truths that lie within the error bar: all steps", inside, 0.99, at_least=True),
        Goal("the same: worst step", worst, 0.99, at_least=True),
    ]


def _figures(found: Sequence[tuple[float, float, float]], bare: Sequence[float]) -> dict[str, Any]:
    off = [abs(error) for error, _, _ in found]
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        "steps": len(found),
        "truth_width_p50_ms": 1000 * percentile([width for _, _, width in found], 0.5),
        **{f"error_{name}_ms": 1000 * percentile(off, share) for name, share in shares.items()},
        "bare_error_p99_ms": 1000 * percentile(bare, 0.99),
        "bar_p50_ms": 1000 * percentile([bar for _, bar, _ in found], 0.5),
        "inside_bar": sum(abs(error) <= bar for error, bar, _ in found) / len(found),
        "bar_factor_for_99": percentile([_factor(abs(error), bar) for error, bar, _ in found], 0.99),
    }


def _factor(error: float, bar: float) -> float:
    """Return how many times as long a bar would have to be."""
    return error / bar if bar else math.inf if error else 0.0


def _rows(figures: Mapping[str, Mapping[str, Any]]) -> list[list[object]]:
    return [[name, *known.values()] for name, known in figures.items()]


def measured(log: Path, pods: int, seconds: float, interval: float) -> Found:
    """Take the figures once."""
    run = observe(log, pods, seconds, interval)
    print(f"{len(run.khealth)} pods")
    pairs, goals = beside(run)
    milestones, nearer = milestones_against_truth(run)
    steps, more = against_truth(run)
    figures = {
        "pods": len(run.khealth),
        "beside_bare_watchers": pairs,
        "milestones_against_the_audit_log": milestones,
        "steps_against_the_audit_log": steps,
    }
    return figures, [Goal("pods", len(run.khealth), pods, at_least=True), *goals, *nearer, *more]


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--pods", type=int, default=500, help="how many")
    arguments.add_argument(
        "--interval", type=float, default=1.0, help="of attempts, in s; the shortest busies a machine"
    )
    given = parsed(arguments)
    once = partial(measured, needed(given.audit_log), given.pods, given.seconds, given.interval)
    figures, goals = repeated(once, given.runs)
    return conclude("accuracy", figures, goals, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
