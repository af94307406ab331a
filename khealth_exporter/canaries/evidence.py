"""What is kept of a failed attempt, in lines for people: the canary itself is gone when someone looks."""

from collections.abc import Iterable, Sequence

from khealth_exporter.canaries.containers import containers_of
from khealth_exporter.canaries.injection import injected
from khealth_exporter.canaries.pod_steps import node_of
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Condition, KubernetesEvent, KubernetesObject, Pod
from khealth_exporter.cluster.workloads import Job, Workload
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.verdict import Evidence

_EVENTS = 12
"""Kubernetes Events that are kept: the last ones."""


def of_pod(trace: Trace[Pod]) -> Evidence:
    """Return a pod's phase, conditions and container states."""
    pod = trace.item
    lines = [clean(f"phase {pod.status.phase or 'unknown'} on {node_of(trace) or 'no node'}")]
    if trace.gone:
        lines.append("deleted")
    elif pod.leaving:
        lines.append(clean(f"being deleted since {pod.metadata.deletion_timestamp}"))
    gates = (
        ("scheduling gates", [gate.name for gate in pod.spec.scheduling_gates]),
        ("readiness gates", [gate.condition_type for gate in pod.spec.readiness_gates]),
    )
    lines += [clean(f"{kind}: {', '.join(names)}") for kind, names in gates if names]
    lines += [f"injected: {name}" for name in injected(trace)]
    lines += _conditions(pod.status.conditions)
    for seen in containers_of(pod):
        last = seen.status.last_state.terminated
        before = f"; before that it exited with code {last.exit_code} {last.reason}" if last else ""
        lines.append(clean(f"{seen.name} {seen.state}, {seen.status.restart_count} restarts{before}"))
    return Evidence("Pod", pod.name, tuple(lines))


def of_owner(item: KubernetesObject | None) -> Iterable[Evidence]:
    """Yield a controller's pods, generations and conditions; nothing of other kinds."""
    if isinstance(item, Workload):
        status = item.status
        seen = f"generation {item.metadata.generation}, observed {status.observed_generation}"
        lines = (f"{status.replicas} replicas; {seen}", *_conditions(status.conditions))
        yield Evidence(type(item).__name__, item.name, lines)
    if isinstance(item, Job):
        counts = f"{item.status.active} active, {item.status.succeeded} succeeded, {item.status.failed} failed"
        yield Evidence("Job", item.name, (counts, *_conditions(item.status.conditions)))


def of_events(events: Sequence[KubernetesEvent], name: str) -> Iterable[Evidence]:
    """Yield the last Kubernetes Events about an attempt's objects; `name` is the attempt's."""
    told = sorted(events, key=happened)
    lines = [
        clean(f"{e.last_timestamp or e.event_time} {e.involved_object.name} {e.reason}: {e.message}")
        for e in told[-_EVENTS:]
    ]
    if lines:
        yield Evidence("Events", name, tuple(lines))


def happened(event: KubernetesEvent) -> str:
    """Return when a Kubernetes Event happened last, as the API server writes times."""
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp


def _conditions(conditions: Iterable[Condition]) -> list[str]:
    return [clean(f"{c.type}={c.status} {c.reason} {c.message}") for c in conditions]
