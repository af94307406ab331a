"""The faults of the fault table: what is broken, which component is to blame, and who is woken."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks import breaking_network as network
from benchmarks import webhooks
from benchmarks.breaking import (
    NOWHERE,
    Fault,
    admitted,
    configured,
    cut,
    full_disk,
    killed,
    no_provisioner,
    paused,
    quota_reached,
    stopped,
    without,
)
from benchmarks.verdicts import INCONCLUSIVE

API, CONTROLLERS, SCHEDULER = "KhealthApiServerBroken", "KhealthControllerManagerBroken", "KhealthSchedulerBroken"
NODES, REGISTRY, STORAGE = "KhealthNodesBroken", "KhealthRegistryBroken", "KhealthStorageBroken"
REFUSES, DNS, NETWORK = "KhealthApiServerRefuses", "KhealthDnsBroken", "KhealthNetworkBroken"
NOBODY = "no one"
"""To blame for what the cluster or khealth mends by itself, before somebody must notice it."""
NODE = "node-2"
"""The node of the faults of one node."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: what is done, how, the component to blame, and which alert pages; empty for none."""

    name: str
    what: str
    fault: Fault
    component: str
    """`inconclusive` and `no one` are none."""
    page: str = ""
    seconds: float = 90.0
    """How long it lasts at most. It ends earlier if every routine has made an attempt and the page has come."""
    also: tuple[str, ...] = ()
    """Further components that it may break."""


_POD = {"pod": {"image": NOWHERE}}
_FROM_PODS = ("-i", "eth0", "-s", network.PODS, "-d", network.PODS)
_LONG = 200.0
"""Seconds for two attempts of a routine of the network."""
_NETWORK_ROWS = (
    Row("dns-gone", "CoreDNS scaled to zero", network.no_dns, "dns", DNS, _LONG),
    Row("dns-paused", "the process of one CoreDNS pod paused", network.dns_paused, "dns", seconds=_LONG),
    Row("dns-fails", "CoreDNS answers SERVFAIL", network.dns_fails, "dns", DNS, _LONG),
    Row("dns-lies", "the DNS gives a wrong address for every name", network.dns_lies, "dns", DNS, _LONG),
    Row("proxy-stopped", "kube-proxy stopped on one node", stopped(f"kube-proxy@{NODE}"), "node", seconds=_LONG),
    Row(
        "one-way",
        "a node drops what pods of others begin to say to its own",
        network.dropped(NODE, *_FROM_PODS, "-m", "conntrack", "--ctstate", "NEW"),
        "network",
        NETWORK,
        _LONG,
    ),
    Row(
        "no-udp",
        "a node drops datagrams (UDP) from pods of others",
        network.dropped(NODE, *_FROM_PODS, "-p", "udp"),
        "network",
        NETWORK,
        _LONG,
    ),
    Row(
        "black-hole",
        "a node drops packets above 1,400 bytes between pods",
        network.dropped(NODE, *_FROM_PODS, "-m", "length", "--length", "1401:65535"),
        "network",
        NETWORK,
        _LONG,
    ),
    Row(
        "no-api-from-node",
        "the API server unreachable from the pods of one node",
        network.dropped(NODE, "-s", network.PODS, "-d", network.API, "-p", "tcp", "--dport", "6443"),
        "node",
        seconds=120.0,
        also=("dns",),  # The DNS pod of that node learns no new name.
    ),
    Row("agent-killed", "the process of an agent killed (-9)", network.agent_killed(NODE), NOBODY, seconds=60.0),
    Row("agent-frozen", "the process of an agent paused", network.agent_frozen(NODE), NOBODY, also=("node",)),
    Row("agent-evicted", "an agent evicted", network.agent_evicted(NODE), NOBODY, seconds=60.0),
    Row("secret-changed", "the secret of the agents changed", network.secret_changed, NOBODY, seconds=150.0),
)
ROWS = (
    Row("api-paused", "kube-apiserver paused", paused("kube-apiserver"), "api_server", API),
    Row("api-stopped", "kube-apiserver stopped", stopped("kube-apiserver"), "api_server", API),
    Row("etcd-paused", "etcd paused", paused("etcd"), "api_server", API),
    Row("etcd-stopped", "etcd stopped", stopped("etcd"), "api_server", API),
    Row(
        "controllers-paused",
        "kube-controller-manager paused",
        paused("kube-controller-manager"),
        "controller_manager",
        CONTROLLERS,
    ),
    Row(
        "controllers-stopped",
        "kube-controller-manager stopped",
        stopped("kube-controller-manager"),
        "controller_manager",
        CONTROLLERS,
    ),
    Row("scheduler-paused", "kube-scheduler paused", paused("kube-scheduler"), "scheduler", SCHEDULER),
    Row("scheduler-stopped", "kube-scheduler stopped", stopped("kube-scheduler"), "scheduler", SCHEDULER),
    Row("kubelets-paused", "the kubelets of all nodes paused", paused("kubelet@*"), "node", NODES),
    Row("kubelets-stopped", "the kubelets of all nodes stopped", stopped("kubelet@*"), "node", NODES),
    Row("kubelet-paused", "the kubelet of one node paused", paused(f"kubelet@{NODE}"), "node"),
    Row("kubelet-stopped", "the kubelet of one node stopped", stopped(f"kubelet@{NODE}"), "node"),
    Row("runtime-paused", "containerd of one node hung", paused(f"containerd@{NODE}"), "node"),
    Row("runtimes-paused", "containerd of all nodes hung", paused("containerd@*"), "node", NODES),
    Row("node-cut", "one node cut off from the network", cut(NODE), "node"),
    Row("no-provisioner", "a StorageClass whose provisioner does not run", no_provisioner, "storage", STORAGE, 180),
    Row("disk-full", "an emptyDir on a full file system", full_disk, "storage", STORAGE),
    Row("quota", "a quota of no pods", quota_reached, INCONCLUSIVE),
    Row("webhook-hangs", "a webhook for pods that times out", admitted(webhooks.hangs), "api_server", REFUSES),
    Row("webhook-rejects", "a webhook that rejects every pod", admitted(webhooks.rejects), "api_server", REFUSES),
    Row("finalizer", "a finalizer on every pod, which no controller removes", admitted(webhooks.holds), INCONCLUSIVE),
    Row(
        "image-missing",
        "the image of pods is in no registry",
        configured({"pod": _POD, "rcscheduler": _POD, "deployment": _POD}),
        "registry",
        REGISTRY,
    ),
    Row(
        "canary-image-missing", "khealth's own image is in no registry", configured(image=NOWHERE), "registry", REGISTRY
    ),
    # custom/check has the same process, and its user's words for it.
    Row("job-killed", "the process of a Job's pod killed (-9)", killed("compute"), "node", NODES, also=("workload",)),
    Row(
        "no-garbage-collector",
        "the controller manager without garbage-collector-controller",
        without("garbage-collector-controller"),
        "controller_manager",
        CONTROLLERS,
        540,
    ),
    Row(
        "no-job-controller",
        "the controller manager without job-controller",
        without("job-controller"),
        "controller_manager",
        CONTROLLERS,
        200,
    ),
    Row(
        "no-deployment-controller",
        "the controller manager without deployment-controller",
        without("deployment-controller"),
        "controller_manager",
        CONTROLLERS,
        150,
    ),
    Row(
        "no-replication-controller",
        "the controller manager without replicationcontroller-controller",
        without("replicationcontroller-controller"),
        "controller_manager",
        CONTROLLERS,
    ),
    *_NETWORK_ROWS,
)
BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}
