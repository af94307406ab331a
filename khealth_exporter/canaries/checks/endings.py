"""How the containers of a check have ended. Pure: no I/O, no clock."""

from collections.abc import Set as AbstractSet

from khealth_exporter.canaries.containers import NEVER_RAN
from khealth_exporter.canaries.pod_spec import asked
from khealth_exporter.cluster.objects import ContainerStateDetail, Pod
from khealth_exporter.measure.trace import Trace

_IMPOSSIBLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "InvalidImageName"})
"""Why a kubelet cannot make a container of what its template says: a missing Secret, or an image that runs as root."""


def endings(pod: Pod, names: AbstractSet[str]) -> dict[str, ContainerStateDetail]:
    """Return how these containers have ended, by name, those that have."""
    statuses = pod.status.container_statuses
    return {s.name: s.state.terminated for s in statuses if s.name in names and s.state.terminated}


def failed(pod: Pod, names: AbstractSet[str]) -> dict[str, ContainerStateDetail]:
    """Return how those of these containers have ended that have not ended with exit code 0, by name."""
    return {name: end for name, end in endings(pod, names).items() if end.exit_code != 0}


def over(trace: Trace[Pod], names: AbstractSet[str], *, one_failed: bool = True) -> bool:
    """Tell whether the containers have ended by themselves: all of them, or one with an error if `one_failed`.

    Containers that others have added may go on. A pod that its kubelet has ended, by an eviction for instance, has a
    reason.
    """
    pod = trace.item
    if pod.status.reason or trace.gone or pod.holds("DisruptionTarget"):
        return False
    return (one_failed and bool(failed(pod, names))) or endings(pod, names).keys() == names


def unable(pod: Pod) -> bool:
    """Tell whether the template itself keeps the pod from starting: by a command that is not there, for instance.

    Or an init container of its own has failed.
    """
    early = [(s, True) for s in pod.status.init_container_statuses if s.name in asked(pod)]
    ends = (
        (end, initial)
        for status, initial in (*early, *((s, False) for s in pod.status.container_statuses))
        for end in (status.state.terminated, status.last_state.terminated)
        if end
    )
    waiting = (status.state.waiting for status in (*pod.status.init_container_statuses, *pod.status.container_statuses))
    if any(state.reason in _IMPOSSIBLE for state in waiting if state):
        return True
    return any(end.reason in NEVER_RAN or (initial and end.exit_code != 0) for end, initial in ends)
