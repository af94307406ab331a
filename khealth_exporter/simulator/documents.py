"""Kubernetes objects as JSON documents: reading, merging, encoding and their times."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

Document = dict[str, Any]
"""One JSON object. A stored document is shared between its readers and is never changed in place."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

_MERGE_KEYS = {"conditions": "type", "containers": "name", "env": "name", "ownerReferences": "uid"}


def encode(document: Document) -> bytes:
    """Return the document as compact JSON."""
    return _encoder.encode(document)


def decode(raw: bytes) -> Any:  # noqa: ANN401  # a client can send anything
    """Return the decoded JSON. Raises `msgspec.DecodeError`."""
    return _decoder.decode(raw)


def metadata(document: Document) -> Document:
    """Return the object's metadata."""
    found: Document = document.get("metadata") or {}
    return found


def name_of(document: Document) -> str:
    """Return metadata.name, or an empty string."""
    return str(metadata(document).get("name") or "")


def namespace_of(document: Document) -> str:
    """Return metadata.namespace, or an empty string."""
    return str(metadata(document).get("namespace") or "")


def uid_of(document: Document) -> str:
    """Return metadata.uid, or an empty string."""
    return str(metadata(document).get("uid") or "")


def labels_of(document: Document) -> dict[str, str]:
    """Return metadata.labels."""
    return metadata(document).get("labels") or {}


def owners_of(document: Document) -> list[Document]:
    """Return metadata.ownerReferences."""
    return metadata(document).get("ownerReferences") or []


def controller_uid(document: Document) -> str:
    """Return the uid of the owner that controls the object, or an empty string."""
    return next((str(owner["uid"]) for owner in owners_of(document) if owner.get("controller")), "")


def is_deleting(document: Document) -> bool:
    """Tell whether metadata.deletionTimestamp is set."""
    return bool(metadata(document).get("deletionTimestamp"))


def spec_of(document: Document) -> Document:
    """Return the object's spec."""
    found: Document = document.get("spec") or {}
    return found


def status_of(document: Document) -> Document:
    """Return the object's status."""
    found: Document = document.get("status") or {}
    return found


def node_of(pod: Document) -> str:
    """Return the node that the pod is bound to, or an empty string."""
    return str(spec_of(pod).get("nodeName") or "")


def phase_of(document: Document) -> str:
    """Return status.phase, or an empty string."""
    return str(status_of(document).get("phase") or "")


def is_active(pod: Document) -> bool:
    """Tell whether the pod is neither terminated nor being deleted."""
    return phase_of(pod) not in {"Succeeded", "Failed"} and not is_deleting(pod)


def condition(document: Document, kind: str) -> Document | None:
    """Return the status condition of that type, if there is one."""
    conditions: list[Document] = status_of(document).get("conditions") or []
    return next((found for found in conditions if found.get("type") == kind), None)


def has_condition(document: Document, kind: str, status: str = "True") -> bool:
    """Tell whether the status condition of that type has that status."""
    found = condition(document, kind)
    return found is not None and found.get("status") == status


def with_conditions(document: Document, changed: Iterable[Document], now: str) -> list[Document]:
    """Return the object's conditions, with the given ones in place of those of the same type.

    `lastTransitionTime` becomes `now` if the status differs, and is kept otherwise.
    """
    merged = {found["type"]: found for found in status_of(document).get("conditions") or []}
    for new in changed:
        before = merged.get(new["type"])
        same = before is not None and before.get("status") == new["status"]
        since = before.get("lastTransitionTime", now) if before is not None and same else now
        merged[new["type"]] = {**new, "lastTransitionTime": since}
    return list(merged.values())


def merged(target: Document, patch: Document, *, strategic: bool = False) -> Document:
    """Return the target with a JSON merge patch (RFC 7386) applied; neither is changed.

    A strategic merge patch also merges the lists that have merge keys.
    """
    result = dict(target)
    for key, value in patch.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(before if isinstance(before, dict) else {}, value, strategic=strategic)
        elif strategic and isinstance(value, list) and isinstance(before, list) and key in _MERGE_KEYS:
            result[key] = _merged_list(before, value, _MERGE_KEYS[key])
        else:
            result[key] = value
    return result


def _merged_list(before: list[Document], changes: list[Document], key: str) -> list[Document]:
    entries = {entry.get(key): entry for entry in before}
    for change in changes:
        if change.get("$patch") == "delete":
            entries.pop(change.get(key), None)
        else:
            entries[change.get(key)] = merged(entries.get(change.get(key), {}), change, strategic=True)
    return list(entries.values())


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as Kubernetes' Time: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(seconds: float) -> str:
    """Return seconds since the epoch as Kubernetes' MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def epoch(text: str) -> float:
    """Return the seconds since the epoch of a Time or MicroTime."""
    return datetime.fromisoformat(text).timestamp()
