"""Volumes that a pod waits for: whose fault it is that a pod is not scheduled, or has no sandbox. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from khealth_exporter.canaries.aim import Refine
from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.pod_steps import SANDBOX
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import KubernetesEvent, Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.step import Step

_MOUNTING = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
"""Events of a volume that is not attached or mounted (kubernetes pkg/kubelet/events/event.go)."""
_SANDBOXING = frozenset({"FailedCreatePodSandBox"})
_ELSEWHERE = re.compile("volume node affinity conflict")
"""What the scheduler says if the volume can be used on some nodes only, and these take no pod."""
_UNBOUND = re.compile(
    "(?i)persistentvolumeclaim|persistent volumes? to bind|enough free storage|binding volumes|provisioning failed"
    "|no available volume zone"
)
"""What the scheduler says if it waits for storage (kubernetes pkg/scheduler/framework/plugins/volumebinding)."""


def unmounted(step: Step, reason: Reason) -> Refine:
    """Return what blames the mounting of volumes, if Events say that it is what a pod without sandbox waits for.

    A kubelet mounts all volumes before it creates the sandbox.
    """

    def refined(found: Finding, trace: Trace[Pod], events: Sequence[KubernetesEvent]) -> Finding:
        told = _last(_MOUNTING, trace, events)
        if told is None or not _waits(found, trace):
            return found
        note = f"{trace.item.name}: {told.reason} on {trace.item.spec.node_name}: {told.message}"
        return replace(found, step=step, reason=reason, note=clean(note))

    return refined


def unclaimed(provision: Step, attach: Step) -> Refine:
    """Return what blames storage for a pod that uses a claim, where the scheduler or Events say so.

    A kubelet says nothing while it mounts, which may take minutes: then neither the volume nor the sandbox is blamed.
    """
    mounting = unmounted(attach, Reason.VOLUME_NOT_ATTACHED)

    def refined(found: Finding, trace: Trace[Pod], events: Sequence[KubernetesEvent]) -> Finding:
        said = trace.item.condition("PodScheduled")
        words = said.message if said and said.status == "False" and not trace.item.spec.node_name else ""
        if _ELSEWHERE.search(words):
            note = clean(f"{trace.item.name}: no node that its volume can be used on takes pods; {words}")
            return replace(found, reason=Reason.NO_NODE, note=note)
        if _UNBOUND.search(words):
            note = clean(f"{trace.item.name}: {words}")
            return replace(found, step=provision, reason=Reason.VOLUME_NOT_PROVISIONED, note=note)
        better = mounting(found, trace, events)
        if better is not found or not _waits(found, trace) or _last(_SANDBOXING, trace, events):
            return better
        note = f"{found.note}; no Event tells whether it waits for its volume or for its sandbox"
        return replace(found, step=attach, reason=Reason.NO_SINGLE_CAUSE, note=clean(note))

    return refined


def _waits(found: Finding, trace: Trace[Pod]) -> bool:
    """Tell whether a pod that its kubelet has taken up waits for its volumes or its sandbox, or did so for too long."""
    early = found.reason is Reason.POD_NOT_STARTED and "sandboxed" not in trace.moments and not trace.item.ended
    return early or (found.reason is Reason.SANDBOX_FAILED and found.step is SANDBOX)


def _last(reasons: Iterable[str], trace: Trace[Pod], events: Sequence[KubernetesEvent]) -> KubernetesEvent | None:
    own = [event for event in events if event.involved_object.name == trace.item.name and event.reason in reasons]
    return max(own, key=lambda e: e.last_timestamp or e.event_time or e.metadata.creation_timestamp, default=None)
