"""config: a ConfigMap and a Secret, mounted in a running canary, change; how long until it sees both."""

from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.bare_canary import BareCanary, Task
from khealth_exporter.canaries.canary_spec import CanarySettings, Mount
from khealth_exporter.canaries.cleaning import one_after_the_other
from khealth_exporter.canaries.diagnosis import POD_REASONS
from khealth_exporter.canaries.interference import changed_by_another
from khealth_exporter.canaries.mounting import unmounted
from khealth_exporter.canaries.one_shot import RUNNING, Document, check, complete, done
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_steps import (
    ACCEPT,
    DELETE_POD,
    ENDED,
    READY,
    SANDBOX,
    SCHEDULE,
    START,
    STARTUP,
)
from khealth_exporter.cluster.client.lookup import decoded
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP, EVENT, NODE, POD, SECRET, Kind
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

PLACES: Mapping[Kind[Any], str] = {CONFIG_MAP: "/config", SECRET: "/secret"}
SPARE = 1 / 12
"""Share of the timeout that is left when the canary itself says what it has not seen."""

PROJECT = Step("project", Component.NODE, "the updates are answered → the canary has seen both")


class ConfigSettings(RoutineSettings):
    """Settings of config."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 120.0
    """Upper bound of init, and again of cleanup. Keep it 15 s above `projected_within`: an attempt that ends before the
    changes had this time is inconclusive."""
    projected_within: Duration = 100.0
    """How soon a kubelet must project a change. By default, it looks at each pod every 60 to 90 s (`syncFrequency`)."""
    pod: CanarySettings = CanarySettings()
    """The pod's specification."""


class Config(Routine[ConfigSettings]):
    """Change a ConfigMap and a Secret that a canary has mounted, and time until it sees both changes."""

    name: ClassVar[str] = "config"
    steps: ClassVar[tuple[Step, ...]] = (ACCEPT, SCHEDULE, SANDBOX, START, READY, STARTUP, PROJECT, DELETE_POD)
    reasons: ClassVar[tuple[Reason, ...]] = (*POD_REASONS, Reason.NOT_PROJECTED, Reason.CANARY_FAILED)
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD, CONFIG_MAP, SECRET)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 8
    needs_canary: ClassVar[bool] = True
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("update", "configmaps", why="change what a canary has mounted"),
        Permission("update", "secrets", why="change what a canary has mounted"),
    )
    Settings: ClassVar[type[ConfigSettings]] = ConfigSettings

    def __init__(self, attempt: AttemptId, settings: ConfigSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._mounted: tuple[Owned[Any], ...] = tuple(
            Owned(kind, self.ownership, context, self.changed, watched=False) for kind in PLACES
        )
        self._canary = BareCanary(settings.pod, self.ownership, context, self.changed, self.steps)

    async def init(self) -> None:
        """Start a canary that has both mounted, change them, and wait until it has seen both changes."""
        await self.context.cluster.watches.see(self.watches, self.deadline)
        for owned in self._mounted:
            await owned.create(self._manifest(owned.kind, "1"), self.deadline, ACCEPT)
        self.record(await self._canary.create(self._task(), self.deadline))
        refined = unmounted(PROJECT, Reason.NOT_PROJECTED)
        await self._canary.at(replace(RUNNING, refined=refined), self.deadline, self.record)
        changed = [await self._change(owned) for owned in self._mounted]
        aim = done(PROJECT, Reason.NOT_PROJECTED, "the canary has not seen both changes")
        try:
            trace, document = await self._canary.document(aim, self.deadline, _drop)
            check(document, trace, PROJECT, (Reason.NOT_PROJECTED,))
            complete(document, trace, PLACES.values())
        except Failed as failed:
            raise await self._judged(failed, changed[-1]) from failed
        self.record(self._projected(changed[-1], trace, document))

    async def cleanup(self) -> None:
        """Delete the canary, and then what it had mounted."""
        await one_after_the_other(
            partial(self._canary.remove, self.deadline, self.settings.timeout, self.record),
            *(partial(owned.delete, self.deadline) for owned in self._mounted if owned.begun),
        )

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._canary.close()
        for owned in self._mounted:
            owned.close()

    async def _change(self, owned: Owned[Any]) -> Moment:
        """Change an object, and return when that was answered; raise Refused, or Failed if another client did so."""
        known = owned.known
        manifest = self._manifest(owned.kind, "2", known.metadata.resource_version)
        try:
            answer = await self.context.cluster.update(owned.kind, known.name, manifest, self.deadline)
        except Refused as refused:
            if not (refused.refusal.missing or refused.refusal.conflict):
                raise
            raise await self._changed_by_another(owned) or refused from refused
        owned.item = decoded(owned.kind, answer)
        return Moment(answer.answered, answer.delay)

    async def _changed_by_another(self, owned: Owned[Any]) -> Failed | None:
        return await changed_by_another(self.context.cluster, owned.kind, owned.known, self.deadline)

    def _projected(self, since: Moment, trace: Trace[Pod], document: Document) -> Measurement:
        """Return how long both changes took to be seen, between the two times that are possible.

        The canary says how long it waited on its own clock. It began after its sandbox was ready, and it had seen both
        before its end was shown.
        """
        waited = max(document.durations[place] for place in PLACES.values())
        began, latest = trace.moments.get("sandboxed"), trace.moments[ENDED]
        earliest = min(latest.at, max(since.at, began.at + waited if began else since.at))
        measured = self._canary.ruler.measure(PROJECT, since, latest)
        half = (latest.at - earliest) / 2
        uncertainty = measured.uncertainty + half + document.uncertainty_seconds
        return replace(measured, seconds=max(0.0, measured.seconds - half), uncertainty=uncertainty)

    async def _judged(self, failed: Failed, since: Moment) -> Failed:
        """Return what it means that the changes were not seen: others may have changed them, or time was short."""
        if failed.reason is not Reason.NOT_PROJECTED:
            return failed
        now = self.context.clock.now()
        for owned in self._mounted:
            with suppress(Refused):
                found = await changed_by_another(self.context.cluster, owned.kind, owned.known, now + ASKING)
                if found:
                    return Failed(found.reason, found.note, failed.evidence)
        enough = self.settings.projected_within
        if now - since.at < enough:
            note = f"{failed.note}; only {now - since.at:.0f} s were left for that, and a kubelet may take {enough:g} s"
            return Failed(Reason.NO_SINGLE_CAUSE, note, failed.evidence, step=PROJECT)
        self.record(self._canary.ruler.measure(PROJECT, since, Moment(now), censored=True))
        return failed

    def _task(self) -> Task:
        left = self.deadline - self.context.clock.now()
        places = [word for place in PLACES.values() for word in ("--path", place)]
        timeout = f"{max(1.0, left - SPARE * self.settings.timeout):.0f}"
        name = self.ownership.name
        volumes: Mapping[str, Mapping[str, object]] = {
            PLACES[CONFIG_MAP]: {"configMap": {"name": name}},
            PLACES[SECRET]: {"secret": {"secretName": name}},
        }
        mounts = tuple(Mount(place.strip("/"), place, volume) for place, volume in volumes.items())
        return Task(("config", *places, "--value", self._value("2"), "--timeout", timeout), mounts)

    def _value(self, version: str) -> str:
        return f"{self.ownership.name}-{version}"

    def _manifest(self, kind: Kind[Any], version: str, known: str = "") -> Mapping[str, object]:
        metadata = self.ownership.metadata() | ({"resourceVersion": known} if known else {})
        metadata["labels"] = self.settings.pod.labels | dict(self.ownership.labels)
        value = self._value(version)
        data = {"value": b64encode(value.encode()).decode() if kind is SECRET else value}
        return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "data": data}


def _drop(_: Sample) -> None:
    """Record nothing: the pod's steps were recorded when it became Ready."""
