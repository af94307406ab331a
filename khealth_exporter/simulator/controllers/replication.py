"""The controllers of ReplicationControllers and ReplicaSets: create pods, replace them, and report failures."""

from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator import documents
from khealth_exporter.simulator.controllers import workload
from khealth_exporter.simulator.controllers.controller import Controller
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    controller_uid,
    has_condition,
    is_active,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, Resource
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.world import World

_BURST: Final = 500


@dataclass(frozen=True, slots=True)
class ReplicaKind:
    """A kind of object that wants a number of equal pods."""

    resource: Resource
    source: Source
    counts_terminating: bool
    """The status has terminatingReplicas."""


REPLICATION_CONTROLLER: Final = ReplicaKind(
    REPLICATION_CONTROLLERS, Source("replication-controller"), counts_terminating=False
)
REPLICA_SET: Final = ReplicaKind(REPLICA_SETS, Source("replicaset-controller"), counts_terminating=True)


class Replication(Controller):
    """Keeps as many pods as each object of one kind wants."""

    holding = ("controller-stalled",)

    def __init__(self, world: World, kind: ReplicaKind) -> None:
        """Listen to pods and to objects of this kind."""
        super().__init__(world)
        self._kind = kind

    def _listen(self, commit: Commit) -> None:
        if commit.resource is self._kind.resource:
            self._queue.add(commit.key)
        elif commit.resource is PODS:
            self._enqueue_owner(commit.document)

    def _enqueue_owner(self, pod: Document) -> None:
        owner = controller_uid(pod)
        for controller in self.world.store.all(self._kind.resource, documents.namespace_of(pod)):
            mine = uid_of(controller) == owner if owner else workload.selects(controller, pod)
            if mine:
                self._queue.add(key_of(controller))

    async def _sync(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.replicate)
        await self.turn()
        controller = self.world.store.get(self._kind.resource, key)
        if controller is None:
            self._queue.forget(key)
            return
        refusal: ApiError | None = None
        if not is_deleting(controller):
            workload.adopt(self.world, self._kind.resource, controller, PODS)
            refusal = await self._manage(controller)
        await self.turn()
        self._report(key, refusal)
        if refusal is None:
            self._queue.forget(key)
        else:
            self._queue.add_failed(key)

    async def _manage(self, controller: Document) -> ApiError | None:
        """Create missing pods or delete surplus ones; return the first refusal."""
        pods = workload.pods_of(self.world, controller)
        missing = int(spec_of(controller).get("replicas", 1)) - len(pods)
        for number in range(min(missing, _BURST)):
            if number:
                await self.pause(self.world.settings.delays.replicate_next)
                await self.turn()
            refusal = self._create_pod(controller)
            if refusal is not None:
                return refusal
        for pod in sorted(pods, key=_worth)[: max(-missing, 0)]:
            self.world.deletion.delete(PODS, key_of(pod), DeleteOptions(uid=uid_of(pod)))
            self._say(controller, Occurrence("Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
        return None

    def _create_pod(self, controller: Document) -> ApiError | None:
        template, prefix = spec_of(controller)["template"], f"{name_of(controller)}-"
        pod = workload.pod_of(self._kind.resource, controller, template, generateName=prefix)
        try:
            created = self.world.registry.create(PODS, documents.namespace_of(controller), pod)
        except ApiError as refusal:
            self._say(controller, Occurrence("Warning", "FailedCreate", f"Error creating: {refusal.message}"))
            return refusal
        self._say(controller, Occurrence("Normal", "SuccessfulCreate", f"Created pod: {name_of(created)}"))
        return None

    def _report(self, key: Key, refusal: ApiError | None) -> None:
        controller = self.world.store.get(self._kind.resource, key)
        if controller is None:
            return
        pods = workload.pods_of(self.world, controller)
        ready = [pod for pod in pods if has_condition(pod, "Ready")]
        available = [pod for pod in ready if workload.is_available(self.world, controller, pod)]
        labelled = sum(labels_of(spec_of(controller)["template"]).items() <= labels_of(pod).items() for pod in pods)
        counts = {
            "fullyLabeledReplicas": labelled,
            "readyReplicas": len(ready),
            "availableReplicas": len(available),
        }
        status: Document = {"replicas": len(pods), **{name: count for name, count in counts.items() if count}}
        if self._kind.counts_terminating:
            leaving = (pod for pod in workload.owned(self.world, controller, PODS) if not is_active(pod))
            status["terminatingReplicas"] = sum(phase_of(pod) not in {"Succeeded", "Failed"} for pod in leaving)
        status["observedGeneration"] = metadata(controller)["generation"]
        conditions = self._conditions(controller, refusal)
        if conditions:
            status["conditions"] = conditions
        self.world.registry.update(self._kind.resource, key, {**controller, "status": status}, subresource="status")
        if len(available) < len(ready):
            self._queue.add_after(key, float(spec_of(controller)["minReadySeconds"]))

    def _conditions(self, controller: Document, refusal: ApiError | None) -> list[Document]:
        if refusal is None:
            return []
        present = documents.condition(controller, "ReplicaFailure")
        if present is not None:
            return list(status_of(controller)["conditions"])
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal.message}
        return documents.with_conditions(controller, [failure], self.world.now())

    def _say(self, controller: Document, occurrence: Occurrence) -> None:
        self.world.recorder.record(self._kind.source, self._kind.resource, controller, occurrence)


def _worth(pod: Document) -> tuple[bool, bool, bool]:
    """Return the order in which surplus pods are kept: bound, running and ready ones longest."""
    return bool(node_of(pod)), phase_of(pod) == "Running", has_condition(pod, "Ready")
