"""The agents' task `round_trips`: how long packets take to places and back, and how many are lost."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from khealth_exporter.cluster.errors import clean
from khealth_exporter.core.agents import Agent, Silence, Told
from khealth_exporter.core.routine import Context
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.matrix import Pair
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.step import ROUND_TRIP_EDGES, Step
from khealth_exporter.vocabulary.verdict import Failed

TRANSIT = 3.0
"""Seconds for a question and its answer, apart from the agent's own."""
STARVED = 0.5
"""The share of a round trip's timeout for which an agent had no CPU, from which its losses say nothing."""

Protocol = Literal["tcp", "udp", "http"]
PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp", "http")
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


def _step(name: str, meaning: str) -> Step:
    clock = "on the agent's clock; a lost one counts as long as it was waited for"
    return Step(name, Component.NETWORK, f"{meaning}, {clock}", ROUND_TRIP_EDGES)


POD_POD = _step("pod_pod", "a packet leaves for a pod on another node, by TCP, UDP or HTTP → its answer is there")
POD_SERVICE = _step("pod_service", "a TCP connection to the Service `kubernetes` is begun → it stands")
POD_API = _step("pod_api", "a TCP connection to one address of the API server is begun → it stands")
LARGE = _step("large", "a large datagram, which must not be fragmented, leaves for a pod → its echo is there")
HOST_HOST = _step("host_host", "a packet leaves a node for another node, by TCP or UDP → its answer is there")
STEPS = (POD_POD, POD_SERVICE, POD_API, LARGE, HOST_HOST)


@dataclass(frozen=True, slots=True)
class Target:
    """Where round trips go: `name` is what people call it, a node's for a pod. `size` is in bytes."""

    name: str
    step: Step
    protocol: Protocol
    address: str
    port: int
    size: int = 64
    count: int = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """The seconds between two round trips to one target, and those after which one is lost."""

    spacing: float
    lost_after: float


class Figures(msgspec.Struct, frozen=True):
    """What an agent says of one target, in seconds; `error` is the first one."""

    id: str
    sent: _Count
    lost: _Count
    counts: tuple[_Count, ...]
    sum: _Seconds
    median: _Seconds = 0.0
    jitter: _Seconds = 0.0
    uncertainty: _Seconds = 0.0
    error: str = ""


class _Document(msgspec.Struct, frozen=True):
    results: tuple[Figures, ...]
    waiting_seconds: _Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Trip:
    """The round trips from the agent on the node `source` to one target."""

    source: str
    target: Target
    figures: Figures

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from others of the same question: step, source, target and protocol."""
        return self.target.step.name, self.source, self.target.name, self.target.protocol

    @property
    def pair(self) -> tuple[str, str]:
        """Where it begins, and where it turns."""
        return self.source, self.target.name

    @property
    def too_large(self) -> bool:
        """Whether the sender learned that the path does not take datagrams of this size: they are not lost."""
        return self.figures.error.startswith("EMSGSIZE")

    @property
    def lost(self) -> bool:
        """Whether no round trip ended."""
        return 0 < self.figures.sent == self.figures.lost and not self.too_large

    @property
    def answered(self) -> bool:
        """Whether a round trip ended."""
        return self.figures.lost < self.figures.sent

    def __str__(self) -> str:
        found, sizes = self.figures, f" {self.target.size} bytes" if self.target.step is LARGE else ""
        way = f"{self.source} → {self.target.name} ({self.target.address}) {self.target.protocol}{sizes}"
        took = f", median {found.median * 1000:.2f} ms" if self.answered else ""
        return f"{way}: {found.lost} of {found.sent} lost{took}{f', {found.error}' if found.error else ''}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one question to several agents; one that answers something else than it was asked is `silent`.

    An agent that is `starved` answered and had no CPU: what it lost says nothing. Agents go by their nodes.
    """

    trips: Sequence[Trip] = ()
    silent: Sequence[Silence] = ()
    starved: frozenset[str] = frozenset()

    @property
    def unheard(self) -> set[str]:
        """The agents that say nothing of what they were asked, nor of what others sent to them."""
        return {one.agent.node for one in self.silent} | self.starved

    def distributions(self) -> Iterator[Distribution]:
        """Yield all durations by step, with those of lost round trips."""
        for step in STEPS:
            found = [trip.figures for trip in self.trips if trip.target.step is step and not trip.too_large]
            counts = [sum(column) for column in zip(*(one.counts for one in found), strict=True)]
            if found:
                uncertainty = max(one.uncertainty for one in found)
                yield Distribution(step, tuple(counts), sum(one.sum for one in found), uncertainty)

    @property
    def loss(self) -> float:
        """The share of the round trips between nodes that were lost."""
        return _loss(trip for trip in self.trips if trip.target.step is POD_POD)

    def pairs(self, failing: Collection[tuple[str, str]]) -> list[Pair]:
        """Return what is known of each pair of nodes."""
        ways: defaultdict[tuple[str, str], list[Trip]] = defaultdict(list)
        for trip in self.trips:
            if trip.target.step is POD_POD:
                ways[trip.pair].append(trip)
        return [_pair(name, trips, failing=name in failing) for name, trips in ways.items()]


def _pair(name: tuple[str, str], trips: Sequence[Trip], *, failing: bool) -> Pair:
    """Return a pair: its latency is TCP's if that answers, as the kernels alone make it."""
    answered = sorted((trip for trip in trips if trip.answered), key=lambda trip: trip.target.protocol != "tcp")
    found = answered[0].figures if answered else None
    median, jitter = (found.median, found.jitter) if found else (None, 0.0)
    return Pair(*name, median, jitter, _loss(trips), failing)


def _loss(trips: Iterable[Trip]) -> float:
    counted = [trip.figures for trip in trips]
    return sum(one.lost for one in counted) / (sum(one.sent for one in counted) or 1)


async def ask(
    context: Context, agents: Sequence[Agent], targets: Mapping[str, Sequence[Target]], pace: Pace, deadline: float
) -> Asked:
    """Let each agent, by its uid, send to its targets; raise Failed if no agent answers."""
    if context.agents is None:
        raise LookupError("the context has no agents")
    within = round(deadline - TRANSIT - context.clock.now(), 3)

    def question(agent: Agent) -> Mapping[str, object]:
        probes = [_probe(number, target, pace) for number, target in enumerate(targets.get(agent.uid, ()))]
        return {"probes": probes, "edges": ROUND_TRIP_EDGES, "within": within}

    heard = await context.agents.ask(agents, "round_trips", question, deadline)
    trips: list[Trip] = []
    silent, starved = list(heard.silent), set[str]()
    for told in heard.told:
        try:
            waited, found = _answer(told, targets.get(told.agent.uid, ()))
        except Failed as failed:
            silent.append(Silence(told.agent, failed))
            continue
        if waited > STARVED * pace.lost_after:
            starved.add(told.agent.node)
        else:
            trips += found
    return Asked(trips, silent, frozenset(starved))


def _probe(number: int, target: Target, pace: Pace) -> Mapping[str, object]:
    return {
        "id": str(number), "protocol": target.protocol, "address": target.address, "port": target.port,
        "count": target.count, "size": target.size, "spacing": pace.spacing, "timeout": pace.lost_after,
        **({"fragment": False} if target.step is LARGE else {}),
    }  # fmt: skip


def _answer(told: Told, targets: Sequence[Target]) -> tuple[float, list[Trip]]:
    """Return the seconds for which an agent had no CPU, and what it says of its targets; raise Failed."""
    try:
        document = msgspec.convert(told.document, _Document)
        return document.waiting_seconds, [_trip(told.agent.node, targets, found) for found in document.results]
    except (msgspec.ValidationError, LookupError, ValueError) as error:
        note = f"{told.agent.name} on {told.agent.node} answers something else than it was asked: {error}"
        raise Failed(Reason.AGENT_REFUSED, clean(f"{note}; its image may be of another version of khealth")) from error


def _trip(source: str, targets: Sequence[Target], found: Figures) -> Trip:
    """Return what was found of one target; LookupError or ValueError if it does not fit the question."""
    if len(found.counts) != len(ROUND_TRIP_EDGES) + 1 or found.lost > found.sent:
        raise ValueError("its counts are others than those that were asked for")
    return Trip(source, targets[int(found.id)], found)
