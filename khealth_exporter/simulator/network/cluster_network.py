"""All parts of the network of one cluster."""

import asyncio
from contextlib import suppress
from typing import Final

from khealth_exporter.simulator.network import name_servers
from khealth_exporter.simulator.network.addresses import Addresses
from khealth_exporter.simulator.network.fabric import Fabric
from khealth_exporter.simulator.network.name_servers import NameServers
from khealth_exporter.simulator.network.proxies import KubeProxies
from khealth_exporter.simulator.world import World

_PATIENCE: Final = 60.0
"""Seconds for which a cluster that starts waits for its DNS, whatever its speed: the machine has but one."""


class ClusterNetwork:
    """Addresses, the ways between them, names, and the proxies of Services."""

    def __init__(self, world: World, addresses: Addresses) -> None:
        """Build the network of this cluster."""
        self._world, self.addresses = world, addresses
        self.fabric = Fabric(world)
        self.name_servers = NameServers(world)
        self._proxies = KubeProxies(world, self.fabric)

    async def start(self) -> None:
        """Start the workers and install the cluster's DNS; return when all of it answers, or if it is late."""
        self.fabric.start()
        self._proxies.start()
        address = self.name_servers.populate()
        if not self._world.settings.nodes:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._proxies.served(address, name_servers.REPLICAS)
                await self.name_servers.opened()

    async def close(self) -> None:
        """Stop listening."""
        await self._proxies.close()
        await self.name_servers.close()
