"""job: a Job computes a Fibonacci number in a canary."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from khealth_exporter.canaries.canary_spec import CanarySettings, canary_spec
from khealth_exporter.canaries.computing import CpuTime, fibonacci
from khealth_exporter.canaries.diagnosis import POD_REASONS
from khealth_exporter.canaries.evidence import of_pod
from khealth_exporter.canaries.job_way import COMPLETE, WAY, completed, without_pod
from khealth_exporter.canaries.one_shot import Document, check, done, follow
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.kinds import EVENT, JOB, NODE, POD, Kind
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

COMPUTE = Step("compute", Component.NODE, "the canary begins to compute → it has the number, on its own clock")

USED = Figure("compute_cpu_seconds", "CPU time of the last canary's computation.")
THROTTLED = Figure("compute_throttled_seconds", "Time for which a CPU limit stopped the last canary's computation.")
STOLEN = Figure("compute_steal_seconds", "Time stolen from the node's CPUs during the last canary's computation.")
WAITING = Figure("compute_waiting_seconds", "Time for which the last canary's computation was ready and had no CPU.")


class JobSettings(RoutineSettings):
    """Settings of job."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 20.0
    """Upper bound of init, and again of cleanup."""
    number: Annotated[int, Field(ge=0, le=10_000)] = 90
    """Which Fibonacci number the canary computes."""
    cpu: Duration = 0.1
    """CPU time that the canary uses, at least: it computes the number again and again."""
    starved_factor: Annotated[float, Field(ge=1, le=1000)] = 10.0
    """The canary is starved if the computation took more than this many times its CPU time, and `starved_seconds`."""
    starved_seconds: Duration = 5.0
    """The canary is starved if the computation took so much longer than its CPU time, and `starved_factor`."""
    pod: CanarySettings = CanarySettings()
    """The canary pod's specification."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.cpu > self.timeout / 2:
            raise ValueError("cpu exceeds half of timeout: every canary would look starved")
        return self


class JobRoutine(Routine[JobSettings]):
    """Create a Job, follow its pod until it has computed the right number and the Job is complete, and delete it.

    The Job has no second try: a pod that fails is `canary_failed`, and one that another client deletes is `pod_lost`,
    as with any controller's pods. An eviction is `disrupted`.
    """

    name: ClassVar[str] = "job"
    steps: ClassVar[tuple[Step, ...]] = (
        ACCEPT, CREATE, SCHEDULE, SANDBOX, START, STARTUP, COMPUTE, COMPLETE, DELETE,
    )  # fmt: skip
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.POD_NOT_CREATED,
        Reason.JOB_FAILED,
        Reason.CANARY_FAILED,
        Reason.WRONG_RESULT,
        Reason.CPU_STARVED,
        Reason.POD_NOT_DELETED,
        Reason.UNKNOWN,
        *POD_REASONS,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (JOB,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (JOB, POD)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 2
    needs_canary: ClassVar[bool] = True
    figures: ClassVar[tuple[Figure, ...]] = (USED, THROTTLED, STOLEN, WAITING)
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("delete", "pods", why="delete canaries of a dead node, and what dead runs left"),
    )
    Settings: ClassVar[type[JobSettings]] = JobSettings

    def __init__(self, attempt: AttemptId, settings: JobSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._pod = settings.pod.with_image(context.canary_image)
        self._job = Owned(JOB, self.ownership, context, self.changed, way=WAY)
        self._pods = PodSet(self._job, self._pod.placement, context, self.steps, without_pod)
        self._removal = Removal(self._job, self._pods, self._pod.placement, context, self.steps)

    async def init(self) -> None:
        """Create the Job, wait until it is complete, and check what its canary says."""
        await self._pods.see(self.deadline)
        self.record(await self._job.create(self._manifest(), self.deadline, ACCEPT))
        running = done(COMPUTE, Reason.CPU_STARVED, "it still computes, and needs only a moment of CPU")
        trace, document = await follow(self._pods, running, self.deadline, self.record)
        for measured in document.measured((COMPUTE,)):
            self.record(measured)
        cpu = CpuTime.of(document)
        for figure, value in (
            (USED, cpu.used),
            (THROTTLED, cpu.throttled),
            (STOLEN, cpu.stolen),
            (WAITING, cpu.waiting),
        ):
            if value is not None:
                self.record(Reading(figure, value))
        self._check_result(trace, document)
        self.record(await completed(self._job, self._pods, trace, self.deadline, self.context))
        # Last: it is a ticket, and what else is wrong may be a page.
        if starved := cpu.starved(self.settings.starved_factor, self.settings.starved_seconds):
            self._fail(Reason.CPU_STARVED, trace, starved)

    async def cleanup(self) -> None:
        """Delete the Job in the foreground, and wait until its pod is gone."""
        await self._removal.run(self.deadline, self.settings.timeout, self.record)

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._pods.close()
        self._job.close()

    def _check_result(self, trace: Trace[Pod], document: Document) -> None:
        check(document, trace, COMPUTE, (Reason.WRONG_RESULT,))
        result, right = document.facts.get("result"), str(fibonacci(self.settings.number))
        if result is None:
            self._fail(Reason.CANARY_FAILED, trace, "the canary does not say what it computed")
        if result != right:
            told = f"Fibonacci number {self.settings.number} is {right}, and it computed {result}"
            self._fail(Reason.WRONG_RESULT, trace, told)

    def _fail(self, reason: Reason, trace: Trace[Pod], told: str) -> None:
        note = clean(f"{trace.item.name} on {trace.item.spec.node_name}: {told}")
        raise Failed(reason, note, (of_pod(trace),), step=COMPUTE)

    def _manifest(self) -> Mapping[str, object]:
        """Return the Job; the API server chooses its selector."""
        own = dict(self.ownership.labels)
        marks = {**self._pod.marks, **self.ownership.annotations}
        task = ["compute", "--n", str(self.settings.number), "--cpu-seconds", f"{self.settings.cpu:g}"]
        template = {
            "metadata": {"labels": self._pod.labelled(own), "annotations": marks},
            "spec": canary_spec(self._pod, own, task),
        }
        return {
            "apiVersion": JOB.api_version,
            "kind": JOB.name,
            # A policy that demands labels can demand them of a controller too.
            "metadata": self.ownership.metadata() | {"labels": self._pod.labels | own},
            "spec": {
                "completions": 1,
                "backoffLimit": 0,
                # Later than any deadline of the attempt: it ends what a dead run left.
                "activeDeadlineSeconds": math.ceil(self.settings.max_age),
                "template": template,
            },
        }
