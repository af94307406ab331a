"""What the parts of a kubelet have in common: they read pods, report their status and record Events."""

import asyncio
import contextlib

from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.faults import API_OUTAGES
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import PODS
from khealth_exporter.simulator.store import Key
from khealth_exporter.simulator.world import Component


class NodeAgent(Component):
    """A part of the kubelets of all nodes."""

    holding = ("kubelet-stalled",)

    def pod(self, key: Key) -> Document:
        """Return the pod. Raises `ApiError` (404)."""
        return self.world.registry.get(PODS, *key)

    def report(self, key: Key, status: Document) -> None:
        """Merge this into the pod's status. Raises `ApiError` (404)."""
        self.world.registry.patch(PODS, key, {"status": status}, subresource="status")

    def say(self, key: Key, node: str, occurrence: Occurrence) -> None:
        """Record an Event about the pod. Raises `ApiError` (404)."""
        self.world.recorder.record(Source("kubelet", node), PODS, self.pod(key), occurrence)

    async def unless(self, node: str, fault: str) -> None:
        """Wait until neither this fault nor one that stops the kubelet is active on the node."""
        await self.world.faults.clear(fault, *self.holding, *API_OUTAGES, node=node)

    async def patience(self, seconds: float, fault: str, node: str) -> None:
        """Wait that many seconds; if the fault is active, return as soon as it ends."""
        if not self.world.faults.active(fault, node):
            await asyncio.sleep(self.world.scaled(seconds))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.world.scaled(seconds)):
                await self.world.faults.clear(fault, node=node)
