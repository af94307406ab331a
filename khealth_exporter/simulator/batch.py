"""Defaults and validation (422) of Jobs, with the real API server's messages."""

from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator import pod_rules
from khealth_exporter.simulator.documents import Document, labels_of, metadata, name_of, spec_of, uid_of
from khealth_exporter.simulator.errors import Cause

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
TRACKING: Final = "batch.kubernetes.io/job-tracking"
"""The finalizer of a pod that its Job has not counted yet."""

_DEFAULTS: Final[Document] = {
    "parallelism": 1,
    "completions": 1,
    "backoffLimit": 6,
    "completionMode": "NonIndexed",
    "manualSelector": False,
    "podReplacementPolicy": "TerminatingOrFailed",
    "suspend": False,
}
_COUNTS: Final = ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")


def fill(job: Document) -> Document:
    """Return the Job with its defaults and its generated selector; the spec of its template has its own defaults."""
    spec, template = spec_of(job), spec_of(job).get("template") or {}
    uid, name = uid_of(job), name_of(job)
    generated = {CONTROLLER_UID: uid, JOB_NAME: name, "controller-uid": uid, "job-name": name}
    marked = {**template, "metadata": {**metadata(template), "labels": {**labels_of(template), **generated}}}
    labels = labels_of(job) or labels_of(template)
    return {
        **job,
        "metadata": {**metadata(job), **({"labels": labels} if labels else {})},
        "spec": {**_DEFAULTS, "selector": {"matchLabels": {CONTROLLER_UID: uid}}, **spec, "template": marked},
        "status": {},
    }


def causes(job: Document) -> Iterator[Cause]:
    """Yield what is wrong with the Job."""
    spec, template = spec_of(job), spec_of(job).get("template") or {}
    for field in _COUNTS:
        yield from pod_rules.not_negative(spec, field)
    if spec_of(template).get("restartPolicy") not in {"OnFailure", "Never"}:
        yield pod_rules.required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    yield from pod_rules.labels(labels_of(template), "spec.template.labels")
    yield from pod_rules.pod_spec(spec_of(template), "spec.template.spec")


def update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of the Job."""
    yield from causes(after)
    for field in ("completions", "selector", "template", "completionMode"):
        if spec_of(before).get(field) != spec_of(after).get(field):
            yield pod_rules.invalid(f"spec.{field}", spec_of(after).get(field), "field is immutable")
