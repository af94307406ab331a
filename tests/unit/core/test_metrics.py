"""How one Event changes the metrics, and what stands before the first."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from fakes import Telemetered
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, SANDBOX, STARTUP
from khealth_exporter.core.snapshot import EXPIRY
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Completed, Event, Phase
from khealth_exporter.vocabulary.reading import Figure, Reading
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import DISK_EDGES, Step
from khealth_exporter.vocabulary.verdict import Verdict

NOW = 1_800_000_000.0
OURS = {"module": "pods", "routine": "a"}


@dataclass
class Hands:
    """A clock whose hands a test moves."""

    unix: float = NOW

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.unix, utc=lambda: self.unix)


def figures(hands: Hands | None = None) -> Telemetered:
    """Return the metrics of one declared routine."""
    made = Telemetered((hands or Hands()).clock())
    made.metrics.declare("pods", "a", RcScheduler, RcSchedulerSettings(interval=30.0))
    return made


def judged(reason: Reason | None = None, *, at: float = NOW) -> Event:
    """Return an Event that gives a verdict."""
    result = reason.result if reason else Result.SUCCESS
    verdict = Verdict(result, reason)
    return Event("pods", "a", 1, Phase.CLEANUP, result, at - 5, at, 5.0, at, reason, verdict=verdict)


def measured(*measurements: Measurement) -> Event:
    """Return an Event without a verdict."""
    sample = Sample("pod", "uid", "node", measurements, {})
    return Event("pods", "a", 1, Phase.INIT, Result.SUCCESS, NOW, NOW, 5.0, NOW, samples=(sample,))


def completed(duration: float, *qualities: Quality) -> Event:
    """Return an attempt's last Event."""
    return replace(measured(), phase=Phase.CLEANUP, samples=(), completed=Completed(duration, qualities))


@pytest.mark.parametrize(
    "name",
    [
        "khealth_attempts_total",
        "khealth_consecutive_failures",
        "khealth_attempt_duration_seconds_count",
        "khealth_pod_startup_duration_seconds_count",
        "khealth_measurement_uncertainty_seconds_count",
        "khealth_suspended",
    ],
)
def test_series_stand_at_zero_from_the_start(name: str) -> None:
    """A rate needs a beginning: what counts stands at 0 before anything has happened."""
    assert 0.0 == figures().value(name, **OURS)


def test_every_reason_stands_at_zero_in_its_own_counter() -> None:
    """Failures and inconclusive attempts are counted apart, each under its own reasons."""
    made = figures()
    counters = {Result.FAILURE: "khealth_failures_total", Result.INCONCLUSIVE: "khealth_inconclusive_total"}
    for reason in RcScheduler.all_reasons():
        assert 0.0 == made.value(counters[reason.result], **OURS, reason=reason)
        other = next(name for result, name in counters.items() if result is not reason.result)
        assert made.value(other, **OURS, reason=reason) is None


def test_every_step_stands_at_zero() -> None:
    """All steps but `startup`, which has a histogram of its own."""
    made = figures()
    steps = {
        s.name
        for s in RcScheduler.steps
        if made.value("khealth_step_duration_seconds_count", **OURS, step=s.name) == 0.0
    }
    assert {step.name for step in RcScheduler.steps} - {"startup"} == steps


@pytest.mark.parametrize("quality", list(Quality))
def test_every_quality_stands_at_zero(quality: Quality) -> None:
    """Samples of each quality are counted from 0 on."""
    assert 0.0 == figures().value("khealth_samples_total", **OURS, quality=quality)


@pytest.mark.parametrize("kind", ["Pod", "ReplicationController"])
def test_every_kind_stands_at_zero(kind: str) -> None:
    """Objects, and swept ones, of each kind that khealth makes."""
    made = figures()
    assert (0.0, 0.0) == (
        made.value("khealth_objects", kind=kind),
        made.value("khealth_swept_objects_total", kind=kind),
    )


@pytest.mark.parametrize(
    "name", ["khealth_success", "khealth_last_attempt_timestamp_seconds", "khealth_last_success_timestamp_seconds"]
)
def test_what_has_no_value_before_the_first_verdict_is_absent(name: str) -> None:
    """An age of zero, or a success that nobody has seen, would be a lie."""
    assert figures().value(name, **OURS) is None


def test_the_grid_is_told() -> None:
    """`khealth_interval_seconds` is what alerts compare ages with."""
    assert 30.0 == figures().value("khealth_interval_seconds", **OURS)


def test_every_reason_names_its_component() -> None:
    """`khealth_reason_info` joins reasons to components: each reason that has one, once."""
    made = figures()
    placed = {reason: reason.component for reason in Reason if reason.component}
    assert {1.0} == {made.value("khealth_reason_info", reason=r, component=c) for r, c in placed.items()}
    assert float(len(placed)) == made.total("khealth_reason_info")


def test_a_reason_of_many_components_is_joined_to_none() -> None:
    """The step that was slow has the component."""
    assert "slow" not in figures().counted("khealth_reason_info", "reason")


def test_a_success_is_counted() -> None:
    """An attempt more, a last success, and health."""
    made = figures()
    made.metrics.apply(judged(at=NOW - 1))
    assert (1.0, 1.0, NOW - 1, NOW - 1, 0.0) == (
        made.value("khealth_attempts_total", **OURS),
        made.value("khealth_success", **OURS),
        made.value("khealth_last_attempt_timestamp_seconds", **OURS),
        made.value("khealth_last_success_timestamp_seconds", **OURS),
        made.value("khealth_consecutive_failures", **OURS),
    )


def test_a_failure_is_counted_by_its_reason() -> None:
    """An attempt more, a failure more, no health, and no last success."""
    made = figures()
    made.metrics.apply(judged(Reason.SANDBOX_FAILED))
    assert (1.0, 1.0, 0.0, 1.0, None) == (
        made.value("khealth_attempts_total", **OURS),
        made.value("khealth_failures_total", **OURS, reason="sandbox_failed"),
        made.value("khealth_success", **OURS),
        made.value("khealth_consecutive_failures", **OURS),
        made.value("khealth_last_success_timestamp_seconds", **OURS),
    )


def test_an_inconclusive_attempt_leaves_health_as_it_was() -> None:
    """It says nothing of the cluster: neither health nor the failures in a row change."""
    made = figures()
    for event in (judged(Reason.SANDBOX_FAILED), judged(Reason.FORBIDDEN)):
        made.metrics.apply(event)
    assert (2.0, 1.0, 0.0, 1.0) == (
        made.value("khealth_attempts_total", **OURS),
        made.value("khealth_inconclusive_total", **OURS, reason="forbidden"),
        made.value("khealth_success", **OURS),
        made.value("khealth_consecutive_failures", **OURS),
    )


def test_an_inconclusive_attempt_before_any_other_makes_no_health() -> None:
    """`khealth_success` is conclusive or absent."""
    made = figures()
    made.metrics.apply(judged(Reason.FORBIDDEN))
    assert made.value("khealth_success", **OURS) is None


def test_a_success_ends_a_row_of_failures() -> None:
    """Consecutive failures are those since the last success."""
    made = figures()
    for event in (judged(Reason.POD_LOST), judged(Reason.POD_LOST), judged()):
        made.metrics.apply(event)
    assert 0.0 == made.value("khealth_consecutive_failures", **OURS)


@given(st.lists(st.sampled_from([None, *Reason]), max_size=20))
def test_counters_add_up(reasons: list[Reason | None]) -> None:
    """After any series of verdicts: attempts are successes, failures and inconclusive ones together."""
    made = figures()
    for reason in reasons:
        made.metrics.apply(judged(reason))
    failures, inconclusive = made.total("khealth_failures_total"), made.total("khealth_inconclusive_total")
    assert len(reasons) == made.value("khealth_attempts_total", **OURS)
    assert len(reasons) - reasons.count(None) == failures + inconclusive


def test_an_event_without_a_verdict_counts_no_attempt() -> None:
    """What goes wrong in cleanup after an earlier failure changes no counter."""
    made = figures()
    made.metrics.apply(Event("pods", "a", 1, Phase.CLEANUP, Result.FAILURE, NOW, NOW, 1.0, NOW, Reason.POD_NOT_DELETED))
    assert (0.0, 0.0) == (made.total("khealth_attempts_total"), made.total("khealth_failures_total"))


@pytest.mark.parametrize(("age", "value"), [(EXPIRY * 30.0, 1.0), (EXPIRY * 30.0 + 0.1, None)])
def test_health_expires_after_three_intervals(age: float, value: float | None) -> None:
    """A verdict that is too old says nothing of now: the series is absent, not 0."""
    hands = Hands()
    made = figures(hands)
    made.metrics.apply(judged())
    hands.unix += age
    assert value == made.value("khealth_success", **OURS)


def test_health_comes_back_with_the_next_verdict() -> None:
    """Expired health is no end."""
    hands = Hands()
    made = figures(hands)
    made.metrics.apply(judged())
    hands.unix += 1000.0
    made.metrics.apply(judged(Reason.POD_LOST, at=hands.unix))
    assert 0.0 == made.value("khealth_success", **OURS)


@pytest.mark.parametrize(
    ("quality", "entered"),
    [
        (Quality.EXACT, 1.0),
        (Quality.DEGRADED, 1.0),
        (Quality.COLD, 0.0),
        (Quality.FOREIGN, 0.0),
        (Quality.DISCARDED, 0.0),
    ],
)
@pytest.mark.parametrize("step", [CREATE, STARTUP], ids=lambda step: step.name)
def test_cold_foreign_and_discarded_steps_are_left_out(step: Step, quality: Quality, entered: float) -> None:
    """What may mislead enters no histogram of durations; its error bar is known all the same."""
    made = figures()
    made.metrics.apply(measured(Measurement(step, 0.5, 0.01, quality)))
    name = "khealth_pod_startup_duration_seconds" if step is STARTUP else "khealth_step_duration_seconds"
    labels = OURS if step is STARTUP else {**OURS, "step": step.name}
    assert (entered, 1.0) == (
        made.value(f"{name}_count", **labels),
        made.value("khealth_measurement_uncertainty_seconds_count", **OURS),
    )


def test_a_censored_step_counts_with_the_time_waited() -> None:
    """Otherwise an outage would improve the p99."""
    made = figures()
    made.metrics.apply(measured(Measurement(SANDBOX, 18.0, 0.0, censored=True)))
    assert 18.0 == made.value("khealth_step_duration_seconds_sum", **OURS, step="sandbox")


def test_measurements_of_the_attempt_itself_count() -> None:
    """`accept` belongs to no pod."""
    made = figures()
    made.metrics.apply(
        Event(
            "pods",
            "a",
            1,
            Phase.INIT,
            Result.SUCCESS,
            NOW,
            NOW,
            1.0,
            NOW,
            measurements=(Measurement(ACCEPT, 0.5, 0.0),),
        )
    )
    assert 0.5 == made.value("khealth_step_duration_seconds_sum", **OURS, step="accept")


@pytest.mark.parametrize("quality", list(Quality))
def test_an_ended_attempts_samples_are_counted_by_quality(quality: Quality) -> None:
    """What was left out of the histograms is counted."""
    made = figures()
    made.metrics.apply(completed(4.0, quality))
    assert {str(quality): 1.0} == made.counted("khealth_samples_total", "quality")


def test_an_ended_attempts_duration_is_observed() -> None:
    """Init and cleanup, the hold left out: the runner says how long."""
    made = figures()
    made.metrics.apply(completed(4.0))
    assert 4.0 == made.value("khealth_attempt_duration_seconds_sum", **OURS)


def test_steps_have_edges_at_the_objectives() -> None:
    """1 s and 5 s are edges: the objectives' share can be read without interpolation."""
    made = figures()
    made.metrics.apply(measured(Measurement(STARTUP, 5.0, 0.0)))
    assert (0.0, 1.0) == (
        made.value("khealth_pod_startup_duration_seconds_bucket", **OURS, le="4.0"),
        made.value("khealth_pod_startup_duration_seconds_bucket", **OURS, le="5.0"),
    )


def test_requests_are_counted_by_their_answer() -> None:
    """`none` stands for no answer; the duration counts in any case."""
    made = figures()
    made.metrics.request("list", "pods", "none", 10.0)
    labels = {"verb": "list", "resource": "pods"}
    assert (1.0, 10.0) == (
        made.value("khealth_api_requests_total", **labels, code="none"),
        made.value("khealth_api_request_duration_seconds_sum", **labels),
    )


@pytest.mark.parametrize(("codes", "answered"), [([], False), (["none"], False), (["none", "500", "none"], True)])
def test_it_is_known_whether_the_server_ever_said_a_word(codes: list[str], answered: bool) -> None:
    """Any code at all is a word."""
    made = figures()
    for code in codes:
        made.metrics.request("list", "pods", code, 1.0)
    assert answered is made.metrics.answered


def test_who_leads_and_since_when_is_told() -> None:
    """It can be lost, and won again."""
    hands = Hands()
    made = figures(hands)
    names = ("khealth_leader", "khealth_leader_since_timestamp_seconds")
    seen = [tuple(made.value(name) for name in names)]
    for leads in (True, False, True):
        hands.unix += 10.0
        made.metrics.leading(leads=leads)
        seen.append(tuple(made.value(name) for name in names))
    assert [(0.0, 0.0), (1.0, NOW + 10.0), (0.0, 0.0), (1.0, NOW + 30.0)] == seen


def test_telemetry_is_counted() -> None:
    """Restarts, lag, busy time, swept and known objects each have their series."""
    made = figures()
    made.metrics.watch_restarted("silent")
    made.metrics.watch_lag(0.25)
    made.metrics.loop_busy(0.5)
    made.metrics.swept("Pod")
    made.metrics.objects("Pod", 7)
    assert (1.0, 0.25, 0.5, 1.0, 7.0) == (
        made.value("khealth_watch_restarts_total", cause="silent"),
        made.value("khealth_watch_lag_seconds_sum"),
        made.value("khealth_event_loop_busy_seconds_sum"),
        made.value("khealth_swept_objects_total", kind="Pod"),
        made.value("khealth_objects", kind="Pod"),
    )


RESTING = RcSchedulerSettings(interval=30.0, suspend=True)


def everything(made: Telemetered) -> set[str]:
    """Return the names of all series of our routine."""
    samples = [s for family in made.registry.collect() for s in family.samples]
    return {s.name for s in samples if OURS.items() <= s.labels.items()}


@pytest.mark.parametrize("reason", [None, Reason.SANDBOX_FAILED])
def test_what_is_suspended_has_no_verdict(reason: Reason | None) -> None:
    """At once, not after three intervals: no alert speaks of it. What was counted stays counted."""
    made = figures()
    made.metrics.apply(judged(reason))
    made.metrics.declare("pods", "a", RcScheduler, RESTING)
    assert (1.0, 0.0, 1.0) == (
        made.value("khealth_suspended", **OURS),
        made.value("khealth_consecutive_failures", **OURS),
        made.value("khealth_attempts_total", **OURS),
    )
    assert not {name for name in everything(made) if "success" in name or "last" in name}


def test_an_attempt_that_a_suspension_ends_is_counted_and_no_more() -> None:
    """Its cleanup may fail long after: that is no verdict of what is suspended."""
    made = figures()
    made.metrics.declare("pods", "a", RcScheduler, RESTING)
    made.metrics.apply(judged(Reason.POD_NOT_DELETED))
    assert (1.0, 1.0, 0.0) == (
        made.value("khealth_attempts_total", **OURS),
        made.value("khealth_failures_total", **OURS, reason="pod_not_deleted"),
        made.value("khealth_consecutive_failures", **OURS),
    )
    assert not {name for name in everything(made) if "success" in name or "last" in name}


def test_what_is_resumed_has_a_verdict_when_it_is_judged_again() -> None:
    """What was found before the suspension does not come back."""
    made = figures()
    made.metrics.apply(judged())
    for settings in (RESTING, RcSchedulerSettings(interval=30.0)):
        made.metrics.declare("pods", "a", RcScheduler, settings)
    before = made.value("khealth_success", **OURS)
    made.metrics.apply(judged())
    assert (None, 1.0, 0.0) == (
        before,
        made.value("khealth_success", **OURS),
        made.value("khealth_suspended", **OURS),
    )


def test_a_routine_that_is_no_more_has_no_series() -> None:
    """Not one, whatever labels it has besides; those of its neighbours stay."""
    made = figures()
    made.metrics.declare("pods", "b", RcScheduler, RESTING)
    for event in (judged(), judged(Reason.POD_LOST), measured(Measurement(CREATE, 1.0, 0.1))):
        made.metrics.apply(event)
    made.metrics.forget("pods", "a")
    assert set() == everything(made)
    assert 1.0 == made.value("khealth_suspended", module="pods", routine="b")


def test_a_routine_that_comes_back_begins_at_zero() -> None:
    """Its old verdict, and that it was suspended, are forgotten."""
    made = figures()
    made.metrics.apply(judged())
    made.metrics.declare("pods", "a", RcScheduler, RESTING)
    made.metrics.forget("pods", "a")
    made.metrics.declare("pods", "a", RcScheduler, RcSchedulerSettings())
    fresh = made.value("khealth_success", **OURS), made.value("khealth_attempts_total", **OURS)
    made.metrics.apply(judged())
    assert ((None, 0.0), 1.0) == (fresh, made.value("khealth_success", **OURS))


def test_health_expires_by_the_interval_that_is_in_force() -> None:
    """A routine that is to run more often is also to be judged more often."""
    hands = Hands()
    made = figures(hands)
    made.metrics.apply(judged())
    hands.unix += 40.0
    made.metrics.declare("pods", "a", RcScheduler, RcSchedulerSettings(interval=13.0))
    shorter = made.value("khealth_success", **OURS)
    made.metrics.declare("pods", "a", RcScheduler, RcSchedulerSettings(interval=14.0))
    assert (None, 1.0) == (shorter, made.value("khealth_success", **OURS))


def test_a_refused_configuration_is_told_and_leaves_the_time_of_the_last_good_one() -> None:
    """Prometheus' own convention: a gauge of success, and when there last was one."""
    hands = Hands()
    made = figures(hands)
    names = ("khealth_config_last_reload_successful", "khealth_config_last_reload_success_timestamp_seconds")
    seen = []
    for well in (True, False, True):
        hands.unix += 10.0
        made.metrics.loaded(well=well)
        seen.append(tuple(made.value(name) for name in names))
    assert [(1.0, NOW + 10.0), (0.0, NOW + 10.0), (1.0, NOW + 30.0)] == seen


class Disk(RcScheduler):
    """A routine whose steps have the names of a pod's, and are others."""

    name: ClassVar[str] = "disk"
    steps: ClassVar[tuple[Step, ...]] = (
        Step("startup", Component.STORAGE, "", DISK_EDGES),
        Step("create", Component.STORAGE, "", DISK_EDGES),
    )
    figures: ClassVar[tuple[Figure, ...]] = (Figure("disk_free_bytes", "Free bytes."),)


DISK = {"module": "disks", "routine": "a"}


def with_disk() -> Telemetered:
    """Return the metrics of a routine of pods and of one of disks."""
    made = figures()
    made.metrics.declare("disks", "a", Disk, RcSchedulerSettings(interval=30.0))
    return made


def of_disk(*measurements: Measurement, readings: tuple[Reading, ...] = ()) -> Event:
    """Return an Event of the routine of disks."""
    return replace(measured(*measurements), module="disks", readings=readings)


def test_only_the_sli_is_the_sli() -> None:
    """A step that happens to be called `startup` has its own series, and its routine none of the pod-startup SLI."""
    made = with_disk()
    made.metrics.apply(of_disk(Measurement(Disk.steps[0], 0.002, 0.0)))
    assert (1.0, None, 0.0) == (
        made.value("khealth_step_duration_seconds_count", **DISK, step="startup"),
        made.value("khealth_pod_startup_duration_seconds_count", **DISK),
        made.value("khealth_pod_startup_duration_seconds_count", **OURS),
    )


@pytest.mark.parametrize(("labels", "step"), [(OURS, CREATE), (DISK, Disk.steps[1])], ids=["pods", "disks"])
def test_each_routines_step_has_its_own_edges(labels: Mapping[str, str], step: Step) -> None:
    """Two routines may each have a `create`."""
    made = with_disk()
    edges = {
        sample.labels["le"]
        for family in made.registry.collect()
        for sample in family.samples
        if sample.name == "khealth_step_duration_seconds_bucket"
        and {**labels, "step": "create"}.items() <= sample.labels.items()
    }
    assert {*map(float, step.edges), math.inf} == set(map(float, edges))


@given(st.lists(st.floats(0, 400, allow_nan=False), max_size=20))
def test_a_steps_buckets_count_what_is_not_above_their_edges(durations: list[float]) -> None:
    """An edge belongs to its bucket, and every bucket holds the ones below it."""
    made = figures()
    made.metrics.apply(measured(*(Measurement(CREATE, seconds, 0.0) for seconds in durations)))
    for edge in (*CREATE.edges, math.inf):
        found = made.value(
            "khealth_step_duration_seconds_bucket",
            **OURS,
            step="create",
            le="+Inf" if edge == math.inf else str(float(edge)),
        )
        assert sum(seconds <= edge for seconds in durations) == found
    total = made.value("khealth_step_duration_seconds_sum", **OURS, step="create")
    assert sum(durations) == pytest.approx(total)


def test_every_step_names_its_component() -> None:
    """`khealth_step_info` joins steps to components, of each routine its own."""
    made = with_disk()
    for labels, steps in ((OURS, RcScheduler.steps), (DISK, Disk.steps)):
        told = [made.value("khealth_step_info", **labels, step=s.name, component=s.component) for s in steps]
        assert [1.0] * len(steps) == told
    assert float(len(RcScheduler.steps) + len(Disk.steps)) == made.total("khealth_step_info")


FREE = Disk.figures[0]


def test_a_reading_is_a_gauge_of_its_routine() -> None:
    """Absent before the first; then it is the latest."""
    made = with_disk()
    seen = [made.value("khealth_disk_free_bytes", **DISK)]
    for value in (7.0, 5.0):
        made.metrics.apply(of_disk(readings=(Reading(FREE, value),)))
        seen.append(made.value("khealth_disk_free_bytes", **DISK))
    assert [None, 7.0, 5.0] == seen


def test_two_routines_share_a_figure() -> None:
    """Each has its own value; one that goes takes only its own along."""
    made = with_disk()
    made.metrics.declare("disks", "b", Disk, RcSchedulerSettings())
    made.metrics.apply(of_disk(readings=(Reading(FREE, 1.0),)))
    made.metrics.apply(replace(of_disk(readings=(Reading(FREE, 2.0),)), routine="b"))
    made.metrics.forget("disks", "a")
    found = [made.value("khealth_disk_free_bytes", module="disks", routine=label) for label in "ab"]
    assert [None, 2.0] == found


def test_what_is_suspended_has_no_reading() -> None:
    """Nor one that its last attempt still makes: no alert speaks of it."""
    made = with_disk()
    reading = of_disk(readings=(Reading(FREE, 1.0),))
    made.metrics.apply(reading)
    made.metrics.declare("disks", "a", Disk, RESTING)
    seen = [made.value("khealth_disk_free_bytes", **DISK)]
    made.metrics.apply(reading)
    seen.append(made.value("khealth_disk_free_bytes", **DISK))
    made.metrics.declare("disks", "a", Disk, RcSchedulerSettings())
    made.metrics.apply(reading)
    assert [None, None, 1.0] == [*seen, made.value("khealth_disk_free_bytes", **DISK)]


@dataclass
class Wall(Hands):
    """A clock whose wall time can be set."""

    set: float = 0.0

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.unix, utc=lambda: self.unix + self.set)


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
@pytest.mark.parametrize(("age", "value"), [(EXPIRY * 30.0, 1.0), (EXPIRY * 30.0 + 0.1, None)])
def test_health_expires_by_the_time_that_passes(age: float, value: float | None, set_by: float) -> None:
    """Setting the machine's clock neither keeps a stuck routine well nor ends a running one's health."""
    wall = Wall()
    made = Telemetered(clock := wall.clock())
    made.metrics.declare("pods", "a", RcScheduler, RcSchedulerSettings(interval=30.0))
    made.metrics.apply(judged())
    wall.unix, wall.set = wall.unix + age, set_by
    clock.anchor()
    assert value == made.value("khealth_success", **OURS)


@given(st.lists(st.sampled_from([*CREATE.edges, 0.0, 0.0071, 3.7, 1000.0]), min_size=1))
def test_a_distribution_counts_as_its_durations_do(durations: list[float]) -> None:
    """In the same buckets; what a canary counts is no other figure than what khealth counts."""
    counts = [0] * (len(CREATE.edges) + 1)
    for seconds in durations:
        counts[bisect_left(CREATE.edges, seconds)] += 1
    found = Distribution(CREATE, tuple(counts), sum(durations), 0.001)
    in_bulk, one_by_one = figures(), figures()
    in_bulk.metrics.apply(replace(measured(), samples=(), distributions=(found,)))
    one_by_one.metrics.apply(measured(*(Measurement(CREATE, seconds, 0.001) for seconds in durations)))
    name = "khealth_step_duration_seconds"
    for edge in (*map(floatToGoString, CREATE.edges), "+Inf"):
        expected = one_by_one.value(f"{name}_bucket", **OURS, step="create", le=edge)
        assert expected == in_bulk.value(f"{name}_bucket", **OURS, step="create", le=edge)
    assert in_bulk.value(f"{name}_sum", **OURS, step="create") == pytest.approx(sum(durations))


def test_a_distribution_has_one_uncertainty() -> None:
    """The largest, however many durations it counts: an observation for each would cost what the bulk saves."""
    made = figures()
    found = Distribution(CREATE, (1000,) * (len(CREATE.edges) + 1), 1.0, 0.003)
    made.metrics.apply(replace(measured(), samples=(), distributions=(found,)))
    name = "khealth_measurement_uncertainty_seconds"
    assert (1.0, 0.003) == (made.value(f"{name}_count", **OURS), made.value(f"{name}_sum", **OURS))
