"""Round trips in the networks of the nodes, beside the network of pods: they tell which of the two is at fault."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from khealth_exporter.canaries.agents.neighbors import one_per_node
from khealth_exporter.canaries.agents.plan import Plan
from khealth_exporter.canaries.agents.round_trips import HOST_HOST, TRANSIT, Asked, Pace, Trip, ask
from khealth_exporter.cluster.errors import clean
from khealth_exporter.core.routine import Context
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

NAME = "outside the network of pods"
"""What notes and remarks call it."""
_READY = 2.0
"""Seconds in which agents must be Ready."""
_PAIR = 2
_MARGIN = 0.5
"""Seconds that an answer may be late."""


async def between_hosts(context: Context, plan: Plan, each: int, pace: Pace, deadline: float) -> tuple[Asked, str]:
    """Return what the nodes of a plan feel of each other in their own networks, and that in words.

    It explains what pods feel, so it fails nothing. There are no words if no agents are wanted there. A pair with an
    agent that does not answer, or had no CPU, says nothing.
    """
    if context.agents is None:
        return Asked(), ""
    needed = TRANSIT + pace.lost_after + plan.count * pace.spacing + _MARGIN
    due = min(deadline, context.clock.now() + _READY + needed)
    try:
        hosts = await context.agents.hosts(due - needed)
        if not hosts:
            return Asked(), ""
        if context.clock.now() > deadline - needed:
            return Asked(), "not measured: no time was left"
        nodes = {node: agent for node, agent in one_per_node(hosts).items() if node in plan.nodes}
        if len(nodes) < _PAIR:
            there = ", ".join(sorted(nodes)) or "none"
            return Asked(), f"not measured: fewer than two nodes have Ready agents in both networks: {there}"
        protocols = [protocol for protocol in plan.protocols if protocol != "http"] or ["tcp"]
        targets = replace(plan, nodes=nodes, fixed=(), large=0, protocols=protocols, step=HOST_HOST).first(each)
        asked = await ask(context, list(nodes.values()), targets, pace, due)
    except Failed as failed:
        return Asked(), f"not measured: {failed.note}"
    trips = [trip for trip in asked.trips if asked.unheard.isdisjoint(trip.pair) and trip.figures.sent]
    return replace(asked, trips=trips), "; ".join((_summary(trips), *(one.why.note for one in asked.silent)))


def explained(failed: Failed, failing: Collection[tuple[str, str]], trips: Collection[Trip]) -> Failed:
    """Return a failure with what the nodes of pairs that fail feel of each other, as far as that explains anything."""
    ends = {frozenset(pair) for pair in failing}
    between = [trip for trip in trips if frozenset(trip.pair) in ends]
    if not between or failed.reason is Reason.MTU_BLACK_HOLE:  # Nothing large is sent between hosts.
        return failed
    lost = all(trip.lost for trip in between)
    told = f"{NAME}, {'no agent answers: a firewall, or the network below' if lost else _took(between)}"
    return Failed(failed.reason, clean(failed.note, advice=told), failed.evidence, step=failed.step)


def _summary(trips: Collection[Trip]) -> str:
    pairs: defaultdict[tuple[str, str], list[Trip]] = defaultdict(list)
    for trip in trips:
        pairs[trip.pair].append(trip)
    if not pairs:
        return "not measured: fewer than two nodes have an agent that answers"
    lost = sum(all(trip.lost for trip in found) for found in pairs.values())
    told = f"{len(pairs)} pairs: {_took(trips)}"
    return f"{told}; {lost} pairs do not answer at the port of agents: does a firewall drop it?" if lost else told


def _took(trips: Collection[Trip]) -> str:
    sent, lost = sum(trip.figures.sent for trip in trips), sum(trip.figures.lost for trip in trips)
    medians = [trip.figures.median for trip in trips if trip.answered]
    slowest = f", and the slowest median is {max(medians) * 1000:.2f} ms" if medians else ""
    return f"{lost} of {sent} round trips between nodes are lost{slowest}"
