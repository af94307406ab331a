"""Traces of any watched object, by the table of its way."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.measure.trace import Span, Trace, Way
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.settings import MeasurementSettings
from khealth_exporter.vocabulary.step import Step


@dataclass(frozen=True)
class Claim:
    """A volume claim, as far as this table looks at it."""

    volume: str = ""
    attached: bool = False
    mounted: bool = False


PROVISION = Step("provision", Component.CONTROLLER_MANAGER, "the claim exists → it has a volume", per_object=True)
ATTACH = Step("attach", Component.CONTROLLER_MANAGER, "it has a volume → it is attached", per_object=True)
MOUNT = Step("mount", Component.NODE, "it is attached → it is mounted", per_object=True)
WHOLE = Step("whole", Component.NODE, "the claim exists → it is mounted", per_object=True, sli=True)


def reached(claim: Claim) -> Iterator[str]:
    yield "created"
    if claim.volume:
        yield "bound"
    if claim.attached:
        yield "attached"
    if claim.mounted:
        yield "mounted"


WAY: Way[Claim] = Way(
    ("created", "bound", "attached", "mounted", "removed"),
    (
        Span(PROVISION, ("created",), "bound"),
        Span(ATTACH, ("bound",), "attached"),
        # A driver that needs no attachment skips it.
        Span(MOUNT, ("attached", "bound"), "mounted"),
        Span(WHOLE, ("created",), "mounted"),
    ),
    reached,
)
NEW, BOUND, ATTACHED = Claim(), Claim("v"), Claim("v", attached=True)
MOUNTED, WITHOUT_ATTACHMENT = Claim("v", attached=True, mounted=True), Claim("v", mounted=True)
RULER = Ruler(MeasurementSettings())


def trace_of(*lines: tuple[Claim, float], removed: float | None = None) -> Trace[Claim]:
    """Return the trace of a claim that a watch showed like this, at these times."""
    trace = Trace(WAY, lines[0][0])
    for claim, at in lines:
        trace.take(claim, Moment(at), removed=False)
    if removed is not None:
        trace.take(lines[-1][0], Moment(removed), removed=True)
    return trace


def spans(trace: Trace[Claim], deadline: float | None = None) -> list[tuple[str, float, bool]]:
    """Return the steps' names, seconds, and whether they are stuck."""
    measured = trace.spans(RULER, None if deadline is None else Moment(deadline))
    return [(m.step.name, m.seconds, m.censored) for m in measured]


def test_spans_lie_between_the_tables_milestones() -> None:
    """Whatever the kind of the object: steps come from the table that was passed in."""
    trace = trace_of((NEW, 1.0), (BOUND, 3.0), (ATTACHED, 6.0), (MOUNTED, 10.0))
    assert [("provision", 2.0, False), ("attach", 3.0, False), ("mount", 4.0, False), ("whole", 9.0, False)] == (
        spans(trace)
    )


def test_a_span_begins_at_the_first_of_its_beginnings_that_was_reached() -> None:
    """A milestone that some objects never reach does not lose the next step."""
    trace = trace_of((NEW, 1.0), (BOUND, 3.0), (WITHOUT_ATTACHMENT, 10.0))
    assert [("provision", 2.0, False), ("mount", 7.0, False), ("whole", 9.0, False)] == spans(trace)


def test_at_a_deadline_the_step_it_is_stuck_in_counts_with_the_time_waited() -> None:
    """And so does the SLI, which is the sum of other steps; later ones get nothing."""
    trace = trace_of((NEW, 1.0), (BOUND, 3.0))
    assert [("provision", 2.0, False), ("attach", 17.0, True), ("whole", 19.0, True)] == spans(trace, 20.0)


def test_what_was_removed_is_stuck_in_nothing() -> None:
    """It is not waited for."""
    assert [] == spans(trace_of((NEW, 1.0), removed=2.0), 20.0)


def test_the_last_milestone_is_the_removal() -> None:
    """An object that is shown for the first time as it goes was created, too."""
    trace = Trace(WAY, NEW)
    trace.take(NEW, Moment(5.0), removed=True)
    assert (True, {"created": Moment(5.0), "removed": Moment(5.0)}) == (trace.gone, trace.moments)


def test_a_milestone_is_taken_once() -> None:
    """An object that falls back and gets there again was there at its first time."""
    trace = trace_of((NEW, 1.0), (ATTACHED, 3.0), (BOUND, 5.0), (ATTACHED, 7.0))
    assert 3.0 == trace.moments["attached"].at


@pytest.mark.parametrize(("claim", "progress"), [(NEW, 1), (BOUND, 2), (ATTACHED, 3), (WITHOUT_ATTACHMENT, 4)])
def test_progress_is_the_place_of_the_furthest_milestone(claim: Claim, progress: int) -> None:
    """Those that were never shown are no gap in it, and going is no progress."""
    assert (progress, progress) == (trace_of((claim, 1.0)).progress, trace_of((claim, 1.0), removed=2.0).progress)


def test_a_watch_is_behind_an_answer_that_shows_a_further_milestone() -> None:
    """Not the other way around, nor once it has shown the removal."""
    trace = trace_of((BOUND, 1.0))
    gone = trace_of((BOUND, 1.0), removed=2.0)
    assert (False, False, True, False) == (
        trace.behind(NEW),
        trace.behind(BOUND),
        trace.behind(ATTACHED),
        gone.behind(ATTACHED),
    )


def test_a_frozen_trace_stays_as_it_was() -> None:
    """What is judged does not change while questions are asked."""
    trace = trace_of((NEW, 1.0))
    frozen = trace.frozen()
    trace.take(MOUNTED, Moment(2.0), removed=False)
    assert (["created"], NEW) == (list(frozen.moments), frozen.item)
