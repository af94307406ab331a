"""What the API server says of the cluster's DNS: its Service, the pods behind it, and the cluster's own name."""

from dataclasses import dataclass

from khealth_exporter.cluster.client.lookup import permitted
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE, SERVICE
from khealth_exporter.cluster.objects import Service
from khealth_exporter.vocabulary.permission import Permission

PERMISSIONS = (
    Permission("get", "services", scope="cluster", optional=True, why="know which addresses the DNS should answer"),
    Permission(
        "list", "endpointslices", "discovery.k8s.io", "cluster", optional=True, why="find the pods of the cluster's DNS"
    ),
)
_PORT = 53
_OWN, _OWN_NAMESPACE = "kubernetes", "default"


@dataclass(frozen=True, slots=True)
class Server:
    """A DNS pod that takes traffic."""

    name: str
    address: str
    node: str

    def __str__(self) -> str:
        return f"{self.name} ({self.address}) on {self.node}" if self.node else self.name


@dataclass(frozen=True, slots=True)
class Servers:
    """The cluster's DNS. What khealth may not read is None.

    `own` are the addresses of the Service `kubernetes`, `service` those of the DNS Service. `ready` are the DNS pods
    that take traffic, `unready` the others that do not end. `port` is the one at which the pods listen.
    """

    own: tuple[str, ...] | None = None
    service: tuple[str, ...] | None = None
    ready: tuple[Server, ...] | None = None
    unready: tuple[Server, ...] = ()
    port: int = _PORT

    @property
    def none(self) -> bool:
        """Whether the DNS Service is known to have no endpoint."""
        return self.ready == ()


async def find(cluster: Cluster, service: str, deadline: float) -> Servers:
    """Ask the API server for the DNS Service `NAMESPACE/NAME`; raise Refused, but not for want of a permission."""
    namespace, _, name = service.partition("/")
    own = await permitted(cluster.get(SERVICE, _OWN, deadline, namespace=_OWN_NAMESPACE))
    found = await permitted(cluster.get(SERVICE, name, deadline, namespace=namespace))
    labels = f"kubernetes.io/service-name={name}"
    slices = await permitted(cluster.list(ENDPOINT_SLICE, deadline, labels=labels, namespace=namespace))
    if not found or slices is None:
        return Servers(_addresses(own), _addresses(found))
    servers = [
        (Server(one.target_ref.name or address, address, one.node_name), one.conditions.ready)
        for piece in slices
        for one in piece.endpoints
        for address in one.addresses
        if one.conditions.ready or not one.conditions.terminating
    ]
    servers.sort(key=lambda found: found[0].name)
    ready, unready = (tuple(server for server, takes in servers if takes is wanted) for wanted in (True, False))
    ports = [port.port for piece in slices for port in piece.ports if port.name in {"dns", ""}]
    return Servers(_addresses(own), _addresses(found), ready, unready, next(iter(ports), _PORT))


def _addresses(service: Service | None) -> tuple[str, ...] | None:
    return tuple(one for one in service.spec.cluster_ips if one != "None") if service else None
