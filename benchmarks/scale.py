"""Two hundred canaries on fake nodes: is every one sampled, how well, and what memory does it take."""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Goal, conclude, parser, table
from benchmarks.harness import attempts, configuration, events, kubectl, namespace, program, samples
from benchmarks.process import use

NAMESPACE = "bench-scale"
POD = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
}


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--replicas", type=int, default=200, help="canaries")
    arguments.add_argument("--attempts", type=int, default=3, help="how often")
    arguments.add_argument("--nodes", type=int, default=20, help="fake nodes")
    arguments.add_argument("--cluster", default="../shared/cluster/cluster", help="has a command fake-nodes N")
    given = arguments.parse_args()
    highest = 0.0
    with ExitStack() as around:
        around.callback(kubectl, "delete", "node", "-l", "type=kwok", check=False)
        subprocess.run([given.cluster, "fake-nodes", str(given.nodes)], check=True, timeout=300)
        around.enter_context(namespace(NAMESPACE))
        end = time.monotonic() + given.seconds  # the first fake nodes of a machine may take minutes to build
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        routine = {"replicas": given.replicas, "timeout": "90s", "interval": "200s", "pod_ttl": "1s"}
        settings = {"large": {**routine, "poll_interval": "1s", "pod": POD}}
        file, recorded = configuration(folder / "config.yaml", NAMESPACE, settings), folder / "events"
        khealth = around.enter_context(program("-m", "benchmarks.recorder", file, recorded))
        while time.monotonic() < end and attempts(events(recorded)) < given.attempts:
            time.sleep(2)
            highest = max(highest, use(khealth.pid).highest)
        told = events(recorded)
    made = attempts(told)
    found = samples(told)
    whole = sum({"created", "scheduled", "started", "ready", "deleted"} <= s["observed"].keys() for s in found.values())
    quality = Counter(m["quality"] for sample in found.values() for m in sample["measurements"].values())
    well = quality["exact"] + quality["cold"]
    verdicts = Counter(str(event["verdict"]["result"]) for event in told if event["verdict"])
    figures = {"attempts": made, "sampled": len(found), "whole": whole, "highest_mib": highest,
               "steps": dict(quality), "verdicts": dict(verdicts)}  # fmt: skip
    table(f"{given.replicas} canaries on fake nodes", ("what", "figure"), [[k, v] for k, v in figures.items()])
    goals = [
        Goal("attempts", made, given.attempts, at_least=True),
        Goal("pods sampled whole, to those asked for", whole / (made * given.replicas or 1), 1, at_least=True),
        Goal("exact and cold steps, to all", well / (quality.total() or 1), 1, at_least=True),
        Goal("highest resident memory, MiB", highest, 75.0),
    ]  # fmt: skip
    return conclude("scale", figures, goals, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
