"""pod: one bare pod on the next node of a rotation over all usable nodes."""

from collections.abc import Mapping
from typing import Any, ClassVar

from khealth_exporter.canaries.diagnosis import POD_REASONS, vanished
from khealth_exporter.canaries.nodes import fresh_node, rotation_of
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import Placement, PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, DELETE_POD, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.canaries.visit import CHOOSE, FAILING, Visit
from khealth_exporter.cluster.kinds import EVENT, NODE, POD, Kind
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineConfig, RoutineSettings
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step


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
        CHOOSE,
        Permission("watch", "nodes", scope="cluster", when="new_nodes", why="see nodes become Ready"),
    )
    Settings: ClassVar[type[PodRoutineSettings]] = PodRoutineSettings

    def __init__(self, attempt: AttemptId, settings: PodRoutineSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._visit = Visit(attempt, context, settings.interval)
        self._pod = Owned(POD, self.ownership, context, self.changed)
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
        placement = await self._visit.begin(self.settings.pod.placement, self.deadline)
        self._pods = PodSet(self._pod, placement, self.context, self.steps, vanished)
        self._removal = Removal(self._pod, self._pods, placement, self.context, self.steps)
        with self._visit.judging(self.record):
            self.record(await self._pod.create(self._manifest(placement), self.deadline, ACCEPT))
            self._visit.created()
            await self._pods.all_ready(1, self.deadline, self.record)
            self._visit.well()

    async def cleanup(self) -> None:
        """Delete the pod, and wait until its kubelet has ended it."""
        if self._removal is None:
            return
        with self._visit.judging(self.record):
            await self._removal.run(self.deadline, self.settings.timeout, self.record)
            self._visit.removed()

    def close(self) -> None:
        """Let a sweep take what is left."""
        if self._pods:
            self._pods.close()
        self._pod.close()

    def _manifest(self, placement: Placement) -> Mapping[str, object]:
        metadata = self.ownership.metadata()
        metadata["labels"] = self.settings.pod.labelled(self.ownership.labels)
        metadata["annotations"] = {**self.settings.pod.marks, **self.ownership.annotations}
        spec = {**pod_spec(self.settings.pod, self.ownership.labels), **placement.affinity}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
