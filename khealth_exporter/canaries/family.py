"""An owner and its dependents, and what the garbage collector makes of them once the owner is deleted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

from khealth_exporter.canaries.asking import ASKING, check_awake
from khealth_exporter.canaries.backlog import Backlog
from khealth_exporter.canaries.interference import held_by_another, interference_with, namespace_deleted
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.kinds import CONFIG_MAP
from khealth_exporter.cluster.objects import ConfigMap
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Way
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

DEPENDENTS = 2
"""Dependents of each owner."""
Policy = Literal["Background", "Foreground", "Orphan"]

_WAY: Way[ConfigMap] = Way(
    milestones=("created", "freed", "deleted"),
    spans=(),
    reached=lambda item: ("created",) if item.metadata.owner_references else ("created", "freed"),
)
"""A dependent is free when it belongs to nobody any more."""
_State = Sequence[ConfigMap | None]
"""What there is of a family: its owner first."""


class Family:
    """A ConfigMap that owns others, deleted by a propagation policy; `step` is how long the collector takes for it."""

    def __init__(self, step: Step, policy: Policy, ownership: Ownership, context: Context, changed: Signal) -> None:
        self.step, self._policy, self._changed, self._selector = step, policy, changed, ownership.selector
        self._cluster, self._clock = context.cluster, context.clock
        self._backlog = context.memory.of(Backlog)
        own = ownership.part(step.name)
        names = [own, *(own.part(str(number)) for number in range(1, DEPENDENTS + 1))]
        self._all = [Owned(CONFIG_MAP, name, context, changed, way=_WAY) for name in names]
        self._owner, self._dependents = self._all[0], self._all[1:]
        self._began = self._clock.now()

    @property
    def asked(self) -> Moment:
        """When the owner's deletion was requested; now if it was not."""
        return self._owner.asked or Moment(self._clock.now())

    def close(self) -> None:
        """Let a sweep take what is left."""
        for owned in self._all:
            owned.close()

    async def create(self, deadline: float) -> None:
        """Create the family, and wait until the watch shows it; raise Refused or Failed."""
        self._began = self._clock.now()
        await self._owner.create(self._manifest(self._owner), deadline, self.step)
        for owned in self._dependents:
            await owned.create(self._manifest(owned, self._owner.known), deadline, self.step)
        if not await self._comes(lambda: all(owned.shown for owned in self._all), deadline):
            name = self._owner.ownership.name
            raise Failed(Reason.WATCH_INTERRUPTED, f"the watch does not show ConfigMap {name} and its dependents")

    async def run(self, deadline: float) -> Measurement:
        """Delete the owner, and return how long the collector took; raise Refused or Failed."""
        await self._owner.delete(deadline, policy=self._policy)
        if not await self._comes(lambda: self._over(self._seen()), deadline):
            raise await self._late(deadline)
        last = "deleted" if self._collects else "freed"
        ends = [*_moments([self._owner], "deleted"), *_moments(self._dependents, last)]
        return self._owner.ruler.measure(self.step, self.asked, max(ends, key=lambda moment: moment.at))

    async def verify(self) -> None:
        """Raise Failed if what must stay is gone."""
        await self._comes(lambda: True, self._clock.now())

    async def remove(self, deadline: float) -> None:
        """Delete what is left without the collector, and return when it is gone; raise Refused or Failed."""
        await together(self._take(owned, deadline) for owned in self._all if owned.begun)
        if await self._until(lambda: all(owned.gone or not owned.begun for owned in self._all), deadline):
            return
        left = [owned.item for owned in self._all if owned.begun and owned.item and not owned.gone]
        raise held_by_another(left) or Failed(
            Reason.WATCH_INTERRUPTED, f"the watch does not show that {len(left)} ConfigMaps are gone"
        )

    async def _take(self, owned: Owned[ConfigMap], deadline: float) -> None:
        if owned.asked:
            await owned.release(deadline)
        elif not owned.gone or owned is self._owner or not self._collects:
            await owned.delete(deadline)  # What looks as if it were gone may have other labels only.

    @property
    def _collects(self) -> bool:
        """Whether dependents go with their owner."""
        return self._policy != "Orphan"

    def _seen(self) -> _State:
        return [None if owned.gone else owned.item for owned in self._all]

    def _over(self, state: _State) -> bool:
        """Tell whether the collector has done its work."""
        owner, *dependents = state
        if self._collects:
            return not any(state)
        return owner is None and all(item and _free(item) for item in dependents)

    async def _until(self, true: Callable[[], bool], deadline: float) -> bool:
        def updated() -> bool:
            for owned in self._all:
                owned.update()
            return true()

        return await self._changed.until(updated, deadline)

    async def _comes(self, true: Callable[[], bool], deadline: float) -> bool:
        """Wait until a condition holds, and tell whether it does; raise Failed if anything goes that must stay."""
        await self._until(lambda: self._wrong() is not None or true(), deadline)
        if wrong := self._wrong():
            raise await self._explained(wrong)
        return true()

    def _wrong(self) -> Owned[ConfigMap] | None:
        """Return what is gone, or going, and must not be."""
        if self._owner.asked is None:
            return next((owned for owned in self._all if owned.taken), None)
        if not self._collects:
            return next((owned for owned in self._dependents if owned.taken), None)
        early = self._policy == "Foreground" and self._owner.gone and not all(owned.gone for owned in self._dependents)
        # The order of what a broken watch has missed is not known.
        missed = any(moment.recovered for moment in _moments([self._owner], "deleted"))
        return self._owner if early and not missed else None

    async def _explained(self, wrong: Owned[ConfigMap]) -> Failed:
        """Return what it means that something is gone: another client may have done that."""
        asked, name = self._clock.now() + ASKING, wrong.ownership.name
        if self._owner.asked is None and (why := await interference_with(self._cluster, self._owner, asked)):
            return why
        if why := await namespace_deleted(self._cluster, CONFIG_MAP, self._owner.manifest, asked):
            return why
        if wrong is self._owner:
            note = f"ConfigMap {name} was deleted in the foreground, but is gone before its dependents"
            return Failed(Reason.WRONGLY_COLLECTED, note, step=self.step)
        found = await self._cluster.get(CONFIG_MAP, name, asked)
        if found and found.uid == wrong.known.uid and not found.leaving:
            return Failed(Reason.INTERRUPTED, f"ConfigMap {name} was given other labels by another client")
        if not wrong.known.metadata.owner_references:
            # The collector deletes only what belongs to something.
            return Failed(Reason.INTERRUPTED, f"ConfigMap {name} was deleted by another client")
        why_not = "its owner exists" if self._owner.asked is None else "its owner was deleted with Orphan"
        return Failed(Reason.WRONGLY_COLLECTED, f"ConfigMap {name} was deleted, but {why_not}", step=self.step)

    async def _late(self, deadline: float) -> Failed:
        """Return what it means that the collector has not done its work; ask the API server before."""
        now = self._clock.now()
        check_awake(now - deadline)
        asked = now + ASKING
        found = {item.uid: item for item in await self._cluster.list(CONFIG_MAP, asked, labels=self._selector)}
        state = [found.get(owned.known.uid) for owned in self._all]
        if self._over(state):
            return Failed(Reason.WATCH_INTERRUPTED, "the watch was behind the API server at the deadline")
        left = [item for item in state if item]
        why = await namespace_deleted(self._cluster, CONFIG_MAP, self._owner.manifest, asked)
        if why := why or held_by_another(left) or self._disowned(left):
            return why
        waited = now - self.asked.at
        what = "the owner is" if state[0] else f"{len(left)} dependents are"
        what = f"{what} left" if self._collects or state[0] else "dependents still name their owner"
        note = f"{what} {waited:.1f} s after ConfigMap {self._owner.ownership.name} was deleted ({self._policy})"
        if now - self._owner.told < (deadline - self._began) / 2:
            return Failed(Reason.NO_SINGLE_CAUSE, f"{note}: too late to tell", step=self.step)
        if self._progress(state):
            self._backlog.works(now)
        if self._backlog.excuses(self.asked.at, now):
            note = f"{note}, but the controller manager works: it may be busy with other objects"
            return Failed(Reason.UNKNOWN, note, step=self.step)
        return Failed(Reason.NOT_COLLECTED, f"{note}: the garbage collector has not acted", step=self.step)

    def _disowned(self, left: Iterable[ConfigMap]) -> Failed | None:
        """Return what it means that a dependent has lost its owner, and so does not go with it."""
        free = [item.name for item in left if self._collects and item.uid != self._owner.known.uid and _free(item)]
        return Failed(Reason.INTERRUPTED, f"ConfigMap {free[0]} was taken from its owner") if free else None

    def _progress(self, state: _State) -> bool:
        """Tell whether the collector has done a part of its work."""
        owner, *dependents = state
        return any(item is None or item.leaving or _free(item) for item in dependents) or not (self._collects or owner)

    def _manifest(self, owned: Owned[ConfigMap], owner: ConfigMap | None = None) -> Mapping[str, object]:
        """Return a ConfigMap; a dependent belongs to its owner alone, or it would stay as long as khealth's Pod."""
        metadata = owned.ownership.metadata()
        if owner:
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}
            metadata |= {"ownerReferences": [{**reference, "blockOwnerDeletion": True}]}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _moments(found: Iterable[Owned[ConfigMap]], milestone: str) -> list[Moment]:
    return [owned.trace.moments[milestone] for owned in found if owned.trace and milestone in owned.trace.moments]


def _free(item: ConfigMap) -> bool:
    return not item.metadata.owner_references


async def together(works: Iterable[Awaitable[None]]) -> None:
    """Let all of these end; raise what any of them raised."""
    results = await asyncio.gather(*works, return_exceptions=True)
    if errors := [error for error in results if isinstance(error, Exception)]:
        raise ExceptionGroup("not all were done", errors)
