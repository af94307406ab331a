"""A network between agents: what it loses, and how long round trips take, is what a test says."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from khealth_exporter.core.agents import Agent

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """`count` round trips from one node to another, or to an address; `again` if they are asked for once more."""

    source: str
    target: str
    protocol: str
    size: int
    count: int
    again: bool

    @property
    def ends(self) -> set[str]:
        """Its two ends."""
        return {self.source, self.target}


@dataclass
class FakeNetwork:
    """Answers the question `round_trips` as an agent does, for a network of which each way is known."""

    agents: list[Agent]
    lost: Callable[[Way], float] = lambda _way: 0.0
    """The share of round trips that are lost."""
    seconds: Callable[[Way], float] = lambda _way: 0.0003
    """How long a round trip takes."""
    waiting: Mapping[str, float] = field(default_factory=dict)
    """Seconds for which the agent of a node had no CPU."""
    error: str = "ETIMEDOUT: no answer in time"
    ways: list[Way] = field(default_factory=list)
    """What was asked for."""
    _asked: set[str] = field(default_factory=set)

    def answer(self, agent: Agent, question: Json) -> Json:
        """Return what an agent says."""
        again = agent.uid in self._asked
        self._asked.add(agent.uid)
        results = [self._result(agent, probe, question["edges"], again=again) for probe in question["probes"]]
        waited = self.waiting.get(agent.node, 0.0)
        return {"name": agent.name, "node": agent.node, "waiting_seconds": waited, "results": results}

    def _result(self, agent: Agent, probe: Json, edges: list[float], *, again: bool) -> Json:
        names = {one.address: one.node for one in self.agents}
        target = names.get(probe["address"], str(probe["address"]))
        way = Way(agent.node, target, probe["protocol"], probe["size"], probe["count"], again)
        self.ways.append(way)
        sent, seconds = probe["count"], self.seconds(way)
        lost = round(self.lost(way) * sent)
        counts = [0] * (len(edges) + 1)
        counts[bisect_left(edges, seconds)] += sent - lost
        counts[bisect_left(edges, probe["timeout"])] += lost
        took = {"median": seconds, "least": seconds, "most": seconds, "jitter": seconds / 10} if sent > lost else {}
        return {
            "id": probe["id"], "sent": sent, "lost": lost, "counts": counts, "uncertainty": 0.00002,
            "sum": (sent - lost) * seconds + lost * probe["timeout"], "error": self.error if lost else "", **took,
        }  # fmt: skip
