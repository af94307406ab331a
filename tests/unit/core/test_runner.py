"""The runner's laws, for any script of failures, timeouts, bugs, slow steps and stops."""

import asyncio
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast
from unittest.mock import Mock

import pytest
from fakes import NOBODY, Telemetered, context_of
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from virtual_time import BEGINNING, EPOCH, run, virtual, virtual_clock, virtual_loop

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE
from khealth_exporter.cluster.client.request import Call
from khealth_exporter.cluster.client.trouble import Troubles
from khealth_exporter.cluster.errors import Refused, no_answer
from khealth_exporter.core.routine import AttemptId, Context, Recorded, Routine, RoutineConfig, RoutineSettings
from khealth_exporter.core.runner import OVERTIME, Runner
from khealth_exporter.core.stop import Stop
from khealth_exporter.core.turns import Grid
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Event, Phase, Skipped
from khealth_exporter.vocabulary.reading import Figure, Reading, Remark
from khealth_exporter.vocabulary.reason import CLIENTS_SILENT, COMMON_REASONS, Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Sample
from khealth_exporter.vocabulary.step import API_EDGES, Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed, Verdict


class HeldSettings(RoutineSettings):
    """Settings whose hold can be chosen."""

    interval: float = 60.0
    timeout: float = 20.0
    ttl: float = 10.0
    every: float = 3.0

    @property
    def hold(self) -> float:
        return self.ttl

    @property
    def pause(self) -> float:
        return self.every


@dataclass(frozen=True)
class Act:
    """What one call of a routine does: it lasts for some seconds, and then fails if it has an error."""

    lasts: float = 0.0
    error: BaseException | None = None
    stubborn: float = 0.0
    """Seconds that it takes to end when it is cancelled."""

    async def play(self) -> None:
        try:
            await asyncio.sleep(self.lasts)
        except asyncio.CancelledError:
            await asyncio.sleep(self.stubborn)
            raise
        if self.error is not None:
            # The same exception is raised again and again: it must not remember where it has been.
            self.error.__context__ = None
            raise self.error.with_traceback(None)


@dataclass(frozen=True)
class Script:
    """What one attempt of a routine does; the last poll and the last cleanup stand for all further ones."""

    init: Act = Act(1.0)
    polls: Sequence[Act] = (Act(),)
    cleanups: Sequence[Act] = (Act(1.0),)
    made: BaseException | None = None


@dataclass
class Played:
    """What has been seen of a scenario."""

    events: list[Event] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    calls: list[tuple[str, int, float]] = field(default_factory=list)
    """What was called, in which attempt, and when."""
    ended: list[tuple[str, int, float]] = field(default_factory=list)
    offset: float = 0.0
    asked: list[tuple[float, int | None]] = field(default_factory=list)
    """When an attempt was asked for, and the number that was answered."""

    def publish(self, event: Event | Skipped) -> None:
        """Keep what a runner publishes."""
        if isinstance(event, Event):
            self.events.append(event)
        else:
            self.skipped.append(event)

    def of(self, attempt: int) -> list[Event]:
        return [event for event in self.events if event.attempt == attempt]

    def times(self, what: str, attempt: int = 1) -> list[float]:
        return [at - BEGINNING for called, number, at in self.calls if (called, number) == (what, attempt)]


class Scripted(Routine[HeldSettings]):
    """A routine that does what its script says."""

    name: ClassVar[str] = "scripted"
    steps: ClassVar[tuple[Step, ...]] = (ACCEPT, CREATE, DELETE)
    reasons: ClassVar[tuple[Reason, ...]] = (Reason.POD_NOT_DELETED, Reason.POD_NOT_READY, Reason.SLOW)
    Settings: ClassVar[type[RoutineSettings]] = HeldSettings
    scripts: ClassVar[Mapping[int, Script]] = {}
    played: ClassVar[Played]

    def __init__(self, attempt: AttemptId, settings: HeldSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self.script = self.scripts.get(attempt.number, Script())
        if self.script.made is not None:
            raise self.script.made
        self.polled = self.cleaned = 0

    async def _play(self, what: str, act: Act) -> None:
        self.played.calls.append((what, self.attempt.number, self.context.clock.now()))
        try:
            await act.play()
        finally:
            self.played.ended.append((what, self.attempt.number, self.context.clock.now()))

    async def init(self) -> None:
        await self._play("init", self.script.init)

    async def poll(self) -> None:
        act = self.script.polls[min(self.polled, len(self.script.polls) - 1)]
        self.polled += 1
        await self._play("poll", act)

    async def cleanup(self) -> None:
        act = self.script.cleanups[min(self.cleaned, len(self.script.cleanups) - 1)]
        self.cleaned += 1
        await self._play("cleanup", act)


def runner_of(kind: type[Scripted], settings: HeldSettings, played: Played) -> Runner:
    """Return a runner whose Events are kept."""
    context = context_of(virtual_clock())
    return Runner(RoutineConfig("module", "label", kind, settings), lambda: context, played.publish)


async def play(  # noqa: PLR0913 - a scenario has these parts
    scripts: Mapping[int, Script],
    *,
    chosen: HeldSettings = HeldSettings(),  # noqa: B008 - it is frozen
    offset: float = 0.0,
    once: bool = False,
    stop_at: float = math.inf,
    asks: Iterable[float] = (),
    kind: type[Scripted] = Scripted,
) -> Played:
    """Run a scripted routine until a stop is asked for, and return what was seen."""
    played, stop = Played(offset=offset), Stop()
    scripted = type("Scripted", (kind,), {"scripts": scripts, "played": played})
    runner = runner_of(scripted, chosen, played)
    if stop_at < math.inf:
        asyncio.get_running_loop().call_later(stop_at, stop.request)

    def ask(at: float) -> None:
        played.asked.append((at, runner.begin()))

    asking = [asyncio.get_running_loop().call_later(at, ask, at) for at in asks if at < stop_at]
    await runner.run(stop, offset=offset, once=once)
    for later in asking:
        later.cancel()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return played


def one(script: Script, **keywords: Any) -> Played:
    """Play one attempt."""
    return run(play({1: script}, once=True, **keywords))


def verdicts(events: Iterable[Event]) -> list[Verdict]:
    return [event.verdict for event in events if event.verdict]


def told(reason: Reason, note: str = "") -> Verdict:
    """Return the verdict that a reason stands for, with the reason's own component."""
    return Verdict(reason.result, reason, note, reason.component)


def _verdict(event: Event) -> Verdict:
    if event.reason is Reason.SLOW:
        return replace(told(event.reason, event.note), component=ACCEPT.component)
    return told(event.reason, event.note) if event.reason else Verdict(Result.SUCCESS)


def settled(reason: Reason) -> Failed:
    return Failed(reason, "gone, but late", settled=True)


SECONDS = st.sampled_from([0.0, 0.1, 0.7, 3.0, 9.9, 10.0, 19.9, 20.0, 25.0, 30.0, 31.0, 1e6])
ERRORS = st.sampled_from(
    [
        None,
        None,
        Failed(Reason.POD_NOT_READY, "slow"),
        Failed(Reason.THROTTLED),
        settled(Reason.POD_NOT_DELETED),
        ValueError("a bug"),
        TimeoutError(),
        ExceptionGroup("many", [ValueError("one")]),
        ExceptionGroup("many", [Failed(Reason.POD_NOT_READY, step=CREATE), Failed(Reason.SLOW, step=ACCEPT)]),
        Failed(Reason.DNS_FAILED, "undeclared"),
        asyncio.CancelledError(),
    ]
)
ACTS = st.builds(Act, SECONDS, ERRORS, st.sampled_from([0.0, 0.0, 0.5, 4.0]))
SCRIPTS = st.builds(
    Script,
    ACTS,
    st.lists(ACTS, min_size=1, max_size=4),
    st.lists(ACTS, min_size=1, max_size=4),
    st.sampled_from([None, None, None, None, ValueError("cannot be made")]),
)
STOPS = st.one_of(
    st.just(math.inf), st.sampled_from([0.0, 1.0, 1.5, 11.0, 12.0, 60.0]), st.floats(0, 300, allow_nan=False)
)
OFFSETS = st.sampled_from([0.0, 0.001, 7.0, 33.3, 59.99])
STUBBORN = 4.0


def scenario(scripts: Sequence[Script], stop_at: float, offset: float) -> Played:
    """Play some attempts until a stop, which comes in the end in any case."""
    numbered = dict(enumerate(scripts, 1))
    return run(play(numbered, stop_at=min(stop_at, 60.0 * 8), offset=offset))


SCENARIOS = given(st.lists(SCRIPTS, min_size=1, max_size=4), STOPS, OFFSETS)


@SCENARIOS
def test_cleanup_runs_whenever_init_began(scripts: list[Script], stop_at: float, offset: float) -> None:
    """Whatever an attempt did, and whenever a stop came: where init began, cleanup began after it had ended."""
    played = scenario(scripts, stop_at, offset)

    begun = [number for what, number, _ in played.calls if what == "init"]
    cleaned = [number for what, number, _ in played.calls if what == "cleanup"]
    assert begun == list(dict.fromkeys(cleaned))
    for number in begun:
        init_ended = next(at for what, n, at in played.ended if (what, n) == ("init", number))
        assert init_ended <= BEGINNING + played.times("cleanup", number)[0]


@SCENARIOS
def test_cleanup_goes_to_its_end_or_to_its_bound(scripts: list[Script], stop_at: float, offset: float) -> None:
    """A cleanup that is given up has had its whole bound (but for one pause); one that is not has returned."""
    played = scenario(scripts, stop_at, offset)

    for event in played.events:
        if event.phase is Phase.CLEANUP and event.result is not Result.SUCCESS:
            finished = event.reason is Reason.POD_NOT_DELETED  # The only settled failure of the scripts.
            assert finished or event.duration >= 20.0 - 5.0


@SCENARIOS
def test_every_phase_is_bounded(scripts: list[Script], stop_at: float, offset: float) -> None:
    """No phase lasts longer than its bound and the overtime, but for what it does when it is cancelled."""
    played = scenario(scripts, stop_at, offset)

    bounds = {Phase.INIT: 20.0, Phase.POLL: 10.0, Phase.CLEANUP: 20.0}
    for event in played.events:
        assert event.duration <= bounds[event.phase] + OVERTIME + STUBBORN + 1e-6


@SCENARIOS
def test_every_phase_that_began_makes_one_event(scripts: list[Script], stop_at: float, offset: float) -> None:
    """An attempt's Events are init's, the hold's if it was held, and cleanup's, in this order and once each."""
    played = scenario(scripts, stop_at, offset)

    for number in {event.attempt for event in played.events}:
        held = [Phase.POLL] if played.times("poll", number) else []
        phases = [event.phase for event in played.of(number)]
        # A stop may come between the hold's beginning and its first poll.
        assert phases in ([Phase.INIT, *held, Phase.CLEANUP], [Phase.INIT, Phase.POLL, Phase.CLEANUP])


@SCENARIOS
def test_an_attempt_has_one_verdict_the_first_that_is_no_success(
    scripts: list[Script], stop_at: float, offset: float
) -> None:
    """The verdict comes with the first phase that did not succeed, or else is cleanup's success."""
    played = scenario(scripts, stop_at, offset)

    for number in {event.attempt for event in played.events}:
        events = played.of(number)
        bad = [event for event in events if event.result is not Result.SUCCESS]
        giving = bad[0] if bad else events[-1]
        expected = [_verdict(giving) if event is giving else None for event in events]
        assert expected == [event.verdict for event in events]


@SCENARIOS
def test_attempts_add_up_in_the_metrics(scripts: list[Script], stop_at: float, offset: float) -> None:
    """Attempts are as many as successes, failures and inconclusive ones together."""
    played = scenario(scripts, stop_at, offset)

    figures = Telemetered(Clock())
    figures.metrics.declare("module", "label", Scripted, HeldSettings())
    for event in played.events:
        figures.metrics.apply(event)
    successes = sum(verdict.result is Result.SUCCESS for verdict in verdicts(played.events))
    failures, inconclusive = figures.total("khealth_failures_total"), figures.total("khealth_inconclusive_total")
    assert figures.total("khealth_attempts_total") == successes + failures + inconclusive
    assert figures.total("khealth_attempts_total") == len({event.attempt for event in played.events})


VALUES = {"khealth_success", "khealth_last_attempt_timestamp_seconds", "khealth_last_success_timestamp_seconds"}
"""Series that a verdict makes."""


@SCENARIOS
def test_no_attempt_makes_a_series_that_was_not_declared(scripts: list[Script], stop_at: float, offset: float) -> None:
    """Labels are closed sets: what a routine says beyond them is an internal error."""
    played = scenario(scripts, stop_at, offset)

    figures = Telemetered(Clock())
    figures.metrics.declare("module", "label", Scripted, HeldSettings())
    declared = figures.series()
    for event in played.events:
        figures.metrics.apply(event)
    assert set() == {series for series in figures.series() - declared if series[0] not in VALUES}


@SCENARIOS
def test_an_attempt_is_completed_by_its_last_event(scripts: list[Script], stop_at: float, offset: float) -> None:
    """With the seconds of init and cleanup, the hold left out."""
    played = scenario(scripts, stop_at, offset)

    for number in {event.attempt for event in played.events}:
        *earlier, last = played.of(number)
        assert {None} >= {event.completed for event in earlier}
        assert last.completed is not None
        worked = sum(event.duration for event in (*earlier, last) if event.phase is not Phase.POLL)
        assert worked == pytest.approx(last.completed.duration)


@SCENARIOS
def test_attempts_keep_to_their_grid(scripts: list[Script], stop_at: float, offset: float) -> None:
    """The first begins at once, every other one in a slot of its own: a multiple of the interval after the offset."""
    played = scenario(scripts, stop_at, offset)

    began = [event.began - EPOCH for event in played.events if event.phase is Phase.INIT]
    assert began[0] == pytest.approx(0.0, abs=1e-6)
    slots = [(at - offset) / 60.0 for at in began[1:]]
    assert [round(slot) for slot in slots] == pytest.approx(slots, abs=1e-6)
    assert len(slots) == len({round(slot) for slot in slots})


@SCENARIOS
def test_an_attempt_begins_in_the_first_slot_after_the_last_one_ended(
    scripts: list[Script], stop_at: float, offset: float
) -> None:
    """Slots that an attempt overran are skipped, and no other."""
    played = scenario(scripts, stop_at, offset)

    events = played.events
    for last, following in itertools.pairwise(events):
        if last.phase is Phase.CLEANUP:
            assert 0.0 <= following.began - max(last.ended, EPOCH + offset) <= 60.0 + 1e-6


@SCENARIOS
def test_nothing_is_begun_after_a_stop(scripts: list[Script], stop_at: float, offset: float) -> None:
    """Once a stop is asked for, no attempt, no hold and no poll begins; cleanups do."""
    played = scenario(scripts, stop_at, offset)

    late = {what for what, number, at in played.calls if at - BEGINNING > stop_at}
    assert late <= {"cleanup"}


@given(SCRIPTS, OFFSETS)
def test_the_second_attempt_does_not_feel_the_first(script: Script, offset: float) -> None:
    """After any attempt, one in which all is well is a success that takes the time that it takes."""
    played = run(play({1: script}, stop_at=200.0, offset=offset))

    expected = [(Phase.INIT, 1.0), (Phase.POLL, 10.0), (Phase.CLEANUP, 1.0)]
    second = played.of(2)
    assert [Verdict(Result.SUCCESS)] == verdicts(second)
    assert [phase for phase, _ in expected] == [event.phase for event in second]
    assert [seconds for _, seconds in expected] == pytest.approx([event.duration for event in second])


@given(SCRIPTS, st.floats(0, 60, allow_nan=False))
@example(Script(), 0.5)
@example(Script(), 5.0)
def test_a_cancelled_attempt_is_cleaned_up_and_no_success(script: Script, cancel_at: float) -> None:
    """Where the runner itself is cancelled in init, cleanup runs all the same, and the attempt is no success."""

    async def cancelled() -> Played:
        played = Played()
        scripted = type("Scripted", (Scripted,), {"scripts": {1: script}, "played": played})
        runner = runner_of(scripted, HeldSettings(), played)
        task = asyncio.create_task(runner.run(Stop(), once=True))
        asyncio.get_running_loop().call_later(cancel_at, task.cancel)
        await asyncio.wait({task})
        return played

    played = run(cancelled())
    if played.times("init"):
        assert played.times("cleanup")
    complete = [event for event in played.events if event.phase is Phase.INIT]
    if not complete:
        assert [Verdict(Result.SUCCESS)] != verdicts(played.events)


def test_a_well_behaved_attempt_is_a_success() -> None:
    """All phases succeed; the verdict comes with cleanup's end."""
    events = one(Script()).events
    assert [(Phase.INIT, None), (Phase.POLL, None), (Phase.CLEANUP, Verdict(Result.SUCCESS))] == [
        (event.phase, event.verdict) for event in events
    ]


def test_a_failure_is_counted_when_it_happens() -> None:
    """The verdict of an init that fails is published before cleanup has begun."""
    played = one(Script(init=Act(3.0, Failed(Reason.POD_NOT_READY, "why"))))
    assert told(Reason.POD_NOT_READY, "why") == played.events[0].verdict
    assert EPOCH + 3.0 == played.events[0].ended


def test_an_attempt_that_fails_is_not_held() -> None:
    """After an init that failed, nothing is polled."""
    assert [] == one(Script(init=Act(1.0, Failed(Reason.POD_NOT_READY)))).times("poll")


def test_evidence_and_measurements_go_with_their_phase() -> None:
    """What a routine records, and the evidence of its failure, are in the Event of the phase that was running."""
    sample = Sample("pod", "uid", None, (Measurement(CREATE, 1.0, 0.0),), {})
    evidence = (Evidence("Pod", "pod", ("pending",)),)

    class Recording(Scripted):
        async def init(self) -> None:
            self.record(Measurement(ACCEPT, 0.5, 0.0))

        async def poll(self) -> None:
            self.record(sample)
            raise Failed(Reason.POD_NOT_READY, "", evidence)

    init, hold, cleanup = one(Script(), kind=Recording).events
    assert ((Measurement(ACCEPT, 0.5, 0.0),), (), ()) == (init.measurements, init.samples, init.evidence)
    assert ((), (sample,), evidence) == (hold.measurements, hold.samples, hold.evidence)
    assert ((), (), ()) == (cleanup.measurements, cleanup.samples, cleanup.evidence)


def test_a_phase_that_hangs_is_cut_off_inconclusive() -> None:
    """An init that does not end within its bound and the overtime is khealth's own fault: it should have ended."""
    init = one(Script(init=Act(math.inf))).events[0]
    assert (Result.INCONCLUSIVE, Reason.INTERNAL_ERROR) == (init.result, init.reason)
    assert 20.0 + OVERTIME == init.duration


def test_a_routine_knows_its_deadline() -> None:
    """`deadline` is when the phase's bound is over; the overtime is not told."""
    deadlines = []

    class Asking(Scripted):
        async def init(self) -> None:
            deadlines.append(self.deadline - self.context.clock.now())

        async def poll(self) -> None:
            deadlines.append(self.deadline - self.context.clock.now())
            raise Failed(Reason.POD_NOT_READY)

        async def cleanup(self) -> None:
            deadlines.append(self.deadline - self.context.clock.now())

    one(Script(), kind=Asking, chosen=HeldSettings(ttl=7.0))
    # `once` polls at once, and has the whole hold for it.
    assert [20.0, 7.0, 20.0] == deadlines


def test_a_bug_is_inconclusive_and_loud() -> None:
    """An exception that is not Failed ends its attempt with internal_error, and an error in the log with its trace."""
    with capture_logs() as logs:
        events = one(Script(init=Act(1.0, ValueError("a bug")))).events
    assert [told(Reason.INTERNAL_ERROR, "ValueError: a bug")] == verdicts(events)
    loud = [entry for entry in logs if entry["log_level"] == "error"]
    assert [("label", 1, Phase.INIT, "a bug")] == [
        (entry["routine"], entry["attempt"], entry["phase"], str(entry["exc_info"])) for entry in loud
    ]


def test_a_bug_in_the_constructor_is_inconclusive() -> None:
    """A routine that cannot even be made has an attempt all the same: with Events of init and cleanup."""
    events = one(Script(made=ValueError("no"))).events
    assert [Phase.INIT, Phase.CLEANUP] == [event.phase for event in events]
    assert [told(Reason.INTERNAL_ERROR, "ValueError: no")] == verdicts(events)


@pytest.mark.parametrize(
    "init", [Act(1.0), Act(1.0, Failed(Reason.POD_NOT_READY)), Act(1.0, ValueError("a bug")), Act(math.inf)]
)
def test_a_routine_is_closed_when_its_attempt_is_over(init: Act) -> None:
    """However it went, and after cleanup."""
    closed = []

    class Closing(Scripted):
        def close(self) -> None:
            closed.append([what for what, _, _ in self.played.ended])

    one(Script(init=init), kind=Closing, chosen=HeldSettings(ttl=0.0))
    assert [["init", "cleanup"]] == closed


def test_a_bug_in_close_is_loud_and_ends_nothing() -> None:
    """The next attempt comes all the same, and the verdict stands."""

    class Clumsy(Scripted):
        def close(self) -> None:
            raise ValueError("a bug")

    with capture_logs() as logs:
        played = run(play({}, stop_at=80.0, kind=Clumsy))
    assert [Verdict(Result.SUCCESS)] * 2 == verdicts(played.events)
    assert ["a bug"] * 2 == [str(entry["exc_info"]) for entry in logs if entry["log_level"] == "error"]


def test_a_note_of_a_bug_is_short() -> None:
    """An exception's text may be megabytes long; a note is not."""
    (verdict,) = verdicts(one(Script(init=Act(0.0, ValueError("x" * 10_000)))).events)
    assert len(verdict.note) <= 200


def test_a_bug_stops_no_other_routine() -> None:
    """Two runners in one TaskGroup: one that is nothing but bugs does not touch the other."""

    async def both() -> tuple[Played, Played]:
        bug = ValueError("a bug")
        broken = Script(Act(0.0, bug), (Act(0.0, bug),), (Act(0.0, bug),), made=None)
        everywhere = dict.fromkeys(range(1, 9), broken)
        stop_at = 250.0
        async with asyncio.TaskGroup() as group:
            first = group.create_task(play_beside(everywhere, stop_at))
            second = group.create_task(play_beside({}, stop_at))
        return first.result(), second.result()

    broken, well = run(both())
    assert {Reason.INTERNAL_ERROR} == {verdict.reason for verdict in verdicts(broken.events)}
    assert [Verdict(Result.SUCCESS)] * 5 == verdicts(well.events)


async def play_beside(scripts: Mapping[int, Script], stop_at: float) -> Played:
    """Run a scripted routine beside others."""
    played, stop = Played(), Stop()
    scripted = type("Scripted", (Scripted,), {"scripts": scripts, "played": played})
    asyncio.get_running_loop().call_later(stop_at, stop.request)
    runner = runner_of(scripted, HeldSettings(), played)
    await runner.run(stop)
    return played


@dataclass
class Asking:
    """A client that knows how requests ended."""

    troubles: Troubles = field(default_factory=Troubles)

    @property
    def trouble(self) -> Refused | None:
        return self.troubles.now()


CALL = Call.of("https://a.example.com", "get", "pods", "/api/v1/pods")
AWAY = Refused(no_answer(ConnectionRefusedError("refused")), "get pods")
WATCH = Refused(no_answer(TimeoutError()), "watch pods")


@pytest.mark.parametrize(
    ("ended", "note"),
    [
        ((AWAY,), AWAY.note),
        ((None, AWAY), AWAY.note),
        ((AWAY, None), "too late"),
        ((None,), "too late"),
        ((), WATCH.note),
    ],
)
def test_init_that_is_cut_short_tells_its_own_latest_refusal(ended: Sequence[Refused | None], note: str) -> None:
    """Not that of another routine; before its first request has ended, that of the watches that it may wait for."""
    client = Asking()

    class Asks(Scripted):
        async def init(self) -> None:
            for refused in ended if self.attempt.routine == "label" else [AWAY]:
                client.troubles.take(CALL, refused)
            await asyncio.sleep(10.0)

    async def scenario() -> Played:
        played, others, stop = Played(), Played(), Stop()
        client.troubles.take(CALL, WATCH)
        context = replace(context_of(virtual_clock()), cluster=cast("Any", Mock(identity=NOBODY, client=client)))
        asyncio.get_running_loop().call_later(5.0, stop.request, Failed(Reason.INTERRUPTED, "too late"))
        async with asyncio.TaskGroup() as group:
            for name, seen in (("other", others), ("label", played), ("another", others)):
                kind = type("Asks", (Asks,), {"scripts": {}, "played": seen})
                runner = Runner(RoutineConfig("module", name, kind, HeldSettings()), lambda: context, seen.publish)
                group.create_task(runner.run(stop, once=True))
        return played

    assert [note] == [verdict.note for verdict in verdicts(run(scenario()).events)]


def recovering(reason: Reason, *, ago: float) -> Verdict:
    """Return the verdict of an attempt that fails so long after the end of an outage of 20 s."""

    class Fails(Scripted):
        async def init(self) -> None:
            raise Failed(reason, "found so")

    async def scenario() -> Played:
        played, context = Played(), context_of(virtual_clock())
        now = context.clock.now()
        context.cluster.client.outage.take(CALL, AWAY.refusal, now - ago - 20.0, now - ago)
        kind = type("Fails", (Fails,), {"scripts": {}, "played": played, "reasons": (reason,)})
        runner = Runner(RoutineConfig("module", "label", kind, HeldSettings()), lambda: context, played.publish)
        await runner.run(Stop(), once=True)
        return played

    (verdict,) = verdicts(run(scenario()).events)
    return verdict


@pytest.mark.parametrize("reason", sorted(CLIENTS_SILENT))
def test_after_an_outage_of_the_api_server_no_client_of_it_is_blamed(reason: Reason) -> None:
    """A client that waited for the API server may wait twice as long before it asks again."""
    verdict = recovering(reason, ago=40.0)
    assert (Reason.RECOVERING, Component.API_SERVER) == (verdict.reason, verdict.component)
    assert f"the API server was away until 40 s ago, and others may not be back: {reason}: found so" == verdict.note


def test_once_its_clients_should_be_back_they_are_blamed() -> None:
    """An outage excuses nobody for longer than it makes clients wait."""
    assert Reason.POD_NOT_SCHEDULED == recovering(Reason.POD_NOT_SCHEDULED, ago=51.0).reason


def test_an_outage_of_the_api_server_excuses_no_wrong_result() -> None:
    """What waits for nobody is as wrong as ever."""
    assert Reason.DATA_CORRUPTED == recovering(Reason.DATA_CORRUPTED, ago=1.0).reason


def test_a_cleanup_that_fails_is_tried_again_with_back_off() -> None:
    """Pauses between tries are doubled from a quarter of a second up to five, within the bound."""
    played = one(Script(cleanups=(Act(0.0, Failed(Reason.API_ERROR)),)))
    times = [at - played.times("cleanup")[0] for at in played.times("cleanup")]
    assert [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 12.75, 17.75] == pytest.approx(times)


def test_a_cleanup_that_succeeds_at_last_is_a_success() -> None:
    """What a cleanup met on its way does not matter when it has got there."""
    script = Script(cleanups=(Act(0.0, Failed(Reason.API_ERROR)), Act(0.0, ValueError("bug")), Act(1.0)))
    assert [Verdict(Result.SUCCESS)] == verdicts(one(script).events)


def test_a_settled_failure_is_not_tried_again() -> None:
    """All is gone, though not as it should have: there is nothing left to clean up."""
    played = one(Script(cleanups=(Act(1.0, settled(Reason.POD_NOT_DELETED)),)))
    assert 1 == len(played.times("cleanup"))
    assert [told(Reason.POD_NOT_DELETED, "gone, but late")] == verdicts(played.events)


def test_a_failure_in_cleanup_changes_no_verdict() -> None:
    """After an init that failed, a cleanup that fails is told in its Event and changes nothing."""
    script = Script(Act(1.0, Failed(Reason.POD_NOT_READY)), cleanups=(Act(0.0, settled(Reason.POD_NOT_DELETED)),))
    events = one(script).events
    assert [told(Reason.POD_NOT_READY)] == verdicts(events)
    assert Reason.POD_NOT_DELETED == events[-1].reason


def test_the_samples_of_every_try_of_a_cleanup_are_kept() -> None:
    """A cleanup that is tried again makes one Event, with all that its tries have recorded."""

    class Recording(Scripted):
        async def cleanup(self) -> None:
            self.record(Measurement(DELETE, float(self.cleaned), 0.0))
            await super().cleanup()

    script = Script(cleanups=(Act(0.0, Failed(Reason.API_ERROR)), Act()))
    measured = one(script, kind=Recording).events[-1].measurements
    assert [0.0, 1.0] == [measurement.seconds for measurement in measured]


def test_distributions_of_one_step_are_one_in_the_event() -> None:
    """So that what an attempt costs the collector depends on its steps alone, however many agents counted."""

    class Counting(Scripted):
        async def init(self) -> None:
            for number in range(3):
                self.record(Distribution(ACCEPT, (number,) * 25, 0.5, number / 1000))

    (found,) = one(Script(), kind=Counting).events[0].distributions
    assert Distribution(ACCEPT, (3,) * 25, 1.5, 0.002) == found


def test_the_hold_is_polled_from_its_beginning_to_its_end() -> None:
    """Polls are as far apart as the settings say, the last one at the end of the TTL."""
    played = run(play({}, stop_at=30.0))
    assert [1.0, 4.0, 7.0, 10.0, 11.0] == pytest.approx(played.times("poll"))


def test_once_polls_once() -> None:
    """With `once`, one poll stands for the hold."""
    assert [1.0] == one(Script()).times("poll")


def test_slow_polls_do_not_prolong_the_hold() -> None:
    """Polls that take longer than their pause make the hold overrun by one poll at most."""
    played = run(play({1: Script(polls=(Act(4.0),))}, stop_at=40.0))
    assert [1.0, 8.0, 12.0] == pytest.approx(played.times("poll"))


def test_without_a_hold_nothing_is_polled() -> None:
    """A hold of 0 means that the routine has none."""
    played = one(Script(), chosen=HeldSettings(ttl=0.0))
    assert [Phase.INIT, Phase.CLEANUP] == [event.phase for event in played.events]


def test_a_stop_cuts_init_short_inconclusively() -> None:
    """An init that khealth itself ended says nothing of the cluster."""
    played = run(play({1: Script(init=Act(15.0))}, stop_at=5.0))
    note = "khealth is stopping"
    assert [told(Reason.INTERRUPTED, note)] == verdicts(played.events)
    assert [5.0] == played.times("cleanup")


def test_a_stop_cuts_the_hold_short_without_a_failure() -> None:
    """A hold that is cut short has shown nothing wrong."""
    played = run(play({}, stop_at=5.0))
    assert [Verdict(Result.SUCCESS)] == verdicts(played.events)
    assert [5.0] == played.times("cleanup")


def test_a_stop_does_not_touch_cleanup() -> None:
    """A cleanup under way when the stop comes goes on to its end."""
    played = one(Script(init=Act(), cleanups=(Act(12.0),)), chosen=HeldSettings(ttl=0.0), stop_at=3.0)
    assert [12.0] == [event.duration for event in played.events if event.phase is Phase.CLEANUP]


def test_a_stop_ends_the_wait_for_the_next_slot_at_once() -> None:
    """Between attempts there is nothing to clean up."""

    async def stopped() -> float:
        await play({}, stop_at=42.0)
        return virtual_loop().time() - BEGINNING

    assert 42.0 == run(stopped())


def test_a_stop_before_the_beginning_makes_one_interrupted_attempt() -> None:
    """An attempt that could not begin is listed with its reason."""

    async def stopped() -> Played:
        played, stop = Played(), Stop()
        stop.request()
        scripted = type("Scripted", (Scripted,), {"scripts": {}, "played": played})
        runner = runner_of(scripted, HeldSettings(), played)
        await runner.run(stop)
        return played

    assert [Reason.INTERRUPTED] == [verdict.reason for verdict in verdicts(run(stopped()).events)]


def test_missed_slots_are_skipped() -> None:
    """An attempt that overruns two slots is followed by one in the third, not by three at once."""
    slow = HeldSettings(interval=30.0, timeout=50.0)
    played = run(play({1: Script(init=Act(40.0), cleanups=(Act(15.0),))}, stop_at=100.0, chosen=slow))
    assert [90.0] == played.times("init", attempt=2)


def test_an_attempt_that_fails_early_waits_for_its_slot() -> None:
    """Failing fast does not make khealth ask more often."""
    played = run(play({1: Script(Act(0.0, Failed(Reason.POD_NOT_READY)), cleanups=(Act(),))}, stop_at=100.0))
    assert [60.0] == played.times("init", attempt=2)


ASKS = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 59.0, 60.0, 60.001, 90.0, 120.0]), st.floats(0.0, 470.0)), max_size=6
)


def asked(scripts: Sequence[Script], asks: Sequence[float], offset: float) -> Played:
    """Play some attempts, of which some are asked for."""
    return run(play(dict(enumerate(scripts, 1)), stop_at=480.0, offset=offset, asks=asks))


ASKED = given(st.lists(SCRIPTS, min_size=1, max_size=4), ASKS, OFFSETS)


@ASKED
def test_an_attempt_that_is_asked_for_begins_at_once_unless_one_runs(
    scripts: list[Script], asks: list[float], offset: float
) -> None:
    """With the number that was answered; where none was, another attempt was under way."""
    played = asked(scripts, asks, offset)

    spans = {e.attempt: (e.began - EPOCH, e.ended - EPOCH) for e in played.events if e.phase is Phase.CLEANUP}
    for at, number in played.asked:
        if number is None:
            assert any(began - 1e-6 <= at <= ended + 1e-6 for began, ended in spans.values())
        else:
            assert spans[number][0] == pytest.approx(at, abs=1e-6)


@ASKED
def test_an_attempt_that_is_asked_for_does_not_shift_the_grid(
    scripts: list[Script], asks: list[float], offset: float
) -> None:
    """All others begin in slots of their own, and no two attempts at the same time."""
    played = asked(scripts, asks, offset)

    numbers = {number for _, number in played.asked}
    began = [(event.attempt, event.began - EPOCH) for event in played.events if event.phase is Phase.INIT]
    slots = [(at - offset) / 60.0 for number, at in began if number not in numbers and number > 1]
    assert [round(slot) for slot in slots] == pytest.approx(slots, abs=1e-6)
    ends = [event.ended for event in played.events if event.phase is Phase.CLEANUP]
    starts = [event.began for event in played.events if event.phase is Phase.INIT]
    assert all(end <= start + 1e-6 for end, start in zip(ends, starts[1:], strict=False))


@ASKED
def test_attempts_that_are_asked_for_add_up(scripts: list[Script], asks: list[float], offset: float) -> None:
    """They are numbered with the others, without a gap, and each has one verdict."""
    played = asked(scripts, asks, offset)

    numbers = list(dict.fromkeys(event.attempt for event in played.events))
    assert list(range(1, len(numbers) + 1)) == numbers
    assert len(numbers) == len(verdicts(played.events))


def test_a_slot_that_comes_while_an_attempt_runs_that_was_asked_for_is_skipped() -> None:
    """The next one is kept."""
    script = Script(init=Act(15.0), cleanups=(Act(1.0),))
    played = run(play(dict.fromkeys(range(1, 9), script), stop_at=130.0, asks=[50.0, 51.0]))
    assert [[0.0], [50.0], [120.0]] == [played.times("init", attempt=number) for number in (1, 2, 3)]
    assert [(50.0, 2), (51.0, None)] == played.asked


class Impatient(Scripted):
    """A routine that always wants to begin early."""

    @classmethod
    async def early(cls, wanted: RoutineConfig, context: Context) -> None:
        """Return at once."""


def test_a_routine_that_fails_at_once_and_always_begins_early_is_bounded() -> None:
    """It begins a tenth of its interval after the last beginning, and not again and again without a pause."""
    failing = Script(Act(0.0, Failed(Reason.POD_NOT_READY)), cleanups=(Act(),))
    played = run(play(dict.fromkeys(range(1, 99), failing), stop_at=20.0, kind=Impatient))
    assert [[0.0], [6.0], [12.0], [18.0], []] == [played.times("init", attempt=number) for number in range(1, 6)]


def test_a_routine_that_begins_early_comes_before_its_slot() -> None:
    """After an attempt that was longer than that, it begins at once."""
    script = Script(Act(9.0), polls=(Act(),), cleanups=(Act(1.0),))
    played = run(play({1: script}, stop_at=25.0, kind=Impatient, chosen=HeldSettings(ttl=0.0)))
    assert [10.0] == played.times("init", attempt=2)


@given(
    origin=st.floats(0, 1e7, allow_nan=False),
    interval=st.floats(0.001, 1e5, allow_nan=False),
    now=st.floats(0, 1e7, allow_nan=False),
)
def test_the_next_slot_is_the_first_that_is_not_past(origin: float, interval: float, now: float) -> None:
    """The slot lies not before now, less than an interval after it or at the origin, and on the grid."""
    slot = Grid(origin, interval).next(now)
    error = 1e-9 * (1 + max(origin, now))
    assert slot >= now - error
    assert slot == origin or slot - now < interval + error
    assert math.isclose((slot - origin) / interval, round((slot - origin) / interval), abs_tol=error / interval)


@virtual
async def test_progress_is_noted_at_every_poll_and_every_end() -> None:
    """`progressed` moves on with every poll and phase, so that a stuck loop can be told."""
    played, stop, seen = Played(), Stop(), []

    class Watched(Scripted):
        async def poll(self) -> None:
            await super().poll()
            seen.append(runner.progressed - BEGINNING)

    scripted = type("Scripted", (Watched,), {"scripts": {}, "played": played})
    runner = runner_of(scripted, HeldSettings(), played)
    asyncio.get_running_loop().call_later(30.0, stop.request)
    await runner.run(stop)
    assert [1.0, 1.0, 4.0, 7.0, 10.0] == pytest.approx(seen)


def test_durations_and_times_are_told_in_the_events() -> None:
    """An Event knows when its attempt began, and when and after how long its phase ended."""
    events = run(play({1: Script(init=Act(2.0))}, stop_at=30.0)).events
    times = [time for event in events for time in (event.began - EPOCH, event.ended - EPOCH, event.duration)]
    assert [0.0, 2.0, 2.0, 0.0, 12.0, 10.0, 0.0, 13.0, 1.0] == pytest.approx(times, abs=1e-5)


def test_an_act_can_be_replaced() -> None:
    """The scripts of these tests do what they say: a slow, failing act takes its time and then fails."""
    slow = replace(Act(error=Failed(Reason.POD_NOT_READY)), lasts=2.0)
    assert 2.0 == one(Script(init=slow)).events[0].duration


class Concurrent(Scripted):
    """A routine whose tasks fail together."""

    errors: ClassVar[Sequence[Exception]] = ()

    async def init(self) -> None:
        go = asyncio.Event()

        async def fail(error: Exception) -> None:
            await go.wait()
            raise error

        async with asyncio.TaskGroup() as group:
            for error in self.errors:
                group.create_task(fail(error))
            asyncio.get_running_loop().call_later(1.0, go.set)


def together(*errors: Exception) -> Event:
    """Return the Event of an init whose tasks raise these together."""
    kind = type("Together", (Concurrent,), {"errors": errors})
    return one(Script(), kind=kind).events[0]


@given(st.lists(st.sampled_from(Scripted.steps), min_size=1, unique=True), st.booleans())
def test_of_several_failures_the_earliest_step_wins(failing: list[Step], nested: bool) -> None:
    """A failure inside of a routine's own TaskGroup is that failure, with its note and its step's component."""
    errors: list[Exception] = [Failed(Reason.SLOW, step.name, step=step) for step in failing]
    init = together(*([ExceptionGroup("inner", errors)] if nested else errors))
    earliest = min(failing, key=Scripted.steps.index)
    assert Verdict(Result.FAILURE, Reason.SLOW, earliest.name, earliest.component) == init.verdict


def test_a_failure_of_no_step_comes_before_those_of_steps() -> None:
    """It concerns them all."""
    init = together(Failed(Reason.SLOW, step=ACCEPT), Failed(Reason.API_UNREACHABLE))
    assert Reason.API_UNREACHABLE is init.reason


@pytest.mark.parametrize("other", [ValueError("a bug"), Failed(Reason.DNS_FAILED, "undeclared")])
def test_a_failure_beside_a_bug_is_an_internal_error(other: Exception) -> None:
    """Who has a bug cannot be believed about the cluster."""
    init = together(Failed(Reason.POD_NOT_READY, step=CREATE), other)
    assert (Result.INCONCLUSIVE, Reason.INTERNAL_ERROR) == (init.result, init.reason)


def test_a_cleanup_of_which_one_part_is_not_settled_is_tried_again() -> None:
    """What is gone in one task says nothing of what another one left."""
    error = ExceptionGroup("both", [settled(Reason.POD_NOT_DELETED), Failed(Reason.POD_NOT_DELETED, step=DELETE)])
    played = one(Script(cleanups=(Act(0.0, error), Act())))
    assert (2, [Verdict(Result.SUCCESS)]) == (len(played.times("cleanup")), verdicts(played.events))


UNKNOWN = Step("unknown", Component.STORAGE, "")
ANOTHER = replace(CREATE, edges=API_EDGES)
"""Of the name of a declared step, and yet not it."""


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (Measurement(UNKNOWN, 1.0, 0.0), "UndeclaredError: step unknown is not declared by Scripted"),
        (Measurement(ANOTHER, 1.0, 0.0), "UndeclaredError: step create is not declared by Scripted"),
        (
            Sample("pod", "uid", None, (Measurement(CREATE, 1.0, 0.0), Measurement(UNKNOWN, 1.0, 0.0)), {}),
            "UndeclaredError: step unknown is not declared by Scripted",
        ),
        (Distribution(UNKNOWN, (0,) * 25, 0.0, 0.0), "UndeclaredError: step unknown is not declared by Scripted"),
        (Distribution(CREATE, (1, 2), 1.0, 0.0), "UndeclaredError: step create has 25 buckets, and not (1, 2)"),
        (
            Distribution(CREATE, (0,) * 24 + (-1,), 1.0, 0.0),
            f"UndeclaredError: step create has 25 buckets, and not {(0,) * 24 + (-1,)}",
        ),
        (Distribution(CREATE, (0,) * 25, 0.0, 0.0), "UndeclaredError: step create is measured for each object"),
        (Reading(Figure("things", "Things."), 1.0), "UndeclaredError: figure things is not declared by Scripted"),
    ],
)
def test_what_a_routine_does_not_declare_is_an_internal_error(found: Recorded, note: str) -> None:
    """And no series comes of it."""

    class Careless(Scripted):
        async def init(self) -> None:
            self.record(found)

    events = one(Script(), kind=Careless).events
    figures = Telemetered(Clock())
    figures.metrics.declare("module", "label", Careless, HeldSettings())
    declared = figures.series()
    for event in events:
        figures.metrics.apply(event)
    new = {name for name, _ in figures.series() - declared}
    assert ([told(Reason.INTERNAL_ERROR, note)], set()) == (verdicts(events), new - VALUES)


def test_a_reason_that_is_not_declared_is_an_internal_error() -> None:
    """Whatever it says of the cluster."""
    (verdict,) = verdicts(one(Script(init=Act(0.0, Failed(Reason.DNS_FAILED, "no answer")))).events)
    assert told(Reason.INTERNAL_ERROR, "Failed: dns_failed: no answer") == verdict


def test_every_routine_can_give_the_reasons_that_all_have() -> None:
    """Without a declaration of its own; failures come first."""
    reasons = Scripted.all_reasons()
    results = [reason.result for reason in reasons]
    assert {*COMMON_REASONS, *Scripted.reasons} == set(reasons)
    assert sorted(results, key=[Result.FAILURE, Result.INCONCLUSIVE].index) == results


def test_what_is_recorded_besides_goes_with_its_phase() -> None:
    """Readings and remarks, in the order in which they were made."""
    nodes = Figure("nodes", "Nodes.")
    said = (Remark("round", "a minute"), Remark("round", "an hour"))

    class Telling(Scripted):
        figures = (nodes,)

        async def init(self) -> None:
            for found in (Reading(nodes, 3.0), *said):
                self.record(found)

    init, *later = one(Script(), kind=Telling).events
    assert ((Reading(nodes, 3.0),), said) == (init.readings, init.remarks)
    assert {((), ())} == {(event.readings, event.remarks) for event in later}
