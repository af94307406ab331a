"""The scheduler: binds pods to nodes, or marks them as unschedulable."""

import asyncio
from collections import Counter
from typing import Final

from khealth_exporter.simulator import documents, node_affinity, quantities, storage
from khealth_exporter.simulator.controllers.occupancy import RESOURCES, Occupancy, kin_of
from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    is_deleting,
    labels_of,
    name_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
)
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import CLAIMS, NODES, PODS
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_SOURCE: Final = Source("default-scheduler")
_RETRY: Final = 10.0
_AFFINITY: Final = "node(s) didn't match Pod's node affinity/selector"
_NOT_NAMED: Final = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
_TAINT: Final = "node(s) had untolerated taint(s)"
_NO_PORT: Final = "node(s) didn't have free ports for the requested pod ports"
_CORDONED: Final = "node(s) were unschedulable"
_REPELLING: Final = {"NoSchedule", "NoExecute"}


class Scheduler(Component):
    """Schedules one pod after another."""

    holding = ("scheduler-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to pods and nodes."""
        super().__init__(world)
        self._queue: WorkQueue[Key] = WorkQueue(world.settings.speed)
        self._unschedulable: set[Key] = set()
        self._reserved: dict[Key, str] = {}
        self._occupancy = Occupancy()
        world.store.listen(self._occupancy.listen)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start scheduling."""
        self.world.tasks.create_task(self._queue.work(self._schedule))

    def _listen(self, commit: Commit) -> None:
        if commit.resource is PODS:
            if commit.kind == "ADDED" and not node_of(commit.document) and _is_mine(commit.document):
                self._queue.add(commit.key)
            elif commit.kind == "DELETED" or _over(commit.document):
                self._unschedulable.discard(commit.key)
                self._reserved.pop(commit.key, None)
                self._retry_all()
        elif commit.resource is NODES and _matters(commit):
            self._retry_all()
        elif commit.resource is CLAIMS:
            self._retry_all()
            for key in self._reserved:
                self._queue.add(key)

    def _retry_all(self) -> None:
        waiting, self._unschedulable = self._unschedulable, set()
        for key in waiting:
            self._queue.add(key)

    async def _schedule(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.schedule)
        await self.turn()
        pod = self.world.store.get(PODS, key)
        if pod is None or node_of(pod) or is_deleting(pod):
            return
        node = self._reserved_node(pod) or self._choose(pod)
        if not node:
            self._unschedulable.add(key)
            asyncio.get_running_loop().call_later(self.world.scaled(_RETRY), self._retry, key)
            return
        if unbound := storage.unbound_claims(self.world.store, pod):
            self._reserve(key, node, unbound)
            return
        self.world.deletion.bind(key, node)
        message = f"Successfully assigned {key[0]}/{key[1]} to {node}"
        self.world.recorder.record(_SOURCE, PODS, pod, Occurrence("Normal", "Scheduled", message))

    def _choose(self, pod: Document) -> str:
        """Return the node that the pod should be on; if there is none, report why and return an empty string."""
        unusable = storage.unusable(self.world.store, pod)
        fitting, refused = ([], Counter[str]()) if unusable else self._sift(pod)
        if not fitting:
            self._give_up(pod, refused, unusable)
            return ""
        return self._best(pod, fitting)

    def _reserved_node(self, pod: Document) -> str:
        """Return the node for which the pod's volumes were asked for, if it and the claims are still there."""
        node = self._reserved.pop(key_of(pod), "")
        gone = self.world.store.get(NODES, ("", node)) is None or storage.unusable(self.world.store, pod)
        return "" if gone else node

    def _reserve(self, key: Key, node: str, claims: list[Document]) -> None:
        """Have volumes provisioned for the node; the pod is bound to it when they are there."""
        self._reserved[key] = node
        for claim in claims:
            annotations = {storage.SELECTED_NODE: node}
            self.world.registry.patch(CLAIMS, key_of(claim), {"metadata": {"annotations": annotations}})

    def _retry(self, key: Key) -> None:
        if key in self._unschedulable:
            self._unschedulable.discard(key)
            self._queue.add(key)

    def _sift(self, pod: Document) -> tuple[list[Document], Counter[str]]:
        """Return the nodes that the pod fits on, and how many nodes each reason excludes."""
        fitting, refused = [], Counter[str]()
        named = node_affinity.candidates(pod)
        for node in self.world.store.all(NODES):
            outside = named is not None and name_of(node) not in named
            unfit = [_NOT_NAMED] if outside else _refusals(pod, node)
            reasons = unfit or self._port_taken(pod, name_of(node)) or self._shortages(pod, node)
            refused.update(reasons)
            if not reasons:
                fitting.append(node)
        return fitting, refused

    def _port_taken(self, pod: Document, node: str) -> list[str]:
        """Return that a port of the node is taken, if one is that the pod wants."""
        wanted = _host_ports(pod)
        there = (found for found in self.world.store.all(PODS) if wanted and node_of(found) == node)
        return [_NO_PORT] if any(wanted & _host_ports(found) for found in there if not _over(found)) else []

    def _shortages(self, pod: Document, node: Document) -> list[str]:
        name, room = name_of(node), status_of(node).get("allocatable") or {}
        reasons = []
        if self._occupancy.pods[name] + 1 > quantities.parse(room.get("pods", self.world.settings.pods_per_node)):
            reasons.append("Too many pods")
        for resource in RESOURCES:
            wanted = quantities.requested(pod, resource)
            if wanted and self._occupancy.taken(name, resource) + wanted > quantities.parse(room.get(resource, 0)):
                reasons.append(f"Insufficient {resource}")
        return reasons

    def _best(self, pod: Document, nodes: list[Document]) -> str:
        """Return the node with the fewest pods with the same labels, then with the fewest pods, then a random one."""
        kin, occupancy = kin_of(pod), self._occupancy
        names = [name_of(node) for node in nodes]
        return min(
            names, key=lambda name: (occupancy.alike(name, kin), occupancy.pods[name], self.world.random.random())
        )

    def _give_up(self, pod: Document, refused: Counter[str], unusable: str) -> None:
        message = _complaint(sum(1 for _ in self.world.store.all(NODES)), refused, unusable)
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        conditions = documents.with_conditions(pod, [{**condition, "lastProbeTime": None}], self.world.now())
        patch = {"status": {"conditions": conditions}}
        self.world.registry.patch(PODS, key_of(pod), patch, subresource="status")
        self.world.recorder.record(_SOURCE, PODS, pod, Occurrence("Warning", "FailedScheduling", message))


def _host_ports(pod: Document) -> set[tuple[int, str]]:
    ports = [port for container in spec_of(pod)["containers"] for port in container.get("ports") or []]
    return {(port["hostPort"], port["protocol"]) for port in ports if "hostPort" in port}


def _over(pod: Document) -> bool:
    return phase_of(pod) in {"Succeeded", "Failed"}


def _is_mine(pod: Document) -> bool:
    return bool(spec_of(pod).get("schedulerName") == _SOURCE.component)


def _matters(commit: Commit) -> bool:
    before, after = commit.before, commit.document
    if before is None:
        return True
    if labels_of(before) != labels_of(after):
        return True
    return spec_of(before) != spec_of(after) or has_condition(before, "Ready") != has_condition(after, "Ready")


def _refusals(pod: Document, node: Document) -> list[str]:
    """Return why the node is excluded, in the order of the scheduler's filters."""
    spec = spec_of(pod)
    if spec_of(node).get("unschedulable") and not _tolerates(
        spec, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return [_CORDONED]
    taints = spec_of(node).get("taints") or []
    if any(taint["effect"] in _REPELLING and not _tolerates(spec, taint) for taint in taints):
        return [_TAINT]
    return [] if node_affinity.matches(pod, node) else [_AFFINITY]


def _tolerates(spec: Document, taint: Document) -> bool:
    return any(tolerates(toleration, taint) for toleration in spec.get("tolerations") or [])


def tolerates(toleration: Document, taint: Document) -> bool:
    """Tell whether the toleration covers the taint."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def _complaint(nodes: int, refused: Counter[str], unusable: str) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    reasons = unusable or ", ".join(sorted(f"{count} {reason}" for reason, count in refused.items()))
    helpless = f"{nodes} Preemption is not helpful for scheduling"
    return f"0/{nodes} nodes are available: {reasons}. preemption: 0/{nodes} nodes are available: {helpless}."
