"""Diagnosis: from how far pods came, and what is said about them, to one reason. Pure: no I/O, no clock."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from khealth_exporter.canaries.containers import awaited, trouble
from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.pod_spec import asked
from khealth_exporter.canaries.pod_steps import CREATE, DELETE, READY, SANDBOX, SANDBOXED, SCHEDULE, START, node_of
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Condition, Pod
from khealth_exporter.cluster.relayed import relayed
from khealth_exporter.cluster.workloads import Workload
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.step import Step

SCHEDULER_ERROR = "SchedulerError"
"""Why a pod is not scheduled, if the scheduler itself failed: a plug-in, an extender, or the binding."""
SCHEDULING_GATED = "SchedulingGated"
"""Why a pod is not scheduled, if the scheduler must not look at it yet."""
READINESS_GATED = "ReadinessGatesNotReady"
"""Why a pod is not Ready, if its containers are, and a condition that another controller sets is missing."""
TAINT_MANAGER = "DeletionByTaintManager"
"""Why a pod is deleted, if its node has a taint that it does not tolerate: a dead node has one too."""
STOPPED = {"NodeShutdown", "Terminated", "Shutdown", "Preempting"}
"""Why a kubelet ends or rejects a pod, if its node is shut down, or a critical pod needs the room."""

POD_REASONS = (
    Reason.POD_NOT_SCHEDULED,
    Reason.POD_UNSCHEDULABLE,
    Reason.NODES_NOT_READY,
    Reason.ONE_NODE,
    Reason.KUBELET_SILENT,
    Reason.SANDBOX_FAILED,
    Reason.POD_NOT_STARTED,
    Reason.POD_CRASHED,
    Reason.POD_NOT_READY,
    Reason.POD_LOST,
    Reason.IMAGE_PULL_FAILED,
    Reason.DISRUPTED,
    Reason.NO_NODE,
    Reason.NO_SINGLE_CAUSE,
    Reason.POD_GATED,
)
"""Why a pod may fail, or its attempt stay inconclusive, on its way from created to Ready."""


SHARED = frozenset({Reason.POD_LOST, Reason.NODES_NOT_READY})
"""Reasons that never belong to one node: any client can have deleted the pod, and no node at all is Ready."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said about one pod; the earlier its step, the nearer to the cause."""

    step: Step
    reason: Reason
    note: str
    node: str | None = None
    progress: int = 0
    runs: bool = False
    """Whether the pod's container was still running, as far as its kubelet has told."""


Missing = Callable[[Any, int], Finding]
"""Says why so many pods do not exist, from the object that should have created them, as it was seen last or None."""


def blame(
    findings: Sequence[Finding],
    order: Sequence[Step],
    others: Iterable[Trace[Pod]] = (),
    elsewhere: Callable[[str], bool] = lambda _: False,
) -> Finding:
    """Return the one finding that stands for an attempt: the earliest step of `order` wins, ties go by count.

    Where a pod was late, its finding's step is the one that used up the time; one that has no such step comes last.

    If all failing pods are on one node, and a pod of the same attempt on another node got further, it is the node. A
    kubelet or a runtime does the same for every pod, so there it suffices that another attempt's pod has started
    `elsewhere`, on another node than this one.
    """
    counted = Counter((finding.step, finding.reason) for finding in findings)
    first = min(
        findings,
        key=lambda f: (f.reason is Reason.NO_SINGLE_CAUSE, _place(f, order), -counted[f.step, f.reason]),
    )
    nodes = {finding.node for finding in findings}
    failing = first.reason.result is Result.FAILURE and first.reason not in SHARED
    further = max(finding.progress for finding in findings)
    if not failing or first.node is None or len(nodes) > 1:
        return first
    alike = first.reason in {Reason.KUBELET_SILENT, Reason.SANDBOX_FAILED} and elsewhere(first.node)
    if alike or any(node_of(t) not in (None, first.node) and t.progress > further for t in others):
        return Finding(first.step, Reason.ONE_NODE, alone(first.reason, first.node, first.note), first.node)
    return first


def alone(reason: Reason, node: str, note: str) -> str:
    """Return the note of a failure that is one node's: its reason, its node, and what was said of it."""
    return f"{reason} on {node} only: {note}"


def _place(finding: Finding, order: Sequence[Step]) -> int:
    """Return the index of a finding's step; a step that the routine does not measure comes last."""
    return order.index(finding.step) if finding.step in order else len(order)


def uncreated(missing: int) -> str:
    """Return how many pods are missing, in words."""
    return f"{missing} pod{'s' if missing > 1 else ''} not created"


def left_over(count: int) -> str:
    """Return how many pods are left, in words."""
    return f"{count} pods are left" if count > 1 else "1 pod is left"


def not_created(controller: Workload | None, missing: int) -> Finding:
    """Say why pods are missing, by what the controller manager says in the controller's status."""
    count = uncreated(missing)
    if controller is None:
        return Finding(CREATE, Reason.POD_NOT_CREATED, f"{count}: the watch does not show the controller")
    if controller.refusal:
        reason, note = relayed(controller.refusal)
        return Finding(CREATE, reason, f"{count}: {note}")
    if controller.status.observed_generation < controller.metadata.generation:
        return Finding(
            CREATE, Reason.POD_NOT_CREATED, f"{count}: the controller manager has not observed the controller"
        )
    return Finding(CREATE, Reason.POD_NOT_CREATED, f"{count}, but the controller manager has observed the controller")


def told_why(missing: Finding, words: str) -> Finding:
    """Return why pods are missing where the controller's status says nothing, by the words of an Event about them."""
    if missing.reason is not Reason.POD_NOT_CREATED or not words:
        return missing
    reason, note = relayed(words)
    return replace(missing, reason=reason, note=f"{missing.note}: {note}")


def vanished(_item: object, _missing: int) -> Finding:
    """Say why a bare pod is missing: nobody but the API server can have lost it."""
    return Finding(SCHEDULE, Reason.POD_LOST, "the API server accepted the pod, but does not return it")


def not_ready(trace: Trace[Pod], nodes: Nodes, pulling: frozenset[str] = frozenset()) -> Finding:
    """Say why one pod is not (or no longer) there and Ready; `pulling` names those whose image is on its way."""
    pod = trace.item
    step, reason, note = _disrupted(trace, nodes) or _lost(trace) or _unscheduled(pod, nodes) or _on_node(trace, nodes)
    if reason is Reason.POD_NOT_STARTED and pod.name in pulling and not pod.ended:
        seen = awaited(pod)
        if seen is None or not seen.status.state.running:
            image = f"image {seen.image} of {seen.name}" if seen else "its image"
            reason, note = Reason.IMAGE_PULL_FAILED, f"{image} is still being pulled"
    return Finding(step, reason, clean(f"{pod.name}: {note}"), node_of(trace), trace.progress)


_Said = tuple[Step, Reason, str]


def _disrupted(trace: Trace[Pod], nodes: Nodes) -> _Said | None:
    pod, target = trace.item, trace.item.condition("DisruptionTarget")
    if target is not None and target.status == "True":
        if target.reason == TAINT_MANAGER and nodes.dead_before_ready(trace):
            return _on_node(trace, nodes)  # The node had failed before it was tainted for that.
        return DELETE, Reason.DISRUPTED, _words(target)
    if pod.ended and pod.status.reason in STOPPED:
        return DELETE, Reason.DISRUPTED, f"{pod.status.reason}: {pod.status.message}"
    explained = nodes.disrupts(trace)
    return (DELETE, Reason.DISRUPTED, explained) if explained else None


def _lost(trace: Trace[Pod]) -> _Said | None:
    if trace.gone or trace.item.leaving:
        return READY, Reason.POD_LOST, "deleted, but not by khealth" if trace.item.leaving else "disappeared"
    return None


def _unscheduled(pod: Pod, nodes: Nodes) -> _Said | None:
    if pod.spec.node_name:
        return None
    said = pod.condition("PodScheduled")
    gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
    if gates:
        return SCHEDULE, Reason.POD_GATED, f"the scheduler must not bind it: scheduling gate {gates}"
    # The scheduler itself replaces the condition once the gates are cleared.
    if said is None or said.status != "False" or said.reason == SCHEDULING_GATED:
        return SCHEDULE, Reason.POD_NOT_SCHEDULED, "the scheduler has not reported on the pod"
    return SCHEDULE, *_answered(said, nodes)


def _answered(said: Condition, nodes: Nodes) -> tuple[Reason, str]:
    """Return what it means that the scheduler has answered, and has not bound the pod."""
    words = _words(said)
    if refused := nodes.refuses():
        reason, why = refused
        return reason, f"{why}; {words}"
    if said.reason == SCHEDULER_ERROR:
        return Reason.POD_NOT_SCHEDULED, f"the scheduler reports an error: {words}"
    if nodes.only:
        # Full or tainted: the scheduler has answered, and it may not choose another node.
        return Reason.NO_NODE, f"node {nodes.only} takes no pod; {words}"
    if nodes.all_closed:
        return Reason.NO_NODE, f"every node is cordoned or being removed; {words}"
    if nodes.none_ready:
        return Reason.NODES_NOT_READY, f"{nodes.unready}; {words}"
    return Reason.POD_UNSCHEDULABLE, words


def _on_node(trace: Trace[Pod], nodes: Nodes) -> _Said:
    pod = trace.item
    if nodes.none_ready:
        return SANDBOX, Reason.NODES_NOT_READY, f"{nodes.unready}; the pod is on {node_of(trace)}"
    if pod.ended:
        said = f"{pod.status.reason} {pod.status.message}".strip()
        reason, note = trouble(pod) or (Reason.POD_CRASHED, f"phase {pod.status.phase}")
        ran = pod.started and reason is not Reason.POD_NOT_STARTED
        return START, Reason.POD_CRASHED if ran else Reason.POD_NOT_STARTED, said or note
    if not pod.status.start_time:
        return SANDBOX, Reason.KUBELET_SILENT, f"the kubelet on {node_of(trace)} has not accepted the pod"
    return _containers(pod) or _sandbox(pod) or _last_steps(pod)


def _containers(pod: Pod) -> _Said | None:
    told = trouble(pod)
    return (START, *told) if told else None


def _sandbox(pod: Pod) -> _Said | None:
    sandbox = pod.condition(SANDBOXED)
    if sandbox is None or sandbox.status == "True":
        return None
    return (
        SANDBOX,
        Reason.SANDBOX_FAILED,
        f"no sandbox on {pod.spec.node_name}: {sandbox.message or 'runtime or network'}",
    )


def _last_steps(pod: Pod) -> _Said:
    if not pod.started:
        seen = awaited(pod)
        told = f": {seen.name} is {seen.state}" if seen else ""
        if seen and seen.status.name not in asked(pod) and seen.status.state.running:
            return START, Reason.POD_GATED, f"it waits for what others have added to it{told}"
        return START, Reason.POD_NOT_STARTED, f"its containers have not started on {pod.spec.node_name}{told}"
    ready = pod.condition("Ready") or Condition()
    if ready.status != "True" and ready.reason == READINESS_GATED:
        gates = ", ".join(gate.condition_type for gate in pod.spec.readiness_gates)
        return READY, Reason.POD_GATED, f"readiness gate {gates}: {ready.message}"
    return READY, Reason.POD_NOT_READY, _words(ready) or "not Ready"


def _words(said: Condition) -> str:
    """Return a condition's reason and message."""
    return ": ".join(filter(None, (said.reason, said.message)))


def not_deleted(traces: Sequence[Trace[Pod]], nodes: Nodes, order: Sequence[Step]) -> Finding:
    """Say who keeps a deleted controller from going: the kubelet of a pod that is asked to end, or its controllers."""
    stuck = [trace for trace in traces if not trace.gone]
    ending = [trace for trace in stuck if trace.item.leaving]
    if not ending or len(ending) < len(stuck):
        left = left_over(len(stuck)) if stuck else "the controller is left"
        return Finding(DELETE, Reason.POD_NOT_DELETED, f"{left}: the garbage collector has not acted")
    return blame([_not_ended(trace, nodes) for trace in ending], order, traces)


def held(trace: Trace[Pod]) -> bool:
    """Tell whether a pod that is being deleted waits for nothing but finalizers."""
    return trace.item.leaving and trace.item.over and bool(trace.item.metadata.finalizers)


def _not_ended(trace: Trace[Pod], nodes: Nodes) -> Finding:
    if held(trace):
        # A Job's pods have one of the job controller's.
        names = ", ".join(trace.item.metadata.finalizers)
        note = clean(f"{trace.item.name}: the controller manager has not removed the finalizer {names}")
        return Finding(DELETE, Reason.POD_NOT_DELETED, note, node_of(trace), trace.progress)
    explained = nodes.disrupts(trace)
    if explained:
        return Finding(DELETE, Reason.DISRUPTED, f"{trace.item.name}: {explained}", node_of(trace), trace.progress)
    if nodes.none_ready:
        note = f"{nodes.unready}; {trace.item.name} has not terminated"
        return Finding(DELETE, Reason.NODES_NOT_READY, clean(note), node_of(trace))
    note = f"{trace.item.name}: the kubelet on {node_of(trace)} has not terminated the pod"
    return Finding(DELETE, Reason.KUBELET_SILENT, note, node_of(trace), trace.progress)
