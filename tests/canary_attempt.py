"""One attempt of a controller's pods, as a routine would compose it, and what it recorded."""

from typing import Any

import pytest
from fakes import Json
from small_cluster import Scene

from khealth_exporter.canaries.diagnosis import not_created
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.kinds import REPLICATION_CONTROLLER
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.verdict import Failed

COUNT = 3


STEPS = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY, STARTUP, DELETE)


BOUND = 20.0


class Attempt:
    """Canaries of one attempt, and what they recorded."""

    def __init__(self, here: Scene, number: int = 1) -> None:
        self.here, self.number = here, number
        self.ownership = here.cluster.identity.of_attempt("a", "a", number, 100.0)
        placement, changed = PodSettings().placement, Signal()
        self.owned = Owned(REPLICATION_CONTROLLER, self.ownership, here.context, changed)
        self.pods = PodSet(self.owned, placement, here.context, STEPS, not_created)
        self.removal = Removal(self.owned, self.pods, placement, here.context, STEPS)
        self.accepted: Measurement | None = None
        self.samples: list[Sample] = []

    def manifest(self) -> Json:
        labels = dict(self.ownership.labels)
        metadata = {"labels": labels, "annotations": dict(self.ownership.annotations)}
        template = {"metadata": metadata, "spec": pod_spec(PodSettings(), labels)}
        spec = {"replicas": COUNT, "selector": labels, "template": template}
        return {"metadata": self.ownership.metadata(), "spec": spec}

    async def init(self) -> None:
        """Create the canaries, and wait until they are Ready."""
        deadline = self.here.clock.now() + BOUND
        await self.pods.see(deadline)
        self.accepted = await self.owned.create(self.manifest(), deadline, ACCEPT)
        await self.pods.all_ready(COUNT, deadline, self.samples.append)

    async def failing(self) -> Failed:
        """Return how init fails."""
        with pytest.raises(Failed) as raised:
            await self.init()
        return raised.value

    async def verify(self) -> None:
        await self.pods.verify(self.here.clock.now() + 10.0)

    async def unwell(self) -> Failed:
        """Return how a poll fails."""
        with pytest.raises(Failed) as raised:
            await self.verify()
        return raised.value

    async def remove(self) -> None:
        await self.removal.run(self.here.clock.now() + BOUND, BOUND, self.samples.append)

    async def staying(self) -> Failed:
        """Return how a removal fails."""
        with pytest.raises(Failed) as raised:
            await self.remove()
        return raised.value

    def close(self) -> None:
        """Let a sweep take what is left."""
        self.pods.close()
        self.owned.close()

    def steps(self, number: int = 0, *, censored: bool | None = None) -> dict[str, float]:
        measured = self.samples[number].measurements
        return {m.step.name: m.seconds for m in measured if censored in (None, m.censored)}


def blind(*streams: Any) -> None:
    """Let streams show nothing more."""
    for stream in streams:
        stream.asked.query["labelSelector"] = "nothing=matches"
