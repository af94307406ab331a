"""Which agents an agent measures: a few, evenly spread, and the same ones while they are there. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from khealth_exporter.core.agents import Agent


def one_per_node(agents: Iterable[Agent]) -> Mapping[str, Agent]:
    """Return the first agent by name of each node."""
    found: dict[str, Agent] = {}
    for agent in sorted(agents, key=lambda agent: agent.name):
        found.setdefault(agent.node, agent)
    return found


def neighbors(nodes: Iterable[str], count: int) -> Mapping[str, tuple[str, ...]]:
    """Return up to `count` other nodes for each node.

    It is rendezvous hashing: every node picks the nodes of the highest weights, and a weight depends on two nodes
    alone, so that a node which comes or goes changes about `count` pairs. The usual weight, a hash of both names, costs
    n² hashes, and with 3 neighbors leaves 5 % of the nodes as nobody's. Here it is how closely the other node follows
    on the circle of a hash, with one hash for each neighbor: sorting finds it, and each circle makes every node the
    neighbor of one other. Independent circles also make it unlikely that a part of the nodes measures only itself (Law
     and Siu, "Distributed construction of random expander networks", INFOCOM 2003).
    """
    found: dict[str, list[str]] = {node: [] for node in nodes}
    for number in range(min(count, len(found) - 1)):
        circle = sorted(found, key=lambda node: (_place(number, node), node))
        for place, node in enumerate(circle):
            found[node].append(_next(circle, place, (node, *found[node])))
    return {node: tuple(others) for node, others in found.items()}


def _next(circle: Sequence[str], place: int, taken: Sequence[str]) -> str:
    """Return the first node after a place that is not taken; there are always fewer taken ones than nodes."""
    after = place + 1
    while circle[after % len(circle)] in taken:
        after += 1
    return circle[after % len(circle)]


def _place(number: int, node: str) -> bytes:
    return blake2b(node.encode(), digest_size=8, salt=number.to_bytes(8)).digest()
