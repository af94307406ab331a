"""Who is to blame: a row for each reason, from objects as a cluster sends them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from documents import (
    RUNNING,
    Json,
    a_controller,
    a_node,
    a_pod,
    accepted,
    bound,
    condition,
    container,
    containers,
    controller,
    disrupted,
    gated,
    injected,
    leaving,
    node,
    pod,
    readiness_gated,
    ready,
    running,
    sandboxed,
    status_of,
    terminated,
    unschedulable,
    waiting,
)
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canaries.containers import PULLING
from khealth_exporter.canaries.diagnosis import Finding, blame, not_created, not_deleted, not_ready
from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import (
    ACCEPT,
    CREATE,
    DELETE,
    READY,
    SANDBOX,
    SCHEDULE,
    START,
    STARTUP,
    WAY,
    well,
)
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.scheduling import Toleration
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result

STEPS = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY, STARTUP, DELETE)


def way(*documents: Json, gone: bool = False) -> Trace[Pod]:
    """Return the trace of a pod that was seen like this, one after the other."""
    followed = Trace(WAY, a_pod(documents[0]))
    for at, document in enumerate(documents):
        followed.take(a_pod(document), Moment(float(at)), removed=False)
    if gone:
        followed.take(followed.item, Moment(100.0), removed=True)
    return followed


def nodes(*documents: Json, selector: dict[str, str] | None = None, tolerations: Sequence[Toleration] = ()) -> Nodes:
    return Nodes.of(
        [a_node(document) for document in documents], Placement("pause", selector or {}, tuple(tolerations))
    )


UNKNOWN = Nodes.of(None, Placement("pause"))
WELL = nodes(node("node-1"), node("node-2"), node("node-3"))
SICK = nodes(node("node-1", ready="Unknown"), node("node-2"), node("node-3"))
NONE_READY = nodes(node("node-1", ready="False"), node("node-2", ready="Unknown"))
CORDONED = nodes(node("node-1", cordoned=True), node("node-2"))
ALL_CORDONED = nodes(node("node-1", cordoned=True), node("node-2", cordoned=True))
EVERYTHING = Toleration(operator="Exists")
OF_NO_EXECUTE = Toleration(operator="Exists", effect="NoExecute")
CONTROL_PLANE = node("node-0", taints=("node-role.kubernetes.io/control-plane",))
WORKERS_CORDONED = (
    CONTROL_PLANE, node("node-1", cordoned=True, taints=("node.kubernetes.io/unschedulable",)), node("node-2", cordoned=True),
)  # fmt: skip
SCALED_DOWN = nodes(node("node-1", taints=("ToBeDeletedByClusterAutoscaler",)), node("node-2"))
CONSOLIDATED = nodes(node("node-1", taints=("karpenter.sh/disrupted",)), node("node-2"))
ALL_GOING = nodes(node("node-1", taints=("ToBeDeletedByClusterAutoscaler",)), node("node-2", cordoned=True))

A, B, C = pod("pod-a"), pod("pod-b"), pod("pod-c")
PULL = containers(A, container(waiting("ImagePullBackOff", 'Back-off pulling image "registry.k8s.io/pause:3.10.1"')))
INITIALIZING = containers(A, container(waiting("PodInitializing")))
BACK_OFF = containers(
    A,
    container(waiting("CrashLoopBackOff", "back-off 10s"), last=terminated(137, "OOMKilled"), restarts=1),
    phase="Running",
)
EVICTED = status_of(accepted(A), phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
REJECTED = status_of(
    bound(A), phase="Failed", reason="NodeShutdown", message="Pod was rejected as the node is shutting down."
)
NOT_READY_NODE = node("node-1", ready="Unknown", says=("NodeStatusUnknown", "Kubelet stopped posting node status."))
NO_NETWORK = ("KubeletNotReady", "container runtime network not ready: cni plugin not initialized")
STOPPING = node("node-1", ready="False", says=("KubeletNotReady", "node is shutting down"))
TAINTED_FOR_IT = disrupted(bound(A), "Taint manager: deleting due to NoExecute taint", reason="DeletionByTaintManager")
NO_SANDBOX = status_of(
    accepted(A), condition("PodReadyToStartContainers", "False", "PodSandboxNotReady", "no network plugin")
)


@dataclass(frozen=True)
class Row:
    """One case: pods as they were seen, the nodes, and what is made of it."""

    name: str
    reason: Reason
    ways: tuple[Trace[Pod], ...]
    nodes: Nodes = field(default=WELL)
    says: str = ""
    pulling: frozenset[str] = frozenset()


ROWS = (
    Row("the scheduler has not reported", Reason.POD_NOT_SCHEDULED, (way(A),), says="not reported"),
    Row("it has no words where nodes are unknown", Reason.POD_NOT_SCHEDULED, (way(A),), UNKNOWN),
    Row("no room", Reason.POD_UNSCHEDULABLE, (way(unschedulable(A)),), says="Insufficient cpu"),
    Row("no room where nodes are unknown", Reason.POD_UNSCHEDULABLE, (way(unschedulable(A)),), UNKNOWN),
    Row("no node fits the selector", Reason.POD_UNSCHEDULABLE, (way(unschedulable(A)),), nodes(node(), selector={"a": "b"})),
    Row("no room for none is Ready", Reason.NODES_NOT_READY, (way(unschedulable(A)),), NONE_READY),
    Row("no room for all are cordoned", Reason.NO_NODE, (way(unschedulable(A)),), ALL_CORDONED),
    Row("no room for all are being removed", Reason.NO_NODE, (way(unschedulable(A)),), ALL_GOING),
    Row("no room though one is cordoned", Reason.POD_UNSCHEDULABLE, (way(unschedulable(A)),), CORDONED),
    Row(
        "the only one in service is not Ready", Reason.NODES_NOT_READY, (way(unschedulable(A)),),
        nodes(node("node-1", ready="False"), node("node-2", cordoned=True)),
    ),
    Row("bound, and no node is Ready", Reason.NODES_NOT_READY, (way(bound(A)),), NONE_READY),
    Row("the kubelet says nothing", Reason.KUBELET_SILENT, (way(bound(A)),), says="node-1"),
    Row("the kubelet says nothing, its node is NotReady", Reason.KUBELET_SILENT, (way(bound(A)),), SICK),
    Row("no sandbox", Reason.SANDBOX_FAILED, (way(NO_SANDBOX),), says="no network plugin"),
    Row("no sandbox, and no words", Reason.SANDBOX_FAILED, (way(accepted(A)),), says="runtime or network"),
    *(
        Row(f"{reason}", Reason.IMAGE_PULL_FAILED, (way(containers(A, container(waiting(reason, "denied")))),), says="denied")
        for reason in sorted(PULLING)
    ),
    Row("a pull that backs off", Reason.IMAGE_PULL_FAILED, (way(PULL),), says="pause:3.10.1"),
    Row(
        "a pull that goes on and on", Reason.IMAGE_PULL_FAILED, (way(sandboxed(A)),), says="still being pulled",
        pulling=frozenset({"pod-a"}),
    ),
    Row("another pod's pull", Reason.POD_NOT_STARTED, (way(sandboxed(A)),), pulling=frozenset({"pod-b"})),
    Row("containers do not start", Reason.POD_NOT_STARTED, (way(sandboxed(A)),), says="not started"),
    Row(
        "a container cannot be made", Reason.POD_NOT_STARTED,
        (way(containers(A, container(waiting("CreateContainerError", "context deadline exceeded")))),), says="deadline exceeded",
    ),
    Row("evicted before it started", Reason.POD_NOT_STARTED, (way(EVICTED),), says="low on resource"),
    Row("crashed", Reason.POD_CRASHED, (way(containers(A, container(terminated(139)))),), says="139"),
    Row("crashed and backing off", Reason.POD_CRASHED, (way(BACK_OFF),), says="137 (OOMKilled)"),
    Row(
        "crashed for good", Reason.POD_CRASHED,
        (way(status_of(containers(A, container(terminated())), phase="Failed", reason="OutOfmemory")),), says="OutOfmemory",
    ),
    Row(
        "an init container's missing image", Reason.IMAGE_PULL_FAILED,
        (way(injected(INITIALIZING, "istio-init", waiting("ErrImagePull", "not found"))),),
        says="init container istio-init: ErrImagePull of mesh.example/istio-init:1: not found", pulling=frozenset({"pod-a"}),
    ),
    Row(
        "a sidecar's missing image", Reason.IMAGE_PULL_FAILED,
        (way(injected(INITIALIZING, "proxy", waiting("ImagePullBackOff", "Back-off"), sidecar=True)),),
        says="sidecar proxy: ImagePullBackOff of mesh.example/proxy:1",
    ),
    Row(
        "an init container's pull that goes on and on", Reason.IMAGE_PULL_FAILED,
        (way(injected(INITIALIZING, "istio-init", waiting("PodInitializing"))),),
        says="image mesh.example/istio-init:1 of init container istio-init is still being pulled", pulling=frozenset({"pod-a"}),
    ),
    Row(
        "a pull after an init container", Reason.IMAGE_PULL_FAILED,
        (way(injected(INITIALIZING, "istio-init", terminated(0, "Completed"))),),
        says="image registry.k8s.io/pause:3.10.1 of container pause", pulling=frozenset({"pod-a"}),
    ),
    Row(
        "an init container that fails", Reason.POD_CRASHED,
        (way(injected(INITIALIZING, "istio-init", terminated(2))),), says="init container istio-init exited with code 2 (Error)",
    ),
    Row(
        "an init container that backs off", Reason.POD_CRASHED,
        (way(injected(INITIALIZING, "istio-init", waiting("CrashLoopBackOff", "back-off 10s"), lastState=terminated(2))),),
        says="init container istio-init exited with code 2 (Error)",
    ),
    Row(
        "an init container that had failed, and then ended well", Reason.POD_NOT_READY,
        (way(injected(running(A), "istio-init", terminated(0, "Completed"), lastState=terminated(2))),),
    ),
    Row(
        "an init container that is run again, having ended well", Reason.POD_GATED,
        (way(injected(INITIALIZING, "istio-init", RUNNING, lastState=terminated(0, "Completed"))),),
        says="init container istio-init is running",
    ),
    Row(
        "an init container that does not end", Reason.POD_GATED,
        (way(injected(INITIALIZING, "istio-init", RUNNING)),), says="init container istio-init is running",
        pulling=frozenset({"pod-a"}),
    ),
    Row(
        "the second of two init containers", Reason.POD_NOT_STARTED,
        (way(injected(injected(INITIALIZING, "first", terminated(0, "Completed")), "second", waiting("CreateContainerError"))),),
        says="init container second: CreateContainerError",
    ),
    Row(
        "a sidecar that exits", Reason.POD_CRASHED,
        (way(injected(INITIALIZING, "istio-proxy", terminated(1), sidecar=True)),), says="sidecar istio-proxy exited with code 1 (Error)",
    ),
    Row(
        "a sidecar that exits, well", Reason.POD_CRASHED,
        (way(injected(running(A), "istio-proxy", terminated(0, "Completed"), sidecar=True)),), says="istio-proxy exited with code 0",
    ),
    Row(
        "a sidecar that was killed beside a container that runs", Reason.POD_CRASHED,
        (way(injected(running(A), "proxy", waiting("CrashLoopBackOff", "b"), sidecar=True, lastState=terminated(137, "OOMKilled"))),),
        says="sidecar proxy exited with code 137 (OOMKilled)",
    ),
    Row(
        "a sidecar whose startup probe fails", Reason.POD_GATED,
        (way(injected(INITIALIZING, "proxy", RUNNING, sidecar=True, started=False)),),
        says="sidecar proxy is running, its startup probe has not succeeded",
    ),
    Row(
        "a container's image, beside a sidecar that was restarted once", Reason.IMAGE_PULL_FAILED,
        (way(injected(PULL, "proxy", RUNNING, sidecar=True, started=True, lastState=terminated(1))),), says="container pause",
    ),
    Row(
        "a sidecar and a container start in turn", Reason.POD_NOT_STARTED,
        (way(injected(INITIALIZING, "proxy", RUNNING, sidecar=True, started=True)),),
        says="container pause is waiting PodInitializing",
    ),
    Row(
        "a command that cannot run", Reason.POD_NOT_STARTED,
        (way(containers(A, container({"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec: /pause: not found"}}))),),
        says="container pause cannot run: StartError: exec: /pause: not found",
    ),
    Row(
        "a setting that the kubelet refuses, without words", Reason.POD_NOT_STARTED,
        (way(containers(A, container(waiting("CreateContainerConfigError")))),), says="container pause: CreateContainerConfigError",
    ),
    Row("started, not Ready", Reason.POD_NOT_READY, (way(running(A)),), says="unready status"),
    Row("lost Ready in the hold", Reason.POD_NOT_READY, (way(ready(A), running(A)),)),
    Row("vanished", Reason.POD_LOST, (way(ready(A), gone=True),), says="disappeared"),
    Row("deleted by somebody", Reason.POD_LOST, (way(ready(A), leaving(ready(A))),), says="not by khealth"),
    Row("vanished before it had a node", Reason.POD_LOST, (way(A, gone=True),)),
    Row("evicted by its node's drain", Reason.DISRUPTED, (way(ready(A), leaving(disrupted(ready(A)))),), says="Eviction API"),
    Row("preempted before it started", Reason.DISRUPTED, (way(disrupted(bound(A))),)),
    Row("evicted, nodes unknown", Reason.DISRUPTED, (way(disrupted(ready(A)), gone=True),), UNKNOWN),
    *(
        Row(f"disrupted by {reason}", Reason.DISRUPTED, (way(leaving(disrupted(bound(A), "", reason=reason))),), says=reason)
        for reason in ("PreemptionByScheduler", "DeletionByTaintManager", "DeletionByPodGC", "TerminationByKubelet")
    ),
    Row("a disruption that did not happen", Reason.POD_NOT_READY, (way(disrupted(running(A), status="False")),)),
    Row(
        "deleted from a node that was dead before", Reason.KUBELET_SILENT, (way(bound(A), leaving(TAINTED_FOR_IT)),),
        nodes(NOT_READY_NODE, node("node-2")),
    ),
    Row(
        "deleted from a node that died after it was Ready", Reason.DISRUPTED,
        (way(ready(A), leaving(disrupted(ready(A), "", reason="DeletionByTaintManager"))),), nodes(NOT_READY_NODE, node("node-2")),
    ),
    Row("rejected by a node that is shut down", Reason.DISRUPTED, (way(REJECTED),), says="node is shutting down"),
    Row("its node is shut down", Reason.DISRUPTED, (way(accepted(A)),), nodes(STOPPING, node("node-2")), says="shut down"),
    Row("its virtual machine was stopped", Reason.DISRUPTED, (way(bound(A)),),
        nodes(node("node-1", ready="False", taints=("node.cloudprovider.kubernetes.io/shutdown",)), node("node-2"))),
    Row("no room for all are shut down", Reason.NO_NODE, (way(unschedulable(A)),), nodes(STOPPING)),
    Row("a scheduling gate", Reason.POD_GATED, (way(gated(A, "kueue.x-k8s.io/admission")),), says="kueue.x-k8s.io/admission"),
    Row("two gates", Reason.POD_GATED, (way(gated(A, "a.example/x", "b.example/y")),), says="a.example/x, b.example/y"),
    Row("gates that are cleared", Reason.POD_NOT_SCHEDULED, (way(gated(A)),), UNKNOWN, says="not reported"),
    Row("a gate though no node is Ready", Reason.POD_GATED, (way(gated(A, "g")),), NONE_READY),
    Row("a gate though all are cordoned", Reason.POD_GATED, (way(gated(A, "g")),), ALL_CORDONED),
    Row("gated, and then bound", Reason.KUBELET_SILENT, (way(gated(A, "g"), bound(A)),)),
    Row("a readiness gate", Reason.POD_GATED, (way(readiness_gated(ready(A), "elb.example/ready")),), says="elb.example/ready"),
    Row("a readiness gate before its containers are ready", Reason.POD_NOT_READY,
        (way({**running(A), "spec": readiness_gated(running(A), "g")["spec"]}),)),
    Row("the scheduler failed", Reason.POD_NOT_SCHEDULED,
        (way(status_of(A, condition("PodScheduled", "False", "SchedulerError", "binding rejected"))),), says="binding rejected"),
    Row("no network on any node", Reason.NODES_NOT_READY, (way(bound(A)),), nodes(node(ready="False", says=NO_NETWORK)),
        says="cni plugin not initialized"),
    Row("no room for workers are cordoned", Reason.NO_NODE, (way(unschedulable(A)),), nodes(*WORKERS_CORDONED)),
    Row(
        "no room for workers are cordoned, NoExecute is tolerated", Reason.NO_NODE, (way(unschedulable(A)),),
        nodes(*WORKERS_CORDONED, tolerations=(OF_NO_EXECUTE,)), says="cordoned",
    ),
    Row(
        "no room though everything is tolerated", Reason.POD_UNSCHEDULABLE, (way(unschedulable(A)),),
        nodes(*WORKERS_CORDONED, tolerations=(EVERYTHING,)),
    ),
    Row(
        "no room for all are tainted", Reason.POD_UNSCHEDULABLE, (way(unschedulable(A)),),
        nodes(CONTROL_PLANE, node("node-1", taints=("maintenance=yes",))),
    ),
    Row("silent on a cordoned node that is tolerated", Reason.KUBELET_SILENT, (way(bound(A)),),
        nodes(*WORKERS_CORDONED, tolerations=(EVERYTHING,))),
    Row("deleted from a cordoned node that is tolerated", Reason.DISRUPTED, (way(ready(A), leaving(ready(A))),),
        nodes(*WORKERS_CORDONED, tolerations=(EVERYTHING,))),
    Row("its node was cordoned", Reason.DISRUPTED, (way(ready(A), gone=True),), CORDONED, says="cordoned"),
    Row("its node was cordoned before Ready", Reason.DISRUPTED, (way(bound(A)),), CORDONED),
    Row("its node is scaled down", Reason.DISRUPTED, (way(ready(A), gone=True),), SCALED_DOWN),
    Row("its node is consolidated", Reason.DISRUPTED, (way(ready(A), gone=True),), CONSOLIDATED),
    Row("its node is gone", Reason.DISRUPTED, (way(ready(A), gone=True),), nodes(node("node-2")), says="is gone"),
    Row("its node became NotReady", Reason.DISRUPTED, (way(ready(A), running(A)),), SICK, says="NotReady"),
    Row("all nodes became NotReady", Reason.NODES_NOT_READY, (way(ready(A), running(A)),), NONE_READY),
    Row("its only node became NotReady", Reason.NODES_NOT_READY, (way(ready(A), running(A)),), nodes(node(ready="Unknown"))),
    Row("not Ready where its node is NotReady", Reason.POD_NOT_READY, (way(running(A)),), SICK),
    Row("nodes unknown, vanished", Reason.POD_LOST, (way(ready(A), gone=True),), UNKNOWN),
    Row(
        "all failing pods on one node", Reason.ONE_NODE, (way(bound(A)), way(bound(B)), way(ready(C, "node-2"))),
        says="kubelet_silent on node-1 only",
    ),
    Row("only one node has pods", Reason.KUBELET_SILENT, (way(bound(A)), way(bound(B)), way(ready(C)))),
    Row("others got no further", Reason.SANDBOX_FAILED, (way(accepted(A)), way(accepted(B, "node-2")))),
    Row("failing pods on two nodes", Reason.KUBELET_SILENT, (way(bound(A)), way(bound(B, "node-2")), way(ready(C, "node-3")))),
    Row("an unscheduled pod has no node", Reason.POD_NOT_SCHEDULED, (way(A), way(ready(B)))),
    Row("a lost pod is no sign of its node", Reason.POD_LOST, (way(ready(A), gone=True), way(ready(B, "node-2")))),
    Row("no node is Ready, one pod had got further", Reason.NODES_NOT_READY, (way(bound(A)), way(ready(B, "node-2"))), NONE_READY),
    Row("the earliest step wins", Reason.POD_NOT_SCHEDULED, (way(running(A)), way(running(B)), way(C))),
    Row(
        "ties go by count", Reason.POD_CRASHED,
        (way(PULL), way(containers(B, container(terminated()), node="node-2")), way(containers(C, container(terminated())))),
    ),
    Row("a failure outweighs a disruption", Reason.POD_NOT_READY, (way(leaving(disrupted(ready(A)))), way(running(B)))),
)  # fmt: skip


def judged(row: Row) -> Finding:
    failing = [not_ready(found, row.nodes, row.pulling) for found in row.ways if not well(found)]
    return blame(failing, STEPS, row.ways)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_who_is_to_blame(row: Row) -> None:
    """Each reason follows from what the cluster says, and its note says why."""
    found = judged(row)
    assert row.reason is found.reason
    assert row.says in found.note


def test_the_order_of_the_pods_does_not_matter() -> None:
    """The same pods in another order have the same verdict."""
    for row in ROWS:
        turned = Row(row.name, row.reason, row.ways[::-1], row.nodes, row.says, row.pulling)
        assert judged(row).reason is judged(turned).reason


MESSAGES = st.text(max_size=400)


@given(MESSAGES, st.sampled_from([*sorted(PULLING), "CreateContainerError", "x" * 300]))
def test_a_note_is_one_short_line(message: str, reason: str) -> None:
    """Whatever a kubelet writes: what becomes a log line and a page's cell is short, and has no line breaks."""
    note = not_ready(way(containers(A, container(waiting(reason, message)))), WELL).note
    assert len(note) <= 460
    assert note.isprintable()


REFUSALS = (
    ('pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2', Reason.QUOTA_EXCEEDED),
    ('pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false', Reason.API_REJECTED),
    ('pods "x" is forbidden: error looking up service account khealth/default: serviceaccount "default" not found',
     Reason.POD_NOT_CREATED),
    ('pods "x" is forbidden: User "system:serviceaccount:kube-system:replication-controller" cannot create resource "pods"',
     Reason.POD_NOT_CREATED),
    ('pods "x" is forbidden: no PriorityClass with name gone was found', Reason.API_REJECTED),
    ('Pod "x" is invalid: spec.containers[0].image: Required value', Reason.API_REJECTED),
    ('admission webhook "policy.example.com" denied the request: no canaries here', Reason.API_REJECTED),
    ('Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: Post "https://policy"',
     Reason.WEBHOOK_FAILED),
    ('pods "x" is forbidden: unable to create new content in namespace khealth because it is being terminated',
     Reason.INTERRUPTED),
    ("etcdserver: request timed out", Reason.API_ERROR),
    ("Timeout: request did not complete within requested timeout - context deadline exceeded", Reason.API_TIMEOUT),
    ("words that nobody knows", Reason.UNKNOWN),
)  # fmt: skip


@pytest.mark.parametrize(("message", "reason"), REFUSALS, ids=lambda value: str(value)[:60])
def test_why_the_controllers_pods_are_refused(message: str, reason: Reason) -> None:
    """The controller's ReplicaFailure condition refines pod_not_created."""
    found = not_created(a_controller(controller(refusal=message)), 3)
    assert reason is found.reason
    assert "3 pods not created" in found.note


def test_pods_that_cannot_be_deleted_are_no_reason_why_others_are_missing() -> None:
    """The same condition tells of both; its reason decides."""
    document = controller(refusal="etcdserver: request timed out")
    document["status"]["conditions"][0]["reason"] = "FailedDelete"
    assert Reason.POD_NOT_CREATED is not_created(a_controller(document), 3).reason


def test_a_controller_that_was_not_looked_at() -> None:
    """ObservedGeneration below the generation: the controller manager is silent."""
    found = not_created(a_controller(controller(generation=1, observed=0)), 1)
    assert (Reason.POD_NOT_CREATED, True) == (found.reason, "has not observed" in found.note)


def test_a_controller_whose_pods_do_not_come() -> None:
    """Seen, not refused, and no pods all the same."""
    found = not_created(a_controller(controller()), 1)
    assert (Reason.POD_NOT_CREATED, True) == (found.reason, "has observed the controller" in found.note)


def test_a_controller_that_is_not_there() -> None:
    """Without a controller there is nothing that could make pods."""
    assert Reason.POD_NOT_CREATED is not_created(None, 2).reason


def test_a_missing_pod_is_earlier_than_any_other_trouble() -> None:
    """pod_not_created wins over pods that hang later."""
    findings = [not_ready(way(A), WELL), not_created(a_controller(controller()), 1)]
    assert Reason.POD_NOT_CREATED is blame(findings, STEPS).reason


def finalized(document: Json) -> Json:
    """Return a pod that is asked to end, and that its controller must let go."""
    document = leaving(document)
    return {**document, "metadata": {**document["metadata"], "finalizers": ["batch.kubernetes.io/job-tracking"]}}


def ended(document: Json) -> Json:
    """Return a pod whose container has ended."""
    return containers(document, container(terminated(0)), phase="Running")


@pytest.mark.parametrize(
    ("ways", "known", "reason"),
    [
        ((), WELL, Reason.POD_NOT_DELETED),
        ((way(ready(A), gone=True),), WELL, Reason.POD_NOT_DELETED),
        ((way(ready(A)), way(leaving(ready(B)))), WELL, Reason.POD_NOT_DELETED),
        ((way(leaving(ready(A))), way(leaving(ready(B, "node-2")))), WELL, Reason.KUBELET_SILENT),
        ((way(leaving(ready(A))), way(ready(B, "node-2"), gone=True)), UNKNOWN, Reason.KUBELET_SILENT),
        ((way(leaving(ready(A))),), CORDONED, Reason.DISRUPTED),
        ((way(leaving(ready(A))),), SICK, Reason.DISRUPTED),
        ((way(leaving(ready(A))),), nodes(node("node-2")), Reason.DISRUPTED),
        ((way(leaving(ready(A))),), NONE_READY, Reason.NODES_NOT_READY),
        ((way(finalized(ended(A))),), WELL, Reason.POD_NOT_DELETED),
        ((way(finalized(A)),), WELL, Reason.POD_NOT_DELETED),
        ((way(finalized(ready(A))),), WELL, Reason.KUBELET_SILENT),
    ],
    ids=[
        "controller", "controller-after-pods", "not-asked", "kubelets", "kubelet", "cordoned", "sick", "gone", "none",
        "finalizer", "finalizer-unscheduled", "finalizer-running",
    ],
)  # fmt: skip
def test_who_keeps_a_controller_from_going(ways: tuple[Trace[Pod], ...], known: Nodes, reason: Reason) -> None:
    """The collector that asks nobody to end, or the kubelet of a pod that is asked and does not."""
    assert reason is not_deleted(ways, known, STEPS).reason


@pytest.mark.parametrize(
    ("taints", "tolerations", "eligible"),
    [
        ((), (), True),
        (("dedicated",), (), False),
        (("dedicated",), (Toleration("dedicated"),), True),
        (("dedicated=a",), (Toleration("dedicated"),), False),
        (("dedicated", "other"), (Toleration("dedicated"),), False),
        (("dedicated",), (EVERYTHING,), True),
        (("dedicated",), (OF_NO_EXECUTE,), False),
        (("dedicated:NoExecute",), (OF_NO_EXECUTE,), True),
        (("node.cloudprovider.kubernetes.io/uninitialized=true",), (), True),
        (("dedicated:PreferNoSchedule",), (), True),
        (("node.kubernetes.io/not-ready:NoExecute",), (), True),
        (("node.kubernetes.io/unschedulable",), (), True),
        (("ToBeDeletedByClusterAutoscaler",), (), True),
        (("karpenter.sh/disrupted",), (), True),
    ],
)
def test_which_nodes_the_pods_may_run_on(
    taints: tuple[str, ...], tolerations: tuple[Toleration, ...], eligible: bool
) -> None:
    """Lasting taints that are not tolerated exclude a node; what says how a node is at the moment does not."""
    assert eligible is bool(nodes(node(taints=taints), tolerations=tolerations).eligible)


def test_a_required_affinity_excludes_nodes() -> None:
    """As admission may have added it to the pod."""
    asked = {"key": "zone", "operator": "NotIn", "values": ["a"]}  # codespell:ignore notin
    required = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [asked]}]}
    }
    spec = a_pod({**A, "spec": {**A["spec"], "affinity": {"nodeAffinity": required}}}).spec
    found = Nodes.of(
        [a_node(node("node-1", zone="a")), a_node(node("node-2", zone="b"))], Placement("pause").seen(spec)
    )
    assert ["node-2"] == [eligible.name for eligible in found.eligible]


def test_a_pod_for_one_node_leaves_the_other_nodes_eligible() -> None:
    """What they are like tells whether it is the cluster or the node; a term that others added to still counts."""
    spec = a_pod({**A, "spec": {**A["spec"], **PINNED.affinity}}).spec
    known = [a_node(node("node-1", ready="False")), a_node(node("node-2"))]
    assert (2, False) == (
        len(Nodes.of(known, PINNED.seen(spec)).eligible),
        Nodes.of(known, PINNED.seen(spec)).none_ready,
    )


def test_a_selector_excludes_nodes() -> None:
    """Only nodes with the labels that were asked for count."""
    known = nodes(node("node-1", zone="a"), node("node-2", zone="b"), selector={"zone": "b"})
    assert ["node-2"] == [found.name for found in known.eligible]


def test_a_node_where_no_canary_runs_explains_nothing() -> None:
    """A pod on a node that its placement excludes by now is not called disrupted for it."""
    known = nodes(node("node-1", zone="a", ready="False"), node("node-2", zone="b"), selector={"zone": "b"})
    assert "" == known.disrupts(way(ready(A), gone=True))


def test_every_finding_of_a_table_is_of_the_routines_reasons() -> None:
    """What is blamed is in the closed list that bounds the label."""
    assert {row.reason for row in ROWS} <= set(RcScheduler.all_reasons())


def test_inconclusive_reasons_never_name_one_node() -> None:
    """What says nothing of the cluster says nothing of a node either."""
    ways = (way(leaving(disrupted(ready(A)))), way(running(C, "node-2")), way(ready(B, "node-3")))
    assert Result.INCONCLUSIVE is blame([not_ready(ways[0], WELL)], STEPS, ways).reason.result


def test_a_container_that_runs_again_after_a_crash_has_crashed() -> None:
    """A restart is told, whatever the container does now."""
    again = containers(A, container(RUNNING, last=terminated(2), restarts=1), phase="Running")
    assert Reason.POD_CRASHED is not_ready(way(again), WELL).reason


PINNED = Placement("pause", node="node-1")


@pytest.mark.parametrize(
    ("node_1", "reason"),
    [
        (node("node-1"), Reason.NO_NODE),
        (node("node-1", taints=("node.kubernetes.io/memory-pressure",)), Reason.NO_NODE),
        (node("node-1", cordoned=True), Reason.NO_NODE),
        (node("node-1", ready="Unknown"), Reason.ONE_NODE),
        (STOPPING, Reason.NO_NODE),
        (node("node-3"), Reason.NO_NODE),
    ],
    ids=["no-room", "pressure", "cordoned", "not-ready", "shut-down", "gone"],
)
def test_a_pod_for_one_node_is_judged_by_that_node(node_1: Json, reason: Reason) -> None:
    """The scheduler cannot bind it elsewhere: what its node is like explains why it does not, and the note says more."""
    known = Nodes.of([a_node(node_1), a_node(node("node-2"))], PINNED)
    found = not_ready(way(unschedulable(A, "0/2 nodes are available: 1 Too many pods.")), known)
    assert (reason, True) == (found.reason, "1 Too many pods" in found.note)


def test_a_pod_for_one_node_of_several_that_are_not_ready_is_no_ticket() -> None:
    """Although there is another that is Ready."""
    dead = [a_node(node(f"node-{number}", ready="Unknown")) for number in (1, 2)]
    found = not_ready(way(unschedulable(A)), Nodes.of([*dead, a_node(node("node-3"))], PINNED))
    assert Reason.KUBELET_SILENT is found.reason


def test_a_pod_for_one_node_that_is_full_is_no_fault_where_nodes_are_unknown() -> None:
    """The scheduler has answered."""
    assert Reason.NO_NODE is not_ready(way(unschedulable(A)), Nodes.of(None, PINNED)).reason


@pytest.mark.parametrize("placement", [PINNED, Placement("pause")], ids=["one-node", "any-node"])
def test_an_error_of_the_scheduler_is_the_schedulers(placement: Placement) -> None:
    """It says nothing about the nodes, and the pod stays Pending until the scheduler is repaired."""
    failed = status_of(A, condition("PodScheduled", "False", "SchedulerError", "extender: connection refused"))
    found = not_ready(way(failed), Nodes.of([a_node(node("node-1"))], placement))
    assert (Reason.POD_NOT_SCHEDULED, True) == (found.reason, "connection refused" in found.note)


@pytest.mark.parametrize(
    ("taint", "tolerations", "usable"),
    [
        ("node.kubernetes.io/memory-pressure", (), ()),
        (
            "node.kubernetes.io/memory-pressure",
            (Toleration("node.kubernetes.io/memory-pressure", "Exists"),),
            ("node-1",),
        ),
        ("node.kubernetes.io/memory-pressure", (EVERYTHING,), ("node-1",)),
        ("node.kubernetes.io/memory-pressure", (OF_NO_EXECUTE,), ()),
        ("node.kubernetes.io/unschedulable", (), ()),
        ("node.kubernetes.io/not-ready:NoExecute", (), ()),
        ("dedicated:PreferNoSchedule", (), ("node-1",)),
    ],
)
def test_a_node_with_a_taint_that_is_not_tolerated_is_not_usable(
    taint: str, tolerations: tuple[Toleration, ...], usable: tuple[str, ...]
) -> None:
    """Nor while the taint only says how the node is at the moment: the scheduler binds no pod to it."""
    assert usable == nodes(node("node-1", taints=(taint,)), tolerations=tolerations).usable


@pytest.mark.parametrize(
    ("toleration", "usable"),
    [
        (EVERYTHING, ("node-1",)),
        (Toleration("node.kubernetes.io/unschedulable", "Exists", effect="NoSchedule"), ("node-1",)),
        (Toleration("node.kubernetes.io/unschedulable"), ("node-1",)),
        (OF_NO_EXECUTE, ()),
        (Toleration("dedicated", "Exists"), ()),
    ],
)
def test_a_cordoned_node_is_usable_where_pods_tolerate_it(toleration: Toleration, usable: tuple[str, ...]) -> None:
    """As for the scheduler, which takes the cordon itself for a taint; a node that is being removed never is."""
    going = node("node-2", taints=("ToBeDeletedByClusterAutoscaler",))
    assert usable == nodes(node("node-1", cordoned=True), going, tolerations=(toleration,)).usable


def test_a_finding_of_a_step_that_the_routine_lacks_comes_last() -> None:
    """A routine that does not measure a step can still meet what happens there."""
    found = [Finding(DELETE, Reason.DISRUPTED, ""), Finding(READY, Reason.POD_NOT_READY, "")]
    assert Reason.POD_NOT_READY is blame(found, STEPS[:-1]).reason
