"""Kubernetes' objects as an API server sends them: what they look like at each place of a canary's way."""

import json
from typing import Any, TypeVar

from khealth_exporter.cluster.decoding import decode
from khealth_exporter.cluster.objects import KubernetesObject, Node, Pod
from khealth_exporter.cluster.workloads import ReplicationController

Json = dict[str, Any]
T = TypeVar("T", bound=KubernetesObject)

NOW = "2026-11-23T14:30:00Z"
IMAGE = "registry.k8s.io/pause:3.10.1"
SANDBOX = "PodReadyToStartContainers"


def read(kind: type[T], document: Json) -> T:
    """Return a document as khealth reads it."""
    return decode(kind, json.dumps(document).encode())


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Json:
    """Return a condition; as in Kubernetes, what is empty is missing."""
    words = {"reason": reason, "message": message}
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": NOW,
        **{key: word for key, word in words.items() if word},
    }


def container(state: Json, *, last: Json | None = None, ready: bool = False, restarts: int = 0) -> Json:
    """Return a container's status."""
    return {
        "name": "pause",
        "state": state,
        "lastState": last or {},
        "ready": ready,
        "restartCount": restarts,
        "image": IMAGE,
        "imageID": "",
    }


def injected(document: Json, name: str, state: Json, *, sidecar: bool = False, **more: Any) -> Json:
    """Return a pod into which a webhook put one more init container, or a native sidecar; with its status."""
    asked = {"name": name, "image": f"mesh.example/{name}:1", **({"restartPolicy": "Always"} if sidecar else {})}
    spec, known = document["spec"], document["status"].get("initContainerStatuses", [])
    status = {**container(state), "name": name, "image": asked["image"], **more}
    return {
        **status_of(document, initContainerStatuses=[*known, status]),
        "spec": {**spec, "initContainers": [*spec.get("initContainers", []), asked]},
    }


def waiting(reason: str, message: str = "") -> Json:
    """Return the state of a container that waits."""
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


RUNNING: Json = {"running": {"startedAt": NOW}}


def terminated(code: int = 1, reason: str = "Error") -> Json:
    """Return the state of a container that has ended."""
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": NOW, "finishedAt": NOW}}


def pod(name: str = "khealth-a-run-1-x7k2p", **metadata: Any) -> Json:
    """Return a pod that has just been created."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "khealth", "uid": f"uid-{name}", "creationTimestamp": NOW, **metadata},
        "spec": {"containers": [{"name": "pause", "image": IMAGE}], "nodeName": ""},
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }


def status_of(document: Json, *conditions: Json, **status: Any) -> Json:
    """Return a pod with these fields of its status, and these conditions in place of earlier ones of their type."""
    known = {c["type"]: c for c in document["status"].get("conditions", ())} | {c["type"]: c for c in conditions}
    return {**document, "status": {**document["status"], **status, "conditions": list(known.values())}}


def unschedulable(document: Json, message: str = "0/3 nodes are available: 3 Insufficient cpu.") -> Json:
    """Return a pod for which the scheduler finds no room."""
    return status_of(document, condition("PodScheduled", "False", "Unschedulable", message))


def bound(document: Json, node: str = "node-1") -> Json:
    """Return a pod that has its node."""
    return {
        **status_of(document, condition("PodScheduled")),
        "spec": {**document["spec"], "nodeName": node},
    }


def accepted(document: Json, node: str = "node-1") -> Json:
    """Return a pod that its kubelet has taken up, without having begun anything."""
    return status_of(
        bound(document, node),
        condition(SANDBOX, "False"),
        condition("Initialized"),
        condition("Ready", "False", "ContainersNotReady", "containers with unready status: [pause]"),
        startTime=NOW,
        containerStatuses=[container(waiting("ContainerCreating"))],
    )


def sandboxed(document: Json, node: str = "node-1") -> Json:
    """Return a pod whose sandbox stands."""
    return status_of(accepted(document, node), condition(SANDBOX))


def containers(document: Json, *statuses: Json, phase: str = "Pending", node: str = "node-1") -> Json:
    """Return a pod whose sandbox stands, with these containers."""
    return status_of(sandboxed(document, node), phase=phase, containerStatuses=list(statuses))


def running(document: Json, node: str = "node-1") -> Json:
    """Return a pod that runs and is not Ready yet."""
    return containers(document, container(RUNNING), phase="Running", node=node)


def ready(document: Json, node: str = "node-1") -> Json:
    """Return a pod that is Ready."""
    well = containers(document, container(RUNNING, ready=True), phase="Running", node=node)
    return status_of(well, condition("Ready"), condition("ContainersReady"))


def leaving(document: Json) -> Json:
    """Return an object that is asked to go."""
    return {**document, "metadata": {**document["metadata"], "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 1}}


def disrupted(
    document: Json,
    message: str = "Eviction API: evicting",
    *,
    reason: str = "EvictionByEvictionAPI",
    status: str = "True",
) -> Json:
    """Return a pod that its cluster takes away on purpose."""
    return status_of(document, condition("DisruptionTarget", status, reason, message))


def node(
    name: str = "node-1",
    *,
    ready: str = "True",
    says: tuple[str, str] = ("", ""),
    cordoned: bool = False,
    taints: tuple[str, ...] = (),
    **labels: str,
) -> Json:
    """Return a node; a taint is a key, with a value behind `=`, and an effect behind a colon if it is not NoSchedule."""
    spec = {"taints": [_taint(text) for text in taints]} if taints else {}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name, **labels}},
        "spec": {**spec, "unschedulable": True} if cordoned else spec,
        "status": {"conditions": [condition("MemoryPressure", "False"), condition("Ready", ready, *says)]},
    }


def _taint(text: str) -> Json:
    marked, _, effect = text.partition(":")
    key, _, value = marked.partition("=")
    return {"key": key, **({"value": value} if value else {}), "effect": effect or "NoSchedule"}


def controller(
    name: str = "khealth-a-run-1", *, generation: int = 1, observed: int = 1, refusal: str = "", replicas: int = 0
) -> Json:
    """Return a ReplicationController, with a ReplicaFailure condition where its pods are refused."""
    failing = [condition("ReplicaFailure", "True", "FailedCreate", refusal)] if refusal else []
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": generation},
        "status": {"replicas": replicas, "observedGeneration": observed, "conditions": failing},
    }


def a_pod(document: Json) -> Pod:
    """Return a pod as khealth reads it."""
    return read(Pod, document)


def a_node(document: Json) -> Node:
    """Return a node as khealth reads it."""
    return read(Node, document)


def a_controller(document: Json) -> ReplicationController:
    """Return a ReplicationController as khealth reads it."""
    return read(ReplicationController, document)


def gated(document: Json, *gates: str) -> Json:
    """Return a pod that the scheduler must not bind, as the API server makes it."""
    said = condition(
        "PodScheduled", "False", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"
    )
    return {**status_of(document, said), "spec": {**document["spec"], "schedulingGates": [{"name": g} for g in gates]}}


def readiness_gated(document: Json, gate: str) -> Json:
    """Return a pod whose containers are ready, and which waits for another controller's condition."""
    message = f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    said = condition("Ready", "False", "ReadinessGatesNotReady", message)
    return {**status_of(document, said), "spec": {**document["spec"], "readinessGates": [{"conditionType": gate}]}}
