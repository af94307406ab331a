"""A canary that measures something, ends, and says what it found in its termination message."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from khealth_exporter.canaries.aim import Aim, Refine, as_found
from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.evidence import of_pod
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import CANARY
from khealth_exporter.canaries.pod_steps import START
from khealth_exporter.cluster.decoding import parse
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import ContainerStateDetail, Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

_LARGEST = 1 << 53
"""Of all integers up to this one, each is a float too."""
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]
_Integer = Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]

UNFINISHED = "unfinished"
"""What a canary says that gave up: khealth_exporter/canary/__main__.py."""


class Document(msgspec.Struct, frozen=True):
    """What a canary says in its termination message: durations in seconds, on its own clock, and what went wrong."""

    task: str
    ok: bool
    version: int = 1
    error: str = ""
    reason: str = ""
    durations: Mapping[str, _Seconds] = {}
    uncertainty_seconds: _Seconds = 0.0
    facts: Mapping[str, float | _Integer | str | bool | None] = {}

    def measured(self, steps: Sequence[Step]) -> tuple[Measurement, ...]:
        """Return the steps that it timed; each duration has the step's name."""
        found = (self.total(step, step.name) for step in steps)
        return tuple(measured for measured in found if measured)

    def total(self, step: Step, *names: str) -> Measurement | None:
        """Return the durations of these names together as one step; None if one of them is missing."""
        if not self.durations.keys() >= set(names):
            return None
        seconds = sum(self.durations[name] for name in names)
        return Measurement(step, seconds, self.uncertainty_seconds, Quality.EXACT)


def ended(trace: Trace[Pod]) -> ContainerStateDetail | None:
    """Return how the canary's own container ended; None while it has not: containers of others may go on."""
    statuses = trace.item.status.container_statuses
    return next((s.state.terminated for s in statuses if s.name == CANARY and s.state.terminated), None)


def _done(trace: Trace[Pod]) -> bool:
    end = ended(trace)
    return end is not None and end.exit_code == 0 and bool(end.message) and not trace.gone


def _failed(trace: Trace[Pod]) -> bool:
    return (ended(trace) is not None or trace.item.ended) and not _done(trace)


def done(step: Step, reason: Reason, note: str, refined: Refine = as_found) -> Aim:
    """Return the aim that a canary has ended with a document; one that runs at the deadline has failed in this step."""

    def late(trace: Trace[Pod]) -> Finding:
        node = trace.item.spec.node_name or None
        return Finding(step, reason, clean(f"{trace.item.name}: {note}"), node, trace.progress, runs=True)

    return Aim(_done, _failed, late, refined)


RUNNING = Aim(hopeless=lambda trace: ended(trace) is not None or trace.item.ended)
"""The canary is Ready, and goes on."""


async def arrive(pods: PodSet, aim: Aim, deadline: float, record: Callable[[Sample], None]) -> None:
    """Return when the one pod of a set is where it should be; raise Failed, `canary_failed` if it ended otherwise."""
    try:
        await pods.all_at(aim, 1, deadline, record)
    except Failed as failed:
        if failed.reason is not Reason.POD_CRASHED:
            raise
        raise Failed(Reason.CANARY_FAILED, failed.note, failed.evidence, step=failed.step) from failed


async def follow(
    pods: PodSet, aim: Aim, deadline: float, record: Callable[[Sample], None]
) -> tuple[Trace[Pod], Document]:
    """Return the one pod of a set and its document once it has ended; raise Failed otherwise.

    A canary that never started is judged like any pod; one that ended without a document is `canary_failed`.
    """
    await arrive(pods, aim, deadline, record)
    trace = next(trace for trace in pods.traces.values() if _done(trace))
    end = ended(trace)
    try:
        return trace, parse(Document, (end.message if end else "").encode())
    except msgspec.MsgspecError as error:
        note = clean(f"{trace.item.name}: the termination message is no document of a canary: {error}")
        raise Failed(Reason.CANARY_FAILED, note, (of_pod(trace),), step=START) from error


def check(document: Document, trace: Trace[Pod], step: Step, reasons: Sequence[Reason]) -> None:
    """Raise Failed if the canary says that its task went wrong; `step` is what failed, unless it names another.

    A canary names one of these reasons; a word that is none of them is `canary_failed`. One that gave up, because it
    was not finished in time, stands for the first of them, unless it had no CPU for most of that time.
    """
    if document.ok:
        return
    if document.reason == UNFINISHED:
        raise _late(document, trace, step, reasons[0])
    reason = next((reason for reason in reasons if reason.value == document.reason), Reason.CANARY_FAILED)
    node = trace.item.spec.node_name
    note = clean(f"{trace.item.name} on {node}: {document.error or document.reason or 'no reason given'}")
    raise Failed(reason, note, (of_pod(trace),), step=step)


def _late(document: Document, trace: Trace[Pod], step: Step, reason: Reason) -> Failed:
    """Return what it means that a canary gave up: what it does is slow, or its node has no CPU for it."""
    waited, within = (document.facts.get(name) for name in ("waiting_seconds", "within_seconds"))
    told = f"{document.error}, in {document.facts.get('operation') or 'its preparation'}"
    note = f"{trace.item.name} on {trace.item.spec.node_name}: {told}"
    if isinstance(waited, int | float) and isinstance(within, int | float) and waited > within / 2:
        reason, note = Reason.NO_SINGLE_CAUSE, f"{note}; it waited {waited:.1f} s for a CPU"
    return Failed(reason, clean(note), (of_pod(trace),), step=step)


def complete(document: Document, trace: Trace[Pod], names: Iterable[str]) -> None:
    """Raise Failed if a canary that did its task does not say how long each part of it took."""
    if missing := ", ".join(sorted(set(names) - document.durations.keys())):
        note = f"{trace.item.name} does not tell its duration {missing}: its image may be of another version of khealth"
        raise Failed(Reason.CANARY_FAILED, clean(note), (of_pod(trace),), step=START)
