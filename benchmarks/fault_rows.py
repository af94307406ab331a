"""The faults of the fault table: what is broken, which component is to blame, and who is woken."""

from collections.abc import Mapping
from dataclasses import dataclass

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
REFUSES = "KhealthApiServerRefuses"
NODE = "node-2"
"""The node of the faults of one node."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: what is done, how, the component to blame or `inconclusive`, and which alert pages; empty for none."""

    name: str
    what: str
    fault: Fault
    component: str
    page: str = ""
    seconds: float = 90.0
    """How long it lasts at most. It ends earlier if every routine has made an attempt and the page has come."""


_POD = {"pod": {"image": NOWHERE}}
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
    Row("job-killed", "the process of a Job's pod killed (-9)", killed("compute"), "node", NODES),
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
)
BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}
