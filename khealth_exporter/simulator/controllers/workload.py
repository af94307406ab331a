"""What the controllers of pods share: selecting, making and counting pods, and hashes of their templates."""

import json
from typing import Final

from khealth_exporter.simulator import documents
from khealth_exporter.simulator.deletion import owner_reference
from khealth_exporter.simulator.documents import (
    Document,
    condition,
    controller_uid,
    has_condition,
    is_active,
    labels_of,
    metadata,
    namespace_of,
    spec_of,
    uid_of,
)
from khealth_exporter.simulator.resources import PODS, Resource
from khealth_exporter.simulator.selection import label_tests
from khealth_exporter.simulator.store import key_of
from khealth_exporter.simulator.world import World

_SAFE_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_FNV_OFFSET: Final = 2166136261
_FNV_PRIME: Final = 16777619


def selects(workload: Document, candidate: Document) -> bool:
    """Tell whether the workload's selector, a LabelSelector or plain labels, selects the candidate."""
    selector: Document = spec_of(workload).get("selector") or {}
    plain = not {"matchLabels", "matchExpressions"} & selector.keys()
    tests = label_tests({"matchLabels": selector} if plain else selector)
    return bool(tests) and all(test(labels_of(candidate)) for test in tests)


def adopt(world: World, resource: Resource, owner: Document, dependents: Resource) -> None:
    """Make the owner the controller of what it selects and nobody controls."""
    for found in world.store.all(dependents, namespace_of(owner)):
        idle = not controller_uid(found) and is_active(found)
        if idle and selects(owner, found):
            owners = [*documents.owners_of(found), owner_reference(resource, owner)]
            world.registry.patch(dependents, key_of(found), {"metadata": {"ownerReferences": owners}})


def owned(world: World, owner: Document, dependents: Resource) -> list[Document]:
    """Return what the owner controls, whether it is being deleted or not."""
    found = world.store.all(dependents, namespace_of(owner))
    return [dependent for dependent in found if controller_uid(dependent) == uid_of(owner)]


def owner_of(world: World, resource: Resource, dependent: Document) -> Document | None:
    """Return the owner of this kind that controls the dependent, if there is one."""
    uid = controller_uid(dependent)
    owners = world.store.all(resource, namespace_of(dependent)) if uid else iter(())
    return next((owner for owner in owners if uid_of(owner) == uid), None)


def pod_of(resource: Resource, owner: Document, template: Document, **about: object) -> Document:
    """Return a new pod of one of the owner's templates; `about` is added to its metadata."""
    given = metadata(template)
    copied = {name: given[name] for name in ("labels", "annotations", "finalizers") if name in given}
    owners = [owner_reference(resource, owner)]
    return {"metadata": {**copied, "ownerReferences": owners, **about}, "spec": template["spec"]}


def is_available(world: World, workload: Document, pod: Document) -> bool:
    """Tell whether the pod has been ready for the workload's minReadySeconds."""
    seconds = int(spec_of(workload).get("minReadySeconds") or 0)
    ready = condition(pod, "Ready")
    if ready is None or not has_condition(pod, "Ready"):
        return False
    return seconds == 0 or world.elapsed(ready["lastTransitionTime"]) >= seconds


def pods_of(world: World, owner: Document) -> list[Document]:
    """Return the pods that the owner controls, without those that have ended or are being deleted."""
    return [pod for pod in owned(world, owner, PODS) if is_active(pod)]


def revision_hash(template: Document, collisions: int = 0) -> str:
    """Return the label value that tells pod templates apart; `collisions` yields another one."""
    value = _FNV_OFFSET
    for byte in json.dumps([template, collisions], sort_keys=True).encode():
        value = (value ^ byte) * _FNV_PRIME % 2**32
    return "".join(_SAFE_LETTERS[byte % len(_SAFE_LETTERS)] for byte in str(value).encode())
