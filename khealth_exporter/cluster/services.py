"""Addresses of Services and nodes, and which pods a NetworkPolicy applies to."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from khealth_exporter.cluster.scheduling import NodeSelectorRequirement


class NodeAddress(Struct, frozen=True):
    """One address of a node, and what it is: InternalIP, ExternalIP, Hostname and so on."""

    type: str = ""
    address: str = ""


class ServicePort(Struct, frozen=True, rename="camel"):
    """One port of a Service; `node_port` is the one of every node, 0 if there is none."""

    port: int = 0
    node_port: int = 0


class ServiceSpec(Struct, frozen=True, rename="camel"):
    """The addresses of a Service."""

    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    ports: tuple[ServicePort, ...] = ()


class Ingress(Struct, frozen=True):
    """Where a load balancer listens: an address or a name."""

    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Struct, frozen=True):
    """Where the load balancer of a Service listens."""

    ingress: tuple[Ingress, ...] = ()


class ServiceStatus(Struct, frozen=True, rename="camel"):
    """What was assigned to a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class LabelSelector(Struct, frozen=True, rename="camel"):
    """Selects objects by their labels; an empty one selects all of them."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Tell whether it selects an object with these labels."""
        same = self.match_labels.items() <= labels.items()
        return same and all(requirement.holds(labels) for requirement in self.match_expressions)


class NetworkPolicySpec(Struct, frozen=True, rename="camel"):
    """Whose traffic a NetworkPolicy is about, and in which direction; without types, it is about Ingress."""

    pod_selector: LabelSelector = LabelSelector()
    policy_types: tuple[str, ...] = ()
    egress: tuple[dict[str, Any], ...] = ()
    """What the pods may reach; a rule without peers and ports lets them reach everything."""
