"""A Node object, as its kubelet registers and reports it."""

from typing import Final

from khealth_exporter.simulator.controllers.kubelet import FAKE_NODE
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.settings import SimulatorSettings

_PRESSURES: Final = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def build(name: str, address: str, settings: SimulatorSettings, now: str, *, fake: bool) -> Document:
    """Return the node that a kubelet registers."""
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
        },
    }
    annotations = {FAKE_NODE: "fake"} if fake else {"simulator/kubelet": "true"}
    return {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": {}, "status": status}


def conditions(now: str, *, ready: bool, since: dict[str, Document]) -> list[Document]:
    """Return what a kubelet says of its node; `since` gives the conditions as they were, by type."""
    said = [(kind, "False", reason, message) for kind, reason, message in _PRESSURES]
    if ready:
        said.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    else:
        why = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady"
        said.append(("Ready", "False", "KubeletNotReady", why))
    return [_condition(now, since.get(kind, {}), kind, status, reason, message) for kind, status, reason, message in said]


def unknown(now: str, since: dict[str, Document]) -> list[Document]:
    """Return what the control plane says of a node whose kubelet is silent."""
    message = "Kubelet stopped posting node status."
    return [
        {
            **_condition(now, before, kind, "Unknown", "NodeStatusUnknown", message),
            "lastHeartbeatTime": before.get("lastHeartbeatTime", now),
        }
        for kind, before in since.items()
    ]


def _condition(now: str, before: Document, kind: str, status: str, reason: str, message: str) -> Document:
    changed = before.get("lastTransitionTime", now) if before.get("status") == status else now
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": now,
        "lastTransitionTime": changed,
        "reason": reason,
        "message": message,
    }
