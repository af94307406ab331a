"""Which component is to blame for a silent agent: one table, from facts to a reason. Pure: no I/O, no clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from khealth_exporter.vocabulary.reason import Reason


class Outcome(StrEnum):
    """What came of the question."""

    NONE = "none"
    """No answer."""
    REFUSED = "refused"
    """The agent does not accept the question, or its answer does not prove that it knows the secret."""
    BUSY = "busy"
    """The agent has too much to do."""


class PodState(StrEnum):
    """How the agent's pod is."""

    GOING = "going"
    """Gone, evicted, being deleted, or about to be (condition DisruptionTarget)."""
    UNREADY = "not Ready"
    """Its containers have not started, or have ended."""
    FROZEN = "no longer Ready"
    """Its containers run, it was Ready, and its readiness probe fails."""
    READY = "Ready"


class NodeState(StrEnum):
    """How the node of that pod is; unknown where khealth may not list nodes."""

    READY = "Ready"
    NOT_READY = "not Ready"
    OUT = "out of service"
    """Cordoned, being removed, shut down, or gone."""
    UNKNOWN = "unknown"


class Reached(StrEnum):
    """Whether somebody else gets an answer from the agent; unknown if nobody could be asked."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a silent agent."""

    api: bool
    """Whether the API server answers."""
    awake: bool
    """Whether khealth itself ran when the answer was due."""
    outcome: Outcome
    pod: PodState
    node: NodeState
    neighbours: Reached
    """Whether other agents reach it."""
    other: Reached
    """Whether khealth reaches it on the other path: the API server's proxy, or the pod's address."""
    alone: bool
    """Whether the silent agents are all on one node, and an agent of another node has answered."""
    probed: bool
    """Whether its kubelet has had time to probe it since it fell silent."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what must hold (what is not named may be anything), and what that means.

    Without a reason of its own it is WAIT (look again later), AS_API (the API server's refusal), or AS_POD (what is
    said of any pod that is not Ready).
    """

    when: Mapping[str, Any]
    reason: Reason | str
    note: str

    def fits(self, facts: Facts) -> bool:
        """Tell whether it is the row for such facts, if none above it is."""
        return all(getattr(facts, name) in _choices(choice) for name, choice in self.when.items())


WAIT, AS_API, AS_POD = "wait", "as_api", "as_pod"
"""What a row says that names no reason."""

_UP = {PodState.READY}
_DOWN = {PodState.UNREADY, PodState.FROZEN}
_NOT_REACHED = {Reached.NO, Reached.UNKNOWN}

ROWS = (
    Row({"awake": False}, Reason.PROBER_STARVED, "khealth itself did not run when the answer was due"),
    Row({"outcome": Outcome.REFUSED}, Reason.AGENT_REFUSED, "the agent does not accept what khealth asks"),
    Row({"outcome": Outcome.BUSY}, Reason.PROBER_STARVED, "the agent is busy with other questions"),
    Row({"api": False}, AS_API, "nothing is known of the agent's pod"),
    Row({"pod": PodState.GOING}, Reason.DISRUPTED, "the agent's pod goes, or is gone"),
    Row({"node": NodeState.OUT}, Reason.DISRUPTED, "the agent's node is out of service"),
    Row({"pod": _DOWN, "node": NodeState.NOT_READY, "alone": True}, Reason.ONE_NODE, "one node is not Ready"),
    Row({"pod": _DOWN, "node": NodeState.NOT_READY}, Reason.KUBELET_SILENT, "the agent's node is not Ready"),
    Row({"pod": PodState.FROZEN}, Reason.CANARY_FAILED, "the agent runs, and does not answer its kubelet either"),
    Row({"pod": PodState.UNREADY}, AS_POD, "the agent does not run: its pod is judged as any other"),
    Row({"pod": _UP, "neighbours": Reached.YES}, Reason.AGENT_UNREACHABLE, "other agents reach it, khealth does not"),
    Row(
        {"pod": _UP, "neighbours": Reached.UNKNOWN, "other": Reached.YES},
        Reason.AGENT_UNREACHABLE, "khealth reaches it on the other path, and there is no other agent to ask",
    ),
    Row(
        {"pod": _UP, "neighbours": _NOT_REACHED, "other": _NOT_REACHED, "probed": False},
        WAIT, "it may be about to become not Ready: its kubelet has not probed it since",
    ),
    Row(
        {"pod": _UP, "neighbours": Reached.NO, "alone": True},
        Reason.ONE_NODE, "its kubelet reaches it, and other agents do not: the network of one node",
    ),
    Row(
        {"pod": _UP, "neighbours": Reached.NO},
        Reason.NETWORK_UNREACHABLE, "its kubelet reaches it, and other agents do not",
    ),
    Row(
        {"pod": _UP, "neighbours": Reached.UNKNOWN, "other": Reached.NO},
        Reason.NETWORK_UNREACHABLE, "its kubelet reaches it, and khealth does not on either path",
    ),
    Row({}, Reason.AGENT_UNREACHABLE, "khealth does not reach it, and no other way is known"),
)  # fmt: skip
"""The first row that fits counts."""


def decide(facts: Facts) -> Row:
    """Return the row that says what to blame."""
    return next(row for row in ROWS if row.fits(facts))


def table() -> Iterator[str]:
    """Yield the table of docs/blame.md."""
    names = [field.name for field in fields(Facts)]
    yield f"| # | {' | '.join(_TITLES[name] for name in names)} | reason | component | because |"
    yield f"|---|{'---|' * len(names)}---|---|---|"
    for number, row in enumerate(ROWS, 1):
        cells = (_cell(row.when.get(name)) for name in names)
        component = row.reason.component if isinstance(row.reason, Reason) else None
        yield f"| {number} | {' | '.join(cells)} | {_said(row.reason)} | {component or '-'} | {row.note} |"


_TITLES = {
    "api": "API server answers",
    "awake": "khealth ran",
    "outcome": "answer",
    "pod": "pod",
    "node": "node",
    "neighbours": "neighbors reach it",
    "other": "other path",
    "alone": "one node only",
    "probed": "probed since",
}
_WORDS = {WAIT: "wait", AS_API: "the API server's", AS_POD: "the pod's"}


def _said(reason: Reason | str) -> str:
    return f"`{reason.value}`" if isinstance(reason, Reason) else _WORDS[reason]


def _choices(choice: object) -> set[Any]:
    return choice if isinstance(choice, set) else {choice}


def _cell(choice: object) -> str:
    if choice is None:
        return ""
    if isinstance(choice, bool):
        return "yes" if choice else "no"
    return " or ".join(sorted(str(one) for one in _choices(choice)))
