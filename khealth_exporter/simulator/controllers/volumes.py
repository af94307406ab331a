"""The controllers of storage: one binds and protects claims and volumes, the other provisions volumes."""

import asyncio
from typing import Final

from khealth_exporter.simulator import storage
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    node_of,
    phase_of,
    spec_of,
    uid_of,
)
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import CLAIMS, PODS, STORAGE_CLASSES, VOLUMES, Resource
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_BINDER: Final = Source("persistentvolume-controller")
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
_RETRY: Final = 15.0
_CLAIM_WAITS: Final = (
    f"Waiting for a volume to be created either by the external provisioner '{storage.PROVISIONER}' or manually by "
    "the system administrator. If volume creation is delayed, please verify that the provisioner is running and "
    "correctly registered."
)


class VolumeBinder(Component):
    """Binds claims and volumes, releases volumes, and keeps what is in use from being removed."""

    holding = ("controller-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to claims, volumes, storage classes and pods."""
        super().__init__(world)
        self._queue: WorkQueue[tuple[Resource, Key]] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the worker."""
        self.world.tasks.create_task(self._queue.work(self._look))

    def _listen(self, commit: Commit) -> None:
        document = commit.document
        if commit.resource in {CLAIMS, VOLUMES}:
            self._queue.add((commit.resource, commit.key))
        if commit.resource is CLAIMS and spec_of(document).get("volumeName"):
            self._queue.add((VOLUMES, ("", spec_of(document)["volumeName"])))
        elif commit.resource is PODS and commit.kind == "DELETED":
            for name in storage.claim_names(document):
                self._queue.add((CLAIMS, (commit.key[0], name)))
        elif commit.resource is STORAGE_CLASSES:
            for claim in self.world.store.all(CLAIMS):
                self._queue.add((CLAIMS, key_of(claim)))

    async def _look(self, item: tuple[Resource, Key]) -> None:
        await self.pause(self.world.settings.delays.collect)
        await self.turn()
        resource, key = item
        found = self.world.store.get(resource, key)
        if found is None:
            return
        if is_deleting(found) and not self._in_use(resource, found):
            left = [name for name in metadata(found).get("finalizers") or [] if name != storage.PROTECTION[resource]]
            self.world.registry.patch(resource, key, {"metadata": {"finalizers": left or None}})
        elif resource is VOLUMES:
            self._look_at_volume(found)
        elif phase_of(found) == "Pending" and not is_deleting(found):
            self._look_at_claim(found)

    def _in_use(self, resource: Resource, found: Document) -> bool:
        """Tell whether a pod that is on a node uses the claim, or a claim the volume."""
        if resource is VOLUMES:
            return phase_of(found) == "Bound"
        pods = self.world.store.all(PODS, namespace_of(found))
        return any(node_of(pod) and name_of(found) in storage.claim_names(pod) for pod in pods)

    def _look_at_volume(self, volume: Document) -> None:
        reference = spec_of(volume).get("claimRef")
        if reference is None:
            self._set_phase(volume, "Available")
            return
        claim = self.world.store.get(CLAIMS, (reference["namespace"], reference["name"]))
        if claim is None or uid_of(claim) != reference["uid"]:
            self._set_phase(volume, "Released")
        elif phase_of(volume) != "Bound":
            self._bind(volume, claim)

    def _set_phase(self, volume: Document, phase: str) -> None:
        if phase_of(volume) != phase:
            status = {"phase": phase, "lastPhaseTransitionTime": self.world.now()}
            self.world.registry.patch(VOLUMES, key_of(volume), {"status": status}, subresource="status")

    def _bind(self, volume: Document, claim: Document) -> None:
        self._set_phase(volume, "Bound")
        annotations = {storage.BIND_COMPLETED: "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
        change = {"metadata": {"annotations": annotations}, "spec": {"volumeName": name_of(volume)}}
        self.world.registry.patch(CLAIMS, key_of(claim), change)
        given = spec_of(volume)
        status = {"phase": "Bound", "accessModes": given["accessModes"], "capacity": given["capacity"]}
        self.world.registry.patch(CLAIMS, key_of(claim), {"status": status}, subresource="status")

    def _look_at_claim(self, claim: Document) -> None:
        """Say what a claim waits for, or ask the provisioner for its volume."""
        name = str(spec_of(claim).get("storageClassName") or "")
        found = self.world.store.get(STORAGE_CLASSES, ("", name))
        annotations = metadata(claim).get("annotations") or {}
        if not name:
            why = "no persistent volumes available for this claim and no storage class is set"
            self._say(claim, Occurrence("Normal", "FailedBinding", why))
        elif found is None:
            why = f'storageclass.storage.k8s.io "{name}" not found'
            self._say(claim, Occurrence("Warning", "ProvisioningFailed", why))
        elif found["volumeBindingMode"] == storage.WAITS and storage.SELECTED_NODE not in annotations:
            why = "waiting for first consumer to be created before binding"
            self._say(claim, Occurrence("Normal", "WaitForFirstConsumer", why))
        else:
            asked = {storage.PROVISIONED_FOR: found["provisioner"]}
            asked["volume.beta.kubernetes.io/storage-provisioner"] = found["provisioner"]
            if not asked.items() <= annotations.items():
                self.world.registry.patch(CLAIMS, key_of(claim), {"metadata": {"annotations": asked}})
            message = _CLAIM_WAITS.replace(storage.PROVISIONER, found["provisioner"])
            self._say(claim, Occurrence("Normal", "ExternalProvisioning", message))

    def _say(self, claim: Document, occurrence: Occurrence) -> None:
        self.world.recorder.record(_BINDER, CLAIMS, claim, occurrence)


class Provisioner(Component):
    """Creates the volumes that claims ask for, and deletes released ones."""

    holding = ("provisioner-off",)

    def __init__(self, world: World) -> None:
        """Listen to claims and volumes."""
        super().__init__(world)
        self._queue: WorkQueue[tuple[Resource, Key]] = WorkQueue(world.settings.speed)
        self._source = Source(storage.PROVISIONER)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the worker."""
        self.world.tasks.create_task(self._queue.work(self._look))

    def _listen(self, commit: Commit) -> None:
        document = commit.document
        wanted = commit.resource is CLAIMS and _is_asked_for(document)
        released = commit.resource is VOLUMES and _is_to_be_deleted(document)
        if (wanted or released) and commit.kind != "DELETED":
            self._queue.add((commit.resource, commit.key))

    async def _look(self, item: tuple[Resource, Key]) -> None:
        resource, key = item
        found = self.world.store.get(resource, key)
        await self.turn()
        if found is not None and resource is CLAIMS:
            self._say(CLAIMS, found, Occurrence("Normal", "Provisioning", _provisioning(found)))
        await self.pause(self.world.settings.delays.provision)
        await self.turn()
        found = self.world.store.get(resource, key)
        if found is not None and resource is CLAIMS and _is_asked_for(found):
            self._provision(found)
        elif found is not None and resource is VOLUMES and _is_to_be_deleted(found):
            self._delete(found)

    def _provision(self, claim: Document) -> None:
        name, spec = f"pvc-{uid_of(claim)}", spec_of(claim)
        storage_class = self.world.store.get(STORAGE_CLASSES, ("", spec["storageClassName"]))
        if storage_class is None or self.world.store.get(VOLUMES, ("", name)) is not None:
            return
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name_of(claim)}
        reference |= {"namespace": namespace_of(claim), "uid": uid_of(claim)}
        volume = {
            "metadata": {"name": name, "annotations": {_PROVISIONED_BY: storage.PROVISIONER}},
            "spec": {
                "accessModes": spec["accessModes"],
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "claimRef": {**reference, "resourceVersion": metadata(claim)["resourceVersion"]},
                "csi": {"driver": storage.PROVISIONER, "volumeHandle": name},
                "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
                "storageClassName": spec["storageClassName"],
                "volumeMode": spec["volumeMode"],
            },
        }
        self.world.registry.create(VOLUMES, "", volume)
        told = Occurrence("Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
        self._say(CLAIMS, claim, told)

    def _delete(self, volume: Document) -> None:
        if self.world.faults.active("volume-not-deleted"):
            why = "rpc error: code = Internal desc = simulated failure"
            self._say(VOLUMES, volume, Occurrence("Warning", "VolumeFailedDelete", why))
            self.spawn(self._try_again, key_of(volume))
        else:
            self.world.deletion.delete(VOLUMES, key_of(volume), DeleteOptions(uid=uid_of(volume)))

    async def _try_again(self, key: Key) -> None:
        """Queue the volume again after a while, or as soon as the fault ends."""
        clear = asyncio.ensure_future(self.world.faults.clear("volume-not-deleted"))
        try:
            await asyncio.wait({clear}, timeout=self.world.scaled(_RETRY))
        finally:
            clear.cancel()
        self._queue.add((VOLUMES, key))

    def _say(self, resource: Resource, document: Document, occurrence: Occurrence) -> None:
        self.world.recorder.record(self._source, resource, document, occurrence)


def _provisioning(claim: Document) -> str:
    return f'External provisioner is provisioning volume for claim "{namespace_of(claim)}/{name_of(claim)}"'


def _is_asked_for(claim: Document) -> bool:
    """Tell whether this provisioner must create the claim's volume."""
    asked = (metadata(claim).get("annotations") or {}).get(storage.PROVISIONED_FOR) == storage.PROVISIONER
    return asked and not spec_of(claim).get("volumeName") and not is_deleting(claim)


def _is_to_be_deleted(volume: Document) -> bool:
    """Tell whether this provisioner must delete the volume."""
    ours = (metadata(volume).get("annotations") or {}).get(_PROVISIONED_BY) == storage.PROVISIONER
    deletes = spec_of(volume).get("persistentVolumeReclaimPolicy") == "Delete"
    return ours and deletes and phase_of(volume) == "Released" and not is_deleting(volume)
