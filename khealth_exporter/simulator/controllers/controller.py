"""What the controllers of workloads have in common: a queue of their objects, and workers that sync them."""

from abc import ABC, abstractmethod
from typing import Final

from khealth_exporter.simulator.store import Commit, Key
from khealth_exporter.simulator.workqueue import WorkQueue
from khealth_exporter.simulator.world import Component, World

_WORKERS: Final = 5
"""As the real controller manager has (`--concurrent-*-syncs`)."""


class Controller(Component, ABC):
    """Syncs each object of its kind after what concerns it has changed."""

    def __init__(self, world: World) -> None:
        """Listen to what changes."""
        super().__init__(world)
        self._queue: WorkQueue[Key] = WorkQueue(world.settings.speed)
        world.store.listen(self._listen)

    def start(self) -> None:
        """Start the workers."""
        for _ in range(_WORKERS):
            self.world.tasks.create_task(self._queue.work(self._sync))

    @abstractmethod
    def _listen(self, commit: Commit) -> None: ...

    @abstractmethod
    async def _sync(self, key: Key) -> None: ...
