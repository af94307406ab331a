"""Agents: long-lived canaries on the nodes that measure for routines, and how routines ask them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from khealth_exporter.cluster.kinds import EVENT, NODE, POD
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

AGENT_REASONS = (
    Reason.POD_NOT_SCHEDULED, Reason.POD_UNSCHEDULABLE, Reason.NODES_NOT_READY, Reason.ONE_NODE, Reason.KUBELET_SILENT,
    Reason.SANDBOX_FAILED, Reason.POD_NOT_STARTED, Reason.POD_CRASHED, Reason.POD_NOT_READY, Reason.POD_LOST,
    Reason.CANARY_FAILED, Reason.IMAGE_PULL_FAILED, Reason.NETWORK_UNREACHABLE, Reason.DISRUPTED, Reason.NO_NODE,
    Reason.NO_SINGLE_CAUSE, Reason.POD_GATED, Reason.AGENTS_NOT_READY, Reason.AGENT_UNREACHABLE, Reason.AGENT_REFUSED,
)  # fmt: skip
"""Why agents are not Ready, or silent: every routine that asks agents can give these."""

SECRET = "khealth-agent"  # noqa: S105 - a name
"""Name of the Secret that the chart makes for its agents."""
DEPLOYMENT = "khealth-agent"
"""Name of the Deployment of the chart's agents."""

_IN_POD = (
    Permission("get", "secrets", name=SECRET, why="sign the questions to agents"),
    Permission("patch", "secrets", name=SECRET, why="fill in the secret that agents and khealth share"),
    Permission(
        "patch", "deployments/scale", "apps", optional=True, name=DEPLOYMENT, why="run as many agents as the nodes need"
    ),
    Permission("get", "pods/proxy", optional=True, why="diagnosis: see whether a silent agent answers on another path"),
)
THROUGH_PROXY = (Permission("create", "pods/proxy", outside=True, why="ask agents through the API server"),)
"""Rights of a khealth that asks agents through the API server."""
_OWN = (
    *(Permission(verb, "pods", outside=True, why="run agents") for verb in ("create", "get", "patch", "delete")),
    *(
        Permission(verb, "secrets", outside=True, why="share a secret with agents")
        for verb in ("create", "get", "patch", "delete", "list")
    ),
)

AGENT_PERMISSIONS = tuple(
    dict.fromkeys((*POD.to_watch(), *NODE.to_read(), *EVENT.to_read(), *_IN_POD, *THROUGH_PROXY, *_OWN))
)
"""Rights that asking agents needs: of a khealth in a pod, with the chart's agents at their pods' addresses; those that
are `outside`, of one that asks through the API server (`create pods/proxy`), and that runs its own agents (the others).
"""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent whose pod is Ready; `address` is the pod's, `port` the one at which it listens, TCP and UDP.

    It is `host` if it is in the network of its node, and not in that of pods.
    """

    name: str
    uid: str
    node: str
    zone: str
    address: str
    port: int
    host: bool = False


@dataclass(frozen=True, slots=True)
class AgentCount:
    """How many agents are Ready, and how many there should be."""

    ready: int
    wanted: int

    @property
    def missing(self) -> float:
        """The share that is not Ready."""
        return 1 - self.ready / self.wanted


@dataclass(frozen=True, slots=True)
class Told:
    """What an agent answered, and when khealth sent the question and had the answer, in monotonic seconds."""

    agent: Agent
    document: Mapping[str, Any]
    sent: float
    answered: float


@dataclass(frozen=True, slots=True)
class Silence:
    """An agent that did not answer khealth, and why: one row of the table in docs/blame.md."""

    agent: Agent
    why: Failed
    reached: bool = False
    """Whether other agents get answers from it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a question to several agents."""

    told: Sequence[Told]
    silent: Sequence[Silence]


def answering(told: int, silent: Sequence[Silence]) -> Remark:
    """Return how many agents answer, and why the others do not."""
    why = "; ".join(silence.why.note for silence in silent)
    return Remark("agents", f"{told} of {told + len(silent)} answer" + (f"; {why}" if why else ""))


class Agents(Protocol):
    """The agents of a cluster. Every time is a monotonic one, in seconds."""

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return the agents whose pods are Ready, by name, once there are so many; raise Failed."""

    async def hosts(self, deadline: float) -> Sequence[Agent]:
        """Return the Ready agents in the networks of their nodes, once there is one if any are wanted; raise Failed."""

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Mapping[str, Any]], deadline: float
    ) -> Heard:
        """Put a question to each agent at the same time; raise Failed only if none of them answered.

        Why an agent does not answer is found out, but not of one in the network of its node.
        """
