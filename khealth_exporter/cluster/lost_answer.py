"""What a write came to whose answer was lost: the second try finds what the first one has done."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from khealth_exporter.cluster.client.client import Answer, Client
from khealth_exporter.cluster.client.lookup import decoded
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind


async def change(  # noqa: PLR0913, PLR0917 - each is part of what is asked
    client: Client, verb: str, kind: Kind[Any], path: str, body: Mapping[str, object], deadline: float
) -> Answer:
    """Update or patch an object; raise Refused.

    A conflict after a try without an answer may be with that very try. Where the object holds what was written, it is
    the success that it was: `sent` is the first try's, and `delay` covers the whole time since then.
    """
    began = client.clock.now()
    try:
        return await client.request(verb, kind.plural, path, body=body, deadline=deadline)
    except Refused as refused:
        if not (refused.refusal.conflict and refused.unanswered):
            raise
        now = client.clock.now()
        found = await client.request("get", kind.plural, path, deadline=deadline)
        decoded(kind, found)
        if not holds(msgspec.json.decode(found.body), _unversioned(body)):
            raise
        return replace(found, sent=began, answered=now, delay=now - began, tries=refused.tries)


async def removal(
    client: Client, kind: Kind[Any], path: str, options: Mapping[str, object], deadline: float
) -> Answer | None:
    """Delete an object; None if it was gone before; raise Refused.

    Gone after a try without an answer is that try's success, measured from it; such an answer's code is still 404 or
    409, because another client may have deleted the object.
    """
    began = client.clock.now()
    try:
        return await client.request("delete", kind.plural, path, body=options, deadline=deadline)
    except Refused as refused:
        if not (refused.refusal.missing or refused.refusal.conflict):
            raise
        if not refused.unanswered:
            return None
        now = client.clock.now()
        return Answer(refused.refusal.code, b"", began, now, now - began, refused.tries, None)


def holds(stored: object, written: object) -> bool:
    """Tell whether an object holds every field that was written; null stands for no field, as in a merge patch."""
    if isinstance(written, Mapping):
        there = {} if stored is None else stored
        return isinstance(there, Mapping) and all(holds(there.get(key), value) for key, value in written.items())
    if isinstance(written, list) and isinstance(stored, list):
        return len(stored) == len(written) and all(map(holds, stored, written))
    return stored == written


def _unversioned(body: Mapping[str, object]) -> Mapping[str, object]:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return body
    return {**body, "metadata": {key: value for key, value in metadata.items() if key != "resourceVersion"}}
