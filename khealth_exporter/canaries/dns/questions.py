"""The questions that agents put to the DNS, and how good an answer is. Pure: no I/O, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Literal

from khealth_exporter.core.agents import Agent
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.step import POD_EDGES, ROUND_TRIP_EDGES, Step

TRIES = 3
"""Times that a question is sent: one lost datagram is no failure."""

REFUSED = "ECONNREFUSED"
"""In the error of an agent that reached an address at which nobody listens."""


def _step(name: str, meaning: str) -> Step:
    return Step(name, Component.DNS, f"{meaning} → the answer is complete, on the agent's clock", ROUND_TRIP_EDGES)


RESOLVE = _step("resolve", "`kubernetes.default.svc` is looked up over UDP, through the search list, as pods do")
SERVICE = _step("service", "a query for the cluster's own name → the answer of the DNS Service's address, over UDP")
TCP = _step("tcp", "a query for the cluster's own name → the answer of the pod's name servers, over TCP")
IPV6 = _step("ipv6", "a query for IPv6 addresses of the cluster's own name → the answer of the pod's name servers")
MISSING = _step("missing", "a query for a name that does not exist → the answer of the pod's name servers")
EXTERNAL = _step("external", "a query for the name outside the cluster → the answer of the pod's name servers")
SERVER = _step("server", "a query for the cluster's own name → the answer of one DNS pod, at its own address")
PROPAGATE = Step(
    "propagate",
    Component.DNS,
    "the EndpointSlice of a new headless Service is created → the pod's name servers answer with its addresses",
    POD_EDGES,
)
STEPS = (RESOLVE, SERVICE, TCP, IPV6, MISSING, EXTERNAL, SERVER, PROPAGATE)


class Grade(StrEnum):
    """How good an answer is; of an `open` question, the agent cannot tell."""

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "error"
    SILENT = "silent"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a right answer is: exactly these addresses; none, if there are none; with None, any or none.

    A name that does not exist (`exists` is False) has no addresses, and is answered with NXDOMAIN.
    """

    addresses: frozenset[str] | None = None
    exists: bool = True

    @classmethod
    def of(cls, addresses: Iterable[str], family: Literal["A", "AAAA"]) -> "Expected":
        """Return what a question of this type is answered with, where a name has these addresses."""
        version = 4 if family == "A" else 6
        return cls(frozenset(normal(one) for one in addresses if ip_address(one).version == version))

    def grade(self, outcome: str, addresses: Iterable[str]) -> Grade:
        """Return how good an answer is."""
        match outcome:
            case "timeout" | "unreachable":
                return Grade.SILENT
            case "answered":
                right = self.exists and self.addresses in (None, frozenset(map(normal, addresses)))
                return Grade.RIGHT if right else Grade.WRONG
            case "nxdomain":
                return Grade.ERROR if self.exists else Grade.RIGHT
            case "nodata":
                return Grade.ERROR if self.addresses else Grade.RIGHT
            case "unfinished":
                return Grade.OPEN
            case _:
                return Grade.ERROR


def normal(address: str) -> str:
    """Return an address in its one form; as it is, if it is none."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


@dataclass(frozen=True, slots=True)
class Question:
    """A question: where it goes (an address, or the pod's own name servers), and what a right answer is.

    Names are asked as they stand if they end in a dot, else through the search list.
    """

    step: Step
    name: str
    expected: Expected
    server: str = ""
    type: Literal["A", "AAAA"] = "A"
    transport: Literal["udp", "tcp"] = "udp"
    port: int = 53

    def document(self, timeout: float) -> Mapping[str, object]:
        """Return the question as an agent takes it, with a time-out for each try in seconds."""
        return {
            "name": self.name,
            "type": self.type,
            "server": self.server,
            "port": self.port,
            "transport": self.transport,
            "timeout": timeout,
            "tries": TRIES,
        }

    @property
    def direct(self) -> bool:
        """Whether it goes to one DNS pod."""
        return self.step is SERVER or (self.step is PROPAGATE and bool(self.server))


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent was answered; durations are in seconds, on its own clock.

    An agent that was `starved` waited for a CPU for most of the time: it cannot tell that nobody answered.
    """

    agent: Agent
    question: Question
    outcome: str
    addresses: tuple[str, ...] = ()
    server: str = ""
    seconds: float = 0.0
    uncertainty: float = 0.0
    error: str = ""
    starved: bool = False

    @classmethod
    def of(cls, agent: Agent, question: Question, told: Mapping[str, Any], *, starved: bool) -> "Answer":
        """Return an answer as an agent tells it."""
        return cls(
            agent,
            question,
            str(told.get("outcome", "unfinished")),
            tuple(map(str, told.get("addresses", ()))),
            str(told.get("server") or question.server),
            float(told.get("seconds", 0.0)),
            float(told.get("uncertainty", 0.0)),
            str(told.get("error", "")),
            starved,
        )

    @property
    def grade(self) -> Grade:
        """How good it is."""
        grade = self.question.expected.grade(self.outcome, self.addresses)
        return Grade.OPEN if self.starved and grade is Grade.SILENT else grade

    @property
    def refused(self) -> bool:
        """Whether there was nobody at the port: packets arrive."""
        return self.error.startswith(REFUSED)

    @property
    def failed(self) -> bool:
        """Whether it is not right; a question that was not asked is neither."""
        return self.grade not in {Grade.RIGHT, Grade.OPEN}

    @property
    def said(self) -> str:
        """What was answered, in a few words."""
        words = {"nxdomain": "NXDOMAIN", "servfail": "SERVFAIL", "refused": "REFUSED", "nodata": "no address"}
        if self.outcome == "answered":
            return ", ".join(self.addresses) or "no address"
        return words.get(self.outcome) or (f"{self.outcome}: {self.error}" if self.error else self.outcome)

    def __str__(self) -> str:
        asked, at = self.question, f" at {self.server}" if self.server else ""
        return f"{self.agent.name} on {self.agent.node}: {asked.name} {asked.type}/{asked.transport}{at}: {self.said}"
