"""latency with agents that are processes, on addresses of the loopback network."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent_process import RunningAgent, agent
from bodies.attempts import NO_CPU, SPOILED, repeated
from fakes import FakeApi, Telemetered, cluster_of

from khealth_exporter.core.agents import Agent, Heard, Told
from khealth_exporter.core.attempt_document import attempt_document
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.latency import Latency, LatencySettings
from khealth_exporter.vocabulary.result import Result

PAIRS, KINDS, COUNT = 6, 3, 5


class Processes:
    """Agents that run; their nodes are called after them."""

    def __init__(self, running: Sequence[RunningAgent]) -> None:
        self._running = {one.name: one for one in running}

    async def ready(self, _deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return all of them."""
        assert least <= len(self._running)
        return [Agent(one.name, one.name, one.name, "", one.address, one.port) for one in self._running.values()]

    async def hosts(self, _deadline: float) -> Sequence[Agent]:
        """Return none: none are in the networks of nodes."""
        return ()

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Mapping[str, Any]], deadline: float
    ) -> Heard:
        """Put a question to each at the same time."""
        asked = [asyncio.to_thread(self._running[one.name].ask, task, dict(question(one))) for one in agents]
        answers = await asyncio.gather(*asked)
        return Heard([Told(one, told, deadline, deadline) for one, told in zip(agents, answers, strict=True)], ())


async def attempt(running: Sequence[RunningAgent]) -> tuple[RoutineStatus, Telemetered]:
    """Make one attempt; the API server has neither a Service nor addresses."""
    clock = Clock()
    figures = Telemetered(clock)
    context = replace(Context(cluster_of(FakeApi(clock), figures), clock), agents=Processes(running))
    collector = Collector("network", figures.metrics, clock)
    # However busy this machine is, an answer within seconds is one.
    settings = LatencySettings(count=COUNT, lost_after=4.0, slow=3.0, spacing=0.005)
    collector.want([RoutineConfig("network", "latency", Latency, settings)], context)
    await collector.start(once=True)
    return collector.status().routines[0], figures


def starved(made: tuple[RoutineStatus, Telemetered]) -> bool:
    """Tell whether agents had no CPU, so that some of what they measured does not count."""
    status, _ = made
    (attempted,) = status.attempts
    reason = attempted.verdict and attempted.verdict.reason
    return reason in SPOILED or any(one.name == NO_CPU and one.text != "none" for one in status.remarks)


def test_agents_measure_each_other(tmp_path: Path) -> None:
    """What they answer to real questions is counted, and makes the matrix."""
    with ExitStack() as around:
        running = [around.enter_context(agent(tmp_path, f"127.0.0.{number}")) for number in (2, 3, 4)]
        status, figures = repeated(lambda: asyncio.run(attempt(running)), starved)
    (made,) = status.attempts
    assert made.verdict
    assert Result.SUCCESS is made.verdict.result, made.verdict
    count = "khealth_step_duration_seconds_count"
    labels = {"module": "network", "routine": "latency"}
    assert PAIRS * KINDS * COUNT == figures.value(count, **labels, step="pod_pod")
    assert PAIRS * COUNT == figures.value(count, **labels, step="large")
    assert status.matrix
    assert {(0.0, True)} == {(pair.loss, (pair.seconds or 0) > 0) for pair in status.matrix.pairs}
    document = json.loads(json.dumps(attempt_document(made, made.verdict, status.steps)))
    assert PAIRS * KINDS * COUNT == document["counts"]["pod_pod"]
