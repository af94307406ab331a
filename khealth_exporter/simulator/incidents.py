"""The faults that do something to the cluster when they begin and end, rather than hold a component up."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from khealth_exporter.simulator.controllers import node_object
from khealth_exporter.simulator.controllers.nodes import Heartbeats, NodeLifecycle
from khealth_exporter.simulator.deletion import FORCE, SYSTEM_NAMESPACES, DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    controller_uid,
    has_condition,
    is_active,
    is_deleting,
    name_of,
    namespace_of,
    node_of,
    spec_of,
)
from khealth_exporter.simulator.door import Door
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.network import name_servers
from khealth_exporter.simulator.resources import NAMESPACES, NODES, PODS, RESOURCE_QUOTAS
from khealth_exporter.simulator.server import ApiServer
from khealth_exporter.simulator.store import Commit, key_of
from khealth_exporter.simulator.world import World

_QUOTA = "simulated-quota"
_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class Incidents:
    """Reacts to faults that begin and end."""

    def __init__(
        self, world: World, server: ApiServer, door: Door, heartbeats: Heartbeats, lifecycle: NodeLifecycle
    ) -> None:
        """Act on these parts of one cluster."""
        self._world = world
        self._server = server
        self._door = door
        self._heartbeats = heartbeats
        self._lifecycle = lifecycle
        self._drained: dict[str, str] = {}
        self._gone: dict[str, Document] = {}
        self._reactions: Mapping[str, Callable[[str, bool], None]] = {
            "quota": self._quota,
            "api-down": self._api_down,
            "watch-cut": self._watch_cut,
            "watch-silent": self._watch_silent,
            "watch-gone": self._watch_gone,
            "pods-lost": self._pods_lost,
            "pods-evicted": self._pods_evicted,
            "node-drained": self._node_drained,
            "node-gone": self._node_gone,
            "nodes-not-ready": self._nodes_not_ready,
            "kubelet-stalled": self._kubelet_stalled,
        }
        world.faults.react(self._react)
        world.store.listen(self._listen)

    def _react(self, fault: str, node: str, began: bool) -> None:
        reaction = self._reactions.get(fault)
        if reaction is not None:
            reaction(node, began)

    def _listen(self, commit: Commit) -> None:
        if commit.resource is NAMESPACES and commit.kind == "ADDED" and self._world.faults.active("quota"):
            self._world.tasks.create_task(self._limit_soon(name_of(commit.document)))

    async def _limit_soon(self, namespace: str) -> None:
        self._limit(namespace)

    def _limit(self, namespace: str) -> None:
        if namespace in SYSTEM_NAMESPACES and namespace != "default":
            return
        quota = {"metadata": {"name": _QUOTA}, "spec": {"hard": {"pods": "0"}}}
        try:
            self._world.registry.create(RESOURCE_QUOTAS, namespace, quota)
        except ApiError as error:
            if error.code not in {HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                raise

    def _quota(self, _node: str, began: bool) -> None:
        if began:
            for namespace in self._world.store.all(NAMESPACES):
                self._limit(name_of(namespace))
            return
        for quota in self._world.store.all(RESOURCE_QUOTAS):
            if name_of(quota) == _QUOTA:
                self._world.deletion.delete(RESOURCE_QUOTAS, key_of(quota), FORCE)

    def _api_down(self, _node: str, began: bool) -> None:
        if began:
            self._door.shut()
        else:
            self._door.open()

    def _watch_cut(self, _node: str, _began: bool) -> None:
        for watch in list(self._server.watches):
            watch.cut()

    def _watch_silent(self, _node: str, began: bool) -> None:
        for watch in self._server.watches if began else ():
            watch.stream.dead = True

    def _watch_gone(self, _node: str, _began: bool) -> None:
        self._world.store.compact()

    def _victims(self) -> list[Document]:
        """Return the ready pods that a controller keeps, or else every pod that runs; never those of the cluster."""
        running = (pod for pod in self._world.store.all(PODS) if is_active(pod) and node_of(pod))
        pods = [pod for pod in running if namespace_of(pod) != name_servers.NAMESPACE]
        ready = [pod for pod in pods if has_condition(pod, "Ready") and controller_uid(pod)]
        return ready or pods

    def _pods_lost(self, _node: str, _began: bool) -> None:
        victims = [pod for pod in self._victims() if controller_uid(pod)]
        if victims:
            self._world.deletion.delete(PODS, key_of(self._world.random.choice(victims)), FORCE)

    def _pods_evicted(self, _node: str, _began: bool) -> None:
        victims = self._victims()
        if victims:
            self._world.deletion.evict(key_of(self._world.random.choice(victims)), DeleteOptions())

    def _choose(self, node: str) -> str:
        """Return the node that is meant, or else the busiest one."""
        if node:
            return node
        names = [name_of(found) for found in self._world.store.all(NODES)]
        busy = [node_of(pod) for pod in self._world.store.all(PODS)]
        return max(names, key=busy.count, default="")

    def _node_drained(self, node: str, began: bool) -> None:
        name = self._choose(node) if began else self._drained.pop(node, "")
        found = self._world.store.get(NODES, ("", name))
        if found is None:
            return
        taints = [taint for taint in spec_of(found).get("taints") or [] if taint["key"] != _CORDON["key"]]
        if began:
            self._drained[node] = name
            taints.append(dict(_CORDON))
        spec = {"unschedulable": True if began else None, "taints": taints or None}
        self._world.registry.patch(NODES, ("", name), {"spec": spec})
        for pod in self._world.store.all(PODS) if began else ():
            if node_of(pod) == name and not is_deleting(pod):
                self._world.deletion.evict(key_of(pod), DeleteOptions())

    def _node_gone(self, node: str, began: bool) -> None:
        if not began:
            returning = self._gone.pop(node, None)
            if returning is not None and self._world.store.get(NODES, ("", name_of(returning))) is None:
                self._world.registry.create(NODES, "", _registered_again(returning, self._world.now()))
            return
        name = self._choose(node)
        found = self._world.store.get(NODES, ("", name))
        if found is None:
            return
        self._gone[node] = found
        self._world.deletion.delete(NODES, ("", name), FORCE)
        for pod in self._world.store.all(PODS):
            if node_of(pod) == name:
                self._world.deletion.disrupt(pod, "DeletionByPodGC", "PodGC: node no longer exists")
                self._world.deletion.delete(PODS, key_of(pod), FORCE)

    def _nodes_not_ready(self, _node: str, _began: bool) -> None:
        for node in self._world.store.all(NODES):
            self._heartbeats.beat(name_of(node))
            self._lifecycle.taint(name_of(node))

    def _kubelet_stalled(self, node: str, began: bool) -> None:
        if began or self._world.faults.active("kubelet-stalled"):
            return
        for found in self._world.store.all(NODES):
            if node in {"", name_of(found)}:
                self._heartbeats.beat(name_of(found))


def _registered_again(node: Document, now: str) -> Document:
    spec = {key: value for key, value in spec_of(node).items() if key not in {"taints", "unschedulable"}}
    status = {**node["status"], "conditions": node_object.conditions(now, ready=True, since={})}
    kept = {field: node["metadata"][field] for field in ("name", "labels", "annotations") if field in node["metadata"]}
    return {"metadata": kept, "spec": spec, "status": status}
