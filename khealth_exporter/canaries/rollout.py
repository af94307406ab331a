"""A Deployment's way: observed, available, rolled out; and what it means that a rollout stalls. Pure: no I/O."""

from collections.abc import Callable, Iterable, Iterator

from khealth_exporter.canaries.diagnosis import Finding, uncreated
from khealth_exporter.canaries.excess import occupied, overdue
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.relayed import relayed
from khealth_exporter.cluster.workloads import Deployment
from khealth_exporter.measure.trace import Trace, Way
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.step import Step

TEMPLATE = "khealth.io/template"
"""Annotation of a template, and so of its pods, that tells it from the one before."""


def _reached(deployment: Deployment) -> Iterator[str]:
    """Yield what the controller manager says of the present template, by its annotation."""
    yield "created"
    template = deployment.spec.template.metadata.annotations.get(TEMPLATE, "")
    for word, holds in (
        ("observed", deployment.observed),
        ("available", deployment.available),
        ("rolled out", deployment.rolled_out),
    ):
        if holds:
            yield f"{word} {template}"


WAY: Way[Deployment] = Way(("created", "deleted"), (), _reached)
"""What a watch can show of a Deployment; `rolled out 2` means that all pods are of the template that is marked 2."""


def of_template(mark: str) -> Callable[[Trace[Pod]], bool]:
    """Return what tells the pods of a template from others."""
    return lambda trace: trace.item.metadata.annotations.get(TEMPLATE) == mark


def stalled(  # noqa: PLR0913, PLR0917 - each tells something of the rollout
    step: Step, seen: Deployment | None, missing: int, pods: Iterable[Trace[Pod]], since: float, now: float
) -> Finding:
    """Return what it means that a Deployment is not where it should be, though none of its pods hangs.

    Its controllers are to blame only if they, and not the pods, took most of the time since then.
    """
    if seen is None:
        return Finding(step, Reason.ROLLOUT_STALLED, "the watch does not show the Deployment")
    if missing and seen.refusal:
        reason, note = relayed(seen.refusal)
        return Finding(step, reason, f"{uncreated(missing)}: {note}")
    if seen.spec.paused:
        return Finding(step, Reason.INTERRUPTED, "another client has paused the Deployment")
    status = seen.status
    counts = f"{status.updated_replicas} updated, {status.available_replicas} available, {status.replicas} in all"
    behind = "" if seen.observed else ", and the controller manager has not observed its update"
    note = clean(f"the Deployment's pods: {counts}{behind}")
    spent = occupied(pods, since, now)
    steps = {step: seconds for step, seconds in spent.items() if step}
    total = now - since
    return overdue(Finding(step, Reason.ROLLOUT_STALLED, note), total - spent[None], steps, total)
