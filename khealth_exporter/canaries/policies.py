"""NetworkPolicies of others: what they do is no fault of the network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.kinds import NETWORK_POLICY, POD
from khealth_exporter.cluster.objects import NetworkPolicy, Pod
from khealth_exporter.cluster.ownership import AGENT, COMPONENT, Ownership
from khealth_exporter.core.agents import Agent
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence, Failed

Labels = Mapping[str, str]

_OF_AGENTS = {COMPONENT: AGENT}
"""Labels of an agent whose pod the watch does not show."""
_INGRESS, _EGRESS = "Ingress", "Egress"


async def meddling(
    cluster: Cluster, own: Ownership, canaries: Iterable[Trace[Pod] | None], agents: Iterable[Agent], deadline: float
) -> Failed | None:
    """Return what it means that a NetworkPolicy of another client applies to canaries or agents; None if none does.

    The policies of the attempt itself are `own`. What others let into a canary is not looked at: they may keep agents
    from it, or let them reach what khealth's own policy denies.
    """
    try:
        policies = await cluster.list(NETWORK_POLICY, deadline)
    except Failed:
        return None
    others = [policy for policy in policies if not own.marks(policy)]
    tried: list[Labels] = [trace.item.metadata.labels for trace in canaries if trace]
    found = [*_limiting(others, _INGRESS, tried or [own.labels]), *_limiting(others, _EGRESS, _labels(cluster, agents))]
    if not found:
        return None
    applying = {policy.name: policy for policy in found}
    note = f"NetworkPolicy {', '.join(applying)} applies to canaries or agents too, and may be the cause"
    evidence = tuple(Evidence("NetworkPolicy", name, (", ".join(_types(policy)),)) for name, policy in applying.items())
    return Failed(Reason.NO_SINGLE_CAUSE, clean(note), evidence)


def _labels(cluster: Cluster, agents: Iterable[Agent]) -> list[Labels]:
    """Return the labels of the agents' pods as the watch shows them."""
    shown = cluster.watches.of(POD).objects
    return [pod.metadata.labels if (pod := shown.get(agent.uid)) else _OF_AGENTS for agent in agents]


def _limiting(policies: Sequence[NetworkPolicy], direction: str, pods: Iterable[Labels]) -> Iterator[NetworkPolicy]:
    """Yield the policies that limit pods with these labels in a direction; one that opens every way out limits none.

    Policies add up: where one opens every way out, others do not close it.
    """
    for labels in pods:
        about = [one for one in policies if direction in _types(one) and one.spec.pod_selector.selects(labels)]
        if direction == _INGRESS or not any(map(_open, about)):
            yield from about


def _open(policy: NetworkPolicy) -> bool:
    """Tell whether a policy lets its pods reach everything, as the chart's does for agents."""
    return any(not (rule.get("to") or rule.get("ports")) for rule in policy.spec.egress)


def _types(policy: NetworkPolicy) -> tuple[str, ...]:
    return policy.spec.policy_types or (_INGRESS,)
