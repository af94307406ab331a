"""From bytes to objects: patient with nulls and absurdities, exact with what identifies."""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from khealth_exporter.cluster.objects import KubernetesObject, Lenient

_DIGITS = 20
"""Digits of a resourceVersion: a 64-bit number's; Python refuses to read numbers of thousands."""

P = TypeVar("P")
T = TypeVar("T", bound=KubernetesObject)


class ListMetadata(Lenient, frozen=True):
    """Where a list stands, and whether more of it follows."""

    resource_version: str = ""
    continue_: str = field(default="", name="continue")


class RawList(Lenient, frozen=True):
    """A list whose items are not decoded yet: one absurd item must not hide the others."""

    metadata: ListMetadata = ListMetadata()
    items: tuple[Raw, ...] = ()


class WatchLine(Struct, Generic[T], frozen=True):
    """One line of a watch, its object not decoded yet."""

    type: str = ""
    object: Raw = Raw(b"{}")


class ReadLine(Struct, Generic[T], frozen=True):
    """One line of a watch with its object, as nearly all are: well formed."""

    object: T
    type: str = ""


def _plain(raw: Any) -> Any:  # noqa: ANN401 - it is any JSON
    """Return JSON without its nulls, so that defaults stand in for them."""
    if isinstance(raw, dict):
        return {key: _plain(value) for key, value in raw.items() if value is not None}
    if isinstance(raw, list):
        return [_plain(value) for value in raw if value is not None]
    return raw


def decode(kind: type[T], raw: bytes | Raw) -> T:
    """Return an object of this kind; ValueError (msgspec's) where even a patient look finds none.

    The fast way reads well-formed objects as they are; only what it refuses is read again without its nulls.
    """
    try:
        return parse(kind, raw)
    except msgspec.DecodeError:
        try:
            plain = _plain(parse(object, raw))
        except RecursionError as error:
            raise msgspec.DecodeError(str(error)) from error
        try:
            return msgspec.convert(plain, kind, strict=False)
        except msgspec.ValidationError:
            return msgspec.convert(_only_metadata(plain), kind, strict=False)


def decode_page(kind: type[T], body: bytes) -> tuple[RawList, list[T]]:
    """Return one page of a list, and its objects; ValueError (msgspec's) where it is none."""
    page = parse(RawList, body)
    return page, [decode(kind, raw) for raw in page.items]


def parse(kind: type[P], raw: bytes | Raw) -> P:
    """Return JSON as this type, exactly; DecodeError (msgspec's) for whatever is wrong with it."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def _only_metadata(plain: Any) -> Any:  # noqa: ANN401 - it is any JSON
    """Return what identifies an object whose other fields make no sense."""
    metadata = plain.get("metadata", {}) if isinstance(plain, dict) else {}
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
    kept = {
        name: metadata[name] for name in names if isinstance(metadata, dict) and isinstance(metadata.get(name), str)
    }
    return {"metadata": kept}


def number_of(version: str) -> int:
    """Return a resourceVersion as the number that it is (comparable by API convention since Kubernetes 1.35)."""
    return int(version) if version.isdecimal() and len(version) <= _DIGITS else 0
