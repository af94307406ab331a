"""Collector: reads every Event, knows how its routines stand, and ends when all is cleaned up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from fakes import Telemetered, context_of
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from virtual_time import BEGINNING, EPOCH, run, virtual, virtual_clock, virtual_loop

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, START
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import Routine, RoutineConfig, RoutineSettings
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot, State, after, worst
from khealth_exporter.core.supervisor import NotBegun, UnknownRoutine
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed, Verdict


class Steady(Routine[RoutineSettings]):
    """A routine whose init takes a second and whose cleanup takes two."""

    name: ClassVar[str] = "steady"
    steps: ClassVar[tuple[Step, ...]] = ()
    reasons: ClassVar[tuple[Reason, ...]] = (Reason.POD_NOT_DELETED, Reason.POD_NOT_READY)
    Settings: ClassVar[type[RoutineSettings]] = RoutineSettings

    async def init(self) -> None:
        await asyncio.sleep(1.0)

    async def poll(self) -> None:
        """It has no hold."""

    async def cleanup(self) -> None:
        await asyncio.sleep(2.0)


class Failing(Steady):
    """A routine that finds no pod Ready."""

    async def init(self) -> None:
        await super().init()
        raise Failed(Reason.POD_NOT_READY, "very", (Evidence("Pod", "x", ("pending",)),))


def collector(*kinds: type[Steady]) -> tuple[Collector, Telemetered]:
    """Return a collector of routines a, b, …, and its metrics."""
    clock = virtual_clock()
    figures = Telemetered(clock)
    made = Collector("module", figures.metrics, clock)
    routines = [
        RoutineConfig("module", label, kind, RoutineSettings()) for label, kind in zip("abc", kinds, strict=False)
    ]
    made.want(routines, context_of(clock))
    return made, figures


def event(phase: Phase, number: int = 1, reason: Reason | None = None, *, gives: bool = False, **more: Any) -> Event:
    """Return an Event of routine a."""
    result = reason.result if reason else Result.SUCCESS
    verdict = Verdict(result, reason) if gives else None
    ended = 100.0 * number + {Phase.INIT: 1.0, Phase.POLL: 11.0, Phase.CLEANUP: 13.0}[phase]
    plain = Event("module", "a", number, phase, result, 100.0 * number, ended, 2.0, ended, reason, verdict=verdict)
    return replace(plain, **more)


FRESH = RoutineStatus("module", "a", 60.0)


def told(*events: Event, status: RoutineStatus = FRESH) -> RoutineStatus:
    for one in events:
        status = after(status, one)
    return status


def success(number: int) -> tuple[Event, ...]:
    return event(Phase.INIT, number), event(Phase.POLL, number), event(Phase.CLEANUP, number, gives=True)


def failure(number: int, reason: Reason = Reason.POD_NOT_READY) -> tuple[Event, ...]:
    return event(Phase.INIT, number, reason, gives=True), event(Phase.CLEANUP, number)


@virtual
async def test_once_makes_one_attempt_of_each_routine() -> None:
    """All begin at once, and `start` returns when the last has cleaned up and every Event is read."""
    made, figures = collector(Steady, Failing)
    await made.start(once=True)
    assert 3.0 == virtual_loop().time() - BEGINNING
    assert [State.WELL, State.FAILING] == [status.state for status in made.status().routines]
    assert 2.0 == figures.total("khealth_attempts_total")


@virtual
async def test_terminate_ends_it_when_all_is_cleaned_up() -> None:
    """A stop in mid-init: cleanup runs, its Event is read, and only then does `start` return."""
    made, figures = collector(Steady)
    asyncio.get_running_loop().call_later(60.5, made.terminate)
    await made.start()
    assert 62.5 == virtual_loop().time() - BEGINNING
    (status,) = made.status().routines
    assert [EPOCH + 3.0, EPOCH + 62.5] == [attempt.ended for attempt in status.attempts]
    assert 2.0 == figures.total("khealth_attempts_total")


@virtual
async def test_jitter_shifts_the_grid_by_a_share_of_the_interval() -> None:
    """The first attempt begins at once all the same."""
    made, _ = collector(Steady)
    asyncio.get_running_loop().call_later(100.0, made.terminate)
    await made.start(jitter=0.25)
    (status,) = made.status().routines
    assert [0.0, 15.0, 75.0] == [attempt.began - EPOCH for attempt in status.attempts]


@virtual
async def test_once_without_routines_ends_at_once() -> None:
    """An empty module is no reason to wait."""
    made, _ = collector()
    await made.start(once=True)
    assert () == made.status().routines


@virtual
async def test_before_the_first_event_a_routine_is_waiting() -> None:
    """Nothing is known yet."""
    made, _ = collector(Steady)
    assert State.WAITING is made.status().state


@virtual
async def test_the_duration_leaves_out_the_hold() -> None:
    """Init's second and cleanup's two are observed when the attempt has ended."""
    made, figures = collector(Steady)
    await made.start(once=True)
    assert 3.0 == figures.value("khealth_attempt_duration_seconds_sum", module="module", routine="a")


@virtual
async def test_a_failed_attempt_is_told_in_the_log_with_its_evidence() -> None:
    """Once, with module, routine, reason and note; and what the canary looked like."""
    made, _ = collector(Failing)
    with capture_logs() as logs:
        await made.start(once=True)
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [("module", "a", Reason.POD_NOT_READY, "very")] == [
        (entry["module"], entry["routine"], entry["reason"], entry["note"]) for entry in warnings
    ]
    assert ["pending"] == [entry["lines"] for entry in logs if entry["event"] == "evidence"]


@virtual
async def test_an_event_that_cannot_be_taken_in_costs_no_other() -> None:
    """A bug in the metrics is loud in the log, and the next Event is read."""
    made, figures = collector(Steady)
    whole: Any = figures.metrics.apply
    broken: list[Event] = []

    def apply(taken: Event) -> None:
        if not broken:
            broken.append(taken)
            raise ValueError("a bug")
        whole(taken)

    figures.metrics.apply = apply  # type: ignore[method-assign,assignment]
    with capture_logs() as logs:
        await made.start(once=True)
    assert ["internal error: event not processed"] == [
        entry["event"] for entry in logs if entry["log_level"] == "error"
    ]
    assert 1.0 == figures.total("khealth_attempts_total")


@virtual
async def test_a_loop_that_does_not_move_on_is_named() -> None:
    """Silent is who has made no progress for so long, beyond what its interval explains."""
    made, _ = collector(Steady)
    task = asyncio.create_task(made.start())
    await asyncio.sleep(100.0)
    moving = made.silent(300.0)
    virtual_loop().pass_time(400.0)
    stuck = made.silent(300.0)
    made.terminate()
    await task
    assert ((), ("module/a",)) == (moving, stuck)


@virtual
async def test_a_verdict_that_is_too_old_has_expired() -> None:
    """After three intervals it says nothing of now."""
    made, _ = collector(Steady)
    await made.start(once=True)
    await asyncio.sleep(180.0)
    before = made.status().routines[0].state
    await asyncio.sleep(1.0)
    after_all = made.status().routines[0]
    assert (State.WELL, State.EXPIRED) == (before, after_all.state)
    assert EPOCH + 3.0 + 180.0 == after_all.since


RESTING = RoutineSettings(suspend=True)


def steady(**labels: RoutineSettings) -> list[RoutineConfig]:
    """Return routines by label."""
    return [RoutineConfig("module", label, Steady, settings) for label, settings in labels.items()]


@asynccontextmanager
async def running(**labels: RoutineSettings) -> AsyncIterator[tuple[Collector, Telemetered, Callable[..., None]]]:
    """Run routines until the block ends; the last of the three wants others instead."""
    made, figures = collector()
    context = context_of(virtual_clock())

    def want(**others: RoutineSettings) -> None:
        made.want(steady(**others), context)

    want(**labels)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.start())
        await asyncio.sleep(10.0)
        yield made, figures, want
        made.terminate()


def states(made: Collector) -> list[tuple[str, State]]:
    return [(status.routine, status.state) for status in made.status().routines]


@virtual
async def test_what_is_suspended_is_shown_and_not_run() -> None:
    """From the beginning: its series stand at 0, and its loop is not called silent."""
    async with running(a=RESTING, b=RoutineSettings()) as (made, figures, _):
        await asyncio.sleep(1000.0)
        assert [("a", State.SUSPENDED), ("b", State.WELL)] == states(made)
        assert (0.0, 1.0, ()) == (
            figures.value("khealth_attempts_total", module="module", routine="a"),
            figures.value("khealth_suspended", module="module", routine="a"),
            made.silent(300.0),
        )


@virtual
async def test_where_all_is_suspended_the_module_is() -> None:
    """Nothing is known, and that is wanted."""
    async with running(a=RESTING) as (made, _, _want):
        assert State.SUSPENDED is made.status().state


@virtual
async def test_a_suspension_shows_since_when() -> None:
    """With the history of before, but not its failures in a row."""
    made, _ = collector(Failing)
    await made.start(once=True)
    await asyncio.sleep(7.0)
    made.want([RoutineConfig("module", "a", Failing, RESTING)], context_of(virtual_clock()))
    (status,) = made.status().routines
    assert (State.SUSPENDED, EPOCH + 10.0, 0, 1) == (
        status.state,
        status.since,
        status.consecutive_failures,
        len(status.attempts),
    )


@virtual
async def test_what_is_resumed_waits_for_its_first_verdict() -> None:
    """It begins at once; until then what was found before says nothing, however young it is."""
    async with running(a=RoutineSettings()) as (made, _, want):
        want(a=RESTING)
        await asyncio.sleep(1.0)
        want(a=RoutineSettings())
        before = states(made)
        await asyncio.sleep(4.0)
        assert ([("a", State.WAITING)], [("a", State.WELL)]) == (before, states(made))
        assert [EPOCH, EPOCH + 11.0] == [attempt.began for attempt in made.status().routines[0].attempts]


@virtual
async def test_a_suspension_ends_by_itself() -> None:
    """The attempt begins at that moment; metrics and status say so without a reload."""
    window = RoutineSettings(suspend_until=EPOCH + 1000.0)
    async with running(a=window) as (made, figures, _):
        (resting,) = made.status().routines
        assert (State.SUSPENDED, EPOCH, EPOCH + 1000.0) == (resting.state, resting.since, resting.suspended_until)
        assert 1.0 == figures.value("khealth_suspended", module="module", routine="a")
        await asyncio.sleep(991.0)
        (resumed,) = made.status().routines
        assert (State.WAITING, EPOCH + 1000.0, None) == (resumed.state, resumed.since, resumed.suspended_until)
        assert 0.0 == figures.value("khealth_suspended", module="module", routine="a")
        await asyncio.sleep(10.0)
        assert [EPOCH + 1000.0] == [attempt.began for attempt in made.status().routines[0].attempts]
        assert 1.0 == figures.value("khealth_success", module="module", routine="a")


@virtual
async def test_an_end_that_has_passed_suspends_nothing() -> None:
    """As if it were not there."""
    async with running(a=RoutineSettings(suspend_until=EPOCH)) as (made, figures, _):
        assert [("a", State.WELL)] == states(made)
        assert 0.0 == figures.value("khealth_suspended", module="module", routine="a")


@virtual
async def test_a_reload_moves_the_end_of_a_suspension() -> None:
    """Later or earlier: the newest counts, and the window's beginning stays."""
    async with running(a=RoutineSettings(suspend_until=EPOCH + 100.0)) as (made, _, want):
        want(a=RoutineSettings(suspend_until=EPOCH + 500.0))
        await asyncio.sleep(200.0)
        assert [("a", State.SUSPENDED)] == states(made)
        want(a=RoutineSettings(suspend_until=EPOCH + 300.0))
        (status,) = made.status().routines
        assert (EPOCH, EPOCH + 300.0) == (status.since, status.suspended_until)
        await asyncio.sleep(100.0)
        assert [EPOCH + 300.0] == [attempt.began for attempt in made.status().routines[0].attempts]


@virtual
async def test_a_window_that_begins_with_a_reload_stops_the_routine_cleanly() -> None:
    """Its attempt is cleaned up first; the next one begins at the window's end, with the next number."""
    async with running(a=RoutineSettings()) as (made, _, want):
        await asyncio.sleep(50.5)
        want(a=RoutineSettings(suspend_until=EPOCH + 200.0))
        await asyncio.sleep(150.0)
        found = [(attempt.number, attempt.began - EPOCH) for attempt in made.status().routines[0].attempts]
        assert [(1, 0.0), (2, 60.0), (3, 200.0)] == found


@virtual
async def test_an_attempt_begins_when_it_is_asked_for() -> None:
    """It has the next number, and the next slot stays where it was."""
    async with running(a=RoutineSettings()) as (made, _, _want):
        assert 2 == made.begin("a")
        assert None is made.status().routines[0].due
        await asyncio.sleep(4.0)
        (status,) = made.status().routines
        assert [0.0, 10.0] == [attempt.began - EPOCH for attempt in status.attempts]
        assert EPOCH + 60.0 == status.due


@virtual
async def test_an_attempt_is_refused_with_the_reason() -> None:
    """While one runs, while suspended, in the end, and for what there is not."""
    window = RoutineSettings(suspend_until=EPOCH + 1000.0)
    async with running(a=RoutineSettings(), b=RESTING, c=window, d=RoutineSettings()) as (made, _, want):
        made.begin("a")
        for label, why in (("a", "an attempt is running"), ("b", "is suspended"), ("c", "is suspended")):
            with pytest.raises(NotBegun, match=why) as caught:
                made.begin(label)
            assert not isinstance(caught.value, UnknownRoutine)
        with pytest.raises(UnknownRoutine):
            made.begin("e")
        await asyncio.sleep(51.0)
        want(a=RoutineSettings())
        with pytest.raises(UnknownRoutine):  # It cleans up.
            made.begin("d")
        made.terminate()
        with pytest.raises(NotBegun, match="khealth is stopping"):
            made.begin("a")


@pytest.mark.parametrize("seconds", [50.5, 52.0], ids=["in init", "in cleanup"])
def test_a_routine_vanishes_when_it_has_cleaned_up(seconds: float) -> None:
    """Until then it is shown, after the others; nothing of it is left then, though its last word be the verdict."""

    async def scenario() -> None:
        async with running(a=RoutineSettings(), b=RoutineSettings()) as (made, figures, want):
            await asyncio.sleep(seconds)
            want(b=RoutineSettings())
            cleaning = [label for label, _ in states(made)]
            await asyncio.sleep(3.0)
            assert (["b", "a"], ["b"]) == (cleaning, [label for label, _ in states(made)])
            assert figures.value("khealth_attempts_total", module="module", routine="a") is None

    run(scenario())


@virtual
async def test_what_is_wanted_again_while_its_last_word_is_read_does_not_vanish() -> None:
    """Between its runner's end and its own, a routine may still be asked to stay."""
    async with running(a=RoutineSettings()) as (made, figures, want):
        whole = made._events.join

        async def join() -> None:
            await whole()
            want(a=RoutineSettings(interval=70.0))

        made._events.join = join  # type: ignore[method-assign]
        want()
        await asyncio.sleep(4.0)
        made._events.join = whole  # type: ignore[method-assign]
        numbers = [attempt.number for attempt in made.status().routines[0].attempts]
        assert ([1, 2], 2.0) == (numbers, figures.value("khealth_attempts_total", module="module", routine="a"))


@virtual
async def test_routines_are_shown_in_the_order_in_which_they_are_wanted() -> None:
    """A new one may come first."""
    async with running(a=RoutineSettings(), b=RoutineSettings()) as (made, _, want):
        want(c=RoutineSettings(), b=RoutineSettings(), a=RoutineSettings())
        assert ["c", "b", "a"] == [label for label, _ in states(made)]


@virtual
async def test_a_changed_interval_is_shown_at_once() -> None:
    """And it expires by the new one."""
    async with running(a=RoutineSettings()) as (made, _, want):
        want(a=RoutineSettings(interval=2.0, timeout=1.0))
        (status,) = made.status().routines
        assert (2.0, State.EXPIRED) == (status.interval, status.state)


@virtual
async def test_a_module_goes_on_without_routines() -> None:
    """Until it is asked to end: others may come."""
    async with running(a=RoutineSettings()) as (made, _, want):
        want()
        await asyncio.sleep(100.0)
        gone = states(made)
        want(a=RoutineSettings())
        await asyncio.sleep(5.0)
        (attempt,) = made.status().routines[0].attempts
        assert ([], 2) == (gone, attempt.number)


@virtual
async def test_it_can_be_started_again() -> None:
    """A replica may lose the lead, and win it again: attempts and their numbers go on."""
    made, figures = collector(Steady)
    for stop_after in (70.0, 80.0):
        asyncio.get_running_loop().call_later(stop_after, made.terminate)
        await made.start()
        await asyncio.sleep(20.0)
    (status,) = made.status().routines
    assert [1, 2, 3, 4] == [attempt.number for attempt in status.attempts]
    assert [0.0, 60.0, 90.0, 150.0] == [attempt.began - EPOCH for attempt in status.attempts]
    assert 4.0 == figures.value("khealth_attempts_total", module="module", routine="a")


@virtual
async def test_one_that_is_told_twice_to_end_begins_again_whole() -> None:
    """The second word may come when one routine has ended and another still cleans up."""

    class Slow(Steady):
        async def cleanup(self) -> None:
            await asyncio.sleep(15.0)

    made, _ = collector(Steady, Slow)
    loop = asyncio.get_running_loop()
    loop.call_later(0.5, made.terminate)
    loop.call_later(8.0, made.terminate)
    await made.start()
    loop.call_later(70.0, made.terminate)
    await made.start()
    verdicts = [[a.verdict.result for a in status.attempts if a.verdict] for status in made.status().routines]
    assert [[Result.INCONCLUSIVE, Result.SUCCESS, Result.SUCCESS]] * 2 == verdicts


@dataclass
class Wall:
    """A machine's clock, which can be set by some seconds."""

    set: float = 0.0

    def clock(self) -> Clock:
        return Clock(virtual_loop().time, lambda: EPOCH + virtual_loop().time() - BEGINNING + self.set)


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
@pytest.mark.parametrize(("after_all", "state", "success"), [(177.0, State.WELL, 1.0), (178.0, State.EXPIRED, None)])
def test_setting_the_clock_keeps_nothing_well(
    set_by: float, after_all: float, state: State, success: float | None
) -> None:
    """Status and metrics expire together, by the time that passes."""

    async def scenario() -> None:
        wall = Wall()
        clock = wall.clock()
        figures = Telemetered(clock)
        made = Collector("module", figures.metrics, clock)
        made.want(steady(a=RoutineSettings()), context_of(clock))
        await made.start(once=True)
        await asyncio.sleep(2.5)
        wall.set = set_by
        clock.anchor()
        await asyncio.sleep(after_all)
        (status,) = made.status().routines
        assert (state, success) == (status.state, figures.value("khealth_success", module="module", routine="a"))

    run(scenario())


@virtual
async def test_a_routines_steps_and_remarks_are_shown() -> None:
    """Of the remarks of one name, the latest."""

    class Telling(Steady):
        steps: ClassVar[tuple[Step, ...]] = (ACCEPT,)

        async def init(self) -> None:
            for found in (Remark("nodes", "one"), Remark("round", "42 h"), Remark("nodes", "two")):
                self.record(found)

    made, _ = collector(Telling)
    before = made.status().routines[0].steps
    await made.start(once=True)
    (status,) = made.status().routines
    assert ((ACCEPT,), (Remark("nodes", "two"), Remark("round", "42 h"))) == (before, status.remarks)


def test_an_attempt_is_the_sum_of_its_events() -> None:
    """Duration without the hold, the verdict when it came, the end when cleanup ended."""
    (attempt,) = told(*success(1)).attempts
    assert (4.0, Verdict(Result.SUCCESS), 113.0, 113.0, Phase.CLEANUP) == (
        attempt.duration,
        attempt.verdict,
        attempt.judged,
        attempt.ended,
        attempt.phase,
    )


def test_a_failure_is_known_before_cleanup_has_ended() -> None:
    """The verdict comes with the phase that failed."""
    status = told(event(Phase.INIT, 1, Reason.POD_NOT_READY, gives=True))
    assert (State.FAILING, 1, None) == (status.state, status.consecutive_failures, status.attempts[0].ended)


def test_the_verdict_is_not_changed_by_cleanup() -> None:
    """What goes wrong later is in the Event alone."""
    status = told(
        event(Phase.INIT, 1, Reason.POD_NOT_READY, gives=True), event(Phase.CLEANUP, 1, Reason.POD_NOT_DELETED)
    )
    assert Verdict(Result.FAILURE, Reason.POD_NOT_READY) == status.attempts[0].verdict


def test_the_last_failure_is_kept_with_all_that_came_after_it() -> None:
    """Its cleanup included; a later success does not make it forgotten."""
    status = told(*failure(1), *success(2))
    assert status.last_failure is not None
    assert (1, 113.0) == (status.last_failure.number, status.last_failure.ended)


def test_evidence_of_a_later_phase_does_not_hide_the_first() -> None:
    """What explains the verdict is kept."""
    first, second = Evidence("Pod", "a", ("pending",)), Evidence("Pod", "a", ("terminating",))
    init = event(Phase.INIT, 1, Reason.POD_NOT_READY, gives=True, evidence=(first,))
    status = told(init, event(Phase.CLEANUP, 1, Reason.POD_NOT_DELETED, evidence=(second,)))
    assert first in status.attempts[0].evidence


def test_samples_of_one_pod_are_joined() -> None:
    """Init's part and cleanup's part make one sample."""
    created = Sample("pod", "uid", "node-1", (Measurement(CREATE, 1.0, 0.0),), {"created": 1.0})
    deleted = Sample("pod", "uid", "node-1", (Measurement(DELETE, 2.0, 0.0),), {"deleted": 9.0})
    status = told(event(Phase.INIT, samples=(created,)), event(Phase.CLEANUP, gives=True, samples=(deleted,)))
    (joined,) = status.attempts[0].samples
    assert [CREATE, DELETE] == [m.step for m in joined.measurements]


def test_missing_pods_are_samples_of_their_own() -> None:
    """Pods that were never created have no uid; they are told apart by their names."""
    missing = [Sample(f"pod {n}", "", None, (Measurement(CREATE, 20.0, 0.0, censored=True),), {}) for n in (1, 2)]
    status = told(event(Phase.INIT, 1, Reason.POD_NOT_CREATED, gives=True, samples=tuple(missing)))
    assert 2 == len(status.attempts[0].samples)


def test_only_the_latest_attempts_keep_their_samples() -> None:
    """Two hundred pods in a hundred attempts are more than anyone looks at: the last that ended is, while one runs."""
    sample = Sample("pod", "uid", None, (), {})
    events = [replace(one, samples=(sample,)) for number in (1, 2, 3) for one in success(number)]
    assert [0, 1, 1] == [len(attempt.samples) for attempt in told(*events).attempts]


def timed(name: str, seconds: float, quality: Quality = Quality.EXACT, *, censored: bool = False) -> Sample:
    """Return a sample of one step."""
    return Sample(name, name, None, (Measurement(START, seconds, 0.001, quality, censored),), {})


def test_every_attempt_keeps_the_steps_of_its_slowest_object() -> None:
    """Where the time went is known of each of them, in a bounded room."""
    accepted = (Measurement(ACCEPT, 0.1, 0.001),)
    one = event(Phase.INIT, measurements=accepted, samples=(timed("a", 1), timed("b", 3), timed("c", 2)))
    status = told(*(replace(one, attempt=number) for number in range(1, 6)))
    expected = [(*accepted, *timed("b", 3).measurements)] * 5
    assert expected == [attempt.steps for attempt in status.attempts]


def test_the_steps_of_an_attempt_are_in_the_order_of_its_routine() -> None:
    """Its own among those of its object: a canary measures after it has started."""
    measured = (Measurement(ACCEPT, 0.1, 0.001), Measurement(DELETE, 0.2, 0.001))
    status = replace(told(), steps=(ACCEPT, START, DELETE))
    status = after(status, event(Phase.INIT, measurements=measured, samples=(timed("a", 1),)))
    assert [ACCEPT, START, DELETE] == [one.step for one in status.attempts[0].steps]


def test_an_object_that_is_stuck_is_the_slowest() -> None:
    """Others may have taken longer, but they have arrived."""
    status = told(event(Phase.INIT, samples=(timed("a", 9), timed("b", 3, censored=True))))
    assert timed("b", 3, censored=True).measurements == status.attempts[0].steps


def test_a_slow_removal_makes_no_object_the_slowest() -> None:
    """What is told is what a workload waits for."""
    removed = Sample("a", "a", None, (Measurement(DELETE, 30.0, 0.001),), {})
    status = told(
        event(Phase.INIT, samples=(timed("a", 1), timed("b", 2))), event(Phase.CLEANUP, gives=True, samples=(removed,))
    )
    assert timed("b", 2).measurements == status.attempts[0].steps


def test_every_attempt_keeps_the_number_of_its_objects_by_quality() -> None:
    """In the order of the qualities, from best to worst."""
    seen = timed("a", 1), timed("b", 1, Quality.DEGRADED), timed("c", 1, Quality.DEGRADED), timed("d", 1, Quality.COLD)
    status = told(*(event(Phase.INIT, number, samples=seen) for number in range(1, 6)))
    assert [(1, 1, 0, 2, 0)] * 5 == [attempt.qualities for attempt in status.attempts]


@virtual
async def test_when_the_next_attempt_begins_is_told_while_it_is_waited_for() -> None:
    """And while one runs, nothing."""
    async with running(a=RoutineSettings()) as (made, _, _):
        waiting = made.status().routines[0].due
        await asyncio.sleep(51.0)
        assert (EPOCH + 60.0, None) == (waiting, made.status().routines[0].due)


def test_a_failures_samples_are_kept_with_it() -> None:
    """`last_failure` is looked at long after."""
    sample = Sample("pod", "uid", None, (), {})
    status = told(*(replace(one, samples=(sample,)) for one in failure(1)), *success(2))
    assert status.last_failure is not None
    assert (sample,) == status.last_failure.samples


def test_only_the_latest_attempts_keep_their_evidence() -> None:
    """A status that is read every few seconds does not carry a hundred failures' worth of it."""
    seen = (Evidence("Pod", "a", ("pending",)),)
    status = told(*(replace(one, evidence=seen) for number in range(1, 31) for one in failure(number)))
    kept = [attempt.number for attempt in status.attempts if attempt.evidence]
    assert (30, True) == (kept[-1], 8 <= len(kept) <= 12)
    assert status.last_failure is not None
    assert seen == status.last_failure.evidence


@virtual
async def test_a_cleanup_that_fails_after_a_failure_is_told_too() -> None:
    """It changes no verdict, but somebody has to know what was left."""

    class Leaving(Failing):
        async def cleanup(self) -> None:
            raise Failed(Reason.POD_NOT_DELETED, "stays", settled=True)

    made, _ = collector(Leaving)
    with capture_logs() as logs:
        await made.start(once=True)
    warned = [(entry["reason"], entry["note"]) for entry in logs if entry["log_level"] == "warning"]
    assert [(Reason.POD_NOT_READY, "very"), (Reason.POD_NOT_DELETED, "stays")] == warned


def test_a_hundred_attempts_are_remembered() -> None:
    """The oldest are forgotten."""
    status = told(*(one for number in range(1, 131) for one in success(number)))
    assert (100, 31, 130) == (len(status.attempts), status.attempts[0].number, status.attempts[-1].number)


def test_since_is_when_the_state_began() -> None:
    """More of the same does not move it."""
    status = told(*success(1), *failure(2), *failure(3))
    assert 201.0 == status.since


def test_an_inconclusive_attempt_is_a_state_of_its_own() -> None:
    """It changes neither the failures in a row nor the last success."""
    status = told(*success(1), *failure(2), *failure(3, Reason.FORBIDDEN))
    assert (State.INCONCLUSIVE, 1, 113.0) == (status.state, status.consecutive_failures, status.last_success)


@given(st.lists(st.sampled_from([None, Reason.POD_NOT_READY, Reason.FORBIDDEN]), min_size=1, max_size=12))
def test_failures_in_a_row_are_those_since_the_last_success(reasons: list[Reason | None]) -> None:
    """Whatever came in between."""
    events = [
        e for number, reason in enumerate(reasons, 1) for e in (failure(number, reason) if reason else success(number))
    ]
    since = len(reasons) - reasons[::-1].index(None) if None in reasons else 0
    assert reasons[since:].count(Reason.POD_NOT_READY) == told(*events).consecutive_failures


@given(st.lists(st.sampled_from(list(State))))
def test_a_module_is_as_well_as_its_worst_routine(states: list[State]) -> None:
    """Without routines, nothing is known."""
    routines = tuple(replace(FRESH, state=state) for state in states)
    expected = max(states, key=list(State).index) if states else State.WAITING
    assert expected is Snapshot("module", routines).state
    assert expected is worst(states)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.WELL, 200), (State.FAILING, 500), (State.WAITING, 503), (State.EXPIRED, 503), (State.INCONCLUSIVE, 503),
        (State.SUSPENDED, 503),
    ],
)  # fmt: skip
def test_every_state_has_its_code(state: State, code: int) -> None:
    """200 well, 500 failing, 503 not known."""
    assert code == state.http_code


def test_the_last_attempt_is_the_latest_with_a_verdict() -> None:
    """One under way is not it."""
    status = told(*success(1), event(Phase.INIT, 2))
    assert status.last is not None
    assert 1 == status.last.number


def test_an_attempt_without_events_has_no_verdict() -> None:
    """Nothing is assumed."""
    assert Attempt(1, 0.0, Phase.INIT).verdict is None
