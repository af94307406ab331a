"""Defaults and validation (400, 422) of Secrets, with the real API server's messages."""

import base64
from collections.abc import Iterator

from khealth_exporter.simulator import config_maps
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.pod_rules import invalid


def fill(secret: Document) -> Document:
    """Return the Secret with its type, and with stringData, which is never stored, written into data."""
    filled = {"type": "Opaque", **secret}
    plain = filled.pop("stringData", None)
    if isinstance(plain, dict) and plain:
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        filled["data"] = {**(filled.get("data") or {}), **encoded}
    return filled


def causes(secret: Document) -> Iterator[Cause]:
    """Yield the validation errors. Raises `ApiError` (400) if the Secret cannot be decoded."""
    yield from config_maps.binary_causes(secret, "data", "Secret")


def update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield the validation errors of an update: the type never changes, an immutable Secret keeps its data."""
    yield from causes(after)
    if before.get("type") != after.get("type"):
        yield invalid("type", after.get("type"), "field is immutable")
    yield from config_maps.immutable_causes(before, after, "data")
