"""The pods of one attempt: made, held to be Ready, and made to go; whoever fails is blamed only after questions."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

from khealth_exporter.canaries.diagnosis import blame, not_created, not_deleted, not_ready
from khealth_exporter.canaries.following import Following, Placement, controller_in
from khealth_exporter.canaries.pod_way import ACCEPT, CREATE, DELETE, MILESTONES, Way, beginning, sample
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.objects import ReplicationController
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.verdict import Failed

ASKING = 5.0
"""Seconds for the questions that precede a verdict."""
STARVED = 2.0
"""Seconds after its deadline at which an attempt that wakes up only then was starved itself."""
ENDING = 5.0
"""Seconds that pods have to end by themselves, at least: on a busy node that takes a while, and blames nobody."""
FORCING = 3.0
"""Seconds for deletions with grace 0, at least."""
CONFIRMING = (0.0, 0.5, 1.5)
"""Seconds before each look for what an unanswered write may have made: its request may still be under way."""


class Canaries(Following):
    """One ReplicationController and its pods, in one attempt."""

    def __init__(self, label: str, attempt: int, context: Context, placement: Placement) -> None:
        super().__init__(label, attempt, context, placement)
        self._held: tuple[str, ...] = ()
        self._gaps = 0
        self._first_asked: float | None = None
        self._asked_to_go: Moment | None = None
        self._stuck: Failed | None = None
        self._deleted: set[str] = set()

    async def create(self, manifest: Mapping[str, object], deadline: float) -> Measurement:
        """Create the controller, and return the step `accept`; raise Refused, or why the watches are not live."""
        await self._cluster.see(deadline)
        await self._cluster.check_removable(self.name, deadline)
        self._begun, self._sent = True, self._clock.now()
        try:
            answer = await self._cluster.create_controller(manifest, deadline)
        except Refused as refused:
            if not refused.refusal.exists:
                self._begun = refused.unanswered
                raise
            # An earlier try of ours went through, though its answer never came: the name holds our run's id.
            self._answered = Moment(self._clock.now(), self._clock.now() - self._sent)
            return self._ruler.measure(ACCEPT, Moment(self._sent), self._answered)
        self._sent, self._answered = answer.sent, Moment(answer.answered, answer.delay)
        self._controller = self._controller or controller_in(answer.body)
        late = answer.tries > 1 or answer.delay > self._context.measurement.loop_lag
        quality = Quality.DEGRADED if late else Quality.EXACT
        return Measurement(ACCEPT.name, answer.answered - answer.sent, answer.delay, quality)

    async def all_ready(self, count: int, deadline: float, record: Callable[[Sample], None]) -> None:
        """Return once so many pods are Ready; raise Failed at the deadline, or as soon as one is lost.

        Every pod is recorded either way; one that is stuck because the cluster failed, with the time waited.
        """
        await self._until(lambda: self._spoilt or (len(self._well) >= count and self._shown), deadline)
        well = self._well
        if self._spoilt or len(well) < count or not self._shown:
            raise await self._inquest([way.frozen() for way in self.ways.values()], count, deadline, record)
        for measured in self._samples(self.ways.values()):
            record(measured)
        self._held = tuple(way.pod.uid for way in well)
        self._gaps = self._cluster.gaps

    @property
    def _holding(self) -> bool:
        return all(self.ways[uid].well for uid in self._held)

    def _samples(self, ways: Iterable[Way], deadline: Moment | None = None) -> Iterator[Sample]:
        """Yield what was measured of each pod so far; with a deadline, stuck steps count with the time waited."""
        image, seen = self._placement.image, self._context.images
        seen.note(self.ways.values(), image)
        for way in ways:
            steps = beginning(way, self._ruler, self._answered, deadline)
            yield sample(way, (seen.graded(step, way, image) for step in steps), self._clock)

    async def verify(self, deadline: float) -> None:
        """Return if the watch shows all pods that were held still there and Ready; raise Failed otherwise."""
        self._update()
        if self._cluster.gaps != self._gaps:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch was broken in the hold: changes may have gone unseen")
        if not self._holding:
            held = [self.ways[uid].frozen() for uid in self._held]
            raise await self._inquest(held, len(held), float("inf"), None)
        if self._cluster.live:
            return
        left = deadline - self._clock.now()
        if left <= 0:
            return  # Too little time to tell; if it lasts, cleanup meets it.
        try:
            await self._cluster.list_pods(self._selector, deadline)
        except Refused:
            if left > ASKING:
                raise

    async def rest(self, seconds: float) -> None:
        """Wait, but no longer than all is as it was."""
        live = self._cluster.live
        await self._until(lambda: not self._holding or self._cluster.live != live, self._clock.now() + seconds)

    async def _inquest(
        self, frozen: list[Way], count: int, deadline: float, record: Callable[[Sample], None] | None
    ) -> Failed:
        """Find out why not all of these pods are Ready, having asked the API server first; return it as a failure.

        Before the deadline only what was lost is judged: the others still had time.
        """
        now, stuck = Moment(self._clock.now()), False
        due = now.at >= deadline
        try:
            self._awake(now.at - deadline)
            await self._ask(now.at + ASKING, frozen if due else None)
            failed = await self._judged(frozen, max(0, count - len(frozen)) if due else 0, now.at + ASKING)
            stuck = due and failed.reason.result is Result.FAILURE
        except Failed as doubt:
            failed = doubt
        if record:
            for measured in self._samples(frozen, now if stuck else None):
                record(measured)
            for number in range(len(frozen), count if stuck else 0):
                step = self._ruler.measure(CREATE, self._answered, now, censored=True)
                record(Sample(f"{self.name} pod {number + 1}", "", None, (step,), dict.fromkeys(MILESTONES)))
        return failed

    def _awake(self, late: float) -> None:
        if late > STARVED:
            raise Failed(Reason.PROBER_STARVED, f"khealth itself was not run for {late:.1f} s")

    async def _judged(self, frozen: list[Way], missing: int, asked: float) -> Failed:
        if missing:
            # Its status says why, and its watch may have stopped without a word.
            self._controller = await self._cluster.find_controller(self.name, asked) or self._controller
        facts = await self._facts(asked)
        lost = [way for way in frozen if way.gone or way.pod.leaving]
        suspects = lost or [way for way in frozen if not way.well]
        findings = [not_ready(way, facts.nodes, facts.pulling) for way in suspects]
        if missing and not lost:
            findings.append(not_created(self._controller, missing))
        if not findings:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch showed only after the deadline that all is well")
        found = blame(findings, frozen)
        return Failed(found.reason, found.note, facts.evidence)

    async def remove(self, deadline: float, patience: float, record: Callable[[Sample], None]) -> None:
        """Delete the controller with its pods, and return once they are gone; raise Failed.

        At half of `patience` seconds before the deadline, pods that are still there are deleted with grace 0.
        """
        if not self._begun:
            return
        self._update()
        target = await self._target(deadline)
        if target and self._asked_to_go is None:
            await self._ask_to_go(target, deadline)
        await self._delete_orphans(deadline)
        since = self._asked_to_go.at if self._asked_to_go else self._clock.now()
        if not await self._gone(max(deadline - patience / 2, since + ENDING)):
            await self._force(deadline, record)
        self._record_deletions(record)
        if self._stuck:
            raise Failed(self._stuck.reason, self._stuck.note, self._stuck.evidence, settled=True)

    async def _ask_to_go(self, target: ReplicationController, deadline: float) -> None:
        """Delete the controller; a delete that had to be repeated may have been done at any time since the first."""
        now = self._clock.now()
        first = self._first_asked = self._first_asked or now
        answer = await self._cluster.delete("replicationcontrollers", target, deadline, policy="Foreground")
        if answer and answer.tries == 1 and first == now:
            self._asked_to_go = Moment(answer.sent)
        else:
            self._asked_to_go = Moment(first, self._clock.now() - first)
        if answer:
            self._delete = answer.sent, answer.answered

    async def _target(self, deadline: float) -> ReplicationController | None:
        """Return the controller that is to be deleted; None where there is none (any more)."""
        if self._controller or self._controller_gone:
            return None if self._controller_gone else self._controller
        for pause in CONFIRMING:
            await asyncio.sleep(pause)
            found = await self._cluster.find_controller(self.name, deadline)
            if found:
                self._controller = found
                return found
        self._controller_gone = True
        return None

    async def _delete_orphans(self, deadline: float) -> None:
        """Delete the pods of a controller that somebody else has taken away from them."""
        if self._controller_gone:
            for way in [way for way in self.ways.values() if not way.gone and not way.pod.leaving]:
                await self._cluster.delete("pods", way.pod, deadline)

    async def _gone(self, deadline: float) -> bool:
        """Wait until neither the controller nor a pod of it is left; tell whether that came before the deadline."""
        return await self._until(
            lambda: self._controller_gone and all(way.gone for way in self.ways.values()), deadline
        )

    def _record_deletions(self, record: Callable[[Sample], None], deadline: Moment | None = None) -> None:
        """Record the step `delete` of each pod, once; with a deadline, of those that are stuck."""
        asked = self._asked_to_go
        for uid, way in self.ways.items():
            end = way.moments.get("deleted") or deadline
            if asked and end and end.at >= asked.at and uid not in self._deleted:
                self._deleted.add(uid)
                step = self._ruler.measure(DELETE, asked, end, censored=not way.gone)
                record(sample(way, [step], self._clock))

    async def _force(self, deadline: float, record: Callable[[Sample], None]) -> None:
        """Find out what keeps them from going, and do without whom they wait for; raise Failed if that is in vain.

        The pods go with grace 0, without their kubelets. Once they are gone, a second delete in the background takes
        the controller's finalizer away: it goes even where the controller manager, and so the collector, is dead.
        """
        now = Moment(self._clock.now())
        stuck = self._stuck or await self._stuck_by()
        self._update()
        if self._controller_gone and all(way.gone for way in self.ways.values()):
            return  # Late, but by itself.
        self._stuck = stuck
        if stuck.reason.result is Result.FAILURE:
            self._record_deletions(record, now)
        # To find out whom to blame may have taken what was left of the time.
        deadline = max(deadline, self._clock.now() + FORCING)
        try:
            await self._take(deadline)
        except Refused as refused:
            if not refused.refusal.denied:
                raise
            raise stuck from refused  # What kept them is known all the same.
        if not await self._gone(deadline):
            raise stuck

    async def _take(self, deadline: float) -> None:
        """Delete the pods without their kubelets, and then the controller without the collector; raise Refused."""
        for way in [way for way in self.ways.values() if not way.gone]:
            await self._cluster.delete("pods", way.pod, deadline, grace=0)
        pods_gone = await self._until(lambda: all(way.gone for way in self.ways.values()), deadline)
        # While khealth is blind there may be pods that it has not seen: they would be orphans.
        if pods_gone and self._cluster.live and self._controller and not self._controller_gone:
            await self._cluster.delete("replicationcontrollers", self._controller, deadline)

    async def _stuck_by(self) -> Failed:
        now = self._clock.now()
        frozen = [way.frozen() for way in self.ways.values()]
        try:
            await self._ask(now + ASKING)
            facts = await self._facts(now + ASKING)
        except Failed as failed:
            return failed
        found = not_deleted(frozen, facts.nodes)
        return Failed(found.reason, found.note, facts.evidence)
