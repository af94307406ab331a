"""latency: agents measure round trips to a few others, to a Service, and to the API server."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from khealth_exporter.canaries.agents.api_targets import PERMISSIONS, api_targets
from khealth_exporter.canaries.agents.beside import NAME as BESIDE
from khealth_exporter.canaries.agents.beside import between_hosts, explained
from khealth_exporter.canaries.agents.neighbors import one_per_node
from khealth_exporter.canaries.agents.plan import CLOSER, Plan, Targets
from khealth_exporter.canaries.agents.reachability import Judgement, Limits, listed, suspects
from khealth_exporter.canaries.agents.round_trips import (
    POD_API,
    POD_SERVICE,
    PROTOCOLS,
    STEPS,
    Asked,
    Pace,
    Protocol,
    Trip,
    ask,
)
from khealth_exporter.canaries.servers import addresses_of
from khealth_exporter.cluster.client.lookup import permitted
from khealth_exporter.cluster.errors import Refused, clean
from khealth_exporter.core.agents import Agent
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.matrix import Matrix
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading, Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

WORST = Figure("latency_worst_seconds", "Longest median TCP round trip between two nodes in the last attempt.")
JITTER = Figure("latency_worst_jitter_seconds", "Largest jitter of TCP round trips between two nodes.")
LOSS = Figure("latency_loss_ratio", "Share of the round trips between nodes that were lost in the last attempt.")
AGENTS = Figure("latency_agents", "Agents that answered in the last attempt.")
FAILING = Figure("latency_pairs_failing", "Pairs that were unreachable or slow in the last attempt.")

_QUESTION = 9.0
"""Seconds for one question; why an agent is silent is found out after it."""
_ANSWER, _LEAST = 2.0, 1.0
"""Seconds for an answer of the API server, and without which it is not asked."""
_READY = 5.0
"""Seconds in which agents must be Ready."""


def _each_once(protocols: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    if len(set(protocols)) < len(protocols):
        raise ValueError("a protocol is listed twice")
    return protocols


class LatencySettings(RoutineSettings):
    """Settings of latency."""

    interval: Duration = 60.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 30.0
    """Upper bound of init, and again of cleanup."""
    neighbors: Annotated[int, Field(ge=1, le=20)] = 3
    """How many other nodes each agent measures: the cost grows with the nodes times this."""
    count: Annotated[int, Field(ge=1, le=50)] = 5
    """Round trips of each kind in one attempt."""
    spacing: Duration = 0.02
    """Pause between two round trips of one kind."""
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1), AfterValidator(_each_once)] = PROTOCOLS
    """What agents send to each other: tcp, udp, http. Leave out what the network drops on purpose."""
    size: Annotated[int, Field(ge=64, le=1200)] = 64
    """Bytes of a datagram, and of an HTTP request."""
    large: Annotated[int, Field(ge=0, le=8900)] = 1400
    """Bytes of a large datagram, which must not be fragmented; 0 or no udp: none. IP and UDP add 28 (IPv6: 48)."""
    lost_after: Duration = 1.0
    """A round trip that takes longer is lost."""
    slow: Duration = 0.1
    """The median TCP round trip above which the network is slow, without the agent's own part in it; needs tcp."""
    loss: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of lost round trips above which the network is slow, if chance does not explain it."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.slow >= self.lost_after:
            raise ValueError("slow must be below lost_after: a slower round trip is lost")
        if CLOSER * self.count * self.spacing + self.lost_after > _QUESTION / 2:
            raise ValueError(f"{CLOSER} times count times spacing, plus lost_after, exceeds {_QUESTION / 2:g}s")
        if self.timeout < _READY + 2 * _QUESTION + _LEAST:
            raise ValueError(f"timeout is below {_READY + 2 * _QUESTION + _LEAST:g}s: agents are asked twice")
        return self


class Latency(Routine[LatencySettings]):
    """Let agents measure round trips to agents on other nodes, to a Service, and to the API server.

    What is lost or slow is measured once more, from both ends, before anything is blamed. Where agents are in the
    networks of their nodes too, these are measured beside the network of pods. They explain a failure, and are none.
    """

    name: ClassVar[str] = "latency"
    steps: ClassVar[tuple[Step, ...]] = STEPS
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.NETWORK_UNREACHABLE,
        Reason.NETWORK_SLOW,
        Reason.MTU_BLACK_HOLE,
        Reason.ONE_NODE,
        Reason.ONE_API_SERVER,
    )
    writes: ClassVar[int] = 0
    needs_agents: ClassVar[bool] = True
    compares_hosts: ClassVar[bool] = True
    figures: ClassVar[tuple[Figure, ...]] = (WORST, JITTER, LOSS, AGENTS, FAILING)
    permissions: ClassVar[tuple[Permission, ...]] = PERMISSIONS
    Settings: ClassVar[type[LatencySettings]] = LatencySettings

    def __init__(self, attempt: AttemptId, settings: LatencySettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._limits = Limits(settings.slow, settings.loss)
        self._pace = Pace(settings.spacing, settings.lost_after)

    async def init(self) -> None:
        """Ask all agents once, and those that saw something wrong once more; judge both answers."""
        if self.context.agents is None:
            raise LookupError("the context has no agents")
        agents = await self.context.agents.ready(self.context.clock.now() + _READY)
        chosen, nodes = self.settings, one_per_node(agents)
        fixed = await api_targets(self.context.cluster, chosen.count, self.deadline)
        if len(nodes) == 1 and not fixed:
            raise Failed(Reason.AGENTS_NOT_READY, "all agents are on one node: there is nothing to measure")
        plan = Plan(nodes, fixed, chosen.size, chosen.large, chosen.count, chosen.protocols)
        judgement = Judgement(Asked(), Asked(), self._limits)
        failed = await self._judged(judgement, agents, plan)
        if failed and failed.step in {POD_API, POD_SERVICE}:
            await self._ask_api_server()
        beside = await self._beside(plan)
        if failed:
            pairs = judgement.failing if judgement.first.trips else {trip.pair for trip in beside}
            raise explained(failed, pairs, beside)

    async def cleanup(self) -> None:
        """Do nothing: it creates nothing."""

    async def _judged(self, judgement: Judgement, agents: Sequence[Agent], plan: Plan) -> Failed | None:
        """Return what is to blame for what agents see, once those that see something wrong were asked again."""
        # An agent that shares its node with the one that measures must answer too.
        nothing: Targets = dict.fromkeys((agent.uid for agent in agents), ())
        try:
            judgement.first = await self._ask(agents, {**nothing, **plan.first(self.settings.neighbors)})
            self._record_all(judgement.first)
            try:
                if wrong := suspects(judgement.first.trips, self._limits):
                    judgement.again = await self._ask(agents, plan.again(wrong))
                return judgement.failure()
            finally:
                # Even if the agents that saw something wrong are silent by now.
                self._report(judgement)
        except Refused:
            raise
        except Failed as silent:
            return silent

    async def _beside(self, plan: Plan) -> Sequence[Trip]:
        """Measure the networks of the nodes too, where agents are there."""
        asked, told = await between_hosts(self.context, plan, self.settings.neighbors, self._pace, self.deadline)
        if told:
            self._record_all(asked)
            self.record(Remark(BESIDE, clean(told)))
        return asked.trips

    def _record_all(self, asked: Asked) -> None:
        for found in asked.distributions():
            self.record(found)

    async def _ask(self, agents: Sequence[Agent], targets: Targets) -> Asked:
        deadline = min(self.deadline, self.context.clock.now() + _QUESTION)
        asked = [agent for agent in agents if agent.uid in targets]
        return await ask(self.context, asked, targets, self._pace, deadline)

    async def _ask_api_server(self) -> None:
        """Raise Refused if it does not answer khealth either, which agents may have noticed first."""
        for last in (False, True):  # A connection that was kept alive may be dead: the second try makes a new one.
            due = min(self.deadline, self.context.clock.now() + _ANSWER)
            if due - self.context.clock.now() < _LEAST:
                return
            try:
                await permitted(addresses_of(self.context.cluster, due))
            except Refused as refused:
                if refused.reason is Reason.THROTTLED:
                    return  # It answers.
                if last:
                    raise
            else:
                return

    def _report(self, judgement: Judgement) -> None:
        """Record the pairs, and what they are in figures."""
        first, failing = judgement.first, judgement.failing
        pairs = first.pairs(failing)
        self.record(Matrix.of(pairs))
        self.record(Reading(AGENTS, len({trip.source for trip in first.trips} | first.starved)))
        self.record(Reading(FAILING, len(failing)))
        if pairs:
            self.record(Reading(WORST, max(pair.seconds or 0.0 for pair in pairs)))
            self.record(Reading(JITTER, max(pair.jitter for pair in pairs)))
            self.record(Reading(LOSS, first.loss))
        small = sorted({trip.source for trip in first.trips if trip.too_large})
        told = {
            "pairs": f"{len(pairs)} between {len({pair.source for pair in pairs})} nodes",
            "large datagrams": f"the path from {listed(small)} takes none" if small else "measured",
            "agents without a CPU": listed(sorted(first.starved)) or "none",
        }
        for name, text in told.items():
            self.record(Remark(name, clean(text)))
