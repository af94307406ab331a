"""Lists: the selected objects in pages, with their resourceVersion."""

import base64
import binascii
from typing import Final, Protocol

import msgspec

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.documents import decode, encode
from khealth_exporter.simulator.request_info import RequestInfo
from khealth_exporter.simulator.resources import Resource
from khealth_exporter.simulator.selection import Selector
from khealth_exporter.simulator.store import Key, Record

_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


class View(Protocol):
    """The source of a list: the store, or a stale view of it."""

    @property
    def revision(self) -> int:
        """The resourceVersion of the list."""

    @property
    def compacted(self) -> int:
        """The revision up to which the history is compacted."""

    def records(self, resource: Resource, selector: Selector) -> list[tuple[Key, Record]]:
        """Return the selected objects, ordered by key."""


def render(view: View, info: RequestInfo, selector: Selector) -> bytes:
    """Return the JSON of the list. Raises `ApiError` (400, 410)."""
    after, revision = _resume(view, info.query.get("continue", ""))
    records = [item for item in view.records(info.resource, selector) if after is None or item[0] > after]
    limit = _limit(info.query.get("limit", ""))
    page = records[:limit] if limit else records
    about: dict[str, object] = {"resourceVersion": str(revision)}
    if len(page) < len(records):
        about["continue"] = _token(revision, page[-1][0])
        about["remainingItemCount"] = len(records) - len(page)
    head = f'{{"kind":"{info.resource.kind}List","apiVersion":"{info.resource.api_version}","metadata":'.encode()
    return head + encode(about) + b',"items":[' + b",".join(record.raw for _, record in page) + b"]}"


def asked_revision(text: str) -> int | None:
    """Return the resourceVersion of a query; None where none is given. Raises `ApiError` (400)."""
    if not text:
        return None
    if not text.isdigit():
        raise errors.bad_request(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _limit(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _token(revision: int, key: Key) -> str:
    raw = encode({"v": "meta.k8s.io/v1", "rv": revision, "start": list(key)})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _resume(view: View, token: str) -> tuple[Key | None, int]:
    if not token:
        return None, view.revision
    try:
        found = decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = found["start"]
        revision = int(found["rv"])
    except (binascii.Error, msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    if revision < view.compacted:
        raise errors.expired(_TOO_OLD)
    return (namespace, name), revision
