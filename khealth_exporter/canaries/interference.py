"""What other clients do to an attempt's object: that is no fault of the API server."""

from collections.abc import Mapping
from typing import TypeVar

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.decoding import number_of
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)


async def deleted_by_another(
    cluster: Cluster, kind: Kind[T], name: str, manifest: Mapping[str, object], deadline: float
) -> Failed:
    """Return what it means that an object is gone which khealth did not delete.

    A create on trial tells whether the whole namespace is being deleted; khealth has that right already.
    """
    try:
        await cluster.client.request(
            "create", kind.plural, cluster.path(kind), query={"dryRun": "All"}, body=manifest, deadline=deadline
        )
    except Refused as refused:
        if refused.reason is Reason.INTERRUPTED:
            return refused
        if refused.refusal.missing:
            return Failed(Reason.INTERRUPTED, f"namespace {cluster.identity.namespace} was deleted")
    return Failed(Reason.INTERRUPTED, f"{kind.name} {name} was deleted by another client")


async def changed_by_another(cluster: Cluster, kind: Kind[T], known: T, deadline: float) -> Failed | None:
    """Return what it means that an update conflicts; None if the object is still the one that was known."""
    found = await cluster.get(kind, known.name, deadline)
    if found is None:
        return Failed(Reason.INTERRUPTED, f"{kind.name} {known.name} was deleted by another client")
    newer = number_of(found.metadata.resource_version) > number_of(known.metadata.resource_version)
    if not newer and found.uid == known.uid:
        return None
    versions = f"resourceVersion {known.metadata.resource_version} → {found.metadata.resource_version}"
    return Failed(Reason.INTERRUPTED, f"{kind.name} {known.name} was changed by another client: {versions}")
