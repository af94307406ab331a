"""check: a user's own Pod or Job runs, and says whether what it looked at is healthy."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from khealth_exporter.canaries.aim import Aim, Test
from khealth_exporter.canaries.checks.endings import failed as failures
from khealth_exporter.canaries.checks.endings import over, unable
from khealth_exporter.canaries.checks.exits import READ_LOG, Exit
from khealth_exporter.canaries.checks.kuberhealthy import Kuberhealthy
from khealth_exporter.canaries.checks.protocol import Protocol, Run, Said
from khealth_exporter.canaries.checks.settings import CheckSettings
from khealth_exporter.canaries.checks.template import JobTemplate, containers, placement
from khealth_exporter.canaries.diagnosis import POD_REASONS, Finding, vanished
from khealth_exporter.canaries.job_way import COMPLETE, WAY, completed, without_pod
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, DELETE_POD, ENDED, SANDBOX, SCHEDULE, START
from khealth_exporter.canaries.removal import ENDING, Removal
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.kinds import EVENT, JOB, NODE, POD, Kind
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.relayed import DENIED
from khealth_exporter.core.routine import AttemptId, Context, Routine
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.alerting import Alerting
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

_PROTOCOLS: Mapping[str, type[Protocol]] = {"exit": Exit, "kuberhealthy": Kuberhealthy}
_SHOWN = 10
"""Names that a remark has."""

CHECK = Step("check", Component.WORKLOAD, "its containers have started → it has said what it found")


class Check(Routine[CheckSettings]):
    """Run a Pod or a Job of the user's, and take in what it says.

    What keeps it from starting is judged as with any pod; what the user alone can have caused fails the check.
    """

    name: ClassVar[str] = "check"
    steps: ClassVar[tuple[Step, ...]] = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, CHECK, COMPLETE, DELETE_POD)
    reasons: ClassVar[tuple[Reason, ...]] = (
        *POD_REASONS,
        Reason.CHECK_FAILED,
        Reason.CHECK_SILENT,
        Reason.POD_NOT_CREATED,
        Reason.JOB_FAILED,
        Reason.POD_NOT_DELETED,
        Reason.UNKNOWN,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD, JOB)
    watches: ClassVar[tuple[Kind[Any], ...]] = (JOB, POD)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 2
    permissions: ClassVar[tuple[Permission, ...]] = (READ_LOG,)
    Settings: ClassVar[type[CheckSettings]] = CheckSettings

    def __init__(self, attempt: AttemptId, settings: CheckSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        template = settings.template
        self._names, self._job = containers(template), isinstance(template, JobTemplate)
        self._check, self._reported, steps = _check(settings), _reported(settings), self.steps_of(settings)
        run = Run(attempt, context, self._names, frozenset(settings.steps))
        self._protocol = _PROTOCOLS[settings.protocol](run)
        self._owned: Owned[Any] = (
            Owned(JOB, self.ownership, context, self.changed, way=WAY)
            if self._job
            else Owned(POD, self.ownership, context, self.changed)
        )
        place, missing = placement(template), without_pod if self._job else vanished
        self._pods = PodSet(self._owned, place, context, steps, missing)
        self._removal = Removal(self._owned, self._pods, place, context, steps, grace=settings.grace)
        self._left_alone = False

    @classmethod
    def steps_of(cls, settings: CheckSettings) -> tuple[Step, ...]:
        """Return a pod's or a Job's steps, with those that the settings declare."""
        job = isinstance(settings.template, JobTemplate)
        own = (_check(settings), *_reported(settings).values())
        before = (ACCEPT, *((CREATE,) if job else ()), SCHEDULE, SANDBOX, START)
        return (*before, *own, *((COMPLETE, DELETE) if job else (DELETE_POD,)))

    @classmethod
    def watched(cls, settings: CheckSettings) -> tuple[Kind[Any], ...]:
        """Return the kinds that it follows with these settings."""
        return (JOB, POD) if isinstance(settings.template, JobTemplate) else (POD,)

    @classmethod
    def needs_reports(cls, settings: CheckSettings) -> bool:
        """Tell whether the check speaks Kuberhealthy's protocol."""
        return settings.protocol == "kuberhealthy"

    @classmethod
    def alerting(cls, settings: CheckSettings) -> Alerting:
        """Return what its user says that a failure means."""
        return Alerting(settings.severity, settings.component)

    async def init(self) -> None:
        """Create the check, wait until it has said what it found, and take that in."""
        environment = await self._protocol.begin(self.deadline)
        settings = self.settings
        manifest = settings.template.manifest(self.ownership, environment, settings.grace, settings.max_age)
        await self._pods.see(self.deadline)
        try:
            self.record(await self._owned.create(manifest, self.deadline, ACCEPT))
            trace = await self._ended()
        except Failed as failed:
            if not (self._pods.traces and self._protocol.spoke):
                raise self._own(failed) from failed
            trace = next(iter(self._pods.traces.values()))
        said = await self._protocol.said(trace, self.deadline)
        self._take(said)
        if said.reason:
            raise Failed(said.reason, said.note, said.evidence, step=self._check)
        if self._job and over(trace, self._names, one_failed=False) and not failures(trace.item, self._names):
            self.record(await completed(self._owned, self._pods, trace, self.deadline, self.context))

    async def cleanup(self) -> None:
        """Let a check that has reported end, delete what was created, and wait until its pod is gone."""
        patience = timeout = self.settings.timeout
        if self._protocol.spoke:
            # What is left is enough for the time that the pod has to end, and for its removal without its kubelet.
            patience /= 2
            await self._let_end(self.deadline - patience / 2 - self.settings.grace - max(ENDING, timeout / 8))
        await self._removal.run(self.deadline, patience, self.record)

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._protocol.close()
        self._pods.close()
        self._owned.close()

    async def _ended(self) -> Trace[Pod]:
        """Return the pod once the check has said its word or has ended; raise Failed."""
        ended = self._protocol.over

        def started(trace: Trace[Pod]) -> bool:
            return ended(trace) or ("started" in trace.moments and not trace.item.ended)

        await self._pods.all_at(Aim(started, _hopeless(started)), 1, self.deadline, self.record)
        try:
            await self._heard(Aim(ended, _hopeless(ended), self._silent))
        finally:
            trace = next(iter(self._pods.traces.values()))
            end, begin = trace.moments.get(ENDED), trace.moments.get("started")
            if begin:
                now = Moment(self.context.clock.now())
                overdue = now.at >= self.deadline and not end
                self.record(self._owned.ruler.measure(self._check, begin, end or now, censored=overdue))
        return trace

    async def _let_end(self, deadline: float) -> None:
        """Let a check that has said its word clean up after itself, as long as its time is not over; once."""
        if self._left_alone:
            return
        self._left_alone, began = True, self.context.clock.now()

        def ended() -> bool:
            traces = self._pods.traces.values()
            return bool(traces) and all(one.gone or one.item.ended or self._protocol.over(one) for one in traces)

        if not ended():
            await _first(self._pods.until(ended, deadline), self.stop.wait())
        went = f"it went on for {self.context.clock.now() - began:.0f} s"
        self.record(Remark("after its report", "it ended" if ended() else went))

    async def _heard(self, aim: Aim) -> None:
        """Return when the check has said its word, or its pod is where it should be; raise Failed."""
        await _first(self._protocol.heard(), self._pods.all_at(aim, 1, self.deadline, _drop))

    def _silent(self, trace: Trace[Pod]) -> Finding:
        note = f"{trace.item.name}: it still runs, and has not said what it found in {self.settings.timeout:g} s"
        note = "; ".join(filter(None, (note, self._protocol.refused)))
        node = trace.item.spec.node_name or None
        return Finding(self._check, Reason.CHECK_SILENT, clean(note), node, trace.progress, runs=True)

    def _own(self, failed: Failed) -> Failed:
        """Return a failure as the check's, if nobody but its user can have caused it.

        Whether a webhook or a policy refuses every pod, or only what the template asks for, is not known here.
        """
        pods = [trace.item for trace in self._pods.traces.values()]
        own = failed.reason in {Reason.POD_NOT_STARTED, Reason.IMAGE_PULL_FAILED} and any(map(unable, pods))
        if failed.reason is Reason.API_REJECTED and DENIED.search(failed.note):
            note = f"{failed.note}; the template, or every pod? workloads/pod tells"
            return Failed(Reason.NO_SINGLE_CAUSE, note, failed.evidence, step=self._check)
        if own or failed.reason in {Reason.POD_CRASHED, Reason.API_REJECTED}:
            return Failed(Reason.CHECK_FAILED, failed.note, failed.evidence, step=self._check)
        return failed

    def _take(self, said: Said) -> None:
        for name, step in self._reported.items():
            if name in said.durations:
                self.record(Measurement(step, said.durations[name], 0.0))
        strange = sorted(said.durations.keys() - self._reported.keys())
        missing = [] if said.reason else sorted(self._reported.keys() - said.durations.keys())
        for name, found in (("undeclared steps", strange), ("missing steps", missing)):
            self.record(Remark(name, clean(", ".join(found[:_SHOWN])) or "none"))


def _hopeless(reached: Test) -> Test:
    return lambda trace: trace.item.ended and not reached(trace)


async def _first(*ways: Coroutine[Any, Any, object]) -> None:
    """Return when one of these is over, or raise what it raises; the others are given up."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _drop(_: object) -> None:
    """Take no sample of a pod twice."""


def _check(settings: CheckSettings) -> Step:
    return replace(CHECK, component=settings.component)


def _reported(settings: CheckSettings) -> Mapping[str, Step]:
    """Return the steps that the user declares."""
    found = settings.steps.items()
    return {name: Step(name, settings.component, step.meaning, step.edges) for name, step in found}
