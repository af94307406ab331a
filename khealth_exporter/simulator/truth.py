"""What really happened to every pod, and when: the reference for measured values."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    name_of,
    namespace_of,
    node_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.resources import PODS
from khealth_exporter.simulator.store import Commit


@dataclass(frozen=True, slots=True)
class PodTruth:
    """When one pod reached each milestone, in seconds of the event loop's clock; None if it has not."""

    uid: str
    namespace: str
    name: str
    node: str = ""
    created: float | None = None
    bound: float | None = None
    sandboxed: float | None = None
    started: float | None = None
    ready: float | None = None
    deletion_marked: float | None = None
    deleted: float | None = None


class TruthLog:
    """Records the milestones of the latest pods."""

    def __init__(self, clock: Callable[[], float], limit: int) -> None:
        """Take the time from `clock`; keep at most `limit` pods."""
        self._clock = clock
        self._limit = limit
        self._pods: OrderedDict[str, PodTruth] = OrderedDict()

    @property
    def pods(self) -> Mapping[str, PodTruth]:
        """The truth by pod uid, oldest first."""
        return MappingProxyType(self._pods)

    def listen(self, commit: Commit) -> None:
        """Record a write."""
        if commit.resource is not PODS:
            return
        pod, now = commit.document, self._clock()
        uid = uid_of(pod)
        truth = self._pods.get(uid) or PodTruth(uid, namespace_of(pod), name_of(pod), created=now)
        reached = _reached(commit)
        changes: dict[str, Any] = {name: now for name in reached if getattr(truth, name) is None}
        self._pods[uid] = replace(truth, node=node_of(pod), **changes)
        while len(self._pods) > self._limit:
            self._pods.popitem(last=False)


def _reached(commit: Commit) -> list[str]:
    pod = commit.document
    milestones = {
        "bound": bool(node_of(pod)),
        "sandboxed": has_condition(pod, "PodReadyToStartContainers"),
        "started": _all_started(pod),
        "ready": has_condition(pod, "Ready"),
        "deletion_marked": "deletionTimestamp" in pod["metadata"],
        "deleted": commit.kind == "DELETED",
    }
    return [name for name, reached in milestones.items() if reached]


def _all_started(pod: Document) -> bool:
    statuses = status_of(pod).get("containerStatuses") or []
    return bool(statuses) and all(_has_started(status) for status in statuses)


def _has_started(status: Document) -> bool:
    state = status.get("state") or {}
    return "running" in state or "terminated" in state or int(status.get("restartCount") or 0) > 0
