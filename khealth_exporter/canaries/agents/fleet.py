"""Fleet: the agents of the cluster, how they are found, and how they are asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from khealth_exporter.canaries.agents.channel import AT_ONCE, Channel, PodChannel, ProxyChannel
from khealth_exporter.canaries.agents.chart import PERIOD, ChartAgents
from khealth_exporter.canaries.agents.dialogue import Dialogue
from khealth_exporter.canaries.agents.inquiry import Inquiry, Unheard
from khealth_exporter.canaries.agents.own import OwnAgents
from khealth_exporter.canaries.agents.own_hosts import OwnHostAgents
from khealth_exporter.canaries.agents.secret import Keyring
from khealth_exporter.canaries.agents.settings import AgentsSettings
from khealth_exporter.canaries.agents.template import PORT, ZONE, of_chart, on_host
from khealth_exporter.canaries.agents.unready import no_host, too_few, unexplained
from khealth_exporter.canaries.facts import list_nodes
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import POD, SECRET, Kind
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.watch.watches import following
from khealth_exporter.core.agents import SECRET as NAME
from khealth_exporter.core.agents import Agent, AgentCount, Heard, Silence, Told
from khealth_exporter.measure.keep_running import keep_running
from khealth_exporter.vocabulary.verdict import Failed

RENEWAL = 300.0
"""Seconds after which the zones of nodes are read again."""
_RETRY = 5.0
"""Seconds until agents that could not be created are tried again."""
_LOOKING = 5.0


class Fleet:
    """The agents of one cluster: the chart's, or khealth's own; `inside` tells whether khealth runs in the cluster.

    `straight` is the way to a pod's address.
    """

    def __init__(self, cluster: Cluster, *, inside: bool, straight: Channel | None = None) -> None:
        self._cluster, self._clock, self._inside = cluster, cluster.clock, inside
        self._settings = AgentsSettings()
        self._straight, self._proxied = straight or PodChannel(cluster.clock), ProxyChannel(cluster)
        self._own = OwnAgents(cluster)
        self._hosts = OwnHostAgents(cluster, self._own)
        self._chart = ChartAgents(cluster)
        self._keyring = Keyring(cluster)
        self._dialogue = Dialogue(cluster.clock, self._keyring, self._straight)
        self._open = asyncio.Semaphore(AT_ONCE)
        self._zones: Mapping[str, str] = {}
        self._zones_at: float | None = None
        self._tending = asyncio.Event()
        self._needed = self._on_hosts = self._tended = False

    def want(self, settings: AgentsSettings, image: str, *, needed: bool, hosts: bool = True) -> None:
        """Use agents as these settings say, `image` being that of canaries, as long as they are `needed`.

        `hosts` tells whether those in the networks of nodes are, too, if the settings want them.
        """
        self._settings, self._needed = settings, needed
        self._on_hosts = settings.host_network and hosts
        for own in (self._own, self._hosts):
            own.want(settings.pod.with_image(image), settings.count)
        proxied = settings.proxied(inside=self._inside)
        self._dialogue.channel = self._proxied if proxied else self._straight
        self._keyring.use(self._own.secret if self.owns else NAME)
        self._tending.set()

    @property
    def owns(self) -> bool:
        """Whether khealth runs the agents itself."""
        return self._settings.owns(inside=self._inside)

    @property
    def watches(self) -> tuple[Kind[Any], ...]:
        """The kinds that it follows."""
        return (POD,) if self._needed or self._begun else ()

    @property
    def sweeps(self) -> tuple[Kind[Any], ...]:
        """The kinds of which it may leave something."""
        return (POD, SECRET) if (self._needed and self.owns) or self._begun else ()

    def count(self) -> AgentCount | None:
        """Return how many agents there are and should be; None while nobody needs any, or looks after them.

        It is of those in the networks of nodes if a larger share of these is missing.
        """
        if not (self._tended and self._needed) or (self.owns and not self._own.begun):
            return None
        scaled = self._chart.wanted if self._settings.scale else 0
        pods = self._own.count if self.owns else scaled or self._staying(host=False)
        counts = [AgentCount(len(self._ready(host=False)), max(1, pods))]
        if self._on_hosts:
            hosts = self._hosts.count if self.owns else self._staying(host=True)
            counts.append(AgentCount(len(self._ready(host=True)), max(1, hosts)))
        return max(counts, key=lambda count: count.missing)

    @asynccontextmanager
    async def tended(self, *, once: bool) -> AsyncIterator[None]:
        """Look after the agents until the block ends; then remove those of khealth's own, and close all connections.

        Where there is only `once` an attempt, the chart's agents are left as they are.
        """
        async with asyncio.TaskGroup() as group:
            tending = group.create_task(keep_running(partial(self._tend, once=once), "agents"))
            self._tended = True
            try:
                yield
            finally:
                self._tended = False
                tending.cancel()
        for own in (self._own, self._hosts):
            await own.stop()
        await self._straight.close()

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return the agents whose pods are Ready, by name, once there are so many; raise Failed.

        Of its own agents it waits for all, for half of the time, and then for `least`.
        """
        return await self._found(deadline, least, host=False)

    async def hosts(self, deadline: float) -> Sequence[Agent]:
        """Return the Ready agents in the networks of their nodes, once there is one if any are wanted; raise Failed."""
        return await self._found(deadline, 1, host=True) if self._on_hosts else ()

    async def _found(self, deadline: float, least: int, *, host: bool) -> Sequence[Agent]:
        own = self._owned(host=host)
        if self.owns and not own.begun:
            for wanted in self._wanted:
                wanted.begin()
            self._tending.set()
        await self._cluster.watches.see([POD], deadline)

        def there(number: int) -> bool:
            return len(self._ready(host=host)) >= number or (self.owns and own.trouble is not None)

        with following([self._cluster.watches.of(POD)]) as changed:
            if self.owns:
                half = (self._clock.now() + deadline) / 2
                await changed.until(lambda: there(max(least, own.count)), half)
            await changed.until(lambda: there(least), deadline)
        found = self._ready(host=host)
        if len(found) < least:
            raise await self._unready(least, host=host)
        if not host:
            await self._know_zones(found)
        self._dialogue.forget({pod.uid for host in (False, True) for pod in self._members(host=host)})
        return [self._agent(pod) for pod in sorted(found, key=lambda pod: pod.name)]

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Mapping[str, Any]], deadline: float
    ) -> Heard:
        """Put a question to each agent at the same time; raise Failed only if none of them answered.

        Why an agent does not answer is found out, but not of one in the network of its node. A question without
        `within` gets the time that is left.
        """
        questions = [(agent, question(agent)) for agent in agents]
        await self._keyring.key(deadline)  # Where there is none, nobody needs to be asked.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._asked(agent, task, asked, deadline)) for agent, asked in questions]
        outcomes = [task.result() for task in tasks]
        told = [outcome for outcome in outcomes if isinstance(outcome, Told)]
        unheard = [outcome for outcome in outcomes if isinstance(outcome, Unheard)]
        silent = [Silence(one.agent, unexplained(one)) for one in unheard if one.agent.host]
        unheard = [one for one in unheard if not one.agent.host]
        if unheard:
            silent += await self._inquire(unheard, told, deadline)
        if silent and not told:
            counted = Counter(silence.why.reason for silence in silent)
            raise max(silent, key=lambda silence: counted[silence.why.reason]).why
        return Heard(told, silent)

    async def _inquire(self, unheard: Sequence[Unheard], told: Sequence[Told], deadline: float) -> Sequence[Silence]:
        """Return why agents are silent."""
        other = self._straight if self._dialogue.channel is self._proxied else self._proxied
        # From outside, the address of a pod may be that of a stranger.
        inquiry = Inquiry(self._cluster, self._dialogue.ask, other if self._inside else None)
        return await inquiry.why(unheard, told, deadline)

    async def _tend(self, *, once: bool) -> None:
        """Look after the agents until cancelled: khealth's own, or how many the chart runs."""
        while True:
            self._tending.clear()
            began, dues = self._clock.now(), []
            for own in (self._own, self._hosts):
                if own.begun and not (self._needed and self.owns and own in self._wanted):
                    await own.stop()
                elif own.begun or (self._own.begun and own in self._wanted):
                    own.begin()
                    await own.tend()
                    dues.append(self._clock.now() + _RETRY if own.trouble else own.due)
            if self._needed and self._settings.scale and not (dues or self.owns or once):
                await self._chart.tend(self._settings.count)
            await self._wait(min(dues, default=began + PERIOD))

    async def _wait(self, due: float) -> None:
        """Return when the agents have to be looked after."""
        settling = [own for own in (self._own, self._hosts) if own.trouble is None]

        def needed() -> bool:
            return any(own.unsettled() for own in settling)

        with following([self._cluster.watches.of(kind) for kind in self.watches]) as changed:
            waits = [asyncio.ensure_future(changed.until(needed, due)), asyncio.ensure_future(self._tending.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    @property
    def _begun(self) -> bool:
        return self._own.begun or self._hosts.begun

    @property
    def _wanted(self) -> Sequence[OwnAgents]:
        """The agents that khealth runs itself, if it does."""
        return (self._own, self._hosts) if self._on_hosts else (self._own,)

    def _owned(self, *, host: bool) -> OwnAgents:
        return self._hosts if host else self._own

    def _members(self, *, host: bool) -> list[Pod]:
        if self.owns:
            return self._owned(host=host).living()
        found = self._cluster.watches.of(POD).objects.values()
        return [pod for pod in found if of_chart(pod) and on_host(pod) is host]

    def _staying(self, *, host: bool) -> int:
        return sum(not (pod.leaving or pod.ended) for pod in self._members(host=host))

    def _ready(self, *, host: bool) -> list[Pod]:
        return [
            pod
            for pod in self._members(host=host)
            if pod.holds("Ready") and pod.status.pod_ip and not (pod.leaving or pod.ended)
        ]

    async def _unready(self, least: int, *, host: bool) -> Failed:
        """Return why there are fewer agents than needed."""
        members, trouble = self._members(host=host), self._owned(host=host).trouble if self.owns else None
        if host:
            return no_host(members, trouble)
        ready = len(self._ready(host=False))
        return trouble or await too_few(self._cluster, members, f"{ready} of {least}", own=self.owns)

    def _agent(self, pod: Pod) -> Agent:
        node = pod.spec.node_name
        return Agent(pod.name, pod.uid, node, self._zones.get(node, ""), pod.status.pod_ip, PORT, on_host(pod))

    async def _know_zones(self, pods: Sequence[Pod]) -> None:
        """Read the zones of the nodes, if they are old, or an agent is on a node that is new."""
        now = self._clock.now()
        new = any(pod.spec.node_name not in self._zones for pod in pods)
        if self._zones_at is not None and now - self._zones_at < (_LOOKING if new else RENEWAL):
            return
        nodes = await list_nodes(self._cluster, now + _LOOKING)
        self._zones_at = now
        if nodes is not None:
            self._zones = {node.name: node.metadata.labels.get(ZONE, "") for node in nodes}

    async def _asked(self, agent: Agent, task: str, document: Mapping[str, Any], deadline: float) -> Told | Unheard:
        async with self._open:
            return await self._dialogue.ask(agent, task, document, deadline)
