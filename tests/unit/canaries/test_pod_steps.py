"""A pod's way: milestones, steps, error bars, quality; for any order of lines."""

import math
from collections.abc import Sequence

import pytest
from documents import (
    RUNNING,
    a_pod,
    bound,
    container,
    containers,
    injected,
    pod,
    ready,
    terminated,
    waiting,
)
from hypothesis import given
from hypothesis import strategies as st
from pod_traces import LIMITS, STAGES, seconds, steps, take, way_of

from khealth_exporter.canaries.pod_steps import READY, WAY, sample, well
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Lag
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Quality

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


def test_a_sidecar_that_runs_is_no_pod_that_has_started() -> None:
    """`started` is told of the pod's own containers: init containers and sidecars precede them."""
    early = injected(
        containers(pod(), container(waiting("PodInitializing"))), "proxy", RUNNING, sidecar=True, started=True
    )
    late = injected(containers(pod(), container(RUNNING)), "proxy", terminated(), sidecar=True)
    assert (False, True) == tuple("started" in list(WAY.reached(a_pod(document))) for document in (early, late))


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
    """Exact, cold, foreign, degraded, discarded: in this order."""
    measured = [Measurement(READY, 1.0, 0.0, quality) for quality in Quality]
    worst = [sample(way_of(("created", 1.0)), measured[: n + 1], Clock()).quality for n in range(5)]
    assert [Quality.EXACT, Quality.COLD, Quality.FOREIGN, Quality.DEGRADED, Quality.DISCARDED] == worst
