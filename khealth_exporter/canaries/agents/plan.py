"""Which round trips agents make: to their neighbors, and to what all of them reach. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from khealth_exporter.canaries.agents.neighbors import neighbors
from khealth_exporter.canaries.agents.round_trips import LARGE, POD_POD, Protocol, Target, Trip
from khealth_exporter.core.agents import Agent
from khealth_exporter.vocabulary.step import Step

CLOSER = 10
"""How many times more round trips are made where some were lost: to tell a bad link from chance."""

Targets = Mapping[str, Sequence[Target]]
"""The targets of each agent, by its uid."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who measures what. `nodes` has the agent of each node, and `fixed` the targets of every agent.

    `size` and `large` are the bytes of datagrams, `large` 0 for none; `count` is how many round trips are made of each
    kind, and `protocols` are those between nodes. `step` is that of round trips between nodes.
    """

    nodes: Mapping[str, Agent]
    fixed: Sequence[Target]
    size: int
    large: int
    count: int
    protocols: Sequence[Protocol]
    step: Step = POD_POD

    def first(self, each: int) -> Targets:
        """Return the targets of all agents, with so many neighbors each."""
        return {
            self.nodes[node].uid: [*self.fixed, *(target for other in others for target in self._to(other))]
            for node, others in neighbors(self.nodes, each).items()
        }

    def again(self, suspects: Iterable[Trip]) -> Targets:
        """Return what to repeat, from both ends: as often where nothing came back, and more often elsewhere."""
        ways: defaultdict[str, dict[tuple[str, ...], Target]] = defaultdict(dict)
        for trip in suspects:
            count = self.count if trip.lost else self.count * CLOSER
            for source, target in ((trip.source, trip.target), *self._back(trip)):
                ways[source][target.name, target.step.name, target.protocol] = replace(target, count=count)
        return {self.nodes[node].uid: tuple(found.values()) for node, found in ways.items()}

    def _back(self, trip: Trip) -> Iterator[tuple[str, Target]]:
        """Yield the same way from the other end, if an agent is there."""
        if trip.target.name in self.nodes:
            same = (target for target in self._to(trip.source) if target.protocol == trip.target.protocol)
            yield from ((trip.target.name, target) for target in same if target.step is trip.target.step)

    def _to(self, node: str) -> Iterator[Target]:
        """Yield the targets on a node."""
        agent = self.nodes[node]
        for protocol in self.protocols:
            yield Target(node, self.step, protocol, agent.address, agent.port, self.size, self.count)
        if self.large and "udp" in self.protocols:
            yield Target(node, LARGE, "udp", agent.address, agent.port, self.large, self.count)
