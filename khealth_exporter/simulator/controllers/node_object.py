"""A Node object, as its kubelet registers and reports it."""

from typing import Final

from khealth_exporter.simulator.controllers.kubelet import FAKE_NODE
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.settings import FAKE_LABEL, SimulatorSettings

NOT_READY_TAINT: Final = "node.kubernetes.io/not-ready"

_PRESSURES: Final = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
_READY: Final = {
    "type": "Ready",
    "status": "True",
    "reason": "KubeletReady",
    "message": "kubelet is posting ready status",
}
_NOT_READY: Final = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady",
}


def build(name: str, address: str, settings: SimulatorSettings, now: str, *, fake: bool) -> Document:
    """Return a node that is Ready."""
    room = {
        "cpu": settings.cpu_per_node,
        "memory": settings.memory_per_node,
        "pods": str(settings.pods_per_node),
        "ephemeral-storage": "100Gi",
    }
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    if fake:
        labels[FAKE_LABEL] = "kwok"
    status: Document = {
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "allocatable": room,
        "capacity": room,
        "conditions": conditions(now, ready=True, since={}),
        "images": [{"names": [image], "sizeBytes": 686780} for image in settings.images],
        "nodeInfo": {
            "architecture": "amd64",
            "containerRuntimeVersion": "containerd://2.2.0",
            "kubeletVersion": "v1.37.2",
            "operatingSystem": "linux",
            "osImage": "simulated",
            "bootID": "simulated",
            "kernelVersion": "simulated",
            "kubeProxyVersion": "",
            "machineID": "simulated",
            "systemUUID": "simulated",
        },
    }
    annotations = {FAKE_NODE: "fake"} if fake else {"simulator/kubelet": "true"}
    return {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": {}, "status": status}


def joining(node: Document, now: str) -> Document:
    """Return the node as its kubelet first registers it: NotReady, with the taint that admission adds."""
    taint = {"key": NOT_READY_TAINT, "effect": "NoSchedule"}
    status = {**node["status"], "conditions": conditions(now, ready=False, since={})}
    return {**node, "spec": {**node["spec"], "taints": [taint]}, "status": status}


def conditions(now: str, *, ready: bool, since: dict[str, Document]) -> list[Document]:
    """Return the conditions that a kubelet reports; `since` has the previous ones by type."""
    said = [
        {"type": kind, "status": "False", "reason": reason, "message": message} for kind, reason, message in _PRESSURES
    ]
    said.append(_READY if ready else _NOT_READY)
    return [{**_timed(found, since.get(found["type"], {}), now), "lastHeartbeatTime": now} for found in said]


def unknown(now: str, since: dict[str, Document]) -> list[Document]:
    """Return the conditions that the control plane sets when the kubelet is silent."""
    silent = {"status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
    return [_timed({**before, **silent}, before, now) for before in since.values()]


def _timed(found: Document, before: Document, now: str) -> Document:
    same = before.get("status") == found["status"]
    return {**found, "lastTransitionTime": before.get("lastTransitionTime", now) if same else now}
