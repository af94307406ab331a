"""khealth killed (-9) in the middle of each routine: whether one sweep leaves nothing of it."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.audit import lines
from benchmarks.everything import document, outside, restricted, routines, with_canaries, writable, write
from benchmarks.figures import Goal, conclude, needed, plain_parser, table
from benchmarks.harness import ROOT, kubectl
from benchmarks.kit import wait_for
from khealth_exporter.modules import MODULES

NAMESPACE = "bench-kills"
MOMENTS = (0.0, 0.4, 0.8)
"""When it is killed after the first write of an attempt, as shares of the time until its last write."""
WRITES = frozenset({"create", "update", "patch", "delete"})
ATTEMPT, SWEEP = 180.0, "90s"
RELEASE = 30.0
"""Seconds that volumes have to go after their claims: the cluster deletes them, not the sweep."""
BORN = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
"""What a namespace has of itself."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One khealth that was killed: what it left, and what one sweep left of that."""

    routine: str
    moment: float
    killed_after: float
    """Seconds after its start."""
    before: Sequence[str]
    after: Sequence[str]
    swept: int
    """The sweep's exit code."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """An attempt that nobody disturbs: its result, and the seconds from its first write to its last."""

    result: str
    writes: float


def khealth(*words: str, file: Path) -> list[str]:
    """Return a command of khealth."""
    return [sys.executable, "-m", "khealth_exporter", *words, "--config", str(file)]


def writes(log: Path, start: int) -> list[float]:
    """Return when khealth's writes were answered since an offset of the audit log, in Unix seconds."""
    return [
        datetime.fromisoformat(event["stageTimestamp"]).timestamp()
        for event in lines(log, start, f'"namespace":"{NAMESPACE}"')
        if event.get("userAgent", "").startswith("khealth/") and event["verb"] in WRITES
    ]


def undisturbed(routine: str, file: Path, log: Path) -> Undisturbed:
    """Let one attempt come to its end."""
    start = log.stat().st_size
    command = khealth("once", routine, "--json", file=file)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=ATTEMPT, check=False)
    (attempt,) = json.loads(done.stdout)["attempts"]
    # The API server writes its log with some delay.
    wait_for("a write in the audit log", lambda: writes(log, start), RELEASE)
    times = writes(log, start)
    return Undisturbed(attempt["result"], times[-1] - times[0])


def killed(routine: str, moment: float, known: Undisturbed, file: Path, log: Path) -> Kill:
    """Kill khealth at a moment of an attempt, and sweep once."""
    start, began = log.stat().st_size, time.monotonic()
    process = subprocess.Popen(
        khealth("once", routine, file=file), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not writes(log, start) and process.poll() is None and time.monotonic() < began + ATTEMPT:
            time.sleep(0.005)
        time.sleep(moment * known.writes)
    finally:
        process.kill()
        process.wait()
    after = time.monotonic() - began
    before = everything()
    sweep = khealth("sweep", "--all", "--timeout", SWEEP, file=file)
    swept = subprocess.run(sweep, cwd=ROOT, capture_output=True, timeout=ATTEMPT, check=False)
    try:
        wait_for("the end of volumes", lambda: not volumes(), RELEASE)
    except TimeoutError as error:
        print(error)
    return Kill(routine, moment, round(after, 2), sorted(before), sorted({*everything(), *volumes()}), swept.returncode)


def kinds() -> str:
    """Return the names of all kinds of objects that a namespace can hold, but for Events."""
    found = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    return ",".join(kind for kind in found if not kind.startswith("events") and "metrics.k8s.io" not in kind)


def everything() -> set[str]:
    """Return what there is in the namespace, apart from what it has of itself."""
    said = kubectl("get", kinds(), "--namespace", NAMESPACE, "--ignore-not-found", "-o", "name")
    return set(said.split()) - BORN


def volumes() -> set[str]:
    """Return the volumes that claims of the namespace have or had."""
    found = json.loads(kubectl("get", "persistentvolumes", "-o", "json"))["items"]
    claimed = (item for item in found if item["spec"].get("claimRef", {}).get("namespace") == NAMESPACE)
    return {f"persistentvolume/{item['metadata']['name']}" for item in claimed}


def goals(kills: Sequence[Kill], tried: Sequence[str]) -> list[Goal]:
    """Return what the kills must reach.

    A routine that makes objects, and of which no kill left any, was not killed in its middle.
    """
    caught = {kill.routine for kill in kills if kill.before}
    makers = {f"{module.name}/{kind.name}" for module in MODULES for kind in module.routines if kind.makes}
    return [
        Goal("objects left after one sweep", sum(len(kill.after) for kill in kills), 0),
        Goal("sweeps that failed", sum(kill.swept != 0 for kill in kills), 0),
        Goal("routines of which no kill left anything", len(makers.intersection(tried) - caught), 0),
    ]


def observe(given: argparse.Namespace) -> list[Kill]:
    """Kill khealth in every routine."""
    log = needed(given.audit_log)
    with ExitStack() as around:
        around.enter_context(restricted(NAMESPACE))
        around.enter_context(outside())
        around.enter_context(writable(given.host_path))
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        file = write(folder / "config.yaml", document(NAMESPACE, given.image))
        kills = []
        for routine in given.routines:
            known = undisturbed(routine, file, log)
            print(f"{routine}: {known.result}, {known.writes:.1f} s from the first write to the last")
            kills += [killed(routine, moment, known, file, log) for moment in MOMENTS]
        return kills


def main() -> int:
    """Kill khealth."""
    arguments = with_canaries(plain_parser(__doc__))
    told = "JSON lines: tells when khealth writes"
    arguments.add_argument("--audit-log", type=Path, default=os.environ.get("KHEALTH_AUDIT_LOG"), help=told)
    arguments.add_argument("--routines", nargs="+", default=list(routines()), choices=routines(), metavar="ROUTINE")
    given = arguments.parse_args()
    kills = observe(given)
    rows = [
        [kill.routine, kill.moment, kill.killed_after, len(kill.before), " ".join(kill.after) or "none", kill.swept]
        for kill in kills
    ]
    table("Kills", ("routine", "moment", "after, s", "objects then", "left after one sweep", "sweep's code"), rows)
    return conclude(
        "kills", {"kills": [asdict(kill) for kill in kills]}, goals(kills, given.routines), insist=given.insist
    )


if __name__ == "__main__":
    sys.exit(main())
