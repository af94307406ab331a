"""Heavy routines: when they begin, and what they do while the API server throttles."""

import asyncio
import itertools
import math
from dataclasses import replace
from typing import Any, ClassVar, cast
from unittest.mock import Mock

from fakes import NOBODY, Telemetered, context_of
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from virtual_time import BEGINNING, EPOCH, run, virtual, virtual_clock

from khealth_exporter.core.collector import Collector
from khealth_exporter.core.heavy import PAUSE, grid, spread
from khealth_exporter.core.routine import Context, Routine, RoutineConfig, RoutineSettings
from khealth_exporter.core.snapshot import RoutineStatus, State
from khealth_exporter.vocabulary.step import Step


class Light(Routine[RoutineSettings]):
    """A routine that takes three seconds."""

    name: ClassVar[str] = "light"
    steps: ClassVar[tuple[Step, ...]] = ()
    Settings: ClassVar[type[RoutineSettings]] = RoutineSettings

    async def init(self) -> None:
        await asyncio.sleep(1.0)

    async def cleanup(self) -> None:
        await asyncio.sleep(2.0)


class Heavy(Light):
    """One that costs much."""

    name: ClassVar[str] = "heavy"
    heavy: ClassVar[bool] = True


class Eager(Heavy):
    """One that always has a reason to begin early."""

    @classmethod
    async def early(cls, wanted: RoutineConfig, context: Context) -> None:
        """Return at once."""


def config(label: str, kind: type[Light] = Heavy, **settings: Any) -> RoutineConfig:
    return RoutineConfig("module", label, kind, RoutineSettings(**settings))


class Scene:
    """A collector whose API server may throttle."""

    def __init__(self, *routines: RoutineConfig) -> None:
        clock = virtual_clock()
        self.client = Mock(spec_set=["throttled_at"], throttled_at=-math.inf)
        cluster = cast("Any", Mock(spec_set=["identity", "client"], identity=NOBODY, client=self.client))
        self.context = replace(context_of(clock), cluster=cluster)
        self.figures = Telemetered(clock)
        self.collector = Collector("module", self.figures.metrics, clock)
        self.collector.want(spread(routines), self.context)

    def throttle(self) -> None:
        """Answer 429 once."""
        self.client.throttled_at = self.context.clock.now()

    async def work(self, seconds: float) -> None:
        """Run the routines for some time."""
        asyncio.get_running_loop().call_later(seconds, self.collector.terminate)
        await self.collector.start()

    def status(self, label: str = "a") -> RoutineStatus:
        return next(status for status in self.collector.status().routines if status.routine == label)

    def began(self, label: str = "a") -> list[float]:
        return [round(attempt.began - EPOCH, 3) for attempt in self.status(label).attempts]


@given(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1), st.sets(st.sampled_from("abcdefgh")))
def test_shares_of_heavy_routines_divide_the_interval(labels: list[str], light: set[str]) -> None:
    """Evenly, in the order of their names, whatever order they are configured in; others have none."""
    found = spread([config(label, Light if label in light else Heavy) for label in labels])
    shares = {routine.label: routine.share for routine in found}
    heavy = sorted(set(labels) - light)
    assert labels == list(shares)
    assert {label: index / len(heavy) for index, label in enumerate(heavy)} == {
        label: share for label, share in shares.items() if label not in light
    }
    assert not any(shares[label] for label in light & set(labels))


@given(st.floats(0.0, 1e6), st.floats(0.0, 1.0), st.lists(st.floats(0.0, 1e4), min_size=5, max_size=5))
def test_heavy_routines_keep_their_distance_whenever_they_begin(
    start: float, jitter: float, later: list[float]
) -> None:
    """One that a reload replaces comes back to its own moment of the interval."""
    routines = spread([config(label) for label in "abcde"])
    slots = sorted(
        grid(routine, start + delay, jitter * 60.0).next(start + delay) % 60.0
        for routine, delay in zip(routines, later, strict=True)
    )
    gaps = [second - first for first, second in itertools.pairwise([*slots, slots[0] + 60.0])]
    assert all(abs(gap - 12.0) < 1e-6 for gap in gaps)


@virtual
async def test_heavy_routines_begin_at_different_moments() -> None:
    """Each in its own slot from the first attempt on; a light one at once."""
    scene = Scene(config("a"), config("b"), config("c"), config("d", Light))
    await scene.work(130.0)
    moments = [round((at + BEGINNING) % 60.0, 3) for at in (scene.began(label)[0] for label in "abc")]
    assert [0.0, 20.0, 40.0] == moments
    assert [0.0, 60.0, 120.0] == scene.began("d")
    assert all(second - first == 60.0 for label in "abc" for first, second in itertools.pairwise(scene.began(label)))


@virtual
async def test_a_heavy_routine_tells_when_its_first_attempt_is_due() -> None:
    """It is not overdue while it waits for its slot."""
    scene = Scene(config("a"), config("b"))
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.collector.start())
        await asyncio.sleep(0.001)
        dues = [(scene.status(label).due or 0.0) - EPOCH for label in "ab"]
        scene.collector.terminate()
    assert 30.0 == abs(round(dues[1] - dues[0], 3))
    assert [] == scene.began("a") + scene.began("b")


@virtual
async def test_once_begins_heavy_routines_at_once() -> None:
    """Whatever the API server answered before."""
    scene = Scene(config("a"), config("b"))
    scene.throttle()
    await scene.collector.start(once=True)
    assert ([0.0], [0.0]) == (scene.began("a"), scene.began("b"))


def test_a_heavy_routine_pauses_while_the_api_server_throttles() -> None:
    """Slots within a minute of a 429 are skipped, told and counted, and are no attempts."""

    async def scenario() -> tuple[Scene, list[Any], RoutineStatus]:
        scene = Scene(config("a", interval=20.0, timeout=5.0), config("b", Light))
        first = 20.0 - BEGINNING % 20.0
        asyncio.get_running_loop().call_later(first + 30.0, scene.throttle)
        async with asyncio.TaskGroup() as group:
            group.create_task(scene.work(first + 110.0))
            await asyncio.sleep(first + 85.0)
            seen = scene.status()
        return scene, [at - first for at in scene.began()], seen

    with capture_logs() as logs:
        scene, began, seen = run(scenario())
    skipped = {"module": "module", "routine": "a"}
    assert [0.0, 20.0, 100.0] == [at for at in began if at >= 0]
    assert 3.0 == scene.figures.value("khealth_skipped_attempts_total", **skipped)
    assert len(scene.began()) == scene.figures.value("khealth_attempts_total", **skipped)
    assert 3 == [log["event"] for log in logs].count("API server is throttling: attempt skipped")
    assert seen.skipped is not None
    assert None is scene.status().skipped
    assert 0.0 == scene.figures.value("khealth_skipped_attempts_total", module="module", routine="b")


@virtual
async def test_an_attempt_that_is_asked_for_begins_while_the_api_server_throttles() -> None:
    """Somebody wants to know."""
    scene = Scene(config("a"))
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.collector.start())
        await asyncio.sleep(0.001)
        scene.throttle()
        assert 1 == scene.collector.begin("a")
        await asyncio.sleep(3.5)
        assert State.WELL is scene.status().state
        scene.collector.terminate()


@virtual
async def test_a_reason_to_begin_early_is_skipped_in_peace() -> None:
    """No faster than attempts that begin early, a tenth of the interval apart."""
    scene = Scene(config("a", Eager))
    for seconds in range(0, 120, 10):
        asyncio.get_running_loop().call_later(seconds, scene.throttle)
    await scene.work(119.0)
    skips = scene.figures.value("khealth_skipped_attempts_total", module="module", routine="a") or 0.0
    assert ([], True) == (scene.began(), 2 <= skips <= 20)


@virtual
async def test_a_pause_is_progress() -> None:
    """A loop that skips its slots is not called silent."""
    scene = Scene(config("a"))
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.collector.start())
        for _ in range(60):
            scene.throttle()
            await asyncio.sleep(PAUSE / 4)
        assert () == scene.collector.silent(300.0)
        scene.collector.terminate()
