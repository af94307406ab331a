"""What khealth costs: requests, memory and processor time, beside a bare watcher and a naive script."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import sets
from benchmarks.audit import lines, requests
from benchmarks.everything import with_canaries
from benchmarks.figures import Goal, conclude, needed, parser, percentile, table
from benchmarks.harness import ROOT, configuration, module_of, namespace, program, wait_for_watcher
from benchmarks.naive import REPLICAS
from benchmarks.process import Use, use
from benchmarks.repeated import Found, parsed, repeated

BUSY, IDLE, NAIVE = "bench-overhead", "bench-overhead-idle", "bench-overhead-naive"
INTERVAL, WARM_UP = 18.0, 3
"""The shortest interval that leaves cleanup its time."""
LIFETIME = 230.0
"""Seconds that a watch lives at least."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of routine: its settings, what it creates, and what a bare watcher of it watches."""

    name: str
    settings: Mapping[str, object]
    creates: str
    watched: str


_HURRIED = {"timeout": "8500ms"}
_HELD = {"pod_ttl": "500ms", "poll_interval": "500ms"}
KINDS = {
    kind.name: kind
    for kind in (
        Kind("rcscheduler", {"replicas": REPLICAS, **_HELD, **_HURRIED}, "replicationcontrollers", "pods"),
        Kind("pod", _HURRIED, "pods", "pods"),
        Kind("api", _HURRIED, "configmaps", "configmaps"),
    )
}
IMPORTED = """
import khealth_exporter.cli, khealth_exporter.app.commands, sys
sys.stdout.write('.')
sys.stdout.flush()
input()
"""

Log = Mapping[str, Sequence[Use]]
"""By program, what it had used after each interval."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of every program."""

    kind: Kind
    routines: int
    used: Log
    imported: float
    naive: Sequence[Mapping[str, float]]
    asked: Mapping[str, Counter[tuple[str, str]]]
    seconds: float


def baseline() -> float:
    """Return the resident memory of a process that has only imported what `khealth run` imports, in MiB."""
    command = [sys.executable, "-c", IMPORTED]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout  # noqa: S101 - it is a pipe
        process.stdout.read(1)
        found = use(process.pid).resident
        process.communicate(b"\n")
    return found


def observe(log: Path, kind: Kind, given: argparse.Namespace) -> Run:
    """Let khealth make its attempts, watched by bare watchers, with an idle khealth beside; then the naive script."""
    start = log.stat().st_size
    with ExitStack() as around:
        for name in (BUSY, IDLE, NAIVE):
            around.enter_context(namespace(name))
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        used, took = _watched(folder, kind, given)
        command = [sys.executable, "-m", "benchmarks.naive", NAIVE, str(given.naive), kind.name]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60 + 20 * given.naive, check=True).stdout
        time.sleep(1)
        told = list(lines(log, start, BUSY))
    asked = {
        "khealth": requests((e for e in told if _about(e, BUSY)), "khealth/"),
        "naive": requests((e for e in told if _about(e, NAIVE)), "bench-naive"),
    }
    return Run(kind, given.routines, used, baseline(), [json.loads(line) for line in said.splitlines()], asked, took)


def _about(event: Mapping[str, Any], namespace: str) -> bool:
    return bool(event.get("objectRef", {}).get("namespace") == namespace)


def _watched(folder: Path, kind: Kind, given: argparse.Namespace) -> tuple[Log, float]:
    end = time.monotonic() + given.seconds
    with ExitStack() as running:
        processes = {}
        for name, mode in (("bare watcher", ()), ("bare watcher that decodes", ("decode",))):
            file = folder / name
            out = running.enter_context(file.open("wb"))
            watcher = ("-m", "benchmarks.watcher", BUSY, kind.watched, *mode)
            processes[name] = running.enter_context(program(*watcher, out=out))
            wait_for_watcher(file)
        for name, where, interval in (("khealth, idle", IDLE, "1h"), ("khealth", BUSY, f"{INTERVAL:g}s")):
            routines = {f"{kind.name}-{n}": {**kind.settings, "interval": interval} for n in range(given.routines)}
            settings = configuration(folder / where, where, routines, kind.name)
            command = ("-m", "khealth_exporter", "run", "--config", settings, "--listen", "127.0.0.1:0")
            processes[name] = running.enter_context(program(*command, module_of(kind.name)))
        begun = time.monotonic()
        used: dict[str, list[Use]] = {name: [] for name in processes}
        for number in range(1, given.attempts // given.routines + 1):
            time.sleep(max(0.0, min(begun + number * INTERVAL, end) - time.monotonic()))
            for name, process in processes.items():
                used[name].append(use(process.pid))
            if time.monotonic() >= end:
                break
    return used, time.monotonic() - begun


def cost(log: Sequence[Use], routines: int) -> float:
    """Return the processor time of an attempt, in milliseconds, after the warm-up."""
    return 1000 * (log[-1].cpu - log[WARM_UP - 1].cpu) / (len(log) - WARM_UP) / routines


def asked(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Print what was asked of the API server."""
    counted, attempts = run.asked["khealth"], run.asked["khealth"]["create", run.kind.creates]
    writes = sum(count for (verb, _), count in counted.items() if verb not in ("get", "list", "watch"))
    reads = sum(count for (verb, _), count in counted.items() if verb in ("get", "list"))
    watches = sum(count for (verb, _), count in counted.items() if verb == "watch")
    naive = run.asked["naive"]
    figures = {
        "khealth": {"attempts": attempts, "writes": writes / attempts, "reads": reads, "watches": watches},
        "naive": {
            "attempts": len(run.naive),
            "writes": sum(n for (verb, _), n in naive.items() if verb not in ("get", "list")) / len(run.naive),
            "reads": sum(n for (verb, _), n in naive.items() if verb in ("get", "list")),
            "watches": 0,
        },
    }
    heads = ("requests", "attempts", "writes per attempt", "reads in all", "watches in all")
    table("What is asked of the API server", heads, [[name, *row.values()] for name, row in figures.items()])
    if run.kind.name != "rcscheduler":
        return figures, []
    ended = 2 * (run.seconds // LIFETIME)
    return figures, [
        Goal("writes per attempt", writes / attempts, 2.0),
        Goal("reads in all, beyond the first list of each watch", reads - 2, 0),
        Goal("watches in all, beyond those that the server's timeout ended", watches - ended, 2),
    ]


def memory(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Print how much memory khealth keeps."""
    log = [used.resident for used in run.used["khealth"]]
    early, late = percentile(log[WARM_UP : 2 * WARM_UP], 0.5), percentile(log[-WARM_UP:], 0.5)
    figures = {
        "only imported": run.imported,
        "after the first interval": log[0],
        f"after intervals {WARM_UP + 1} to {2 * WARM_UP}": early,
        f"after the last {WARM_UP}": late,
        "highest": run.used["khealth"][-1].highest,
    }
    table(
        f"Resident memory in {len(log) * run.routines} attempts",
        ("khealth", "MiB"),
        [list(row) for row in figures.items()],
    )
    return figures, [
        Goal(f"{run.kind.name}: resident memory at the end, to that after the warm-up", late / early, 1.02),
        Goal(f"{run.kind.name}: highest resident memory, MiB", run.used["khealth"][-1].highest, 75.0),
    ]


def processor(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Print how much processor time an attempt costs."""
    costs = {name: cost(log, run.routines) for name, log in run.used.items()}
    costs["khealth, of the attempt alone"] = costs["khealth"] - costs["khealth, idle"]
    costs["naive script"] = 1000 * percentile([attempt["cpu_seconds"] for attempt in run.naive], 0.5)
    bare = costs["bare watcher"]
    rows = [[name, ms, ms / bare if bare else float("nan")] for name, ms in costs.items()]
    table(f"Processor time of an attempt of {run.kind.name}", ("program", "ms", "to the bare watcher's"), rows)
    if run.kind.name != "rcscheduler":
        return costs, []
    khealth, nan = costs["khealth, of the attempt alone"], float("nan")
    return costs, [
        Goal("processor time of an attempt, to the bare watcher's", khealth / bare if bare else nan, 2.0),
        Goal("processor time of an attempt, to the naive script's", khealth / costs["naive script"], 1.0),
    ]


def measured(log: Path, kinds: Sequence[Kind], given: argparse.Namespace) -> Found:
    """Take the figures of each kind once."""
    figures: dict[str, Any] = {}
    goals: list[Goal] = []
    for kind in kinds:
        print(f"\n### {kind.name}")
        run = observe(log, kind, given)
        parts = {"requests": asked(run), "memory": memory(run), "processor": processor(run)}
        figures[kind.name] = {name: found for name, (found, _) in parts.items()}
        goals += [goal for _, more in parts.values() for goal in more]
    return figures, goals


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--attempts", type=int, default=63, help="of khealth, over all its routines")
    arguments.add_argument("--routines", type=int, default=3, help="at once, so that it takes less time")
    arguments.add_argument("--naive", type=int, default=5, help="attempts of the naive script")
    arguments.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="of routines")
    told = "measure a whole set of routines for --seconds at their default intervals instead, canaries included"
    with_canaries(arguments).add_argument("--set", choices=sets.SETS, help=told)
    given = parsed(arguments)
    if given.set:
        figures, goals = repeated(partial(sets.measured, needed(given.audit_log), given.set, given), given.runs)
        return conclude(f"overhead-{given.set}", figures, goals, insist=given.insist)
    if given.attempts <= 2 * WARM_UP * given.routines:
        arguments.error(f"--attempts must be above {2 * WARM_UP * given.routines}")
    log, kinds = needed(given.audit_log), [KINDS[name] for name in given.kinds]
    figures, goals = repeated(partial(measured, log, kinds, given), given.runs)
    return conclude("overhead", figures, goals, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
