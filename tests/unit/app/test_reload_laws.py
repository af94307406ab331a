"""What holds after any script of reloads and faults: nothing is left, nothing is lost, and nothing else is disturbed."""

import asyncio
import itertools
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from fakes import UNREACHABLE, Asked, FakeApi
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from small_cluster import SmallCluster, bookmarks
from virtual_time import BEGINNING, aside, run, virtual_clock, virtual_loop

from khealth_exporter.app.exporter import Exporter, Process
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.config import Bound, Config, ConfigError, Problem
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import AttemptId, Context, RoutineConfig
from khealth_exporter.core.snapshot import State
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.event import Event
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.settings import MeasurementSettings

MODULES = {"steady": "pods", "a": "pods", "b": "other"}
"""The routines of the scripts; `steady` is never changed."""
SLOW = RcSchedulerSettings(interval=30.0, timeout=5.0, pod_ttl=6.0, poll_interval=2.0, replicas=1)
QUICK = RcSchedulerSettings(interval=12.0, timeout=4.0, pod_ttl=2.0, poll_interval=1.0, replicas=2)
Wanted = Mapping[str, RcSchedulerSettings | None]
END = 75.0
"""Seconds at which the last reload and the last fault are over."""
QUIET = 75.0
"""Seconds after which everyone has done what was wanted, and the sweeper has come by."""


@dataclass(frozen=True)
class Reload:
    """A configuration that is put in force at some time; with `wanted` None it is a bad one."""

    at: float
    wanted: Wanted | None
    lag: float = 0.02


@dataclass(frozen=True)
class Fault:
    """What is broken, from when on, and for how long."""

    at: float
    lasts: float
    what: str


@dataclass(frozen=True)
class Begun:
    """An attempt: its number, its settings, and when it began and was over."""

    number: int
    settings: RcSchedulerSettings
    began: float
    over: float = float("inf")


class Recorded(RcScheduler):
    """rcscheduler, noting when its attempts begin and are over."""

    attempts: ClassVar[defaultdict[str, list[Begun]]]

    def __init__(self, attempt: AttemptId, settings: RcSchedulerSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self.attempts[attempt.routine].append(Begun(attempt.number, settings, context.clock.now() - BEGINNING))

    def close(self) -> None:
        super().close()
        last = self.attempts[self.attempt.routine][-1]
        assert last.number == self.attempt.number
        self.attempts[self.attempt.routine][-1] = replace(last, over=self.context.clock.now() - BEGINNING)


class Counting(Metrics):
    """Metrics that remember the verdicts of each routine, for as long as it has series."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.verdicts: defaultdict[str, list[Result]] = defaultdict(list)
        self.judged: list[tuple[str, int]] = []

    def apply(self, event: Event) -> None:
        super().apply(event)
        if event.verdict:
            self.verdicts[event.routine].append(event.verdict.result)
            self.judged.append((event.routine, event.attempt))

    def forget(self, module: str, label: str) -> None:
        super().forget(module, label)
        self.verdicts.pop(label, None)


@dataclass
class Played:
    """What was seen of a scenario; of the metrics, what they said before the end."""

    attempts: Mapping[str, Sequence[Begun]]
    verdicts: Mapping[str, Sequence[Result]]
    judged: Sequence[tuple[str, int]]
    left: Sequence[str]
    states: Mapping[tuple[str, str], State]
    series: Mapping[str, Mapping[str, float]]
    """By name and routine; of several series, their sum."""
    wanted: Sequence[tuple[float, Wanted]]
    """What was in force from when on, in seconds from the beginning."""

    def wanted_at(self, at: float) -> Wanted:
        return [wanted for since, wanted in self.wanted if since <= at][-1]

    def of(self, name: str) -> Mapping[str, float]:
        return self.series.get(name, {})


@dataclass
class File:
    """Stands for the configuration's file: what is loaded from it, reload by reload."""

    kind: type[Recorded]
    wanted: list[tuple[float, Wanted]]
    next: deque[Reload] = field(default_factory=deque)
    """What is to be loaded, in the order in which it was asked for."""

    def __call__(self, *, bound: Bound | None = None) -> Config:
        """Return the configuration whose turn it is, and take note of when it comes into force."""
        assert bound == Bound("khealth", "khealth")
        scripted = self.next.popleft()
        if scripted.wanted is None:
            raise ConfigError((Problem("khealth.yaml", 1, 1, "", "is bad"),))
        self.wanted.append((virtual_loop().time() - BEGINNING, scripted.wanted))
        return configured(scripted.wanted, self.kind, scripted.lag)


@dataclass
class Stage:
    """A khealth, and the small cluster in which it works."""

    api: FakeApi
    small: SmallCluster
    exporter: Exporter
    metrics: Counting
    file: File

    @property
    def attempts(self) -> Mapping[str, Sequence[Begun]]:
        return self.file.kind.attempts


def configured(wanted: Wanted, kind: type[Recorded], loop_lag: float = 0.02) -> Config:
    """Return a configuration in the order of the modules."""
    routines = (RoutineConfig(MODULES[label], label, kind, told) for label, told in wanted.items() if told)
    return Config(None, MeasurementSettings(loop_lag=loop_lag), tuple(routines), "")


async def reloaded(stage: Stage, scripted: Reload) -> None:
    """Put a configuration in force at its time."""
    await asyncio.sleep(scripted.at)
    stage.file.next.append(scripted)
    problems = await stage.exporter.reload()
    assert (() if scripted.wanted else ("khealth.yaml:1:1: is bad",)) == problems


FAULTS: Mapping[str, Callable[[Stage, bool], None]] = {
    "scheduler": lambda stage, on: setattr(stage.small, "stuck", {0: "created"} if on else {}),
    "controllers": lambda stage, on: setattr(stage.small, "looking", not on),
    "collector": lambda stage, on: setattr(stage.small, "collecting", not on),
    "kubelets": lambda stage, on: setattr(stage.small, "ending", not on),
    "writes": lambda stage, on: stage.api.faults.append(_writes) if on else stage.api.faults.remove(_writes),
    "watches": lambda stage, _: stage.api.cut(),
}


async def _writes(asked: Asked) -> Refusal | None:
    return UNREACHABLE if asked.verb in {"create", "delete"} else None


def play(reloads: Iterable[Reload], faults: Iterable[Fault] = (), first: Wanted | None = None) -> Played:
    """Run khealth through a script, wait until all is quiet, and stop it."""
    return run(_played(sorted(reloads, key=lambda one: one.at), faults, first or {"steady": SLOW, "a": SLOW}))


async def _played(reloads: Sequence[Reload], faults: Iterable[Fault], first: Wanted) -> Played:
    stage = staged(first)
    mended: set[str] = set()
    for fault in faults:
        if fault.what not in mended:  # One of a kind: what one begins, another must not end.
            mended.add(fault.what)
            virtual_loop().call_later(fault.at, FAULTS[fault.what], stage, True)  # noqa: FBT003 - on
            virtual_loop().call_later(fault.at + fault.lasts, FAULTS[fault.what], stage, False)  # noqa: FBT003 - off
    async with asyncio.TaskGroup() as group:
        ringing = group.create_task(bookmarks(stage.api))
        group.create_task(stage.exporter.work(jitter=0.25))
        for scripted in reloads:
            group.create_task(reloaded(stage, scripted))
        await asyncio.sleep(END + QUIET)
        states = {(s.module, r.routine): r.state for s in stage.exporter.snapshots() for r in s.routines}
        series = by_routine(stage.metrics.registry)
        verdicts = {label: tuple(results) for label, results in stage.metrics.verdicts.items()}
        assert () == stage.exporter.silent()
        stage.exporter.terminate()
        ringing.cancel()
    judged = stage.metrics.judged
    return Played(stage.attempts, verdicts, judged, stage.small.left, states, series, stage.file.wanted)


def staged(first: Wanted) -> Stage:
    clock = virtual_clock()
    api, metrics = FakeApi(clock), Counting(CollectorRegistry(), clock)
    kind = type("Recorded", (Recorded,), {"attempts": defaultdict(list)})
    process = Process(clock, metrics, "run", random.Random(1), aside)
    cluster = Cluster(api, Identity("run", "khealth"), clock, metrics, process.chance)
    file = File(kind, [(0.0, first)])
    exporter = Exporter(configured(first, kind), file, process, cluster, "khealth", server="https://cluster.example")
    return Stage(api, SmallCluster(api), exporter, metrics, file)


def by_routine(registry: CollectorRegistry) -> Mapping[str, Mapping[str, float]]:
    """Return the sum of each name's series, by routine."""
    sums: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in registry.collect():
        for sample in family.samples:
            if "routine" in sample.labels:
                sums[sample.name][sample.labels["routine"]] += sample.value
    return sums


def resting(settings: RcSchedulerSettings) -> RcSchedulerSettings:
    return settings.model_copy(update={"suspend": True})


SETTINGS = st.sampled_from([None, SLOW, QUICK, resting(SLOW), resting(QUICK)])
CHANGED = st.fixed_dictionaries({"a": SETTINGS, "b": SETTINGS})
GOOD = st.builds(lambda changed: {"steady": SLOW, **changed}, CHANGED)
TIMES = st.floats(0.0, END, allow_nan=False) | st.sampled_from([0.0, 0.05, 0.3, 1.0, 7.0, 7.5, 9.0, 38.0, 38.2, 40.0])
RELOADS = st.lists(st.builds(Reload, TIMES, GOOD | st.none(), st.sampled_from([0.02, 0.5])), max_size=6)
BROKEN = st.lists(
    st.builds(Fault, st.floats(0.0, 45.0), st.floats(0.1, 25.0), st.sampled_from(sorted(FAULTS))), max_size=3
)
SCENARIOS = given(RELOADS, BROKEN)


@SCENARIOS
def test_nothing_is_left_in_the_cluster(reloads: list[Reload], faults: list[Fault]) -> None:
    """Whatever was changed, removed and suspended, and whatever was broken meanwhile."""
    assert [] == play(reloads, faults).left


def test_routines_that_the_configuration_leaves_out_are_named() -> None:
    """The status page shows them."""

    async def left_out() -> set[str]:
        return {f"{one.module}/{one.routine}" for one in staged({"a": SLOW}).exporter.off()}

    assert run(left_out()) >= {"control-plane/api", "workloads/pod"}


def test_nothing_is_left_of_a_routine_that_was_the_last_of_its_kinds() -> None:
    """Its cleanup fails after the reload, when no routine creates these kinds any more."""
    assert [] == play([Reload(3.0, {"a": None})], [Fault(2.0, 20.0, "writes")], {"a": SLOW}).left


@SCENARIOS
def test_attempts_of_a_routine_never_overlap(reloads: list[Reload], faults: list[Fault]) -> None:
    """Each is over, cleaned up and all, before the next begins, in any runner."""
    for attempts in play(reloads, faults).attempts.values():
        assert all(earlier.over <= later.began for earlier, later in itertools.pairwise(attempts))


@SCENARIOS
def test_the_name_of_an_attempt_never_repeats(reloads: list[Reload], faults: list[Fault]) -> None:
    """Numbers go on, also where a routine was removed in between: no two attempts make objects of one name."""
    for attempts in play(reloads, faults).attempts.values():
        assert list(range(1, len(attempts) + 1)) == [attempt.number for attempt in attempts]


@SCENARIOS
def test_every_attempt_has_one_verdict(reloads: list[Reload], faults: list[Fault]) -> None:
    """One that a reload has cut short, too."""
    played = play(reloads, faults)
    begun = [(label, attempt.number) for label, attempts in played.attempts.items() for attempt in attempts]
    assert sorted(begun) == sorted(played.judged)


@SCENARIOS
def test_counters_go_on_and_add_up(reloads: list[Reload], faults: list[Fault]) -> None:
    """Of every routine that is there: attempts are successes, failures and inconclusive ones, since it is."""
    played = play(reloads, faults)
    for label, attempts in played.of("khealth_attempts_total").items():
        results = played.verdicts.get(label, ())
        failures, inconclusive = (played.of(f"khealth_{name}_total")[label] for name in ("failures", "inconclusive"))
        assert attempts == len(results) == results.count(Result.SUCCESS) + failures + inconclusive


@SCENARIOS
def test_what_begins_is_what_is_wanted(reloads: list[Reload], faults: list[Fault]) -> None:
    """Every attempt has the settings that are in force when it begins; none begins of what is suspended or gone."""
    played = play(reloads, faults)
    for label, attempts in played.attempts.items():
        wanted = [played.wanted_at(attempt.began).get(label) for attempt in attempts]
        assert [attempt.settings for attempt in attempts] == wanted
        assert not any(settings.suspend for settings in wanted if settings)


@SCENARIOS
@example([Reload(9.0, {"steady": SLOW})], [])
@example([Reload(9.0, {"steady": SLOW, "a": resting(SLOW)})], [])
@example([Reload(9.0, {"steady": SLOW}), Reload(9.2, {"steady": SLOW, "a": SLOW})], [])
def test_what_was_wanted_last_comes_to_be(reloads: list[Reload], faults: list[Fault]) -> None:
    """Series and states are those of the routines that are wanted, and no others; each runs, or rests, as it should."""
    played = play(reloads, faults)
    wanted = {label: told for label, told in played.wanted[-1][1].items() if told}
    asleep = {label for label, told in wanted.items() if told.suspend}
    for name, series in played.series.items():
        absent = asleep if name == "khealth_success" or name.startswith("khealth_last_") else set()
        assert wanted.keys() - absent == series.keys(), name
    assert {(MODULES[label], label) for label in wanted} == played.states.keys()
    assert asleep == {label for (_, label), state in played.states.items() if state is State.SUSPENDED}
    assert {label: float(label in asleep) for label in wanted} == played.of("khealth_suspended")
    assert {label: told.interval for label, told in wanted.items()} == played.of("khealth_interval_seconds")
    assert all(played.attempts[label][-1].settings == wanted[label] for label in wanted.keys() - asleep)


@SCENARIOS
@example([Reload(1.0, {"steady": SLOW}), Reload(2.0, None), Reload(3.0, {"steady": SLOW, "b": QUICK}, 0.5)], [])
def test_what_is_unchanged_is_not_disturbed(reloads: list[Reload], faults: list[Fault]) -> None:
    """Its attempts begin at the very same times as without any reload, and go as well."""
    with_reloads, without = play(reloads, faults), play([], faults)
    times = [
        # To the microsecond: a sum of floats is not the same by every way.
        [(attempt.number, round(attempt.began, 6), round(attempt.over, 6)) for attempt in played.attempts["steady"]]
        for played in (without, with_reloads)
    ]
    assert times[0] == times[1]
    assert without.verdicts["steady"] == with_reloads.verdicts["steady"]


SUSPENDING = [Reload(20.0, {"steady": SLOW, "a": resting(SLOW)})]


@pytest.mark.parametrize(
    ("reloads", "began"),
    [
        ([], [0.0, 7.5, 37.5, 67.5]),
        ([Reload(20.0, {"steady": SLOW, "a": QUICK})], [0.0, 7.5, 20.05, 23.05, 35.05, 47.05, 59.05]),
        ([*SUSPENDING, Reload(40.0, {"steady": SLOW, "a": SLOW})], [0.0, 7.5, 40.05, 47.55, 77.55]),
        ([Reload(20.0, {"steady": SLOW}), Reload(40.0, {"steady": SLOW, "a": SLOW})], [0.0, 7.5, 40.05, 47.55, 77.55]),
        (SUSPENDING, [0.0, 7.5]),
    ],
    ids=["nothing", "changed", "resumed", "added again", "suspended"],
)
def test_what_begins_anew_begins_at_once(reloads: list[Reload], began: list[float]) -> None:
    """And then keeps to its grid, which the process' one offset shifts as before."""
    seen = [attempt.began for attempt in play(reloads).attempts["a"]]
    assert began == pytest.approx(seen[: len(began)], abs=0.01)
    assert len(began) == len(seen) or reloads != SUSPENDING


def test_a_change_cleans_up_before_the_next_begins() -> None:
    """In mid-hold: the pods are gone first, and the attempt is a success for what it has seen."""
    played = play([Reload(10.0, {"steady": SLOW, "a": QUICK})])
    (held, after) = played.attempts["a"][1:3]
    assert (True, QUICK) == (10.05 < held.over < after.began + 0.001, after.settings)
    assert {Result.SUCCESS} == set(played.verdicts["a"])


def test_the_newest_of_several_reloads_wins() -> None:
    """While the first is still cleaning up, as kubelets are slow to end its pods."""
    faults = [Fault(9.0, 8.0, "kubelets")]
    scripts = [
        Reload(10.0, {"steady": SLOW, "a": QUICK}),
        Reload(10.5, {"steady": SLOW}),
        Reload(11.0, {"steady": SLOW, "a": SLOW}),
    ]
    played = play(scripts, faults)
    assert [SLOW] * 3 == [attempt.settings for attempt in played.attempts["a"][:3]]
    assert played.attempts["a"][1].over > 11.05


def test_a_change_of_measurement_is_for_the_next_attempts() -> None:
    """The context is another, and no attempt is."""

    async def scenario() -> None:
        stage = staged({"steady": SLOW})
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.exporter.work())
            await reloaded(stage, Reload(3.0, {"steady": SLOW}, 0.5))
            (supervisor,) = stage.exporter._collectors["pods"]._supervisors.values()
            assert supervisor.runner is not None
            assert 1 == len(stage.attempts["steady"])
            assert 0.5 == supervisor.runner.make(2).context.measurement.loop_lag
            stage.exporter.terminate()

    run(scenario())


def test_no_reload_is_accepted_in_a_shutdown() -> None:
    """A routine that is cleaning up must not start again."""

    async def scenario() -> None:
        stage = staged({"steady": SLOW, "a": SLOW})
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.exporter.work())
            await asyncio.sleep(3.0)
            stage.exporter.terminate()
            stage.file.next.append(Reload(0.0, {"steady": SLOW, "b": SLOW}))
            assert ("khealth is stopping: it does not reload the configuration",) == await stage.exporter.reload()
        assert ([], {"steady", "a"}) == (stage.small.left, set(stage.attempts))

    run(scenario())
