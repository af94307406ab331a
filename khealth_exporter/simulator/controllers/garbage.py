"""The garbage collector: background and foreground deletion of dependents, and orphaning."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator.deletion import FOREGROUND, ORPHAN, DeleteOptions, Policy
from khealth_exporter.simulator.documents import Document, is_deleting, metadata, namespace_of, owners_of, uid_of
from khealth_exporter.simulator.resources import Resource, find_kind
from khealth_exporter.simulator.store import Commit, Key
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_WORKERS: Final = 5


@dataclass(frozen=True, slots=True)
class _Item:
    resource: Resource
    key: Key


class GarbageCollector(Component):
    """Deletes or orphans the dependents of deleted objects."""

    holding = ("controller-stalled", "garbage-collector-off")

    def __init__(self, world: World) -> None:
        """Listen to all objects."""
        super().__init__(world)
        self._queue: WorkQueue[_Item] = WorkQueue(world.settings.speed)
        self._dependents: defaultdict[str, set[_Item]] = defaultdict(set)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the workers."""
        for _ in range(_WORKERS):
            self.world.tasks.create_task(self._queue.work(self._look))

    def _listen(self, commit: Commit) -> None:
        item = _Item(commit.resource, commit.key)
        before = [] if commit.before is None else owners_of(commit.before)
        after = [] if commit.kind == "DELETED" else owners_of(commit.document)
        for owner in before:
            self._unlink(owner["uid"], item)
        for owner in after:
            self._dependents[owner["uid"]].add(item)
        if commit.kind == "DELETED":
            for dependent in self._dependents.get(uid_of(commit.document), ()):
                self._queue.add(dependent)
            self._look_at_owners(commit.document)
        elif before != after or is_deleting(commit.document):
            self._queue.add(item)

    def _unlink(self, owner: str, item: _Item) -> None:
        dependents = self._dependents[owner]
        dependents.discard(item)
        if not dependents:
            del self._dependents[owner]

    def _look_at_owners(self, document: Document) -> None:
        for reference in owners_of(document):
            owner = self._owner_item(document, reference)
            if owner is not None:
                self._queue.add(owner)

    async def _look(self, item: _Item) -> None:
        await self.pause(self.world.settings.delays.collect)
        await self.turn()
        document = self.world.store.get(item.resource, item.key)
        if document is None:
            return
        finalizers = metadata(document).get("finalizers") or []
        if is_deleting(document) and ORPHAN in finalizers:
            self._orphan(item, document)
        elif is_deleting(document) and FOREGROUND in finalizers:
            self._finish_foreground(item, document)
        elif owners_of(document) and not is_deleting(document):
            self._check_owners(item, document)

    def _orphan(self, item: _Item, owner: Document) -> None:
        for dependent in list(self._dependents.get(uid_of(owner), ())):
            found = self.world.registry.get(dependent.resource, *dependent.key)
            left = [reference for reference in owners_of(found) if reference["uid"] != uid_of(owner)]
            self.world.registry.patch(
                dependent.resource, dependent.key, {"metadata": {"ownerReferences": left or None}}
            )
        self._drop_finalizer(item, owner, ORPHAN)

    def _finish_foreground(self, item: _Item, owner: Document) -> None:
        blocking = [
            dependent
            for dependent in self._dependents.get(uid_of(owner), ())
            if _blocks(self.world.registry.get(dependent.resource, *dependent.key), uid_of(owner))
        ]
        for dependent in blocking:
            self._queue.add(dependent)
        if not blocking:
            self._drop_finalizer(item, owner, FOREGROUND)

    def _drop_finalizer(self, item: _Item, document: Document, finalizer: str) -> None:
        left = [name for name in metadata(document)["finalizers"] if name != finalizer]
        self.world.registry.patch(item.resource, item.key, {"metadata": {"finalizers": left or None}})

    def _check_owners(self, item: _Item, document: Document) -> None:
        """Delete the object unless one of its owners exists and is not waiting for its dependents."""
        leaving = False
        for reference in owners_of(document):
            owner = self._owner_item(document, reference)
            if owner is None:
                return
            found = self.world.store.get(owner.resource, owner.key)
            exists = found is not None and uid_of(found) == reference["uid"]
            waits = found is not None and is_deleting(found) and FOREGROUND in (metadata(found).get("finalizers") or [])
            if exists and not waits:
                return
            leaving = leaving or exists
        own = bool(self._dependents.get(uid_of(document)))
        policy: Policy = "Foreground" if leaving and own else "Background"
        options = DeleteOptions(uid=uid_of(document), policy=policy)
        self.world.deletion.delete(item.resource, item.key, options)

    def _owner_item(self, document: Document, reference: Document) -> _Item | None:
        resource = find_kind(reference["apiVersion"], reference["kind"])
        if resource is None:
            return None
        return _Item(resource, (namespace_of(document) if resource.namespaced else "", reference["name"]))


def _blocks(dependent: Document, owner: str) -> bool:
    return any(reference["uid"] == owner and reference.get("blockOwnerDeletion") for reference in owners_of(dependent))
