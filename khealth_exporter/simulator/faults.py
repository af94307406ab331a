"""The faults that can be injected, and which of them are active."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from khealth_exporter.simulator.broadcast import Broadcast

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "scheduler-stalled": "the scheduler binds no pods and reports nothing",
        "kubelet-stalled": "the kubelets start nothing and report nothing, so that their nodes become NotReady",
        "controller-stalled": "the controller manager does nothing: no pods are created, no garbage is collected",
        "sandbox-fails": "the kubelets cannot create pod sandboxes",
        "runtime-stalled": "the container runtime hangs, so that the kubelets accept no new pods",
        "image-missing": "no image is present on the nodes, and no image can be pulled",
        "container-crashes": "containers start and exit with code 1",
        "never-ready": "containers run but never become ready",
        "quota": "every namespace except the system namespaces has a quota of 0 pods",
        "webhook-down": "an admission webhook does not answer, so that pods cannot be created",
        "forbidden": "the default user has no permission to create objects",
        "api-slow": "the API server delays every answer by one second",
        "api-429": "the API server answers every request with 429",
        "api-500": "the API server answers every request with 500",
        "api-503": "the API server answers every request with 503",
        "api-down": "the API server refuses connections",
        "api-paused": "the API server accepts connections but does not answer",
        "etcd-stalled": "writes and consistent reads hang and then fail, and watches send nothing",
        "stale-reads": "reads of a ConfigMap return the version before its last change",
        "stale-creates": "reads do not return a ConfigMap that was created after the fault began",
        "watch-cut": "every open watch connection breaks",
        "watch-silent": "open watches send nothing, even after the fault ends, until the client reopens them",
        "watch-gone": "the watch history is compacted, so that resuming a watch is answered with 410",
        "pods-lost": "one ready pod that a controller keeps disappears",
        "pods-evicted": "one pod is evicted",
        "node-drained": "one node is cordoned and its pods are evicted, until the fault ends",
        "node-gone": "one node and its pods are deleted; the node returns when the fault ends",
        "nodes-not-ready": "all nodes become NotReady at the same time",
        "deletion-stuck": "the kubelets never finish deleting a pod; only a forced deletion removes it",
        "slow-start": "containers take 10 seconds longer to start",
        "deployment-controller-off": "the deployment controller is switched off; the other controllers work",
        "garbage-collector-off": "the garbage collector is switched off; the other controllers work",
        "rollout-stalled": "the image of an updated Deployment cannot be pulled, so that its new pods do not start",
        "webhook-no-dry-run": "an admission webhook for pods does not support dry run, so that it refuses dry runs",
        "admission-bypassed": "Pod Security admission does not enforce the level of the namespace",
        "job-controller-off": "the job controller is switched off; the other controllers work",
        "provisioner-off": "the storage provisioner does nothing, so that claims stay Pending and volumes stay",
        "volume-not-attached": "the volumes of claims cannot be attached to nodes",
        "volume-not-deleted": "the volumes of deleted claims cannot be deleted",
        "disk-full": "nothing more can be written to an emptyDir: no space left on device",
        "data-corrupted": "the volumes of claims return one wrong byte in each file to the pods that start",
        "projection-stopped": "mounted ConfigMaps and Secrets are not updated",
        "canary-crashes": "canaries exit with code 1 and report nothing",
        "slow-cpu": "canaries get only one twentieth of a CPU",
        "dns-down": "the DNS servers do not answer",
        "dns-one-down": "one of the two DNS servers does not answer",
        "dns-servfail": "the DNS servers answer SERVFAIL",
        "dns-wrong": "the DNS servers answer with a wrong address",
        "kube-proxy-stopped": "kube-proxy does nothing, so that changes of Services have no effect on traffic",
        "network-cut": "pods reach only pods of their own node, and neither the API server nor Services elsewhere",
        "network-api-cut": "pods do not reach the API server, nor anything else that is not a pod",
        "network-loss": "one packet in ten between pods is lost",
        "network-udp": "datagrams between pods are lost",
        "mtu": "packets of more than 1,400 bytes between pods are lost",
        "policy-not-enforced": "NetworkPolicies have no effect",
        "agent-frozen": "agents are frozen: they accept connections and do not answer",
    }
)
"""Every fault by name, with its effect."""

MOMENTARY: Final = frozenset({"watch-cut", "watch-gone", "pods-lost", "pods-evicted"})
"""Faults that happen once; the others last until they are ended."""

NODE_FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kubelet-stalled": "the kubelet of {node} starts and reports nothing, so that the node becomes NotReady",
        "sandbox-fails": "the kubelet of {node} cannot create pod sandboxes",
        "runtime-stalled": "the container runtime of {node} hangs, so that its kubelet accepts no new pods",
        "image-missing": "no image is present on {node}, and it cannot pull any",
        "container-crashes": "containers on {node} start and exit with code 1",
        "never-ready": "containers on {node} run but never become ready",
        "node-drained": "{node} is cordoned and its pods are evicted, until the fault ends",
        "node-gone": "{node} and its pods are deleted; the node returns when the fault ends",
        "deletion-stuck": "the kubelet of {node} never finishes deleting a pod; only a forced deletion removes it",
        "slow-start": "containers on {node} take 10 seconds longer to start",
        "volume-not-attached": "the volumes of claims cannot be attached to {node}",
        "disk-full": "nothing more can be written to an emptyDir on {node}: no space left on device",
        "data-corrupted": "the volumes of claims return one wrong byte in each file to the pods that start on {node}",
        "projection-stopped": "ConfigMaps and Secrets that are mounted on {node} are not updated",
        "canary-crashes": "canaries on {node} exit with code 1 and report nothing",
        "slow-cpu": "canaries on {node} get only one twentieth of a CPU",
        "kube-proxy-stopped": "kube-proxy on {node} does nothing, so that traffic from there goes by the old Services",
        "network-cut": "pods on {node} are cut off from other nodes and the API server",
        "network-api-cut": "pods on {node} do not reach the API server, nor anything else that is not a pod",
        "network-loss": "one packet in ten to and from pods on {node} is lost",
        "network-udp": "datagrams to and from pods on {node} are lost",
        "mtu": "packets of more than 1,400 bytes to and from pods on {node} are lost",
        "agent-frozen": "agents on {node} are frozen: they accept connections and do not answer",
    }
)
"""Faults that can be limited to one node, written `NAME:NODE`, with their effect then."""

API_OUTAGES: Final = ("api-down", "api-paused", "etcd-stalled")
"""Faults during which the cluster's own components cannot write."""

Reaction = Callable[[str, str, bool], None]
"""Takes a fault's name, its node (or an empty string), and whether the fault begins."""


def listed() -> Iterator[str]:
    """Yield a line for each fault: its name and its effect."""
    width = max(map(len, FAULTS))
    yield from (f"{fault:<{width}} {effect}" for fault, effect in FAULTS.items())


def effect(text: str) -> str:
    """Return what a fault does, on its node if it names one; raise ValueError with the known faults."""
    name, node = parse(text)
    return NODE_FAULTS[name].format(node=node) if node else FAULTS[name]


def parse(text: str) -> tuple[str, str]:
    """Return a fault's name and node; the node is empty if none is given. Raises `ValueError` with the known faults."""
    name, colon, node = text.partition(":")
    if name not in FAULTS:
        known = "".join(f"\n  {line}" for line in listed())
        raise ValueError(f"unknown fault {name!r}; known faults:{known}")
    if colon and (name not in NODE_FAULTS or not node):
        raise ValueError(f"{text!r}: only these faults take a node: {', '.join(sorted(NODE_FAULTS))}")
    return name, node


class Faults:
    """The active faults."""

    def __init__(self) -> None:
        self._active: dict[str, None] = {}
        self._reactions: list[Reaction] = []
        self.bell = Broadcast()

    @property
    def current(self) -> tuple[str, ...]:
        """The active faults, in the order in which they began."""
        return tuple(self._active)

    def react(self, reaction: Reaction) -> None:
        """Call the reaction whenever a fault begins or ends."""
        self._reactions.append(reaction)

    def begin(self, text: str) -> None:
        """Begin a fault, unless it is active. Raises `ValueError`."""
        name, node = parse(text)
        if text in self._active:
            return
        if name not in MOMENTARY:
            self._active[text] = None
        self._tell(name, node, began=True)

    def end(self, text: str) -> None:
        """End a fault; it need not be active. Raises `ValueError`."""
        name, node = parse(text)
        if text in self._active:
            del self._active[text]
            self._tell(name, node, began=False)

    def active(self, name: str, node: str = "") -> bool:
        """Tell whether the fault is active, everywhere or on that node."""
        return name in self._active or (bool(node) and f"{name}:{node}" in self._active)

    async def clear(self, *names: str, node: str = "") -> None:
        """Return when none of the faults is active."""
        while any(self.active(name, node) for name in names):
            await self.bell.wait()

    def _tell(self, name: str, node: str, *, began: bool) -> None:
        for reaction in self._reactions:
            reaction(name, node, began)
        self.bell.ring()
