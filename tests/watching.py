"""A watch of pods that runs against an API server in memory, and every line that it told."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes import (
    FakeApi,
    Telemetered,
)
from virtual_time import virtual_clock

from khealth_exporter.cluster.kinds import POD
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.ownership import SELECTOR, key_of
from khealth_exporter.cluster.watch.subscription import Line, Signal, Subscription
from khealth_exporter.cluster.watch.watch import Watch
from khealth_exporter.measure.clock import Clock


def pod(name: str = "a", **metadata: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "khealth"}
    return {"metadata": {"name": name, "labels": labels, **metadata}, "spec": {}, "status": {}}


def versioned(name: str, version: int) -> dict[str, Any]:
    return pod(name, uid=f"uid-{name}", resourceVersion=str(version))


@dataclass
class Seen:
    """A watch of pods that runs, its server, and every line that it told."""

    api: FakeApi
    clock: Clock
    figures: Telemetered
    watch: Watch[Pod]
    subscription: Subscription[Pod]
    lines: list[Line[Pod]] = field(default_factory=list)

    def drain(self) -> list[Line[Pod]]:
        fresh = list(self.subscription.drain())
        self.lines += fresh
        return fresh

    def told(self) -> list[tuple[str, str]]:
        """Return the lines since the last time, as type and name."""
        return [(told.type, told.object.name) for told in self.drain()]

    @property
    def causes(self) -> dict[str, float]:
        return self.figures.counted("khealth_watch_restarts_total", "cause")


@asynccontextmanager
async def watching(
    api: FakeApi | None = None, *, seed: int = 1, clock: Clock | None = None, changed: Signal | None = None
) -> AsyncIterator[Seen]:
    """Run a watch of pods until the block ends; it must not have ended by itself, and must leave nothing open."""
    clock = clock or (api.clock if api else virtual_clock())
    api = api or FakeApi(clock)
    figures = Telemetered(clock)
    watch = Watch(
        POD, "khealth", SELECTOR,
        client=api, clock=clock, telemetry=figures.metrics, random=random.Random(seed), key_of=key_of,
        changed=changed or Signal(),
    )  # fmt: skip
    seen = Seen(api, clock, figures, watch, watch.subscribe(None, Signal()))
    task = asyncio.create_task(watch.run())
    try:
        yield seen
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert [] == api.open_streams()


async def settle() -> None:
    """Let what is ready happen, within a moment."""
    await asyncio.sleep(0.001)


async def bookmarks(api: FakeApi) -> None:
    """Send bookmarks as a server does."""
    while True:
        await asyncio.sleep(60.0)
        api.bookmark()
