"""The few fields that khealth reads of controllers of pods: what they were asked to do, and how far they are."""

from msgspec import field

from khealth_exporter.cluster.objects import Condition, KubernetesObject, Lenient, Metadata, PodSpec


class WorkloadSpec(Lenient, frozen=True):
    """What a controller of pods was asked to do."""

    replicas: int = 1


class WorkloadStatus(Lenient, frozen=True):
    """What the controller manager says of a controller of pods."""

    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: list[Condition] = field(default_factory=list)


class Workload(KubernetesObject, frozen=True):
    """An object by which the controller manager creates so many pods."""

    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    @property
    def observed(self) -> bool:
        """Whether the controller manager has acted on its latest specification."""
        return 0 < self.metadata.generation <= self.status.observed_generation

    @property
    def refusal(self) -> str:
        """Why its pods are refused (condition ReplicaFailure, which may be about deletions too), or nothing."""
        return next(
            (
                c.message or c.reason
                for c in self.status.conditions
                if c.type == "ReplicaFailure" and c.status == "True" and c.reason != "FailedDelete"
            ),
            "",
        )


class ReplicationController(Workload, frozen=True):
    """A ReplicationController."""


class ReplicaSet(Workload, frozen=True):
    """A ReplicaSet."""


class PodTemplate(Lenient, frozen=True):
    """What a controller's pods are made from."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class DeploymentSpec(WorkloadSpec, frozen=True):
    """What a Deployment was asked to do."""

    template: PodTemplate = PodTemplate()
    paused: bool = False


class Deployment(Workload, frozen=True):
    """A Deployment."""

    spec: DeploymentSpec = DeploymentSpec()

    @property
    def available(self) -> bool:
        """Whether the controller manager counts all its pods as available, for its latest specification."""
        return self.observed and self.status.available_replicas >= self.spec.replicas

    @property
    def rolled_out(self) -> bool:
        """Whether all its pods are of its latest template and available, and no others are left.

        That is what `kubectl rollout status` waits for (kubectl pkg/polymorphichelpers/rollout_status.go).
        """
        status = self.status
        return self.available and status.updated_replicas >= self.spec.replicas >= status.replicas


class StatefulSet(Workload, frozen=True):
    """A StatefulSet."""


class JobStatus(Lenient, frozen=True):
    """What the controller manager says of a Job."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: list[Condition] = field(default_factory=list)


class Job(KubernetesObject, frozen=True):
    """A Job."""

    status: JobStatus = JobStatus()

    def holds(self, kind: str) -> bool:
        """Tell whether its condition of this type is True."""
        return any(condition.type == kind and condition.status == "True" for condition in self.status.conditions)

    @property
    def failure(self) -> str:
        """Why it has failed, or nothing."""
        failed = (c for c in self.status.conditions if c.type == "Failed" and c.status == "True")
        return next((": ".join(filter(None, (c.reason, c.message))) or c.type for c in failed), "")
