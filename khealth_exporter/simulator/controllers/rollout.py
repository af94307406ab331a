"""How a Deployment rolls out: the sizes of its ReplicaSets, its status and its conditions, by the real rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator import documents
from khealth_exporter.simulator.apps import RECREATE
from khealth_exporter.simulator.documents import Document, labels_of, metadata, name_of, spec_of, status_of

HASH: Final = "pod-template-hash"
"""The label that tells the pods of one ReplicaSet from those of the Deployment's others."""
REVISION: Final = "deployment.kubernetes.io/revision"
"""The annotation that counts the templates of a Deployment."""
AVAILABLE: Final = "NewReplicaSetAvailable"
TIMED_OUT: Final = "ProgressDeadlineExceeded"
FAILURE: Final = "ReplicaFailure"
_WHOLE: Final = 100

Sizes = Mapping[str, int]
"""The new number of replicas of each ReplicaSet that changes, by name."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many replicas a Deployment has in the end, and how far it may deviate until then."""

    replicas: int
    surge: int
    unavailable: int


def limits(deployment: Document) -> Limits:
    """Return the limits of a Deployment, with percentages resolved."""
    replicas, strategy = int(spec_of(deployment)["replicas"]), spec_of(deployment)["strategy"]
    if strategy["type"] == RECREATE:
        return Limits(replicas, 0, 0)
    rolling = strategy["rollingUpdate"]
    surge = resolved(rolling["maxSurge"], replicas, up=True)
    unavailable = resolved(rolling["maxUnavailable"], replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


def resolved(value: int | str, replicas: int, *, up: bool) -> int:
    """Return a number, or a percentage of the replicas as a number that is rounded up or down."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * replicas
    return -(-share // _WHOLE) if up else share // _WHOLE


def first_size(deployment: Document, old: Iterable[Document]) -> int:
    """Return the number of replicas of a new ReplicaSet."""
    allowed = limits(deployment)
    if spec_of(deployment)["strategy"]["type"] == RECREATE:
        return allowed.replicas
    return max(0, min(allowed.replicas + allowed.surge - _wanted(old), allowed.replicas))


def next_sizes(deployment: Document, new: Document, old: Sequence[Document]) -> Sizes:
    """Return the ReplicaSets to scale next; `new` has the Deployment's template, and `old` begin with the oldest."""
    return _grown(deployment, new, old) or _shrunk(deployment, new, old)


def last_sizes(old: Sequence[Document]) -> Sizes:
    """Return the ReplicaSets to scale down before a Deployment is recreated."""
    return {name_of(found): 0 for found in old if _size(found)}


def _grown(deployment: Document, new: Document, old: Sequence[Document]) -> Sizes:
    """Scale the new ReplicaSet up as far as the surge allows, or down to what is wanted."""
    wanted, present = limits(deployment).replicas, _size(new)
    size = wanted if present > wanted else min(wanted, max(present, first_size(deployment, old)))
    return {} if size == present else {name_of(new): size}


def _shrunk(deployment: Document, new: Document, old: Sequence[Document]) -> Sizes:
    """Scale the old ReplicaSets down: unavailable pods first, then as many as the new ones replace."""
    allowed = limits(deployment)
    least, every = allowed.replicas - allowed.unavailable, [*old, new]
    room = _wanted(every) - least - (_size(new) - _available([new]))
    if room <= 0:
        return {}
    sizes = {name_of(found): _size(found) for found in old}
    for found in old:
        cleaned = max(0, min(room, _size(found) - _available([found])))
        sizes[name_of(found)] -= cleaned
        room -= cleaned
    spare = max(0, _available(every) - least)
    for name, size in sizes.items():
        taken = min(size, spare)
        sizes[name] -= taken
        spare -= taken
    return {name_of(found): sizes[name_of(found)] for found in old if sizes[name_of(found)] != _size(found)}


def counts(deployment: Document, new: Document | None, every: Sequence[Document]) -> Document:
    """Return the counts of the Deployment's status, without those that are 0."""
    available = _available(every)
    found = {
        "observedGeneration": metadata(deployment)["generation"],
        "replicas": _counted(every, "replicas"),
        "updatedReplicas": 0 if new is None else _counted([new], "replicas"),
        "readyReplicas": _counted(every, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, _wanted(every) - available),
        "collisionCount": status_of(deployment).get("collisionCount", 0),
    }
    status = {name: count for name, count in found.items() if count}
    return {**status, "terminatingReplicas": _counted(every, "terminatingReplicas")}


def is_complete(deployment: Document, status: Document) -> bool:
    """Tell whether every replica is available and of the present template, and nothing is left of the old ones."""
    wanted = limits(deployment).replicas
    names = ("updatedReplicas", "replicas", "availableReplicas")
    observed = status.get("observedGeneration", 0) >= metadata(deployment)["generation"]
    return observed and all(status.get(name, 0) == wanted for name in names)


def has_progressed(before: Document, after: Document) -> bool:
    """Tell whether a status shows progress over an earlier one."""
    left = [status.get("replicas", 0) - status.get("updatedReplicas", 0) for status in (before, after)]
    grown = any(
        after.get(name, 0) > before.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or left[1] < left[0]


def availability(deployment: Document, status: Document) -> Document:
    """Return the condition Available."""
    allowed = limits(deployment)
    if status.get("availableReplicas", 0) >= allowed.replicas - allowed.unavailable:
        return _condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    message = "Deployment does not have minimum availability."
    return _condition("Available", "False", "MinimumReplicasUnavailable", message)


def progressing(status: str, reason: str, message: str) -> Document:
    """Return the condition Progressing."""
    return _condition("Progressing", status, reason, message)


def failure(new: Document | None, every: Sequence[Document]) -> Document | None:
    """Return the condition ReplicaFailure of the new ReplicaSet, or else of any other that has one."""
    found = (documents.condition(one, FAILURE) for one in [*([] if new is None else [new]), *every])
    first = next(filter(None, found), None)
    return None if first is None else _condition(FAILURE, first["status"], first["reason"], first["message"])


def with_condition(conditions: Sequence[Document], new: Document, now: str, *, again: bool = False) -> list[Document]:
    """Return the conditions with the new one; the same status and reason change nothing unless `again`."""
    before = next((found for found in conditions if found["type"] == new["type"]), {})
    same = before.get("status") == new["status"]
    if same and before.get("reason") == new["reason"] and not again:
        return list(conditions)
    since = before["lastTransitionTime"] if same else now
    others = [found for found in conditions if found["type"] != new["type"]]
    return [*others, {**new, "lastUpdateTime": now, "lastTransitionTime": since}]


def revision(replica_set: Document) -> int:
    """Return the number of the Deployment's templates when the ReplicaSet was last its new one; 0 if it never was."""
    return int((metadata(replica_set).get("annotations") or {}).get(REVISION, 0))


def has_template(replica_set: Document, deployment: Document) -> bool:
    """Tell whether the ReplicaSet has the Deployment's template, but for the hash."""
    template = spec_of(replica_set)["template"]
    labels = {name: value for name, value in labels_of(template).items() if name != HASH}
    return bool({**template, "metadata": {**metadata(template), "labels": labels}} == spec_of(deployment)["template"])


def _condition(kind: str, status: str, reason: str, message: str) -> Document:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _size(replica_set: Document) -> int:
    return int(spec_of(replica_set)["replicas"])


def _wanted(replica_sets: Iterable[Document]) -> int:
    return sum(map(_size, replica_sets))


def _available(replica_sets: Iterable[Document]) -> int:
    return _counted(replica_sets, "availableReplicas")


def _counted(replica_sets: Iterable[Document], name: str) -> int:
    return sum(int(status_of(found).get(name) or 0) for found in replica_sets)
