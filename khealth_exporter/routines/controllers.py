"""controllers: a controller's pod, which no scheduler will ever see, is created, observed and deleted."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from khealth_exporter.canaries.aim import Aim
from khealth_exporter.canaries.diagnosis import Finding, not_created
from khealth_exporter.canaries.goal import reached
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.kinds import (
    DEPLOYMENT,
    EVENT,
    NODE,
    POD,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    Kind,
)
from khealth_exporter.cluster.workloads import Workload
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.trace import Way
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

SCHEDULER = "none.khealth.io"
"""The scheduler that the pod waits for; there is none of this name, so the pod never gets a node."""
OBSERVE = Step("observe", Component.CONTROLLER_MANAGER, "the answer → the controller's status counts the pod")

_KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in (REPLICATION_CONTROLLER, DEPLOYMENT, STATEFUL_SET)}
_WAY: Way[Workload] = Way(
    milestones=("created", "observed", "deleted"),
    spans=(),
    reached=lambda item: ("created", "observed") if item.observed and item.status.replicas else ("created",),
)
_EXISTS = Aim(reached=lambda _: True)


class ControllersSettings(RoutineSettings):
    """Settings of controllers."""

    interval: Duration = 120.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 20.0
    """Upper bound of init, and again of cleanup."""
    workload: Literal["ReplicationController", "Deployment", "StatefulSet"] = "ReplicationController"
    """The kind of the controller."""
    pod: PodSettings = PodSettings()
    """The pod's specification."""

    @property
    def kind(self) -> Kind[Any]:
        """The kind of the controller."""
        return _KINDS[self.workload]


class Controllers(Routine[ControllersSettings]):
    """Create a controller whose pod names a scheduler that does not exist; wait for pod and status; delete both.

    Neither a scheduler nor a kubelet has a part in it: what fails is the controller manager's.
    """

    name: ClassVar[str] = "controllers"
    steps: ClassVar[tuple[Step, ...]] = (CREATE, OBSERVE, DELETE)
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.POD_NOT_CREATED,
        Reason.STATUS_NOT_OBSERVED,
        Reason.POD_NOT_DELETED,
        Reason.NO_SINGLE_CAUSE,
        Reason.UNKNOWN,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = tuple(_KINDS.values())
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD, *_KINDS.values())
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 2
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("delete", "pods", why="delete canaries of a dead controller, and what dead runs left"),
        Permission("list", "replicasets", "apps", why="find what dead runs left"),
        Permission("delete", "replicasets", "apps", why="delete what the garbage collector or dead runs left"),
    )
    Settings: ClassVar[type[ControllersSettings]] = ControllersSettings

    def __init__(self, attempt: AttemptId, settings: ControllersSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        placement = settings.pod.placement
        self._controller: Owned[Workload] = Owned(settings.kind, self.ownership, context, self.changed, way=_WAY)
        self._pods = PodSet(self._controller, placement, context, self.steps, not_created)
        between = REPLICA_SET if settings.kind is DEPLOYMENT else None
        self._removal = Removal(self._controller, self._pods, placement, context, self.steps, between=between)

    @classmethod
    def watched(cls, settings: ControllersSettings) -> tuple[Kind[Any], ...]:
        """Return the kinds that it follows: the pod's, and the chosen controller's."""
        return (POD, settings.kind)

    @classmethod
    def sweeps(cls) -> tuple[Kind[Any], ...]:
        """Return the kinds of which an attempt may leave an object: a Deployment's ReplicaSets too."""
        return (*super().sweeps(), REPLICA_SET)

    async def init(self) -> None:
        """Create the controller; wait until its pod exists, and until its status counts it."""
        await self._pods.see(self.deadline)
        await self._controller.create(self._manifest(), self.deadline, ACCEPT)
        try:
            await self._pods.all_at(_EXISTS, 1, self.deadline, self.record)
            observed = await reached(self._controller, "observed", self.deadline, self.context, self._unobserved)
        except Failed as failed:
            raise self._judged(failed) from failed
        self.record(self._controller.ruler.measure(OBSERVE, self._controller.answered, observed))

    async def cleanup(self) -> None:
        """Delete the controller in the foreground, and wait until its pod and it are gone."""
        try:
            await self._removal.run(self.deadline, self.settings.timeout, self.record)
        except Failed as failed:
            raise self._judged(failed) from failed

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._pods.close()
        self._controller.close()

    def _unobserved(self, item: Workload | None) -> Finding:
        """Say what it means that the pod exists, but the status does not count it."""
        spent = self.context.clock.now() - self._controller.answered.at
        if spent < self.settings.timeout / 2:
            note = f"the status does not count the pod, but only {spent:.1f} s were left for that"
            return Finding(OBSERVE, Reason.NO_SINGLE_CAUSE, note)
        seen = item.status if item else None
        said = f"status.replicas is {seen.replicas}, observedGeneration {seen.observed_generation}" if seen else ""
        return Finding(OBSERVE, Reason.STATUS_NOT_OBSERVED, f"the pod exists, but {said} after {spent:.1f} s")

    def _judged(self, failed: Failed) -> Failed:
        """Return a failure as the work of another client, if it is about what no controller manager does to the pod.

        Somebody has deleted or evicted it, or has given it a scheduler and so a node.
        """
        if failed.reason in self.all_reasons():
            return failed
        note = f"another client has changed the pod, {failed.reason}: {failed.note}"
        return Failed(Reason.INTERRUPTED, note, failed.evidence, settled=failed.settled)

    def _manifest(self) -> Mapping[str, object]:
        """Return the controller; its selector is this attempt's alone."""
        pod, own, kind = self.settings.pod, dict(self.ownership.labels), self.settings.kind
        marks = {**pod.marks, **self.ownership.annotations}
        template = {
            "metadata": {"labels": pod.labelled(own), "annotations": marks},
            "spec": {**pod_spec(pod, own), "schedulerName": SCHEDULER},
        }
        selector = own if kind is REPLICATION_CONTROLLER else {"matchLabels": own}
        service = {"serviceName": self.ownership.name} if kind is STATEFUL_SET else {}
        return {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": self.ownership.metadata() | {"labels": pod.labels | own},
            "spec": {"replicas": 1, "selector": selector, "template": template, **service},
        }
