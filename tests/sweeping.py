"""A cluster that is seen, with a sweeper; and what runs of khealth left there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fakes import Asked, FakeApi, Json, Telemetered
from virtual_time import virtual_clock

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import CONFIG_MAP, POD, REPLICATION_CONTROLLER
from khealth_exporter.cluster.ownership import MAX_AGE, Identity, Owner
from khealth_exporter.cluster.sweep import Sweeper

OWNER = Owner("khealth-0", "uid-khealth-0")


PODS, CONTROLLERS = "pods", "replicationcontrollers"


WATCHED = (POD, REPLICATION_CONTROLLER)


@dataclass
class World:
    """A cluster that is seen, and a sweeper."""

    api: FakeApi
    cluster: Cluster
    sweeper: Sweeper
    figures: Telemetered

    @property
    def left(self) -> list[str]:
        """Return the names of what is still there."""
        return sorted(name for items in self.api.objects.values() for name in items)

    @property
    def deletions(self) -> list[Asked]:
        return self.api.named("delete")

    async def sweep(self) -> list[str]:
        """Look at what is there now, sweep once, and return what is left."""
        await asyncio.sleep(0.1)
        await self.sweeper.sweep()
        await asyncio.sleep(0.1)
        return self.left


@asynccontextmanager
async def world(*, ahead: float = 0.0) -> AsyncIterator[World]:
    """Run a cluster's watches until the block ends."""
    clock = virtual_clock()
    api, figures = FakeApi(clock, ahead=ahead), Telemetered(clock)
    cluster = Cluster(api, Identity("ourrun", "khealth", OWNER, "1-1", lambda _: False), clock, figures.metrics, CHANCE)
    async with asyncio.TaskGroup() as group:
        cluster.watches.need(WATCHED)
        watches = [group.create_task(cluster.watches.run())]
        await cluster.watches.see(WATCHED, clock.now() + 5.0)
        sweeper = Sweeper(cluster)
        sweeper.cover((*WATCHED, CONFIG_MAP))
        yield World(api, cluster, sweeper, figures)
        for task in watches:
            task.cancel()


class Middling:
    """Chance that always takes the middle."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


CHANCE: Any = Middling()


def made(run_: str = "otherrun", attempt: int | str = 1, *, name: str = "", age: str = "100", **metadata: Any) -> Json:
    """Return what an attempt made, as it is sent."""
    identity = Identity(run_, "khealth")
    labels = {**identity.of_attempt("a", "a", 1, 100.0).labels, "khealth.io/attempt": str(attempt)}
    name = name or f"khealth-a-{run_}-{attempt}"
    return {"metadata": {"name": name, "labels": labels, "annotations": {MAX_AGE: age}, **metadata}}


def pod_of(controller: Json, suffix: str = "x7k2p") -> Json:
    """Return a pod that a controller owns."""
    metadata = controller["metadata"]
    owner = {"kind": "ReplicationController", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
    return {"metadata": {**made()["metadata"], "labels": metadata["labels"], "annotations": metadata["annotations"],
                         "name": f"{metadata['name']}-{suffix}", "ownerReferences": [owner]}}  # fmt: skip


MAPS = "configmaps"
