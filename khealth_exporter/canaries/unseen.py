"""Who is to blame for what agents did not see: one node, or what connects all. Pure: no I/O, no clock."""

from khealth_exporter.canaries.diagnosis import alone
from khealth_exporter.canaries.until import NAMED, Observed, Seen
from khealth_exporter.cluster.errors import clean
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed

_SHOWN = 10
"""Agents that evidence shows."""


def blamed(observed: Observed, reason: Reason, step: Step, note: str) -> Failed:
    """Return what it means that some agents did not see what they should: one node is to blame, or what connects all.

    One node is if every failing pair of agent and target has to do with it alone, and other nodes are well. A node is
    well if an agent of it has reached something that is not on it, or is reached from another node. If the reason
    blames nothing, no node is to blame.
    """
    seen, failing = observed.seen, observed.failing
    well = {node for one in seen if one.reached and one.check.node != one.agent.node for node in _nodes(one)}
    suspects = set.intersection(*map(_nodes, failing)) - well
    evidence = tuple(map(_evidence, failing[:_SHOWN]))
    pairs = ", ".join(f"{one.agent.name} on {one.agent.node}" for one in failing[:NAMED])
    more = f" and {len(failing) - NAMED} more" if len(failing) > NAMED else ""
    note = clean(f"{note}: {pairs}{more} of {len(observed.agents)} agents")
    if len(suspects) == 1 and well and reason.result is Result.FAILURE:
        return Failed(Reason.ONE_NODE, alone(reason, suspects.pop(), note), evidence, step=step)
    return Failed(reason, note, evidence, step=step)


def _nodes(one: Seen) -> set[str]:
    return {node for node in (one.agent.node, one.check.node) if node}


def _evidence(one: Seen) -> Evidence:
    outcome, check = one.outcome, one.check
    by = ", ".join(f"{count} by {name}" for name, count in sorted(outcome.answers.items())) or "none"
    lines = [f"{check.id} at {check.address} port {check.port}: {outcome.tries} tries; answers: {by}"]
    lines += [f"last error: {outcome.error}"] if outcome.error else []
    return Evidence("Agent", f"{one.agent.name} on {one.agent.node}", tuple(map(clean, lines)))
