"""The chart's agents: as many as the nodes need, where they are a Deployment."""

import structlog

from khealth_exporter.canaries.agents.template import count, of_chart, on_host
from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.facts import list_nodes
from khealth_exporter.canaries.pod_spec import LINUX, Placement
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import DEPLOYMENT, POD
from khealth_exporter.core.agents import DEPLOYMENT as NAME

PERIOD = 60.0
"""Seconds between two looks at the nodes."""
_TRYING = 10.0

_log = structlog.get_logger()


class ChartAgents:
    """Scales the Deployment of the chart's agents."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._told = ""
        self.wanted = 0
        """How many pods it should have; 0 while that is not known."""

    async def tend(self, wanted: int) -> None:
        """Scale the Deployment to `wanted`, or to what the nodes need if that is 0, if it has not so many pods."""
        deadline = self._cluster.clock.now() + _TRYING
        pods = [
            pod
            for pod in self._cluster.watches.of(POD).objects.values()
            if of_chart(pod) and not (on_host(pod) or pod.leaving or pod.ended)
        ]
        placement = next((Placement("").seen(pod.spec) for pod in pods), Placement("", LINUX))
        nodes = Nodes.of(await list_nodes(self._cluster, deadline), placement)
        usable = [node for node in nodes.eligible if node.name in nodes.usable]
        if not wanted and not usable:
            return
        self.wanted = replicas = wanted or count(usable)
        if len(pods) == replicas:
            return
        path = f"{self._cluster.path(DEPLOYMENT, NAME)}/scale"
        try:
            await self._cluster.client.request(
                "patch", "deployments/scale", path, body={"spec": {"replicas": replicas}}, deadline=deadline
            )
        except Refused as refused:
            # A denied right has a log entry of its own.
            if not refused.refusal.denied and self._told != refused.note:
                _log.warning("agents not scaled", replicas=replicas, reason=refused.reason, note=refused.note)
            self._told = refused.note
        else:
            self._told = ""
