"""rcscheduler from its first request to its metrics, on a small cluster."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from documents import unschedulable
from fakes import FORBIDDEN, UNREACHABLE, Json, hanging, refusing
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small_cluster import CONTROLLERS, PODS, Scene, scene
from virtual_time import run, virtual

from khealth_exporter import pods
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.collector import Collector
from khealth_exporter.event import Permission, Quality, Reason, Result
from khealth_exporter.routine import LEEWAY, RoutineConfig
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.snapshot import RoutineStatus, State

OURS = {"module": "rcscheduler", "routine": "a"}


@dataclass
class Ran:
    """What came of running rcscheduler for a while."""

    status: RoutineStatus
    left: list[str]
    series: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def reasons(self) -> list[Reason | None]:
        return [attempt.verdict.reason for attempt in self.status.attempts if attempt.verdict]


async def ran(here: Scene, *, seconds: float = 0.0, **chosen: Any) -> Ran:
    """Run rcscheduler for some seconds, or once."""
    collector = Collector("rcscheduler", here.figures.metrics, here.clock)
    collector.want([RoutineConfig("rcscheduler", "a", RcScheduler, RcSchedulerSettings(**chosen))], here.context)
    if seconds:
        here.small.later(seconds, collector.terminate)
    await collector.start(once=not seconds)
    (status,) = collector.status().routines
    return Ran(status, here.small.left)


@virtual
async def test_a_well_cluster_is_a_success() -> None:
    """Pods come, are held, and go; nothing is left."""
    async with scene() as here:
        result = await ran(here)
        assert (State.WELL, [None], []) == (result.status.state, result.reasons, result.left)


@virtual
async def test_attempts_follow_each_other() -> None:
    """One a minute, each with pods of its own, each leaving nothing."""
    async with scene() as here:
        result = await ran(here, seconds=200.0)
        assert ([None] * 4, []) == (result.reasons, result.left)
        names = [asked.body["metadata"]["name"] for asked in here.api.named("create")]
        assert [f"khealth-a-run-{number}" for number in (1, 2, 3, 4)] == names


@virtual
async def test_the_pods_are_held() -> None:
    """For the TTL, from all-Ready on."""
    async with scene() as here:
        await ran(here, seconds=40.0, pod_ttl=12.0)
        (deleted,), (created,) = here.api.named("delete"), here.api.named("create")
        assert 12.0 == pytest.approx(deleted.at - created.at, abs=1.0)


@virtual
async def test_every_step_has_its_figure() -> None:
    """Three pods' steps, one accept, and the SLI apart; the first startup on each node is cold."""
    async with scene() as here:
        await ran(here)
        count = "khealth_step_duration_seconds_count"
        steps = {step.name: here.figures.value(count, **OURS, step=step.name) for step in RcScheduler.steps}
        expected = dict.fromkeys(("create", "schedule", "sandbox", "start", "ready", "delete"), 3.0)
        assert {**expected, "accept": 1.0, "startup": None} == steps
        assert 3.0 == here.figures.value("khealth_samples_total", **OURS, quality="cold")
        assert 0.0 == here.figures.value("khealth_pod_startup_duration_seconds_count", **OURS)


@virtual
async def test_later_startups_are_not_cold() -> None:
    """From the second attempt on the image is there."""
    async with scene() as here:
        await ran(here, seconds=100.0)
        assert 3.0 == here.figures.value("khealth_pod_startup_duration_seconds_count", **OURS)


@virtual
async def test_init_and_cleanup_make_one_sample_of_a_pod() -> None:
    """From create to delete, with every milestone."""
    async with scene() as here:
        result = await ran(here)
        samples = result.status.attempts[0].samples
        assert 3 == len(samples)
        steps = ["create", "schedule", "sandbox", "start", "ready", "startup", "delete"]
        assert [steps] * 3 == [[m.step for m in sample.measurements] for sample in samples]
        assert None not in [time for sample in samples for time in sample.observed.values()]
        assert {Quality.COLD} == {sample.quality for sample in samples}


@virtual
async def test_a_failure_is_counted_at_its_deadline() -> None:
    """The pods cannot be scheduled: failing at 20 s, cleaned up, and tried again in the next slot."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(3), "created")
        here.small.change = dict.fromkeys(range(3), unschedulable)
        result = await ran(here, seconds=70.0)
        assert ([Reason.POD_UNSCHEDULABLE, Reason.INTERRUPTED], []) == (result.reasons, result.left)
        assert result.status.last_failure is not None
        assert result.status.last_failure.judged is not None
        assert 20.0 == pytest.approx(result.status.last_failure.judged - result.status.last_failure.began, abs=0.1)


@virtual
async def test_a_pod_lost_in_the_hold_fails_at_once() -> None:
    """Not at the next poll: the rest between two polls ends with the news."""
    async with scene() as here:
        here.small.later(3.0, here.small.take, 0)
        result = await ran(here, seconds=30.0)
        failed = result.status.last_failure
        assert failed is not None
        assert failed.judged is not None
        assert (Reason.POD_LOST, True) == (result.reasons[0], failed.judged - failed.began < 4.5)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refusing("list", "watch", by=FORBIDDEN), Reason.FORBIDDEN),
        (refusing("create", by=FORBIDDEN), Reason.FORBIDDEN),
        (refusing("list", "watch", by=UNREACHABLE), Reason.API_UNREACHABLE),
        (refusing("create", by=UNREACHABLE), Reason.API_UNREACHABLE),
        (hanging("create"), Reason.API_TIMEOUT),
        (hanging("list", "watch"), Reason.API_TIMEOUT),
    ],
)
def test_the_api_servers_own_trouble_has_its_own_reasons(fault: Any, reason: Reason) -> None:
    """Nobody behind it is blamed."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.faults.append(fault)
            assert [reason] == (await ran(here)).reasons

    run(scenario())


@virtual
async def test_a_stop_in_the_hold_cleans_up() -> None:
    """The first signal never cuts a cleanup short, and what was found stands."""
    async with scene() as here:
        result = await ran(here, seconds=5.0)
        assert ([None], []) == (result.reasons, result.left)


@virtual
async def test_a_stop_in_init_cleans_up() -> None:
    """Whatever was created by then goes."""
    async with scene() as here:
        result = await ran(here, seconds=0.3)
        assert ([Reason.INTERRUPTED], []) == (result.reasons, result.left)


@virtual
async def test_what_a_cleanup_could_not_remove_is_swept() -> None:
    """Once the attempt is over, the sweeper takes what is left of it."""
    async with scene() as here:
        here.api.faults.append(refusing("delete", by=FORBIDDEN))
        result = await ran(here)
        here.api.faults.clear()
        await Sweeper(here.cluster).sweep()
        await asyncio.sleep(1.0)
        assert (3 + 1, []) == (len(result.left), here.small.left)


@virtual
async def test_two_routines_do_not_disturb_each_other() -> None:
    """Of one kind, in one namespace, under two names."""
    async with scene() as here:
        collector = Collector("rcscheduler", here.figures.metrics, here.clock)
        routines = [RoutineConfig("rcscheduler", label, RcScheduler, RcSchedulerSettings()) for label in "ab"]
        collector.want(routines, here.context)
        here.small.later(100.0, collector.terminate)
        await collector.start()
        assert [State.WELL] * 2 == [status.state for status in collector.status().routines]


STOPS = st.floats(0.0, 70.0)
STAGES = st.sampled_from(["none", "created", "scheduled", "accepted", "sandboxed", "started"])
SPELLS = st.lists(
    st.tuples(st.sampled_from(["list", "watch", "create", "delete", "get"]), st.floats(0, 60), st.floats(0.01, 15))
)


@given(STOPS, st.dictionaries(st.integers(0, 2), STAGES, max_size=2), SPELLS)
def test_whatever_happens_it_is_counted_and_cleaned_up(
    seconds: float, stuck: dict[int, str], spells: list[tuple[str, float, float]]
) -> None:
    """Any outages, any stuck pods, a stop at any time: counters add up, and what is left is the sweeper's to take."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck = stuck
            for verb, begin, length in spells:
                fault = refusing(verb, by=UNREACHABLE)
                here.small.later(begin, here.api.faults.append, fault)
                here.small.later(begin + length, here.api.faults.remove, fault)
            result = await ran(here, seconds=seconds + 0.001)
            await asyncio.sleep(100.0)
            await Sweeper(here.cluster).sweep()
            await asyncio.sleep(1.0)
            assert [] == here.small.left
            assert len(result.status.attempts) == len(result.reasons)
            successes = result.reasons.count(None)
            failures = here.figures.total("khealth_failures_total")
            inconclusive = here.figures.total("khealth_inconclusive_total")
            assert here.figures.total("khealth_attempts_total") == successes + failures + inconclusive
            assert Reason.INTERNAL_ERROR not in result.reasons

    run(scenario())


def manifest(**chosen: Any) -> Json:
    """Return what rcscheduler sends to create its controller."""

    async def scenario() -> Json:
        async with scene() as here:
            await ran(here, **chosen)
            return here.api.named("create")[0].body

    return run(scenario())


def test_the_selector_is_this_attempts_alone() -> None:
    """No other attempt's pods are ever counted as ours."""
    sent = manifest()
    labels = {
        "app.kubernetes.io/managed-by": "khealth",
        "khealth.io/routine": "a",
        "khealth.io/run": "run",
        "khealth.io/attempt": "1",
    }
    assert labels == sent["spec"]["selector"] == sent["spec"]["template"]["metadata"]["labels"]


def test_everything_says_how_long_it_may_live() -> None:
    """The controller and its pods: init, hold, cleanup and some leeway."""
    sent = manifest(timeout=20.0, pod_ttl=30.0)
    expected = str(int(2 * 20.0 + 30.0 + LEEWAY))
    ages = [part["metadata"]["annotations"]["khealth.io/max-age"] for part in (sent, sent["spec"]["template"])]
    assert [expected] * 2 == ages


def test_as_many_pods_are_asked_for_as_configured() -> None:
    """`replicas` is the controller's own."""
    assert 5 == manifest(replicas=5)["spec"]["replicas"]


def test_its_hold_and_pause_come_from_its_settings() -> None:
    """`pod_ttl` and `poll_interval`."""
    chosen = RcSchedulerSettings(pod_ttl=7.0, poll_interval=2.0)
    assert (7.0, 2.0) == (chosen.hold, chosen.pause)


@pytest.mark.parametrize("replicas", [0, -1, 1001, 2.5])
def test_absurd_numbers_of_pods_are_refused(replicas: float) -> None:
    """At least one, at most a thousand, and whole ones."""
    with pytest.raises(ValidationError, match="replicas"):
        RcSchedulerSettings.model_validate({"replicas": replicas})


def test_it_declares_what_it_may_say() -> None:
    """Steps and reasons bound the labels; the permissions are what it needs besides the core's."""
    assert (pods.STEPS, pods.REASONS) == (RcScheduler.steps, RcScheduler.reasons)
    assert {("create", CONTROLLERS), ("get", CONTROLLERS), ("delete", CONTROLLERS), ("delete", PODS)} == {
        (needed.verb, needed.resource) for needed in RcScheduler.permissions
    }
    assert all(isinstance(needed, Permission) and needed.scope == "namespace" for needed in RcScheduler.permissions)


@virtual
async def test_its_verdicts_are_of_its_reasons() -> None:
    """What it says is in the closed list."""
    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        result = await ran(here)
        assert set(result.reasons) <= set(RcScheduler.reasons)
        assert [Result.FAILURE] == [attempt.verdict.result for attempt in result.status.attempts if attempt.verdict]
