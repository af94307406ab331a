"""One canary that an attempt creates itself: a pod that does one task, once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from khealth_exporter.canaries.aim import Aim
from khealth_exporter.canaries.canary_spec import CanarySettings, Mount, canary_spec
from khealth_exporter.canaries.diagnosis import vanished
from khealth_exporter.canaries.one_shot import Document, arrive, follow
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import ACCEPT, sample
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.step import Step

Record = Callable[[Sample], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What a canary does: the arguments of `khealth canary`, what it mounts, and where it runs.

    It runs on `node` alone, if that is given, and rather not on the node `avoid`: it does if it must.
    """

    arguments: Sequence[str]
    mounts: Sequence[Mount] = ()
    node: str = ""
    avoid: str = ""
    container: Mapping[str, object] = field(default_factory=dict)
    """Further fields of its container."""


class BareCanary:
    """A canary pod of its own name, from before it is created until it is gone; `steps` are those that it measures.

    One of the steps is its teardown.
    """

    def __init__(
        self, settings: CanarySettings, ownership: Ownership, context: Context, changed: Signal, steps: Sequence[Step]
    ) -> None:
        self._settings, self._ownership, self._context = settings.with_image(context.canary_image), ownership, context
        self._steps = tuple(steps)
        self._pod = Owned(POD, ownership, context, changed)
        self._pods: PodSet | None = None
        self._removal: Removal | None = None

    @property
    def placement(self) -> Placement:
        """The image, and where the pod may run."""
        return self._settings.placement

    @property
    def ruler(self) -> Ruler:
        """What measures by the lag that khealth's own writes have shown."""
        return self._pod.ruler

    @property
    def trace(self) -> Trace[Pod] | None:
        """The pod's milestones, as soon as its watch has shown it."""
        return next(iter(self._pods.traces.values()), None) if self._pods else None

    async def create(self, task: Task, deadline: float) -> Measurement:
        """Create the pod, and return how long the API server took; raise Refused."""
        placement = replace(self.placement, node=task.node)
        self._pods = PodSet(self._pod, placement, self._context, self._steps, vanished)
        self._removal = Removal(self._pod, self._pods, placement, self._context, self._steps)
        return await self._pod.create(self._manifest(task, placement), deadline, ACCEPT)

    async def at(self, aim: Aim, deadline: float, record: Record) -> None:
        """Return when the pod is where it should be; LookupError if it was not created; raise Failed."""
        await arrive(self._known_pods, aim, deadline, record)

    async def document(self, aim: Aim, deadline: float, record: Record) -> tuple[Trace[Pod], Document]:
        """Return the pod and its document once it has ended; LookupError if it was not created; raise Failed."""
        return await follow(self._known_pods, aim, deadline, record)

    async def verify(self, deadline: float) -> None:
        """Return if the pod is still there and Ready, as it was; LookupError if it was not created; raise Failed."""
        await self._known_pods.verify(deadline)

    def timed(self, step: Step, begin: str, end: str) -> Sample | None:
        """Return the step between two milestones, with the time waited if the second one was not reached.

        None if the first one was not.
        """
        if (trace := self.trace) is None or begin not in trace.moments:
            return None
        moment = trace.moments.get(end) or Moment(self._context.clock.now())
        censored = end not in trace.moments
        measured = self.ruler.measure(step, trace.moments[begin], moment, censored=censored)
        return sample(trace, [measured], self._context.clock)

    async def remove(self, deadline: float, patience: float, record: Record) -> None:
        """Delete the pod, and return when its kubelet has ended it; raise Failed, as a Removal does."""
        if self._removal:
            await self._removal.run(deadline, patience, record)

    def close(self) -> None:
        """Let a sweep take what is left."""
        if self._pods:
            self._pods.close()
        self._pod.close()

    @property
    def _known_pods(self) -> PodSet:
        if self._pods is None:
            raise LookupError(f"Pod {self._ownership.name} was not created")
        return self._pods

    def _manifest(self, task: Task, placement: Placement) -> Mapping[str, object]:
        metadata = self._ownership.metadata()
        metadata["labels"] = self._settings.labelled(self._ownership.labels)
        metadata["annotations"] = {**self._settings.marks, **self._ownership.annotations}
        spec = canary_spec(self._settings, self._ownership.labels, task.arguments, task.mounts, task.container)
        affinity = {**placement.affinity, **_avoiding(task.avoid)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, **affinity}}


def _avoiding(node: str) -> Mapping[str, Any]:
    if not node:
        return {}
    other = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": [node]}]}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": other}]}
    return {"affinity": {"nodeAffinity": preferred}}
