"""What agents cost khealth: processor time, memory and requests of `latency` with 2 to 200 agents, and the line.

Simulated agents answer over HTTP on the loopback network, sealed as real ones do, from one process of their own. Each
number of agents has an exporter process of its own.
"""

import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry

from benchmarks.figures import Goal, conclude, plain_parser, table
from benchmarks.harness import ROOT, free_port
from khealth_exporter.canaries.agents.channel import AT_ONCE, PodChannel, Reply
from khealth_exporter.canaries.agents.dialogue import Dialogue
from khealth_exporter.cluster.client.answer import Answer
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.core.agents import Agent, Heard, Told
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.snapshot import About
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.latency import Latency, LatencySettings
from khealth_exporter.web.page import status_page

NUMBERS, NEIGHBORS, CHECK = (2, 10, 50, 200), (1, 3, 6), 500
ATTEMPTS = 5
LARGEST = 5000
"""Agents for which the line is drawn on."""
SECRET = b"of a benchmark"
INTERVAL = 60.0
_API = {
    "services": {
        "metadata": {"name": "kubernetes", "uid": "1", "resourceVersion": "1"},
        "spec": {"clusterIPs": ["10.96.0.1"]},
    },
    "endpointslices": {
        "metadata": {"resourceVersion": "1"},
        "items": [
            {
                "metadata": {"name": "kubernetes", "uid": "2", "resourceVersion": "1"},
                "endpoints": [{"addresses": [f"192.0.2.{number}"]} for number in (1, 2, 3)],
                "ports": [{"name": "https", "port": 6443}],
            }
        ],
    },
}

Row = Mapping[str, float]


class Counted(PodChannel):
    """The way to the agents' addresses; it counts answers and their bytes."""

    requests, received = 0, 0

    async def ask(
        self, agent: Agent, path: str, deadline: float, *, seal: str = "", body: bytes | None = None
    ) -> Reply:
        """Put a question, and count its answer."""
        reply = await super().ask(agent, path, deadline, seal=seal, body=body)
        self.requests += 1
        self.received += len(reply.body)
        return reply


class Simulated:
    """The agents of one exporter, as its fleet would ask them."""

    def __init__(self, number: int, port: int, clock: Clock) -> None:
        self._agents = [
            Agent(
                f"agent-{i}", f"uid-{i}", f"node-{i}.example", "", f"127.{1 + (i >> 16)}.{i >> 8 & 255}.{i & 255}", port
            )
            for i in range(number)
        ]
        self.channel = Counted(clock)
        self._dialogue = Dialogue(clock, cast("Any", SimpleNamespace(key=self._key)), self.channel)
        self._open = asyncio.Semaphore(AT_ONCE)

    async def _key(self, *_: object, **__: object) -> bytes:
        return SECRET

    async def ready(self, _deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return all of them."""
        return self._agents[: max(least, len(self._agents))]

    async def hosts(self, _deadline: float) -> Sequence[Agent]:
        """Return none: none are in the networks of nodes."""
        return ()

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Mapping[str, Any]], deadline: float
    ) -> Heard:
        """Put a question to each of them at the same time; raise ValueError unless all answer."""
        asked = [(agent, question(agent)) for agent in agents]

        async def one(agent: Agent, document: Mapping[str, Any]) -> Told:
            async with self._open:
                told = await self._dialogue.ask(agent, task, document, deadline)
            if not isinstance(told, Told):
                raise ValueError(f"{agent.name}: {told.note}")  # noqa: TRY004 - not of a wrong type, but silent
            return told

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*pair)) for pair in asked]
        return Heard([task.result() for task in tasks], ())


async def _answered(_verb: str, plural: str, *_: object, **__: object) -> Answer:
    return Answer(200, json.dumps(_API[plural]).encode(), 0.0, 0.0, 0.0, 1, None)


async def measured(number: int, neighbors: int, port: int) -> Row:
    """Return what an attempt costs this process, in the mean of some."""
    clock = Clock()
    metrics = Metrics(CollectorRegistry(), clock)
    denials = SimpleNamespace(know=lambda _: None)
    client = cast("Any", SimpleNamespace(request=_answered, denials=denials, trouble=None))
    cluster = Cluster(client, Identity("bench", "khealth"), clock, metrics, random.Random(1))  # noqa: S311 - not for secrets
    agents = Simulated(number, port, clock)
    collector = Collector("network", metrics, clock)
    settings = LatencySettings(neighbors=neighbors)
    context = Context(cluster, clock, agents=agents)
    collector.want([RoutineConfig("network", "latency", Latency, settings)], context)
    before_all = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent, asked = [], []
    for _ in range(ATTEMPTS + 1):
        before, requests, received = time.process_time(), agents.channel.requests, agents.channel.received
        await collector.start(once=True)
        spent.append(time.process_time() - before)
        asked.append((agents.channel.requests - requests, agents.channel.received - received))
    await agents.channel.close()
    (status,) = collector.status().routines
    verdict = status.attempts[-1].verdict
    if verdict is None or verdict.reason is not None:
        raise ValueError(f"an attempt failed: {verdict}")
    began = time.process_time()
    page = status_page((collector.status(),), (), About("0", "3", "", clock.utc()))
    return {
        "agents": number, "neighbors": neighbors,
        # The first attempt learns what the agents' processes are called.
        "cpu_ms": 1000 * statistics.mean(spent[1:]),
        "requests": statistics.mean(count for count, _ in asked[1:]),
        "answers_kib": statistics.mean(size for _, size in asked[1:]) / 1024,
        "attempt_s": statistics.median(attempt.duration for attempt in status.attempts),
        "memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_all) / 1024,
        "page_ms": 1000 * (time.process_time() - began),
        "page_kib": len(page) / 1024,
    }  # fmt: skip


def line(rows: Sequence[Row], figure: str) -> tuple[float, float, float]:
    """Return slope and intercept of the least squares of a figure over the agents, and the share that they explain."""
    numbers, values = [row["agents"] for row in rows], [row[figure] for row in rows]
    slope, intercept = statistics.linear_regression(numbers, values)
    return slope, intercept, statistics.correlation(numbers, values) ** 2


def observe(pairs: Sequence[tuple[int, int]]) -> list[Row]:
    """Measure so many agents with so many neighbors each, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        secret, port = Path(folder) / "secret", free_port("0.0.0.0")  # noqa: S104 - the agents' addresses are 127.0.0.0/8
        secret.write_bytes(SECRET)
        words = [sys.executable, "-m", "benchmarks.simulated_agents", str(port), str(secret)]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as agents:
            try:
                if agents.stdout is None or not agents.stdout.readline():
                    sys.exit("the simulated agents did not start")
                return [_one(number, neighbors, port) for number, neighbors in pairs]
            finally:
                agents.terminate()


def _one(number: int, neighbors: int, port: int) -> Row:
    words = [sys.executable, "-m", "benchmarks.agents_cost", "--one", f"{number},{neighbors},{port}"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=600)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    print(f"{number} agents, {neighbors} neighbors: {row['cpu_ms']:.0f} ms", file=sys.stderr, flush=True)
    return row


def main() -> int:
    """Take the figures."""
    arguments = plain_parser(__doc__)
    arguments.add_argument("--one", help="measure only AGENTS,NEIGHBORS,PORT, and print JSON")
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(asyncio.run(measured(*map(int, given.one.split(","))))))
        return 0
    by_number = [(number, 3) for number in (*NUMBERS, CHECK)]
    by_neighbors = [(NUMBERS[-1], neighbors) for neighbors in NEIGHBORS if neighbors != 3]  # noqa: PLR2004 - the default
    rows = observe([*by_number, *by_neighbors])
    heads = tuple(rows[0])
    table(f"An attempt of latency, in the mean of {ATTEMPTS}", heads, [[row[name] for name in heads] for row in rows])
    fitted, check = rows[: len(NUMBERS)], rows[len(NUMBERS)]
    lines = {name: line(fitted, name) for name in ("cpu_ms", "requests", "answers_kib", "memory_mib")}
    table(
        f"The line through {', '.join(map(str, NUMBERS))} agents, and what it says of {CHECK} and {LARGEST}",
        ("figure", "each agent", "constant", "R²", f"{CHECK} predicted", f"{CHECK} measured", f"{LARGEST} predicted"),
        [
            [name, slope, constant, share, slope * CHECK + constant, check[name], slope * LARGEST + constant]
            for name, (slope, constant, share) in lines.items()
        ],
    )
    slope, constant, _ = lines["cpu_ms"]
    busy = (slope * LARGEST + constant) / 1000 / INTERVAL
    return conclude("agents-cost", {"rows": rows, "lines": lines}, goals(lines, check, busy), insist=given.insist)


def goals(lines: Mapping[str, tuple[float, float, float]], check: Row, busy: float) -> Sequence[Goal]:
    """Return what is to be reached."""
    slope, constant, share = lines["cpu_ms"]
    return [
        Goal("how linear processor time is, R²", share, 0.98, at_least=True),
        Goal(f"{CHECK} agents, measured to predicted", check["cpu_ms"] / (slope * CHECK + constant), 1.3),
        Goal(f"share of a processor with {LARGEST} agents", busy, 0.5),
        Goal("requests per agent and attempt", lines["requests"][0], 1.01),
    ]


if __name__ == "__main__":
    sys.exit(main())
