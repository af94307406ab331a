"""The pods of one attempt: followed on the watch, asked after before anyone is blamed, and made to go."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from khealth_exporter.blame import Nodes, blame, not_created, not_deleted, not_ready
from khealth_exporter.cluster.access import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.objects import KubernetesObject, ReplicationController, decode
from khealth_exporter.cluster.ownership import ATTEMPT, ROUTINE, RUN
from khealth_exporter.event import Evidence, Failed, Measurement, Quality, Reason, Result, Sample
from khealth_exporter.evidence import of_controller, of_events, of_pod
from khealth_exporter.pods import (
    ACCEPT, CREATE, DELETE, MILESTONES, Lag, Moment, Ruler, Way, beginning, behind, sample,
)
from khealth_exporter.routine import Context

ASKING = 5.0
"""Seconds for the questions that precede a verdict."""
CATCHING_UP = 1.0
"""Seconds for the watch to show what a list showed, before it counts as interrupted."""
STARVED = 2.0
"""Seconds after its deadline at which an attempt that wakes up only then was starved itself."""
CONFIRMING = (0.0, 0.5, 1.5)
"""Seconds before each look for what an unanswered write may have made: its request may still be under way."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The image of the pods, and where they may run: their nodeSelector, and the taints that they tolerate."""

    image: str
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerated: tuple[str, ...] = ()


class Canaries:
    """One ReplicationController and its pods, in one attempt."""

    def __init__(self, label: str, attempt: int, context: Context, placement: Placement) -> None:
        self._context, self._placement = context, placement
        self._cluster: Cluster = context.cluster
        self._clock = context.clock
        identity = self._cluster.identity
        self.name = identity.name(label, attempt)
        self._labels = {RUN: identity.run, ROUTINE: label, ATTEMPT: str(attempt)}
        self._pods = self._cluster.pods.subscribe(self._ours)
        self._controllers = self._cluster.controllers.subscribe(lambda found: found.name == self.name)
        self.ways: dict[str, Way] = {}
        self._controller: ReplicationController | None = None
        self._begun = self._controller_gone = False
        self._answered = Moment(self._clock.now())
        self._sent = self._answered.at
        self._lag: Lag | None = None
        self._held: tuple[str, ...] = ()
        self._gaps = 0
        self._asked_to_go: float | None = None
        self._stuck: Failed | None = None
        self._cluster.active.add(self.name)

    def _ours(self, found: KubernetesObject) -> bool:
        return self._labels.items() <= found.metadata.labels.items()

    @property
    def _ruler(self) -> Ruler:
        return Ruler(self._context.measurement, self._lag or Lag())

    def _update(self) -> None:
        """Take in what the watches have shown."""
        for line in self._controllers.drain():
            self._controller, self._controller_gone = line.object, line.type == "DELETED"
            if self._lag is None and not line.recovered:
                self._lag = Lag.of_write(self._sent, self._answered.at, line.at)
                self._cluster.telemetry.watch_lag(self._lag.certain)
        for pod_line in self._pods.drain():
            way = self.ways.setdefault(pod_line.object.uid, Way(pod_line.object))
            way.take(pod_line)

    async def _until(self, true: Callable[[], bool], deadline: float) -> bool:
        def updated() -> bool:
            self._update()
            return true()

        return await self._cluster.until(updated, deadline)

    async def create(self, manifest: Mapping[str, object], deadline: float) -> Measurement:
        """Create the controller, and return the step `accept`; raise Refused, or why the watches are not live."""
        await self._cluster.see(deadline)
        self._begun, self._sent = True, self._clock.now()
        try:
            answer = await self._cluster.create_controller(manifest, deadline)
        except Refused as refused:
            if not refused.refusal.exists:
                raise
            # An earlier try of ours went through, though its answer never came: the name holds our run's id.
            self._answered = Moment(self._clock.now(), self._clock.now() - self._sent)
            return self._ruler.measure(ACCEPT, Moment(self._sent), self._answered)
        self._sent, self._answered = answer.sent, Moment(answer.answered, answer.delay)
        self._controller = _decoded(answer.body) or self._controller
        quality = Quality.DEGRADED if answer.tries > 1 or answer.delay > self._context.measurement.loop_lag else None
        return Measurement(ACCEPT.name, answer.answered - answer.sent, answer.delay, quality or Quality.EXACT)

    async def all_ready(self, count: int, deadline: float, record: Callable[[Sample], None]) -> None:
        """Return once so many pods are Ready; raise Failed at the deadline, or as soon as one is lost.

        Every pod is recorded either way; one that is stuck because the cluster failed, with the time waited.
        """
        await self._until(lambda: self._spoilt or len(self._well) >= count and self._lag is not None, deadline)
        well = self._well
        if self._spoilt or len(well) < count:
            raise await self._inquest(count, deadline, record)
        for measured in self._samples(self.ways.values()):
            record(measured)
        self._held = tuple(way.pod.uid for way in well)
        self._gaps = self._cluster.gaps

    @property
    def _well(self) -> list[Way]:
        return [way for way in self.ways.values() if way.well]

    @property
    def _spoilt(self) -> bool:
        """Whether a pod went, or was asked to go, before its time."""
        return any(way.gone or way.pod.leaving for way in self.ways.values())

    @property
    def _holding(self) -> bool:
        return not self._spoilt and all(self.ways[uid].well for uid in self._held)

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
        if not self._holding:
            raise await self._inquest(len(self._held), self._clock.now(), None)
        if self._cluster.gaps != self._gaps:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch was broken in the hold: changes may have gone unseen")
        if self._cluster.live:
            return
        left = deadline - self._clock.now()
        try:
            await self._cluster.list_pods(self._selector, deadline)
        except Refused:
            if left > ASKING:
                raise
            return  # Too little time to tell; if it lasts, cleanup meets it.
        if left <= 0:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch is broken, the API server answers")

    async def rest(self, seconds: float) -> None:
        """Wait, but no longer than all is as it was."""
        live = self._cluster.live
        await self._until(lambda: not self._holding or self._cluster.live != live, self._clock.now() + seconds)

    @property
    def _selector(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self._labels.items())

    async def _inquest(
        self, count: int, deadline: float, record: Callable[[Sample], None] | None
    ) -> Failed:
        """Find out why not all pods are Ready, having asked the API server first, and return it as a failure."""
        now, blamed = Moment(self._clock.now()), False
        frozen = [way.frozen() for way in self.ways.values()]
        try:
            if now.at - deadline > STARVED:
                raise Failed(Reason.PROBER_STARVED, "khealth itself was not run for seconds")
            await self._ask(now.at + ASKING)
            failed = await self._judged(frozen, max(0, count - len(frozen)), now.at + ASKING)
            blamed = failed.reason.result is Result.FAILURE
        except Failed as doubt:
            failed = doubt
        if record:
            for measured in self._samples(frozen, now if blamed else None):
                record(measured)
            for number in range(len(frozen), count if blamed else 0):
                step = self._ruler.measure(CREATE, self._answered, now, censored=True)
                record(Sample(f"{self.name} pod {number + 1}", "", None, (step,), dict.fromkeys(MILESTONES)))
        return failed

    async def _judged(self, frozen: list[Way], missing: int, asked: float) -> Failed:
        nodes, evidence = await self._facts(asked)
        findings = [not_ready(way, nodes) for way in frozen if not way.well]
        if missing:
            findings.append(not_created(self._controller, missing))
        found = blame(findings, frozen)
        return Failed(found.reason, found.note, evidence)

    async def _ask(self, asked: float) -> None:
        """Ask the API server before blaming; raise what its silence means, or watch_interrupted where it knows more."""
        pods = {pod.uid: pod for pod in await self._cluster.list_pods(self._selector, asked)}

        def seen() -> bool:
            return not any(behind(self.ways.get(uid), pod) for uid, pod in pods.items()) and all(
                uid in pods or way.gone for uid, way in self.ways.items()
            )

        caught_up = await self._until(seen, self._clock.now() + CATCHING_UP)
        if not caught_up or (self._begun and self._controller is None):
            raise Failed(Reason.WATCH_INTERRUPTED, "the API server shows more than the watch has")

    async def _facts(self, asked: float) -> tuple[Nodes, tuple[Evidence, ...]]:
        """Return what the nodes say, and the evidence: the canary is gone when someone looks."""
        async with asyncio.TaskGroup() as group:
            nodes = group.create_task(self._cluster.list_nodes(asked))
            events = group.create_task(self._cluster.list_events(asked))
        evidence = [of_pod(way) for way in self.ways.values() if not way.well]
        if self._controller:
            evidence.append(of_controller(self._controller))
        evidence += of_events(events.result(), self.name)
        where = self._placement
        return Nodes.of(nodes.result(), where.selector, where.tolerated), tuple(evidence)

    async def remove(self, deadline: float, timeout: float, record: Callable[[Sample], None]) -> None:
        """Delete the controller with its pods, and return once they are gone; raise Failed.

        At half of `timeout` before the deadline, pods that are still there are deleted with grace 0.
        """
        if not self._begun:
            self._cluster.active.discard(self.name)
            return
        self._update()
        target = await self._target(deadline)
        if target and self._asked_to_go is None:
            sent = self._clock.now()
            answer = await self._cluster.delete(
                "replicationcontrollers", target, deadline, policy="Foreground"
            )
            self._asked_to_go = answer.sent if answer else sent
        if target is None or await self._gone(max(deadline - timeout / 2, (self._asked_to_go or 0) + timeout / 4)):
            self._record_deletions(record)
            self._cluster.active.discard(self.name)
            if self._stuck:
                raise self._stuck
            return
        await self._force(deadline, record)

    async def _target(self, deadline: float) -> ReplicationController | None:
        """Return the controller that is to be deleted; None where there is none (any more)."""
        if self._controller_gone:
            return None
        if self._controller:
            return self._controller
        for pause in CONFIRMING:
            await asyncio.sleep(pause)
            found = await self._cluster.find_controller(self.name, deadline)
            if found:
                self._controller = found
                return found
        return None

    async def _gone(self, deadline: float) -> bool:
        """Wait until neither the controller nor a pod of it is left; tell whether that came before the deadline."""

        def all_gone() -> bool:
            return self._controller_gone and all(way.gone for way in self.ways.values())

        return await self._until(all_gone, deadline)

    def _record_deletions(self, record: Callable[[Sample], None], deadline: Moment | None = None) -> None:
        if self._asked_to_go is None:
            return
        asked = Moment(self._asked_to_go)
        for way in self.ways.values():
            end = way.moments.get("deleted") or deadline
            if end and end.at >= asked.at:
                measured = self._ruler.measure(DELETE, asked, end, censored=not way.gone)
                record(sample(way, [measured], self._clock))

    async def _force(self, deadline: float, record: Callable[[Sample], None]) -> None:
        """Delete what does not go with grace 0, and raise what kept it."""
        if self._stuck is None:
            self._stuck = await self._stuck_by(record)
        for way in [way for way in self.ways.values() if not way.gone]:
            await self._cluster.delete("pods", way.pod, deadline, grace=0)
        gone = await self._gone(deadline)
        if gone:
            self._cluster.active.discard(self.name)
        raise Failed(self._stuck.reason, self._stuck.note, self._stuck.evidence, settled=gone)

    async def _stuck_by(self, record: Callable[[Sample], None]) -> Failed:
        now = self._clock.now()
        frozen = [way.frozen() for way in self.ways.values()]
        try:
            await self._ask(now + ASKING)
        except Failed as failed:
            return failed
        nodes, evidence = await self._facts(now + ASKING)
        found = not_deleted(frozen, nodes)
        if found.reason.result is Result.FAILURE:
            self._record_deletions(record, Moment(now))
        return Failed(found.reason, found.note, evidence)


def _decoded(body: bytes) -> ReplicationController | None:
    try:
        return decode(ReplicationController, body)
    except msgspec.MsgspecError:
        return None
