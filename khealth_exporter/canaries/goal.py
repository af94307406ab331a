"""A milestone that an attempt's own object must reach, and what to blame if it does not."""

from collections.abc import Callable
from typing import TypeVar

from khealth_exporter.canaries.asking import ASKING, check_awake
from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.evidence import of_events, of_owner
from khealth_exporter.canaries.facts import list_events
from khealth_exporter.canaries.interference import interference_with
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)


async def reached(
    owned: Owned[T],
    milestone: str,
    deadline: float,
    context: Context,
    missed: Callable[[T | None], Finding],
) -> Moment:
    """Return when the watch showed that an object is at a milestone of its way; raise Failed at the deadline.

    `missed` says what it means that it is not, from the object as it was seen last. Before a component is blamed, the
    API server itself is asked: the watch may be behind, and another client may have changed or deleted the object.
    """

    def over() -> bool:
        owned.update()
        return owned.taken or _at(owned, milestone) is not None

    await owned.changed.until(over, deadline)
    moment = _at(owned, milestone)
    if moment is not None:
        return moment
    now = context.clock.now()
    check_awake(now - deadline)
    asked = now + ASKING
    seen = await owned.refresh(asked)
    if seen and owned.trace and milestone in owned.trace.way.reached(seen) and not owned.taken:
        raise Failed(Reason.WATCH_INTERRUPTED, "the watch was behind the API server at the deadline")
    if not owned.shown:
        raise Failed(Reason.WATCH_INTERRUPTED, f"the watch does not show {owned.kind.name} {owned.ownership.name}")
    finding = missed(seen)
    events = await list_events(context.cluster, owned.ownership.name, asked)
    evidence = (*of_owner(owned.item), *of_events(events, owned.ownership.name))
    suspicious = owned.taken or finding.reason.result is Result.FAILURE
    if suspicious and (why := await interference_with(context.cluster, owned, asked)):
        raise Failed(why.reason, why.note, evidence)
    raise Failed(finding.reason, finding.note, evidence, step=finding.step)


def _at(owned: Owned[T], milestone: str) -> Moment | None:
    return owned.trace.moments.get(milestone) if owned.trace else None
