"""The nodes that pods may run on: which take pods now, and what their state explains. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import node_of
from khealth_exporter.cluster.objects import Node, Pod
from khealth_exporter.cluster.scheduling import GOING, Taint
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason

_PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that the pods may run on; `known` is False where nodes may not be listed.

    `only` is the one node that the pods are bound to go to, if there is one.
    """

    eligible: tuple[Node, ...] = ()
    names: frozenset[str] = frozenset()
    known: bool = False
    only: str = ""
    repelling: frozenset[str] = frozenset()
    """The names of the eligible nodes with a taint that the pods do not tolerate, such as memory pressure."""
    closed: frozenset[str] = frozenset()
    """The names of the eligible nodes that are out of service for these pods."""

    @classmethod
    def of(cls, nodes: Sequence[Node] | None, placement: Placement) -> "Nodes":
        """Keep the nodes whose labels and lasting taints a placement allows."""
        if nodes is None:
            return cls(only=placement.node)
        eligible = tuple(n for n in nodes if placement.matches(n) and not any(map(_lasting, placement.repelled(n))))
        return cls(
            eligible,
            names=frozenset(node.name for node in nodes),
            known=True,
            only=placement.node,
            repelling=frozenset(node.name for node in eligible if placement.repelled(node)),
            closed=frozenset(node.name for node in eligible if placement.closed(node)),
        )

    @property
    def usable(self) -> tuple[str, ...]:
        """The names of the nodes that are Ready and take pods, in order."""
        found = (node.name for node in self.eligible if node.ready)
        return tuple(sorted(name for name in found if name not in self.repelling | self.closed))

    def refuses(self) -> tuple[Reason, str] | None:
        """Return why the only node takes no pod, as far as its state says; None if that explains nothing."""
        if not self.only or not self.known:
            return None
        if self.none_ready:
            return Reason.NODES_NOT_READY, self.unready
        node = self._named(self.only)
        if node is None:
            return Reason.NO_NODE, f"node {self.only} was removed or tainted"
        if node.name in self.closed:
            return Reason.NO_NODE, f"node {self.only} is cordoned or being removed"
        return None if node.ready else self._unready(node)

    def _unready(self, node: Node) -> tuple[Reason, str]:
        """Return what it means that a node is not Ready: it is that node's alone only if the others are."""
        dead = [other for other in self._serving if not other.ready]
        if len(dead) == 1:
            return Reason.ONE_NODE, f"node {node.name} became NotReady, the other nodes are Ready: {_said(node)}"
        return Reason.KUBELET_SILENT, f"node {node.name} and {len(dead) - 1} more became NotReady: {_said(node)}"

    @property
    def _serving(self) -> list[Node]:
        """The nodes in service."""
        return [node for node in self.eligible if node.name not in self.closed]

    @property
    def none_ready(self) -> bool:
        """Whether there are nodes in service, and not one of them is Ready."""
        return bool(self._serving) and not any(node.ready for node in self._serving)

    @property
    def unready(self) -> str:
        """That no node is Ready, in words, with what is said of the first one."""
        words = sorted(f"{node.name}: {_said(node)}" for node in self._serving)
        return f"no node is Ready ({words[0]})" if words else "no node is Ready"

    @property
    def all_closed(self) -> bool:
        """Whether every node is out of service for the pods."""
        return bool(self.eligible) and all(node.name in self.closed for node in self.eligible)

    def disrupts(self, trace: Trace[Pod]) -> str:
        """Return how its node explains that a pod went, or nothing."""
        name = node_of(trace)
        if not self.known or not name:
            return ""
        if name not in self.names:
            return f"its node {name} is gone"
        node = self._named(name)
        if node is None:
            return ""
        # On a node whose cordon they tolerate, it explains that pods are taken away, and not that they hang.
        if name in self.closed or (node.cordoned and (trace.gone or trace.item.leaving)):
            return f"its node {name} is {'being removed or shut down' if node.going else 'cordoned'}"
        others = any(other.ready for other in self.eligible if other is not node)
        if "ready" in trace.moments and not node.ready and others:
            return f"its node {name} became NotReady, other nodes are Ready: {_said(node)}"
        return ""

    def silent(self, trace: Trace[Pod]) -> bool:
        """Tell whether the node of a pod is not Ready."""
        node = self._named(node_of(trace) or "")
        return node is not None and not node.ready

    def dead_before_ready(self, trace: Trace[Pod]) -> bool:
        """Tell whether the node of a pod that was never Ready is not Ready, and not on purpose."""
        node = self._named(node_of(trace) or "")
        return node is not None and not node.ready and not node.cordoned and "ready" not in trace.moments

    def _named(self, name: str) -> Node | None:
        return next((node for node in self.eligible if node.name == name), None)


def _said(node: Node) -> str:
    ready = node.readiness
    return ": ".join(filter(None, (ready.reason, ready.message))) or "it has not reported"


def _lasting(taint: Taint) -> bool:
    # Taints of these prefixes, and an autoscaler's, say how a node is at the moment; what else repels is there to stay.
    return taint.key not in GOING and not taint.key.startswith(_PASSING)
