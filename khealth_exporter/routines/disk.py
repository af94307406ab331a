"""disk: a canary on the next node of a rotation writes, fsyncs, reads back and verifies a file on an emptyDir."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from khealth_exporter.canaries.aim import Aim
from khealth_exporter.canaries.bare_canary import BareCanary, Task
from khealth_exporter.canaries.canary_spec import CanarySettings, Mount
from khealth_exporter.canaries.diagnosis import POD_REASONS
from khealth_exporter.canaries.mounting import unmounted
from khealth_exporter.canaries.one_shot import Document, check, complete, done
from khealth_exporter.canaries.pod_steps import ACCEPT, DELETE_POD, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.visit import CHOOSE, FAILING, Visit
from khealth_exporter.cluster.kinds import EVENT, POD, Kind
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.quantity import Quantity, amount
from khealth_exporter.vocabulary.reading import Figure, Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import DISK_EDGES, Step
from khealth_exporter.vocabulary.verdict import Failed

PLACE = "/disk"


def _step(name: str, meaning: str) -> Step:
    return Step(name, Component.STORAGE, meaning, DISK_EDGES)


WRITE = _step("write", "all writes of the file together")
FSYNC = _step("fsync", "all fsyncs of the file and its directory together")
READ = _step("read", "all reads of the file together, past the page cache where that is possible")
_OPERATIONS = {"read": READ, "fsync": FSYNC, "fsync of the directory": FSYNC}


class DiskSettings(RoutineSettings):
    """Settings of disk."""

    interval: Duration = 60.0
    """Attempts begin this often, each on the next node."""
    timeout: Duration = 30.0
    """Upper bound of init, and again of cleanup."""
    size: Quantity = "4Mi"
    """Size of the file."""
    syncs: Annotated[int, Field(ge=1, le=10000)] = 16
    """Number of parts that the file is written in; each is followed by an fsync."""
    pod: CanarySettings = CanarySettings()
    """The pod's specification."""

    @property
    def bytes(self) -> int:
        """Size of the file, in bytes."""
        return max(1, int(amount(self.size)))


class Disk(Routine[DiskSettings]):
    """Write a file on the next node's disk, sync it, read it back, and verify it."""

    name: ClassVar[str] = "disk"
    steps: ClassVar[tuple[Step, ...]] = (
        ACCEPT, SCHEDULE, SANDBOX, START, STARTUP, WRITE, FSYNC, READ, DELETE_POD,
    )  # fmt: skip
    reasons: ClassVar[tuple[Reason, ...]] = (
        *POD_REASONS,
        Reason.DISK_FAILED,
        Reason.DATA_CORRUPTED,
        Reason.CANARY_FAILED,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    reads: ClassVar[tuple[Kind[Any], ...]] = (EVENT,)
    writes: ClassVar[int] = 2
    needs_canary: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    figures: ClassVar[tuple[Figure, ...]] = (FAILING,)
    permissions: ClassVar[tuple[Permission, ...]] = (CHOOSE,)
    Settings: ClassVar[type[DiskSettings]] = DiskSettings

    def __init__(self, attempt: AttemptId, settings: DiskSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._visit = Visit(attempt, context, settings.interval)
        self._canary = BareCanary(settings.pod, self.ownership, context, self.changed, self.steps)

    async def init(self) -> None:
        """Create the canary on the next node, and take in what it says of the disk."""
        placement = await self._visit.begin(self._canary.placement, self.deadline)
        with self._visit.judging(self.record):
            self.record(await self._canary.create(self._task(placement.node), self.deadline))
            self._visit.created()
            try:
                trace, document = await self._canary.document(_aim(), self.deadline, self.record)
            except Failed as failed:
                if failed.step is WRITE and (waited := self._canary.timed(WRITE, "started", "ended")):
                    self.record(waited.measurements[0])
                raise
            self._take(document)
            check(document, trace, _failed_step(document), (Reason.DISK_FAILED, Reason.DATA_CORRUPTED))
            complete(document, trace, ("write", "fsync", "read"))
            self._visit.well()

    async def cleanup(self) -> None:
        """Delete the canary, and wait until its kubelet has ended it."""
        with self._visit.judging(self.record):
            await self._canary.remove(self.deadline, self.settings.timeout, self.record)
            self._visit.removed()

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._canary.close()

    def _task(self, node: str) -> Task:
        size = self.settings.bytes
        # A pod that exceeds the limit is evicted; file systems need some room of their own.
        volume = {"emptyDir": {"sizeLimit": str(2 * size + (1 << 20))}}
        arguments = ("disk", "--path", PLACE, "--bytes", str(size), "--syncs", str(self.settings.syncs))
        within = ("--within", f"{self.settings.timeout / 2:g}")
        return Task((*arguments, *within), (Mount("disk", PLACE, volume),), node)

    def _take(self, document: Document) -> None:
        for measured in document.measured((WRITE, FSYNC, READ)):
            self.record(measured)
        facts = document.facts
        if "cached" in facts:
            text = "the read may come from the page cache" if facts["cached"] else "the read came from the disk"
            self.record(Remark("page cache", text))
        median, most = facts.get("fsync_median_seconds"), facts.get("fsync_max_seconds")
        if isinstance(median, int | float) and isinstance(most, int | float):
            self.record(
                Remark("fsync", f"one takes {median * 1000:.2f} ms at the median, {most * 1000:.2f} ms at most")
            )


def _aim() -> Aim:
    hangs = "the canary is still writing, syncing or reading"
    return done(WRITE, Reason.DISK_FAILED, hangs, unmounted(WRITE, Reason.DISK_FAILED))


def _failed_step(document: Document) -> Step:
    corrupted = document.reason == Reason.DATA_CORRUPTED.value
    return READ if corrupted else _OPERATIONS.get(str(document.facts.get("operation")), WRITE)
