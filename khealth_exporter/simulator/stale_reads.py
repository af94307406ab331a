"""Stale reads of ConfigMaps, as from an outdated cache: each before its last change, or before its creation."""

from typing import Final

from khealth_exporter.simulator.documents import Document, encode, metadata
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.resources import CONFIG_MAPS, Resource
from khealth_exporter.simulator.selection import Selector, traits_of
from khealth_exporter.simulator.store import Commit, Key, Record, Store

READS: Final = "stale-reads"
"""The fault in which a read returns the version before the last change."""
CREATES: Final = "stale-creates"
"""The fault in which a read does not find what was created since the fault began."""


class StaleReads:
    """Keeps the version before the last change of every existing ConfigMap, and the names of those not shown yet."""

    def __init__(self, store: Store, faults: Faults) -> None:
        """Listen to that store, and follow those faults."""
        self._store, self._faults = store, faults
        self._earlier: dict[Key, Document] = {}
        self._unseen: set[Key] = set()
        store.listen(self._listen)
        faults.react(self._react)

    @property
    def revision(self) -> int:
        """The resourceVersion of a list: a watch that resumes from it sees every change that the list lacks."""
        keys = self._unseen | (self._earlier.keys() if self._faults.active(READS) else set())
        hidden = [self._store.get(CONFIG_MAPS, key) for key in keys]
        return min(
            (int(metadata(found)["resourceVersion"]) - 1 for found in hidden if found), default=self._store.revision
        )

    @property
    def compacted(self) -> int:
        """The revision up to which the history is compacted."""
        return self._store.compacted

    def affects(self, resource: Resource) -> bool:
        """Tell whether reads of the resource are stale now."""
        return resource is CONFIG_MAPS and (self._faults.active(READS) or self._faults.active(CREATES))

    def get(self, key: Key) -> Document | None:
        """Return the ConfigMap as a stale read shows it; None if it does not."""
        if key in self._unseen:
            return None
        earlier = self._earlier.get(key) if self._faults.active(READS) else None
        return earlier or self._store.get(CONFIG_MAPS, key)

    def records(self, resource: Resource, selector: Selector) -> list[tuple[Key, Record]]:
        """Return the selected ConfigMaps as a stale read shows them, ordered by key."""
        shown = [(key, self.get(key)) for key, _ in self._store.records(resource, Selector())]
        seen = [(key, _record(found)) for key, found in shown if found is not None]
        return [(key, record) for key, record in seen if selector.matches(record.traits)]

    def _listen(self, commit: Commit) -> None:
        if commit.resource is not CONFIG_MAPS:
            return
        if commit.kind == "MODIFIED" and commit.before is not None:
            self._earlier[commit.key] = commit.before
            return
        self._earlier.pop(commit.key, None)
        self._unseen.discard(commit.key)
        if commit.kind == "ADDED" and self._faults.active(CREATES):
            self._unseen.add(commit.key)

    def _react(self, name: str, _node: str, began: bool) -> None:
        if name == CREATES and not began:
            self._unseen.clear()


def _record(document: Document) -> Record:
    return Record(document, encode(document), traits_of(CONFIG_MAPS, document))
