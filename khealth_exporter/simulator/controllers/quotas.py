"""The quota controller: updates status.used of each ResourceQuota."""

from typing import Final

from khealth_exporter.simulator.admission import pods_used
from khealth_exporter.simulator.documents import is_active, spec_of
from khealth_exporter.simulator.resources import PODS, RESOURCE_QUOTAS
from khealth_exporter.simulator.store import Commit, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_COUNTED: Final = ("count/pods", "pods")


class QuotaStatus(Component):
    """Updates status.used; admission does its own counting."""

    holding = ("controller-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to quotas and pods."""
        super().__init__(world)
        self._queue: WorkQueue[str] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start counting."""
        self.world.tasks.create_task(self._queue.work(self._count))

    def _listen(self, commit: Commit) -> None:
        quota = commit.resource is RESOURCE_QUOTAS and commit.kind != "DELETED"
        before = commit.before is not None and is_active(commit.before)
        pod = commit.resource is PODS and (commit.kind != "MODIFIED" or is_active(commit.document) != before)
        if quota or (pod and any(True for _ in self.world.store.all(RESOURCE_QUOTAS, commit.key[0]))):
            self._queue.add(commit.key[0])

    async def _count(self, namespace: str) -> None:
        await self.pause(self.world.settings.delays.collect)
        await self.turn()
        used = pods_used(self.world.store, namespace)
        for quota in self.world.store.all(RESOURCE_QUOTAS, namespace):
            hard = spec_of(quota).get("hard") or {}
            status = {"hard": hard, "used": {name: str(used[name]) for name in _COUNTED if name in hard}}
            self.world.registry.patch(RESOURCE_QUOTAS, key_of(quota), {"status": status}, subresource="status")
