"""The few fields that khealth reads of Kubernetes' objects; null, missing, unknown or absurd ones never crash it."""

from datetime import datetime

from msgspec import Struct, field

from khealth_exporter.cluster.endpoints import Endpoint, EndpointPort
from khealth_exporter.cluster.scheduling import (
    CORDON,
    GOING,
    Affinity,
    ReadinessGate,
    SchedulingGate,
    Taint,
    Toleration,
)
from khealth_exporter.cluster.services import NetworkPolicySpec, NodeAddress, ServiceSpec, ServiceStatus


class Lenient(Struct, frozen=True, rename="camel"):
    """A part of an object: what is null reads as if it were missing."""


class OwnerReference(Lenient, frozen=True):
    """Who an object goes with."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(Lenient, frozen=True):
    """An object's name, place, age and marks."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []


class Condition(Lenient, frozen=True):
    """One condition of a pod, a node or a controller."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class KubernetesObject(Lenient, frozen=True):
    """What every object has."""

    metadata: Metadata = Metadata()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def uid(self) -> str:
        """Its uid."""
        return self.metadata.uid

    @property
    def leaving(self) -> bool:
        """Whether it is being deleted."""
        return bool(self.metadata.deletion_timestamp)


class ContainerStateDetail(Lenient, frozen=True):
    """Why a container waits or how it ended."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0


class ContainerState(Lenient, frozen=True):
    """One of waiting, running, terminated."""

    waiting: ContainerStateDetail | None = None
    running: ContainerStateDetail | None = None
    terminated: ContainerStateDetail | None = None


class ContainerStatus(Lenient, frozen=True):
    """A container as its kubelet sees it."""

    name: str = ""
    image: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()

    @property
    def has_started(self) -> bool:
        """Whether it runs, or has run."""
        return bool(self.state.running or self.state.terminated or self.last_state.terminated)


class Container(Lenient, frozen=True):
    """A container as it was asked for."""

    name: str = ""
    image: str = ""
    restart_policy: str = ""
    readiness_probe: dict[str, object] | None = None
    startup_probe: dict[str, object] | None = None


class PodSpec(Lenient, frozen=True):
    """What a pod was asked to be."""

    node_name: str = ""
    host_network: bool = False
    containers: list[Container] = []
    init_containers: list[Container] = []
    node_selector: dict[str, str] = {}
    affinity: Affinity = Affinity()
    tolerations: list[Toleration] = []
    scheduling_gates: list[SchedulingGate] = []
    readiness_gates: list[ReadinessGate] = []
    volumes: list[dict[str, object]] = []


class PodStatus(Lenient, frozen=True):
    """How far a pod has come."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: str = ""
    pod_ip: str = field(default="", name="podIP")
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(KubernetesObject, frozen=True):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, kind: str) -> Condition | None:
        """Return its condition of this type, if it has one."""
        return next((condition for condition in self.status.conditions if condition.type == kind), None)

    def holds(self, kind: str) -> bool:
        """Tell whether its condition of this type is True."""
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.status.phase in ("Failed", "Succeeded")

    @property
    def over(self) -> bool:
        """Whether its kubelet, if it has one, has nothing left to end."""
        statuses = self.status.container_statuses
        return self.ended or not self.spec.node_name or bool(statuses and all(s.state.terminated for s in statuses))

    @property
    def started(self) -> bool:
        """Whether every container runs or has run; none does before the init containers have ended."""
        statuses = self.status.container_statuses
        return len(statuses) >= max(1, len(self.spec.containers)) and all(status.has_started for status in statuses)


SHUTTING_DOWN = "node is shutting down"
"""What a kubelet says of its node during a graceful shutdown (kubernetes pkg/kubelet/nodeshutdown)."""


class NodeSpec(Lenient, frozen=True):
    """Whether a node takes pods."""

    unschedulable: bool = False
    taints: list[Taint] = []


class NodeStatus(Lenient, frozen=True):
    """How a node is, and where."""

    conditions: list[Condition] = []
    addresses: list[NodeAddress] = []


class Node(KubernetesObject, frozen=True):
    """A node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def readiness(self) -> Condition:
        """What is said of it: its condition Ready, an empty one if it has none."""
        return next((c for c in self.status.conditions if c.type == "Ready"), Condition())

    @property
    def ready(self) -> bool:
        """Whether its kubelet says that it is Ready."""
        return self.readiness.status == "True"

    @property
    def internal(self) -> str:
        """Its first address within the cluster; empty if it has none."""
        return next((found.address for found in self.status.addresses if found.type == "InternalIP"), "")

    @property
    def going(self) -> bool:
        """Whether it is being removed or shut down."""
        stopping = not self.ready and SHUTTING_DOWN in self.readiness.message
        return stopping or self.leaving or any(taint.key in GOING for taint in self.spec.taints)

    @property
    def unschedulable(self) -> bool:
        """Whether it takes no pods but those that tolerate it."""
        return self.spec.unschedulable or any(taint.key == CORDON.key for taint in self.spec.taints)

    @property
    def cordoned(self) -> bool:
        """Whether it is being taken out of service."""
        return self.unschedulable or self.going


class InvolvedObject(Lenient, frozen=True):
    """What a Kubernetes Event is about."""

    kind: str = ""
    name: str = ""
    field_path: str = ""


class KubernetesEvent(KubernetesObject, frozen=True):
    """A Kubernetes Event, for evidence."""

    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 0
    last_timestamp: str = ""
    event_time: str = ""
    involved_object: InvolvedObject = InvolvedObject()


class ConfigMap(KubernetesObject, frozen=True):
    """A ConfigMap."""

    data: dict[str, str] = {}


class Secret(KubernetesObject, frozen=True):
    """A Secret; its data is never read."""


class EndpointSlice(KubernetesObject, frozen=True):
    """Servers that are behind a Service."""

    address_type: str = ""
    endpoints: list[Endpoint] = []
    ports: list[EndpointPort] = []


class Service(KubernetesObject, frozen=True):
    """A Service."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class NetworkPolicy(KubernetesObject, frozen=True):
    """Which pods may talk to which."""

    spec: NetworkPolicySpec = NetworkPolicySpec()


def unix_time(timestamp: str) -> float | None:
    """Return an API timestamp in Unix seconds, None if it is none."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return None
