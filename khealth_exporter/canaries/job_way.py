"""A Job's way, and what it means that it has no pod. Pure: no I/O, no clock."""

from collections.abc import Iterator

from khealth_exporter.canaries.diagnosis import Finding, uncreated
from khealth_exporter.canaries.pod_steps import CREATE
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.workloads import Job
from khealth_exporter.measure.trace import Way
from khealth_exporter.vocabulary.reason import Reason


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
