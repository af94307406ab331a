"""The store: every object's present state, one global resourceVersion, and a bounded history to watch."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from khealth_exporter.simulator.broadcast import Broadcast
from khealth_exporter.simulator.documents import Document, encode, metadata, name_of, namespace_of
from khealth_exporter.simulator.resources import RESOURCES, Resource
from khealth_exporter.simulator.selection import Selector, Traits, traits_of

Kind = Literal["ADDED", "MODIFIED", "DELETED"]
Key = tuple[str, str]
"""Namespace (empty for what has none) and name."""

_FIRST_REVISION: Final = 100


class Compacted(Exception):  # noqa: N818  # it is an answer, not an error
    """The history does not reach back that far."""


@dataclass(frozen=True, slots=True)
class Record:
    """One stored version of an object, without its kind and apiVersion."""

    document: Document
    raw: bytes
    traits: Traits


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history, with what a watcher needs; it has no document, to stay small."""

    revision: int
    kind: Kind
    raw: bytes
    traits: Traits
    raw_before: bytes | None
    traits_before: Traits | None


@dataclass(frozen=True, slots=True)
class Commit:
    """One write, as the listeners inside the simulator see it."""

    resource: Resource
    kind: Kind
    document: Document
    before: Document | None

    @property
    def key(self) -> Key:
        """The object's namespace and name."""
        return key_of(self.document)


def key_of(document: Document) -> Key:
    """Return the object's namespace and name."""
    return namespace_of(document), name_of(document)


class History:
    """The changes of one resource, oldest first; positions stay valid when older changes are dropped."""

    def __init__(self, limit: int) -> None:
        """Keep about `limit` changes."""
        self._limit = limit
        self._changes: list[Change] = []
        self._dropped = 0
        self._compacted = 0
        self.bell = Broadcast()

    @property
    def end(self) -> int:
        """The position of the next change."""
        return self._dropped + len(self._changes)

    def append(self, change: Change) -> None:
        """Add a change and wake the watchers; the oldest changes are dropped."""
        self._changes.append(change)
        if len(self._changes) > self._limit + self._limit // 4:
            self._compacted = max(self._compacted, self._changes[-self._limit - 1].revision)
            self._dropped += len(self._changes) - self._limit
            del self._changes[: -self._limit]
        self.bell.ring()

    def position(self, revision: int) -> int:
        """Return the position of the first change after the revision. Raises `Compacted`."""
        if revision < self._compacted:
            raise Compacted
        return self._dropped + bisect_right(self._changes, revision, key=lambda change: change.revision)

    def since(self, position: int) -> list[Change]:
        """Return the changes from the position on. Raises `Compacted`."""
        if position < self._dropped:
            raise Compacted
        return self._changes[position - self._dropped :]

    def compact(self, revision: int) -> None:
        """Drop all changes; `revision` is the current one."""
        self._compacted = revision
        self._dropped += len(self._changes)
        self._changes = []


class Store:
    """Objects by resource and key; each write has its own revision."""

    def __init__(self, history_limit: int) -> None:
        """Keep about `history_limit` changes of each resource for watchers."""
        self.revision = _FIRST_REVISION
        self.compacted = 0
        self._objects: Mapping[Resource, dict[Key, Record]] = {resource: {} for resource in RESOURCES}
        self._histories = {resource: History(history_limit) for resource in RESOURCES}
        self._listeners: list[Callable[[Commit], None]] = []

    def listen(self, listener: Callable[[Commit], None]) -> None:
        """Call the listener during every write."""
        self._listeners.append(listener)

    def history(self, resource: Resource) -> History:
        """Return the resource's history."""
        return self._histories[resource]

    def get(self, resource: Resource, key: Key) -> Document | None:
        """Return the object, if there is one."""
        record = self._objects[resource].get(key)
        return None if record is None else record.document

    def records(self, resource: Resource, selector: Selector) -> list[tuple[Key, Record]]:
        """Return the selected objects, ordered by key."""
        found = [item for item in self._objects[resource].items() if selector.matches(item[1].traits)]
        return sorted(found, key=lambda item: item[0])

    def all(self, resource: Resource, namespace: str = "") -> Iterator[Document]:
        """Yield the objects of the namespace, or of all; writes in the meantime are allowed."""
        for key, record in list(self._objects[resource].items()):
            if namespace in {"", key[0]}:
                yield record.document

    def put(self, resource: Resource, document: Document) -> Document:
        """Create or replace the object and return it as stored; without a change, nothing is written."""
        key = key_of(document)
        before = self._objects[resource].get(key)
        if before is not None and _same(before.document, document):
            return before.document
        kind: Kind = "ADDED" if before is None else "MODIFIED"
        record = self._record(resource, document)
        self._objects[resource][key] = record
        self._commit(resource, kind, record, before)
        return record.document

    def remove(self, resource: Resource, document: Document) -> Document:
        """Remove the object; `document` is its last state, which is returned."""
        before = self._objects[resource].pop(key_of(document))
        record = self._record(resource, document)
        self._commit(resource, "DELETED", record, before)
        return record.document

    def compact(self) -> None:
        """Drop the whole history; watches cannot resume from earlier revisions."""
        self.compacted = self.revision
        for history in self._histories.values():
            history.compact(self.revision)

    def _record(self, resource: Resource, document: Document) -> Record:
        self.revision += 1
        stored = {**document, "metadata": {**metadata(document), "resourceVersion": str(self.revision)}}
        return Record(stored, encode(stored), traits_of(resource, stored))

    def _commit(self, resource: Resource, kind: Kind, record: Record, before: Record | None) -> None:
        change = Change(
            self.revision,
            kind,
            record.raw,
            record.traits,
            None if before is None else before.raw,
            None if before is None else before.traits,
        )
        self._histories[resource].append(change)
        commit = Commit(resource, kind, record.document, None if before is None else before.document)
        for listener in self._listeners:
            listener(commit)


def _same(stored: Document, document: Document) -> bool:
    if stored.keys() != document.keys():
        return False
    if any(stored[key] is not document[key] and stored[key] != document[key] for key in stored if key != "metadata"):
        return False
    ours, theirs = dict(metadata(stored)), dict(metadata(document))
    ours.pop("resourceVersion", None)
    theirs.pop("resourceVersion", None)
    return ours == theirs
