"""Claims, volumes and storage classes: their defaults, their rules (422), and how they belong together."""

from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator.documents import (
    Document,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    phase_of,
    spec_of,
)
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.pod_rules import required
from khealth_exporter.simulator.resources import CLAIMS, STORAGE_CLASSES, VOLUMES, Resource
from khealth_exporter.simulator.store import Store

PROVISIONER: Final = "csi.simulated.example"
PROVISIONED_FOR: Final = "volume.kubernetes.io/storage-provisioner"
"""The annotation of a claim that names who must provision its volume."""
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""The annotation of a claim that names the node which the scheduler has chosen for its first consumer."""
BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
WAITS: Final = "WaitForFirstConsumer"
PROTECTION: Final = {CLAIMS: "kubernetes.io/pvc-protection", VOLUMES: "kubernetes.io/pv-protection"}
"""The finalizers of what is in use."""
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_SOURCES: Final = ("csi", "hostPath", "local", "nfs")

CLASSES: Final[tuple[Document, ...]] = (
    {
        "metadata": {"name": "standard", "annotations": {_DEFAULT_CLASS: "true"}},
        "provisioner": PROVISIONER,
        "volumeBindingMode": WAITS,
    },
    {"metadata": {"name": "immediate"}, "provisioner": PROVISIONER},
)
"""The storage classes of a new cluster."""


def admitted(store: Store, resource: Resource, document: Document) -> Document:
    """Return a new claim or volume with its finalizer, and a claim with the default class if it names none."""
    finalizers = metadata(document).get("finalizers") or []
    protected = {**metadata(document), "finalizers": [*dict.fromkeys((*finalizers, PROTECTION[resource]))]}
    admitted = {**document, "metadata": protected}
    if resource is CLAIMS and spec_of(document).get("storageClassName") is None:
        defaults = [name_of(found) for found in store.all(STORAGE_CLASSES) if _is_default(found)]
        if defaults:
            admitted["spec"] = {**spec_of(document), "storageClassName": defaults[-1]}
    return admitted


def _is_default(storage_class: Document) -> bool:
    return (metadata(storage_class).get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def fill_class(storage_class: Document) -> Document:
    """Return the storage class with its defaults."""
    return {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **storage_class}


def fill_claim(claim: Document) -> Document:
    """Return the claim with its defaults."""
    return {**claim, "spec": {"volumeMode": "Filesystem", **spec_of(claim)}, "status": {"phase": "Pending"}}


def fill_volume(volume: Document) -> Document:
    """Return the volume with its defaults."""
    spec = {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem", **spec_of(volume)}
    return {**volume, "spec": spec, "status": {"phase": "Pending"}}


def class_causes(storage_class: Document) -> Iterator[Cause]:
    """Yield what is wrong with a storage class."""
    if not storage_class.get("provisioner"):
        yield required("provisioner")


def claim_causes(claim: Document) -> Iterator[Cause]:
    """Yield what is wrong with a claim."""
    if not spec_of(claim).get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if "storage" not in ((spec_of(claim).get("resources") or {}).get("requests") or {}):
        yield required("spec.resources[storage]")


def claim_update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of a claim: only a missing volumeName and the resources can change."""
    kept, changed = ({**spec_of(claim), "resources": None} for claim in (before, after))
    if not kept.get("volumeName"):
        changed.pop("volumeName", None)
    if kept != changed:
        why = "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName"
        yield Cause("FieldValueForbidden", f"{why} for bound claims", "spec")


def volume_causes(volume: Document) -> Iterator[Cause]:
    """Yield what is wrong with a volume."""
    for field in ("accessModes", "capacity"):
        if not spec_of(volume).get(field):
            yield required(f"spec.{field}")
    if not any(source in spec_of(volume) for source in _SOURCES):
        yield required("spec", "must specify a volume type")


def claim_names(pod: Document) -> list[str]:
    """Return the names of the claims that the pod mounts."""
    volumes = spec_of(pod).get("volumes") or []
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]


def is_bound(claim: Document) -> bool:
    """Tell whether the claim has its volume."""
    return phase_of(claim) == "Bound"


def waits_for_consumer(store: Store, claim: Document) -> bool:
    """Tell whether the claim's class binds it only when a pod that uses it is scheduled."""
    found = store.get(STORAGE_CLASSES, ("", str(spec_of(claim).get("storageClassName"))))
    return (found or {}).get("volumeBindingMode") == WAITS


def unusable(store: Store, pod: Document) -> str:
    """Return why the scheduler cannot place the pod because of its claims, or an empty string."""
    for name in claim_names(pod):
        claim = store.get(CLAIMS, (namespace_of(pod), name))
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if is_deleting(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if not is_bound(claim) and not waits_for_consumer(store, claim):
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def unbound_claims(store: Store, pod: Document) -> list[Document]:
    """Return the pod's claims that wait for their volumes."""
    claims = [store.get(CLAIMS, (namespace_of(pod), name)) for name in claim_names(pod)]
    return [claim for claim in claims if claim is not None and not is_bound(claim)]
