"""What other clients do to an attempt's object: that is no fault of the API server."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.decoding import number_of
from khealth_exporter.cluster.errors import Refused, clean
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject, Pod
from khealth_exporter.cluster.workloads import Workload
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)


async def deleted_by_another(
    cluster: Cluster, kind: Kind[T], name: str, manifest: Mapping[str, object], deadline: float
) -> Failed:
    """Return what it means that an object is gone which khealth did not delete."""
    namespace = await namespace_deleted(cluster, kind, manifest, deadline)
    return namespace or Failed(Reason.INTERRUPTED, f"{kind.name} {name} was deleted by another client")


async def namespace_deleted(
    cluster: Cluster, kind: Kind[T], manifest: Mapping[str, object], deadline: float
) -> Failed | None:
    """Return what it means that the whole namespace is being deleted, or was; None if nothing tells of that.

    A create on trial tells it: khealth has that right already, and none to read namespaces.
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
    return None


async def interference_with(cluster: Cluster, owned: Owned[Any], deadline: float) -> Failed | None:
    """Return what another client did by which an attempt's pods go, or never come; None if nothing tells of it.

    That is to the namespace, or to the object that the attempt created itself; raise Refused. A pod that a controller
    created is nobody's to delete but the control plane's: that it is being deleted alone explains nothing.
    """
    if owned.made is None or not owned.shown:
        return None
    kind, name = owned.kind, owned.ownership.name
    if namespace := await namespace_deleted(cluster, kind, owned.manifest, deadline):
        return namespace
    found = await cluster.get(kind, name, deadline)
    if found is None or found.uid != owned.made.uid:
        what = "" if _vanished(owned.known) else "was deleted"
    elif found.leaving:
        what = "" if isinstance(found, Pod) and found.holds("DisruptionTarget") else "was deleted"
    elif owned.gone or not owned.ownership.marks(found):
        what = "was given other labels"  # Its watch selects by them.
    else:
        what = _respecified(owned.made, found)
    return Failed(Reason.INTERRUPTED, f"{kind.name} {name} {what} by another client") if what else None


def _vanished(item: KubernetesObject) -> bool:
    """Tell whether a pod was removed from its node without having been asked to end: any component may do so."""
    return isinstance(item, Pod) and bool(item.spec.node_name) and not item.leaving


def _respecified(made: KubernetesObject, found: KubernetesObject) -> str:
    """Return how a controller of pods was told to do something else, or nothing."""
    if not isinstance(made, Workload) or not isinstance(found, Workload):
        return ""
    before, now = made.spec, found.spec
    if before.replicas != now.replicas:
        return f"was scaled from {before.replicas} to {now.replicas} pods"
    return "" if before == now else "was changed"


def held_by_another(items: Iterable[KubernetesObject], *, bare: bool = False) -> Failed | None:
    """Return which finalizer keeps a deleted object that nothing else keeps; None if it is one of Kubernetes' own.

    Kubernetes gives none to a `bare` pod: there, all of them are another client's doing.
    """
    for item in items:
        ending = isinstance(item, Pod) and not item.over
        for finalizer in item.metadata.finalizers if item.leaving and not ending else ():
            if bare or ("/" in finalizer and "kubernetes.io/" not in finalizer):
                note = f"{type(item).__name__} {item.name} has the finalizer {finalizer}, which is not khealth's"
                return Failed(Reason.INTERRUPTED, clean(note))
    return None


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
