"""Validation (422), with the real API server's messages."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from khealth_exporter.simulator import batch, config_maps, errors, node_affinity, pod_volumes, secrets, storage
from khealth_exporter.simulator.documents import Document, labels_of, metadata, name_of, spec_of
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.resources import (
    CLAIMS,
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICATION_CONTROLLERS,
    SECRETS,
    STORAGE_CLASSES,
    VOLUMES,
    Resource,
)

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_VALUE_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
_LONGEST_LABEL: Final = 63
_LONGEST_SUBDOMAIN: Final = 253

_POD_FIELDS_KEPT: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check(resource: Resource, document: Document) -> None:
    """Raise `ApiError` (400, 422) if the object breaks the rules of its kind."""
    causes = [*_metadata(resource, document)]
    if resource is PODS:
        causes += _pod_spec(spec_of(document), "spec")
    elif resource is REPLICATION_CONTROLLERS:
        causes += _replication_controller(document)
    elif resource in _CAUSES:
        causes += _CAUSES[resource](document)
    if causes:
        raise errors.invalid(resource, name_of(document), causes)


def check_update(resource: Resource, before: Document, after: Document) -> None:
    """Raise `ApiError` (400, 422) if the change is not allowed."""
    name = name_of(before)
    for field in ("uid", "creationTimestamp"):
        if metadata(after).get(field) != metadata(before).get(field):
            value = json.dumps(metadata(after).get(field))
            cause = _invalid(f"metadata.{field}", value, "field is immutable")
            raise errors.invalid(resource, name, [cause])
    if resource is PODS and _frozen_fields(before) != _frozen_fields(after):
        cause = Cause("FieldValueForbidden", f"Forbidden: {_POD_FIELDS_KEPT}", "spec")
        raise errors.invalid(resource, name, [cause])
    if resource is REPLICATION_CONTROLLERS:
        check(resource, after)
    elif resource in _UPDATE_CAUSES and (causes := [*_UPDATE_CAUSES[resource](before, after)]):
        raise errors.invalid(resource, name, causes)


def _frozen_fields(pod: Document) -> Document:
    spec = dict(spec_of(pod))
    for field in ("activeDeadlineSeconds", "tolerations"):
        spec.pop(field, None)
    spec["containers"] = [{**container, "image": ""} for container in spec.get("containers") or []]
    return spec


def _metadata(resource: Resource, document: Document) -> Iterator[Cause]:
    name = name_of(document)
    if not name:
        yield Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
        return
    pattern, rule, longest = (
        (_LABEL, _LABEL_RULE, _LONGEST_LABEL)
        if resource is NAMESPACES
        else (_SUBDOMAIN, _SUBDOMAIN_RULE, _LONGEST_SUBDOMAIN)
    )
    if resource is not EVENTS and not re.fullmatch(pattern, name):
        yield _invalid("metadata.name", json.dumps(name), rule)
    if len(name) > longest:
        yield _invalid("metadata.name", json.dumps(name), f"must be no more than {longest} characters")
    yield from _labels(labels_of(document), "metadata.labels")


def _labels(labels: Mapping[str, str], field: str) -> Iterator[Cause]:
    for value in labels.values():
        if not re.fullmatch(_VALUE, str(value)):
            yield _invalid(field, json.dumps(value), _VALUE_RULE)
        elif len(value) > _LONGEST_LABEL:
            yield _invalid(field, json.dumps(value), f"must be no more than {_LONGEST_LABEL} characters")


def _pod_spec(spec: Document, field: str) -> Iterator[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        yield Cause("FieldValueRequired", "Required value", f"{field}.containers")
    for index, container in enumerate(containers):
        for required in ("name", "image"):
            if not container.get(required):
                yield Cause("FieldValueRequired", "Required value", f"{field}.containers[{index}].{required}")
    yield from node_affinity.causes(spec, field)
    yield from pod_volumes.causes(spec, field)


def _replication_controller(document: Document) -> Iterator[Cause]:
    spec = spec_of(document)
    replicas = spec.get("replicas", 1)
    if not isinstance(replicas, int) or replicas < 0:
        yield _invalid("spec.replicas", json.dumps(replicas), "must be greater than or equal to 0")
    selector: Mapping[str, str] = spec.get("selector") or {}
    if not selector:
        yield Cause("FieldValueRequired", "Required value", "spec.selector")
    labels = labels_of(spec.get("template") or {})
    if not selector.items() <= labels.items():
        shown = json.dumps(labels, separators=(",", ":"))
        yield _invalid("spec.template.metadata.labels", shown, "`selector` does not match template `labels`")
    yield from _labels(labels, "spec.template.labels")
    yield from _pod_spec((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")


def _job(document: Document) -> Iterator[Cause]:
    yield from batch.causes(document)
    yield from _pod_spec((spec_of(document).get("template") or {}).get("spec") or {}, "spec.template.spec")


def _invalid(field: str, value: str, rule: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {rule}", field)


_CAUSES: Final[Mapping[Resource, Callable[[Document], Iterator[Cause]]]] = {
    CONFIG_MAPS: config_maps.causes,
    SECRETS: secrets.causes,
    JOBS: _job,
    CLAIMS: storage.claim_causes,
    VOLUMES: storage.volume_causes,
    STORAGE_CLASSES: storage.class_causes,
}
_UPDATE_CAUSES: Final[Mapping[Resource, Callable[[Document, Document], Iterator[Cause]]]] = {
    CONFIG_MAPS: config_maps.update_causes,
    SECRETS: secrets.update_causes,
    JOBS: batch.update_causes,
    CLAIMS: storage.claim_update_causes,
}
