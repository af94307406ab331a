"""Recording core/v1 Events, as controllers do."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from khealth_exporter.simulator.deletion import involved
from khealth_exporter.simulator.documents import Document, name_of, namespace_of, timestamp, uid_of
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.registry import Registry
from khealth_exporter.simulator.resources import EVENTS, Resource
from khealth_exporter.simulator.store import Commit, Key

_SHOWN = 1024
"""Maximum length of a message, in characters."""


@dataclass(frozen=True, slots=True)
class Source:
    """The component that records, and its host if it has one."""

    component: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The content of an Event."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str
    field: str = ""
    """The part of the object, for example `spec.containers{name}`."""


class Recorder:
    """Writes Events; equal ones are counted in one object, and the oldest are dropped."""

    def __init__(self, registry: Registry, limit: int) -> None:
        """Keep at most `limit` Events."""
        self._registry = registry
        self._limit = limit
        self._kept: OrderedDict[Key, tuple[str, ...]] = OrderedDict()
        self._known: dict[tuple[str, ...], Key] = {}
        registry.store.listen(self._watch)

    def record(self, source: Source, resource: Resource, document: Document, occurrence: Occurrence) -> None:
        """Record an Event about the object, unless its namespace is being deleted."""
        what = (uid_of(document), source.component, occurrence.reason, occurrence.message)
        known = self._known.get(what)
        try:
            if known is not None:
                self._count(known)
            else:
                self._create(what, source, resource, document, occurrence)
        except ApiError:
            return

    def _count(self, key: Key) -> None:
        count = int(self._registry.get(EVENTS, *key).get("count") or 1) + 1
        now = timestamp(self._registry.now())
        self._registry.patch(EVENTS, key, {"count": count, "lastTimestamp": now})

    def _create(
        self, what: tuple[str, ...], source: Source, resource: Resource, document: Document, occurrence: Occurrence
    ) -> None:
        now = self._registry.now()
        namespace = namespace_of(document) or "default"
        name = f"{name_of(document)}.{int(now * 1e9):x}{self._registry.random.getrandbits(12):03x}"
        reference = involved(resource, document)
        if occurrence.field:
            reference["fieldPath"] = occurrence.field
        event: Document = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "reason": occurrence.reason,
            "message": occurrence.message[:_SHOWN],
            "source": {"component": source.component, **({"host": source.host} if source.host else {})},
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
            "type": occurrence.kind,
            "eventTime": None,
            "reportingComponent": source.component,
            "reportingInstance": source.host,
        }
        self._registry.create(EVENTS, namespace, event)
        self._kept[namespace, name] = what
        self._known[what] = namespace, name
        while len(self._kept) > self._limit:
            oldest = next(iter(self._kept))
            self._registry.store.remove(EVENTS, self._registry.get(EVENTS, *oldest))

    def _watch(self, commit: Commit) -> None:
        if commit.resource is not EVENTS:
            return
        if commit.kind == "ADDED":
            self._kept[commit.key] = ()
        elif commit.kind == "DELETED":
            what = self._kept.pop(commit.key, None)
            if what is not None:
                self._known.pop(what, None)
