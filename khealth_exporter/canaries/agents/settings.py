"""Settings of the agents."""

from typing import Annotated, Literal

from pydantic import Field

from khealth_exporter.canaries.canary_spec import CanarySettings
from khealth_exporter.canaries.pod_spec import Resources
from khealth_exporter.vocabulary.settings import Settings


class AgentPodSettings(CanarySettings):
    """What the pods of agents are, in Kubernetes' own words."""

    resources: Resources = Field(
        default_factory=lambda: Resources(requests={"cpu": "10m", "memory": "16Mi"})  # what one has resident
    )
    """The container's resources."""


class AgentsSettings(Settings):
    """How khealth asks agents, and whether it runs them itself."""

    channel: Literal["auto", "pod", "proxy"] = "auto"
    """How agents are asked: at their pods' addresses, through the API server's proxy, or by default the first way in a
    cluster and the second one outside."""
    own: Literal["auto", True, False] = "auto"
    """Whether khealth runs agents itself, and removes them when it ends; by default only outside of a cluster."""
    count: Annotated[int, Field(ge=0, le=500)] = 0
    """How many agents to run; 0: two per zone, at most 10, and no more than there are nodes."""
    scale: bool = False
    """Whether khealth scales the Deployment khealth-agent to that count; the chart sets it."""
    host_network: bool = False
    """Whether more agents run in the networks of their nodes, for `latency` to compare with the network of pods. Pod
    Security must allow that: only the level `privileged` does."""
    pod: AgentPodSettings = AgentPodSettings()
    """The specification of khealth's own agents."""

    def owns(self, *, inside: bool) -> bool:
        """Tell whether khealth runs agents itself, if it runs `inside` the cluster or not."""
        return not inside if self.own == "auto" else self.own

    def proxied(self, *, inside: bool) -> bool:
        """Tell whether agents are asked through the API server, by a khealth that runs `inside` the cluster or not."""
        return not inside if self.channel == "auto" else self.channel == "proxy"

    def can_run(self, image: str) -> bool:
        """Tell whether there can be agents, given the image of canaries: the chart's need none that khealth knows."""
        return self.own is False or bool(image or self.pod.image)
