"""The pods of one attempt as the watches show them, and what the API server says when it is asked."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from khealth_exporter.canaries.diagnosis import Nodes
from khealth_exporter.canaries.evidence import of_controller, of_events, of_pod
from khealth_exporter.canaries.pod_way import Way, behind
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.decoding import decode
from khealth_exporter.cluster.objects import KubernetesObject, ReplicationController
from khealth_exporter.cluster.ownership import ATTEMPT, ROUTINE, RUN
from khealth_exporter.cluster.watch.subscription import Line
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Lag, Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence, Failed

SHOWN = 10
"""Pods that evidence shows."""
CATCHING_UP = 1.0
"""Seconds for the watch to show what a list showed, before it counts as interrupted."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The image of the pods, and where they may run: their nodeSelector, and the taints that they tolerate."""

    image: str
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out before anyone is blamed."""

    nodes: Nodes
    pulling: frozenset[str]
    """Names of the pods whose image is being pulled, so far as Kubernetes Events tell."""
    evidence: tuple[Evidence, ...]


class Following:
    """One ReplicationController and its pods, followed on the watches through one attempt."""

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
        """Every pod that was seen, by uid."""
        self._controller: ReplicationController | None = None
        self._begun = self._shown = self._controller_gone = False
        self._answered = Moment(self._clock.now())
        self._sent = self._answered.at
        self._lag = Lag()
        self._delete: tuple[float, float] | None = None
        """When our delete was sent and answered, until the watch shows it."""
        self._cluster.active.add(self.name)

    def close(self) -> None:
        """Say that the attempt is over: what is left of it may be swept."""
        self._cluster.active.discard(self.name)
        self._pods.close()
        self._controllers.close()

    def _ours(self, found: KubernetesObject) -> bool:
        return self._labels.items() <= found.metadata.labels.items()

    @property
    def _selector(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self._labels.items())

    @property
    def _ruler(self) -> Ruler:
        return Ruler(self._context.measurement, self._lag.or_worse(Lag(possible=self._context.lags.possible)))

    def _update(self) -> None:
        """Take in what the watches have shown."""
        for line in self._controllers.drain():
            self._controller, self._controller_gone = line.object, line.type == "DELETED"
            if not self._shown:
                self._note(self._sent, self._answered.at, line)
            elif self._delete and line.object.leaving:
                self._note(*self._delete, line)
                self._delete = None
            self._shown = True
        for pod_line in self._pods.drain():
            way = self.ways.setdefault(pod_line.object.uid, Way(pod_line.object))
            way.take(pod_line)

    def _note(self, sent: float, answered: float, line: Line[ReplicationController]) -> None:
        """Take note of how late the watch has shown a write of ours."""
        if not line.recovered:
            lag = Lag.of_write(sent, answered, line.at)
            self._lag = self._lag.or_worse(lag)
            self._context.lags.note(lag)
            self._cluster.telemetry.watch_lag(lag.certain)

    async def _until(self, true: Callable[[], bool], deadline: float) -> bool:
        """Wait until something holds of what was seen; tell whether it does when the deadline comes."""

        def updated() -> bool:
            self._update()
            return true()

        return await self._cluster.until(updated, deadline)

    @property
    def _well(self) -> list[Way]:
        return [way for way in self.ways.values() if way.well]

    @property
    def _spoilt(self) -> bool:
        """Whether a pod went, or was asked to go, before its time."""
        return any(way.gone or way.pod.leaving for way in self.ways.values())

    async def _ask(self, asked: float, known: Sequence[Way] | None = None) -> None:
        """Ask the API server before blaming; raise what its silence means, or watch_interrupted where it knows more.

        It knows more if the watch does not soon show the same; or, with `known`, than was known at the deadline.
        """
        sent = self._clock.now()
        pods = {pod.uid: pod for pod in await self._cluster.list_pods(self._selector, asked)}
        ways = None if known is None else {way.pod.uid: way for way in known}
        if ways is not None and any(behind(ways.get(uid), pod) for uid, pod in pods.items()):
            raise Failed(Reason.WATCH_INTERRUPTED, "the API server shows more than the watch had at the deadline")

        def seen() -> bool:
            shown = not any(behind(self.ways.get(uid), pod) for uid, pod in pods.items())
            # A pod that came after the question may be younger than the answer: that it is missing there says nothing.
            return shown and all(
                uid in pods or way.gone or way.moments["created"].at >= sent for uid, way in self.ways.items()
            )

        caught_up = await self._until(seen, self._clock.now() + CATCHING_UP)
        if not caught_up or not self._shown:
            raise Failed(Reason.WATCH_INTERRUPTED, "the API server shows more than the watch has")

    async def _facts(self, asked: float) -> Facts:
        """Return what nodes and Events say, and the evidence: the canary is gone when someone looks."""
        async with asyncio.TaskGroup() as group:
            nodes = group.create_task(self._cluster.list_nodes(asked))
            events = group.create_task(self._cluster.list_events(asked))
        unwell = [way for way in self.ways.values() if not way.well]
        evidence = [of_pod(way) for way in unwell[:SHOWN]]
        if len(unwell) > SHOWN:
            evidence.append(Evidence("Pod", "others", (f"{len(unwell) - SHOWN} more are not Ready",)))
        if self._controller:
            evidence.append(of_controller(self._controller))
        evidence += of_events(events.result(), self.name)
        pulls = {
            reason: {event.involved_object.name for event in events.result() if event.reason == reason}
            for reason in ("Pulling", "Pulled")
        }
        where = self._placement
        return Facts(
            Nodes.of(nodes.result(), where.selector, where.tolerated),
            frozenset(pulls["Pulling"] - pulls["Pulled"]),
            tuple(evidence),
        )


def controller_in(body: bytes) -> ReplicationController | None:
    """Return the controller that an answer holds, None where it holds none."""
    try:
        return decode(ReplicationController, body)
    except msgspec.MsgspecError:
        return None
