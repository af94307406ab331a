"""How an attempt's objects go: asked first, then without the components that they wait for."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.backlog import Backlog
from khealth_exporter.canaries.diagnosis import Finding, held, left_over, not_deleted
from khealth_exporter.canaries.facts import find_out
from khealth_exporter.canaries.interference import held_by_another, namespace_deleted
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import sample
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import POD, Kind
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.workloads import Workload
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed

ENDING = 5.0
"""Seconds that pods have at least to end by themselves: on a busy node that takes a while, and is no failure."""
FORCING = 3.0
"""Seconds for deletions with grace 0, at least."""
AT_ONCE, PACE = 10, 100.0
"""Pods that are deleted at the same time, and in a second at least."""
JUST_ASKED = 3.0
"""Seconds after a pod was asked to end in which its kubelet is not blamed: a slow garbage collector asks late."""


class Removal:
    """Deletes an attempt's own object with its pods; `steps` are the routine's, and the teardown one is measured.

    `between` is the kind of the objects that the own object creates, where it is these that create the pods. `grace` is
    how many seconds each pod has to end, where that is more than a moment.
    """

    def __init__(  # noqa: PLR0913 - one of them is a choice
        self, owned: Owned[Any], pods: PodSet, placement: Placement, context: Context, steps: Sequence[Step], *,
        between: Kind[Any] | None = None, grace: float = 0.0,
    ) -> None:  # fmt: skip
        self._between, self._grace = between, grace
        self._owned, self._pods, self._placement = owned, pods, placement
        self._cluster, self._clock = context.cluster, context.clock
        self._backlog = context.memory.of(Backlog)
        self._order = tuple(steps)
        self._step = next(step for step in steps if step.teardown)
        self._stuck: Failed | None = None
        self._recorded: set[str] = set()

    async def run(self, deadline: float, patience: float, record: Callable[[Sample], None]) -> None:
        """Delete everything, and return when it is gone; raise Failed.

        At half of `patience` seconds before the deadline, pods that are still there are deleted with grace 0; later,
        but within the deadline, if the garbage collector is what they wait for, and the controller manager works.
        """
        if not self._owned.begun:
            return
        self._pods.catch_up()
        await self._owned.delete(deadline)
        await self._delete_orphans(deadline)
        since = self._owned.asked.at if self._owned.asked else self._clock.now()
        latest = deadline - FORCING - len(self._pods.present()) / PACE
        # A delete whose answer was slow, or came to the second try only, has left the others no time until then.
        told = self._owned.told if self._owned.asked else self._clock.now()
        ended = max(told + ENDING, min(told + self._grace + ENDING, latest))
        if not await self._goes(max(deadline - patience / 2, ended), latest):
            await self._force(deadline, record)
        elif self._owned.kind is not POD and self._stuck is None:
            self._backlog.collected(since)
        self._record(record)
        if self._stuck:
            stuck = self._stuck
            raise Failed(stuck.reason, stuck.note, stuck.evidence, step=stuck.step, settled=True)

    async def _delete_orphans(self, deadline: float) -> None:
        """Delete the pods whose owner was removed without them, and not by khealth."""
        if self._owned.gone and self._owned.kind is not POD:
            for trace in [trace for trace in self._pods.present() if not trace.item.leaving]:
                await self._cluster.delete(POD, trace.item, deadline)

    async def _goes(self, deadline: float, latest: float) -> bool:
        """Tell whether nothing is left when the deadline comes, or, while progress can be seen, at the latest."""
        while not await self._gone(deadline):
            deadline = min(latest, self._worth_waiting())
            if deadline <= self._clock.now():
                return False
        return True

    def _worth_waiting(self) -> float:
        """Return until when what is left may go by itself, as far as can be seen; 0 if nothing speaks for it."""
        left = self._pods.present()
        if self._owned.kind is not POD and not (left and all(trace.item.leaving for trace in left)):
            return math.inf if self._collecting() else 0.0
        asked = (self._pods.leaving.get(trace.item.uid, -math.inf) for trace in left)
        return max(asked, default=-math.inf) + self._grace + JUST_ASKED

    def _collecting(self) -> bool:
        """Tell whether the controller manager has worked since the delete; the garbage collector is part of it."""
        item, made = self._owned.item, self._owned.made
        if not isinstance(item, Workload) or made is None:
            return self._begun()
        # The deletion has raised the generation.
        noted = made.metadata.generation < item.metadata.generation <= item.status.observed_generation
        return noted or self._begun()

    def _begun(self) -> bool:
        """Tell whether the garbage collector was seen to ask a pod to end since the delete."""
        asked = self._owned.asked
        return asked is not None and any(at > asked.at for at in self._pods.leaving.values())

    async def _gone(self, deadline: float) -> bool:
        """Wait until nothing is left; tell whether that came before the deadline."""
        return await self._pods.until(lambda: self._owned.gone and self._pods.empty, deadline)

    def _record(self, record: Callable[[Sample], None], deadline: Moment | None = None) -> None:
        """Record the teardown step of each pod, once; with a deadline, of those that are stuck."""
        asked = self._owned.asked
        for uid, trace in self._pods.traces.items():
            end = trace.moments.get(trace.way.removed) or deadline
            # A pod that was asked to go earlier, as in a rollout, measures nothing of this deletion.
            begun = self._pods.leaving.get(uid, end.at) if end else 0.0
            if asked and end and begun > asked.at and uid not in self._recorded:
                self._recorded.add(uid)
                step = self._owned.ruler.measure(self._step, asked, end, censored=not trace.gone)
                record(sample(trace, [step], self._clock))

    async def _force(self, deadline: float, record: Callable[[Sample], None]) -> None:
        """Find out what holds the removal up, and do without it; raise Failed if that does not help.

        The pods go with grace 0, without their kubelets. Their owner goes without the garbage collector.
        """
        now = Moment(self._clock.now())
        stuck = self._stuck or await self._stuck_by()
        self._pods.catch_up()
        if self._owned.gone and self._pods.empty:
            return  # Late, but by itself.
        self._stuck = stuck
        if stuck.reason.result is Result.FAILURE:
            self._record(record, now)
        # The diagnosis may have used up the rest of the time.
        deadline = max(deadline, self._clock.now() + FORCING)
        try:
            await self._take(deadline)
        except Refused as refused:
            raise stuck from refused  # What held it up is known all the same.
        if not await self._gone(deadline):
            raise stuck

    async def _take(self, deadline: float) -> None:
        """Delete the pods without their kubelets, and then their owner; raise Refused."""
        if self._between:
            # First: they would create more pods. In the background, because the garbage collector may be dead.
            for item in await self._cluster.list(self._between, deadline, labels=self._owned.ownership.selector):
                await self._cluster.delete(self._between, item, deadline, policy="Background")
        at_once = asyncio.Semaphore(AT_ONCE)

        async def delete(pod: Pod) -> None:
            async with at_once:
                await self._cluster.delete(POD, pod, deadline, grace=0)

        deletions = (delete(trace.item) for trace in self._pods.present())
        for result in await asyncio.gather(*deletions, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        pods_gone = await self._pods.until(lambda: self._pods.empty, deadline)
        # While khealth is blind there may be pods that it has not seen: they would be orphans.
        if pods_gone and self._pods.live:
            await self._owned.release(deadline)

    async def _stuck_by(self) -> Failed:
        now = self._clock.now()
        asked = now + ASKING
        frozen = [trace.frozen() for trace in self._pods.traces.values()]
        try:
            await self._pods.ask(asked)
            facts = await find_out(self._cluster, self._owned, self._pods.traces.values(), self._placement, asked)
        except Failed as failed:
            return failed
        if self._owned.kind is POD:  # It was asked by khealth itself, and the watch has shown that by now.
            frozen = [trace.frozen() for trace in self._pods.traces.values()]
        kept = [trace.item for trace in self._pods.present()]
        everything = [*kept, self._owned.item] if self._owned.item else kept
        if other := held_by_another(everything, bare=self._owned.kind is POD):
            return Failed(other.reason, other.note, facts.evidence)
        found = self._slow(frozen, now) or not_deleted(frozen, facts.nodes, self._order)
        if found.reason is Reason.POD_NOT_DELETED and not any(map(held, frozen)):
            return await self._not_collected(found, facts.evidence, asked)
        return Failed(found.reason, found.note, facts.evidence, step=found.step)

    def _slow(self, frozen: Sequence[Trace[Pod]], now: float) -> Finding | None:
        """Return a finding if the garbage collector has asked all pods to end, but some only just now."""
        left = [trace for trace in frozen if not trace.gone]
        waited = left and all(trace.item.leaving and not held(trace) for trace in left)
        if self._owned.kind is POD or not waited:
            return None
        since = max(self._pods.leaving.get(trace.item.uid, 0.0) for trace in left)
        if since + self._grace + JUST_ASKED <= now:
            return None
        note = f"{left_over(len(left))}, asked to end {now - since:.1f} s ago: the garbage collector is slow"
        return Finding(self._step, Reason.UNKNOWN, note)

    async def _not_collected(self, found: Finding, evidence: tuple[Evidence, ...], deadline: float) -> Failed:
        """Return what it means that the garbage collector has not acted: it may be broken, or busy elsewhere."""
        if namespace := await namespace_deleted(self._cluster, self._owned.kind, self._owned.manifest, deadline):
            return Failed(namespace.reason, namespace.note, evidence)
        now = self._clock.now()
        if self._collecting():
            self._backlog.works(now)
        asked = self._owned.asked
        if asked and self._backlog.excuses(asked.at, now):
            note = f"{found.note} in time, but the controller manager works: it may be busy with other objects"
            return Failed(Reason.UNKNOWN, note, evidence)
        return Failed(found.reason, found.note, evidence, step=found.step)
