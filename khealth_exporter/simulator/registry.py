"""Create, read, update and patch objects in the store, with the API server's rules."""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator import defaults, errors, services, validation
from khealth_exporter.simulator.admission import Admission
from khealth_exporter.simulator.documents import (
    Document,
    is_deleting,
    merged,
    metadata,
    name_of,
    namespace_of,
    timestamp,
    uid_of,
)
from khealth_exporter.simulator.network import addresses
from khealth_exporter.simulator.resources import NAMESPACES, NODES, REPLICATION_CONTROLLERS, SERVICES, Resource
from khealth_exporter.simulator.store import Store

_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH: Final = 5
_STALE: Final = "the object has been modified; please apply your changes to the latest version and try again"
_STORED_AS: Final[Mapping[Resource, str]] = {NODES: "minions", REPLICATION_CONTROLLERS: "controllers"}
"""The names of resources in etcd that are not their plurals."""
_SERVER_OWNED: Final = ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Registry:
    """Creates, updates and patches objects; each method is atomic."""

    store: Store
    admission: Admission
    random: random.Random
    now: Callable[[], float]
    """Seconds since the epoch."""
    services: addresses.Network = addresses.SERVICES
    """The addresses of Services."""

    def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """Return the object. Raises `ApiError` (404)."""
        found = self.store.get(resource, (namespace, name))
        if found is None:
            raise errors.not_found(resource, name)
        return found

    def create(self, resource: Resource, namespace: str, document: Document, *, dry_run: bool = False) -> Document:
        """Create the object and return it as stored. Raises `ApiError`."""
        given = {key: value for key, value in document.items() if key not in {"kind", "apiVersion"}}
        if resource.namespaced and namespace_of(given) not in {"", namespace}:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        given = self.admission.begin(resource, namespace, given)
        created = defaults.fill(resource, {**given, "metadata": self._new_metadata(resource, namespace, given)})
        validation.check(resource, created)
        self.admission.finish(resource, namespace, created, dry_run=dry_run)
        if self.store.get(resource, (namespace, name_of(created))) is not None:
            raise errors.already_exists(resource, name_of(created))
        self._allocate(resource, created)
        return created if dry_run else self.store.put(resource, created)

    def update(
        self,
        resource: Resource,
        key: tuple[str, str],
        document: Document,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document:
        """Replace the object, or its status, and return it as stored. Raises `ApiError`."""
        before = self.get(resource, *key)
        if name_of(document) not in {"", key[1]}:
            raise errors.bad_request(
                f"the name of the object ({name_of(document)}) does not match the name on the URL ({key[1]})"
            )
        revision = metadata(document).get("resourceVersion")
        if revision and not str(revision).isdigit():
            raise errors.malformed_revision(str(revision))
        if not revision and resource.needs_revision:
            raise errors.revision_required(resource, key[1])
        if uid_of(document) not in {"", uid_of(before)}:
            raise errors.conflict(resource, key[1], _other_uid(resource, before, uid_of(document)))
        if revision and revision != metadata(before)["resourceVersion"]:
            raise errors.conflict(resource, key[1], _STALE)
        return self._replace(resource, before, document, subresource, dry_run=dry_run)

    def patch(
        self,
        resource: Resource,
        key: tuple[str, str],
        change: Callable[[Document], Document] | Document,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Document:
        """Apply a merge patch or a function to the object, and return it as stored. Raises `ApiError`."""
        before = self.get(resource, *key)
        after = change(before) if callable(change) else merged(before, change)
        if metadata(after).get("resourceVersion") != metadata(before)["resourceVersion"]:
            raise errors.conflict(resource, key[1], _STALE)
        return self._replace(resource, before, after, subresource, dry_run=dry_run)

    def forget_if_done(self, resource: Resource, document: Document) -> Document:
        """Remove an object that is marked for deletion and waits for nothing; return it as it is now."""
        return self.store.remove(resource, document) if self.is_done(resource, document) else document

    def is_done(self, resource: Resource, document: Document) -> bool:
        """Tell whether the object is marked for deletion and waits for nothing."""
        waits = metadata(document).get("finalizers") or (metadata(document).get("deletionGracePeriodSeconds") or 0) > 0
        return is_deleting(document) and not waits and resource is not NAMESPACES

    def _new_metadata(self, resource: Resource, namespace: str, document: Document) -> Document:
        given = dict(metadata(document))
        for field in (*_SERVER_OWNED, "uid", "creationTimestamp", "namespace", "managedFields", "selfLink"):
            given.pop(field, None)
        prefix = given.get("generateName")
        name = given.pop("name", None) or (prefix and prefix + self._suffix()) or ""
        made: Document = {"name": name, **given}
        if namespace:
            made["namespace"] = namespace
        made["uid"] = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        if resource.counts_generations:
            made["generation"] = 1
        made["creationTimestamp"] = timestamp(self.now())
        return made

    def _allocate(self, resource: Resource, document: Document) -> None:
        """Give a Service its address and node ports. Raises `ApiError` (422)."""
        if resource is SERVICES:
            start = self.random.getrandbits(32)
            if causes := [*services.allocate(self.store, self.services, document, start)]:
                raise errors.invalid(resource, name_of(document), causes)

    def _suffix(self) -> str:
        return "".join(self.random.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))

    def _replace(
        self, resource: Resource, before: Document, given: Document, subresource: str, *, dry_run: bool
    ) -> Document:
        after = {key: value for key, value in given.items() if key not in {"kind", "apiVersion"}}
        if subresource == "status":
            after = {**before, "status": after.get("status") or {}}
            if resource.counts_annotations and metadata(given).get("annotations"):
                after["metadata"] = {**metadata(before), "annotations": metadata(given)["annotations"]}
        else:
            after = defaults.fill(resource, {**after, "metadata": _kept_metadata(before, after)})
            if resource.has_status and "status" in before:
                after["status"] = before["status"]
            if resource is NAMESPACES:
                after["spec"] = before["spec"]
            if resource is SERVICES:
                after = services.filled_update(before, after)
            validation.check_update(resource, before, after)
            self._allocate(resource, after)
            if _counts(resource, before, after):
                generation = int(metadata(before).get("generation", 0)) + 1
                after["metadata"] = {**after["metadata"], "generation": generation}
        if dry_run:
            return after
        return self.forget_if_done(resource, self.store.put(resource, after))


def _counts(resource: Resource, before: Document, after: Document) -> bool:
    """Tell whether an update is a new generation of the object."""
    annotations, earlier = (metadata(found).get("annotations") or {} for found in (after, before))
    content = [
        {key: value for key, value in found.items() if key not in {"metadata", "status"}} for found in (before, after)
    ]
    changed = content[0] != content[1] or (resource.counts_annotations and annotations != earlier)
    return resource.counts_generations and changed


def _other_uid(resource: Resource, before: Document, given: str) -> str:
    """Return why the storage refuses an update that names another uid."""
    path = "/".join(filter(None, (namespace_of(before), name_of(before))))
    why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {uid_of(before)}"
    key = f"/registry/{_STORED_AS.get(resource, resource.plural)}/{path}"
    return f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {why}"


def _kept_metadata(before: Document, after: Document) -> Document:
    """Return the client's metadata with the fields that only the server can change, without empty fields."""
    kept = {key: value for key, value in metadata(after).items() if key not in _SERVER_OWNED and value not in ({}, [])}
    ours = metadata(before)
    for field in ("name", "namespace", "uid", "creationTimestamp"):
        if field in ours:
            kept.setdefault(field, ours[field])
    kept |= {field: ours[field] for field in _SERVER_OWNED if field in ours}
    kept.pop("managedFields", None)
    return kept
