"""How long NetworkPolicies take to take effect: khealth beside plain observers in the same pods' networks.

kube-router's firewall enforces policies on each node of the test cluster, which enforces none by itself. Needs root.
In the end it is stopped, and khealth must say that policies are no longer enforced.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import connects
from benchmarks.audit import Interval, interval, lines
from benchmarks.breaking_network import AGENT, API, inside, iptables, pods, processes
from benchmarks.everything import IMAGE, restricted, write
from benchmarks.figures import Goal, conclude, needed, plain_parser, table
from benchmarks.harness import events, kubectl, program
from benchmarks.kit import wait_for
from khealth_exporter.canaries.agents.template import PORT

NAMESPACE = "bench-policies"
CANARY = "app.kubernetes.io/component!=agent,app.kubernetes.io/managed-by=khealth"
SETTLES, ATTEMPT = 120.0, 180.0
"""Seconds for agents to run, and for an attempt, at most."""
SERVICES = "198.19.0.0/16"
"""The test cluster's Services."""
INTERVAL = 1.0
"""Seconds from the end of an attempt to the next one."""
CLOSE = 0.025
"""Seconds by which khealth may be further from the observers than it says itself."""


@dataclass(frozen=True, slots=True)
class Change:
    """A pod's network began to get answers from an address, or no more, between two times in Unix seconds."""

    node: str
    address: str
    answers: bool
    between: Interval


@dataclass(frozen=True, slots=True)
class Effect:
    """What khealth says of one policy, and what was true, in seconds."""

    step: str
    seconds: float
    uncertainty: float
    truth: Interval

    @property
    def beyond(self) -> float:
        """How far khealth is from the truth, beyond its own uncertainty."""
        low, high = self.truth.low - self.uncertainty, self.truth.high + self.uncertainty
        return abs(Interval(low, high).error(self.seconds))


class Observer:
    """Connects from the network of one pod, and keeps what changes."""

    def __init__(self, node: str, process: int, out: Path) -> None:
        self.node = node
        self._out = out
        script = Path(connects.__file__).read_text(encoding="utf-8")
        words = ("nsenter", f"--net=/proc/{process}/ns/net", sys.executable, "-c", script)
        with out.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=file, text=True)

    def look(self, address: str) -> None:
        """Connect to this address from now on."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        self._process.stdin.write(f"{address} {PORT}\n")
        self._process.stdin.flush()

    def changes(self) -> Iterator[Change]:
        """Yield what has changed so far."""
        for line in self._out.read_text(encoding="utf-8").splitlines():
            address, answers, low, high = line.split()
            yield Change(self.node, address, answers == "1", Interval(float(low), float(high)))

    def close(self) -> None:
        """End."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def enforced(kube_router: Path, nodes: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Let kube-router enforce policies on the nodes; yield what ends that before the block does."""
    running: list[subprocess.Popen[bytes]] = []

    def end() -> None:
        while running:
            process = running.pop()
            process.terminate()
            process.wait(60)
        for node in nodes:
            _opened(node)

    try:
        running.extend(_router(kube_router, node) for node in nodes)
        yield end
    finally:
        end()


def _router(kube_router: Path, node: str) -> subprocess.Popen[bytes]:
    config = os.environ["KUBECONFIG"]
    flags = [
        "--run-firewall", "--run-router=false", "--run-service-proxy=false", "--enable-cni=false", "--health-port=0",
        f"--hostname-override={node}", f"--kubeconfig={config}", f"--master=https://{API}:6443",
        f"--service-cluster-ip-range={SERVICES}",
    ]  # fmt: skip
    words = inside(node, str(kube_router), *flags)
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)


def _opened(node: str) -> None:
    """Let a node ask kube-router's chains no more: its own way to clean up fails where it is a firewall alone."""
    for rule in iptables(node, "-S").splitlines():
        if rule.startswith("-A") and "-j KUBE-ROUTER-" in rule:
            iptables(node, "-D", *shlex.split(rule)[1:])


def nodes() -> list[str]:
    """Return the names of the cluster's nodes."""
    return kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()


def policies(log: Path, start: int) -> dict[str, list[Interval]]:
    """Return when the policies of each step were created, in the order of time, as the audit log tells it."""
    found: dict[str, list[Interval]] = defaultdict(list)
    for event in lines(log, start, f'"namespace":"{NAMESPACE}"'):
        about = event.get("objectRef", {})
        if (event["verb"], about.get("resource"), event["stage"]) == ("create", "networkpolicies", "ResponseComplete"):
            found[about["name"].rpartition("-")[2]].append(interval(event))
    return found


def true(step: str, created: Interval, until: float, changes: Sequence[Change]) -> Interval | None:
    """Return the seconds from the creation of a policy until all observers felt it; None if one did not."""
    felt: dict[str, Interval] = {}
    for change in changes:
        if change.answers == (step == "allow") and created.low <= change.between.high <= until:
            felt.setdefault(change.node, change.between)
    if len(felt) < len({change.node for change in changes}):
        return None
    low, high = (max(side) for side in zip(*((one.low, one.high) for one in felt.values()), strict=True))
    return created.until(Interval(low, high))


def effects(
    recorded: Sequence[Mapping[str, Any]], created: Mapping[str, Sequence[Interval]], changes: Sequence[Change]
) -> Iterator[Effect]:
    """Yield each policy's effect that khealth measured."""
    for event in recorded:
        for found in event["measurements"]:
            step = found["step"]["name"]
            for when in created.get(step, ()):
                within = event["began"] <= when.low <= event["ended"] and not found["censored"]
                if within and (truth := true(step, when, event["ended"], changes)):
                    yield Effect(step, found["seconds"], found["uncertainty"], truth)


def verdicts(recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return of each attempt that has ended its result, or its reason if it has one."""
    told = [event["verdict"] for event in recorded if event["verdict"]]
    return [verdict["reason"] or verdict["result"] for verdict in told]


def follow(observers: Sequence[Observer], recorded: Path, attempts: int) -> None:
    """Let the observers connect to each canary, until so many attempts have ended."""
    known: set[str] = set()
    end = time.monotonic() + ATTEMPT * attempts
    while len(verdicts(events(recorded))) < attempts and time.monotonic() < end:
        for pod in pods(CANARY, NAMESPACE):
            address = pod["status"].get("podIP", "")
            if address and address not in known:
                known.add(address)
                for observer in observers:
                    observer.look(address)
        time.sleep(0.1)


def observe(given: argparse.Namespace) -> tuple[list[Effect], list[str], list[str]]:
    """Return the effects of policies while they are enforced, and the verdicts then and afterwards."""
    log, router = needed(given.audit_log), Path(given.kube_router)
    start, known = log.stat().st_size, nodes()
    with ExitStack() as around:
        around.enter_context(restricted(NAMESPACE))
        end = around.enter_context(enforced(router, known))
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        recorded = folder / "events"
        configuration = {
            "namespace": NAMESPACE,
            "canary": {"image": given.image},
            "modules": {"network": {"policy": {}}},
        }
        file = write(folder / "config.yaml", configuration)
        around.enter_context(program("-m", "benchmarks.recorder", file, recorded, INTERVAL, "policy"))
        wait_for("an agent on each node", lambda: len(list(pods(AGENT, NAMESPACE))) == len(known), SETTLES)
        observers = []
        for pod in pods(AGENT, NAMESPACE):
            process = next(iter(processes(pod["metadata"]["uid"])))
            observers.append(Observer(pod["spec"]["nodeName"], process, folder / pod["metadata"]["name"]))
            around.callback(observers[-1].close)
        follow(observers, recorded, given.attempts)
        while_enforced = verdicts(events(recorded))
        changes = [change for observer in observers for change in observer.changes()]
        found = list(effects(events(recorded), policies(log, start), changes))
        end()
        # The attempt under way may have begun with policies that were enforced.
        wait_for("two more attempts", lambda: len(verdicts(events(recorded))) >= len(while_enforced) + 2, 2 * ATTEMPT)
        return found, while_enforced, verdicts(events(recorded))[len(while_enforced) + 1 :]


def goals(found: Sequence[Effect], then: Sequence[str], afterwards: Sequence[str]) -> list[Goal]:
    """Return what must hold."""
    return [
        Goal("attempts that fail while policies are enforced", sum(one != "success" for one in then), 0),
        Goal("effects that observers felt too", len(found), 2 * len(then), at_least=True),
        Goal(
            "farthest from the observers, beyond its uncertainty, ms",
            max((one.beyond for one in found), default=float("nan")) * 1000,
            CLOSE * 1000,
        ),
        Goal(
            "attempts that do not say afterwards that no policy is enforced",
            sum(one != "policy_not_enforced" for one in afterwards),
            0,
        ),
    ]


def main() -> int:
    """Observe, and print the figures."""
    arguments = plain_parser(__doc__)
    arguments.add_argument("--image", default=IMAGE, help="of canaries and agents; the nodes must have it")
    arguments.add_argument("--attempts", type=int, default=10)
    arguments.add_argument("--kube-router", default=shutil.which("kube-router"), help="the program")
    told = "JSON lines: tells when policies were created"
    arguments.add_argument("--audit-log", type=Path, default=os.environ.get("KHEALTH_AUDIT_LOG"), help=told)
    given = arguments.parse_args()
    if not given.kube_router:
        arguments.error("no kube-router: put it on the PATH, or give --kube-router FILE")
    found, then, afterwards = observe(given)
    heads = ("step", "khealth, s", "± s", "observers, from", "to", "beyond, s")
    rows = [[one.step, one.seconds, one.uncertainty, one.truth.low, one.truth.high, one.beyond] for one in found]
    table("How long policies took to take effect", heads, rows)
    print(f"\nWhile policies were enforced: {' '.join(then)}\nAfterwards: {' '.join(afterwards)}")
    figures = {"effects": [asdict(one) for one in found], "enforced": then, "afterwards": afterwards}
    return conclude("policies", figures, goals(found, then, afterwards), insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
