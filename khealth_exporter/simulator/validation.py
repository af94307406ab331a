"""Validation (422), with the real API server's messages."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from khealth_exporter.simulator import (
    apps,
    batch,
    config_maps,
    endpoint_slices,
    errors,
    network_policies,
    pod_rules,
    secrets,
    services,
    storage,
)
from khealth_exporter.simulator.documents import Document, labels_of, metadata, name_of, spec_of
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.pod_rules import invalid
from khealth_exporter.simulator.resources import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUMES,
    Resource,
)

_SUBDOMAIN = rf"{services.LABEL}(\.{services.LABEL})*"
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LONGEST_SUBDOMAIN: Final = 253

_POD_FIELDS_KEPT: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check(resource: Resource, document: Document) -> None:
    """Raise `ApiError` (400, 422) if the object breaks the rules of its kind."""
    causes = [*_metadata(resource, document)]
    if resource in _CAUSES:
        causes += _CAUSES[resource](document)
    if causes:
        raise errors.invalid(resource, name_of(document), causes)


def check_update(resource: Resource, before: Document, after: Document) -> None:
    """Raise `ApiError` (400, 422) if the change is not allowed."""
    name = name_of(before)
    for field in ("uid", "creationTimestamp"):
        if metadata(after).get(field) != metadata(before).get(field):
            cause = invalid(f"metadata.{field}", metadata(after).get(field), "field is immutable")
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
        yield pod_rules.required("metadata.name", "name or generateName is required")
        return
    pattern, rule, longest = (
        (services.LABEL, services.LABEL_RULE, pod_rules.LONGEST_LABEL)
        if resource in {NAMESPACES, STATEFUL_SETS, SERVICES}
        else (_SUBDOMAIN, _SUBDOMAIN_RULE, _LONGEST_SUBDOMAIN)
    )
    if resource is not EVENTS and not re.fullmatch(pattern, name):
        yield invalid("metadata.name", name, rule)
    if len(name) > longest:
        yield invalid("metadata.name", name, f"must be no more than {longest} characters")
    yield from pod_rules.labels(labels_of(document), "metadata.labels")


def _replication_controller(document: Document) -> Iterator[Cause]:
    spec = spec_of(document)
    yield from pod_rules.not_negative(spec, "replicas")
    selector: Mapping[str, str] = spec.get("selector") or {}
    if not selector:
        yield pod_rules.required("spec.selector")
    labels = labels_of(spec.get("template") or {})
    if not selector.items() <= labels.items():
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from pod_rules.labels(labels, "spec.template.labels")
    yield from pod_rules.pod_spec((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")


def _pod(document: Document) -> Iterator[Cause]:
    return pod_rules.pod_spec(spec_of(document), "spec")


_CAUSES: Final[Mapping[Resource, Callable[[Document], Iterator[Cause]]]] = {
    PODS: _pod,
    REPLICATION_CONTROLLERS: _replication_controller,
    CONFIG_MAPS: config_maps.causes,
    DEPLOYMENTS: apps.deployment_causes,
    REPLICA_SETS: apps.replica_set_causes,
    STATEFUL_SETS: apps.stateful_set_causes,
    SECRETS: secrets.causes,
    JOBS: batch.causes,
    CLAIMS: storage.claim_causes,
    VOLUMES: storage.volume_causes,
    STORAGE_CLASSES: storage.class_causes,
    SERVICES: services.causes,
    ENDPOINT_SLICES: endpoint_slices.causes,
    NETWORK_POLICIES: network_policies.causes,
}
_UPDATE_CAUSES: Final[Mapping[Resource, Callable[[Document, Document], Iterator[Cause]]]] = {
    CONFIG_MAPS: config_maps.update_causes,
    DEPLOYMENTS: apps.deployment_update_causes,
    REPLICA_SETS: apps.replica_set_update_causes,
    STATEFUL_SETS: apps.stateful_set_update_causes,
    SECRETS: secrets.update_causes,
    JOBS: batch.update_causes,
    CLAIMS: storage.claim_update_causes,
    SERVICES: services.update_causes,
    ENDPOINT_SLICES: endpoint_slices.update_causes,
    NETWORK_POLICIES: network_policies.update_causes,
}
