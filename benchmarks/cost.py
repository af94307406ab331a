"""What khealth costs others: canary pods, series about them, Events, audit lines, and growth of etcd."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.audit import lines
from benchmarks.figures import conclude, needed, parser, table
from benchmarks.harness import configuration, kubectl, namespace, parsed, program, scraped

WHERE = "bench-cost"
PACE: Mapping[str, object] = {"timeout": "5s", "pod_ttl": "1500ms", "poll_interval": "500ms"}
"""Bounds that let attempts follow each other every twelve seconds; what an attempt makes does not depend on them."""
DEFAULT_INTERVAL = 60.0
DAY = 86400.0
CANARY = re.compile(r"khealth-.+-[0-9a-f]{8}-[0-9]+-[a-z0-9]{5}")
"""A canary pod's name; khealth's own pod has no number in its name's last place but one."""


@dataclass(frozen=True, slots=True)
class Etcd:
    """etcd at one moment: keys written and deleted since it began, and its file and what of it is in use, in bytes."""

    puts: float
    deletes: float
    size: float
    in_use: float

    @classmethod
    def read(cls, url: str) -> "Etcd":
        """Ask etcd's own metrics."""
        found = {sample.name: sample.value for sample in scraped(f"{url}/metrics")}
        return cls(
            found["etcd_mvcc_put_total"],
            found["etcd_mvcc_delete_total"],
            found["etcd_mvcc_db_total_size_in_bytes"],
            found["etcd_mvcc_db_total_size_in_use_in_bytes"],
        )

    def since(self, earlier: "Etcd") -> dict[str, float]:
        """Return what has come since."""
        return {
            "keys written": self.puts - earlier.puts,
            "keys deleted": self.deletes - earlier.deletes,
            "file, KiB": (self.size - earlier.size) / 1024,
            "in use, KiB": (self.in_use - earlier.in_use) / 1024,
        }


def canary_series(samples: Iterator[Any]) -> Counter[str]:
    """Count, by pod, the series that are about canaries of the benchmark."""
    pods = ((s.labels.get("namespace"), s.labels.get("pod", "")) for s in samples)
    return Counter(pod for where, pod in pods if where == WHERE and CANARY.fullmatch(pod))


@contextmanager
def kube_state_metrics(command: str | None, port: int) -> Iterator[str | None]:
    """Run kube-state-metrics, if it is given, until the block ends; yield where its page is."""
    if not command:
        yield None
        return
    own = (f"--port={port}", "--telemetry-host=127.0.0.1", f"--telemetry-port={port + 1}")
    words = [command, f"--kubeconfig={os.environ['KUBECONFIG']}", "--host=127.0.0.1", *own]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(2)
            if process.poll() is not None:
                sys.exit(f"{command} ended at once")
            yield f"http://127.0.0.1:{port}/metrics"
        finally:
            process.terminate()


def pods() -> list[str]:
    """Return the names of the canaries that are Running."""
    said = kubectl("get", "pods", "-n", WHERE, "--field-selector=status.phase=Running", "-o", "name")
    return [line.removeprefix("pod/") for line in said.splitlines()]


def series(state: str | None, replicas: int, seconds: float) -> dict[str, float]:
    """Hold canaries for long enough that all who watch pods have seen them, and count the series that they make."""
    routine = {"replicas": replicas, "interval": "1h", "timeout": "30s", "pod_ttl": f"{seconds:g}s"}
    with running({"held": routine}):
        end = time.monotonic() + seconds
        counted: dict[str, float] = {}
        while time.monotonic() < end and (not counted or min(counted.values()) == 0):
            time.sleep(5)
            if len(pods()) == replicas:
                counted = {"cAdvisor": _per_pod(_cadvisor(), replicas)}
                if state:
                    counted["kube-state-metrics"] = _per_pod(scraped(state), replicas)
        # cAdvisor looks every ten to twenty seconds: what is there now may not be all.
        time.sleep(20)
        counted["cAdvisor"] = _per_pod(_cadvisor(), replicas)
        if state:
            counted["kube-state-metrics"] = _per_pod(scraped(state), replicas)
    return counted


def _cadvisor() -> Iterator[Any]:
    for name in kubectl("get", "nodes", "-o", "name").split():
        yield from parsed(kubectl("get", "--raw", f"/api/v1/nodes/{name.removeprefix('node/')}/proxy/metrics/cadvisor"))


def _per_pod(samples: Iterator[Any], replicas: int) -> float:
    return sum(canary_series(samples).values()) / replicas


@contextmanager
def running(routines: Mapping[str, Mapping[str, object]]) -> Iterator[None]:
    """Run khealth until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        settings = configuration(Path(folder) / "khealth.yaml", WHERE, routines)
        with program("-m", "khealth_exporter", "run", "--config", settings, "--listen", "127.0.0.1:0", "rcscheduler"):
            yield


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in some seconds."""

    seconds: float
    etcd: Mapping[str, float]
    audit: Sequence[Mapping[str, Any]]
    attempts: int
    events: int
    occurrences: int


def window(log: Path, etcd: str, seconds: float, interval: float | None) -> Window:
    """Take what etcd, the audit log and the Events gain in a while, with khealth at work if it has an interval."""
    start, before, began = log.stat().st_size, Etcd.read(etcd), time.monotonic()
    if interval:
        with running({"rcscheduler": {**PACE, "interval": f"{interval:g}s"}}):
            time.sleep(seconds)
    else:
        time.sleep(seconds)
    took = time.monotonic() - began
    gained = Etcd.read(etcd).since(before)
    told = [e for e in lines(log, start, WHERE) if e.get("objectRef", {}).get("namespace") == WHERE]
    attempts = sum(_made(event) for event in told)
    counts = kubectl("get", "events", "-n", WHERE, "-o", r'jsonpath={range .items[*]}{.count}{"\n"}{end}')
    numbers = [int(line or 1) for line in counts.splitlines()]
    return Window(took, gained, told, attempts, len(numbers), sum(numbers))


def _made(event: Mapping[str, Any]) -> bool:
    about = event["objectRef"]
    return bool(event["verb"] == "create" and about["resource"] == "replicationcontrollers")


def by_client(told: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Count audit lines by who asked."""
    return Counter(event.get("userAgent", "").partition("/")[0] or "unknown" for event in told)


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--attempts", type=int, default=60, help="as many as an hour has at the default interval")
    arguments.add_argument("--interval", type=float, default=12.0, help="seconds between them")
    arguments.add_argument("--etcd", default="http://127.0.0.1:2379", help="where its /metrics are")
    arguments.add_argument("--kube-state-metrics", help="the program; without it its series are not counted")
    arguments.add_argument("--port", type=int, default=18080, help="for kube-state-metrics; the next one is taken too")
    arguments.set_defaults(seconds=1800.0)
    given = arguments.parse_args()
    seconds = min(given.attempts * given.interval, (given.seconds - 120) / 2)
    log = needed(given.audit_log)
    with namespace(WHERE), kube_state_metrics(given.kube_state_metrics, given.port) as state:
        idle = window(log, given.etcd, seconds, None)
        busy = window(log, given.etcd, seconds, given.interval)
        counted = series(state, 3, 90.0)
    return conclude("cost", told(idle, busy, counted), [], insist=given.insist)


def told(idle: Window, busy: Window, counted: Mapping[str, float]) -> dict[str, Any]:
    """Print and return the figures."""
    count, replicas = busy.attempts, 3
    a_day = DAY / DEFAULT_INTERVAL
    rows = [
        ["canary pods", float(replicas), replicas * a_day],
        ["Event objects", busy.events / count, busy.events / count * a_day],
        ["audit lines", len(busy.audit) / count, len(busy.audit) / count * a_day],
        *([f"etcd: {name}", per, per * a_day] for name, per in growth(idle, busy).items()),
        *([f"series in {name}", replicas * per, replicas * per * a_day] for name, per in counted.items()),
    ]
    table("Costs by number", ("what", "per attempt", "a day at the default interval"), rows)
    table(
        "Audit lines by client", ("client", "per attempt"), [[n, c / count] for n, c in by_client(busy.audit).items()]
    )
    table(
        f"etcd over {count} attempts, which are {count * DEFAULT_INTERVAL / 3600:.2f} h at the default interval",
        ("what", "without khealth", "with khealth"),
        [[name, idle.etcd[name], busy.etcd[name]] for name in busy.etcd],
    )
    return {
        "attempts": count,
        "idle": {"seconds": idle.seconds, "etcd": idle.etcd},
        "busy": {"seconds": busy.seconds, "etcd": busy.etcd, "occurrences": busy.occurrences},
        "costs": {row[0]: {"attempt": row[1], "day": row[2]} for row in rows},
        "audit": by_client(busy.audit),
    }


def growth(idle: Window, busy: Window) -> dict[str, float]:
    """Return what etcd was asked for an attempt, beyond what it is asked for anyway."""
    names = ("keys written", "keys deleted")
    return {name: (busy.etcd[name] - idle.etcd[name] * busy.seconds / idle.seconds) / busy.attempts for name in names}


if __name__ == "__main__":
    sys.exit(main())
