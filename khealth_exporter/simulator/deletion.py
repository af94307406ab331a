"""Deletion (grace periods, preconditions, propagation policies, evictions), and the binding of pods."""

from dataclasses import dataclass
from typing import Final, Literal

from khealth_exporter.simulator import dry_run, errors
from khealth_exporter.simulator.documents import (
    Document,
    is_deleting,
    metadata,
    name_of,
    namespace_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
    timestamp,
    uid_of,
    with_conditions,
)
from khealth_exporter.simulator.registry import Registry
from khealth_exporter.simulator.resources import NAMESPACES, PODS, Resource
from khealth_exporter.simulator.selection import Selector
from khealth_exporter.simulator.store import Key, key_of

Policy = Literal["Orphan", "Background", "Foreground"]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
SYSTEM_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
_POLICIES: Final = ("Orphan", "Background", "Foreground")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options of a delete request."""

    grace: int | None = None
    """Seconds; None means the object's own grace period."""
    uid: str = ""
    revision: str = ""
    policy: Policy | None = None
    dry_run: bool = False


FORCE: Final = DeleteOptions(grace=0)


def parse_options(body: Document, query: Document) -> DeleteOptions:
    """Return the delete options of the body, or of the query if there is no body. Raises `ApiError` (400, 422)."""
    given = body or query
    preconditions = body.get("preconditions") or {}
    policy = given.get("propagationPolicy")
    if policy is not None and policy not in _POLICIES:
        raise errors.bad_request(
            f'invalid deletion propagation policy "{policy}"; it must be one of: {", ".join(_POLICIES)}'
        )
    grace = given.get("gracePeriodSeconds")
    return DeleteOptions(
        None if grace is None else int(grace),
        str(preconditions.get("uid") or ""),
        str(preconditions.get("resourceVersion") or ""),
        policy,
        dry_run.asked(given.get("dryRun") or (), "DeleteOptions"),
    )


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes objects, and binds pods."""

    registry: Registry

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> tuple[Document, bool]:
        """Delete the object, or mark it for deletion.

        Returns its last state and whether it is gone. Raises `ApiError` (403, 404, 409).
        """
        found = self.registry.get(resource, *key)
        _check_preconditions(resource, found, options)
        if resource is NAMESPACES:
            return self._delete_namespace(found, options), False
        marked = self._with_finalizers(resource, self._with_grace(resource, found, options), options)
        if options.dry_run:
            return marked, not is_deleting(marked) or self.registry.is_done(resource, marked)
        store = self.registry.store
        if not is_deleting(marked):
            return store.remove(resource, marked), True
        stored = store.put(resource, self._counted(resource, found, marked))
        last = self.registry.forget_if_done(resource, stored)
        return last, last is not stored

    def delete_collection(self, resource: Resource, selector: Selector, options: DeleteOptions) -> list[Document]:
        """Delete the selected objects and return them."""
        keys = [key for key, _ in self.registry.store.records(resource, selector)]
        return [self.delete(resource, key, options)[0] for key in keys]

    def evict(self, key: Key, options: DeleteOptions) -> None:
        """Delete a pod as the eviction API does, with the condition DisruptionTarget."""
        pod = self.registry.get(PODS, *key)
        _check_preconditions(PODS, pod, options)
        if not options.dry_run:
            self.disrupt(pod, "EvictionByEvictionAPI", "Eviction API: evicting")
        self.delete(PODS, key, options)

    def disrupt(self, pod: Document, reason: str, message: str) -> None:
        """Set a pod's condition DisruptionTarget."""
        target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
        conditions = with_conditions(pod, [target], timestamp(self.registry.now()))
        self.registry.patch(PODS, key_of(pod), {"status": {"conditions": conditions}}, subresource="status")

    def bind(self, key: Key, node: str) -> None:
        """Bind a pod to a node. Raises `ApiError` (404, 409)."""
        pod = self.registry.get(PODS, *key)
        if is_deleting(pod):
            why = f"pod {key[1]} is being deleted, cannot be assigned to a host"
            raise errors.conflict(PODS, key[1], why, subresource="binding")
        if node_of(pod):
            why = f'pod {key[1]} is already assigned to node "{node_of(pod)}"'
            raise errors.conflict(PODS, key[1], why, subresource="binding")
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        conditions = with_conditions(pod, [scheduled], timestamp(self.registry.now()))
        bound = {
            **pod,
            "spec": {**spec_of(pod), "nodeName": node},
            "status": {**status_of(pod), "conditions": conditions},
        }
        self.registry.store.put(PODS, bound)

    def finish_namespace(self, namespace: Document) -> None:
        """Remove a namespace that is empty."""
        self.registry.store.remove(NAMESPACES, {**namespace, "spec": {}})

    def _delete_namespace(self, namespace: Document, options: DeleteOptions) -> Document:
        name = name_of(namespace)
        if name in SYSTEM_NAMESPACES:
            raise errors.forbidden(NAMESPACES, name, "this namespace may not be deleted")
        if is_deleting(namespace) or options.dry_run:
            return namespace
        marked = {**metadata(namespace), "deletionTimestamp": timestamp(self.registry.now())}
        ending = {**namespace, "metadata": marked, "status": {**status_of(namespace), "phase": "Terminating"}}
        return self.registry.store.put(NAMESPACES, ending)

    def _with_grace(self, resource: Resource, found: Document, options: DeleteOptions) -> Document:
        """Set a pod's grace period; a second delete can only shorten it."""
        if resource is not PODS:
            return found
        grace = spec_of(found).get("terminationGracePeriodSeconds", 30) if options.grace is None else options.grace
        if not node_of(found) or phase_of(found) in {"Succeeded", "Failed"}:
            grace = 0
        grace = 1 if grace < 0 else int(grace)
        present = metadata(found).get("deletionGracePeriodSeconds")
        if present is not None and grace >= present:
            return found
        end = timestamp(self.registry.now() + grace)
        marked = {**metadata(found), "deletionTimestamp": end, "deletionGracePeriodSeconds": grace}
        return {**found, "metadata": marked}

    def _with_finalizers(self, resource: Resource, found: Document, options: DeleteOptions) -> Document:
        """Add the finalizer that the policy needs; an object with finalizers is marked for deletion, not removed."""
        finalizers = list(metadata(found).get("finalizers") or [])
        undecided = not {ORPHAN, FOREGROUND} & set(finalizers)
        policy = options.policy or ("Orphan" if resource.orphans_by_default and undecided else None)
        if policy is not None:
            finalizers = [name for name in finalizers if name not in {ORPHAN, FOREGROUND}]
            finalizers += {"Orphan": [ORPHAN], "Foreground": [FOREGROUND], "Background": []}[policy]
        marked = {key: value for key, value in metadata(found).items() if key != "finalizers"}
        if finalizers:
            marked["finalizers"] = finalizers
            marked.setdefault("deletionTimestamp", timestamp(self.registry.now()))
            marked.setdefault("deletionGracePeriodSeconds", 0)
        return {**found, "metadata": marked}

    def _counted(self, resource: Resource, before: Document, marked: Document) -> Document:
        if is_deleting(before) or not resource.counts_generations:
            return marked
        generation = int(metadata(before).get("generation", 0)) + 1
        return {**marked, "metadata": {**metadata(marked), "generation": generation}}


def _check_preconditions(resource: Resource, found: Document, options: DeleteOptions) -> None:
    if options.uid and options.uid != uid_of(found):
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid_of(found)}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.precondition_failed(resource, name_of(found), why)
    revision = metadata(found)["resourceVersion"]
    if options.revision and options.revision != revision:
        why = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in "
            f"record ({revision}). The object might have been modified"
        )
        raise errors.precondition_failed(resource, name_of(found), why)


def owner_reference(resource: Resource, owner: Document) -> Document:
    """Return the owner reference that a controller sets."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def involved(resource: Resource, document: Document) -> Document:
    """Return the involvedObject of an Event."""
    reference = {
        "kind": resource.kind,
        "namespace": namespace_of(document),
        "name": name_of(document),
        "uid": uid_of(document),
        "apiVersion": resource.api_version,
        "resourceVersion": metadata(document).get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}
