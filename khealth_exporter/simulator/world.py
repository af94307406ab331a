"""The parts that all components of the simulated cluster share, and their base class."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ParamSpec

from khealth_exporter.simulator.deletion import Deletion
from khealth_exporter.simulator.documents import epoch, timestamp
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.faults import API_OUTAGES, Faults
from khealth_exporter.simulator.recorder import Recorder
from khealth_exporter.simulator.registry import Registry
from khealth_exporter.simulator.settings import Delay, SimulatorSettings
from khealth_exporter.simulator.store import Store

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class World:
    """The parts of one simulated cluster."""

    settings: SimulatorSettings
    random: random.Random
    store: Store
    faults: Faults
    registry: Registry
    deletion: Deletion
    recorder: Recorder
    tasks: asyncio.TaskGroup
    folder: Path
    """A directory for the volumes of canaries; it goes with the cluster."""

    def now(self) -> str:
        """Return the current time as a Kubernetes Time."""
        return timestamp(self.registry.now())

    def elapsed(self, since: str) -> float:
        """Return the seconds since a Kubernetes Time, by the cluster's clock, which runs at its speed."""
        return (self.registry.now() - epoch(since)) * self.settings.speed

    def scaled(self, seconds: float) -> float:
        """Return the component's `seconds` divided by the cluster's speed."""
        return seconds / self.settings.speed


class Component:
    """A part of the control plane or of a node; it stops while one of its faults is active."""

    holding: tuple[str, ...] = ()
    """The faults that stop it, in addition to outages of the API server."""

    def __init__(self, world: World) -> None:
        """Work in this cluster."""
        self.world = world

    async def turn(self, node: str = "") -> None:
        """Wait until no fault stops the component; what it does until its next await is atomic."""
        await self.world.faults.clear(*self.holding, *API_OUTAGES, node=node)

    async def pause(self, delay: Delay) -> None:
        """Wait for a random time."""
        await asyncio.sleep(self.world.scaled(delay.draw(self.world.random)))

    def spawn(
        self, work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[None]:
        """Start a task that ends without an error if its object has gone or changed in the meantime."""
        return self.world.tasks.create_task(_forgiving(work, *args, **kwargs))


async def _forgiving(work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        await work(*args, **kwargs)
    except ApiError as error:
        if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN}:
            raise
