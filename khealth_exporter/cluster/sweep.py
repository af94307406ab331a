"""Sweeping what dead runs left: watched kinds without a request, the others by a list now and then."""

import asyncio
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject, unix_time
from khealth_exporter.cluster.ownership import RUN, SELECTOR, key_of, passing
from khealth_exporter.cluster.watch.subscription import Key
from khealth_exporter.cluster.watch.watches import following
from khealth_exporter.vocabulary.verdict import Failed

PERIOD = 15.0
"""Seconds between two sweeps."""
LISTING = 300.0
"""Seconds between two lists of a kind that is not watched."""
OVERDUE = 15.0
"""Seconds after which a requested deletion is done without the kubelet or the garbage collector: they are dead."""
_AGAIN = 2.0
"""Seconds after which `clear` looks again at what is still there."""
_TRYING = 10.0
"""Seconds for one request."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object to delete, or a deleted one."""

    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Found:
    """An object that some khealth created, and its kind."""

    kind: Kind[Any]
    item: KubernetesObject

    @property
    def leftover(self) -> Leftover:
        return Leftover(self.kind.name, self.item.name, self.item.uid)


class Sweeper:
    """Deletes what dead runs left in the namespace, and nothing else."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._wanted: tuple[Kind[Any], ...] = ()
        self._dropped: dict[Kind[Any], frozenset[Key] | None] = {}
        """Kinds that no routine creates any more, with the attempts that still ran then; None when these have ended."""
        self._listed: dict[Kind[Any], tuple[KubernetesObject, ...]] = {}
        """What the last list showed of the kinds that are not watched."""
        self._listed_at: dict[Kind[Any], float] = {}
        self._asked: set[tuple[Kind[Any], str]] = set()
        """Kinds and uids of what was swept and was not yet seen to be gone: it is counted once."""

    def cover(self, kinds: Iterable[Kind[Any]]) -> None:
        """Sweep these kinds from now on; a kind that is no longer among them, until its attempts have left nothing."""
        dropped, self._wanted = self._wanted, tuple(dict.fromkeys(kinds))
        for kind in self._wanted:
            self._dropped.pop(kind, None)
        self._drop(dropped)

    def _drop(self, kinds: Iterable[Kind[Any]]) -> None:
        """Sweep a kind that no routine creates any more until its attempts have ended and nothing of it is left."""
        for kind in kinds:
            if kind not in self._kinds:
                self._dropped[kind] = frozenset(self._cluster.active)

    @property
    def _kinds(self) -> tuple[Kind[Any], ...]:
        """What is swept now."""
        return (*self._wanted, *self._dropped)

    async def run(self) -> None:
        """Sweep again and again until cancelled; a deletion that fails does not end it."""
        while True:
            await self.sweep()
            await asyncio.sleep(PERIOD)

    async def sweep(self) -> None:
        """Delete what is left of dead runs, once; log what cannot be deleted, unless for want of a right."""
        self._drop(self._cluster.suspects)
        self._take_ended()
        await self._list_due()
        denied: set[Kind[Any]] = set()
        for found in [found for found in self.leftovers() if self._seen(found.kind)]:
            if found.kind in denied:
                continue  # The API server would deny the next one too; denied rights have a log entry of their own.
            try:
                await self._delete(found, self._cluster.clock.now() + _TRYING)
            except Failed as failed:
                if isinstance(failed, Refused) and failed.refusal.denied:
                    denied.add(found.kind)
                    continue
                _log.warning("leftover not deleted", name=found.item.name, reason=failed.reason, note=failed.note)
        self._release()

    def _take_ended(self) -> None:
        """Let a new list of a kind be due when the last attempts that created it have ended."""
        for kind, attempts in self._dropped.items():
            if attempts is not None and not attempts & self._cluster.active and not self._watched(kind):
                self._dropped[kind] = None
                self._forget_list(kind)

    def _release(self) -> None:
        """Sweep a kind no longer once its attempts have ended, and a list since then has shown that nothing is left."""
        left = self._cluster.suspects | {found.kind for found in self.leftovers()}
        ended = [kind for kind, attempts in self._dropped.items() if attempts is None and kind in self._listed]
        for kind in [kind for kind in ended if kind not in left]:
            del self._dropped[kind]
            self._forget_list(kind)
            self._cluster.telemetry.forget_objects(kind.name)

    def _forget_list(self, kind: Kind[Any]) -> None:
        for known in (self._listed, self._listed_at):
            known.pop(kind, None)

    def _forget_gone(self, kind: Kind[Any], there: Iterable[KubernetesObject]) -> None:
        """Forget what was swept and is not among what is there."""
        uids = {item.uid for item in there}
        self._asked -= {(of, uid) for of, uid in self._asked if of == kind and uid not in uids}

    def _seen(self, kind: Kind[Any]) -> bool:
        """Tell whether what is known of a kind is current: a blind watch proves nothing."""
        return not self._watched(kind) or self._cluster.watches.of(kind).live

    def _watched(self, kind: Kind[Any]) -> bool:
        return any(watch.kind == kind for watch in self._cluster.watches.all())

    async def look(self, deadline: float, needed: Container[Kind[Any]] | None = None) -> None:
        """See every kind: wait for the watched ones, list the others; raise Refused, or why a watch is not live.

        Of kinds that are not `needed` (by default all are), those that khealth may not list are left alone.
        """
        await self._cluster.watches.see([kind for kind in self._kinds if self._watched(kind)], deadline)
        for kind in [kind for kind in self._kinds if not self._watched(kind)]:
            try:
                await self._list(kind, deadline)
            except Refused as refused:
                if needed is None or kind in needed or not refused.refusal.denied:
                    raise

    async def _list_due(self) -> None:
        now = self._cluster.clock.now()
        for kind in self._kinds:
            if self._watched(kind):
                self._forget_list(kind)  # It is out of date when the watch ends.
                if self._seen(kind):
                    self._forget_gone(kind, self._cluster.watches.of(kind).objects.values())
                continue
            if now - self._listed_at.get(kind, -LISTING) < LISTING and kind not in self._cluster.suspects:
                continue
            try:
                await self._list(kind, now + _TRYING)
            except Failed as failed:
                if isinstance(failed, Refused) and failed.refusal.denied:
                    continue
                _log.warning("leftovers not listed", kind=kind.name, reason=failed.reason, note=failed.note)
                self._cluster.suspects.add(kind)

    async def _list(self, kind: Kind[Any], deadline: float) -> None:
        self._listed_at[kind] = self._cluster.clock.now()
        self._cluster.suspects.discard(kind)  # Before the list: a cleanup that fails meanwhile needs another one.
        active = set(self._cluster.active)
        found = await self._cluster.list(kind, deadline, labels=SELECTOR)
        self._forget_gone(kind, found)
        active |= self._cluster.active
        # An attempt deletes its own; if that fails, its kind becomes suspect.
        self._listed[kind] = tuple(item for item in found if key_of(item) not in active)
        self._cluster.telemetry.objects(kind.name, sum(map(passing, found)))

    def found(self, *, everything: bool) -> tuple[Leftover, ...]:
        """Return the objects to delete."""
        return tuple(found.leftover for found in self.leftovers(everything=everything))

    async def clear(self, wanted: tuple[Leftover, ...], deadline: float) -> tuple[Leftover, ...]:
        """Delete these, and return what of them is left at the deadline, a monotonic time; raise Refused.

        A pod that its node does not end within some seconds is deleted with grace 0.
        """
        uids = {leftover.uid for leftover in wanted}

        def left() -> list[_Found]:
            return [f for f in self._all() if f.item.uid in uids or _owned(f.item, uids)]

        watched = [self._cluster.watches.of(kind) for kind in self._kinds if self._watched(kind)]
        with following(watched) as changed:
            while left() and self._cluster.clock.now() < deadline:
                for found in left():
                    await self._delete(found, deadline)
                again = min(deadline, self._cluster.clock.now() + _AGAIN)
                for kind in {found.kind for found in left() if not self._watched(found.kind)}:
                    await self._list(kind, deadline)
                await changed.until(lambda: not left(), again)
        return tuple(found.leftover for found in left())

    def _all(self) -> Iterator[_Found]:
        for kind in self._kinds:
            known = (
                self._cluster.watches.of(kind).objects.values() if self._watched(kind) else self._listed.get(kind, ())
            )
            yield from (_Found(kind, item) for item in tuple(known))

    def leftovers(self, *, everything: bool = False) -> Iterator[_Found]:
        """Yield what dead runs left; with `everything`, all objects of any khealth, a living run's too."""
        for found in tuple(self._all()):
            # What lacks the run's label was never created by any khealth, even if it has the other label.
            named = RUN in found.item.metadata.labels and found.item.name
            if named and (everything or self._dead(found.item)):
                yield found

    def _dead(self, item: KubernetesObject) -> bool:
        identity = self._cluster.identity
        if not identity.mine(item):
            return identity.dead(item, self._cluster.server_time())
        return key_of(item) not in self._cluster.active

    async def _delete(self, found: _Found, deadline: float) -> None:
        item, kind = found.item, found.kind
        if kind.deletion == "Foreground":
            if not item.leaving:
                await self._send(found, deadline)
            elif self._overdue(item) and not any(_owned(other.item, {item.uid}) for other in self._all()):
                # Its finalizer is not removed: the controller manager is down.
                await self._send(found, deadline, policy="Background")
            return
        owner = self._owner_of(item)
        if self._overdue(item) or (owner and self._overdue(owner)):
            await self._send(found, deadline, grace=0)
        elif not item.leaving and owner is None:  # With an owner it goes with it.
            await self._send(found, deadline)

    async def _send(
        self, found: _Found, deadline: float, *, policy: str | None = None, grace: int | None = None
    ) -> None:
        item = found.item
        deleted = await self._cluster.delete(found.kind, item, deadline, policy=policy, grace=grace)
        if found.kind in self._listed:  # Only a new list tells whether it is gone.
            self._listed[found.kind] = tuple(kept for kept in self._listed[found.kind] if kept.uid != item.uid)
            self._cluster.suspects.add(found.kind)
        if deleted and (found.kind, item.uid) not in self._asked:
            self._asked.add((found.kind, item.uid))
            self._cluster.telemetry.swept(found.kind.name)
            _log.info("leftover deleted", kind=found.kind.name, name=item.name, run=item.metadata.labels.get(RUN))

    def _overdue(self, item: KubernetesObject) -> bool:
        since = unix_time(item.metadata.deletion_timestamp)
        return since is not None and self._cluster.server_time() - since > OVERDUE

    def _owner_of(self, item: KubernetesObject) -> KubernetesObject | None:
        uids = {reference.uid for reference in item.metadata.owner_references}
        return next((found.item for found in self._all() if found.item.uid in uids), None)


def _owned(item: KubernetesObject, uids: set[str]) -> bool:
    return any(reference.uid in uids for reference in item.metadata.owner_references)
