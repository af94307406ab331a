"""NetworkPolicies of others: what they do is no fault of the network."""

from collections.abc import Mapping

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.kinds import NETWORK_POLICY
from khealth_exporter.cluster.objects import NetworkPolicy
from khealth_exporter.cluster.ownership import AGENT, COMPONENT
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence, Failed

_OF_AGENTS = {COMPONENT: AGENT}
_INGRESS, _EGRESS = "Ingress", "Egress"


async def meddling(cluster: Cluster, own: Mapping[str, str], deadline: float) -> Failed | None:
    """Return what it means that a NetworkPolicy of another client applies to a canary too; None if none does.

    `own` are the labels of the attempt. What such a policy lets through is not looked at: it may keep agents from the
    canary, or let them reach what khealth's own policy denies.
    """
    try:
        policies = await cluster.list(NETWORK_POLICY, deadline)
    except Failed:
        return None
    found = [policy for policy in policies if not own.items() <= policy.metadata.labels.items() and _about(policy, own)]
    if not found:
        return None
    names = ", ".join(policy.name for policy in found)
    note = f"NetworkPolicy {names} applies to canaries or agents too, and may be the cause"
    evidence = tuple(Evidence("NetworkPolicy", policy.name, (", ".join(_types(policy)),)) for policy in found)
    return Failed(Reason.NO_SINGLE_CAUSE, clean(note), evidence)


def _about(policy: NetworkPolicy, canary: Mapping[str, str]) -> bool:
    """Tell whether a policy limits what reaches a canary, or what all agents may reach."""
    selector = policy.spec.pod_selector
    return (_INGRESS in _types(policy) and selector.selects(canary)) or (
        _EGRESS in _types(policy) and selector.selects(_OF_AGENTS)
    )


def _types(policy: NetworkPolicy) -> tuple[str, ...]:
    return policy.spec.policy_types or (_INGRESS,)
