"""What is said of an attempt's pods that are not where they should be. Pure: no I/O, no clock."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from khealth_exporter.canaries.aim import Tally
from khealth_exporter.canaries.diagnosis import Finding, Missing, not_ready, told_why
from khealth_exporter.canaries.excess import Lateness
from khealth_exporter.canaries.facts import Facts
from khealth_exporter.canaries.judge import Judge
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement

REPLACING = 2.0
"""Seconds for a controller to replace a pod that another client has deleted."""


@dataclass(frozen=True, slots=True)
class Case:
    """Pods that are judged at one moment: `judged` are those that the aim concerns, as they were then."""

    tally: Tally
    judged: Sequence[Trace[Pod]]
    others: Sequence[Trace[Pod]]
    """The pods that the aim does not concern, as they are."""
    first: AbstractSet[str]
    """The uids of the pods that the attempt asked for: what comes after them replaces one of them."""
    leaving: Mapping[str, float]
    """When the watch first showed that a pod is being deleted, by uid."""
    missing: int
    """How many pods have not come."""
    explain: Missing
    """Says why pods have not come, unless the aim does."""
    owned: Owned[Any]
    """The object that should have brought them about."""
    facts: Facts
    now: Moment
    lateness: Lateness | None
    """What lateness is judged by; None before the deadline."""
    measured: Callable[[Trace[Pod]], Sequence[Measurement]]
    uncreated: Callable[[], Measurement]
    """The step of a pod that has not come."""

    def findings(self) -> Iterator[Finding]:
        """Yield what is said of each pod that is not where it should be, and of those that are missing."""
        lost = [trace for trace in self.judged if trace.gone or trace.item.leaving]
        if self.tally.fallen and not lost:
            yield self._fallen(self.tally.fallen)
            return
        unwell = [trace for trace in self.judged if not self.tally.aim.reached(trace)]
        # A pod that replaces another is late because of that one.
        suspects = lost or [trace for trace in unwell if trace.item.uid in self.first] or unwell
        found = [self._of_pod(trace) for trace in suspects]
        if self.tally.aim.missing:
            # A controller that waits for a pod need not create the next one.
            explained = any(one.reason is not Reason.NO_SINGLE_CAUSE for one in found)
            if self.lateness and not explained and (found or self.missing or self.tally.others_left):
                found = [self.tally.aim.missing(self.owned.item, self.missing)]
        elif self.missing and not lost:
            found.append(self._absent())
        yield from found

    def _of_pod(self, trace: Trace[Pod]) -> Finding:
        late = self.lateness
        if late and trace.item.uid not in self.first and "created" in trace.moments:
            # Its way began with the pod.
            late = replace(late, before=late.budget - (self.now.at - trace.moments["created"].at), accepted=0.0)
        judge = Judge(self.tally.aim, self.facts, self.owned.ruler, self.now, late)
        return judge.finding(trace, self.measured(trace))

    def _absent(self) -> Finding:
        found = told_why(self.explain(self.owned.item, self.missing), self.facts.refusal)
        return self.lateness.judged(found, f"{self.missing} pods", [self.uncreated()]) if self.lateness else found

    def _fallen(self, trace: Trace[Pod]) -> Finding:
        """Return what it means that too few pods are Ready since this one is not.

        A controller that had a pod removed does not replace it; where another client did that, it does.
        """
        found, aim = not_ready(trace, self.facts.nodes, self.facts.pulling), self.tally.aim
        if found.reason is not Reason.POD_LOST or not trace.item.leaving or aim.concerns(trace):
            return found
        return (None if replaced(trace, self.others, self.leaving) else aim.taken(trace)) or found


def replaced(pod: Trace[Pod], others: Iterable[Trace[Pod]], leaving: Mapping[str, float]) -> bool:
    """Tell whether one of the others was created since this pod was asked to go."""
    since = leaving.get(pod.item.uid, 0.0)
    return any(other.moments["created"].at >= since for other in others)
