"""What every agent sends to: the Service of the API server, and each of its addresses."""

from khealth_exporter.canaries.agents.round_trips import POD_API, POD_SERVICE, Target
from khealth_exporter.canaries.servers import addresses_of
from khealth_exporter.cluster.client.lookup import permitted
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import SERVICE
from khealth_exporter.vocabulary.permission import Permission

PERMISSIONS = (
    Permission("get", "services", scope="cluster", optional=True, why="know the address of the Service `kubernetes`"),
    Permission("list", "endpointslices", "discovery.k8s.io", "cluster", optional=True, why="find each API server"),
)
_NAME, _NAMESPACE, _PORT = "kubernetes", "default", 443


async def api_targets(cluster: Cluster, count: int, deadline: float) -> list[Target]:
    """Return the targets that khealth may know of, for so many round trips; raise Refused."""
    addresses = await permitted(addresses_of(cluster, deadline)) or ()
    service = await permitted(cluster.get(SERVICE, _NAME, deadline, namespace=_NAMESPACE))
    return [
        *(Target(f"API server {address}", POD_API, "tcp", address, port, count=count) for address, port in addresses),
        *(
            Target(f"Service {_NAME}", POD_SERVICE, "tcp", address, _PORT, count=count)
            for address in (service.spec.cluster_ips[:1] if service else ())
        ),
    ]
