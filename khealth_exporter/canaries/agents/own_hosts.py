"""Agents of khealth's own in the networks of nodes: one on each node that has an agent in the network of pods."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from khealth_exporter.canaries.agents.own import OwnAgents
from khealth_exporter.canaries.agents.template import host_manifest
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.ownership import Ownership


class OwnHostAgents(OwnAgents):
    """Follows other agents to their nodes, and shares their Secret."""

    attempt: ClassVar[int] = 2

    def __init__(self, cluster: Cluster, followed: OwnAgents) -> None:
        super().__init__(cluster)
        self._followed = followed
        self._nodes: dict[str, str] = {}
        """The nodes for which they were made, by name."""

    @property
    def secret(self) -> str:
        """The name of their Secret."""
        return self._followed.secret

    def unsettled(self) -> bool:
        """Tell whether agents are missing on a node, or are on one where they are no longer wanted."""
        return self.begun and bool(self._lacking() or self._surplus() or self._old())

    async def _prepare(self, _deadline: float) -> None:
        self.count = len(self._wanted_on())
        names = self._names()
        self._nodes = {name: node for name, node in self._nodes.items() if name in names}

    def _wanted_on(self) -> set[str]:
        return {pod.spec.node_name for pod in self._followed.living() if pod.spec.node_name}

    def _lacking(self) -> Sequence[str]:
        return sorted(self._wanted_on() - {self._nodes.get(name, "") for name in self._names()})

    def _surplus(self) -> Sequence[Pod]:
        wanted = self._wanted_on()
        return [pod for pod in self.living() if self._nodes.get(pod.name, "") not in wanted]

    def _manifest(self, ownership: Ownership, node: str) -> Mapping[str, object]:
        self._nodes[ownership.name] = node
        return host_manifest(self._pod, ownership, self.secret, node)

    async def _remove_secret(self, _deadline: float) -> None:
        """Leave the Secret to the others."""
