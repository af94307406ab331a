"""What is found out about agents that are silent, before anybody is blamed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from khealth_exporter.canaries.agents.blame import (
    AS_API,
    AS_POD,
    WAIT,
    Facts,
    NodeState,
    Outcome,
    PodState,
    Reached,
    Row,
    decide,
)
from khealth_exporter.canaries.agents.channel import Channel, NoReply
from khealth_exporter.canaries.agents.template import FAILURES, PATIENCE, PERIOD
from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.diagnosis import alone, not_ready
from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.evidence import of_pod
from khealth_exporter.canaries.facts import list_events, pulling
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused, clean
from khealth_exporter.cluster.kinds import NODE, POD
from khealth_exporter.cluster.objects import Node, Pod
from khealth_exporter.cluster.watch.watches import following
from khealth_exporter.core.agents import Agent, Silence, Told
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

PROBED = PERIOD * FAILURES + PATIENCE + 1.0
"""Seconds after which a kubelet that probes an agent has told that it does not answer."""
ALLOWANCE = 10.0
"""Seconds beyond a question's deadline that an inquiry may take: less than a phase may take beyond its own."""
ASKED = 3
"""Agents that are asked whether they reach the silent ones."""
_TRIES = 3
"""Round trips that each of them makes."""
_AT_MOST = 50
"""Silent agents about which the others are asked."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """An agent that did not answer: what came of the question, and since when; `refused` is the API server's doing."""

    agent: Agent
    outcome: Outcome
    note: str
    since: float
    awake: bool = True
    refused: Refused | None = None


class Ask(Protocol):
    """Asks one agent a task."""

    async def __call__(self, agent: Agent, task: str, document: Mapping[str, Any], deadline: float) -> Told | Unheard:
        """Return what it answers."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the API server says: its nodes, None where it does not say; or how it has refused."""

    nodes: Sequence[Node] | None
    refused: Refused | None


class Inquiry:
    """Finds out why agents are silent."""

    def __init__(self, cluster: Cluster, ask: Ask, other: Channel | None) -> None:
        self._cluster, self._clock, self._ask, self._other = cluster, cluster.clock, ask, other

    async def why(self, unheard: Sequence[Unheard], told: Sequence[Told], deadline: float) -> list[Silence]:
        """Return why each agent is silent; the others are those that answered the same question.

        It waits until the kubelets have probed the agents, if that matters, but not long beyond the deadline.
        """
        limit = max(deadline, self._clock.now()) + ALLOWANCE
        known = await self._known(limit)
        reached = await self._reached(unheard, told)
        silent = [self._judged(one, unheard, told, known, reached) for one in unheard]
        waiting = [one for one, (_, row) in zip(unheard, silent, strict=True) if row.reason == WAIT]
        if waiting:
            await self._probed(waiting, min(limit - 1, max(one.since for one in waiting) + PROBED))
            known = await self._known(limit)
            silent = [self._judged(one, unheard, told, known, reached, probed=True) for one in unheard]
        return [
            Silence(one.agent, await self._failed(one, facts, row, known), facts.neighbours is Reached.YES)
            for one, (facts, row) in zip(unheard, silent, strict=True)
        ]

    async def _known(self, limit: float) -> _Known:
        try:
            return _Known(await self._cluster.list(NODE, min(limit, self._limit)), None)
        except Refused as refused:
            return _Known(None, None if refused.refusal.denied else refused)
        except Failed:
            return _Known(None, None)

    async def _reached(self, unheard: Sequence[Unheard], told: Sequence[Told]) -> Mapping[str, tuple[Reached, Reached]]:
        """Return by uid whether neighbours reach each silent agent, and whether khealth does on its other path."""
        silent = [one.agent for one in unheard if one.outcome is Outcome.NONE][:_AT_MOST]
        if not silent:
            return {}
        nodes = {agent.node for agent in silent}
        # One on the node of a silent agent may have the same trouble.
        asked = sorted((one.agent for one in told), key=lambda agent: agent.node in nodes)[:ASKED]
        probes = {"probes": [_probe(agent) for agent in silent], "edges": [1.0], "within": ASKING - 1}
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(self._ask(one, "round_trips", probes, self._limit)) for one in asked]
            pings = [group.create_task(self._pinged(agent)) for agent in silent]
        found = [answer.result() for answer in answers]
        heard = [answer.document for answer in found if isinstance(answer, Told)]
        return {agent.uid: (_told_of(agent, heard), ping.result()) for agent, ping in zip(silent, pings, strict=True)}

    @property
    def _limit(self) -> float:
        return self._clock.now() + ASKING

    async def _pinged(self, agent: Agent) -> Reached:
        """Tell whether khealth reaches an agent on its other path."""
        if self._other is None:
            return Reached.UNKNOWN
        try:
            reply = await self._other.ask(agent, "/ping", self._limit)
        except NoReply as no_reply:
            return Reached.UNKNOWN if no_reply.why else Reached.NO
        return Reached.YES if reply.body.decode(errors="replace").strip() == agent.name else Reached.NO

    def _judged(  # noqa: PLR0913 - what is known of it
        self, one: Unheard, unheard: Sequence[Unheard], told: Sequence[Told], known: _Known,
        reached: Mapping[str, tuple[Reached, Reached]], *, probed: bool = False,
    ) -> tuple[Facts, Row]:  # fmt: skip
        nodes = {other.agent.node for other in unheard}
        neighbours, other = reached.get(one.agent.uid, (Reached.UNKNOWN, Reached.UNKNOWN))
        facts = Facts(
            api=not (known.refused or one.refused),
            awake=one.awake,
            outcome=one.outcome,
            pod=_pod_state(self._pod(one.agent)),
            node=_node_state(one.agent.node, known.nodes),
            neighbours=neighbours,
            other=other,
            alone=len(nodes) == 1 and any(answer.agent.node not in nodes for answer in told),
            probed=probed or self._clock.now() >= one.since + PROBED,
        )
        return facts, decide(facts)

    def _pod(self, agent: Agent) -> Pod | None:
        return self._cluster.watches.of(POD).objects.get(agent.uid)

    async def _probed(self, waiting: Sequence[Unheard], until: float) -> None:
        """Return when no pod of these agents is Ready any more, or their kubelets have had time to tell so."""

        def changed() -> bool:
            return all(_pod_state(self._pod(one.agent)) is not PodState.READY for one in waiting)

        with following([self._cluster.watches.of(POD)]) as signal:
            await signal.until(changed, until)

    async def _failed(self, one: Unheard, facts: Facts, row: Row, known: _Known) -> Failed:
        agent = one.agent
        place = f"agent {agent.name} on {agent.node}"
        if row.reason == AS_API and (refused := one.refused or known.refused):
            return refused
        pod = self._pod(agent)
        evidence = (of_pod(_trace(pod, self._clock.now())),) if pod else ()
        if row.reason == AS_POD and pod:
            return await judged(self._cluster, pod, known.nodes)
        reason = row.reason if isinstance(row.reason, Reason) else Reason.AGENT_UNREACHABLE
        note = f"{place}: {one.note}: {row.note}{_seen(facts)}"
        if reason is Reason.ONE_NODE:
            cause = Reason.NETWORK_UNREACHABLE if facts.pod is PodState.READY else Reason.KUBELET_SILENT
            note = alone(cause, agent.node, note)
        return Failed(reason, clean(note), evidence)


async def judged(cluster: Cluster, pod: Pod, nodes: Sequence[Node] | None) -> Failed:
    """Return what is said of an agent's pod that is not Ready, as of any pod."""
    now = cluster.clock.now()
    trace = _trace(pod, now)
    events = await list_events(cluster, pod.name, now + ASKING)
    finding = not_ready(trace, Nodes.of(nodes, Placement("").seen(pod.spec)), pulling(events))
    return Failed(finding.reason, finding.note, (of_pod(trace),))


def _trace(pod: Pod, now: float) -> Trace[Pod]:
    trace = Trace(WAY, pod)
    trace.take(pod, Moment(now), removed=False)
    return trace


def _probe(agent: Agent) -> Mapping[str, object]:
    path = {"protocol": "http", "address": agent.address, "port": agent.port}
    return {"id": agent.uid, **path, "count": _TRIES, "spacing": 0.2, "timeout": 1.0}


def _told_of(agent: Agent, documents: Sequence[Mapping[str, Any]]) -> Reached:
    """Return whether one of the agents that were asked reaches this one."""
    counts = [
        (result.get("sent"), result.get("lost"))
        for document in documents
        for result in document.get("results", ())
        if result.get("id") == agent.uid
    ]
    sent = [(sent, lost) for sent, lost in counts if isinstance(sent, int) and isinstance(lost, int) and sent]
    if not sent:
        return Reached.UNKNOWN
    return Reached.YES if any(lost < sent for sent, lost in sent) else Reached.NO


def _pod_state(pod: Pod | None) -> PodState:
    if pod is None or pod.leaving or pod.ended or pod.holds("DisruptionTarget"):
        return PodState.GOING
    if pod.holds("Ready"):
        return PodState.READY
    statuses = pod.status.container_statuses
    runs = bool(statuses) and all(s.state.running and not s.last_state.terminated for s in statuses)
    return PodState.FROZEN if runs else PodState.UNREADY


def _node_state(name: str, nodes: Sequence[Node] | None) -> NodeState:
    if nodes is None:
        return NodeState.UNKNOWN
    node = next((node for node in nodes if node.name == name), None)
    if node is None or node.cordoned:
        return NodeState.OUT
    return NodeState.READY if node.ready else NodeState.NOT_READY


def _seen(facts: Facts) -> str:
    """Return what was seen, in words."""
    seen = {"other agents reach it": facts.neighbours, "the other path reaches it": facts.other}
    told = [f"{what}: {reached}" for what, reached in seen.items() if reached is not Reached.UNKNOWN]
    return f" ({', '.join(told)})" if told else ""
