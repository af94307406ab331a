"""Canaries that measure, on a small cluster: how they end, what they say, and the volumes that they mount."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from documents import Json, container, running, status_of
from small_cluster import PACE, PODS, Scene

from khealth_exporter.canaries.acting_nodes import ActingNodes
from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.pod_steps import START
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import Routine, RoutineConfig
from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.vocabulary.reason import Reason

CLAIMS, VOLUMES, CLASSES = "persistentvolumeclaims", "persistentvolumes", "storageclasses"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"


def document(task: str, *, reason: str = "", error: str = "", **durations: float) -> Json:
    """Return what a canary says."""
    return {
        "version": 1,
        "task": task,
        "ok": not reason,
        "reason": reason,
        "error": error,
        "durations": durations,
        "uncertainty_seconds": 0.001,
        "facts": {},
    }


def ended(pod: Json, says: Json | str, code: int = 0) -> Json:
    """Return a pod whose canary has ended, with its termination message."""
    message = says if isinstance(says, str) else json.dumps(says)
    end = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
    status = {**container({"terminated": end}), "name": "canary"}
    return status_of(
        running(pod, pod["spec"]["nodeName"]), phase="Failed" if code else "Succeeded", containerStatuses=[status]
    )


def ending(pod: Json, what: Json) -> Json:
    """Return a pod whose canary has ended, which its phase does not say yet."""
    return status_of(ended(pod, what), phase="Running")


def says(here: Scene, what: Json | str, code: int = 0) -> None:
    """Let every canary end like this as soon as it has started."""
    here.small.stuck, here.small.change = {0: "started"}, {0: lambda pod: ended(pod, what, code)}


def event(pod: str, reason: str, message: str) -> Json:
    """Return a Kubernetes Event about a pod."""
    about = {"kind": "Pod", "name": pod}
    return {"metadata": {"name": f"{pod}.{reason}"}, "involvedObject": about, "reason": reason, "message": message}


def tell(here: Scene, reason: str, message: str) -> None:
    """Let a Kubernetes Event be reported about every pod that is there."""
    for name in here.small.pod_names():
        here.api.put("events", event(name, reason, message))


def silence(here: Scene) -> None:
    """Let another routine find that no kubelet does anything."""
    nodes = (Finding(START, Reason.KUBELET_SILENT, "so it is", node) for node in here.small.nodes)
    here.context.memory.of(ActingNodes).explained(nodes, (), here.clock.now())


async def ran(here: Scene, kind: type[Routine[Any]], seconds: float, **chosen: Any) -> RoutineStatus:
    """Run a routine of the module storage for some seconds, from now on even if it is heavy."""
    kind = type(kind.__name__, (kind,), {"heavy": False})
    collector = Collector("storage", here.figures.metrics, here.clock)
    settings = kind.Settings(**chosen)
    here.cluster.watches.need(kind.watched(settings))
    collector.want([RoutineConfig("storage", kind.name, kind, settings)], here.context)
    here.small.later(seconds, collector.terminate)
    await collector.start()
    (status,) = collector.status().routines
    return status


def reasons(status: RoutineStatus) -> list[Reason | None]:
    """Return why each attempt failed; None for one that succeeded."""
    return [attempt.verdict.reason for attempt in status.attempts if attempt.verdict]


def note(attempt: Attempt) -> str:
    """Return what is said of an attempt."""
    return attempt.verdict.note if attempt.verdict else ""


def measured(attempt: Attempt) -> dict[str, float]:
    """Return the steps of an attempt with their seconds, its pods' among them."""
    found = [*attempt.measurements, *(one for sample in attempt.samples for one in sample.measurements)]
    return {one.step.name: one.seconds for one in found}


def censored(attempt: Attempt) -> list[str]:
    """Return the steps in which an attempt was stuck."""
    found = [*attempt.measurements, *(one for sample in attempt.samples for one in sample.measurements)]
    return [one.step.name for one in found if one.censored]


def left(here: Scene, resources: Iterable[str]) -> list[str]:
    """Return the names of what is left of these resources."""
    return [name for resource in resources for name in here.api.objects.get(resource, {})]


def storage_class(name: str = "fast", *, default: bool = True, **fields: Any) -> Json:
    """Return a StorageClass."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    metadata = {"name": name, "annotations": annotations}
    return {"metadata": metadata, "provisioner": "disks.example.com", "reclaimPolicy": "Delete", **fields}


@dataclass
class Storage:
    """The controllers of claims, a provisioner, and kubelets that mount its volumes."""

    here: Scene
    waits: bool = False
    """Whether the class waits for the first consumer."""
    observing: bool = True
    """Whether the controller manager takes up claims."""
    provisioning: bool = True
    mounting: bool = True
    """Whether kubelets can mount the volumes."""
    unprotecting: bool = True
    """Whether the controller manager lets a claim go whose pods are gone."""
    reclaiming: bool = True
    """Whether volumes go with their claims."""
    finalizer: str = ""
    """What another client puts on every claim."""
    says: dict[str, Json] = field(default_factory=dict)
    """What the canaries say, by the last word of their names."""
    _held: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        mode = "WaitForFirstConsumer" if self.waits else "Immediate"
        self.api, self.small = self.here.api, self.here.small
        self.api.put(CLASSES, storage_class(volumeBindingMode=mode))
        self.says = {
            "write": document("volume", write=0.1, fsync=0.2),
            "verify": document("volume", verify=0.3),
        } | self.says
        self._created, self._deleted = self.api.created, self.api.deleted
        self.api.created, self.api.deleted = self.created, self.deleted
        self.small.stuck = {0: "started" if self.mounting else "accepted"}
        if self.mounting:
            self.small.change = {0: self._end}

    @property
    def claim(self) -> Json:
        """The claim that is there."""
        (claim,) = self.api.objects[CLAIMS].values()
        return claim

    def _end(self, pod: Json) -> Json:
        return ended(pod, self.says[pod["metadata"]["name"].rpartition("-")[2]])

    def created(self, resource: str, item: Json) -> None:
        """Do what controllers do about a new object."""
        if resource == CLAIMS:
            kept = ["kubernetes.io/pvc-protection", *([self.finalizer] if self.finalizer else [])]
            item["metadata"]["finalizers"], item["status"] = kept, {"phase": "Pending"}
            if not self.waits and self.observing:
                self.small.later(PACE, self._provision, {})
        elif resource == PODS and self.claim["status"]["phase"] != "Bound":
            item["status"] = {"phase": "Pending"}
            self._held.append(item)
            if self.waits and self.observing:
                self.small.later(PACE, self._provision, {SELECTED_NODE: "node-1"})
        else:
            self._created(resource, item)

    def _provision(self, marks: Json) -> None:
        metadata = {**self.claim["metadata"], "annotations": {**self.claim["metadata"]["annotations"], **marks}}
        metadata["annotations"][PROVISIONER] = "disks.example.com"
        self.api.put(CLAIMS, {**self.claim, "metadata": metadata})
        if self.provisioning:
            self.small.later(1.0, self._bind)

    def _bind(self) -> None:
        if not self.api.objects[CLAIMS]:
            return
        self.api.put(VOLUMES, {"metadata": {"name": "pvc-1"}, "status": {"phase": "Bound"}})
        spec = {**self.claim["spec"], "volumeName": "pvc-1"}
        self.api.put(CLAIMS, {**self.claim, "spec": spec, "status": {"phase": "Bound"}})
        for pod in self._held:
            self._created(PODS, pod)

    def deleted(self, resource: str, item: Json, options: Json) -> bool:
        """Do what controllers do about a deletion, and tell whether the object goes at once."""
        if resource != CLAIMS:
            return self._deleted(resource, item, options)
        if self.unprotecting and not self.finalizer:
            self.small.later(PACE, self._release)
        return False

    def _release(self) -> None:
        if self.api.objects.get(PODS):
            self.small.later(PACE, self._release)
            return
        self.api.remove(CLAIMS, self.claim["metadata"]["name"])
        if "pvc-1" in self.api.objects.get(VOLUMES, {}):
            if self.reclaiming:
                self.small.later(1.0, self.api.remove, VOLUMES, "pvc-1")
            else:
                failed = {"phase": "Failed", "message": "disk is in use"}
                self.api.put(VOLUMES, {**self.api.objects[VOLUMES]["pvc-1"], "status": failed})
