"""The ControllerRevisions of StatefulSets: the templates that its pods have, by name."""

from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator.controllers import workload
from khealth_exporter.simulator.deletion import DeleteOptions, owner_reference
from khealth_exporter.simulator.documents import Document, labels_of, name_of, namespace_of, spec_of, status_of, uid_of
from khealth_exporter.simulator.resources import CONTROLLER_REVISIONS, STATEFUL_SETS
from khealth_exporter.simulator.store import key_of
from khealth_exporter.simulator.world import World

HASH: Final = "controller-revision-hash"
"""The label of a pod that names its ControllerRevision."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """The template that a StatefulSet had when its last update was complete, and the one that it has now."""

    current: Document
    update: Document


def find(world: World, owner: Document) -> Revisions:
    """Return the StatefulSet's revisions; that of its present template is created if it is missing."""
    update = _present(world, owner)
    named = (namespace_of(owner), str(status_of(owner).get("currentRevision") or ""))
    return Revisions(world.store.get(CONTROLLER_REVISIONS, named) or update, update)


def template_of(revision: Document) -> Document:
    """Return the pod template that the revision keeps."""
    return {key: value for key, value in revision["data"]["spec"]["template"].items() if key != "$patch"}


def forget_old(world: World, owner: Document, revisions: Revisions, pods: list[Document]) -> None:
    """Delete the oldest revisions beyond the history limit that no pod has."""
    used = {labels_of(pod).get(HASH) for pod in pods} | {name_of(revisions.current), name_of(revisions.update)}
    idle = [found for found in workload.owned(world, owner, CONTROLLER_REVISIONS) if name_of(found) not in used]
    idle.sort(key=lambda found: int(found["revision"]))
    for found in idle[: max(0, len(idle) - int(spec_of(owner)["revisionHistoryLimit"]))]:
        world.deletion.delete(CONTROLLER_REVISIONS, key_of(found), DeleteOptions(uid=uid_of(found)))


def _present(world: World, owner: Document) -> Document:
    """Return the revision of the present template, as the latest one."""
    template = spec_of(owner)["template"]
    known = workload.owned(world, owner, CONTROLLER_REVISIONS)
    latest = max((int(found["revision"]) for found in known), default=0)
    same = next((found for found in known if template_of(found) == template), None)
    if same is None:
        code = workload.revision_hash(template)
        made = {
            "metadata": {
                "name": f"{name_of(owner)}-{code}",
                "labels": {**labels_of(template), "controller.kubernetes.io/hash": code},
                "ownerReferences": [owner_reference(STATEFUL_SETS, owner)],
            },
            "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            "revision": latest + 1,
        }
        return world.registry.create(CONTROLLER_REVISIONS, namespace_of(owner), made)
    if int(same["revision"]) == latest:
        return same
    return world.registry.patch(CONTROLLER_REVISIONS, key_of(same), {"revision": latest + 1})
