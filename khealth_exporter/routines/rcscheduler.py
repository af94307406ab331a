"""rcscheduler: a ReplicationController of pause pods is created, scheduled, started, held and deleted."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from khealth_exporter.canaries.diagnosis import POD_REASONS, not_created
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.kinds import EVENT, NODE, POD, REPLICATION_CONTROLLER, Kind
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step


class RcSchedulerSettings(RoutineSettings):
    """Settings of rcscheduler."""

    pod_ttl: Duration = 20.0
    """How long the pods are held and polled after all of them are Ready."""
    poll_interval: Duration = 5.0
    """Longest time between two checks of the held pods."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 3
    """Number of pods."""
    pod: PodSettings = PodSettings()
    """The pods' specification."""

    @property
    def hold(self) -> float:
        """Seconds during which the pods are held."""
        return self.pod_ttl

    @property
    def pause(self) -> float:
        """Seconds between two polls."""
        return self.poll_interval


class RcScheduler(Routine[RcSchedulerSettings]):
    """Create a ReplicationController, and follow its pods until they are Ready; hold them; delete them."""

    name: ClassVar[str] = "rcscheduler"
    steps: ClassVar[tuple[Step, ...]] = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY, STARTUP, DELETE)
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.POD_NOT_CREATED,
        Reason.POD_NOT_DELETED,
        Reason.UNKNOWN,
        *POD_REASONS,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (REPLICATION_CONTROLLER,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD, REPLICATION_CONTROLLER)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 2
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("delete", "pods", why="delete canaries of a dead node, and what dead runs left"),
    )
    Settings: ClassVar[type[RcSchedulerSettings]] = RcSchedulerSettings

    def __init__(self, attempt: AttemptId, settings: RcSchedulerSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        placement = settings.pod.placement
        self._controller = Owned(REPLICATION_CONTROLLER, self.ownership, context, self.changed)
        self._pods = PodSet(self._controller, placement, context, self.steps, not_created)
        self._removal = Removal(self._controller, self._pods, placement, context, self.steps)

    async def init(self) -> None:
        """Create the controller, and wait until all its pods are Ready."""
        await self._pods.see(self.deadline)
        self.record(await self._controller.create(self._manifest(), self.deadline, ACCEPT))
        await self._pods.all_ready(self.settings.replicas, self.deadline, self.record)

    async def poll(self) -> None:
        """Verify from the watch that all pods still exist and are Ready."""
        await self._pods.verify(self.deadline)

    async def rest(self, seconds: float) -> None:
        """Wait, but return early if a pod fails."""
        await self._pods.rest(seconds)

    async def cleanup(self) -> None:
        """Delete the controller in the foreground, and wait until no pod is left."""
        await self._removal.run(self.deadline, self.settings.timeout, self.record)

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._pods.close()
        self._controller.close()

    def _manifest(self) -> Mapping[str, object]:
        """Return the controller; its selector is this attempt's alone."""
        marks = {**self.settings.pod.marks, **self.ownership.annotations}
        own = dict(self.ownership.labels)
        labels = self.settings.pod.labelled(own)
        template = {"metadata": {"labels": labels, "annotations": marks}, "spec": pod_spec(self.settings.pod, own)}
        return {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            # A policy that demands labels can demand them of a controller too.
            "metadata": self.ownership.metadata() | {"labels": self.settings.pod.labels | own},
            "spec": {"replicas": self.settings.replicas, "selector": own, "template": template},
        }
