"""kube-proxy: each node knows the endpoints of the Services, and traffic to a Service goes to one of them."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

from khealth_exporter.simulator.broadcast import Broadcast
from khealth_exporter.simulator.controllers.slices import SERVICE_NAME
from khealth_exporter.simulator.documents import Document, labels_of, name_of, spec_of
from khealth_exporter.simulator.network import forwarders
from khealth_exporter.simulator.network.fabric import Fabric
from khealth_exporter.simulator.network.forwarders import Endpoint, Forwarder
from khealth_exporter.simulator.network.pod_side import LOST, real_port
from khealth_exporter.simulator.resources import ENDPOINT_SLICES, NODES, SERVICES
from khealth_exporter.simulator.services import EXTERNAL_NAME, HEADLESS
from khealth_exporter.simulator.store import Commit, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

Front = tuple[str, str, int]
"""A port of a Service: the protocol, the address and the port."""
Table = Mapping[Front, tuple[Endpoint, ...]]

_WORKERS: Final = 5


class KubeProxies(Component):
    """The proxies of all nodes; hosts use that of the first node."""

    holding = ("kube-proxy-stopped",)

    def __init__(self, world: World, fabric: Fabric) -> None:
        """Listen to Services, EndpointSlices and nodes."""
        super().__init__(world)
        self._fabric = fabric
        self._tables: dict[str, Table] = {}
        self._current: tuple[int, Table] = (0, {})
        self._changed = 1
        self._listening: dict[Front, Forwarder] = {}
        self._changing = asyncio.Lock()
        self._closed = False
        self._programmed = Broadcast()
        self._queue: WorkQueue[str] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the workers."""
        for _ in range(_WORKERS):
            self.world.tasks.create_task(self._queue.work(self._program))

    async def served(self, address: str, endpoints: int) -> None:
        """Wait until every node sends traffic for a Service's address to so many endpoints."""
        while not all(_most_endpoints(table, address) >= endpoints for table in self._tables.values()):
            await self._programmed.wait()

    async def close(self) -> None:
        """Stop forwarding."""
        async with self._changing:
            self._closed = True
            for forwarder in self._listening.values():
                forwarder.close()
            self._listening.clear()

    def _listen(self, commit: Commit) -> None:
        if commit.resource is NODES and commit.kind == "ADDED":
            self._tables[name_of(commit.document)] = {}
            self._queue.add(name_of(commit.document))
        elif commit.resource is NODES and commit.kind == "DELETED":
            self._tables.pop(name_of(commit.document), None)
        elif commit.resource in {SERVICES, ENDPOINT_SLICES}:
            self._changed += 1
            for node in self.world.store.all(NODES):
                self._queue.add(name_of(node))

    async def _program(self, node: str) -> None:
        await self.pause(self.world.settings.delays.program)
        await self.turn(node)
        if self.world.store.get(NODES, ("", node)) is None:
            return
        if self._current[0] != self._changed:
            self._current = (self._changed, _table(self.world))
        if self._tables.get(node) is self._current[1]:
            return
        self._tables[node] = self._current[1]
        async with self._changing:
            if not self._closed:
                await self._listen_as_programmed()
        self._programmed.ring()

    async def _listen_as_programmed(self) -> None:
        served = {front for table in self._tables.values() for front, endpoints in table.items() if endpoints}
        for front in self._listening.keys() - served:
            self._listening.pop(front).close()
        for front in served - self._listening.keys():
            await self._open(front)
        for front, forwarder in self._listening.items():
            forwarder.keep({endpoint[0] for table in self._tables.values() for endpoint in table.get(front, ())})
        addresses = {front[1] for front in served}
        self._fabric.serve({node: _by_address(table, addresses) for node, table in self._tables.items()})

    async def _open(self, front: Front) -> None:
        protocol, address, port = front
        # Where another program has the port, or a machine has no such address, the Service does not answer.
        with suppress(OSError):
            self._listening[front] = await forwarders.listen(
                protocol, address, real_port(port), lambda client: self._choose(front, client)
            )

    def _choose(self, front: Front, client: str) -> Endpoint | None:
        node = self._fabric.node_at(client)
        table = self._tables[node] if node in self._tables else next(iter(self._tables.values()), {})
        endpoints = table.get(front)
        if not endpoints:
            return None
        chosen = self.world.random.choice(endpoints)
        if self._fabric.way(client, chosen[0]) & LOST:
            return None
        return (chosen[0], real_port(chosen[1])) if chosen[0] in self._fabric.pods else chosen


def _most_endpoints(table: Table, address: str) -> int:
    return max((len(endpoints) for front, endpoints in table.items() if front[1] == address), default=0)


def _by_address(table: Table, addresses: Collection[str]) -> dict[str, set[str]]:
    """Return the addresses of the endpoints of each address of a Service."""
    found: dict[str, set[str]] = {address: set() for address in addresses}
    for (_, address, _), endpoints in table.items():
        if address in found:
            found[address].update(endpoint[0] for endpoint in endpoints)
    return found


def _table(world: World) -> Table:
    """Return the ready endpoints of each port of each Service."""
    slices: dict[tuple[str, str], list[Document]] = {}
    for found in world.store.all(ENDPOINT_SLICES):
        slices.setdefault((key_of(found)[0], labels_of(found).get(SERVICE_NAME, "")), []).append(found)
    table: dict[Front, tuple[Endpoint, ...]] = {}
    for service in world.store.all(SERVICES):
        spec = spec_of(service)
        if spec["type"] == EXTERNAL_NAME or spec.get("clusterIP") in {None, HEADLESS}:
            continue
        for port in spec.get("ports") or []:
            front = (port["protocol"], spec["clusterIP"], port["port"])
            table[front] = tuple(_endpoints(slices.get(key_of(service), []), port.get("name", "")))
    return table


def _endpoints(slices: list[Document], name: str) -> list[Endpoint]:
    """Return the endpoints of a port by its name: those that are ready, or else those that serve while they end."""
    ready, serving = list[Endpoint](), list[Endpoint]()
    for found in slices:
        numbers = [port["port"] for port in found.get("ports") or [] if port["name"] == name]
        for endpoint in found.get("endpoints") or [] if numbers else []:
            conditions = endpoint.get("conditions") or {}
            place = (endpoint["addresses"][0], numbers[0])
            if conditions.get("ready", True):
                ready.append(place)
            elif conditions.get("serving") and conditions.get("terminating"):
                serving.append(place)
    return ready or serving
