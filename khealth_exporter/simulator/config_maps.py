"""Decoding (400) and validation (422) of ConfigMaps, with the real API server's messages."""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.errors import Cause

_KEY: Final = "[-._a-zA-Z0-9]+"
_KEY_RULE: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    f"or 'key-name', regex used for validation is '{_KEY}')"
)
_IMMUTABLE: Final = "Forbidden: field is immutable when `immutable` is set"
_NUMBER: Final = "number"
_JSON_KINDS: Final[Mapping[type, str]] = {
    bool: "bool",
    int: _NUMBER,
    float: _NUMBER,
    str: "string",
    list: "array",
    dict: "object",
}


def causes(document: Document) -> Iterator[Cause]:
    """Yield the validation errors. Raises `ApiError` (400) if the ConfigMap cannot be decoded."""
    data = _decoded(document.get("data"), "ConfigMap", "data", "string")
    yield from _key_causes("data", data)
    yield from binary_causes(document, "binaryData", "ConfigMap")
    for key in sorted(data.keys() & (document.get("binaryData") or {}).keys()):
        yield _invalid(f"data[{key}]", key, "duplicate of key present in binaryData")


def update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield the validation errors of an update; an immutable ConfigMap keeps its data."""
    yield from causes(after)
    yield from immutable_causes(before, after, "data", "binaryData")


def immutable_causes(before: Document, after: Document, *fields: str) -> Iterator[Cause]:
    """Yield a cause for each of these fields that an update of an immutable object changes."""
    if not before.get("immutable"):
        return
    if not after.get("immutable"):
        yield Cause("FieldValueForbidden", _IMMUTABLE, "immutable")
    for field in fields:
        if (before.get(field) or {}) != (after.get(field) or {}):
            yield Cause("FieldValueForbidden", _IMMUTABLE, field)


def binary_causes(document: Document, field: str, kind: str) -> Iterator[Cause]:
    """Yield the validation errors of a field with base64 values. Raises `ApiError` (400) if it cannot be decoded."""
    entries = _decoded(document.get(field), kind, field, "[]uint8")
    for value in entries.values():
        _check_base64(value, kind)
    yield from _key_causes(field, entries)


def _key_causes(field: str, entries: Mapping[str, str]) -> Iterator[Cause]:
    for key in sorted(entries):
        if not re.fullmatch(_KEY, key):
            yield _invalid(f"{field}[{key}]", key, _KEY_RULE)


def _decoded(given: object, kind: str, field: str, values: str) -> Mapping[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _undecodable(given, kind, field, f"map[string]{values}")
    for value in given.values():
        if not isinstance(value, str):
            raise _undecodable(value, kind, field, values)
    return given


def _undecodable(given: object, kind: str, field: str, values: str) -> errors.ApiError:
    found = _JSON_KINDS.get(type(given), "null")
    return _refused(kind, f"json: cannot unmarshal {found} into Go struct field {kind}.{field} of type {values}")


def _refused(kind: str, why: str) -> errors.ApiError:
    return errors.bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def _check_base64(value: str, kind: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        wrong = re.search(r"[^A-Za-z0-9+/=]", value)
        place = wrong.start() if wrong else len(value) - len(value) % 4
        raise _refused(kind, f"illegal base64 data at input byte {place}") from error


def _invalid(field: str, key: str, rule: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {json.dumps(key)}: {rule}", field)
