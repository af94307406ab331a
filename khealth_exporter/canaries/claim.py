"""A claim of an attempt: which class it is of, its way to a volume, and how both go."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from khealth_exporter.canaries.asking import ASKING, check_awake
from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.evidence import of_events
from khealth_exporter.canaries.facts import list_events
from khealth_exporter.canaries.interference import namespace_deleted
from khealth_exporter.canaries.own_watch import OwnWatch, changed_on_watch
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.kinds import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, STORAGE_CLASS
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.volumes import PersistentVolume, PersistentVolumeClaim, StorageClass
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Span, Way
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed

PROVISION = Step(
    "provision", Component.STORAGE, "the claim exists, or a node is chosen for its first pod → it is bound to a volume"
)
DELETE_CLAIM = Step(
    "delete", Component.STORAGE, "the claim's delete is sent → claim and volume are gone", teardown=True
)
CLASSES = Permission("list", "storageclasses", "storage.k8s.io", "cluster", why="find the class of the claim")
_WHY_VOLUME = "see that the volume is deleted with its claim"
VOLUMES = tuple(
    Permission(verb, "persistentvolumes", scope="cluster", optional=True, why=_WHY_VOLUME) for verb in ("get", "watch")
)

CREATED, SELECTED, BOUND = "created", "selected", "bound"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
"""Annotations by which the controller manager asks a provisioner for a volume."""
_AGAIN = 2.0
"""Seconds between two looks at a volume whose watch has failed."""
_LEAST = 5.0
"""Seconds that others must have had since the API server has answered the delete."""
_STATIC = "kubernetes.io/no-provisioner"
_PROTECTION = "kubernetes.io/pvc-protection"


def _reached(claim: PersistentVolumeClaim) -> Iterator[str]:
    yield CREATED
    if _SELECTED_NODE in claim.metadata.annotations:
        yield SELECTED
    if claim.bound:
        yield BOUND


WAY: Way[PersistentVolumeClaim] = Way(
    milestones=(CREATED, SELECTED, BOUND, "deleted"),
    spans=(Span(PROVISION, (SELECTED, CREATED), BOUND),),
    reached=_reached,
)
"""What a watch can show of a claim."""


async def usable_class(cluster: Cluster, name: str, deadline: float) -> StorageClass:
    """Return the class of this name, or the default one; raise Refused, or Failed if claims of it leave volumes."""
    classes = await cluster.list(STORAGE_CLASS, deadline)
    # Of several defaults, Kubernetes takes the newest, and of these the first by name.
    wanted = [found for found in classes if (found.name == name if name else found.default)]
    wanted.sort(key=lambda found: found.name)
    wanted.sort(key=lambda found: found.metadata.creation_timestamp, reverse=True)
    if not wanted:
        there = ", ".join(sorted(found.name for found in classes)) or "none"
        what = f"StorageClass {name} does not exist" if name else "no StorageClass is the default"
        raise Failed(Reason.NO_STORAGE_CLASS, clean(f"{what}; there are: {there}"))
    chosen = wanted[0]
    if chosen.provisioner == _STATIC:
        raise Failed(Reason.NO_STORAGE_CLASS, f"StorageClass {chosen.name} provisions no volumes")
    if chosen.reclaim_policy not in ("", "Delete"):
        note = (
            f"StorageClass {chosen.name} has reclaimPolicy {chosen.reclaim_policy}: every attempt would leave a volume"
        )
        raise Failed(Reason.NO_STORAGE_CLASS, clean(note))
    return chosen


def not_bound(claim: PersistentVolumeClaim | None) -> Finding:
    """Say why a claim has no volume."""
    if claim is None:
        return Finding(PROVISION, Reason.VOLUME_NOT_PROVISIONED, "the claim does not exist")
    asked = next((claim.metadata.annotations[name] for name in _PROVISIONERS if name in claim.metadata.annotations), "")
    if not asked and not claim.spec.volume_name:
        note = f"the controller manager has not asked for a volume for claim {claim.name}"
        return Finding(PROVISION, Reason.STATUS_NOT_OBSERVED, note)
    note = f"claim {claim.name} is {claim.status.phase or 'new'}: provisioner {asked or 'unknown'} of StorageClass "
    return Finding(PROVISION, Reason.VOLUME_NOT_PROVISIONED, clean(note + (claim.spec.storage_class_name or "none")))


class Claim(Owned[PersistentVolumeClaim]):
    """A claim, and the volume that goes with it."""

    def __init__(self, ownership: Ownership, context: Context, changed: Signal) -> None:
        super().__init__(PERSISTENT_VOLUME_CLAIM, ownership, context, changed, way=WAY)
        self._volume: PersistentVolume | None = None

    @property
    def selected(self) -> bool:
        """Whether the scheduler has chosen a node for the first pod that uses it."""
        return self.trace is not None and SELECTED in self.trace.moments

    def provisioning(self, now: float) -> Measurement | None:
        """Return how long the volume took, or has taken so far; None if nothing has asked for it."""
        moments = self.trace.moments if self.trace else {}
        begin = moments.get(SELECTED) or moments.get(CREATED)
        end = moments.get(BOUND)
        return self.ruler.measure(PROVISION, begin, end or Moment(now), censored=end is None) if begin else None

    async def remove(self, deadline: float, record: Callable[[Measurement], None]) -> None:
        """Delete the claim, and return when it and its volume are gone; raise Failed.

        Without the right to see volumes, only the claim is waited for. Pods that use it must have gone before.
        """
        if not self.begun:
            return
        self.changed.flush()
        self.update()
        async with AsyncExitStack() as stack:
            watch = await self._watch_volume(stack, deadline)
            await self.delete(deadline)
            end = await self._claim_gone(deadline, record)
            if watch and end:
                end = await self._volume_gone(watch, end, deadline, record)
        if self.asked and end:
            record(self.ruler.measure(DELETE_CLAIM, self.asked, end))

    async def _watch_volume(self, stack: AsyncExitStack, deadline: float) -> OwnWatch[PersistentVolume] | None:
        """Watch the volume from before the claim goes; None if there is none, or it may not be seen."""
        name = self.item.spec.volume_name if self.item else ""
        with suppress(Failed):
            if name and self._volume is None:
                self._volume = await self._cluster.get(PERSISTENT_VOLUME, name, deadline)
            if self._volume:
                watching = changed_on_watch(self._cluster, PERSISTENT_VOLUME, self._volume, deadline)
                return await stack.enter_async_context(watching)
        return None

    async def _claim_gone(self, deadline: float, record: Callable[[Measurement], None]) -> Moment | None:
        """Return when the watch showed that the claim is gone; None if it was never seen."""

        def gone() -> bool:
            self.update()
            return self.gone

        if not await self.changed.until(gone, deadline):
            now = self._clock.now()
            check_awake(now - deadline)
            found = await self._cluster.get(self.kind, self.ownership.name, now + ASKING)
            if found is None or (self.made and found.uid != self.made.uid):
                raise Failed(Reason.WATCH_INTERRUPTED, "the watch does not show that the claim is gone")
            if namespace := await namespace_deleted(self._cluster, self.kind, self.manifest, now + ASKING):
                raise namespace
            raise await self._failed(_kept_claim(found), record)
        return self.trace.moments.get("deleted") if self.trace else None

    async def _volume_gone(
        self, watch: OwnWatch[PersistentVolume], since: Moment, deadline: float, record: Callable[[Measurement], None]
    ) -> Moment:
        if removed := await watch.shows_removal(deadline):
            return removed
        while True:
            now = self._clock.now()
            found = await self._cluster.get(PERSISTENT_VOLUME, self._known_volume.name, now + ASKING)
            if found is None or found.uid != self._known_volume.uid:
                return Moment(now, now - since.at)  # The watch has failed; it went at some time since then.
            if now >= deadline:
                break
            await asyncio.sleep(min(_AGAIN, deadline - now))
        raise await self._failed(_kept_volume(found), record)

    @property
    def _known_volume(self) -> PersistentVolume:
        if self._volume is None:
            raise LookupError(f"the volume of claim {self.ownership.name} was not seen")
        return self._volume

    async def _failed(self, found: Finding, record: Callable[[Measurement], None]) -> Failed:
        now = self._clock.now()
        if found.reason.result is Result.FAILURE and now - self.told < _LEAST:
            note = f"{found.note}, but the delete was answered only {now - self.told:.1f} s ago"
            found = replace(found, reason=Reason.NO_SINGLE_CAUSE, note=note)
        if self.asked and found.reason.result is Result.FAILURE:
            record(self.ruler.measure(DELETE_CLAIM, self.asked, Moment(now), censored=True))
        events = await list_events(self._cluster, self.ownership.name, now + ASKING)
        lines = (f"phase {self.item.status.phase}, volume {self.item.spec.volume_name or 'none'}",) if self.item else ()
        told = Evidence(self.kind.name, self.ownership.name, lines)
        return Failed(found.reason, found.note, (told, *of_events(events, self.ownership.name)), step=found.step)


def _kept_claim(claim: PersistentVolumeClaim) -> Finding:
    """Say who keeps a claim that is to go, whose pods are gone."""
    finalizers = claim.metadata.finalizers
    others = [name for name in finalizers if not name.partition("/")[0].endswith("kubernetes.io")]
    if others:
        note = f"claim {claim.name} is kept by a finalizer of another client: {', '.join(others)}"
        return Finding(DELETE_CLAIM, Reason.INTERRUPTED, clean(note))
    if _PROTECTION in finalizers:
        note = f"claim {claim.name}: the controller manager has not removed the finalizer {_PROTECTION}"
        return Finding(DELETE_CLAIM, Reason.NOT_COLLECTED, clean(note))
    left = f"finalizers {', '.join(finalizers)}" if finalizers else "no finalizer"
    return Finding(DELETE_CLAIM, Reason.VOLUME_NOT_DELETED, clean(f"claim {claim.name} is not gone; it has {left}"))


def _kept_volume(volume: PersistentVolume) -> Finding:
    """Say who keeps a volume whose claim is gone."""
    if volume.status.phase == "Bound":
        note = f"volume {volume.name}: the controller manager has not released it, though its claim is gone"
        return Finding(DELETE_CLAIM, Reason.NOT_COLLECTED, clean(note))
    policy = volume.spec.persistent_volume_reclaim_policy
    if policy not in ("", "Delete"):
        note = f"volume {volume.name} has reclaimPolicy {policy}, which its StorageClass has not given it"
        return Finding(DELETE_CLAIM, Reason.INTERRUPTED, clean(note))
    status = ": ".join(filter(None, (volume.status.phase, volume.status.message)))
    finalizers = f"; finalizers {', '.join(volume.metadata.finalizers)}" if volume.metadata.finalizers else ""
    return Finding(DELETE_CLAIM, Reason.VOLUME_NOT_DELETED, clean(f"volume {volume.name} is {status}{finalizers}"))
