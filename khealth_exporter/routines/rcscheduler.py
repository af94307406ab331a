"""rcscheduler: a ReplicationController of pause pods is created, scheduled, started, held and deleted."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from khealth_exporter.canaries import pod_way as pods
from khealth_exporter.canaries.canaries import Canaries
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.core.routine import Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step


class RcSchedulerSettings(RoutineSettings):
    """What rcscheduler can be told."""

    pod_ttl: Duration = 20.0
    """How long the pods are held and polled, from all-Ready on."""
    poll_interval: Duration = 5.0
    """How often the held pods are verified at least."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many pods there are."""
    pod: PodSettings = PodSettings()
    """What the pods are."""

    @property
    def hold(self) -> float:
        """Seconds during which the pods are held."""
        return self.pod_ttl

    @property
    def pause(self) -> float:
        """Seconds between two polls."""
        return self.poll_interval


class RcScheduler(Routine[RcSchedulerSettings]):
    """Exercise a pod's way: is it created, scheduled, started, kept and deleted, and how long does each step take."""

    name: ClassVar[str] = "rcscheduler"
    steps: ClassVar[tuple[Step, ...]] = pods.STEPS
    reasons: ClassVar[tuple[Reason, ...]] = pods.REASONS
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("create", "replicationcontrollers", why="make the canaries"),
        Permission("get", "replicationcontrollers", why="find what an unanswered write made"),
        Permission("delete", "replicationcontrollers", why="remove the canaries"),
        Permission("delete", "pods", why="remove the canaries of a dead node"),
    )
    Settings: ClassVar[type[RcSchedulerSettings]] = RcSchedulerSettings

    def __init__(self, label: str, attempt: int, settings: RcSchedulerSettings, context: Context) -> None:
        super().__init__(label, attempt, settings, context)
        self._canaries = Canaries(label, attempt, context, settings.pod.placement)

    async def init(self) -> None:
        """Create the controller, and wait until all its pods are Ready."""
        self.record(await self._canaries.create(self._manifest(), self.deadline))
        await self._canaries.all_ready(self.settings.replicas, self.deadline, self.record)

    async def poll(self) -> None:
        """Verify from the watch alone that all pods are still there and Ready."""
        await self._canaries.verify(self.deadline)

    async def rest(self, seconds: float) -> None:
        """Wait, but no longer than all is well."""
        await self._canaries.rest(seconds)

    async def cleanup(self) -> None:
        """Delete the controller in the foreground, and wait until no pod is left."""
        await self._canaries.remove(self.deadline, self.settings.timeout, self.record)

    def close(self) -> None:
        """Let what is left, if anything, be swept."""
        self._canaries.close()

    def _manifest(self) -> Mapping[str, object]:
        """Return the controller; its selector is this attempt's alone."""
        identity = self.context.cluster.identity
        labels = identity.labels(self.label, self.attempt)
        return {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": identity.metadata(self.label, self.attempt, self.settings.max_age),
            "spec": {
                "replicas": self.settings.replicas,
                "selector": labels,
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": self.settings.pod.marks | identity.annotations(self.settings.max_age),
                    },
                    "spec": pod_spec(self.settings.pod, labels),
                },
            },
        }
