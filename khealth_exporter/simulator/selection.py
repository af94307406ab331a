"""Label and field selectors of list, watch and deletecollection requests."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.resources import (
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICATION_CONTROLLERS,
    SECRETS,
    Resource,
)

LabelTest = Callable[[Mapping[str, str]], bool]

_SET_BASED = re.compile(r"^\s*(?P<key>[^\s!=,()]+)\s+(?P<operator>(?:not)?in)\s*\((?P<values>[^()]*)\)\s*$")
_EQUALITY = re.compile(r"^\s*(?P<key>[^\s!=,()]+)\s*(?P<operator>==|!=|=)\s*(?P<value>[^\s!=,()]*)\s*$")
_EXISTENCE = re.compile(r"^\s*(?P<negated>!?)\s*(?P<key>[^\s!=,()]+)\s*$")
_AFTER_OPERATOR = re.compile(r"^[^\s!=,()]+\s*(==|!=|=)\s*")
_FIELD = re.compile(r"^(?P<path>[^!=]+)(?P<operator>==|!=|=)(?P<value>.*)$")

_COMMON_FIELDS: Final = ("metadata.name", "metadata.namespace")
_FIELDS: Final[Mapping[Resource, tuple[str, ...]]] = {
    PODS: ("spec.nodeName", "status.phase", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
    EVENTS: (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "reason",
        "type",
    ),
}

_OWN_FIELD_CHECK: Final = frozenset({PODS, EVENTS, NODES, NAMESPACES, REPLICATION_CONTROLLERS, SECRETS})
"""Resources with their own message for an unknown field; the others share the default one."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The labels and fields of one version of an object."""

    labels: Mapping[str, str]
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selector:
    """The objects that a request selects."""

    namespace: str = ""
    label_tests: tuple[LabelTest, ...] = ()
    fields: tuple[tuple[str, bool, str], ...] = ()
    """Each is a path, whether the value must be equal, and the value."""

    def matches(self, traits: Traits) -> bool:
        """Tell whether the object is selected."""
        if self.namespace and traits.fields["metadata.namespace"] != self.namespace:
            return False
        return all((traits.fields.get(path, "") == value) is equal for path, equal, value in self.fields) and all(
            test(traits.labels) for test in self.label_tests
        )


def traits_of(resource: Resource, document: Document) -> Traits:
    """Return the object's labels and fields."""
    fields = {path: _look_up(document, path) for path in (*_COMMON_FIELDS, *_FIELDS.get(resource, ()))}
    return Traits(document["metadata"].get("labels") or {}, fields)


def parse(resource: Resource, namespace: str, labels: str, fields: str) -> Selector:
    """Return the selector of a request's query. Raises `ApiError` (400)."""
    return Selector(namespace, parse_labels(labels), _parse_fields(resource, fields))


def parse_labels(text: str) -> tuple[LabelTest, ...]:
    """Return the tests of a label selector's text. Raises `ApiError` (400)."""
    requirements = re.split(r",(?![^()]*\))", text) if text.strip() else []
    return tuple(_requirement(requirement) for requirement in requirements)


def label_tests(selector: Document) -> tuple[LabelTest, ...]:
    """Return the tests of a LabelSelector object."""
    tests = [_one_of(key, {value}) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], set(expression.get("values") or ())
        tests.append(_OPERATORS[expression["operator"]](key, values))
    return tuple(tests)


def _requirement(text: str) -> LabelTest:
    if found := _SET_BASED.match(text):
        values = {value.strip() for value in found["values"].split(",")}
        return (_one_of if found["operator"] == "in" else _none_of)(found["key"], values)
    if found := _EQUALITY.match(text):
        return (_none_of if found["operator"] == "!=" else _one_of)(found["key"], {found["value"]})
    if found := _EXISTENCE.match(text):
        return (_absent if found["negated"] else _present)(found["key"], set())
    rest = _AFTER_OPERATOR.sub("", text.strip())
    raise errors.bad_request(f"unable to parse requirement: found '{rest[:1]}', expected: identifier")


def _one_of(key: str, values: set[str]) -> LabelTest:
    return lambda labels: labels.get(key) in values


def _none_of(key: str, values: set[str]) -> LabelTest:
    return lambda labels: labels.get(key) not in values


def _present(key: str, _values: set[str]) -> LabelTest:
    return lambda labels: key in labels


def _absent(key: str, _values: set[str]) -> LabelTest:
    return lambda labels: key not in labels


_OPERATORS: Final[Mapping[str, Callable[[str, set[str]], LabelTest]]] = {
    "In": _one_of,
    "NotIn": _none_of,  # codespell:ignore notin
    "Exists": _present,
    "DoesNotExist": _absent,
}


def _parse_fields(resource: Resource, text: str) -> tuple[tuple[str, bool, str], ...]:
    requirements = []
    for part in text.split(",") if text.strip() else ():
        found = _FIELD.match(part.strip())
        if found is None:
            raise errors.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path = found["path"].strip()
        if path not in (*_COMMON_FIELDS, *_FIELDS.get(resource, ())):
            raise errors.bad_request(_unknown_field(resource, path))
        requirements.append((path, found["operator"] != "!=", found["value"]))
    return tuple(requirements)


def _unknown_field(resource: Resource, path: str) -> str:
    if resource in _OWN_FIELD_CHECK:
        return f"field label not supported: {path}"
    known = ", ".join(f'"{field}"' for field in _COMMON_FIELDS)
    return f'"{path}" is not a known field selector: only {known}'


def _look_up(document: Document, path: str) -> str:
    found: object = document
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return "" if found is None else str(found)
