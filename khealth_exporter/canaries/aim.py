"""What an attempt waits for of its pods: to be Ready, or to have ended well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.pod_steps import well
from khealth_exporter.cluster.objects import KubernetesEvent, Pod
from khealth_exporter.measure.trace import Trace

Test = Callable[[Trace[Pod]], bool]
Refine = Callable[[Finding, Trace[Pod], Sequence[KubernetesEvent]], Finding]


def _never(_: Trace[Pod]) -> bool:
    return False


def _nothing(_: Trace[Pod]) -> None:
    return None


def as_found(found: Finding, _trace: Trace[Pod], _events: Sequence[KubernetesEvent]) -> Finding:
    """Return a finding as it is."""
    return found


@dataclass(frozen=True, slots=True)
class Aim:
    """What an attempt waits for of each pod, and when it need not wait any longer.

    `reached` tells whether a pod is where it should be, and `hopeless` whether it will never be there. `late` returns
    what it means that a pod which has started is not there at the deadline; None where its own state says enough.
    `refined` returns a finding with what the attempt knows better, from the pod and the Kubernetes Events about it.
    """

    reached: Test = well
    hopeless: Test = _never
    late: Callable[[Trace[Pod]], Finding | None] = _nothing
    refined: Refine = as_found


READY = Aim()
"""The pods are Ready."""
