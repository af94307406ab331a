"""Which step made a pod late: the one without whose excess it would have been in time. Pure: no I/O, no clock."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from khealth_exporter.canaries.containers import trouble
from khealth_exporter.canaries.diagnosis import SCHEDULING_GATED, Finding
from khealth_exporter.canaries.injection import GATED, lengthened
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, FREE, READY, REFUSED, SANDBOX, SCHEDULE, START
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step

_KEPT = 64
"""Durations of each step that are remembered."""
_ENOUGH = 10
"""Durations from which a quantile is taken."""
_QUANTILE = 0.9
_DEFAULTS = {ACCEPT: 0.5, CREATE: 0.5, SCHEDULE: 0.5, SANDBOX: 1.5, START: 1.5, READY: 1.0}
"""Seconds that a step usually takes, as long as too few are known here."""
_SHARE = 0.75
"""Share of an attempt's time that all steps usually take at most: each was slow once, but not all in one attempt."""

LATE = {
    ACCEPT: Reason.API_TIMEOUT,
    CREATE: Reason.POD_NOT_CREATED,
    SCHEDULE: Reason.POD_NOT_SCHEDULED,
    SANDBOX: Reason.SANDBOX_FAILED,
    START: Reason.POD_NOT_STARTED,
    READY: Reason.POD_NOT_READY,
}
"""What it is called that a step took up the time, though it has ended."""

_UNDER_WAY = frozenset({
    Reason.POD_NOT_CREATED, Reason.POD_NOT_SCHEDULED, Reason.KUBELET_SILENT, Reason.SANDBOX_FAILED,
    Reason.IMAGE_PULL_FAILED, Reason.POD_NOT_STARTED, Reason.POD_NOT_READY,
})  # fmt: skip
"""What is said of a pod that has come no further, where nobody says why."""


class Usual:
    """How long each step takes here: the 90th percentile of the last 64, of attempts that succeeded."""

    def __init__(self) -> None:
        self._seconds: dict[Step, deque[float]] = {}

    def note(self, measured: Iterable[Measurement]) -> None:
        """Take in the steps of an attempt that succeeded."""
        for one in measured:
            self._seconds.setdefault(one.step, deque(maxlen=_KEPT)).append(one.seconds)

    def of(self, steps: Iterable[Step], budget: float) -> Mapping[Step, float]:
        """Return the usual seconds of each step; `budget` is what an attempt has for all of them."""
        usual = {step: self._quantile(step) or _DEFAULTS.get(step, 1.0) for step in steps}
        scale = min(1.0, _SHARE * budget / (sum(usual.values()) or 1.0))
        return {step: scale * seconds for step, seconds in usual.items()}

    def _quantile(self, step: Step) -> float | None:
        known = sorted(self._seconds.get(step, ()))
        return known[int(_QUANTILE * (len(known) - 1))] if len(known) >= _ENOUGH else None


def blamed(
    spent: Mapping[Step, float], still: Step, usual: Mapping[Step, float], budget: float, before: float = 0.0
) -> Step | None:
    """Return the step without whose excess a pod would have been in time; None if no single one is.

    It has more than half of all excess: of two that are equally late, neither is named.

    `spent` has the seconds of each step so far, the last of which is `still` going on. That one, and those that have
    not begun, are expected to take the usual time; one that goes on for longer, as long again. `budget` is the seconds
    in which all should have been done, of which nothing could be done in those `before` the first step.
    """
    expected = {step: spent.get(step, seconds) for step, seconds in usual.items()}
    expected[still] = 2 * spent[still] if spent[still] > usual[still] else usual[still]
    excess = {step: max(0.0, seconds - usual[step]) for step, seconds in expected.items()}
    most = max(excess, key=lambda step: excess[step])
    alone = excess[most] > (sum(excess.values()) + before) / 2
    return most if alone and before + sum(expected.values()) - excess[most] <= budget else None


def unexplained(pod: Pod) -> bool:
    """Tell whether nobody says why a pod has come no further; that it has no sandbox yet is no reason."""
    scheduled = pod.condition("PodScheduled")
    refused = scheduled is not None and scheduled.status == "False" and scheduled.reason != SCHEDULING_GATED
    return not refused and not pod.spec.scheduling_gates and not pod.ended and trouble(pod) is None


Excuse = tuple[Reason, float]
"""What made a step longer, other than its component, and by how many seconds."""


def excuses(trace: Trace[Pod], now: float, *, pinned: bool = False) -> Mapping[Step, Excuse]:
    """Return what others did to a pod's steps: a gate, a cluster without room, containers that were added to it.

    The scheduler may put a `pinned` pod on one node only: that this node did not take it is no fault of the scheduler.
    """
    bound = trace.moments["scheduled"].at if "scheduled" in trace.moments else now
    found = {step: (Reason.POD_GATED, math.inf) for step in (SANDBOX, START, READY) if step.name in lengthened(trace)}
    held = []
    if GATED in trace.moments:
        free = trace.moments[FREE].at if FREE in trace.moments else bound
        held.append((Reason.POD_GATED, free - trace.moments[GATED].at))
    if REFUSED in trace.moments:
        held.append((Reason.NO_NODE if pinned else Reason.POD_UNSCHEDULABLE, bound - trace.moments[REFUSED].at))
    return found | ({SCHEDULE: max(held, key=lambda one: one[1])} if held else {})


@dataclass(frozen=True, slots=True)
class Lateness:
    """What pods that are still under way at a deadline are judged by.

    `usual` has the steps of an attempt in order, with their usual seconds; the attempt began `budget` seconds ago.
    """

    usual: Mapping[Step, float]
    budget: float
    before: float
    """Seconds from its beginning until the write was sent that the API server accepted."""
    accepted: float
    """Seconds until that write was answered."""

    def judged(
        self, finding: Finding, name: str, measured: Sequence[Measurement], excused: Mapping[Step, Excuse] | None = None
    ) -> Finding:
        """Return what is said of a pod, which says no more than how far it came, by what used up its time.

        A step that is `excused` for most of its excess is no fault of its component.
        """
        spent = {ACCEPT: self.accepted} | {one.step: one.seconds for one in measured if one.step in self.usual}
        still = next((one.step for one in measured if one.censored and one.step in self.usual), None)
        own = still not in LATE  # The attempt's own, which begins once the pod runs.
        if still is None or not (own or finding.reason in _UNDER_WAY):
            return finding
        step = blamed(spent, still, self.usual, self.budget, self.before)
        if step is None:
            steps = ", ".join(f"{one.name} {_of(seconds, self.usual[one])}" for one, seconds in spent.items())
            took = f"{self.before:.2f} s before the first write, {steps}"
            note = f"{name}: not Ready after {self.budget:.2f} s, and no single step explains it: {took}"
            return replace(finding, reason=Reason.NO_SINGLE_CAUSE, note=note)
        if own and step == still:
            return finding
        reason, seconds = (excused or {}).get(step, (LATE[step], 0.0))
        excuse = seconds > (spent[step] - self.usual[step]) / 2
        if step == still and not (excuse and step is SCHEDULE):
            return finding  # It knows more of where the pod is, and of what others added there.
        reason = reason if excuse else LATE[step]
        note = f"{name}: {step.name} took {_of(spent[step], self.usual[step])}, too long to be Ready in time"
        node = finding.node if step in (SANDBOX, START, READY) else None
        return replace(finding, step=step, reason=reason, note=note, node=node)


def _of(seconds: float, usual: float) -> str:
    return f"{seconds:.2f} s (usually {usual:.2f} s)"


def overdue(found: Finding, own: float, spent: Mapping[Step, float], total: float) -> Finding:
    """Return what is said of a goal that was missed: the finding, or the earlier step that left it no time.

    Of `total` seconds `own` were the goal's, and the pods' steps took those in `spent`. What took more than half is to
    blame; if nothing did, no single cause is.
    """
    if own > total / 2:
        return found
    step = max((step for step in spent if step in LATE), key=lambda step: spent[step], default=None)
    if step is None or spent[step] <= total / 2:
        note = f"{found.note}: {own:.2f} s of {total:.2f} s were left for that, and no single step explains it"
        return replace(found, reason=Reason.NO_SINGLE_CAUSE, note=note)
    note = f"{found.note}: {step.name} took {spent[step]:.2f} s of {total:.2f} s"
    return replace(found, step=step, reason=LATE[step], note=note)


def occupied(traces: Iterable[Trace[Pod]], since: float, now: float) -> Mapping[Step | None, float]:
    """Return for how many of the seconds since then any pod was in each step; None stands for any step."""
    spans: dict[Step | None, list[tuple[float, float]]] = {None: []}
    for trace in traces:
        for span in trace.way.spans:
            begin = next((trace.moments[name].at for name in span.begins if name in trace.moments), None)
            end = trace.moments[span.end].at if span.end in trace.moments else now
            if begin is not None and span.step in LATE:
                for step in (None, span.step):
                    spans.setdefault(step, []).append((max(since, begin), min(now, end)))
    return {step: _union(found) for step, found in spans.items()}


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that lie in any of these."""
    total, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
