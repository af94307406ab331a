"""service: a new Service is published and answers from every agent; a pod that ends is no longer behind it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from khealth_exporter.canaries.agents.template import PORT
from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.bare_canary import BareCanary
from khealth_exporter.canaries.canary_spec import CanarySettings
from khealth_exporter.canaries.cleaning import one_after_the_other
from khealth_exporter.canaries.diagnosis import POD_REASONS
from khealth_exporter.canaries.goal import reached
from khealth_exporter.canaries.one_shot import RUNNING
from khealth_exporter.canaries.pod_steps import ACCEPT, DELETE_POD, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.policies import meddling
from khealth_exporter.canaries.served import ASSIGNED, Addresses, Served, not_assigned
from khealth_exporter.canaries.serving import place, serving
from khealth_exporter.canaries.unseen import blamed
from khealth_exporter.canaries.until import Check, Observed, measured, observe, ready_agents
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE, EVENT, NETWORK_POLICY, NODE, POD, SERVICE, Kind
from khealth_exporter.core.agents import Agent
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

PUBLISH = Step("publish", Component.CONTROLLER_MANAGER, "the Service is created → both pods are in its EndpointSlices")
ASSIGN = Step("assign", Component.NETWORK, "the Service is created → its load balancer has an address")
PROGRAM = Step("program", Component.NETWORK, "both pods are published → the Service answers every agent")
UNPROGRAM = Step("unprogram", Component.NETWORK, "a pod that ends is no longer published → it answers no agent")

LINGER, WITHIN = 15.0, 12.0
"""Seconds for which a pod goes on answering that was asked to end, and in which it must get no more requests."""
BASELINE = 5.0
"""Seconds within which agents must reach the pods, which are Ready."""
BALANCER_EVERY, BALANCER_PATIENCE = 0.5, 2.0
"""Seconds from one try of a load balancer to the next, and for which one waits: its name may have to be looked up."""
BALANCER_STARTS = 240.0
"""Seconds that a load balancer with a host name may take until it answers: its DNS and its targets take minutes."""
GRACE = 20
"""Seconds that it has before it is killed."""
_NAMED = 3
"""Nodes that a remark names."""


class ServiceSettings(RoutineSettings):
    """Settings of service."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 60.0
    """Upper bound of init, and again of cleanup. A quarter of it is for the pods to be Ready, another for `publish`,
    and so on; with `load_balancer`, a sixth. One sixth is for the load balancer's address, another for its answer."""
    node_port: bool = False
    """Whether agents use the Service through the ports of nodes too, each through another agent's node."""
    load_balancer: bool = False
    """Whether the Service has a load balancer, which agents use too. It can cost money, and take minutes."""
    pod: CanarySettings = CanarySettings()
    """The pods' specification."""


class ServiceRoutine(Routine[ServiceSettings]):
    """Create a Service for two pods, use it from every agent, end one of the pods, and use it again.

    A load balancer belongs to the network: the provider or an add-on brings it, and not the controller manager.
    """

    name: ClassVar[str] = "service"
    steps: ClassVar[tuple[Step, ...]] = (
        ACCEPT, SCHEDULE, SANDBOX, START, READY, STARTUP, PUBLISH, PROGRAM, ASSIGN, UNPROGRAM, DELETE_POD,
    )  # fmt: skip
    reasons: ClassVar[tuple[Reason, ...]] = (
        *POD_REASONS,
        Reason.CANARY_FAILED,
        Reason.ENDPOINTS_NOT_PUBLISHED,
        Reason.SERVICE_NOT_PROGRAMMED,
        Reason.NETWORK_UNREACHABLE,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD, SERVICE)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD, SERVICE, ENDPOINT_SLICE)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT, NETWORK_POLICY)
    writes: ClassVar[int] = 7
    needs_canary: ClassVar[bool] = True
    needs_agents: ClassVar[bool] = True
    Settings: ClassVar[type[ServiceSettings]] = ServiceSettings

    def __init__(self, attempt: AttemptId, settings: ServiceSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._service = Served(self.ownership, context, self.changed)
        self._staying, self._ending = self._servers = tuple(
            BareCanary(settings.pod, self.ownership.part(word), context, self.changed, self.steps)
            for word in ("stays", "ends")
        )
        self._kind = "LoadBalancer" if settings.load_balancer else "NodePort" if settings.node_port else "ClusterIP"
        self._asked = False
        """Whether the pod was asked to end that goes on answering then."""
        self._share = settings.timeout / (6 if settings.load_balancer else 4)

    @classmethod
    def sweeps(cls) -> tuple[Kind[Any], ...]:
        """Return the kinds of which an attempt may leave an object: EndpointSlices go with their Service."""
        return cls.makes

    async def init(self) -> None:
        """Create pods and Service, and ask the agents when it answers; end a pod, and ask until when that answers."""
        await self.context.cluster.watches.see(self.watches, self.deadline)
        due = self._due()
        agents = await ready_agents(self.context, due)
        for server, word, linger in ((self._staying, "stays", 0.0), (self._ending, "ends", LINGER)):
            self.record(await server.create(serving(self.ownership.part(word).name, linger), due))
        for server in self._servers:
            await server.at(RUNNING, due, self.record)
        agents = await self._reachable(agents)
        manifest = self._service.described(self._kind, PORT, self.settings.pod.labels)
        self.record(await self._service.create(manifest, self.deadline, ACCEPT))
        await self._program(agents)
        if self.settings.load_balancer:
            await self._balance(agents)
        await self._unprogram(agents)

    async def cleanup(self) -> None:
        """Delete the Service, and its pods."""
        remove = (partial(one.remove, self.deadline, self.settings.timeout, self.record) for one in self._servers)
        await one_after_the_other(
            partial(self._service.delete, self.deadline),
            self._hasten,
            *remove,
            partial(self._service.removed, self.deadline),
        )

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._service.close()
        for server in self._servers:
            server.close()

    async def _reachable(self, agents: Sequence[Agent]) -> Sequence[Agent]:
        """Return the agents that answer; raise Failed if one does not reach the pods: no Service could answer it."""
        places = [place(server.trace) for server in self._servers]
        checks = [Check(address, address, PORT, node=node) for address, node in places]
        observed = await observe(self.context, agents, lambda _: checks, BASELINE)
        self.record(observed.remark())
        if observed.failing:
            note = "a pod does not answer at its own address"
            raise await self._judged(observed, Reason.NETWORK_UNREACHABLE, PUBLISH, note)
        return observed.agents

    async def _program(self, agents: Sequence[Agent]) -> None:
        """Wait until both pods are published, and the Service answers every agent."""
        pods = {place(server.trace)[0] for server in self._servers}
        ports = await self._node_ports(agents)
        async with asyncio.TaskGroup() as group:
            # Before the pods are published: an agent that is asked only then might be late.
            checks = [self._answering()]
            asking = group.create_task(
                observe(self.context, agents, lambda agent: checks + ports.get(agent.uid, []), 2 * self._share)
            )
            since = await self._publish(lambda ready: pods <= ready)
        observed = asking.result()
        if observed.failing:
            note = "the Service does not answer"
            raise await self._judged(observed, Reason.SERVICE_NOT_PROGRAMMED, PROGRAM, note, since)
        self.record(measured(PROGRAM, since, observed.seen, self._ruler))

    async def _balance(self, agents: Sequence[Agent]) -> None:
        """Wait until the load balancer has an address, and answers every agent there."""
        since = await reached(self._service, ASSIGNED, self._due(), self.context, not_assigned(ASSIGN))
        self.record(self._ruler.measure(ASSIGN, self._service.answered, since))
        check = Check("balancer", self._service.balancer, PORT, every=BALANCER_EVERY, timeout=BALANCER_PATIENCE)
        observed = await observe(self.context, agents, lambda _: (check,), self._share)
        self.record(replace(observed.remark(), name="agents at the load balancer"))
        if not observed.failing:
            return
        reason, note = Reason.SERVICE_NOT_PROGRAMMED, "the Service's load balancer does not answer"
        if all(one.unlooked for one in observed.failing):
            reason = Reason.NO_SINGLE_CAUSE
            note = f"agents cannot look up the load balancer's name {check.address}: see network/dns"
        elif self._service.named and self._share < BALANCER_STARTS:
            reason = Reason.NO_SINGLE_CAUSE
            note = f"{note} within {self._share:g} s, and one with a host name may take minutes: raise timeout"
        raise await self._judged(observed, reason, ASSIGN, note)

    async def _unprogram(self, agents: Sequence[Agent]) -> None:
        """End a pod, and wait until no agent gets an answer from it."""
        await self._verify()
        address, _ = place(self._ending.trace)
        check = replace(self._answering(), want="not", gone=self.ownership.part("ends").name)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(observe(self.context, agents, lambda _: (check,), WITHIN))
            await self._end(GRACE)
            due = self.context.clock.now() + WITHIN / 2
            late = "a pod that ends is still published"
            since = await self._service.published(lambda ready: address not in ready, due, PUBLISH, late)
        observed = asking.result()
        tries = sum(one.outcome.tries for one in observed.seen)
        failed = sum(one.failed for one in observed.seen)
        self.record(Remark("failed connections", f"{failed} of {tries} while a pod of the Service ended"))
        if observed.failing:
            note = f"a pod that was asked to end {WITHIN:g} s ago still gets requests, or nobody answers them"
            raise await self._judged(observed, Reason.SERVICE_NOT_PROGRAMMED, UNPROGRAM, note, since)
        self.record(measured(UNPROGRAM, since, observed.seen, self._ruler))

    async def _publish(self, true: Callable[[Addresses], bool]) -> Moment:
        """Return when a condition held for what is published, and record how long that took; raise Failed."""
        made = self._service.answered
        try:
            since = await self._service.published(true, self._due(), PUBLISH, "the pods are not published")
        except Failed as failed:
            if failed.reason is Reason.ENDPOINTS_NOT_PUBLISHED:
                await self._verify()
                self.record(self._ruler.measure(PUBLISH, made, Moment(self.context.clock.now()), censored=True))
            raise
        self.record(self._ruler.measure(PUBLISH, made, since))
        return since

    async def _verify(self) -> None:
        """Raise Failed if a pod is no longer Ready that should be."""
        for server in self._servers[: 1 if self._asked else 2]:
            await server.verify(self.context.clock.now() + ASKING)

    async def _judged(
        self, observed: Observed, reason: Reason, step: Step, note: str, since: Moment | None = None
    ) -> Failed:
        """Return what it means that agents did not see what they should: what others did explains it first."""
        now = self.context.clock.now()
        await self._verify()
        if since:
            self.record(self._ruler.measure(step, since, Moment(now), censored=True))
        failed = blamed(observed, reason, step, note)
        traces = [server.trace for server in self._servers]
        why = await meddling(self.context.cluster, self.ownership, traces, observed.agents, now + ASKING)
        return Failed(why.reason, f"{failed.note}; {why.note}", why.evidence) if why else failed

    def _answering(self) -> Check:
        return Check("service", self._service.address, PORT)

    async def _node_ports(self, agents: Sequence[Agent]) -> Mapping[str, list[Check]]:
        """Return for each agent the port of a node, which is the next agent's, unless the node has no address."""
        if not self.settings.node_port:
            return {}
        port = self._service.node_port
        nodes = {node.name: node.internal for node in await self.context.cluster.list(NODE, self.deadline)}
        following = [*agents[1:], *agents[:1]]
        missing = sorted({agent.node for agent in agents if not nodes.get(agent.node)})
        tried = f"tried on {len({agent.node for agent in agents}) - len(missing)} nodes"
        untried = f"; not on {', '.join(missing[:_NAMED])}, without an InternalIP" if missing else ""
        more = f", nor on {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        self.record(Remark("node ports", f"{tried}{untried}{more}"))
        return {
            agent.uid: [Check(f"port of {after.node}", address, port, node=after.node)]
            for agent, after in zip(agents, following, strict=True)
            if (address := nodes.get(after.node, ""))
        }

    async def _end(self, grace: int) -> None:
        """Ask the pod that goes on answering to end within so many seconds."""
        if trace := self._ending.trace:
            self._asked = True
            await self.context.cluster.delete(POD, trace.item, self.deadline, grace=grace)

    async def _hasten(self) -> None:
        """Let the pod that goes on answering end now, if it was asked to end."""
        if self._asked:
            await self._end(1)

    def _due(self) -> float:
        return self.context.clock.now() + self._share

    @property
    def _ruler(self) -> Ruler:
        return self._service.ruler
