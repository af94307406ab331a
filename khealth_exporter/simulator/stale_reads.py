"""Stale reads: each ConfigMap as it was before its last change, as from an outdated cache."""

from typing import Final

from khealth_exporter.simulator.documents import Document, encode, metadata
from khealth_exporter.simulator.resources import CONFIG_MAPS, Resource
from khealth_exporter.simulator.selection import Selector, traits_of
from khealth_exporter.simulator.store import Commit, Key, Record, Store

FAULT: Final = "stale-reads"
"""The name of the fault."""


class StaleReads:
    """Keeps the version before the last change of every existing ConfigMap."""

    def __init__(self, store: Store) -> None:
        """Listen to that store."""
        self._store = store
        self._earlier: dict[Key, Document] = {}
        store.listen(self._listen)

    @property
    def revision(self) -> int:
        """The resourceVersion of a list: a watch that resumes from it sees every change that the list lacks."""
        hidden = [self._store.get(CONFIG_MAPS, key) for key in self._earlier]
        return min(
            (int(metadata(found)["resourceVersion"]) - 1 for found in hidden if found), default=self._store.revision
        )

    @property
    def compacted(self) -> int:
        """The revision up to which the history is compacted."""
        return self._store.compacted

    def get(self, key: Key) -> Document | None:
        """Return the version before the last change; None if the ConfigMap was not changed since its creation."""
        return self._earlier.get(key)

    def records(self, resource: Resource, selector: Selector) -> list[tuple[Key, Record]]:
        """Return the selected versions before the last change, ordered by key."""
        everything = self._store.records(resource, Selector())
        seen = [(key, self._record(key) or record) for key, record in everything]
        return [(key, record) for key, record in seen if selector.matches(record.traits)]

    def _record(self, key: Key) -> Record | None:
        earlier = self._earlier.get(key)
        return None if earlier is None else Record(earlier, encode(earlier), traits_of(CONFIG_MAPS, earlier))

    def _listen(self, commit: Commit) -> None:
        if commit.resource is not CONFIG_MAPS:
            return
        if commit.kind == "MODIFIED" and commit.before is not None:
            self._earlier[commit.key] = commit.before
        else:
            self._earlier.pop(commit.key, None)
