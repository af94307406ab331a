"""Getting one object that may not exist."""

from typing import TypeVar

import msgspec

from khealth_exporter.cluster.client.client import Client
from khealth_exporter.cluster.decoding import decode
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)


async def get_or_none(client: Client, kind: Kind[T], path: str, deadline: float) -> T | None:
    """Ask for the object at a path; None if there is none; raise Refused, or Failed if the answer cannot be decoded."""
    try:
        answer = await client.request("get", kind.plural, path, deadline=deadline)
    except Refused as refused:
        if refused.refusal.missing:
            return None
        raise
    try:
        return decode(kind.type, answer.body)
    except msgspec.MsgspecError as error:
        raise Failed(Reason.API_ERROR, f"cannot decode answer: {error}") from error
