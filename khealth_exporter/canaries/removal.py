"""How an attempt's objects go: asked first, then without the components that they wait for."""

from collections.abc import Callable, Sequence
from typing import Any

from khealth_exporter.canaries.diagnosis import not_deleted
from khealth_exporter.canaries.facts import find_out
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import ASKING, PodSet
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import sample
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

ENDING = 5.0
"""Seconds that pods have at least to end by themselves: on a busy node that takes a while, and is no failure."""
FORCING = 3.0
"""Seconds for deletions with grace 0, at least."""


class Removal:
    """Deletes an attempt's own object with its pods; `steps` are the routine's, and the teardown one is measured."""

    def __init__(
        self, owned: Owned[Any], pods: PodSet, placement: Placement, context: Context, steps: Sequence[Step]
    ) -> None:
        self._owned, self._pods, self._placement = owned, pods, placement
        self._cluster, self._clock = context.cluster, context.clock
        self._order = tuple(steps)
        self._step = next(step for step in steps if step.teardown)
        self._stuck: Failed | None = None
        self._recorded: set[str] = set()

    async def run(self, deadline: float, patience: float, record: Callable[[Sample], None]) -> None:
        """Delete everything, and return when it is gone; raise Failed.

        At half of `patience` seconds before the deadline, pods that are still there are deleted with grace 0.
        """
        if not self._owned.begun:
            return
        self._pods.catch_up()
        await self._owned.delete(deadline)
        await self._delete_orphans(deadline)
        since = self._owned.asked.at if self._owned.asked else self._clock.now()
        if not await self._gone(max(deadline - patience / 2, since + ENDING)):
            await self._force(deadline, record)
        self._record(record)
        if self._stuck:
            stuck = self._stuck
            raise Failed(stuck.reason, stuck.note, stuck.evidence, step=stuck.step, settled=True)

    async def _delete_orphans(self, deadline: float) -> None:
        """Delete the pods whose owner was removed without them, and not by khealth."""
        if self._owned.gone and self._owned.kind is not POD:
            for trace in [trace for trace in self._pods.present() if not trace.item.leaving]:
                await self._cluster.delete(POD, trace.item, deadline)

    async def _gone(self, deadline: float) -> bool:
        """Wait until nothing is left; tell whether that came before the deadline."""
        return await self._pods.until(lambda: self._owned.gone and self._pods.empty, deadline)

    def _record(self, record: Callable[[Sample], None], deadline: Moment | None = None) -> None:
        """Record the teardown step of each pod, once; with a deadline, of those that are stuck."""
        asked = self._owned.asked
        for uid, trace in self._pods.traces.items():
            end = trace.moments.get(trace.way.removed) or deadline
            if asked and end and end.at >= asked.at and uid not in self._recorded:
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
            if not refused.refusal.denied:
                raise
            raise stuck from refused  # What held it up is known all the same.
        if not await self._gone(deadline):
            raise stuck

    async def _take(self, deadline: float) -> None:
        """Delete the pods without their kubelets, and then their owner; raise Refused."""
        for trace in self._pods.present():
            await self._cluster.delete(POD, trace.item, deadline, grace=0)
        pods_gone = await self._pods.until(lambda: self._pods.empty, deadline)
        # While khealth is blind there may be pods that it has not seen: they would be orphans.
        if pods_gone and self._pods.live:
            await self._owned.release(deadline)

    async def _stuck_by(self) -> Failed:
        asked = self._clock.now() + ASKING
        frozen = [trace.frozen() for trace in self._pods.traces.values()]
        try:
            await self._pods.ask(asked)
            facts = await find_out(self._cluster, self._owned, self._pods.traces.values(), self._placement, asked)
        except Failed as failed:
            return failed
        found = not_deleted(frozen, facts.nodes, self._order)
        return Failed(found.reason, found.note, facts.evidence, step=found.step)
