"""A pod's way: milestones, steps, error bars, quality; for any order of lines."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
from documents import (
    RUNNING,
    Json,
    a_pod,
    accepted,
    bound,
    container,
    containers,
    disrupted,
    leaving,
    pod,
    ready,
    running,
    sandboxed,
    status_of,
    terminated,
    unschedulable,
    waiting,
)
from hypothesis import example, given
from hypothesis import strategies as st

from khealth_exporter.canaries.images import COLD_AFTER, SeenImages
from khealth_exporter.canaries.pod_steps import CREATE, READY, SCHEDULE, START, STARTUP, WAY, sample, well
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Lag, Lags, Moment
from khealth_exporter.measure.ruler import SLO_EDGES, Ruler, straddling
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Quality
from khealth_exporter.vocabulary.settings import MeasurementSettings

STAGES: Mapping[str, Callable[[Json], Json]] = {
    "created": lambda document: document,
    "unschedulable": unschedulable,
    "scheduled": bound,
    "accepted": accepted,
    "sandboxed": sandboxed,
    "started": running,
    "crashed": lambda document: containers(document, container(terminated()), phase="Running"),
    "back-off": lambda document: containers(
        document, container(waiting("CrashLoopBackOff"), last=terminated(), restarts=1), phase="Running"
    ),
    "failed": lambda document: containers(document, container(terminated()), phase="Failed"),
    "ready": ready,
    "kwok": lambda document: status_of(
        bound(document), {"type": "Ready", "status": "True"}, startTime="x", containerStatuses=[container(RUNNING)]
    ),
    "disrupted": lambda document: disrupted(ready(document)),
    "leaving": lambda document: leaving(ready(document)),
}
LIMITS = MeasurementSettings()
EXACT = Ruler(LIMITS)


def take(  # noqa: PLR0913 - each is part of a line
    trace: Trace[Pod], stage: str, at: float, delay: float = 0.0, *, recovered: bool = False, kind: str = ""
) -> None:
    """Let a watch show a stage."""
    trace.take(a_pod(STAGES[stage](pod())), Moment(at, delay, recovered), removed=kind == "DELETED")


def way_of(*stages: tuple[str, float], gone: float | None = None) -> Trace[Pod]:
    """Return the trace of a pod that was seen at these stages, at these times."""
    trace = Trace(WAY, a_pod(pod()))
    for stage, at in stages:
        take(trace, stage, at)
    if gone is not None:
        take(trace, stages[-1][0], gone, kind="DELETED")
    return trace


def steps(
    trace: Trace[Pod], *, deadline: float | None = None, answered: float = 0.0, ruler: Ruler = EXACT
) -> list[Measurement]:
    """Return the steps of a pod that a controller creates, whose write was answered at some time."""
    end = None if deadline is None else Moment(deadline)
    created = trace.moments.get("created")
    first = [ruler.measure(CREATE, Moment(answered), created)] if created else []
    return [*first, *trace.spans(ruler, end)]


def seconds(measured: Sequence[Measurement], *, censored: bool | None = None) -> dict[str, float]:
    return {m.step.name: m.seconds for m in measured if censored in (None, m.censored)}


WELL = (("created", 1.0), ("scheduled", 3.0), ("sandboxed", 6.0), ("started", 10.0), ("ready", 15.0))


def test_every_step_is_taken_between_its_milestones() -> None:
    """A pod that gets to Ready has a duration for each step, and startup is their sum from created to started."""
    expected = {"create": 1.0, "schedule": 2.0, "sandbox": 3.0, "start": 4.0, "ready": 5.0, "startup": 9.0}
    assert expected == seconds(steps(way_of(*WELL)))


def test_lines_that_come_together_make_steps_of_nothing() -> None:
    """Where one line shows several milestones, the steps between them took no time that could be seen."""
    expected = {"create": 1.0, "schedule": 0.0, "sandbox": 0.0, "start": 0.0, "ready": 0.0, "startup": 0.0}
    assert expected == seconds(steps(way_of(("ready", 1.0))))


def test_a_sandbox_that_is_never_shown_is_left_out() -> None:
    """On KWOK's nodes there is no sandbox: `start` counts from scheduled, `sandbox` is missing."""
    expected = {"create": 1.0, "schedule": 1.0, "start": 2.0, "ready": 0.0, "startup": 3.0}
    assert expected == seconds(steps(way_of(("created", 1.0), ("scheduled", 2.0), ("kwok", 4.0))))


@pytest.mark.parametrize("stage", ["started", "crashed", "back-off", "failed"])
def test_a_container_that_has_run_has_started(stage: str) -> None:
    """Running, ended, or waiting to be run again: the SLI's clock stops at the start."""
    assert 4.0 == seconds(steps(way_of(("created", 1.0), (stage, 5.0))))["startup"]


def test_all_containers_have_to_start() -> None:
    """A pod of two containers has not started with the first."""
    two = pod()
    two["spec"]["containers"] = [{"name": "a"}, {"name": "b"}]
    half = containers(two, container(RUNNING), container(waiting("ContainerCreating")))
    assert "started" not in list(WAY.reached(a_pod(half)))


def test_a_pod_without_container_statuses_has_not_started() -> None:
    """Nothing said is nothing started."""
    assert ["created", "scheduled"] == list(WAY.reached(a_pod(bound(pod()))))


def test_a_milestone_is_reached_once() -> None:
    """A pod that loses Ready and wins it back was Ready when it first was."""
    way = way_of(*WELL, ("started", 20.0), ("ready", 25.0))
    assert 15.0 == way.moments["ready"].at


@pytest.mark.parametrize(
    ("stages", "stuck", "startup"),
    [
        ([("created", 1.0)], {"schedule": 19.0}, 19.0),
        ([("unschedulable", 1.0)], {"schedule": 19.0}, 19.0),
        ([("created", 1.0), ("scheduled", 4.0)], {"sandbox": 16.0}, 19.0),
        ([("created", 1.0), ("accepted", 4.0)], {"sandbox": 16.0}, 19.0),
        ([("created", 1.0), ("sandboxed", 8.0)], {"start": 12.0}, 19.0),
        ([("created", 1.0), ("started", 9.0)], {"ready": 11.0}, None),
        ([("created", 1.0), ("crashed", 9.0)], {"ready": 11.0}, None),
    ],
)
def test_a_stuck_pod_counts_with_the_time_waited(
    stages: list[tuple[str, float]], stuck: dict[str, float], startup: float | None
) -> None:
    """At the deadline the step a pod is stuck in is censored, and startup unless it has started; later ones are not."""
    expected = stuck if startup is None else {**stuck, "startup": startup}
    assert expected == seconds(steps(way_of(*stages), deadline=20.0), censored=True)


def test_a_ready_pod_is_stuck_in_nothing() -> None:
    """A pod that got there has no censored step, whatever became of the others."""
    assert {} == seconds(steps(way_of(*WELL), deadline=20.0), censored=True)


def test_a_pod_that_is_gone_is_stuck_in_nothing() -> None:
    """A pod that was deleted is not waited for."""
    assert {} == seconds(steps(way_of(("created", 1.0), gone=5.0), deadline=20.0), censored=True)


def test_without_a_deadline_nothing_is_censored() -> None:
    """Where the cluster is not to blame, what has not ended has no duration."""
    assert {} == seconds(steps(way_of(("created", 1.0))), censored=True)


STAGE = st.sampled_from(list(STAGES))
TIMES = st.floats(0, 400, allow_nan=False)
LINES = st.lists(
    st.tuples(
        STAGE, TIMES, st.floats(0, 80), st.booleans(), st.sampled_from(["ADDED", "MODIFIED", "MODIFIED", "DELETED"])
    ),
    min_size=1,
    max_size=8,
)
LAGS = st.builds(Lag, st.floats(0, 2), st.floats(0, 3))


def walked(lines: Sequence[tuple[str, float, float, bool, str]]) -> Trace[Pod]:
    trace = Trace(WAY, a_pod(pod()))
    for stage, at, delay, recovered, kind in lines:
        take(trace, stage, at, delay, recovered=recovered, kind=kind)
    return trace


@given(LINES, TIMES, st.none() | TIMES, LAGS)
def test_any_lines_in_any_order_make_a_sample(
    lines: list[tuple[str, float, float, bool, str]], answered: float, deadline: float | None, lag: Lag
) -> None:
    """Whatever was shown, in whatever order, however much is missing: there is a sample with every milestone in it."""
    way = walked(lines)
    made = sample(way, steps(way, deadline=deadline, answered=answered, ruler=Ruler(LIMITS, lag)), Clock())
    assert WAY.milestones == tuple(made.observed)
    assert made.quality in Quality
    assert all(m.quality in Quality for m in made.measurements)


@given(LINES, TIMES, st.none() | TIMES, LAGS)
def test_no_step_takes_less_than_nothing(
    lines: list[tuple[str, float, float, bool, str]], answered: float, deadline: float | None, lag: Lag
) -> None:
    """Durations and error bars are never negative, and always numbers."""
    for measured in steps(walked(lines), deadline=deadline, answered=answered, ruler=Ruler(LIMITS, lag)):
        assert measured.seconds >= 0
        assert measured.uncertainty >= 0
        assert math.isfinite(measured.seconds + measured.uncertainty)


@given(LINES, TIMES, st.none() | TIMES)
def test_a_step_is_told_once(
    lines: list[tuple[str, float, float, bool, str]], answered: float, deadline: float | None
) -> None:
    """No pod has a step both measured and censored, or twice."""
    measured = [m.step.name for m in steps(walked(lines), deadline=deadline, answered=answered)]
    assert len(set(measured)) == len(measured)


@given(LINES, TIMES, TIMES)
def test_steps_after_the_stuck_one_get_nothing(
    lines: list[tuple[str, float, float, bool, str]], answered: float, deadline: float
) -> None:
    """At most one step of the chain is censored, and no step of it that comes later has a figure."""
    order = ["create", "schedule", "sandbox", "start", "ready"]
    measured = [m for m in steps(walked(lines), deadline=deadline, answered=answered) if m.step.name in order]
    stuck = [order.index(m.step.name) for m in measured if m.censored]
    assert len(stuck) <= 1
    if stuck:
        assert [] == [m.step.name for m in measured if order.index(m.step.name) > stuck[0]]


MOMENTS = st.builds(Moment, TIMES, st.floats(0, 80), st.booleans())


@given(MOMENTS, MOMENTS, LAGS)
@example(Moment(5.0), Moment(2.0), Lag())
def test_the_error_bar_covers_what_was_cut(begin: Moment, end: Moment, lag: Lag) -> None:
    """A step that comes out negative is 0, with an error bar of at least what was cut, and is never dropped."""
    measured = Ruler(LIMITS, lag).measure(CREATE, begin, end)
    assert max(0.0, end.at - begin.at) == measured.seconds
    assert measured.uncertainty >= begin.at - end.at


@given(MOMENTS, MOMENTS, LAGS)
def test_the_error_bar_covers_what_khealth_knows_of_its_own_delay(begin: Moment, end: Moment, lag: Lag) -> None:
    """The delay of either end, and the watch's lag, are in the error bar."""
    measured = Ruler(LIMITS, lag).measure(CREATE, begin, end)
    assert measured.uncertainty >= max(begin.delay, end.delay) + lag.possible


@pytest.mark.parametrize(
    ("begin", "end", "lag", "quality"),
    [
        (Moment(0.0), Moment(0.1), Lag(), Quality.EXACT),
        (Moment(0.0, 0.02), Moment(0.1, 0.02), Lag(0.05, 0.2), Quality.EXACT),
        (Moment(0.0, 0.021), Moment(0.1), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.1, 0.021), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.1), Lag(0.051, 0.051), Quality.DEGRADED),
        (Moment(0.0, recovered=True), Moment(0.1), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.1, recovered=True), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(0.9, 0.2), Lag(), Quality.DISCARDED),
        (Moment(0.0), Moment(0.9, 0.05), Lag(), Quality.DEGRADED),
        (Moment(0.0), Moment(5.1), Lag(0.06, 0.2), Quality.DISCARDED),
    ],
)
def test_quality_follows_khealths_own_delay(begin: Moment, end: Moment, lag: Lag, quality: Quality) -> None:
    """Above the limits a step is degraded, and discarded where it may lie on either side of an objective's edge."""
    assert quality is Ruler(LIMITS, lag).measure(CREATE, begin, end).quality


def test_the_limits_come_from_the_settings() -> None:
    """`measurement.loop_lag` and `measurement.watch_lag` say from where on a step is degraded."""
    patient = Ruler(MeasurementSettings(loop_lag=1.0, watch_lag=1.0), Lag(0.9, 0.9))
    assert Quality.EXACT is patient.measure(CREATE, Moment(0.0, 0.9), Moment(0.1)).quality


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from([Quality.EXACT, Quality.COLD]))
def test_only_degraded_measurements_are_discarded(duration: float, uncertainty: float, quality: Quality) -> None:
    """An exact measurement stays what it is, however near to an edge."""
    measured = Measurement(CREATE, duration, uncertainty, quality)
    assert measured == straddling(measured)


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_discarded_measurement_may_lie_on_either_side_of_an_edge(duration: float, uncertainty: float) -> None:
    """A degraded measurement is discarded exactly where its error bar reaches beyond an edge."""
    measured = straddling(Measurement(CREATE, duration, uncertainty, Quality.DEGRADED))
    unclear = any(duration - uncertainty < edge < duration + uncertainty for edge in SLO_EDGES)
    near = any(math.isclose(abs(duration - edge), uncertainty, abs_tol=1e-9) for edge in SLO_EDGES)
    assert near or unclear == (measured.quality is Quality.DISCARDED)


def test_the_lag_of_a_write_lies_between_its_answer_and_its_sending() -> None:
    """Seen after the answer: late for sure; since the sending: perhaps."""
    assert Lag(0.25, 0.75) == Lag.of_write(1.0, 1.5, 1.75)


def test_a_write_that_is_seen_before_its_answer_is_not_late_for_sure() -> None:
    """The watch may be faster than the answer."""
    assert Lag(0.0, 0.25) == Lag.of_write(1.0, 1.5, 1.25)


def test_the_worse_of_two_lags_is_worse_in_both() -> None:
    """Neither figure is forgotten."""
    assert Lag(2.0, 5.0) == Lag(1.0, 5.0).or_worse(Lag(2.0, 3.0))


def test_the_worst_lag_of_late_is_remembered() -> None:
    """What any attempt's write told is held against the pods of all, for a while."""
    lags = Lags()
    lags.note(Lag(0.0, 0.5))
    lags.note(Lag(0.0, 0.1))
    assert 0.5 == lags.possible


def test_an_old_lag_is_forgotten() -> None:
    """After sixteen attempts a lag says nothing of today."""
    lags = Lags()
    lags.note(Lag(0.0, 0.5))
    for _ in range(32):
        lags.note(Lag(0.0, 0.1))
    assert 0.1 == lags.possible


def started(created: float, at: float, *, node: str = "node-1") -> Trace[Pod]:
    """Return the trace of a pod that was created and started at these times."""
    trace = Trace(WAY, a_pod(pod()))
    trace.take(a_pod(pod()), Moment(created), removed=False)
    trace.take(a_pod(running(pod(), node)), Moment(at), removed=False)
    return trace


def graded(seen: SeenImages, way: Trace[Pod], image: str = "pause") -> Quality:
    return seen.graded(Measurement(STARTUP, 1.0, 0.0), way, image).quality


def test_the_first_start_of_an_image_on_a_node_is_cold() -> None:
    """The pull may be in it."""
    seen, way = SeenImages(), started(0.0, 2.0)
    seen.note([way], "pause")
    assert Quality.COLD is graded(seen, way)


def test_a_start_after_another_one_is_not_cold() -> None:
    """Once an image has started on a node, it is there."""
    seen, later = SeenImages(), started(60.0, 61.0)
    seen.note([started(0.0, 2.0)], "pause")
    seen.note([later], "pause")
    assert Quality.EXACT is graded(seen, later)


def test_pods_that_begin_before_the_first_start_are_all_cold() -> None:
    """Two pods on one node that wait for the same pull are both cold, whichever starts first."""
    seen, ways = SeenImages(), [started(0.0, 2.0), started(1.9, 2.5), started(2.1, 2.6)]
    seen.note(ways, "pause")
    assert [Quality.COLD, Quality.COLD, Quality.EXACT] == [graded(seen, way) for way in ways]


@pytest.mark.parametrize(("node", "image"), [("node-2", "pause"), ("node-1", "other")])
def test_another_node_or_image_is_cold_by_itself(node: str, image: str) -> None:
    """Warmth is per node and per image."""
    seen, way = SeenImages(), started(60.0, 61.0, node=node)
    seen.note([started(0.0, 2.0)], "pause")
    seen.note([way], image)
    assert Quality.COLD is graded(seen, way, image)


@pytest.mark.parametrize(("pause", "quality"), [(COLD_AFTER, Quality.EXACT), (COLD_AFTER + 1.0, Quality.COLD)])
def test_an_image_is_forgotten_after_twelve_hours_without_a_start(pause: float, quality: Quality) -> None:
    """A node may have thrown away an image that it has not used for so long."""
    seen, way = SeenImages(), started(2.0 + pause - 1.0, 2.0 + pause)
    seen.note([started(0.0, 2.0)], "pause")
    seen.note([way], "pause")
    assert quality is graded(seen, way)


def test_an_image_that_is_used_stays_warm() -> None:
    """A start every hour keeps an image warm for days."""
    seen, qualities = SeenImages(), []
    for hour in range(48):
        way = started(hour * 3600.0, hour * 3600.0 + 2.0)
        seen.note([way], "pause")
        qualities.append(graded(seen, way))
    assert [Quality.COLD, *[Quality.EXACT] * 47] == qualities


def test_nodes_that_come_and_go_are_forgotten() -> None:
    """Node churn must not grow khealth's memory for good."""
    seen = SeenImages()
    for number in range(10_000):
        at = number * 60.0
        seen.note([started(at, at + 2.0, node=f"node-{number}")], "pause")
    assert len(seen) <= COLD_AFTER / 60.0 + 1


def test_only_startup_can_be_cold() -> None:
    """The steps themselves are what they are."""
    measured = [Measurement(step, 1.0, 0.0) for step in (CREATE, SCHEDULE, START, READY)]
    assert measured == [SeenImages().graded(m, started(0.0, 2.0), "pause") for m in measured]


def test_a_censored_startup_is_never_cold() -> None:
    """A pod that did not start at all is no matter of a cold image: it counts."""
    censored = Measurement(STARTUP, 20.0, 0.0, censored=True)
    assert censored == SeenImages().graded(censored, way_of(("scheduled", 1.0)), "pause")


def test_a_startup_without_a_node_is_not_cold() -> None:
    """Where nothing is known of the node, nothing is assumed."""
    way = way_of(("created", 1.0))
    assert Quality.EXACT is graded(SeenImages(), way)


@pytest.mark.parametrize(
    ("stage", "is_well"),
    [("created", False), ("started", False), ("ready", True), ("leaving", False), ("failed", False), ("kwok", True)],
)
def test_a_pod_is_well_that_is_ready_and_there_to_stay(stage: str, *, is_well: bool) -> None:
    """Ready alone is not enough for a pod that is asked to go, or has ended."""
    assert is_well is well(way_of((stage, 1.0)))


def test_a_pod_that_is_gone_is_not_well() -> None:
    """Whatever it was last."""
    assert not well(way_of(("ready", 1.0), gone=2.0))


@pytest.mark.parametrize(
    ("stage", "progress"),
    [("created", 1), ("scheduled", 2), ("accepted", 2), ("sandboxed", 3), ("started", 4), ("ready", 5), ("kwok", 5)],
)
def test_progress_grows_along_the_way(stage: str, progress: int) -> None:
    """The further a pod has come, the larger the number; a sandbox that is never shown is no gap in it."""
    assert progress == way_of((stage, 1.0)).progress


def test_a_frozen_way_stays_as_it_was() -> None:
    """What is judged does not change while questions are asked."""
    way = way_of(("created", 1.0))
    frozen = way.frozen()
    take(way, "ready", 2.0)
    assert (["created"], "") == (list(frozen.moments), frozen.item.spec.node_name)


@pytest.mark.parametrize(
    ("seen", "says", "expected"),
    [
        ("created", "created", False),
        ("created", "scheduled", True),
        ("ready", "scheduled", False),
        ("ready", "kwok", False),
    ],
)
def test_a_watch_is_behind_that_lacks_a_milestone(seen: str, says: str, expected: bool) -> None:
    """The API server is further on where it shows a milestone that the watch has not."""
    assert expected is way_of((seen, 1.0)).behind(a_pod(STAGES[says](pod())))


def test_a_watch_that_shows_a_deletion_is_not_behind() -> None:
    """An answer that still has the pod was under way when it went."""
    assert not way_of(("created", 1.0), gone=2.0).behind(a_pod(ready(pod())))


def test_a_sample_names_its_pod_and_its_times() -> None:
    """Times are in Unix seconds, None where a milestone was not reached."""
    clock = Clock(monotonic=lambda: 100.0, utc=lambda: 5000.0)
    made = sample(way_of(("created", 101.0), ("scheduled", 103.0)), (), clock)
    expected = {"created": 5001.0, "scheduled": 5003.0, **dict.fromkeys(WAY.milestones[2:])}
    assert ("khealth-a-run-1-x7k2p", "uid-khealth-a-run-1-x7k2p", "node-1") == (made.object, made.uid, made.node)
    assert expected == made.observed


def test_a_samples_quality_is_the_worst_of_its_steps() -> None:
    """Exact, cold, degraded, discarded: in this order."""
    measured = [Measurement(READY, 1.0, 0.0, quality) for quality in Quality]
    worst = [sample(way_of(("created", 1.0)), measured[: n + 1], Clock()).quality for n in range(4)]
    assert [Quality.EXACT, Quality.COLD, Quality.DEGRADED, Quality.DISCARDED] == worst
