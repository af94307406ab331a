"""What khealth costs: requests, memory and processor time, beside a bare watcher and a naive script."""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.audit import lines, requests
from benchmarks.figures import Goal, conclude, needed, parser, percentile, table
from benchmarks.harness import ROOT, configuration, namespace, program, wait_for_watcher
from benchmarks.process import Use, use

BUSY, IDLE, NAIVE = "bench-overhead", "bench-overhead-idle", "bench-overhead-naive"
REPLICAS, ROUTINES, INTERVAL, WARM_UP = 3, 3, 18.0, 3
ROUTINE = {"replicas": REPLICAS, "timeout": "8500ms", "pod_ttl": "500ms", "poll_interval": "500ms"}
"""The shortest interval that leaves cleanup its time; three routines at once, so that it does not take half an hour."""
LIFETIME = 230.0
"""Seconds that a watch lives at least."""
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


def observe(log: Path, attempts: int, naive: int, seconds: float) -> Run:
    """Let khealth make its attempts, watched by bare watchers, with an idle khealth beside; then the naive script."""
    start = log.stat().st_size
    with ExitStack() as around:
        for name in (BUSY, IDLE, NAIVE):
            around.enter_context(namespace(name))
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        used, took = _watched(folder, attempts, seconds)
        command = [sys.executable, "-m", "benchmarks.naive", NAIVE, str(naive), str(REPLICAS)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60 + 20 * naive, check=True).stdout
        time.sleep(1)
        told = list(lines(log, start, BUSY))
    asked = {
        "khealth": requests((e for e in told if _about(e, BUSY)), "khealth/"),
        "naive": requests((e for e in told if _about(e, NAIVE)), "bench-naive"),
    }
    return Run(used, baseline(), [json.loads(line) for line in said.splitlines()], asked, took)


def _about(event: Mapping[str, Any], namespace: str) -> bool:
    return bool(event.get("objectRef", {}).get("namespace") == namespace)


def _watched(folder: Path, attempts: int, seconds: float) -> tuple[Log, float]:
    end = time.monotonic() + seconds
    with ExitStack() as running:
        processes = {}
        for name, mode in (("bare watcher", ()), ("bare watcher that decodes", ("decode",))):
            file = folder / name
            out = running.enter_context(file.open("wb"))
            processes[name] = running.enter_context(program("-m", "benchmarks.watcher", BUSY, *mode, out=out))
            wait_for_watcher(file)
        for name, where, interval in (("khealth, idle", IDLE, "1h"), ("khealth", BUSY, f"{INTERVAL:g}s")):
            routines = {f"rcscheduler-{number}": {**ROUTINE, "interval": interval} for number in range(ROUTINES)}
            settings = configuration(folder / where, where, routines)
            command = ("-m", "khealth_exporter", "run", "--config", settings, "--listen", "127.0.0.1:0", "rcscheduler")
            processes[name] = running.enter_context(program(*command))
        begun = time.monotonic()
        used: dict[str, list[Use]] = {name: [] for name in processes}
        for number in range(1, attempts // ROUTINES + 1):
            time.sleep(max(0.0, min(begun + number * INTERVAL, end) - time.monotonic()))
            for name, process in processes.items():
                used[name].append(use(process.pid))
            if time.monotonic() >= end:
                break
    return used, time.monotonic() - begun


def cost(log: Sequence[Use]) -> float:
    """Return the processor time of an attempt, in milliseconds, after the warm-up."""
    return 1000 * (log[-1].cpu - log[WARM_UP - 1].cpu) / (len(log) - WARM_UP) / ROUTINES


def asked(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Print what was asked of the API server."""
    counted, attempts = run.asked["khealth"], run.asked["khealth"]["create", "replicationcontrollers"]
    writes = sum(count for (verb, _), count in counted.items() if verb not in ("get", "list", "watch"))
    reads = sum(count for (verb, _), count in counted.items() if verb in ("get", "list"))
    watches = sum(count for (verb, _), count in counted.items() if verb == "watch")
    naive = run.asked["naive"]
    figures = {
        "khealth": {"attempts": attempts, "writes": writes / attempts, "reads": reads, "watches": watches},
        "naive": {
            "attempts": len(run.naive),
            "writes": sum(n for (verb, _), n in naive.items() if verb in ("create", "delete")) / len(run.naive),
            "reads": sum(n for (verb, _), n in naive.items() if verb in ("get", "list")),
            "watches": 0,
        },
    }
    heads = ("requests", "attempts", "writes per attempt", "reads in all", "watches in all")
    table("What is asked of the API server", heads, [[name, *row.values()] for name, row in figures.items()])
    return figures, [
        Goal("writes per attempt", writes / attempts, 2.0),
        Goal("reads in all, beyond the first list of each watch", reads - 2, 0),
        Goal(
            "watches in all, beyond those that the server's timeout ended", watches - 2 * (run.seconds // LIFETIME), 2
        ),
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
        f"Resident memory in {len(log) * ROUTINES} attempts", ("khealth", "MiB"), [list(row) for row in figures.items()]
    )
    return figures, [
        Goal("resident memory at the end, to that after the warm-up", late / early, 1.02),
        Goal("highest resident memory, MiB", run.used["khealth"][-1].highest, 70.0),
    ]


def processor(run: Run) -> tuple[dict[str, Any], list[Goal]]:
    """Print how much processor time an attempt costs."""
    costs = {name: cost(log) for name, log in run.used.items()}
    costs["khealth, of the attempt alone"] = costs["khealth"] - costs["khealth, idle"]
    costs["naive script"] = 1000 * percentile([attempt["cpu_seconds"] for attempt in run.naive], 0.5)
    bare = costs["bare watcher"]
    rows = [[name, ms, ms / bare if bare else float("nan")] for name, ms in costs.items()]
    table(f"Processor time of an attempt with {REPLICAS} pods", ("program", "ms", "to the bare watcher's"), rows)
    ratio = costs["khealth, of the attempt alone"] / bare if bare else float("nan")
    return costs, [Goal("processor time of an attempt, to the bare watcher's", ratio, 2.0)]


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--attempts", type=int, default=63, help="of khealth, over all its routines")
    arguments.add_argument("--naive", type=int, default=5, help="attempts of the naive script")
    given = arguments.parse_args()
    if given.attempts <= 2 * WARM_UP * ROUTINES:
        arguments.error(f"--attempts must be above {2 * WARM_UP * ROUTINES}")
    run = observe(needed(given.audit_log), given.attempts, given.naive, given.seconds)
    parts = {"requests": asked(run), "memory": memory(run), "processor": processor(run)}
    figures = {name: found for name, (found, _) in parts.items()}
    goals = [goal for _, more in parts.values() for goal in more]
    return conclude("overhead", figures, goals, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
