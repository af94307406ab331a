"""Quantities of cpu, memory and pods as Kubernetes writes them."""

import re
from collections.abc import Mapping
from typing import Final

from khealth_exporter.simulator.documents import Document, spec_of

_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([eE][+-]?[0-9]+)?([A-Za-z]*)$")
_FACTORS: Final[Mapping[str, float]] = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def parse(text: str | float) -> float:
    """Return the quantity in cores, bytes or pieces. Raises `ValueError`."""
    found = _QUANTITY.match(str(text))
    if found is None or found[3] not in _FACTORS:
        raise ValueError(f"quantities must match the regular expression: {text!r}")
    return float(found[1] + (found[2] or "")) * _FACTORS[found[3]]


def requested(pod: Document, resource: str) -> float:
    """Return what the pod's containers request together."""
    total = 0.0
    for container in spec_of(pod).get("containers") or []:
        requests = (container.get("resources") or {}).get("requests") or {}
        total += parse(requests.get(resource, 0))
    return total
