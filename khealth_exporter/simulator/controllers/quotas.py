"""The quota controller: updates status.used of each ResourceQuota."""

from khealth_exporter.simulator import quota
from khealth_exporter.simulator.documents import is_active, spec_of
from khealth_exporter.simulator.resources import PODS, RESOURCE_QUOTAS
from khealth_exporter.simulator.store import Commit, key_of
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World


class QuotaStatus(Component):
    """Updates status.used; admission does its own counting."""

    holding = ("controller-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to quotas, and to what they count."""
        super().__init__(world)
        self._queue: WorkQueue[str] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start counting."""
        self.world.tasks.create_task(self._queue.work(self._count))

    def _listen(self, commit: Commit) -> None:
        changed = commit.resource is RESOURCE_QUOTAS and commit.kind != "DELETED"
        before = commit.before is not None and is_active(commit.before)
        ended = commit.resource is PODS and is_active(commit.document) != before
        counted = quota.is_counted(commit.resource) and (commit.kind != "MODIFIED" or ended)
        if changed or (counted and any(True for _ in self.world.store.all(RESOURCE_QUOTAS, commit.key[0]))):
            self._queue.add(commit.key[0])

    async def _count(self, namespace: str) -> None:
        await self.pause(self.world.settings.delays.collect)
        await self.turn()
        for found in self.world.store.all(RESOURCE_QUOTAS, namespace):
            hard = spec_of(found).get("hard") or {}
            status = {"hard": hard, "used": quota.used(self.world.store, namespace, hard)}
            self.world.registry.patch(RESOURCE_QUOTAS, key_of(found), {"status": status}, subresource="status")
