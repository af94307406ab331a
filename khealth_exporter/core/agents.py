"""Agents: long-lived canaries on the nodes that measure for routines, and how routines ask them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from khealth_exporter.vocabulary.verdict import Failed


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent whose pod is Ready; `address` is the pod's, `port` the one at which it listens, TCP and UDP."""

    name: str
    uid: str
    node: str
    zone: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Told:
    """What an agent answered, and when khealth sent the question and had the answer, in monotonic seconds."""

    agent: Agent
    document: Mapping[str, Any]
    sent: float
    answered: float


@dataclass(frozen=True, slots=True)
class Silence:
    """An agent that did not answer, and why: one row of the table in docs/blame.md."""

    agent: Agent
    why: Failed


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a question to several agents."""

    told: Sequence[Told]
    silent: Sequence[Silence]


class Agents(Protocol):
    """The agents of a cluster. Every time is a monotonic one, in seconds."""

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return the agents whose pods are Ready, by name, once there are so many; raise Failed."""

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Mapping[str, Any]], deadline: float
    ) -> Heard:
        """Put a question to each agent at the same time; raise Failed only if none of them answered."""
