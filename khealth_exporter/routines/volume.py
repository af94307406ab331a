"""volume: a claim gets a volume, one canary writes to it, a second one verifies it, and both claim and volume go."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from khealth_exporter.canaries.bare_canary import BareCanary, Task
from khealth_exporter.canaries.canary_spec import CanarySettings, Mount
from khealth_exporter.canaries.claim import CLASSES, DELETE_CLAIM, PROVISION, VOLUMES, Claim, not_bound, usable_class
from khealth_exporter.canaries.cleaning import one_after_the_other
from khealth_exporter.canaries.diagnosis import POD_REASONS
from khealth_exporter.canaries.goal import reached
from khealth_exporter.canaries.mounting import unclaimed
from khealth_exporter.canaries.one_shot import check, complete, done
from khealth_exporter.canaries.pod_steps import ACCEPT, SANDBOX, SCHEDULE, START
from khealth_exporter.cluster.kinds import EVENT, NODE, PERSISTENT_VOLUME_CLAIM, POD, Kind
from khealth_exporter.cluster.volumes import StorageClass
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.quantity import Quantity, amount
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Sample
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import DISK_EDGES, Step
from khealth_exporter.vocabulary.verdict import Failed

PLACE = "/volume"
LARGEST = 4 << 20
"""Bytes that are written at most; a small volume gets a quarter of its size."""
RESERVE = 0.25
"""Share of the timeout that must be left once the claim is bound, and once the canaries are removed."""

ATTACH = Step(
    "attach", Component.STORAGE, "a canary has its node → its volume is mounted, and it starts", per_object=True
)
WRITE = Step("write", Component.STORAGE, "all writes and fsyncs of the first canary together", DISK_EDGES)
VERIFY = Step("verify", Component.STORAGE, "all reads of the second canary together", DISK_EDGES)
DETACH = Step(
    "detach",
    Component.STORAGE,
    "a canary's delete is sent → it is gone, and its volume unmounted",
    per_object=True,
    teardown=True,
)
_WAY = (ACCEPT, SCHEDULE, SANDBOX, START, ATTACH, DETACH)
"""What a canary is judged by."""
_PARTS: Mapping[Step, tuple[str, ...]] = {WRITE: ("write", "fsync"), VERIFY: ("verify",)}


class VolumeSettings(RoutineSettings):
    """Settings of volume."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 120.0
    """Upper bound of init, and again of cleanup."""
    storage_class: str = ""
    """StorageClass of the claim; empty for the default one. It must provision volumes, and delete them."""
    size: Quantity = "16Mi"
    """Size of the volume; many provisioners round it up to what they can make."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"] = "ReadWriteOnce"
    """How the volume is mounted."""
    pod: CanarySettings = CanarySettings()
    """The pods' specification."""


class Volume(Routine[VolumeSettings]):
    """Have a volume provisioned, write to it, verify it from another pod, and delete it."""

    name: ClassVar[str] = "volume"
    steps: ClassVar[tuple[Step, ...]] = (PROVISION, ATTACH, WRITE, VERIFY, DETACH, DELETE_CLAIM)
    reasons: ClassVar[tuple[Reason, ...]] = (
        *POD_REASONS,
        Reason.VOLUME_NOT_PROVISIONED,
        Reason.VOLUME_NOT_ATTACHED,
        Reason.VOLUME_NOT_DELETED,
        Reason.DISK_FAILED,
        Reason.DATA_CORRUPTED,
        Reason.CANARY_FAILED,
        Reason.STATUS_NOT_OBSERVED,
        Reason.NOT_COLLECTED,
        Reason.NO_STORAGE_CLASS,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD, PERSISTENT_VOLUME_CLAIM)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD, PERSISTENT_VOLUME_CLAIM)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 6
    needs_canary: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    permissions: ClassVar[tuple[Permission, ...]] = (CLASSES, *VOLUMES)
    Settings: ClassVar[type[VolumeSettings]] = VolumeSettings

    def __init__(self, attempt: AttemptId, settings: VolumeSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._claim = Claim(self.ownership, context, self.changed)
        self._writer, self._reader = (
            BareCanary(settings.pod, self.ownership.part(word), context, self.changed, _WAY)
            for word in ("write", "verify")
        )

    async def init(self) -> None:
        """Provision a volume, write to it, release it, and verify it from another pod."""
        await self.context.cluster.watches.see(self.watches, self.deadline)
        kind = await usable_class(self.context.cluster, self.settings.storage_class, self.deadline)
        self.record(Remark("storage class", f"{kind.name}, provisioner {kind.provisioner}"))
        await self._claim.create(self._manifest(kind), self.deadline, PROVISION)
        if kind.waits:
            await self._writer.create(self._task("write"), self.deadline)
        await self._provision(kind)
        if not kind.waits:
            await self._writer.create(self._task("write"), self.deadline)
        node = await self._did(self._writer, WRITE)
        await self._writer.remove(self.deadline, self.deadline - self.context.clock.now(), self._detached)
        await self._reader.create(self._task("verify", node), self.deadline)
        await self._did(self._reader, VERIFY)

    async def cleanup(self) -> None:
        """Delete the canaries, then the claim, and wait until its volume is gone."""
        reserved = self.deadline - RESERVE * self.settings.timeout
        patience = reserved - self.context.clock.now()
        await one_after_the_other(
            *(partial(canary.remove, reserved, patience, self._detached) for canary in (self._writer, self._reader)),
            partial(self._claim.remove, self.deadline, self.record),
        )

    def close(self) -> None:
        """Let a sweep take what is left."""
        for owned in (self._writer, self._reader, self._claim):
            owned.close()

    async def _provision(self, kind: StorageClass) -> None:
        """Wait until the claim is bound; raise Failed."""
        # A volume that comes late must not leave the blame to what follows.
        due = self.deadline - RESERVE * self.settings.timeout
        try:
            await reached(self._claim, "bound", due, self.context, not_bound)
        except Failed as failed:
            if failed.reason.result is not Result.FAILURE:
                raise
            if kind.waits and not self._claim.selected:
                # Its pod has no node yet: who is late with that tells the pod.
                await self._did(self._writer, WRITE, self.context.clock.now())
            if measured := self._claim.provisioning(self.context.clock.now()):
                self.record(measured)
            raise
        if measured := self._claim.provisioning(self.context.clock.now()):
            self.record(measured)

    async def _did(self, canary: BareCanary, step: Step, deadline: float | None = None) -> str:
        """Return the node of a canary that has done its task; raise Failed."""
        refined = unclaimed(PROVISION, ATTACH)
        aim = done(step, Reason.DISK_FAILED, f"the canary has not ended its {step.name}", refined)
        try:
            trace, document = await canary.document(aim, deadline or self.deadline, _drop)
        except Failed as failed:
            if failed.reason.result is Result.FAILURE:
                self._stuck(canary, failed.step)
            raise
        self._attached(canary)
        if measured := document.total(step, *_PARTS[step]):
            self.record(measured)
        if document.facts.get("cached"):
            self.record(Remark("page cache", "what was verified may come from the page cache"))
        check(document, trace, step, (Reason.DISK_FAILED, Reason.DATA_CORRUPTED))
        complete(document, trace, _PARTS[step])
        return trace.item.spec.node_name

    def _stuck(self, canary: BareCanary, step: Step | None) -> None:
        """Record how long a canary has waited in the step that it is stuck in."""
        if step is ATTACH:
            self._attached(canary)
        elif step and step in _PARTS and (waited := canary.timed(step, "started", "ended")):
            self.record(waited.measurements[0])

    def _detached(self, sample: Sample) -> None:
        if sample.node:  # A pod without a node has nothing to detach.
            self.record(sample)

    def _attached(self, canary: BareCanary) -> None:
        if attached := canary.timed(ATTACH, "scheduled", "started"):
            self.record(attached)

    def _task(self, action: str, avoid: str = "") -> Task:
        size = max(1, min(LARGEST, int(amount(self.settings.size)) // 4))
        arguments = ("volume", action, "--path", PLACE, "--bytes", str(size), "--seed", self.ownership.name)
        within = ("--within", f"{self.settings.timeout / 4:g}")
        claim = {"persistentVolumeClaim": {"claimName": self.ownership.name}}
        return Task((*arguments, *within), (Mount("volume", PLACE, claim),), avoid=avoid)

    def _manifest(self, kind: StorageClass) -> Mapping[str, object]:
        metadata = self.ownership.metadata()
        metadata["labels"] = self.settings.pod.labels | dict(self.ownership.labels)
        spec = {
            "storageClassName": kind.name,
            "accessModes": [self.settings.access_mode],
            "resources": {"requests": {"storage": self.settings.size}},
        }
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _drop(_: Sample) -> None:
    """Record nothing: a pod's own steps are other routines' to measure."""
