"""The settings of a simulated cluster: its size, speed and users."""

import math
import random
import ssl
from dataclasses import dataclass, field
from typing import Final

from khealth_exporter.simulator import programs

ADMIN_TOKEN: Final = "simulated-admin"  # noqa: S105  # it is useless outside the simulator
CANARY_IMAGE: Final = "khealth:simulated"
"""An image that every node has, for canaries."""
FAKE_LABEL: Final = "type"
"""The label that fake nodes alone have, with the value `kwok`."""
_SLOWEST: Final = 6.0


@dataclass(frozen=True, slots=True)
class Delay:
    """A log-normal delay in seconds: its median, and its spread as the standard deviation of its logarithm."""

    median: float
    sigma: float = 0.25

    def draw(self, generator: random.Random) -> float:
        """Return one delay; at most six medians."""
        return min(self.median * math.exp(self.sigma * generator.gauss(0.0, 1.0)), _SLOWEST * self.median)


@dataclass(frozen=True, slots=True)
class Delays:
    """How long each part of a healthy cluster takes; the defaults look like a small real one."""

    write: Delay = Delay(0.003, 0.3)
    """From a write's arrival to its commit."""
    answer: Delay = Delay(0.002, 0.8)
    """From a commit to the write's answer; watchers can see the change earlier."""
    read: Delay = Delay(0.001, 0.3)
    service_account: Delay = Delay(0.03)
    replicate: Delay = Delay(0.011, 0.3)
    """From the change of a workload to what its controller does about it, such as the first pod."""
    replicate_next: Delay = Delay(0.003, 0.3)
    """From one pod of a ReplicationController or ReplicaSet to its next."""
    schedule: Delay = Delay(0.005, 0.4)
    accept: Delay = Delay(0.015, 0.4)
    """From the binding to the kubelet's first report."""
    sandbox: Delay = Delay(0.135, 0.2)
    start: Delay = Delay(0.4, 0.2)
    pull: Delay = Delay(1.5, 0.3)
    """How long a pull lasts until it fails."""
    crash: Delay = Delay(0.3, 0.2)
    """How long a crashing container runs."""
    exit: Delay = Delay(1.0, 0.02)
    """From SIGTERM to the end of the containers; the grace period is the upper bound."""
    tear_down: Delay = Delay(0.1, 0.3)
    """From the end of the containers to the end of the pod."""
    collect: Delay = Delay(0.012, 0.4)
    """From a deletion to the garbage collector's reaction."""
    join: Delay = Delay(2.0, 0.2)
    """From a node's registration at run time to its readiness."""
    provision: Delay = Delay(0.5, 0.3)
    """How long the storage provisioner takes to create or delete a volume."""
    attach: Delay = Delay(0.3, 0.3)
    """From a pod's acceptance until the volumes of its claims are attached and mounted."""
    project: Delay = Delay(1.5, 0.4)
    """From the change of a ConfigMap or Secret to the update of the directories where it is mounted."""
    publish: Delay = Delay(0.015, 0.4)
    """From the change of a Service or its pods to its EndpointSlice."""
    program: Delay = Delay(0.1, 0.4)
    """From the change of an EndpointSlice until a node's kube-proxy sends traffic accordingly."""
    enforce: Delay = Delay(0.2, 0.4)
    """From the change of a NetworkPolicy until it is in force."""
    end_namespace: Delay = Delay(5.3, 0.05)
    """From a namespace's deletion to the deletion of its objects."""


@dataclass(frozen=True, slots=True)
class Denial:
    """What one user may not do; `*` stands for every user, verb or resource."""

    user: str
    verb: str
    resource: str
    """The plural, with `/subresource` if one is meant, or a path such as `/readyz`, which `*` does not cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """The settings of a simulated cluster."""

    host: str = "127.0.0.1"
    port: int = 0
    control_host: str = "127.0.0.1"
    control_port: int = 0
    nodes: int = 2
    fake_nodes: int = 0
    """Nodes without a kubelet, as KWOK makes them; their pods are ready at once."""
    seed: int = 1
    speed: float = 1.0
    """How many times faster than real components are; the API's own times do not change: bookmarks, timeouts, and
    the deadlines of Jobs, Deployments and pods."""
    node_grace: float = 20.0
    """Seconds without a heartbeat until a node becomes Unknown; divided by `speed`."""
    heartbeat: float = 10.0
    """Seconds between a kubelet's renewals of its node's lease; divided by `speed`."""
    bookmark_interval: float = 60.0
    storage_timeout: float = 7.0
    """Seconds that a request waits for a stalled etcd."""
    revision_timeout: float = 3.0
    """Seconds that a list waits for a resourceVersion in the future."""
    history_limit: int = 1000
    """Number of changes of each resource from which a watch can resume."""
    events_limit: int = 300
    """Maximum number of Events."""
    requests_limit: int = 5000
    truth_limit: int = 2000
    images: tuple[str, ...] = (
        "registry.k8s.io/pause:3.10.1",
        "registry.k8s.io/pause:3.10",
        "registry.k8s.io/coredns/coredns:v1.15.0",
        CANARY_IMAGE,
    )
    """Images that every node has; no other can be pulled."""
    runner: programs.Runner = programs.run
    """Starts the processes of canaries."""
    canaries: int = 4
    """Maximum number of canaries that run at the same time; the others wait."""
    pods_per_node: int = 250
    cpu_per_node: str = "8"
    memory_per_node: str = "16Gi"
    namespaces: tuple[str, ...] = ()
    """Namespaces that exist from the start, in addition to the system namespaces."""
    tokens: tuple[tuple[str, str], ...] = ()
    """Additional bearer tokens, each with its user."""
    endpoint_addresses: tuple[str, ...] = ()
    """Additional IP addresses in the EndpointSlice `kubernetes`; nothing listens there."""
    tls: ssl.SSLContext | None = None

    """If set, the API server speaks TLS, and a client without a token is `system:anonymous`."""
    certificate_authority: str = ""
    """The certificates, in PEM, by which clients verify the API server; they are written into the kubeconfig."""
    denials: tuple[Denial, ...] = ()
    delays: Delays = field(default_factory=Delays)

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of the nodes that have a kubelet."""
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))
