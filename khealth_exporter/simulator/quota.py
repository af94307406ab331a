"""Resource quotas: how many objects of each kind a namespace has, and which quota a new one would exceed."""

from typing import Final

from khealth_exporter.simulator import errors, quantities
from khealth_exporter.simulator.documents import Document, name_of, phase_of, spec_of
from khealth_exporter.simulator.resources import (
    CONFIG_MAPS,
    EVENTS,
    PODS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    RESOURCES,
    SECRETS,
    Resource,
)
from khealth_exporter.simulator.store import Store

_PLAIN: Final = frozenset({PODS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, SECRETS, CONFIG_MAPS})
"""Resources that a quota also counts by their plural alone."""


def is_counted(resource: Resource) -> bool:
    """Tell whether quotas count objects of this resource."""
    return resource.namespaced and resource is not EVENTS


def check(store: Store, resource: Resource, namespace: str, document: Document) -> None:
    """Raise `ApiError` (403) if the new object exceeds a quota, or lacks what one demands."""
    quotas = list(store.all(RESOURCE_QUOTAS, namespace)) if is_counted(resource) else []
    for quota in quotas:
        hard = spec_of(quota).get("hard") or {}
        lacking = {key: _lacking(document, key) for key in sorted(hard)} if resource is PODS else {}
        if missing := [f"{key} for: {names}" for key, names in lacking.items() if names]:
            why = f"failed quota: {name_of(quota)}: must specify {'; '.join(missing)}"
            raise errors.forbidden(resource, name_of(document), why)
        present = _counts(store, resource, namespace)
        exceeded = [key for key in present if key in hard and present[key] + 1 > quantities.parse(hard[key])]
        if exceeded:
            requested = ",".join(f"{key}=1" for key in exceeded)
            taken = ",".join(f"{key}={present[key]}" for key in exceeded)
            limited = ",".join(f"{key}={hard[key]}" for key in exceeded)
            why = f"exceeded quota: {name_of(quota)}, requested: {requested}, used: {taken}, limited: {limited}"
            raise errors.forbidden(resource, name_of(document), why)


def used(store: Store, namespace: str, hard: Document) -> dict[str, str]:
    """Return how much of each counted name of `hard` the namespace uses."""
    counts = {
        key: count
        for resource in RESOURCES
        if is_counted(resource)
        for key, count in _counts(store, resource, namespace).items()
    }
    return {key: str(counts[key]) for key in hard if key in counts}


def _counts(store: Store, resource: Resource, namespace: str) -> dict[str, int]:
    """Return the number of objects by each name that a quota has for it; `pods` does not count terminated pods."""
    phases = [phase_of(found) for found in store.all(resource, namespace)]
    counts = {f"count/{resource.qualified}": len(phases)}
    if resource in _PLAIN:
        ended = {"Succeeded", "Failed"} if resource is PODS else set()
        counts[resource.plural] = sum(phase not in ended for phase in phases)
    return counts


def _lacking(pod: Document, key: str) -> str:
    """Return the names of the containers that do not specify what a quota counts, separated by commas."""
    kind, _, resource = key.rpartition(".")
    if resource not in {"cpu", "memory"} or kind not in {"", "requests", "limits"}:
        return ""
    found = ((c["name"], (c.get("resources") or {}).get(kind or "requests")) for c in spec_of(pod)["containers"])
    return ",".join(sorted(name for name, amounts in found if resource not in (amounts or {})))
