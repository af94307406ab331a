"""Agents that answer what a test says."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from khealth_exporter.core.agents import Agent, Heard, Silence, Told
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

Json = Mapping[str, Any]
Answer = Json | Failed
Script = Callable[[Agent, Json], Answer | Awaitable[Answer]]
"""What an agent says to a question: a document, or why it is silent; it may take its time."""


def agent(number: int, zone: str = "") -> Agent:
    """Return the agent on node-N; its address is 10.0.0.N."""
    return Agent(f"agent-{number}", f"uid-agent-{number}", f"node-{number}", zone, f"10.0.0.{number}", 8079)


@dataclass(frozen=True)
class Question:
    """A question that an agent was asked, and when it had to be answered."""

    agent: Agent
    task: str
    document: Json
    deadline: float


@dataclass
class FakeAgents:
    """Agents that answer by script, each after `seconds`; an agent without a script for a task is silent."""

    clock: Clock
    members: Sequence[Agent] = field(default_factory=lambda: [agent(1), agent(2)])
    seconds: float = 0.01
    asked: list[Question] = field(default_factory=list)
    unready: Failed | None = None
    """What `ready` raises."""
    on_hosts: Sequence[Agent] | Failed = ()
    """The agents in the networks of their nodes, or why there are none."""
    reached: bool = False
    """Whether others reach those that are silent, when they are asked why."""
    _scripts: dict[tuple[str, str], Script] = field(default_factory=dict)

    def answers(self, task: str, script: Script, name: str = "") -> None:
        """Let one agent, or all that have no script of their own, answer a task like this."""
        self._scripts[task, name] = script

    def silent(self, task: str, why: Failed, name: str = "") -> None:
        """Let one agent, or all, not answer a task, for this reason."""
        self.answers(task, lambda _agent, _question: why, name)

    def questions(self, task: str) -> list[Question]:
        """Return the questions of a task, in the order in which they were asked."""
        return [asked for asked in self.asked if asked.task == task]

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return the members, or raise what the test says; Failed at the deadline if there are fewer."""
        if self.unready:
            raise self.unready
        if len(self.members) < least:
            await asyncio.sleep(max(0.0, deadline - self.clock.now()))
            raise Failed(Reason.AGENTS_NOT_READY, f"{len(self.members)} of {least} agents are Ready")
        return tuple(self.members)

    async def hosts(self, _deadline: float) -> Sequence[Agent]:
        """Return those in the networks of their nodes, or raise why there are none."""
        if isinstance(self.on_hosts, Failed):
            raise self.on_hosts
        return tuple(self.on_hosts)

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Json], deadline: float
    ) -> Heard:
        """Let each agent answer by its script; raise why the first one is silent if all are."""
        outcomes = await asyncio.gather(*(self._answer(one, task, question(one), deadline) for one in agents))
        told = [outcome for outcome in outcomes if isinstance(outcome, Told)]
        silent = [outcome for outcome in outcomes if isinstance(outcome, Silence)]
        if silent and not told:
            raise silent[0].why
        return Heard(told, silent)

    async def _answer(self, one: Agent, task: str, document: Json, deadline: float) -> Told | Silence:
        self.asked.append(Question(one, task, document, deadline))
        sent = self.clock.now()
        script = self._scripts.get((task, one.name)) or self._scripts.get((task, ""))
        if script is None:
            return Silence(one, Failed(Reason.AGENT_UNREACHABLE, f"{one.name} does not answer"))
        try:
            async with asyncio.timeout(deadline - sent):
                await asyncio.sleep(self.seconds)
                said = script(one, document)
                answer = await said if isawaitable(said) else said
        except TimeoutError:
            return Silence(one, Failed(Reason.AGENT_UNREACHABLE, f"{one.name} did not answer in time"))
        return (
            Silence(one, answer, self.reached)
            if isinstance(answer, Failed)
            else Told(one, answer, sent, self.clock.now())
        )
