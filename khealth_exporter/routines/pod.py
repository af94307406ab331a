"""pod: one bare pod on the next node of a rotation over all usable nodes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from khealth_exporter.canaries.diagnosis import POD_REASONS, SHARED, Finding, alone
from khealth_exporter.canaries.nodes import fresh_node, next_node, rotation_of
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import Placement, PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, DELETE_POD, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.kinds import EVENT, NODE, POD, Kind
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineConfig, RoutineSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading, Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

FAILING = Figure("nodes_failing", "Nodes on which the last canary pod failed.")


class PodRoutineSettings(RoutineSettings):
    """Settings of pod."""

    interval: Duration = 30.0
    """Attempts begin this often, each on the next node."""
    timeout: Duration = 15.0
    """Upper bound of init, and again of cleanup."""
    new_nodes: bool = False
    """Whether a node is visited at once when it becomes Ready for the first time; khealth then watches the nodes."""
    pod: PodSettings = PodSettings()
    """The pod's specification."""


class PodRoutine(Routine[PodRoutineSettings]):
    """Create one pod on the next node of a rotation, follow it until it is Ready, and delete it."""

    name: ClassVar[str] = "pod"
    steps: ClassVar[tuple[Step, ...]] = (ACCEPT, SCHEDULE, SANDBOX, START, READY, STARTUP, DELETE_POD)
    reasons: ClassVar[tuple[Reason, ...]] = POD_REASONS
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    reads: ClassVar[tuple[Kind[Any], ...]] = (EVENT,)
    writes: ClassVar[int] = 2
    figures: ClassVar[tuple[Figure, ...]] = (FAILING,)
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("list", "nodes", scope="cluster", why="choose the next node"),
        Permission("watch", "nodes", scope="cluster", when="new_nodes", why="see nodes become Ready"),
    )
    Settings: ClassVar[type[PodRoutineSettings]] = PodRoutineSettings

    def __init__(self, attempt: AttemptId, settings: PodRoutineSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._rotation = rotation_of(attempt.module, attempt.routine, context)
        self._pod = Owned(POD, self.ownership, context, self.changed)
        self._node, self._well = "", False
        self._pods: PodSet | None = None
        self._removal: Removal | None = None

    @classmethod
    def watched(cls, settings: PodRoutineSettings) -> tuple[Kind[Any], ...]:
        """Return the kinds that it follows: with `new_nodes`, nodes too."""
        return (POD, NODE) if settings.new_nodes else (POD,)

    @classmethod
    async def early(cls, wanted: RoutineConfig, context: Context) -> None:
        """Return when a node that was not visited yet becomes Ready, if `new_nodes` asks for that."""
        settings = wanted.settings
        if not isinstance(settings, PodRoutineSettings) or not settings.new_nodes:
            await super().early(wanted, context)
            return
        rotation = rotation_of(wanted.module, wanted.label, context)
        await fresh_node(rotation, context, settings.pod.placement)

    async def init(self) -> None:
        """Create the pod on the next node, and wait until it is Ready."""
        self._rotation.begin()
        await self.context.cluster.watches.see((POD,), self.deadline)
        self._node = await next_node(self._rotation, self.context, self.settings.pod.placement, self.deadline)
        placement = replace(self.settings.pod.placement, node=self._node)
        self._pods = PodSet(self._pod, placement, self.context, self.steps, _vanished)
        self._removal = Removal(self._pod, self._pods, placement, self.context, self.steps)
        try:
            self.record(await self._pod.create(self._manifest(placement), self.deadline, ACCEPT))
            self._rotation.visited(self._node)
            await self._pods.all_ready(1, self.deadline, self.record)
            self._well = True
        except Failed as failed:
            raise self._judged(failed) from failed
        finally:
            self._report()

    async def cleanup(self) -> None:
        """Delete the pod, and wait until its kubelet has ended it."""
        if self._removal is None:
            return
        try:
            await self._removal.run(self.deadline, self.settings.timeout, self.record)
            if self._well:
                self._rotation.succeeded(self._node)
        except Failed as failed:
            raise self._judged(failed) from failed
        finally:
            self._report()

    def close(self) -> None:
        """Let a sweep take what is left."""
        if self._pods:
            self._pods.close()
        self._pod.close()

    def _judged(self, failed: Failed) -> Failed:
        """Return a failure as the node's alone, if the latest pod on another node succeeded."""
        if failed.reason is Reason.NO_NODE:
            self._rotation.refused(self._node)
        elif failed.reason in {Reason.DISRUPTED, Reason.NODES_NOT_READY}:
            self._rotation.outdate()
        failure = failed.reason in POD_REASONS and failed.reason.result is Result.FAILURE
        if not failure or failed.reason in SHARED or failed.component is not Component.NODE:
            return failed
        self._rotation.failed(self._node, failed.reason)
        if not self._rotation.well_elsewhere(self._node):
            return failed
        note = alone(failed.reason, self._node, failed.note)
        return Failed(Reason.ONE_NODE, note, failed.evidence, step=failed.step, settled=failed.settled)

    def _report(self) -> None:
        self.record(Reading(FAILING, len(self._rotation.failing)))
        self.record(Remark("round", self._rotation.round(self.settings.interval)))
        failing = bool(self._rotation.failing)
        self.record(Remark("failing nodes", self._rotation.told_failing(), failing=failing))

    def _manifest(self, placement: Placement) -> Mapping[str, object]:
        metadata = self.ownership.metadata()
        metadata["labels"] = self.settings.pod.labelled(self.ownership.labels)
        metadata["annotations"] = {**self.settings.pod.marks, **self.ownership.annotations}
        spec = {**pod_spec(self.settings.pod, self.ownership.labels), **placement.affinity}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _vanished(_item: object, _missing: int) -> Finding:
    return Finding(SCHEDULE, Reason.POD_LOST, "the API server accepted the pod, but does not return it")
