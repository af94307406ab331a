"""What decides whether the scheduler may bind a pod to a node: gates, taints and tolerations, node affinity."""

import re
from collections.abc import Mapping

from msgspec import Struct

NODE_NAME = "metadata.name"
"""The only field that matchFields may name."""
_REPELLING = {"NoSchedule", "NoExecute"}
_INTEGER = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
_LOOSE = re.compile(r"[+-]?[0-9]+", re.ASCII)
"""What Go's ParseInt takes: the scheduler reads labels with it, and taints more strictly."""
_MOST = 2**63
_LONGEST = 63
"""Characters of a label or a taint's value."""


class SchedulingGate(Struct, frozen=True, rename="camel"):
    """Why the scheduler must not look at a pod yet."""

    name: str = ""


class ReadinessGate(Struct, frozen=True, rename="camel"):
    """A condition that another controller must set before a pod is Ready."""

    condition_type: str = ""


class Taint(Struct, frozen=True, rename="camel"):
    """Why a node repels pods."""

    key: str = ""
    value: str = ""
    effect: str = ""

    @property
    def repels(self) -> bool:
        """Whether it keeps pods away, and is not only a wish."""
        return self.effect in _REPELLING


GOING = {
    "ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service", "node.cloudprovider.kubernetes.io/shutdown",
}  # fmt: skip
"""Keys of the taints by which autoscalers, cloud providers, and people take a node out of service."""

CORDON = Taint("node.kubernetes.io/unschedulable", effect="NoSchedule")
"""The taint that a cordoned node counts as having, whether it has it or not."""


class Toleration(Struct, frozen=True, rename="camel"):
    """A taint that a pod tolerates."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""

    def covers(self, taint: Taint) -> bool:
        """Tell whether it tolerates a taint, as the scheduler does.

        Source: kubernetes staging/src/k8s.io/api/core/v1/toleration.go. `Lt` and `Gt` need a feature gate of the
        cluster (1.35, alpha); where it is closed, the API server refuses the pod.
        """
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        if self.operator in ("", "Equal"):
            return self.value == taint.value
        if self.operator in ("Lt", "Gt"):
            return _compares(taint.value, self.operator, self.value)
        return self.operator == "Exists"


class NodeSelectorRequirement(Struct, frozen=True, rename="camel"):
    """What is asked of one label or field of a node."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()

    def holds(self, having: Mapping[str, str]) -> bool:
        """Tell whether labels or fields are as asked for; an unknown operator never holds."""
        found = having.get(self.key)
        if self.operator in ("Lt", "Gt"):
            return (
                found is not None and len(self.values) == 1 and _compares(found, self.operator, self.values[0], _LOOSE)
            )
        return {
            "In": found in self.values,
            "NotIn": found not in self.values,  # codespell:ignore notin
            "Exists": found is not None,
            "DoesNotExist": found is None,
        }.get(self.operator, False)


class NodeSelectorTerm(Struct, frozen=True, rename="camel"):
    """Requirements that all have to hold."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()

    def holds(self, name: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a node of this name and with these labels is allowed; an empty term allows none."""
        asked = bool(self.match_expressions or self.match_fields)
        labelled = all(requirement.holds(labels) for requirement in self.match_expressions)
        return asked and labelled and all(requirement.holds({NODE_NAME: name}) for requirement in self.match_fields)


class NodeSelector(Struct, frozen=True, rename="camel"):
    """Terms of which one has to hold."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class NodeAffinity(Struct, frozen=True, rename="camel"):
    """Which nodes a pod asks for."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class Affinity(Struct, frozen=True, rename="camel"):
    """What a pod asks to be near to; only what binds it to nodes."""

    node_affinity: NodeAffinity = NodeAffinity()

    @property
    def terms(self) -> tuple[NodeSelectorTerm, ...] | None:
        """The terms of the required node affinity; None if it asks for nothing."""
        required = self.node_affinity.required_during_scheduling_ignored_during_execution
        return required.node_selector_terms if required else None


def _compares(found: str, operator: str, limit: str, form: re.Pattern[str] = _INTEGER) -> bool:
    """Compare two 64-bit integers of this form; what is none never holds."""
    if not (is_integer(found, form) and is_integer(limit, form)):
        return False
    return int(found) < int(limit) if operator == "Lt" else int(found) > int(limit)


def is_integer(text: str, form: re.Pattern[str] = _INTEGER) -> bool:
    """Tell whether this is a decimal 64-bit integer, by default as Kubernetes writes one."""
    return len(text) <= _LONGEST and bool(form.fullmatch(text)) and -_MOST <= int(text) < _MOST
