"""The Service `kubernetes` and its EndpointSlice, in which the API server publishes its addresses."""

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Final

from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.resources import ENDPOINT_SLICES, SERVICES
from khealth_exporter.simulator.world import Component, World

NAMESPACE: Final = "default"
NAME: Final = "kubernetes"
_LABELS: Final = {"component": "apiserver", "provider": "kubernetes"}
_PORT: Final = 443
_PERIOD: Final = 10.0
"""Seconds between two repairs of the EndpointSlice, as in the real API server."""


class ApiEndpoints(Component):
    """Publishes the API server's addresses, and repairs the EndpointSlice if someone changes it."""

    def __init__(self, world: World, published: Document) -> None:
        """Publish this EndpointSlice."""
        super().__init__(world)
        self._published = published

    def start(self) -> None:
        """Create the Service, publish the EndpointSlice, and repair it periodically."""
        target = self._published["ports"][0]["port"]
        ports = [{"name": "https", "port": _PORT, "protocol": "TCP", "targetPort": target}]
        address = str(self.world.registry.services[1])
        service = {"metadata": {"name": NAME, "labels": _LABELS}, "spec": {"clusterIP": address, "ports": ports}}
        self.world.registry.create(SERVICES, NAMESPACE, service)
        self.publish()
        self.world.tasks.create_task(self._keep())

    def publish(self) -> None:
        """Create the EndpointSlice, or repair it."""
        labels = {"kubernetes.io/service-name": NAME}
        if self.world.store.get(ENDPOINT_SLICES, (NAMESPACE, NAME)) is None:
            created = {"metadata": {"name": NAME, "labels": labels}, **self._published}
            self.world.registry.create(ENDPOINT_SLICES, NAMESPACE, created)
        else:
            repair = {"metadata": {"labels": labels}, **self._published}
            self.world.registry.patch(ENDPOINT_SLICES, (NAMESPACE, NAME), repair)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self.world.scaled(_PERIOD))
            await self.turn()
            self.publish()


def content(host: str, port: int, further: Sequence[str]) -> Document:
    """Return the EndpointSlice of a server at that address. Raises `ValueError` if IPv4 and IPv6 are mixed."""
    addresses = [_reachable(host), *map(ipaddress.ip_address, further)]
    if len({address.version for address in addresses}) > 1:
        raise ValueError(f"an EndpointSlice cannot mix IPv4 and IPv6: {', '.join(map(str, addresses))}")
    return {
        "addressType": f"IPv{addresses[0].version}",
        "endpoints": [
            {"addresses": [str(address)], "conditions": {"ready": True}}
            for address in sorted(addresses, key=lambda address: address.packed)
        ],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def _reachable(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that clients can use; a server on all interfaces is reached by the loopback address."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return address
    return ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004  # IPv4
