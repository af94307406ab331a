"""What others have put into a canary pod, which of its steps that makes longer, and how those steps are graded."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from khealth_exporter.canaries.pod_spec import OURS, OWN_VOLUME, READY_PATH, asked
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Quality

GATED = "gated"
"""Mark on a pod's way: a scheduling gate has kept it from the scheduler."""

_STATELESS = {"name", "configMap", "downwardAPI", "emptyDir", "projected", "secret"}
"""Keys of the volumes that a stateless pod may have."""
_STARTUP = frozenset({"schedule", "sandbox", "start"})
"""Steps that are part of the SLI."""
_RUNNING = frozenset({"start", "ready", "delete"})
"""Steps that a container makes longer."""

# The SLI is the "startup latency of stateless and schedulable pods, excluding time to pull images and run init
# containers" (kubernetes/community, sig-scalability/slos/pod_startup_latency.md). khealth asks for one container, for
# no init container or gate, for a volume only to measure it, and for a probe only of what answers. A mutating webhook
# or a MutatingAdmissionPolicy can add them.


def _added(trace: Trace[Pod]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what others have put into a pod, in words, and the names of the steps that it makes longer."""
    spec, own = trace.item.spec, asked(trace.item)
    if GATED in trace.moments:
        yield "scheduling gate", frozenset({"schedule"})
    for volume in spec.volumes:
        name = str(volume.get("name", ""))
        if not (_STATELESS.issuperset(volume) or name.startswith(OWN_VOLUME) or name in own):
            # A pod that never shows its sandbox has waited for its volumes in `start`.
            steps = {"sandbox"} if "sandboxed" in trace.moments else {"sandbox", "start"}
            yield f"volume {name}", frozenset(steps)
    for container in (container for container in spec.init_containers if container.name not in own):
        if container.restart_policy == "Always":
            yield f"sidecar {container.name}", _RUNNING
        else:
            yield f"init container {container.name}", frozenset({"start"})
    for container in spec.containers:
        if container.name not in own:
            yield f"container {container.name}", _RUNNING
        elif own is OURS and (not _own(container.readiness_probe) or container.startup_probe):
            yield f"probe of container {container.name}", frozenset({"ready"})
    for gate in spec.readiness_gates if own is OURS else ():
        yield f"readiness gate {gate.condition_type}", frozenset({"ready"})


def _own(probe: Mapping[str, object] | None) -> bool:
    """Tell whether a readiness probe is khealth's, or there is none; a mesh may have rewritten it."""
    asked = (probe or {}).get("httpGet")
    return probe is None or (isinstance(asked, dict) and asked.get("path") == READY_PATH)


def injected(trace: Trace[Pod]) -> tuple[str, ...]:
    """Return what others have put into a pod and makes one of its steps longer, in words."""
    return tuple(clean(name) for name, _ in _added(trace))


def lengthened(trace: Trace[Pod]) -> frozenset[str]:
    """Return the names of the steps that something injected makes longer."""
    return frozenset[str]().union(*(steps for _, steps in _added(trace)))


def graded(measured: Iterable[Measurement], trace: Trace[Pod]) -> tuple[Measurement, ...]:
    """Return a pod's steps; those that something injected makes longer are foreign, and the SLI with its parts.

    A pod that is stuck before it comes to such a step has an SLI that counts.
    """
    found = tuple(measured)
    longer = lengthened(trace)
    if any(m.step.name in longer & _STARTUP for m in found):
        longer |= {m.step.name for m in found if m.step.sli}
    return tuple(replace(m, quality=Quality.FOREIGN) if m.step.name in longer else m for m in found)
