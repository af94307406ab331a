"""Round trips in the networks of the nodes, beside the network of pods: they tell which of the two is at fault."""

from collections.abc import Collection
from dataclasses import replace

from khealth_exporter.canaries.agents.neighbors import one_per_node
from khealth_exporter.canaries.agents.plan import Plan
from khealth_exporter.canaries.agents.round_trips import HOST_HOST, TRANSIT, Asked, Pace, Protocol, Trip, ask
from khealth_exporter.core.routine import Context
from khealth_exporter.vocabulary.verdict import Failed

_QUESTION, _LEAST = 6.0, 5.0
"""Seconds for agents to be Ready and to answer, and without which they are not asked."""
_PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")
_PLACE = "outside the network of pods"


async def between_hosts(context: Context, plan: Plan, each: int, pace: Pace, deadline: float) -> tuple[Asked, str]:
    """Return what the nodes of a plan feel of each other in their own networks, and that in words.

    It explains what pods feel, so it fails nothing. There are no words if no agents are wanted there.
    """
    now = context.clock.now()
    if context.agents is None or deadline - now < _LEAST:
        return Asked(), ""
    due = min(deadline, now + _QUESTION)
    try:
        hosts = await context.agents.hosts(due - TRANSIT)
        if not hosts:
            return Asked(), ""
        found = one_per_node(hosts)
        same = {node: agent for node, agent in found.items() if node in plan.nodes}
        own = replace(
            plan, nodes=same if len(same) > 1 else found, fixed=(), large=0, protocols=_PROTOCOLS, step=HOST_HOST
        )
        targets = own.first(each)
        asked = await ask(context, [agent for agent in hosts if targets.get(agent.uid)], targets, pace, due)
    except Failed as failed:
        return Asked(), f"not measured: {failed.note}"
    return asked, "; ".join((_summary(asked.trips), *(one.why.note for one in asked.silent)))


def compared(failing: Collection[tuple[str, str]], trips: Collection[Trip]) -> str:
    """Return what the nodes of pairs that fail feel of each other, as the end of a note; empty if nothing is known."""
    ends = {frozenset(pair) for pair in failing}
    between = [trip for trip in trips if frozenset(trip.pair) in ends]
    if not between:
        return ""
    if all(trip.lost for trip in between):
        return f"; {_PLACE}, their nodes do not reach each other either"
    return f"; {_PLACE}, {_took(between)}"


def _summary(trips: Collection[Trip]) -> str:
    pairs, lost = {trip.pair for trip in trips}, {trip.pair for trip in trips if trip.lost}
    if not pairs:
        return "not measured: fewer than two nodes have an agent that answers"
    told = f"{len(pairs)} pairs: {_took(trips)}"
    return f"{told}; {len(lost)} pairs do not answer at the port of agents: does a firewall drop it?" if lost else told


def _took(trips: Collection[Trip]) -> str:
    sent, lost = sum(trip.figures.sent for trip in trips), sum(trip.figures.lost for trip in trips)
    medians = [trip.figures.median for trip in trips if trip.answered]
    slowest = f", and the slowest median is {max(medians) * 1000:.2f} ms" if medians else ""
    return f"{lost} of {sent} round trips between nodes are lost{slowest}"
