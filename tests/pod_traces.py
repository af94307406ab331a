"""Pods that a watch has shown at chosen stages and times."""

from collections.abc import Callable, Mapping, Sequence

from documents import (
    RUNNING,
    Json,
    a_pod,
    accepted,
    bound,
    container,
    containers,
    disrupted,
    leaving,
    pod,
    ready,
    running,
    sandboxed,
    status_of,
    terminated,
    unschedulable,
    waiting,
)

from khealth_exporter.canaries.pod_steps import CREATE, WAY
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.settings import MeasurementSettings

STAGES: Mapping[str, Callable[[Json], Json]] = {
    "created": lambda document: document,
    "unschedulable": unschedulable,
    "scheduled": bound,
    "accepted": accepted,
    "sandboxed": sandboxed,
    "started": running,
    "crashed": lambda document: containers(document, container(terminated()), phase="Running"),
    "back-off": lambda document: containers(
        document, container(waiting("CrashLoopBackOff"), last=terminated(), restarts=1), phase="Running"
    ),
    "failed": lambda document: containers(document, container(terminated()), phase="Failed"),
    "ready": ready,
    "kwok": lambda document: status_of(
        bound(document), {"type": "Ready", "status": "True"}, startTime="x", containerStatuses=[container(RUNNING)]
    ),
    "disrupted": lambda document: disrupted(ready(document)),
    "leaving": lambda document: leaving(ready(document)),
}


LIMITS = MeasurementSettings()


EXACT = Ruler(LIMITS)


def take(  # noqa: PLR0913 - each is part of a line
    trace: Trace[Pod], stage: str, at: float, delay: float = 0.0, *, recovered: bool = False, kind: str = ""
) -> None:
    """Let a watch show a stage."""
    trace.take(a_pod(STAGES[stage](pod())), Moment(at, delay, recovered), removed=kind == "DELETED")


def way_of(*stages: tuple[str, float], gone: float | None = None) -> Trace[Pod]:
    """Return the trace of a pod that was seen at these stages, at these times."""
    trace = Trace(WAY, a_pod(pod()))
    for stage, at in stages:
        take(trace, stage, at)
    if gone is not None:
        take(trace, stages[-1][0], gone, kind="DELETED")
    return trace


def steps(
    trace: Trace[Pod], *, deadline: float | None = None, answered: float = 0.0, ruler: Ruler = EXACT
) -> list[Measurement]:
    """Return the steps of a pod that a controller creates, whose write was answered at some time."""
    end = None if deadline is None else Moment(deadline)
    created = trace.moments.get("created")
    first = [ruler.measure(CREATE, Moment(answered), created)] if created else []
    return [*first, *trace.spans(ruler, end)]


def seconds(measured: Sequence[Measurement], *, censored: bool | None = None) -> dict[str, float]:
    return {m.step.name: m.seconds for m in measured if censored in (None, m.censored)}


def started(created: float, at: float, *, node: str = "node-1") -> Trace[Pod]:
    """Return the trace of a pod that was created and started at these times."""
    trace = Trace(WAY, a_pod(pod()))
    trace.take(a_pod(pod()), Moment(created), removed=False)
    trace.take(a_pod(running(pod(), node)), Moment(at), removed=False)
    return trace
