"""The Deployment controller: rolls templates out over ReplicaSets, and reports how far it is."""

import asyncio
from typing import Final, Literal

from khealth_exporter.simulator import documents
from khealth_exporter.simulator.apps import RECREATE
from khealth_exporter.simulator.controllers import rollout, workload
from khealth_exporter.simulator.controllers.controller import Controller
from khealth_exporter.simulator.deletion import DeleteOptions, owner_reference
from khealth_exporter.simulator.documents import (
    Document,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.world import World

_SOURCE: Final = Source("deployment-controller")
_PREFIX: Final = "deployment.kubernetes.io/"
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_FOREVER: Final = 2**31 - 1
"""The progressDeadlineSeconds that stand for none."""


class Deployments(Controller):
    """Keeps the ReplicaSets of each Deployment."""

    holding = ("controller-stalled", "deployment-controller-off")

    def __init__(self, world: World) -> None:
        """Listen to Deployments and ReplicaSets, and to pods for those that are recreated."""
        super().__init__(world)
        self._progressed: dict[str, float] = {}
        """When the Deployment of that uid last made progress, in seconds of the event loop."""

    def _listen(self, commit: Commit) -> None:
        if commit.resource is DEPLOYMENTS:
            if commit.kind == "DELETED":
                self._progressed.pop(uid_of(commit.document), None)
            self._queue.add(commit.key)
        elif commit.resource is REPLICA_SETS:
            self._enqueue_owner(commit.document)
        elif commit.resource is PODS and commit.kind == "DELETED":
            owner = workload.owner_of(self.world, REPLICA_SETS, commit.document)
            if owner is not None:
                self._enqueue_owner(owner)

    def _enqueue_owner(self, replica_set: Document) -> None:
        owner = workload.owner_of(self.world, DEPLOYMENTS, replica_set)
        if owner is not None:
            self._queue.add(key_of(owner))

    async def _sync(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.replicate)
        await self.turn()
        deployment = self.world.store.get(DEPLOYMENTS, key)
        if deployment is None:
            self._queue.forget(key)
            return
        try:
            if not is_deleting(deployment):
                workload.adopt(self.world, DEPLOYMENTS, deployment, REPLICA_SETS)
                if not spec_of(deployment).get("paused"):
                    self._roll(deployment)
        except ApiError:
            self._queue.add_failed(key)
        else:
            self._queue.forget(key)
        self._report(self.world.registry.get(DEPLOYMENTS, *key))

    def _replica_sets(self, deployment: Document) -> tuple[Document | None, list[Document]]:
        """Return the ReplicaSet that has the Deployment's template, and the others, oldest first."""
        found = workload.owned(self.world, deployment, REPLICA_SETS)
        found.sort(key=lambda one: (metadata(one)["creationTimestamp"], name_of(one)))
        new = next((one for one in found if rollout.has_template(one, deployment)), None)
        return new, [one for one in found if one is not new]

    def _roll(self, deployment: Document) -> None:
        """Take the next step towards the Deployment's template. Raises `ApiError`."""
        new, old = self._replica_sets(deployment)
        if spec_of(deployment)["strategy"]["type"] == RECREATE and self._retire(deployment, old):
            return
        if new is None:
            self._create(deployment, old)
            return
        self._renew(deployment, new, old)
        sizes = rollout.next_sizes(deployment, new, old)
        self._scale(deployment, [new, *old], sizes)
        if not sizes and rollout.is_complete(deployment, status_of(deployment)):
            self._forget_old(deployment, old)

    def _retire(self, deployment: Document, old: list[Document]) -> bool:
        """Scale the old ReplicaSets to 0; tell whether they still have pods."""
        self._scale(deployment, old, rollout.last_sizes(old))
        pods = (pod for one in old for pod in workload.owned(self.world, one, PODS))
        return any(phase_of(pod) not in {"Succeeded", "Failed"} for pod in pods)

    def _create(self, deployment: Document, old: list[Document]) -> None:
        """Create the ReplicaSet of the present template. Raises `ApiError`."""
        template, collisions = spec_of(deployment)["template"], int(status_of(deployment).get("collisionCount", 0))
        label = {rollout.HASH: workload.revision_hash(template, collisions)}
        labels = {**labels_of(template), **label}
        selector = spec_of(deployment)["selector"]
        name, size = f"{name_of(deployment)}-{label[rollout.HASH]}", rollout.first_size(deployment, old)
        made = {
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": self._annotations(deployment, _revision(old) + 1),
                "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
            },
            "spec": {
                **_patience(deployment),
                "replicas": size,
                "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **label}},
                "template": {**template, "metadata": {**metadata(template), "labels": labels}},
            },
        }
        try:
            self.world.registry.create(REPLICA_SETS, namespace_of(deployment), made)
        except ApiError as error:
            self._cannot_create(deployment, name, error)
            raise
        self._say(deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        self._progress(deployment, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')

    def _cannot_create(self, deployment: Document, name: str, error: ApiError) -> None:
        """Report the refusal, or take another hash for the next time if the name is taken."""
        if error.reason == "AlreadyExists":
            collisions = int(status_of(deployment).get("collisionCount", 0)) + 1
            self._write(deployment, {**status_of(deployment), "collisionCount": collisions})
            return
        message = f'Failed to create new replica set "{name}": {error.message}'
        self._say(deployment, "Warning", "ReplicaSetCreateError", message)
        self._progress(deployment, "False", "ReplicaSetCreateError", message)

    def _annotations(self, deployment: Document, revision: int) -> dict[str, str]:
        given: dict[str, str] = metadata(deployment).get("annotations") or {}
        copied = {name: value for name, value in given.items() if not name.startswith(_PREFIX) and name != _APPLIED}
        return {**copied, rollout.REVISION: str(revision), **_extent(deployment)}

    def _renew(self, deployment: Document, new: Document, old: list[Document]) -> None:
        """Copy the annotations and minReadySeconds; the new ReplicaSet has the highest revision of all."""
        revision = max(_revision(old) + 1, _revision([new]))
        annotations = self._annotations(deployment, revision)
        change = {"metadata": {"annotations": annotations}, "spec": {"minReadySeconds": None, **_patience(deployment)}}
        self.world.registry.patch(REPLICA_SETS, key_of(new), change)

    def _scale(self, deployment: Document, replica_sets: list[Document], sizes: rollout.Sizes) -> None:
        for found in replica_sets:
            size, before = sizes.get(name_of(found)), int(spec_of(found)["replicas"])
            if size is None:
                continue
            change = {"metadata": {"annotations": _extent(deployment)}, "spec": {"replicas": size}}
            self.world.registry.patch(REPLICA_SETS, key_of(found), change)
            way = "up" if size > before else "down"
            message = f"Scaled {way} replica set {name_of(found)} from {before} to {size}"
            self._say(deployment, "Normal", "ScalingReplicaSet", message)

    def _forget_old(self, deployment: Document, old: list[Document]) -> None:
        """Delete the oldest ReplicaSets beyond the history limit."""
        alive = sorted((found for found in old if not is_deleting(found)), key=lambda found: _revision([found]))
        for found in alive[: max(0, len(alive) - int(spec_of(deployment)["revisionHistoryLimit"]))]:
            if not spec_of(found)["replicas"] and not status_of(found).get("replicas"):
                self.world.deletion.delete(REPLICA_SETS, key_of(found), DeleteOptions(uid=uid_of(found)))

    def _report(self, deployment: Document) -> None:
        """Write the counts, and the conditions Available, Progressing and ReplicaFailure."""
        new, old = self._replica_sets(deployment)
        every, now = [*old, *([] if new is None else [new])], self.world.now()
        status = rollout.counts(deployment, new, every)
        conditions: list[Document] = status_of(deployment).get("conditions") or []
        conditions = rollout.with_condition(conditions, rollout.availability(deployment, status), now)
        if not is_deleting(deployment):
            conditions = self._judged(deployment, status, new, conditions)
            failure = rollout.failure(new, every)
            if failure is None:
                conditions = [found for found in conditions if found["type"] != rollout.FAILURE]
            else:
                conditions = rollout.with_condition(conditions, failure, now)
        self._write(deployment, {**status, "conditions": conditions}, new)

    def _judged(
        self, deployment: Document, status: Document, new: Document | None, conditions: list[Document]
    ) -> list[Document]:
        """Return the conditions with Progressing as it follows from the status."""
        present = documents.condition(deployment, "Progressing") or {}
        if spec_of(deployment)["progressDeadlineSeconds"] >= _FOREVER:
            return [found for found in conditions if found["type"] != "Progressing"]
        if present.get("reason") == rollout.AVAILABLE and status.get("replicas") == status.get("updatedReplicas"):
            return conditions
        subject = f'Deployment "{name_of(deployment)}"' if new is None else f'ReplicaSet "{name_of(new)}"'
        again = False
        if rollout.is_complete(deployment, status):
            judged = rollout.progressing("True", rollout.AVAILABLE, f"{subject} has successfully progressed.")
        elif again := rollout.has_progressed(status_of(deployment), status):
            self._mark(deployment)
            judged = rollout.progressing("True", "ReplicaSetUpdated", f"{subject} is progressing.")
        elif self._is_late(deployment, present):
            judged = rollout.progressing("False", rollout.TIMED_OUT, f"{subject} has timed out progressing.")
        else:
            return conditions
        return rollout.with_condition(conditions, judged, self.world.now(), again=again)

    def _is_late(self, deployment: Document, present: Document) -> bool:
        if present.get("reason") in {None, rollout.AVAILABLE}:
            return False
        since = self._progressed.get(uid_of(deployment))
        deadline = float(spec_of(deployment)["progressDeadlineSeconds"])
        return since is not None and asyncio.get_running_loop().time() - since >= deadline

    def _mark(self, deployment: Document) -> None:
        """Remember that the Deployment makes progress, and look again when its deadline has passed."""
        self._progressed[uid_of(deployment)] = asyncio.get_running_loop().time()
        deadline = float(spec_of(deployment)["progressDeadlineSeconds"])
        self._queue.add_after(key_of(deployment), deadline * self.world.settings.speed)

    def _progress(self, deployment: Document, status: str, reason: str, message: str) -> None:
        """Write the condition Progressing alone, as the creation of a ReplicaSet does."""
        if spec_of(deployment)["progressDeadlineSeconds"] >= _FOREVER:
            return
        self._mark(deployment)
        conditions: list[Document] = status_of(deployment).get("conditions") or []
        told = rollout.with_condition(conditions, rollout.progressing(status, reason, message), self.world.now())
        self._write(deployment, {**status_of(deployment), "conditions": told})

    def _write(self, deployment: Document, status: Document, new: Document | None = None) -> None:
        """Write the status, and the revision of the new ReplicaSet as an annotation."""
        about = metadata(deployment)
        if new is not None:
            revision = {rollout.REVISION: str(_revision([new]))}
            about = {**about, "annotations": {**(about.get("annotations") or {}), **revision}}
        about = {key: value for key, value in about.items() if key != "resourceVersion"}
        updated = {**deployment, "metadata": about, "status": status}
        self.world.registry.update(DEPLOYMENTS, key_of(deployment), updated, subresource="status")

    def _say(self, deployment: Document, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.world.recorder.record(_SOURCE, DEPLOYMENTS, deployment, Occurrence(kind, reason, message))


def _patience(deployment: Document) -> Document:
    """Return the fields of a spec that say how long a pod must be ready; none if that is not set."""
    seconds = spec_of(deployment).get("minReadySeconds")
    return {"minReadySeconds": seconds} if seconds else {}


def _extent(deployment: Document) -> dict[str, str]:
    """Return the annotations of a ReplicaSet that repeat the Deployment's size."""
    allowed = rollout.limits(deployment)
    sizes = {"desired-replicas": allowed.replicas, "max-replicas": allowed.replicas + allowed.surge}
    return {f"{_PREFIX}{name}": str(size) for name, size in sizes.items()}


def _revision(replica_sets: list[Document]) -> int:
    """Return the highest revision of the ReplicaSets, 0 if there are none."""
    return max(map(rollout.revision, replica_sets), default=0)
