"""Many canaries on fake nodes: is every one sampled, how well, and does a line cost more with more of them."""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import Goal, conclude, parser, table
from benchmarks.harness import attempts, configuration, events, kubectl, namespace, program, samples, wait_for_watcher
from benchmarks.process import use

NAMESPACE = "bench-scale"
POD = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
}
PACE = 8
"""Pods a second that a controller manager creates at least: its default limit is 20 requests."""
LEAST = 60
"""Seconds that an attempt has in any case."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of the attempts with so many pods; `line_ms` is khealth's processor time for each line of pods."""

    pods: int
    attempts: int
    whole: int
    exact: int
    cold: int
    others: int
    lines: int
    line_ms: float
    highest_mib: float
    failed: int

    @property
    def steps(self) -> int:
        """Return how many steps were measured."""
        return self.exact + self.cold + self.others


def observe(folder: Path, pods: int, wanted: int, end: float) -> Seen:
    """Let khealth make so many attempts with so many pods each, watched by a bare watcher that counts the lines."""
    recorded, watched = folder / f"events-{pods}", folder / f"lines-{pods}"
    timeout = LEAST + pods // PACE
    routine = {"replicas": pods, "timeout": f"{timeout}s", "interval": f"{2 * timeout + 20}s", "pod_ttl": "1s"}
    settings = {"large": {**routine, "poll_interval": "1s", "pod": POD}}
    file = configuration(folder / f"config-{pods}.yaml", NAMESPACE, settings)
    with watched.open("wb") as out, program("-m", "benchmarks.watcher", NAMESPACE, "pods", out=out):
        wait_for_watcher(watched)
        # The next attempt begins when this one has surely ended: one that is cut short at the end says nothing.
        with program("-m", "benchmarks.recorder", file, recorded, timeout) as khealth:
            while not recorded.exists() and time.monotonic() < end:
                time.sleep(0.1)
            began = use(khealth.pid).cpu
            while time.monotonic() < end and attempts(events(recorded)) < wanted:
                time.sleep(1)
            used = use(khealth.pid)
        lines = watched.read_bytes().count(b"\n") - 1
    told = events(recorded)
    found = samples(told)
    whole = sum({"created", "scheduled", "started", "ready", "deleted"} <= s["observed"].keys() for s in found.values())
    quality = Counter(m["quality"] for sample in found.values() for m in sample["measurements"].values())
    exact, cold = quality.pop("exact", 0), quality.pop("cold", 0)
    failed = sum(event["verdict"]["result"] != "success" for event in told if event["verdict"])
    cost = 1000 * (used.cpu - began) / (lines or float("nan"))
    return Seen(pods, attempts(told), whole, exact, cold, quality.total(), lines, cost, used.highest, failed)


def slope(seen: Sequence[Seen]) -> float:
    """Return how much a line's cost grows with 1,000 pods more, as a share of its mean: a straight line fitted."""
    pods = sum(one.pods for one in seen) / len(seen)
    mean = sum(one.line_ms for one in seen) / len(seen)
    spread = sum((one.pods - pods) ** 2 for one in seen)
    together = sum((one.pods - pods) * (one.line_ms - mean) for one in seen)
    return 1000 * together / spread / mean if spread and mean else float("nan")


def goals(seen: Sequence[Seen], wanted: int) -> list[Goal]:
    """Return what has to be reached."""
    steps = sum(one.steps for one in seen)
    reached = [
        Goal("attempts", min(one.attempts for one in seen), wanted, at_least=True),
        Goal("pods sampled whole, to all", min(o.whole / (o.attempts * o.pods or 1) for o in seen), 1, at_least=True),
        Goal("exact and cold steps, to all", sum(o.exact + o.cold for o in seen) / (steps or 1), 0.99, at_least=True),
        Goal("highest resident memory, MiB", max(one.highest_mib for one in seen), 90.0),
    ]
    if len(seen) > 1:
        reached.append(Goal("growth of a line's processor time with 1,000 pods more, to its mean", slope(seen), 0.2))
    return reached


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--replicas", type=int, nargs="+", default=[50, 200, 1000], help="canaries of an attempt")
    arguments.add_argument("--attempts", type=int, default=1, help="how often, with each number")
    arguments.add_argument("--nodes", type=int, default=20, help="fake nodes")
    arguments.add_argument("--cluster", default="../shared/cluster/cluster", help="has a command fake-nodes N")
    given = arguments.parse_args()
    with ExitStack() as around:
        around.callback(kubectl, "delete", "node", "-l", "type=kwok", check=False)
        subprocess.run([given.cluster, "fake-nodes", str(given.nodes)], check=True, timeout=300)
        around.enter_context(namespace(NAMESPACE))
        end = time.monotonic() + given.seconds  # the first fake nodes of a machine may take minutes to build
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        seen = [observe(folder, pods, given.attempts, end) for pods in given.replicas]
    figures = [asdict(one) for one in seen]
    table("Canaries on fake nodes", tuple(figures[0]), [list(row.values()) for row in figures])
    return conclude("scale", {"runs": figures}, goals(seen, given.attempts), insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
