"""What decides whether the scheduler may bind a pod to a node: gates, taints."""

from msgspec import Struct


class SchedulingGate(Struct, frozen=True, rename="camel"):
    """Why the scheduler must not look at a pod yet."""

    name: str = ""


class ReadinessGate(Struct, frozen=True, rename="camel"):
    """A condition that another controller must set before a pod is Ready."""

    condition_type: str = ""


class Taint(Struct, frozen=True, rename="camel"):
    """Why a node repels pods."""

    key: str = ""
    effect: str = ""


GOING = {
    "ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service", "node.cloudprovider.kubernetes.io/shutdown",
}  # fmt: skip
"""Keys of the taints by which autoscalers, cloud providers, and people take a node out of service."""
