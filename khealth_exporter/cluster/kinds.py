"""Kinds of Kubernetes objects: how each is addressed, decoded, deleted and permitted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from khealth_exporter.cluster.objects import (
    ConfigMap,
    EndpointSlice,
    KubernetesEvent,
    KubernetesObject,
    NetworkPolicy,
    Node,
    Pod,
    Secret,
    Service,
)
from khealth_exporter.cluster.volumes import PersistentVolume, PersistentVolumeClaim, StorageClass
from khealth_exporter.cluster.workloads import Deployment, Job, ReplicaSet, ReplicationController, StatefulSet
from khealth_exporter.vocabulary.permission import Permission

T = TypeVar("T", bound=KubernetesObject)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of objects: its name, its plural in paths and RBAC, and the type that it is decoded into.

    `deletion` is the propagation policy with which khealth deletes its own objects of the kind.
    """

    name: str
    plural: str
    type: type[T]
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    deletion: Literal["Foreground", "Background"] = "Background"

    @property
    def api_version(self) -> str:
        """Return what a manifest has as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of the kind's objects in a namespace, or of one of them."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"{base}/namespaces/{namespace}" if self.namespaced else base
        return f"{place}/{self.plural}/{name}" if name else f"{place}/{self.plural}"

    def _need(self, verb: str, why: str, *, optional: bool = False) -> Permission:
        scope: Literal["namespace", "cluster"] = "namespace" if self.namespaced else "cluster"
        return Permission(verb, self.plural, self.group, scope, optional=optional, why=why)

    def to_make(self, *, watched: bool) -> Iterator[Permission]:
        """Yield the permissions that creating, finding, deleting and sweeping objects of this kind needs."""
        yield self._need("create", "create canaries")
        yield self._need("get", "find what an unanswered write created")
        yield self._need("delete", "delete canaries, and what dead runs left")
        if not watched:
            yield self._need("list", "find what dead runs left")

    def to_watch(self) -> Iterator[Permission]:
        """Yield the permissions that following objects of this kind needs."""
        yield self._need("list", "follow canaries")
        yield self._need("watch", "follow canaries")

    def to_read(self) -> Iterator[Permission]:
        """Yield the right that listing objects of this kind needs; verdicts are less precise without."""
        yield self._need("list", _WHY_READ.get(self.name, "diagnosis"), optional=True)


_WHY_READ = {
    "Node": "diagnosis: tell `no node is Ready` from `no room`",
    "Event": "evidence of a failed attempt",
}

POD = Kind("Pod", "pods", Pod)
REPLICATION_CONTROLLER = Kind(
    "ReplicationController",
    "replicationcontrollers",
    ReplicationController,
    # In the background, the controller manager was seen to create pods up to 7 s after the delete's answer.
    deletion="Foreground",
)
DEPLOYMENT = Kind("Deployment", "deployments", Deployment, group="apps", deletion="Foreground")
REPLICA_SET = Kind("ReplicaSet", "replicasets", ReplicaSet, group="apps", deletion="Foreground")
STATEFUL_SET = Kind("StatefulSet", "statefulsets", StatefulSet, group="apps", deletion="Foreground")
JOB = Kind("Job", "jobs", Job, group="batch", deletion="Foreground")
PERSISTENT_VOLUME_CLAIM = Kind("PersistentVolumeClaim", "persistentvolumeclaims", PersistentVolumeClaim)
PERSISTENT_VOLUME = Kind("PersistentVolume", "persistentvolumes", PersistentVolume, namespaced=False)
STORAGE_CLASS = Kind("StorageClass", "storageclasses", StorageClass, group="storage.k8s.io", namespaced=False)
SECRET = Kind("Secret", "secrets", Secret)
CONFIG_MAP = Kind("ConfigMap", "configmaps", ConfigMap)
NODE = Kind("Node", "nodes", Node, namespaced=False)
EVENT = Kind("Event", "events", KubernetesEvent)
ENDPOINT_SLICE = Kind("EndpointSlice", "endpointslices", EndpointSlice, group="discovery.k8s.io")
SERVICE = Kind("Service", "services", Service)
NETWORK_POLICY = Kind("NetworkPolicy", "networkpolicies", NetworkPolicy, group="networking.k8s.io")
NAMESPACE = Kind("Namespace", "namespaces", KubernetesObject, namespaced=False)
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts", KubernetesObject)
