"""The network between pods: what is lost on the way from one to another."""

import mmap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Final

from khealth_exporter.simulator.documents import (
    Document,
    labels_of,
    name_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.network.pod_side import LOSSY, LOST, NARROW, SIZE, UDP_LOST
from khealth_exporter.simulator.network.policies import Rules
from khealth_exporter.simulator.resources import NAMESPACES, NETWORK_POLICIES, PODS
from khealth_exporter.simulator.store import Commit
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

CUT: Final = "network-cut"
_WAYS: Final = {CUT: LOST, "network-udp": UDP_LOST, "network-loss": LOSSY, "mtu": NARROW}
_API_CUT: Final = "network-api-cut"
_NO_POLICIES: Final = "policy-not-enforced"


@dataclass(frozen=True, slots=True)
class _Side:
    """The side of the network that one pod's process sees."""

    pod: Document
    ways: mmap.mmap


class Fabric(Component):
    """Connects the pods, as a network plugin does: with the policies, and with the faults of the network."""

    def __init__(self, world: World) -> None:
        """Listen to pods and policies, and react to faults."""
        super().__init__(world)
        self._sides: dict[str, _Side] = {}
        self.pods: dict[str, Document] = {}
        """The pods by their addresses."""
        self._services: Mapping[str, Mapping[str, Collection[str]]] = {}
        self._rules = Rules()
        self._prefix = str(world.registry.services.network_address).rsplit(".", 2)[0] + "."
        self._queue: WorkQueue[str] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)
        world.faults.react(self._react)

    def start(self) -> None:
        """Start the worker that enforces policies."""
        self.world.tasks.create_task(self._queue.work(self._enforce))

    def attach(self, pod: Document, folder: Path) -> Path:
        """Connect the process of a pod, and return the file that tells it what is lost."""
        path = folder / "network"
        path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._sides[uid_of(pod)] = _Side(pod, mmap.mmap(file.fileno(), SIZE))
        self._update(self._sides[uid_of(pod)])
        return path

    def detach(self, pod: Document) -> None:
        """Forget the process of a pod."""
        self._sides.pop(uid_of(pod), None)

    def node_at(self, address: str) -> str:
        """Return the node of the pod with that address, or an empty string."""
        return node_of(self.pods.get(address, {}))

    def way(self, source: str, target: str) -> int:
        """Return what happens on the way from one address to another, which may be a host's."""
        near, far = self.pods.get(source), self.pods.get(target)
        on_host = [pod is not None and _on_host(pod) for pod in (near, far)]
        if all(on_host) or (on_host[1] and near is None):
            return 0  # The faults are those of the network of pods.
        nodes = {node_of(pod) for pod in (near, far) if pod is not None}
        way = 0
        for fault, effect in _WAYS.items():
            here = fault == CUT and near is not None and far is not None and len(nodes) == 1
            if nodes and not here and any(self.world.faults.active(fault, node) for node in nodes):
                way |= effect
        if near is not None and far is None and self.world.faults.active(_API_CUT, node_of(near)):
            way |= LOST
        # The real rule has exceptions for the traffic of the pod's own node; here, hosts are not told apart.
        if near is not None and far is not None and not any(on_host) and not self._rules.allow(near, far):
            way |= LOST
        return way

    def serve(self, services: Mapping[str, Mapping[str, Collection[str]]]) -> None:
        """Take the addresses of the endpoints of each Service's address, by the node from which it is asked."""
        self._services = services
        self._update_all()

    def _listen(self, commit: Commit) -> None:
        if commit.resource is PODS:
            self._follow(commit)
        elif commit.resource in {NETWORK_POLICIES, NAMESPACES}:
            self._queue.add("policies")

    def _follow(self, commit: Commit) -> None:
        pod = commit.document
        address = str(status_of(pod).get("podIP") or "")
        over = commit.kind == "DELETED" or phase_of(pod) in {"Succeeded", "Failed"}
        known = self.pods.get(address)
        if not address.startswith(self._prefix):  # It has none yet, or that of a fake node.
            return
        if over:
            if known is not None and uid_of(known) == uid_of(pod):
                del self.pods[address]
        elif known is None or labels_of(known) != labels_of(pod) or uid_of(known) != uid_of(pod):
            self.pods[address] = pod
        else:
            return
        self._update_all()

    def _react(self, fault: str, _node: str, _began: bool) -> None:
        if fault in {*_WAYS, _API_CUT}:
            self._update_all()
        elif fault == _NO_POLICIES:
            self._queue.add("policies")

    async def _enforce(self, _key: str) -> None:
        await self.pause(self.world.settings.delays.enforce)
        await self.turn()
        store = self.world.store
        off = self.world.faults.active(_NO_POLICIES)
        policies = () if off else tuple(store.all(NETWORK_POLICIES))
        self._rules = Rules(policies, {name_of(found): labels_of(found) for found in store.all(NAMESPACES)})
        self._update_all()

    def _update_all(self) -> None:
        for side in self._sides.values():
            self._update(side)

    def _update(self, side: _Side) -> None:
        source = str(status_of(side.pod).get("podIP") or "")
        ways = bytearray(SIZE)
        ways[0] = self.way(source, "")
        for address in self.pods:
            ways[_index(address)] = self.way(source, address)
        for address, endpoints in self._services.get(node_of(side.pod), {}).items():
            found = [self.way(source, endpoint) for endpoint in endpoints]
            ways[_index(address)] = reduce(and_, found) if found else LOST
        side.ways[:] = bytes(ways)


def _on_host(pod: Document) -> bool:
    return bool(spec_of(pod).get("hostNetwork"))


def _index(address: str) -> int:
    third, fourth = address.split(".")[2:]
    return int(third) * 256 + int(fourth)
