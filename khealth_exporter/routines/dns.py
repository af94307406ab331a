"""dns: agents ask for names that exist, one that does not, and a new one: through the Service, and of each DNS pod."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from itertools import chain, repeat
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import StringConstraints, model_validator

from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.dns import questions as ask
from khealth_exporter.canaries.dns.contact import Contact, unreached
from khealth_exporter.canaries.dns.judgement import Judgement
from khealth_exporter.canaries.dns.new_service import Family, NewService
from khealth_exporter.canaries.dns.questions import Expected, Grade, Question
from khealth_exporter.canaries.dns.servers import PERMISSIONS, Servers, find
from khealth_exporter.canaries.dns.survey import Survey
from khealth_exporter.canaries.facts import list_nodes
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE, NODE, SERVICE, Kind
from khealth_exporter.core.agents import Agent, Told
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

FAILING = Figure("dns_servers_failing", "DNS pods that gave no agent the right answer, asked at their own addresses.")
_ENOUGH = 30.0
"""Seconds that a DNS server may keep that it did not know a name (the longest that CoreDNS is usually told to)."""
_PAUSES = (0.25, 0.25, 0.5, 1.0)
"""Seconds before each look for the new name; the last one again and again. The first look is not made at once, because
a server that did not know the name then does not look again for a while."""
_LOOK, _SPARE = 2.0, 3.0
"""Seconds from one look at DNS pods that are not ready to the next, and seconds left when the last one is over."""
_SHARE = 4
"""Of the timeout, agents that are not ready may take half, and an agent has half of the rest for the first question."""
_SERVERS = 8
"""DNS pods that one agent asks at their own addresses."""
_DOMAIN = "cluster.local"
"""The cluster's domain where the agents' search lists do not tell it."""


class DnsSettings(RoutineSettings):
    """Settings of dns."""

    interval: Duration = 90.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 45.0
    """Upper bound of init, and again of cleanup; a DNS server may keep for 30 s that it did not know a name. At least
    12 times `answer_timeout`, and two seconds."""
    answer_timeout: Duration = 1.0
    """How long one try of a question waits for the answer. Each question is sent up to three times."""
    service: Annotated[str, StringConstraints(pattern=r"^[-a-z0-9]+/[-a-z0-9]+$")] = "kube-system/kube-dns"
    """Namespace and name of the Service of the cluster's DNS; its pods are also asked at their own addresses."""
    external: Annotated[str, StringConstraints(pattern=r"^([-_a-zA-Z0-9]+\.)*[-_a-zA-Z0-9]*$", max_length=252)] = ""
    """A name outside the cluster that must be answered; empty, and none is asked for."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.timeout < (least := _SHARE * (ask.TRIES * self.answer_timeout + 0.5)):
            raise ValueError(f"timeout is below {least:g}s: no agent could tell that DNS does not answer")
        return self


class Dns(Routine[DnsSettings]):
    """Ask DNS from every agent: for names that exist, for one that does not, and for one that is new."""

    name: ClassVar[str] = "dns"
    steps: ClassVar[tuple[Step, ...]] = ask.STEPS
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.DNS_FAILED,
        Reason.DNS_WRONG_ANSWER,
        Reason.ONE_DNS_SERVER,
        Reason.SERVICE_NOT_PROGRAMMED,
        Reason.ONE_NODE,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (SERVICE, ENDPOINT_SLICE)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE,)
    writes: ClassVar[int] = 4
    needs_agents: ClassVar[bool] = True
    figures: ClassVar[tuple[Figure, ...]] = (FAILING,)
    permissions: ClassVar[tuple[Permission, ...]] = PERMISSIONS
    Settings: ClassVar[type[DnsSettings]] = DnsSettings

    def __init__(self, attempt: AttemptId, settings: DnsSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._new = NewService(self.ownership, context, self.changed)
        self._servers, self._domain = Servers(), _DOMAIN
        self._survey = Survey(self.agents, context.clock, settings.answer_timeout)
        self._contact = context.memory.of(Contact)

    async def init(self) -> None:
        """Ask for what is there; if that is well, make a new name, and ask for it until every agent is answered."""
        survey = self._survey
        survey.members = await self.agents.ready(self.deadline)
        self._servers = await find(self.context.cluster, self.settings.service, self.deadline)
        # Where the Service has no IPv4 address, the search would end beyond the cluster.
        family: Literal["A", "AAAA"] = "AAAA" if self._own("A").addresses == frozenset() else "A"
        first = Question(ask.RESOLVE, "kubernetes.default.svc", self._own(family), type=family)
        for told, _ in await survey.ask(survey.members, lambda _: [first], self.deadline, self.record):
            self._learn_domain(told)
        await survey.ask(survey.members, self._questions, self.deadline, self.record)
        await self._judge()
        since = await self._new.create(self._families, self.deadline)
        await self._see(since)
        await self._judge(self.context.clock.now() - since.at)
        await self._become_ready()

    async def cleanup(self) -> None:
        """Delete the new Service and its EndpointSlices."""
        await self._new.delete(self.deadline)

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._new.close()

    async def _become_ready(self) -> None:
        """Wait for the DNS pods that are not ready, which may be new; raise Failed if one remains so."""
        unready, settings = set(self._servers.unready), self.settings
        while unready and self.deadline - self.context.clock.now() > _LOOK + _SPARE:
            await asyncio.sleep(_LOOK)
            unready &= set((await find(self.context.cluster, settings.service, self.deadline)).unready)
        if unready:
            dead = await self._dead_nodes()
            # The controller manager takes pods on such nodes out of Services, although they may be well.
            own = {server for server in unready if server.node not in dead}
            reason = Reason.ONE_DNS_SERVER if own else Reason.ONE_NODE
            said = "" if own else ", and neither are their nodes"
            note = f"not ready: {', '.join(sorted(map(str, own or unready)))}{said}; other DNS pods answer"
            raise Failed(reason, note, step=ask.SERVER)

    def _questions(self, agent: Agent) -> list[Question]:
        """Return what an agent asks for once the cluster's domain is known."""
        name, place = f"kubernetes.default.svc.{self._domain}.", f"{self.context.cluster.identity.namespace}.svc"
        missing = f"{self.ownership.name}-none.{place}.{self._domain}."
        own = self._own("A")
        found = [
            *(Question(ask.SERVICE, name, own, address) for address in self._servers.service or ()),
            Question(ask.TCP, name, own, transport="tcp"),
            Question(ask.IPV6, name, self._own("AAAA"), type="AAAA"),
            Question(ask.MISSING, missing, Expected(frozenset(), exists=False)),
            *(Question(ask.SERVER, name, own, one, port=self._servers.port) for one in self._asked_by(agent)),
        ]
        if self.settings.external:
            found.append(Question(ask.EXTERNAL, f"{self.settings.external.rstrip('.')}.", Expected()))
        return found

    def _unseen(self, agent: Agent) -> list[Question]:
        """Return what an agent has still to ask for the new name."""
        wanted = self._new.questions(self._domain)
        for address in self._asked_by(agent):
            wanted += self._new.questions(self._domain, address, self._servers.port)
        return self._survey.unanswered(agent, wanted)

    def _asked_by(self, agent: Agent) -> list[str]:
        """Return the DNS pods that an agent asks; of many, agents and attempts take turns."""
        addresses = [server.address for server in self._servers.ready or ()]
        first = self._survey.members.index(agent) * _SERVERS + self.attempt.number
        return [addresses[(first + place) % len(addresses)] for place in range(min(_SERVERS, len(addresses)))]

    async def _see(self, since: Moment) -> None:
        """Ask for the new name until every agent has it, from each server that it asks; return when time is up."""
        earlier, survey, clock = since.at, self._survey, self.context.clock
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            asking = [agent for agent in survey.members if self._unseen(agent)]
            if not asking or self.deadline - clock.now() < pause + ask.TRIES * self.settings.answer_timeout:
                return
            await asyncio.sleep(pause)
            now = clock.now()
            for told, answers in await survey.ask(asking, self._unseen, self.deadline, self.record):
                right = sum(answer.grade is Grade.RIGHT and not answer.question.direct for answer in answers)
                half = (told.answered - earlier) / 2
                times = [earlier + half - since.at] * right
                self.record(Distribution.of(ask.PROPAGATE, times, half + since.delay))
            earlier = now

    async def _judge(self, waited: float = math.inf) -> None:
        """Raise Failed if the answers blame anything; a new name must have had its time, in seconds."""
        judgement = Judgement(self._survey.answers, self._servers, self._survey.silent)
        self._contact.made |= judgement.crossed
        judgement = await self._explored(judgement)
        self.record(Reading(FAILING, len(judgement.bad)))
        self.record(judgement.remark())
        self.record(judgement.by_server())
        failed = judgement.failure()
        if failed and failed.step is ask.PROPAGATE and waited < _ENOUGH:
            note = f"{failed.note}; only {waited:.0f} s were left for that, and DNS may take {_ENOUGH:g} s"
            raise Failed(Reason.NO_SINGLE_CAUSE, note, failed.evidence, step=failed.step)
        if failed:
            raise failed

    async def _explored(self, judgement: Judgement) -> Judgement:
        """Return a judgement with what else must be known before DNS is blamed for saying nothing at all."""
        servers = self._servers
        if judgement.mute or servers.none:
            judgement = replace(judgement, down=await self._dead_nodes())
        if judgement.mute and self._contact.made:
            members, ready = self._survey.members, servers.ready or ()
            silent = await unreached(self.agents, members, ready, servers.port, self.context.clock)
            judgement = replace(judgement, unreached=silent)
        return judgement

    async def _dead_nodes(self) -> frozenset[str]:
        """Return the nodes that are not Ready, as far as that is known."""
        nodes = await list_nodes(self.context.cluster, self.context.clock.now() + ASKING) or ()
        return frozenset(node.name for node in nodes if not node.ready)

    def _own(self, family: Literal["A", "AAAA"]) -> Expected:
        """Return what the API server says of the cluster's own name; without the permission, any answer is right."""
        own = self._servers.own
        return Expected() if own is None else Expected.of(own, family)

    def _learn_domain(self, told: Told) -> None:
        prefix = f"{self.context.cluster.identity.namespace}.svc."
        found = [str(entry) for entry in told.document.get("search", ()) if str(entry).startswith(prefix)]
        self._domain = found[0].removeprefix(prefix).rstrip(".") if found else self._domain

    @property
    def _families(self) -> list[Family]:
        """The families of the cluster's Services, as far as their addresses tell; else those of the agents."""
        known = (*(self._servers.service or ()), *(self._servers.own or ()))
        versions = {ip_address(one).version for one in known or [agent.address for agent in self._survey.members]}
        families: Mapping[int, Family] = {4: "IPv4", 6: "IPv6"}
        return [families[version] for version in sorted(versions)]
