"""The ReplicationController controller: creates pods, replaces them, and reports failures."""

from typing import Final

from khealth_exporter.simulator import documents
from khealth_exporter.simulator.deletion import DeleteOptions, owner_reference
from khealth_exporter.simulator.documents import (
    Document,
    controller_uid,
    has_condition,
    is_active,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import PODS, REPLICATION_CONTROLLERS
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_WORKERS: Final = 5
_BURST: Final = 500
_SOURCE: Final = Source("replication-controller")


class ReplicationControllers(Component):
    """Keeps as many pods as each ReplicationController wants."""

    holding = ("controller-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to pods and ReplicationControllers."""
        super().__init__(world)
        self._queue: WorkQueue[Key] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the workers."""
        for _ in range(_WORKERS):
            self.world.tasks.create_task(self._queue.work(self._sync))

    def _listen(self, commit: Commit) -> None:
        if commit.resource is REPLICATION_CONTROLLERS:
            self._queue.add(commit.key)
        elif commit.resource is PODS:
            self._enqueue_owner(commit.document)

    def _enqueue_owner(self, pod: Document) -> None:
        owner = controller_uid(pod)
        for controller in self.world.store.all(REPLICATION_CONTROLLERS, documents.namespace_of(pod)):
            mine = uid_of(controller) == owner if owner else _selects(controller, pod)
            if mine:
                self._queue.add(key_of(controller))

    async def _sync(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.replicate)
        await self.turn()
        controller = self.world.store.get(REPLICATION_CONTROLLERS, key)
        if controller is None:
            self._queue.forget(key)
            return
        refusal: ApiError | None = None
        if not is_deleting(controller):
            self._adopt(controller)
            refusal = await self._manage(controller)
        await self.turn()
        self._report(key, refusal)
        if refusal is None:
            self._queue.forget(key)
        else:
            self._queue.add_failed(key)

    def _adopt(self, controller: Document) -> None:
        for pod in self.world.store.all(PODS, documents.namespace_of(controller)):
            if not controller_uid(pod) and is_active(pod) and _selects(controller, pod):
                owners = [*documents.owners_of(pod), owner_reference(REPLICATION_CONTROLLERS, controller)]
                self.world.registry.patch(PODS, key_of(pod), {"metadata": {"ownerReferences": owners}})

    def _pods_of(self, controller: Document) -> list[Document]:
        namespace = documents.namespace_of(controller)
        return [
            pod
            for pod in self.world.store.all(PODS, namespace)
            if controller_uid(pod) == uid_of(controller) and is_active(pod)
        ]

    async def _manage(self, controller: Document) -> ApiError | None:
        """Create missing pods or delete surplus ones; return the first refusal."""
        pods = self._pods_of(controller)
        missing = int(spec_of(controller).get("replicas", 1)) - len(pods)
        for number in range(min(missing, _BURST)):
            if number:
                await self.pause(self.world.settings.delays.replicate_next)
                await self.turn()
            refusal = self._create_pod(controller)
            if refusal is not None:
                return refusal
        surplus = sorted(pods, key=lambda pod: has_condition(pod, "Ready"))
        for pod in surplus[: max(-missing, 0)]:
            self.world.deletion.delete(PODS, key_of(pod), DeleteOptions(uid=uid_of(pod)))
            self._say(controller, Occurrence("Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
        return None

    def _create_pod(self, controller: Document) -> ApiError | None:
        template = spec_of(controller)["template"]
        made: Document = {"generateName": f"{name_of(controller)}-"}
        for field in ("labels", "annotations", "finalizers"):
            if field in metadata(template):
                made[field] = metadata(template)[field]
        made["ownerReferences"] = [owner_reference(REPLICATION_CONTROLLERS, controller)]
        pod = {"metadata": made, "spec": template["spec"]}
        try:
            created = self.world.registry.create(PODS, documents.namespace_of(controller), pod)
        except ApiError as refusal:
            self._say(controller, Occurrence("Warning", "FailedCreate", f"Error creating: {refusal.message}"))
            return refusal
        self._say(controller, Occurrence("Normal", "SuccessfulCreate", f"Created pod: {name_of(created)}"))
        return None

    def _report(self, key: Key, refusal: ApiError | None) -> None:
        controller = self.world.store.get(REPLICATION_CONTROLLERS, key)
        if controller is None:
            return
        pods = self._pods_of(controller)
        ready = sum(has_condition(pod, "Ready") for pod in pods)
        labelled = sum(labels_of(spec_of(controller)["template"]).items() <= labels_of(pod).items() for pod in pods)
        counts = {"fullyLabeledReplicas": labelled, "readyReplicas": ready, "availableReplicas": ready}
        status: Document = {"replicas": len(pods), **{name: count for name, count in counts.items() if count}}
        status["observedGeneration"] = metadata(controller)["generation"]
        conditions = self._conditions(controller, refusal)
        if conditions:
            status["conditions"] = conditions
        updated = {**controller, "status": status}
        self.world.registry.update(REPLICATION_CONTROLLERS, key, updated, subresource="status")

    def _conditions(self, controller: Document, refusal: ApiError | None) -> list[Document]:
        if refusal is None:
            return []
        present = documents.condition(controller, "ReplicaFailure")
        if present is not None:
            return list(status_of(controller)["conditions"])
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal.message}
        return documents.with_conditions(controller, [failure], self.world.now())

    def _say(self, controller: Document, occurrence: Occurrence) -> None:
        self.world.recorder.record(_SOURCE, REPLICATION_CONTROLLERS, controller, occurrence)


def _selects(controller: Document, pod: Document) -> bool:
    selector: dict[str, str] = spec_of(controller).get("selector") or {}
    return bool(selector) and selector.items() <= labels_of(pod).items()
