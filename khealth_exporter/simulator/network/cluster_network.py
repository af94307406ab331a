"""All parts of the network of one cluster."""

from khealth_exporter.simulator.network.addresses import Addresses
from khealth_exporter.simulator.network.fabric import Fabric
from khealth_exporter.simulator.network.name_servers import NameServers
from khealth_exporter.simulator.network.proxies import KubeProxies
from khealth_exporter.simulator.world import World


class ClusterNetwork:
    """Addresses, the ways between them, names, and the proxies of Services."""

    def __init__(self, world: World, addresses: Addresses) -> None:
        """Build the network of this cluster."""
        self.addresses = addresses
        self.fabric = Fabric(world)
        self.name_servers = NameServers(world)
        self._proxies = KubeProxies(world, self.fabric)

    def start(self) -> None:
        """Start the workers, and install the cluster's DNS."""
        self.fabric.start()
        self._proxies.start()
        self.name_servers.populate()

    async def close(self) -> None:
        """Stop listening."""
        await self._proxies.close()
        await self.name_servers.close()
