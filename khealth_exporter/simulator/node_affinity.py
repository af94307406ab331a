"""Required node affinity: which nodes it allows, and what makes it invalid."""

import json
from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator.documents import Document, labels_of, name_of, spec_of
from khealth_exporter.simulator.errors import Cause

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_NAME: Final = "metadata.name"
_LISTS: Final = frozenset({"In", "NotIn"})  # codespell:ignore notin
_PRESENCE: Final = frozenset({"Exists", "DoesNotExist"})
_ORDER: Final = frozenset({"Gt", "Lt"})


def candidates(pod: Document) -> frozenset[str] | None:
    """Return the nodes that the pod names, or None if it leaves the choice open.

    The scheduler looks at no other node. It counts as naming only if every term does so, in matchFields with `In`.
    """
    named = frozenset[str]()
    terms = _terms(spec_of(pod)) or []
    for term in terms:
        lists = [
            frozenset(found.get("values") or ())
            for found in term.get("matchFields") or []
            if (found.get("key"), found.get("operator")) == (_NAME, "In")
        ]
        if not lists:
            return None
        named |= frozenset.intersection(*lists)
    return named if terms else None


def matches(pod: Document, node: Document) -> bool:
    """Tell whether the node satisfies the pod's node selector and required node affinity."""
    spec, labels = spec_of(pod), labels_of(node)
    wanted: dict[str, str] = spec.get("nodeSelector") or {}
    if not wanted.items() <= labels.items():
        return False
    terms = _terms(spec)
    return terms is None or any(_term_matches(term, labels, name_of(node)) for term in terms)


def causes(spec: Document, field: str) -> Iterator[Cause]:
    """Yield what is invalid in the required node affinity of a pod's spec."""
    terms = _terms(spec)
    if terms is None:
        return
    field = f"{field}.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    if not terms:
        yield Cause("FieldValueRequired", "Required value: must have at least one node selector term", field)
    for index, term in enumerate(terms):
        for number, found in enumerate(term.get("matchExpressions") or []):
            yield from _expression_causes(found, f"{field}[{index}].matchExpressions[{number}]")
        for number, found in enumerate(term.get("matchFields") or []):
            yield from _field_causes(found, f"{field}[{index}].matchFields[{number}]")


def _terms(spec: Document) -> list[Document] | None:
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    if required is None:
        return None
    terms: list[Document] = required.get("nodeSelectorTerms") or []
    return terms


def _term_matches(term: Document, labels: dict[str, str], name: str) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_holds(found, labels) for found in expressions) and all(_holds(found, {_NAME: name}) for found in fields)


def _holds(requirement: Document, labels: dict[str, str]) -> bool:
    found, values = labels.get(requirement["key"]), requirement.get("values") or []
    operator = requirement["operator"]
    if operator in _ORDER:
        return found is not None and _compares(found, values[0], operator)
    if operator in _PRESENCE:
        return (found is not None) is (operator == "Exists")
    return (found in values) is (operator == "In")


def _compares(found: str, limit: str, operator: str) -> bool:
    """Compare two integers; what is not an integer matches nothing."""
    try:
        return int(found) > int(limit) if operator == "Gt" else int(found) < int(limit)
    except ValueError:
        return False


def _expression_causes(found: Document, field: str) -> Iterator[Cause]:
    operator, values = found.get("operator"), found.get("values") or []
    if operator in _LISTS:
        if not values:
            why = "Required value: must be specified when `operator` is 'In' or 'NotIn'"  # codespell:ignore notin
            yield Cause("FieldValueRequired", why, f"{field}.values")
    elif operator in _PRESENCE:
        if values:
            why = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield Cause("FieldValueForbidden", why, f"{field}.values")
    elif operator in _ORDER:
        if len(values) != 1:
            why = "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
            yield Cause("FieldValueRequired", why, f"{field}.values")
    else:
        yield _invalid(f"{field}.operator", operator, "not a valid selector operator")


def _field_causes(found: Document, field: str) -> Iterator[Cause]:
    if found.get("operator") not in _LISTS:
        yield _invalid(f"{field}.operator", found.get("operator"), "not a valid selector operator")
    elif len(found.get("values") or []) != 1:
        rule = "Required value: must be only one value when `operator`"
        why = f"{rule} is 'In' or 'NotIn' for node field selector"  # codespell:ignore notin
        yield Cause("FieldValueRequired", why, f"{field}.values")
    if found.get("key") != _NAME:
        yield _invalid(f"{field}.key", found.get("key"), "not a valid field selector key")


def _invalid(field: str, value: object, rule: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {json.dumps(value or '')}: {rule}", field)
