"""deployment: a Deployment becomes available, and is updated to a new template without too few Ready pods."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from khealth_exporter.canaries.aim import Aim
from khealth_exporter.canaries.diagnosis import POD_REASONS, Finding, not_created
from khealth_exporter.canaries.goal import reached
from khealth_exporter.canaries.interference import deleted_by_another
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.canaries.rollout import TEMPLATE, WAY, of_template, stalled
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import DEPLOYMENT, EVENT, NODE, POD, REPLICA_SET, Kind
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.workloads import Deployment
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step

OBSERVE = Step("observe", Component.CONTROLLER_MANAGER, "the answer → the controller manager has observed it")
AVAILABLE = Step("available", Component.CONTROLLER_MANAGER, "the answer → all its pods are available")
UPDATE = Step("update", Component.API_SERVER, "the update is sent → its answer is complete")
ROLLED_OUT = Step("rolled_out", Component.CONTROLLER_MANAGER, "the update's answer → all pods are new and available")


class DeploymentSettings(RoutineSettings):
    """Settings of deployment."""

    interval: Duration = 120.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 45.0
    """Upper bound of init, which includes the update, and again of cleanup."""
    replicas: Annotated[int, Field(ge=1, le=1000)] = 2
    """Number of pods."""
    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many pods fewer may be Ready during the update; one more than `replicas` may exist."""
    pod: PodSettings = PodSettings()
    """The pods' specification."""


class DeploymentRoutine(Routine[DeploymentSettings]):
    """Create a Deployment, wait until it is available, update its template, follow the rollout, and delete it.

    Pods are judged first: why a new pod does not become Ready is the reason, and not that the rollout waits for it.
    """

    name: ClassVar[str] = "deployment"
    steps: ClassVar[tuple[Step, ...]] = (
        ACCEPT, OBSERVE, CREATE, SCHEDULE, SANDBOX, START, READY, STARTUP, AVAILABLE, UPDATE, ROLLED_OUT, DELETE,
    )  # fmt: skip
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.STATUS_NOT_OBSERVED,
        Reason.POD_NOT_CREATED,
        Reason.ROLLOUT_STALLED,
        Reason.ROLLOUT_UNAVAILABLE,
        Reason.POD_NOT_DELETED,
        Reason.UNKNOWN,
        *POD_REASONS,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (DEPLOYMENT,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (DEPLOYMENT, POD)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 3
    heavy: ClassVar[bool] = True
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("patch", "deployments", "apps", why="update canaries to a new template"),
        Permission("list", "replicasets", "apps", why="find what dead runs left"),
        Permission("delete", "replicasets", "apps", why="delete what the garbage collector or dead runs left"),
        Permission("delete", "pods", why="delete canaries of a dead node, and what dead runs left"),
    )
    Settings: ClassVar[type[DeploymentSettings]] = DeploymentSettings

    def __init__(self, attempt: AttemptId, settings: DeploymentSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        placement = settings.pod.placement
        self._deployment = Owned(DEPLOYMENT, self.ownership, context, self.changed, way=WAY)
        self._pods = PodSet(self._deployment, placement, context, self.steps, not_created)
        self._removal = Removal(self._deployment, self._pods, placement, context, self.steps, between=REPLICA_SET)

    @classmethod
    def sweeps(cls) -> tuple[Kind[Any], ...]:
        """Return the kinds of which an attempt may leave an object: ReplicaSets too, which would create more pods."""
        return (*super().sweeps(), REPLICA_SET)

    async def init(self) -> None:
        """Create the Deployment, wait until it is available, and update it."""
        await self._pods.see(self.deadline)
        self.record(await self._deployment.create(self._manifest("1"), self.deadline, ACCEPT))
        created = self._deployment.answered
        await self._reach(OBSERVE, "observed 1", created)
        await self._pods.all_ready(self.settings.replicas, self.deadline, self.record)
        await self._reach(AVAILABLE, "available 1", created)
        await self._pods.verify(self.deadline)
        answer = await self._update()
        self.record(self._deployment.measured(UPDATE, answer))
        updated = Moment(answer.answered, answer.delay)
        await self._pods.all_at(self._rollout(updated), self.settings.replicas, self.deadline, self.record)
        await self._reach(ROLLED_OUT, "rolled out 2", updated)
        await self._pods.verify(self.deadline)

    async def cleanup(self) -> None:
        """Delete the Deployment in the foreground, and wait until no pod is left."""
        await self._removal.run(self.deadline, self.settings.timeout, self.record)

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._pods.close()
        self._deployment.close()

    async def _reach(self, step: Step, milestone: str, since: Moment) -> None:
        """Wait for a milestone, and record the step that ends there."""

        def missed(seen: Deployment | None) -> Finding:
            if step is OBSERVE:
                note = "the controller manager has not observed the Deployment"
                return Finding(step, Reason.STATUS_NOT_OBSERVED, note)
            return self._stalled(step, since, seen, 0)

        moment = await reached(self._deployment, milestone, self.deadline, self.context, missed)
        self.record(self._deployment.ruler.measure(step, since, moment))

    async def _update(self) -> Answer:
        changes = {"spec": {"template": {"metadata": {"annotations": {TEMPLATE: "2"}}}}}
        try:
            return await self._deployment.patch(changes, self.deadline)
        except Refused as refused:
            if not refused.refusal.missing:
                raise
            name, manifest = self.ownership.name, self._deployment.manifest
            raise await deleted_by_another(self.context.cluster, DEPLOYMENT, name, manifest, self.deadline) from refused

    def _rollout(self, updated: Moment) -> Aim:
        """Return the aim that new pods have replaced all others, and that enough pods are Ready all the time."""
        floor = max(0, self.settings.replicas - self.settings.max_unavailable)

        def missing(seen: Deployment | None, count: int) -> Finding:
            return self._stalled(ROLLED_OUT, updated, seen, count)

        def taken(trace: Trace[Pod]) -> Finding:
            note = f"{trace.item.name} was asked to end, and left fewer than {floor} pods Ready"
            return Finding(ROLLED_OUT, Reason.ROLLOUT_UNAVAILABLE, note)

        return Aim(concerns=of_template("2"), missing=missing, floor=floor, taken=taken)

    def _stalled(self, step: Step, since: Moment, seen: Deployment | None, missing: int) -> Finding:
        pods = filter(of_template("2" if step is ROLLED_OUT else "1"), self._pods.traces.values())
        return stalled(step, seen, missing, pods, since.at, min(self.deadline, self.context.clock.now()))

    def _manifest(self, template: str) -> Mapping[str, object]:
        """Return the Deployment; its selector is this attempt's alone."""
        own = dict(self.ownership.labels)
        marks = {**self.settings.pod.marks, **self.ownership.annotations, TEMPLATE: template}
        labels = self.settings.pod.labelled(own)
        limits = {"maxSurge": 1, "maxUnavailable": self.settings.max_unavailable}
        return {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.name,
            # A policy that demands labels can demand them of a controller too.
            "metadata": self.ownership.metadata() | {"labels": self.settings.pod.labels | own},
            "spec": {
                "replicas": self.settings.replicas,
                "selector": {"matchLabels": own},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": limits},
                "progressDeadlineSeconds": math.ceil(self.settings.timeout),
                "template": {
                    "metadata": {"labels": labels, "annotations": marks},
                    "spec": pod_spec(self.settings.pod, own),
                },
            },
        }
