"""`Status`, the object in which the API server says why a request fails."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

TEXT = 4096
"""Bytes of an answer that is no `Status` which are read for its text."""

_HALF_A_STATUS = re.compile(rb'\s*\{\s*"kind"\s*:\s*"Status"')


_KUBERNETES = frozenset({"kind", "apiVersion", "metadata", "items", "object"})
"""Fields of which an object, a list, and a line of a watch has at least one."""


@dataclass(frozen=True, slots=True)
class Status:
    """What of a `Status` object is read; the empty value stands for whatever is missing or absurd."""

    code: int = 0
    reason: str = ""
    message: str = ""
    causes: tuple[str, ...] = ()
    retry_after: float | None = None
    genuine: bool = False
    """Whether it is a `Status`, or the beginning of one: what only the API server writes."""


def read_status(body: bytes) -> Status:
    """Read a `Status` object; anything else becomes its message. Never raises."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Status(message=plain(body), genuine=_HALF_A_STATUS.match(body) is not None)
    if not isinstance(told, dict):
        return Status(message=plain(body))
    details = _dict(told.get("details"))
    causes = details.get("causes")
    code = told.get("code")
    genuine = told.get("kind") == "Status"
    return Status(
        code=code if isinstance(code, int) else 0,
        reason=_text(told.get("reason")),
        message=_text(told.get("message")) or ("" if genuine else plain(body)),
        # The API's documentation calls it `reason`; Go's name for the same field is Type.
        causes=tuple(_text(_dict(cause).get("reason")) for cause in causes) if isinstance(causes, list) else (),
        retry_after=seconds(details.get("retryAfterSeconds")),
        genuine=genuine,
    )


def strange(body: bytes) -> bool:
    """Tell whether a body is complete, but nothing that an API server writes: a page, text, or JSON of its own kind.

    Half an object, and nothing at all, may be what is left of an API server's answer.
    """
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        start = body.lstrip()[:1]
        return start.isalnum() or start == b"<"
    return isinstance(told, str) or (isinstance(told, dict) and bool(told) and not _KUBERNETES & told.keys())


def plain(body: bytes) -> str:
    """Return the words of a body that is no JSON object: a proxy's page without its tags, or half a `Status`."""
    text = body[:TEXT].decode(errors="replace")
    shown = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|$)", " ", text)
    return re.sub(r"<[^<>]*>", " ", shown).replace('\\"', '"')


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def seconds(value: object) -> float | None:
    """Return a number of whole seconds above 0, the only form that the API server gives; None for anything else."""
    text = str(value) if isinstance(value, int | str) else ""
    return float(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else None
