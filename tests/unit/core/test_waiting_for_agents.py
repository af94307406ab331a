"""A first attempt waits for the agents that it needs: their pods may be made only now."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from fake_agents import FakeAgents
from fakes import context_of
from virtual_time import BEGINNING, virtual, virtual_clock, virtual_loop

from khealth_exporter.core.agents import Agent
from khealth_exporter.core.routine import Routine, RoutineConfig, RoutineSettings
from khealth_exporter.core.runner import Runner
from khealth_exporter.core.stop import Stop
from khealth_exporter.vocabulary.event import Event, Skipped
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed


class SlowAgents(FakeAgents):
    """Agents that become Ready after a while."""

    starts_in: float = 0.0

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return them then; nobody waits beyond the deadline."""
        await asyncio.sleep(min(self.starts_in, deadline - self.clock.now()))
        return await super().ready(deadline, least=least)


class Asks(Routine[RoutineSettings]):
    """A routine that asks agents."""

    name: ClassVar[str] = "asks"
    steps: ClassVar[tuple[Step, ...]] = ()
    needs_agents: ClassVar[bool] = True
    Settings: ClassVar[type[RoutineSettings]] = RoutineSettings
    began: ClassVar[list[float]] = []

    async def init(self) -> None:
        self.began.append(virtual_loop().time() - BEGINNING)

    async def cleanup(self) -> None:
        """Nothing was created."""


class Keeper(Asks):
    """One that asks none."""

    needs_agents: ClassVar[bool] = False


class Scene:
    """A routine, and agents that take so many seconds to start."""

    def __init__(self, starts_in: float, kind: type[Asks] = Asks, unready: Failed | None = None) -> None:
        clock = virtual_clock()
        agents = SlowAgents(clock, unready=unready)
        agents.starts_in = starts_in
        context = replace(context_of(clock), agents=agents)
        self.kind: type[Asks] = type("Counted", (kind,), {"began": []})
        self.events: list[Event | Skipped] = []
        config = RoutineConfig("module", "asks", self.kind, RoutineSettings())
        self.runner, self.stop = Runner(config, lambda: context, self.events.append), Stop()

    async def until(self, seconds: float) -> list[float]:
        """Run for so long, and return when attempts began."""
        running = asyncio.ensure_future(self.runner.run(self.stop))
        await asyncio.sleep(seconds)
        self.stop.request()
        await running
        return self.kind.began


@virtual
async def test_it_begins_once_they_are_ready() -> None:
    """The time that it takes pods to start is not the attempt's."""
    assert [20.0] == await Scene(20.0).until(30.0)


@virtual
async def test_those_that_do_not_start_are_not_waited_for_for_ever() -> None:
    """The attempt finds out what is wrong."""
    assert [60.0] == await Scene(1000.0).until(90.0)


@virtual
async def test_agents_that_cannot_be_made_are_not_waited_for() -> None:
    """What the API server refuses, it refuses the attempt too."""
    assert [0.0] == await Scene(0.0, unready=Failed(Reason.FORBIDDEN)).until(30.0)


@virtual
async def test_only_the_first_attempt_waits() -> None:
    """Agents that are slow later on are the attempt's business."""
    assert [20.0, 80.0] == await Scene(20.0).until(90.0)


@virtual
async def test_a_stop_ends_the_wait() -> None:
    """It is answered at once."""
    scene = Scene(1000.0)
    await scene.until(5.0)
    assert 5.0 == virtual_loop().time() - BEGINNING


@virtual
async def test_a_request_ends_the_wait() -> None:
    """An attempt on demand begins at once."""
    scene = Scene(1000.0)
    asyncio.get_running_loop().call_later(7.0, scene.runner.begin)
    assert [7.0] == await scene.until(30.0)


@virtual
async def test_other_routines_do_not_wait() -> None:
    """They have nothing to do with agents."""
    assert [0.0] == await Scene(20.0, Keeper).until(30.0)
