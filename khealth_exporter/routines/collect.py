"""collect: ConfigMaps that own others are deleted by each propagation policy."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, ClassVar

from khealth_exporter.canaries.backlog import Backlog
from khealth_exporter.canaries.family import DEPENDENTS, Family, together
from khealth_exporter.cluster.kinds import CONFIG_MAP, Kind
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step

BACKGROUND = Step(
    "background", Component.CONTROLLER_MANAGER, "the owner's delete is sent → its dependents are gone (Background)"
)
FOREGROUND = Step(
    "foreground",
    Component.CONTROLLER_MANAGER,
    "the owner's delete is sent → first its dependents, then it is gone (Foreground)",
)
ORPHAN = Step(
    "orphan",
    Component.CONTROLLER_MANAGER,
    "the owner's delete is sent → it is gone, and its dependents have no owner (Orphan)",
)


class CollectSettings(RoutineSettings):
    """Settings of collect."""

    interval: Duration = 120.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 30.0
    """Upper bound of init, and again of cleanup."""


class Collect(Routine[CollectSettings]):
    """Delete ConfigMaps that own others, by each propagation policy: the right ones must go, and others stay."""

    name: ClassVar[str] = "collect"
    steps: ClassVar[tuple[Step, ...]] = (BACKGROUND, FOREGROUND, ORPHAN)
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.NOT_COLLECTED,
        Reason.WRONGLY_COLLECTED,
        Reason.NO_SINGLE_CAUSE,
        Reason.UNKNOWN,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (CONFIG_MAP,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (CONFIG_MAP,)
    writes: ClassVar[int] = 3 * (1 + DEPENDENTS) + 3 + DEPENDENTS
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission(
            "update", "configmaps/finalizers",
            optional=True, why="let ConfigMaps block their owner's deletion, where admission checks that",
        ),
    )  # fmt: skip
    Settings: ClassVar[type[CollectSettings]] = CollectSettings

    def __init__(self, attempt: AttemptId, settings: CollectSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._families = (
            Family(BACKGROUND, "Background", self.ownership, context, self.changed),
            Family(FOREGROUND, "Foreground", self.ownership, context, self.changed),
            Family(ORPHAN, "Orphan", self.ownership, context, self.changed),
        )

    async def init(self) -> None:
        """Create and delete each owner, and wait until the garbage collector has done what its policy asks for."""
        await self.context.cluster.watches.see((CONFIG_MAP,), self.deadline)
        first, *others = self._families
        await _together(family.create(self.deadline) for family in others)
        # The collector learns of ConfigMaps in their order. Once it has collected this family, it knows the others; it
        # deletes dependents of an orphaning owner that it did not know, as happens after an outage of the API server.
        await first.create(self.deadline)
        await self._run(first)
        await _together(self._run(family) for family in others)
        for family in self._families:
            await family.verify()
        self.context.memory.of(Backlog).collected(max(family.asked.at for family in self._families))

    async def cleanup(self) -> None:
        """Delete the dependents that have stayed, and whatever else is left."""
        await together(family.remove(self.deadline) for family in self._families)

    def close(self) -> None:
        """Let a sweep take what is left."""
        for family in self._families:
            family.close()

    async def _run(self, family: Family) -> None:
        self.record(await family.run(self.deadline))


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)
