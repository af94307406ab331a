"""Nodes: the heartbeats of kubelets, and the node lifecycle controller."""

import asyncio
from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator.controllers import node_object
from khealth_exporter.simulator.controllers.kubelet import has_kubelet
from khealth_exporter.simulator.controllers.scheduler import tolerates
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    condition,
    has_condition,
    is_deleting,
    micro_timestamp,
    name_of,
    node_of,
    spec_of,
    status_of,
    uid_of,
    with_conditions,
)
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import LEASES, NODES, PODS
from khealth_exporter.simulator.store import Commit, key_of
from khealth_exporter.simulator.world import Component, World

_LEASES: Final = "kube-node-lease"
_LOOK: Final = 5.0
_OURS: Final = (node_object.NOT_READY_TAINT, "node.kubernetes.io/unreachable")
_SOURCE: Final = Source("node-controller")


class Heartbeats(Component):
    """Renews the lease of every node with a kubelet, and reports the node's readiness when it changes."""

    holding = ("kubelet-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to nodes."""
        super().__init__(world)
        world.store.listen(self._listen)

    def _listen(self, commit: Commit) -> None:
        if commit.resource is NODES and commit.kind == "ADDED" and has_kubelet(commit.document):
            self.spawn(self._beat_on, commit.document)

    async def _beat_on(self, registered: Document) -> None:
        node, uid = name_of(registered), uid_of(registered)
        if not has_condition(registered, "Ready"):
            await self.pause(self.world.settings.delays.join)
        while uid_of(self.world.registry.get(NODES, "", node)) == uid:
            await self.turn(node)
            self.beat(node)
            await asyncio.sleep(self.world.scaled(self.world.settings.heartbeat))

    def beat(self, node: str) -> None:
        """Renew the node's lease and report its readiness now."""
        found = self.world.registry.get(NODES, "", node)
        renewed = {
            "holderIdentity": node,
            "leaseDurationSeconds": 40,
            "renewTime": micro_timestamp(self.world.registry.now()),
        }
        if self.world.store.get(LEASES, (_LEASES, node)) is None:
            self.world.registry.create(LEASES, _LEASES, {"metadata": {"name": node}, "spec": renewed})
        else:
            self.world.registry.patch(LEASES, (_LEASES, node), {"spec": renewed})
        ready = not self.world.faults.active("nodes-not-ready")
        present = (condition(found, "Ready") or {}).get("status")
        if present != ("True" if ready else "False"):
            now = self.world.now()
            since = {known["type"]: known for known in status_of(found).get("conditions") or []}
            status = {"conditions": node_object.conditions(now, ready=ready, since=since)}
            self.world.registry.patch(NODES, ("", node), {"status": status}, subresource="status")


class NodeLifecycle(Component):
    """Detects silent nodes, taints nodes that are not ready, and evicts pods that do not tolerate the taints."""

    holding = ("controller-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to nodes."""
        super().__init__(world)
        self._heard: dict[str, tuple[str, int]] = {}
        self._looks = 0
        self._period = min(_LOOK, world.settings.node_grace / 4)
        self._tainted: dict[str, float] = {}
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the controller."""
        self.world.tasks.create_task(self._look_on())

    def _listen(self, commit: Commit) -> None:
        if commit.resource is not NODES:
            return
        name = name_of(commit.document)
        if commit.kind == "DELETED":
            self._heard.pop(name, None)
            self._tainted.pop(name, None)
        elif commit.before is None or _ready(commit.before) != _ready(commit.document):
            self.spawn(self._follow, name)

    async def _follow(self, node: str) -> None:
        await self.pause(self.world.settings.delays.collect)
        await self.turn()
        self.taint(node)
        found = self.world.registry.get(NODES, "", node)
        if _ready(found) != "True":
            self._doubt_pods(node)

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        period = self.world.scaled(self._period)
        while True:
            await asyncio.sleep(period)
            before = loop.time()
            await self.turn()
            if loop.time() - before > period:
                self._heard.clear()
            self._looks += 1
            for node in self.world.store.all(NODES):
                self._look(node, loop.time())

    def _look(self, node: Document, now: float) -> None:
        name = name_of(node)
        lease = self.world.store.get(LEASES, (_LEASES, name))
        renewed = str(spec_of(lease or {}).get("renewTime"))
        known = self._heard.get(name)
        if known is None or known[0] != renewed:
            self._heard[name] = known = (renewed, self._looks)
        # In looks: after a pause of this machine, the first one comes before the lease can be renewed.
        silence = (self._looks - known[1]) * self._period
        if silence >= self.world.settings.node_grace and _ready(node) != "Unknown":
            since = {found["type"]: found for found in status_of(node).get("conditions") or []}
            status = {"conditions": node_object.unknown(self.world.now(), since)}
            self.world.registry.patch(NODES, ("", name), {"status": status}, subresource="status")
            message = f"Node {name} status is now: NodeNotReady"
            self.world.recorder.record(_SOURCE, NODES, node, Occurrence("Normal", "NodeNotReady", message))
        self._drive_away(node, now)

    def taint(self, node: str) -> None:
        """Set the node's taints according to its condition Ready."""
        found = self.world.registry.get(NODES, "", node)
        keys = {"True": None, "False": _OURS[0]}
        key = keys.get(_ready(found), _OURS[1])
        present = spec_of(found).get("taints") or []
        taints = [taint for taint in present if taint["key"] not in _OURS or taint["key"] == key]
        if key is None:
            self._tainted.pop(node, None)
        elif not any(taint["key"] == key for taint in taints):
            self._tainted[node] = asyncio.get_running_loop().time()
            taints.append({"key": key, "effect": "NoSchedule", "timeAdded": self.world.now()})
            taints.append({"key": key, "effect": "NoExecute", "timeAdded": self.world.now()})
        self.world.registry.patch(NODES, ("", node), {"spec": {"taints": taints or None}})

    def _pods_on(self, node: str) -> Iterator[Document]:
        return (pod for pod in self.world.store.all(PODS) if node_of(pod) == node)

    def _doubt_pods(self, node: str) -> None:
        for pod in self._pods_on(node):
            if condition(pod, "Ready") is not None:
                doubt = {"type": "Ready", "status": "False", "lastProbeTime": None}
                status = {"conditions": with_conditions(pod, [doubt], self.world.now())}
                self.world.registry.patch(PODS, key_of(pod), {"status": status}, subresource="status")
                message = "Node is not ready"
                self.world.recorder.record(_SOURCE, PODS, pod, Occurrence("Warning", "NodeNotReady", message))

    def _drive_away(self, node: Document, now: float) -> None:
        taints = [taint for taint in spec_of(node).get("taints") or [] if taint["effect"] == "NoExecute"]
        since = self._tainted.get(name_of(node))
        if not taints or since is None:
            return
        for pod in self._pods_on(name_of(node)):
            patience = _patience(pod, taints)
            if patience is not None and now - since >= self.world.scaled(patience) and not is_deleting(pod):
                self._evict(pod)

    def _evict(self, pod: Document) -> None:
        message = "Taint manager: deleting due to NoExecute taint"
        try:
            self.world.deletion.disrupt(pod, "DeletionByTaintManager", message)
            self.world.deletion.delete(PODS, key_of(pod), DeleteOptions(uid=uid_of(pod)))
        except ApiError:
            return


def _ready(node: Document) -> str:
    return str((condition(node, "Ready") or {}).get("status", "Unknown"))


def _patience(pod: Document, taints: list[Document]) -> float | None:
    """Return how many seconds the pod tolerates these taints; None if it has no limit."""
    least: float | None = None
    for taint in taints:
        found = [entry for entry in spec_of(pod).get("tolerations") or [] if tolerates(entry, taint)]
        if not found:
            return 0.0
        limits = [entry["tolerationSeconds"] for entry in found if entry.get("tolerationSeconds") is not None]
        if len(limits) == len(found):
            least = min(limits) if least is None else min(least, *limits)
    return least
