"""A pod's way: its milestones, the steps between them, and the sample that they make."""

from collections.abc import Iterable, Iterator

from khealth_exporter.canaries.injection import GATED, graded, injected
from khealth_exporter.canaries.pod_spec import CANARY, OURS, asked
from khealth_exporter.cluster.objects import Condition, Pod
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.trace import Span, Trace, Way
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.step import Objective, Step

SIG_SCALABILITY = "Kubernetes SIG Scalability"

ACCEPT = Step("accept", Component.API_SERVER, "the write is sent → its answer is complete")
CREATE = Step("create", Component.CONTROLLER_MANAGER, "the answer → the pod exists", per_object=True)
SCHEDULE = Step("schedule", Component.SCHEDULER, "the pod exists → it has a node", per_object=True)
SANDBOX = Step("sandbox", Component.NODE, "it has a node → its sandbox and network are ready", per_object=True)
START = Step("start", Component.NODE, "its sandbox is ready → every container has started", per_object=True)
READY = Step("ready", Component.NODE, "every container has started → it is Ready", per_object=True)
STARTUP = Step(
    "startup",
    Component.NODE,
    "the pod exists → every container has started: the pod-startup SLI",
    objective=Objective(0.99, 5, SIG_SCALABILITY),
    per_object=True,
    sli=True,
)
DELETE = Step(
    "delete", Component.CONTROLLER_MANAGER, "the delete is sent → the pod is gone", per_object=True, teardown=True
)
DELETE_POD = Step(
    "delete", Component.NODE, "the delete is sent → the kubelet has ended the pod", per_object=True, teardown=True
)

FREE, REFUSED, ENDED, FINISHED = "free", "refused", "ended", "finished"
"""Marks on a pod's way: its scheduling gates are cleared; the scheduler has said that no node has room for it; the
canary that measures has ended; the pod will never run again."""

SANDBOXED = "PodReadyToStartContainers"
"""The condition by which a kubelet says that a pod's sandbox and network are ready."""


def _reached(pod: Pod) -> Iterator[str]:
    """Yield the milestones that a pod's present state shows, and what else is known only while it lasts."""
    yield "created"
    scheduled = pod.condition("PodScheduled") or Condition()
    if pod.spec.scheduling_gates or scheduled.reason == "SchedulingGated":
        yield GATED
        if not pod.spec.scheduling_gates:
            yield FREE  # Only the scheduler itself replaces the condition.
    if scheduled.status == "False" and scheduled.reason == "Unschedulable":
        yield REFUSED
    if pod.spec.node_name:
        yield "scheduled"
    if pod.holds(SANDBOXED):
        yield "sandboxed"
    if pod.started:
        yield "started"
    if pod.holds("Ready"):
        yield "ready"
    # Its containers have ended before the phase says so, and others may have added some that go on.
    names = asked(pod)
    own = [s for s in pod.status.container_statuses if s.name in ({CANARY} if names is OURS else names)]
    if own and all(status.state.terminated for status in own):
        yield ENDED
    if pod.ended:
        yield FINISHED


WAY: Way[Pod] = Way(
    milestones=("created", "scheduled", "sandboxed", "started", "ready", "deleted"),
    spans=(
        Span(SCHEDULE, ("created",), "scheduled"),
        Span(SANDBOX, ("scheduled",), "sandboxed"),
        # Where the condition never appears, as on KWOK's fake nodes, the start counts from the binding.
        Span(START, ("sandboxed", "scheduled"), "started"),
        Span(READY, ("started",), "ready"),
        Span(STARTUP, ("created",), "started"),
    ),
    reached=_reached,
)
"""What a watch can show of a pod, in the order of its life."""


def well(trace: Trace[Pod]) -> bool:
    """Tell whether a pod exists, is there to stay, and is Ready."""
    pod = trace.item
    return not trace.gone and not pod.leaving and not pod.ended and pod.holds("Ready")


def node_of(trace: Trace[Pod]) -> str | None:
    """Return the node that a pod was bound to."""
    return trace.item.spec.node_name or None


def sample(trace: Trace[Pod], measurements: Iterable[Measurement], clock: Clock) -> Sample:
    """Return what was measured of a pod, graded by what others have put into it."""
    moments = {name: trace.moments.get(name) for name in WAY.milestones}
    times = {name: clock.utc(moment.at) if moment else None for name, moment in moments.items()}
    steps = graded(measurements, trace)
    return Sample(trace.item.name, trace.item.uid, node_of(trace), steps, times, injected(trace))


def behind(trace: Trace[Pod] | None, pod: Pod) -> bool:
    """Tell whether the watch has not yet shown what the API server says of a pod."""
    if trace is None or trace.behind(pod):
        return True
    return pod.leaving and not (trace.item.leaving or trace.gone)
