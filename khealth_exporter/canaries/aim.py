"""What an attempt waits for of its pods: to be Ready, to have ended well, or to have replaced others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from khealth_exporter.canaries.diagnosis import Finding, Missing
from khealth_exporter.canaries.pod_steps import well
from khealth_exporter.cluster.objects import KubernetesEvent, Pod
from khealth_exporter.measure.trace import Trace

Test = Callable[[Trace[Pod]], bool]
Explained = Callable[[Trace[Pod]], Finding | None]
Refine = Callable[[Finding, Trace[Pod], Sequence[KubernetesEvent]], Finding]


def _never(_: Trace[Pod]) -> bool:
    return False


def _always(_: Trace[Pod]) -> bool:
    return True


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

    Pods that it does not concern go rightfully, and all of them must have been asked to. `missing` says why pods have
    not come, or others have not been asked to go; where it is None, the set's own says so.

    At least `floor` pods must be Ready at any time, those that it does not concern among them. `taken` returns what it
    means that one of these was asked to go, so that fewer are.
    """

    reached: Test = well
    hopeless: Test = _never
    late: Explained = _nothing
    refined: Refine = as_found
    concerns: Test = _always
    missing: Missing | None = None
    floor: int = 0
    taken: Explained = _nothing


READY = Aim()
"""The pods are Ready."""


class Tally:
    """Which pods are where an attempt wants them; the cost of a change is the same however many pods there are."""

    def __init__(self, aim: Aim, traces: Iterable[Trace[Pod]] = ()) -> None:
        self.aim = aim
        self.well: set[str] = set()
        """The uids of the pods that are where the attempt wants them."""
        self.lost: set[str] = set()
        """The uids of those that were removed, or asked to go."""
        self.fallen: Trace[Pod] | None = None
        """The first pod by whose change fewer were Ready than must be, as it was then."""
        self._hopeless: set[str] = set()
        self._others: set[str] = set()
        self._ready: set[str] = set()
        for trace in traces:
            self.take(trace)

    def take(self, trace: Trace[Pod]) -> None:
        """Take in how a pod is now."""
        uid, concerned, going = trace.item.uid, self.aim.concerns(trace), trace.gone or trace.item.leaving
        for uids, belongs in (
            (self.well, concerned and self.aim.reached(trace)),
            (self.lost, concerned and going),
            (self._hopeless, concerned and self.aim.hopeless(trace)),
            (self._others, not concerned and not going),
        ):
            (uids.add if belongs else uids.discard)(uid)
        self._count_ready(uid, trace)

    def _count_ready(self, uid: str, trace: Trace[Pod]) -> None:
        if well(trace):
            self._ready.add(uid)
        elif uid in self._ready:
            self._ready.remove(uid)
            if len(self._ready) < self.aim.floor and self.fallen is None:
                self.fallen = trace.frozen()

    @property
    def failed(self) -> bool:
        """Whether there is nothing left to wait for."""
        return bool(self.lost or self._hopeless or self.fallen)

    @property
    def others_left(self) -> bool:
        """Whether a pod that should go has not been asked to."""
        return bool(self._others)

    def others(self, traces: Iterable[Trace[Pod]]) -> list[Trace[Pod]]:
        """Return the pods that the aim does not concern."""
        return [trace for trace in traces if not self.aim.concerns(trace)]

    def complete(self, count: int) -> bool:
        """Tell whether so many pods are where they should be, and no others are left."""
        return not self.lost and not self.fallen and not self._others and len(self.well) >= count
