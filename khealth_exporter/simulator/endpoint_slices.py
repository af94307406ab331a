"""Defaults and validation (422) of EndpointSlices, with the real API server's messages.

The real one refuses loopback addresses, which here are those of pods.
"""

from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator import services
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.pod_rules import invalid, required, unsupported

_TYPES: Final = ("FQDN", "IPv4", "IPv6")


def fill(found: Document) -> Document:
    """Return the EndpointSlice with its defaults."""
    endpoints, ports = found.get("endpoints"), found.get("ports")
    return {
        **found,
        "endpoints": [{"conditions": {}, **endpoint} for endpoint in endpoints] if endpoints else None,
        "ports": [{"name": "", "protocol": "TCP", **port} for port in ports] if ports else None,
    }


def causes(found: Document) -> Iterator[Cause]:
    """Yield what is wrong with an EndpointSlice."""
    kind = found.get("addressType")
    if not kind:
        yield required("addressType")
    elif kind not in _TYPES:
        yield unsupported("addressType", kind, *_TYPES)
    for index, endpoint in enumerate(found["endpoints"] or []):
        field = f"endpoints[{index}].addresses"
        if not endpoint.get("addresses"):
            yield required(field)
        for number, address in enumerate(endpoint.get("addresses") or []):
            if kind != "FQDN" and not services.is_address(address):
                yield invalid(f"{field}[{number}]", address, services.ADDRESS_RULE)
    names = [port["name"] for port in found["ports"] or []]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"ports[{index}].name")


def update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of an EndpointSlice."""
    yield from causes(after)
    if after.get("addressType") != before.get("addressType"):
        yield invalid("addressType", after.get("addressType"), "field is immutable")
