"""The scheduler: binds pods to nodes, or marks them as unschedulable."""

import asyncio
from collections import Counter
from typing import Final

from khealth_exporter.simulator import documents, node_affinity, quantities
from khealth_exporter.simulator.controllers.occupancy import RESOURCES, Occupancy, kin_of
from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    is_deleting,
    labels_of,
    name_of,
    node_of,
    spec_of,
    status_of,
)
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import NODES, PODS
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_SOURCE: Final = Source("default-scheduler")
_RETRY: Final = 10.0
_AFFINITY: Final = "node(s) didn't match Pod's node affinity/selector"
_NOT_NAMED: Final = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
_TAINT: Final = "node(s) had untolerated taint(s)"
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
            elif commit.kind == "DELETED":
                self._unschedulable.discard(commit.key)
                self._retry_all()
        elif commit.resource is NODES and _matters(commit):
            self._retry_all()

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
        fitting, refused = self._sift(pod)
        if not fitting:
            self._give_up(pod, refused)
            self._unschedulable.add(key)
            asyncio.get_running_loop().call_later(self.world.scaled(_RETRY), self._retry, key)
            return
        node = self._best(pod, fitting)
        self.world.deletion.bind(key, node)
        message = f"Successfully assigned {key[0]}/{key[1]} to {node}"
        self.world.recorder.record(_SOURCE, PODS, pod, Occurrence("Normal", "Scheduled", message))

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
            reasons = [_NOT_NAMED] if outside else _refusals(pod, node) or self._shortages(pod, node)
            refused.update(reasons)
            if not reasons:
                fitting.append(node)
        return fitting, refused

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

    def _give_up(self, pod: Document, refused: Counter[str]) -> None:
        message = _complaint(sum(1 for _ in self.world.store.all(NODES)), refused)
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        conditions = documents.with_conditions(pod, [{**condition, "lastProbeTime": None}], self.world.now())
        patch = {"status": {"conditions": conditions}}
        self.world.registry.patch(PODS, key_of(pod), patch, subresource="status")
        self.world.recorder.record(_SOURCE, PODS, pod, Occurrence("Warning", "FailedScheduling", message))


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


def _complaint(nodes: int, refused: Counter[str]) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in refused.items()))
    helpless = f"{nodes} Preemption is not helpful for scheduling"
    return f"0/{nodes} nodes are available: {reasons}. preemption: 0/{nodes} nodes are available: {helpless}."
