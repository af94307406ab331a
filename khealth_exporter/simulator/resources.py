"""The resources that the simulated API server knows."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One kind of object, and how the API server treats it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    """There is a `/status` subresource, and the object itself ignores changes of its status."""
    counts_generations: bool = False
    """metadata.generation counts the versions of the spec."""
    counts_annotations: bool = False
    """metadata.generation counts the versions of the annotations as well, unless `/status` changes them."""
    returns_deleted: bool = False
    """The answer to a delete is the object, not a Status."""
    orphans_by_default: bool = False
    """A delete without a propagation policy orphans the dependents."""
    needs_revision: bool = False
    """An update without a resourceVersion is refused."""
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """The object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural with its group, as in error messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def envelope(self, raw: bytes) -> bytes:
        """Return the JSON of an object with its kind and apiVersion, which stored objects do not have."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode() + raw[1:]

    @property
    def qualified_kind(self) -> str:
        """The kind with its group, as in error messages."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


NAMESPACES: Final = Resource(
    "", "v1", "namespaces", "Namespace", namespaced=False, has_status=True, returns_deleted=True, short_names=("ns",)
)
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False, has_status=True, short_names=("no",))
PODS: Final = Resource(
    "", "v1", "pods", "Pod", has_status=True, counts_generations=True, returns_deleted=True, short_names=("po",)
)
REPLICATION_CONTROLLERS: Final = Resource(
    "",
    "v1",
    "replicationcontrollers",
    "ReplicationController",
    has_status=True,
    counts_generations=True,
    orphans_by_default=True,
    short_names=("rc",),
)
SERVICE_ACCOUNTS: Final = Resource(
    "", "v1", "serviceaccounts", "ServiceAccount", returns_deleted=True, short_names=("sa",)
)
RESOURCE_QUOTAS: Final = Resource(
    "", "v1", "resourcequotas", "ResourceQuota", has_status=True, returns_deleted=True, short_names=("quota",)
)
LIMIT_RANGES: Final = Resource("", "v1", "limitranges", "LimitRange", short_names=("limits",))
EVENTS: Final = Resource("", "v1", "events", "Event", short_names=("ev",))
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", short_names=("cm",))
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", counts_generations=True)
SERVICES: Final = Resource("", "v1", "services", "Service", has_status=True, returns_deleted=True, short_names=("svc",))
NETWORK_POLICIES: Final = Resource(
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", counts_generations=True, short_names=("netpol",)
)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", needs_revision=True)
POLICIES: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
    has_status=True,
    counts_generations=True,
)
POLICY_BINDINGS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
    counts_generations=True,
)

SECRETS: Final = Resource("", "v1", "secrets", "Secret")
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
PRIORITY_CLASSES: Final = Resource(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False, short_names=("pc",)
)
RUNTIME_CLASSES: Final = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)

DEPLOYMENTS: Final = Resource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    has_status=True,
    counts_generations=True,
    counts_annotations=True,
    short_names=("deploy",),
)
REPLICA_SETS: Final = Resource(
    "apps", "v1", "replicasets", "ReplicaSet", has_status=True, counts_generations=True, short_names=("rs",)
)
STATEFUL_SETS: Final = Resource(
    "apps", "v1", "statefulsets", "StatefulSet", has_status=True, counts_generations=True, short_names=("sts",)
)
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
JOBS: Final = Resource("batch", "v1", "jobs", "Job", has_status=True, counts_generations=True, orphans_by_default=True)
CLAIMS: Final = Resource(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    has_status=True,
    returns_deleted=True,
    short_names=("pvc",),
)
VOLUMES: Final = Resource(
    "",
    "v1",
    "persistentvolumes",
    "PersistentVolume",
    namespaced=False,
    has_status=True,
    returns_deleted=True,
    short_names=("pv",),
)
STORAGE_CLASSES: Final = Resource(
    "storage.k8s.io",
    "v1",
    "storageclasses",
    "StorageClass",
    namespaced=False,
    returns_deleted=True,
    short_names=("sc",),
)

RESOURCES: Final = (
    NAMESPACES,
    NODES,
    PODS,
    REPLICATION_CONTROLLERS,
    SERVICE_ACCOUNTS,
    RESOURCE_QUOTAS,
    LIMIT_RANGES,
    EVENTS,
    CONFIG_MAPS,
    SERVICES,
    ENDPOINT_SLICES,
    NETWORK_POLICIES,
    LEASES,
    POLICIES,
    POLICY_BINDINGS,
    SECRETS,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    PRIORITY_CLASSES,
    RUNTIME_CLASSES,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    CONTROLLER_REVISIONS,
    JOBS,
    CLAIMS,
    VOLUMES,
    STORAGE_CLASSES,
)


def find(group: str, version: str, plural: str) -> Resource | None:
    """Return the resource that a path names, if it is known."""
    return next(
        (found for found in RESOURCES if (found.group, found.version, found.plural) == (group, version, plural)), None
    )


def find_kind(api_version: str, kind: str) -> Resource | None:
    """Return the resource of an owner reference, if it is known."""
    return next((found for found in RESOURCES if (found.api_version, found.kind) == (api_version, kind)), None)
