"""The rules (422) that pods and the pod templates of workloads share, with the real API server's messages."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from khealth_exporter.simulator import node_affinity, pod_volumes
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.errors import Cause

_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_VALUE_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
LONGEST_LABEL: Final = 63


def invalid(field: str, value: object, rule: str) -> Cause:
    """Return the cause that a field's value breaks a rule."""
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {rule}", field)


def unsupported(field: str, value: object, *supported: str) -> Cause:
    """Return the cause that a field's value is not among the supported ones."""
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    choice = ", ".join(f'"{name}"' for name in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {choice}", field)


def required(field: str, why: str = "") -> Cause:
    """Return the cause that a field is missing."""
    return Cause("FieldValueRequired", f"Required value: {why}" if why else "Required value", field)


def not_negative(spec: Document, name: str, field: str = "spec") -> Iterator[Cause]:
    """Yield what is wrong with a number of the spec that may be missing."""
    value = spec.get(name, 0)
    if not isinstance(value, int) or value < 0:
        yield invalid(f"{field}.{name}", value, "must be greater than or equal to 0")


def labels(given: Mapping[str, str], field: str) -> Iterator[Cause]:
    """Yield what is wrong with the values of labels."""
    for value in given.values():
        if not re.fullmatch(_VALUE, str(value)):
            yield invalid(field, value, _VALUE_RULE)
        elif len(value) > LONGEST_LABEL:
            yield invalid(field, value, f"must be no more than {LONGEST_LABEL} characters")


def pod_spec(spec: Document, field: str) -> Iterator[Cause]:
    """Yield what is wrong with the spec of a pod."""
    containers = spec.get("containers") or []
    if not containers:
        yield required(f"{field}.containers")
    for index, container in enumerate(containers):
        for name in ("name", "image"):
            if not container.get(name):
                yield required(f"{field}.containers[{index}].{name}")
    yield from node_affinity.causes(spec, field)
    yield from pod_volumes.causes(spec, field)
