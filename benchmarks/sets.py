"""What a set of routines costs: API requests a minute, and memory and processor time of khealth and canaries.

The default set runs in a pod, as it is installed; all routines run in a khealth beside the cluster.
"""

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import in_pod
from benchmarks.audit import lines, requests
from benchmarks.everything import given, outside, restricted, writable, write
from benchmarks.figures import Goal, percentile, table
from benchmarks.harness import program
from benchmarks.process import Use, use
from benchmarks.repeated import Found
from khealth_exporter.modules import MODULES

NAMESPACE = "bench-overhead-set"
SETS = ("default", "all")
WARM_UP = 60.0
"""Seconds that are not counted: khealth's start, and the first of everything."""
MEMORY, PROCESSOR, CANARY = 64.0, 10.0, 20.0
"""Bounds: MiB of khealth, ms of processor time a second, MiB of a canary."""


@dataclass(frozen=True, slots=True)
class Canary:
    """What a canary told of itself: its task, resident memory in MiB, and processor time in seconds."""

    task: str
    resident: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen of khealth in `seconds` after its warm-up."""

    seconds: float
    before: Use
    after: Use
    asked: Counter[tuple[str, str]]
    canaries: Sequence[Canary]


def configuration(image: str) -> Mapping[str, Any]:
    """Return a configuration that names every routine, with the default settings."""
    every: dict[str, dict[str, dict[str, object]]] = {
        module.name: {kind.name: given(kind.name, image) for kind in module.routines} for module in MODULES
    }
    return {"namespace": NAMESPACE, "canary": {"image": image}, "modules": every}


def canaries(events: Iterable[Mapping[str, Any]]) -> Iterator[Canary]:
    """Yield what canaries told when they ended, as kubelets reported it."""
    seen: set[tuple[str, str]] = set()
    for event in events:
        about = event.get("objectRef", {})
        if about.get("subresource") != "status" or about.get("resource") != "pods":
            continue
        for container in ((event.get("requestObject") or {}).get("status") or {}).get("containerStatuses") or ():
            message = (container.get("state") or {}).get("terminated", {}).get("message", "")
            if message.startswith("{") and (about["name"], message) not in seen:
                seen.add((about["name"], message))
                yield _canary(json.loads(message))


def _canary(document: Mapping[str, Any]) -> Canary:
    facts = document["facts"]
    resident = float(facts.get("process_resident_bytes", "nan")) / (1 << 20)
    return Canary(document["task"], resident, float(facts.get("process_cpu_seconds", "nan")))


def observe(log: Path, wanted: str, given: argparse.Namespace) -> Run:
    """Let khealth run with a set of routines."""
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        if wanted == "default":
            used = around.enter_context(in_pod.installed(given.image, folder))
        else:
            used = around.enter_context(_beside(folder, given))
        time.sleep(WARM_UP)
        start, before, begun = log.stat().st_size, used(), time.monotonic()
        time.sleep(given.seconds)
        after, took = used(), time.monotonic() - begun
        time.sleep(1)
        asked = requests(lines(log, start, '"khealth/'), "khealth/")
        about = in_pod.NAMESPACE if wanted == "default" else NAMESPACE
        return Run(took, before, after, asked, list(canaries(lines(log, start, f'"namespace":"{about}"'))))


@contextmanager
def _beside(folder: Path, given: argparse.Namespace) -> Iterator[Callable[[], Use]]:
    """Run khealth beside the cluster until the block ends; yield what tells what it has used so far."""
    file = write(folder / "config.yaml", configuration(given.image))
    command = ("-m", "khealth_exporter", "run", "--config", file, "--listen", "127.0.0.1:0")
    with restricted(NAMESPACE), outside(), writable(given.host_path), program(*command, apart=True) as process:
        yield lambda: use(process.pid)


def figures(wanted: str, run: Run) -> Found:
    """Print what a set costs, and return it."""
    verbs: Counter[str] = Counter()
    for (verb, _), count in run.asked.items():
        verbs[verb] += count
    a_minute = {verb: 60 * count / run.seconds for verb, count in verbs.most_common()}
    processor = 1000 * (run.after.cpu - run.before.cpu) / run.seconds
    table(f"API requests a minute, {wanted}", ("verb", "a minute"), [list(row) for row in a_minute.items()])
    used = {"resident, MiB": run.after.resident, "highest, MiB": run.after.highest, "processor, ms a second": processor}
    table(f"khealth, {wanted}", ("what", "figure"), [list(row) for row in used.items()])
    tasks: dict[str, list[Canary]] = defaultdict(list)
    for canary in run.canaries:
        tasks[canary.task].append(canary)
    told = {task: _told(some) for task, some in sorted(tasks.items())}
    heads = ("task", "canaries", "highest resident, MiB", "processor, ms: median", "highest")
    table(f"Canaries, {wanted}", heads, [[task, *row.values()] for task, row in told.items()])
    goals = [Goal(f"{wanted}: highest resident memory of a canary, MiB", _highest(run.canaries), CANARY)]
    if wanted == "default":
        goals += [
            Goal("default: highest resident memory, MiB", run.after.highest, MEMORY),
            Goal("default: processor time, ms a second", processor, PROCESSOR),
        ]
    return {"requests a minute": a_minute, "khealth": used, "canaries": told}, goals


def _told(some: Sequence[Canary]) -> dict[str, float]:
    spent = [1000 * canary.cpu for canary in some]
    return {
        "canaries": len(some),
        "resident": _highest(some),
        "processor": percentile(spent, 0.5),
        "processor_highest": max(spent),
    }


def _highest(some: Sequence[Canary]) -> float:
    """Return the highest resident memory; none has told is no success."""
    return max((canary.resident for canary in some), default=float("nan"))


def measured(log: Path, wanted: str, given: argparse.Namespace) -> Found:
    """Take the figures of a set once."""
    print(f"\n### {wanted}")
    return figures(wanted, observe(log, wanted, given))
