"""rcscheduler from its first request to its metrics, on a small cluster."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from documents import unschedulable
from fakes import FORBIDDEN, GONE, UNREACHABLE, Json, hanging, refusing
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small_cluster import CONTROLLERS, PODS, Scene, scene
from structlog.testing import capture_logs
from virtual_time import BEGINNING, run, virtual

from khealth_exporter.canaries.pod_spec import UNTOUCHED_LABELS, PodSettings
from khealth_exporter.cluster.ownership import MAX_AGE
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import LEEWAY, Memory, Routine, RoutineConfig, RoutineSettings
from khealth_exporter.core.snapshot import RoutineStatus, State
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Quality
from khealth_exporter.vocabulary.step import Step


class Other(Routine[RoutineSettings]):
    """A routine that needs no right."""

    name: ClassVar[str] = "other"
    steps: ClassVar[tuple[Step, ...]] = ()
    reasons: ClassVar[tuple[Reason, ...]] = ()
    permissions: ClassVar[tuple[Permission, ...]] = ()
    Settings: ClassVar[type[RoutineSettings]] = RoutineSettings

    async def init(self) -> None:
        """It is well."""

    async def poll(self) -> None:
        """It is well."""

    async def cleanup(self) -> None:
        """There is nothing to remove."""


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


def sweeper(here: Scene) -> Sweeper:
    """Return a sweeper of what rcscheduler creates."""
    made = Sweeper(here.cluster)
    made.cover(RcScheduler.sweeps())
    return made


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
        assert [f"khealth-rcscheduler-a-run-{number}" for number in (1, 2, 3, 4)] == names


@virtual
async def test_the_pods_are_held() -> None:
    """For the TTL, from all-Ready on."""
    async with scene() as here:
        await ran(here, seconds=40.0, pod_ttl=12.0)
        (deleted,), (created,) = here.api.named("delete"), here.api.named("create")
        assert 12.0 == pytest.approx(deleted.at - created.at, abs=1.0)


RIGHTS = RcScheduler.all_permissions()
NEEDED_BY_EVERY_ATTEMPT = (
    ("list", PODS), ("watch", PODS), ("list", CONTROLLERS), ("watch", CONTROLLERS),
    ("create", CONTROLLERS), ("delete", CONTROLLERS),
)  # fmt: skip
NEEDED_BY_A_BROKEN_CLUSTER = (("get", CONTROLLERS), ("delete", PODS), ("list", "nodes"), ("list", "events"))


def test_what_becomes_of_an_attempt_is_known_for_every_right() -> None:
    """None is asked for that is in neither table."""
    asked_for = {(right.verb, right.resource) for right in RIGHTS}
    assert asked_for == {*NEEDED_BY_EVERY_ATTEMPT, *NEEDED_BY_A_BROKEN_CLUSTER}


@pytest.mark.parametrize(("verb", "resource"), NEEDED_BY_EVERY_ATTEMPT)
def test_without_a_right_every_attempt_is_inconclusive_and_names_it(verb: str, resource: str) -> None:
    """Counted as forbidden and never as the cluster's failure; and the other routine goes on."""

    async def scenario() -> None:
        async with scene() as here:
            await asyncio.sleep(1.0)
            here.api.faults.append(refusing(verb, resource=resource, by=FORBIDDEN))
            here.api.cut(GONE)
            await asyncio.sleep(1.0)
            collector = Collector("rcscheduler", here.figures.metrics, here.clock)
            wanted = [
                RoutineConfig("rcscheduler", "a", RcScheduler, RcSchedulerSettings()),
                RoutineConfig("rcscheduler", "other", Other, RoutineSettings()),
            ]
            collector.want(wanted, here.context)
            here.small.later(200.0, collector.terminate)
            await collector.start()
            ours, other = collector.status().routines
            reasons = {attempt.verdict.reason for attempt in ours.attempts if attempt.verdict}
            assert ({Reason.FORBIDDEN}, State.WELL, 4) == (reasons, other.state, len(other.attempts))
            assert [f"khealth may not {verb} {resource} in namespace khealth"] == [
                str(d) for d in here.cluster.denied()
            ]
            forbidden = here.figures.value("khealth_inconclusive_total", **OURS, reason="forbidden")
            assert (4.0, 0.0) == (forbidden, here.figures.value("khealth_consecutive_failures", **OURS))

    run(scenario())


@pytest.mark.parametrize(("verb", "resource"), NEEDED_BY_EVERY_ATTEMPT)
def test_a_right_that_is_lacking_is_not_asked_for_in_a_hot_loop(verb: str, resource: str) -> None:
    """A request every few seconds, and once in the log; the first attempt after it is given back is well."""

    async def scenario() -> None:
        async with scene() as here:
            await asyncio.sleep(1.0)
            with capture_logs() as logs:
                here.api.faults.append(refusing(verb, resource=resource, by=FORBIDDEN))
                here.api.cut(GONE)
                await asyncio.sleep(1.0)
                here.small.later(590.0, here.api.faults.clear)
                async with asyncio.TaskGroup() as group:
                    sweeping = group.create_task(sweeper(here).run())
                    result = await ran(here, seconds=650.0)
                    sweeping.cancel()
            asked = [asked for asked in here.api.named(verb, resource) if asked.at < BEGINNING + 590.0]
            told = [log["event"].partition(":")[0] for log in logs if log["event"].startswith("khealth may")]
            where = f"{verb} {resource} in namespace khealth"
            assert ([f"khealth may not {where}", f"khealth may {where} again"], True) == (told, len(asked) <= 590 / 2.5)
            assert (State.WELL, [], ()) == (result.status.state, here.small.left, here.cluster.denied())

    run(scenario())


@pytest.mark.parametrize(("verb", "resource"), NEEDED_BY_A_BROKEN_CLUSTER)
def test_what_only_a_broken_cluster_takes_is_not_missed_on_a_healthy_one(verb: str, resource: str) -> None:
    """Nothing is asked for in advance."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.faults.append(refusing(verb, resource=resource, by=FORBIDDEN))
            result = await ran(here)
            assert ([None], []) == (result.reasons, result.left)

    run(scenario())


@virtual
async def test_without_the_right_to_get_nobody_is_blamed_for_pods_that_are_missing() -> None:
    """The controller's own status would say why: without it khealth cannot tell, and says what it lacks."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(3), "none")
        here.api.faults.append(refusing("get", resource=CONTROLLERS, by=FORBIDDEN))
        result = await ran(here)
        assert ([Reason.FORBIDDEN], []) == (result.reasons, result.left)


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
async def test_what_an_injected_init_container_makes_longer_enters_no_histogram() -> None:
    """The SLI excludes init containers; the steps before and after are the cluster's, and count."""
    async with scene() as here:
        here.small.injected = {"initContainers": [{"name": "istio-init", "image": "proxy"}]}
        await ran(here, seconds=100.0)
        count = "khealth_step_duration_seconds_count"
        steps = {
            name: here.figures.value(count, **OURS, step=name) for name in ("schedule", "sandbox", "start", "ready")
        }
        assert {"schedule": 6.0, "sandbox": 6.0, "start": 0.0, "ready": 6.0} == steps
        assert 0.0 == here.figures.value("khealth_pod_startup_duration_seconds_count", **OURS)
        assert 6.0 == here.figures.value("khealth_samples_total", **OURS, quality="foreign")


@virtual
async def test_a_single_attempt_grades_what_was_injected_too() -> None:
    """`khealth once` has no memory of images, and needs none for this."""
    async with scene() as here:
        here.small.injected = {"initContainers": [{"name": "proxy", "image": "proxy", "restartPolicy": "Always"}]}
        here.context = replace(here.context, memory=Memory(lasting=False))
        result = await ran(here)
        samples = result.status.attempts[0].samples
        assert {("foreign", ("sidecar proxy",))} == {(sample.quality.value, sample.injected) for sample in samples}


@virtual
async def test_init_and_cleanup_make_one_sample_of_a_pod() -> None:
    """From create to delete, with every milestone."""
    async with scene() as here:
        result = await ran(here)
        samples = result.status.attempts[0].samples
        assert 3 == len(samples)
        steps = ["create", "schedule", "sandbox", "start", "ready", "startup", "delete"]
        assert [steps] * 3 == [[m.step.name for m in sample.measurements] for sample in samples]
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
        await sweeper(here).sweep()
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
            await sweeper(here).sweep()
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
        "khealth.io/module": "rcscheduler",
        "khealth.io/routine": "a",
        "khealth.io/run": "run",
        "khealth.io/attempt": "1",
    }
    assert labels == sent["spec"]["selector"] == sent["metadata"]["labels"]
    assert UNTOUCHED_LABELS | labels == sent["spec"]["template"]["metadata"]["labels"]


def test_labels_that_a_policy_demands_select_nothing() -> None:
    """The controller and its pods have them."""
    sent = manifest(pod=PodSettings(labels={"team": "sre"}))
    parts = (sent["metadata"], sent["spec"]["template"]["metadata"])
    assert (["sre", "sre"], False) == ([part["labels"]["team"] for part in parts], "team" in sent["spec"]["selector"])


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
    """Steps and reasons bound the labels; rights follow from the kinds, but for the pods that its controller makes."""
    names = ["accept", "create", "schedule", "sandbox", "start", "ready", "startup", "delete"]
    assert names == [step.name for step in RcScheduler.steps]
    assert [("delete", PODS)] == [(needed.verb, needed.resource) for needed in RcScheduler.permissions]


@virtual
async def test_its_verdicts_are_of_its_reasons() -> None:
    """What it says is in the closed list."""
    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        result = await ran(here)
        assert set(result.reasons) <= set(RcScheduler.reasons)
        assert [Result.FAILURE] == [attempt.verdict.result for attempt in result.status.attempts if attempt.verdict]


MIRROR, DIGEST = "mirror.example:5000/k8s/pause:3.10.1", f"mirror.example/pause@sha256:{'ab' * 32}"
TOLERATION = {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("told", "place", "expected"),
    [
        ({"image": MIRROR}, lambda pod: pod["spec"]["containers"][0]["image"], MIRROR),
        ({"image": DIGEST}, lambda pod: pod["spec"]["containers"][0]["image"], DIGEST),
        ({"image": DIGEST}, lambda pod: pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent"),
        ({"imagePullSecrets": [{"name": "s"}]}, lambda pod: pod["spec"]["imagePullSecrets"], [{"name": "s"}]),
        ({"annotations": {"a/b": "c"}}, lambda pod: pod["metadata"]["annotations"]["a/b"], "c"),
        (
            {"annotations": {"sidecar.istio.io/inject": "true"}},
            lambda pod: pod["metadata"]["annotations"]["sidecar.istio.io/inject"],
            "true",
        ),
        ({"annotations": {"khealth.io/max-age": "0"}}, lambda pod: pod["metadata"]["annotations"][MAX_AGE], "120"),
        ({"priorityClassName": "low"}, lambda pod: pod["spec"]["priorityClassName"], "low"),
        ({"runtimeClassName": "gvisor"}, lambda pod: pod["spec"]["runtimeClassName"], "gvisor"),
        (
            {"nodeSelector": {"zone": "a"}},
            lambda pod: pod["spec"]["nodeSelector"],
            {"kubernetes.io/os": "linux", "zone": "a"},
        ),
        ({"tolerations": [TOLERATION]}, lambda pod: pod["spec"]["tolerations"], [TOLERATION]),
    ],
)
def test_what_the_pods_are_told_is_in_the_template(
    told: Json, place: Callable[[Json], object], expected: object
) -> None:
    """In Kubernetes' own fields; but how long they may live is khealth's own business."""
    assert expected == place(manifest(pod=told)["spec"]["template"])
