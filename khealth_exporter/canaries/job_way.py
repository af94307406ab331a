"""A Job's way: what it means that it has no pod, and how long it takes to be complete."""

from collections.abc import Iterator

from khealth_exporter.canaries.diagnosis import Finding, uncreated
from khealth_exporter.canaries.excess import overdue
from khealth_exporter.canaries.goal import reached
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_steps import CREATE, FINISHED
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.workloads import Job
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.trace import Trace, Way
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step

COMPLETE = Step("complete", Component.CONTROLLER_MANAGER, "the pod has succeeded → the Job is complete")


def _reached(job: Job) -> Iterator[str]:
    yield "created"
    if job.holds("Complete"):
        yield "complete"


WAY: Way[Job] = Way(("created", "complete", "deleted"), (), _reached)
"""What a watch can show of a Job."""


def without_pod(job: Job | None, missing: int) -> Finding:
    """Say why a Job has not so many of its pods, by what the controller manager says in its status."""
    count = uncreated(missing)
    if job is None:
        return Finding(CREATE, Reason.POD_NOT_CREATED, f"{count}: the watch does not show the Job")
    if job.failure:
        return Finding(CREATE, Reason.JOB_FAILED, clean(f"{count}: {job.failure}"))
    if job.holds("Suspended"):
        return Finding(CREATE, Reason.POD_GATED, f"{count}: another client has suspended the Job")
    return Finding(CREATE, Reason.POD_NOT_CREATED, f"{count}: the controller manager has not acted on the Job")


async def completed(job: Owned[Job], pods: PodSet, trace: Trace[Pod], deadline: float, context: Context) -> Measurement:
    """Return how long it took until the controller manager said that a Job is complete; raise Failed.

    `trace` is the Job's one pod, whose own container has ended well.
    """

    def missed(seen: Job | None) -> Finding:
        pods.catch_up()
        if FINISHED not in trace.moments:
            note = f"{trace.item.name}: the canary has ended, and the pod has not: other containers run"
            return Finding(COMPLETE, Reason.POD_GATED, clean(note))
        said = seen.failure if seen else ""
        note = f"the pod has succeeded, and the Job {f'has failed: {said}' if said else 'is not complete'}"
        late = Finding(COMPLETE, Reason.JOB_FAILED, clean(note))
        spent = {measured.step: measured.seconds for measured in trace.spans(job.ruler)}
        return late if said else overdue(late, deadline - trace.moments[FINISHED].at, spent, deadline - job.began)

    moment = await reached(job, "complete", deadline, context, missed)
    pods.catch_up()
    return job.ruler.measure(COMPLETE, trace.moments.get(FINISHED, moment), moment)
