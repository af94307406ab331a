"""The pods of one attempt: followed on their watch, counted as lines arrive, judged when they fail."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from khealth_exporter.canaries.acting_nodes import ActingNodes
from khealth_exporter.canaries.aim import READY, Aim, Tally
from khealth_exporter.canaries.asking import ASKING, check_awake
from khealth_exporter.canaries.diagnosis import Missing, blame
from khealth_exporter.canaries.excess import LATE, Lateness, Usual
from khealth_exporter.canaries.facts import find_out
from khealth_exporter.canaries.findings import REPLACING, Case, replaced
from khealth_exporter.canaries.images import SeenImages
from khealth_exporter.canaries.interference import interference_with
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, WAY, behind, sample
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

CATCHING_UP = 1.0
"""Seconds for the watch to show what a list showed, before it counts as interrupted."""


class PodSet:
    """The pods that an attempt's own object brings about, or the one pod that it is."""

    def __init__(
        self, owned: Owned[Any], placement: Placement, context: Context, steps: Sequence[Step], missing: Missing
    ) -> None:
        self._owned, self._placement, self._context = owned, placement, context
        self._order, self._missing = tuple(steps), missing
        self._cluster, self._clock = context.cluster, context.clock
        self._create = CREATE if CREATE in self._order else None
        self._lines = self._cluster.watches.of(POD).subscribe(owned.ownership.key, owned.changed)
        self._kinds = tuple({owned.kind, POD})
        self.traces: dict[str, Trace[Pod]] = {}
        """Every pod that was seen, by uid."""
        self._usual = context.memory.of(Usual, *owned.ownership.key[:2])
        self.leaving: dict[str, float] = {}
        """When the watch first showed that a pod is being deleted, by uid."""
        self._count = 0
        self._first: set[str] = set()
        """The uids of the pods that the attempt asked for: what comes after them replaces one of them."""
        self._tally = Tally(READY)
        self._present: set[str] = set()
        self._held: tuple[str, ...] = ()
        self._failing: set[str] = set()
        self._gaps = 0

    def close(self) -> None:
        """Take in no more."""
        self._lines.close()

    @property
    def empty(self) -> bool:
        """Whether no pod is left."""
        return not self._present

    @property
    def live(self) -> bool:
        """Whether the attempt's watches are live."""
        return self._cluster.watches.live(self._kinds)

    async def see(self, deadline: float) -> None:
        """Wait until the attempt's watches are live; raise Refused or Failed otherwise."""
        await self._cluster.watches.see(self._kinds, deadline)

    def present(self) -> list[Trace[Pod]]:
        """Return the pods that are left."""
        return [self.traces[uid] for uid in sorted(self._present)]

    def update(self) -> None:
        """Take in what the watches have shown; the cost is one of each line, however many pods there are."""
        self._owned.update()
        for line in self._lines.drain():
            if not self._belongs(line.object):
                continue
            uid = line.object.uid
            if (trace := self.traces.get(uid)) is None:
                trace = self.traces[uid] = Trace(WAY, line.object)
                self._first |= {uid} if len(self._first) < self._count else set()
            trace.take(line.object, Moment(line.at, line.delay, line.recovered), removed=line.type == "DELETED")
            if trace.gone or trace.item.leaving:
                self.leaving.setdefault(uid, line.at)
            (self._present.discard if trace.gone else self._present.add)(uid)
            self._tally.take(trace)
            if uid in self._held:
                (self._failing.discard if uid in self._tally.well else self._failing.add)(uid)

    def _belongs(self, pod: Pod) -> bool:
        """Tell whether a pod of the attempt is one of these: a bare pod may not be the attempt's only one."""
        return self._owned.kind is not POD or pod.name == self._owned.ownership.name

    def catch_up(self) -> None:
        """Take in all that has arrived; a condition that waits is evaluated by it, so none may call it."""
        self._owned.changed.flush()
        self.update()

    async def until(self, true: Callable[[], bool], deadline: float) -> bool:
        """Wait until a condition holds for what was seen; tell whether it does when the deadline comes."""

        def updated() -> bool:
            self.update()
            return true()

        return await self._owned.changed.until(updated, deadline)

    async def all_ready(self, count: int, deadline: float, record: Callable[[Sample], None]) -> None:
        """Return when so many pods are Ready; raise Failed at the deadline, or as soon as one is lost.

        Every pod is recorded either way; one that is stuck because the cluster failed, with the time waited.
        """
        await self.all_at(READY, count, deadline, record)

    async def all_at(self, aim: Aim, count: int, deadline: float, record: Callable[[Sample], None]) -> None:
        """Return when so many pods are where they should be; as `all_ready`, which is one such aim.

        Only the pods that it concerns are judged and recorded.
        """
        self._count, self._held = count, ()
        self._tally = tally = Tally(aim, self.traces.values())
        self._gaps = self._cluster.watches.gaps(self._kinds)

        def ready() -> bool:
            return tally.complete(count) and self._owned.shown

        await self.until(lambda: tally.failed or self._owned.taken or ready(), deadline)
        if aim.floor and (tally.fallen or ready()):
            self._check_gaps()
        if not ready():
            raise await self._inquest([trace.frozen() for trace in self.traces.values()], count, deadline, record)
        for measured in self._samples(filter(aim.concerns, self.traces.values())):
            record(measured)
            self._usual.note(measured.measurements)
        self._held = tuple(uid for uid in self.traces if uid in tally.well)
        self._failing.clear()
        self._gaps = self._cluster.watches.gaps(self._kinds)

    def _samples(self, traces: Iterable[Trace[Pod]], deadline: Moment | None = None) -> Iterator[Sample]:
        """Yield what was measured of each pod so far; with a deadline, stuck steps count with the time waited."""
        memory, image = self._context.memory, self._placement.image
        seen = memory.of(SeenImages)
        seen.note(self.traces.values(), image)
        memory.of(ActingNodes).note(self.traces.values(), self._clock.now())
        for trace in traces:
            steps = self._measured(trace, deadline)
            graded = (seen.graded(step, trace, image) for step in steps) if memory.lasting else steps
            yield sample(trace, graded, self._clock)

    def _measured(self, trace: Trace[Pod], deadline: Moment | None) -> list[Measurement]:
        ruler = self._owned.ruler
        steps = [measured for measured in trace.spans(ruler, deadline) if measured.step in self._order]
        if self._create and "created" in trace.moments and trace.item.uid in self._first:
            steps.insert(0, ruler.measure(self._create, self._owned.answered, trace.moments["created"]))
        return steps

    async def verify(self, deadline: float) -> None:
        """Return if the watch shows all held pods still there and Ready; raise Failed otherwise."""
        self.catch_up()
        self._check_gaps()
        if self._failing:
            held = [self.traces[uid].frozen() for uid in self._held]
            raise await self._inquest(held, len(held), float("inf"), None)
        if self.live:
            return
        left = deadline - self._clock.now()
        if left <= 0:
            return  # Too little time to tell; if it lasts, cleanup meets it.
        try:
            await self._list(deadline)
        except Refused:
            if left > ASKING:
                raise

    def _check_gaps(self) -> None:
        if self._cluster.watches.gaps(self._kinds) != self._gaps:
            raise Failed(Reason.WATCH_INTERRUPTED, "watch interrupted meanwhile: changes may be missing")

    async def rest(self, seconds: float) -> None:
        """Wait, but return early if a held pod fails or the watch changes its state."""
        live = self.live
        await self.until(lambda: bool(self._failing) or self.live != live, self._clock.now() + seconds)

    async def _list(self, deadline: float) -> list[Pod]:
        found = await self._cluster.list(POD, deadline, labels=self._owned.ownership.selector)
        return [pod for pod in found if self._belongs(pod)]

    async def _inquest(
        self, frozen: list[Trace[Pod]], count: int, deadline: float, record: Callable[[Sample], None] | None
    ) -> Failed:
        """Find out why not all of these pods are Ready, having asked the API server first; return it as a failure.

        Before the deadline only what was lost is judged: the others still had time.
        """
        now, stuck = Moment(self._clock.now()), False
        due = now.at >= deadline
        try:
            check_awake(now.at - deadline)
            await self.ask(now.at + ASKING, frozen if due else None)
            frozen = list(filter(self._tally.aim.concerns, frozen))
            failed = await self._explained(frozen, max(0, count - len(frozen)) if due else 0, now, due=due)
            stuck = due and (failed.reason.result is Result.FAILURE or failed.reason is Reason.NO_SINGLE_CAUSE)
        except Failed as doubt:
            failed = doubt
        if record:
            for measured in self._samples(frozen, now if stuck else None):
                record(measured)
            for measured in self._absent(range(len(frozen), count if stuck else 0), now):
                record(measured)
        return failed

    def _absent(self, numbers: Iterable[int], now: Moment) -> Iterator[Sample]:
        for number in numbers if self._create else ():
            name = f"{self._owned.ownership.name} pod {number + 1}"
            yield Sample(name, "", None, (self._uncreated(now),), dict.fromkeys(WAY.milestones))

    def _uncreated(self, now: Moment) -> Measurement:
        return self._owned.ruler.measure(CREATE, self._owned.answered, now, censored=True)

    async def ask(self, deadline: float, known: Sequence[Trace[Pod]] | None = None) -> None:
        """Ask the API server before blaming; raise what its silence means, or watch_interrupted if it knows more.

        It knows more if the watch does not soon show the same; or, with `known`, than was known at the deadline.
        """
        sent = self._clock.now()
        pods = {pod.uid: pod for pod in await self._list(deadline)}
        known_by_uid = {trace.item.uid: trace for trace in known or ()}
        if known is not None and any(behind(known_by_uid.get(uid), pod) for uid, pod in pods.items()):
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch was behind the API server at the deadline")
        self.catch_up()
        # Each is looked at until the watch has shown it, and then never again: lines may be many.
        unseen = list(pods.values())
        # A pod that was created after the question may be younger than the answer.
        going = [u for u in self._present if u not in pods and self.traces[u].moments["created"].at < sent]

        def seen() -> bool:
            while unseen and not behind(self.traces.get(unseen[-1].uid), unseen[-1]):
                unseen.pop()
            while going and going[-1] not in self._present:
                going.pop()
            return not unseen and not going

        caught_up = await self.until(seen, self._clock.now() + CATCHING_UP)
        if not caught_up or not self._owned.shown:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch is behind the API server")

    async def _explained(self, frozen: list[Trace[Pod]], missing: int, now: Moment, *, due: bool) -> Failed:
        """Return why not all pods are Ready: what another client did explains it before any component's fault."""
        lost = any(trace.gone or trace.item.leaving for trace in frozen) or self._tally.fallen is not None
        if self._owned.taken and not lost and (why := await self._interference()):
            return why  # Its pods follow; none of them has failed yet.
        failed = await self._judged(frozen, missing, now, due=due)
        if failed.reason.result is Result.FAILURE and (missing or lost) and (why := await self._interference()):
            return Failed(why.reason, why.note, failed.evidence)
        return failed

    async def _interference(self) -> Failed | None:
        """Return what another client did; without an answer in time, it is not known that anyone did anything."""
        try:
            return await interference_with(self._cluster, self._owned, self._clock.now() + ASKING)
        except Failed:
            return None

    async def _judged(self, frozen: list[Trace[Pod]], missing: int, now: Moment, *, due: bool) -> Failed:
        asked = now.at + ASKING
        if missing:
            # Its status says why, and its watch may have stopped without a word.
            await self._owned.refresh(asked)
        tally, traces = self._tally, self.traces.values()
        facts = await find_out(self._cluster, self._owned, traces, self._placement, asked)
        if (lost := tally.fallen) and lost.item.leaving:
            await self.until(lambda: replaced(lost, tally.others(traces), self.leaving), self._clock.now() + REPLACING)
        others = tally.others(traces)
        case = Case(
            tally, frozen, others, self._first, self.leaving, missing, self._missing, self._owned,
            facts, now, self._lateness(now) if due else None,
            lambda trace: self._measured(trace, now), lambda: self._uncreated(now),
        )  # fmt: skip
        nodes = self._context.memory.of(ActingNodes)
        findings = nodes.explained(case.findings(), frozen, now.at)
        if not findings:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch showed only after the deadline that the pods are Ready")
        found = blame(findings, self._order, frozen, nodes.since(frozen))
        return Failed(found.reason, found.note, facts.evidence, step=found.step)

    def _lateness(self, now: Moment) -> Lateness:
        owned, budget = self._owned, now.at - self._owned.began
        chain = dict.fromkeys((ACCEPT, *(step for step in self._order if step in LATE)))
        usual = self._usual.of(chain, budget)
        return Lateness(usual, budget, owned.sent - owned.began, owned.answered.at - owned.sent)
