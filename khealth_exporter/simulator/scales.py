"""The subresource `scale` of workloads."""

from typing import Final

from khealth_exporter.simulator import errors, pod_rules
from khealth_exporter.simulator.documents import Document, metadata, name_of, spec_of, status_of
from khealth_exporter.simulator.resources import (
    DEPLOYMENTS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)

SCALED: Final = frozenset({DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS})
_SCALE: Final = Resource("autoscaling", "v1", "scales", "Scale")
_SHOWN: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def of(workload: Document) -> Document:
    """Return the Scale of a workload."""
    selector: Document = spec_of(workload).get("selector") or {}
    labels = selector.get("matchLabels", selector)
    return {
        "kind": _SCALE.kind,
        "apiVersion": _SCALE.api_version,
        "metadata": {field: metadata(workload)[field] for field in _SHOWN},
        "spec": {"replicas": spec_of(workload)["replicas"]},
        "status": {
            "replicas": status_of(workload).get("replicas", 0),
            "selector": ",".join(f"{name}={value}" for name, value in labels.items()),
        },
    }


def scaled(workload: Document, scale: Document) -> Document:
    """Return the workload with the replicas of a Scale. Raises `ApiError` (422)."""
    replicas = spec_of(scale).get("replicas", 0)
    if causes := [*pod_rules.not_negative(spec_of(scale), "replicas")]:
        raise errors.invalid(_SCALE, name_of(workload), causes)
    about = metadata(workload)
    if revision := metadata(scale).get("resourceVersion"):
        about = {**about, "resourceVersion": revision}
    return {**workload, "metadata": about, "spec": {**spec_of(workload), "replicas": replicas}}
