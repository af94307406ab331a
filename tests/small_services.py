"""A network in a few lines: agents on the nodes of a small cluster, Services, and NetworkPolicies, on virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any

from documents import Json
from small_cluster import PACE, PODS, Scene

from khealth_exporter.core.agents import Agent, Heard, Silence, Told
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

SERVICES, SLICES, POLICIES = "services", "endpointslices", "networkpolicies"
ADDRESS, BALANCER, NODE_PORT = "10.96.0.7", "192.0.2.7", 30123
LINGER = 15.0


def put_denying_policy(here: Scene, name: str, **labels: str) -> None:
    """Let others' policy deny all traffic to the pods with these labels; without labels, to all."""
    spec = {"podSelector": {"matchLabels": labels} if labels else {}, "policyTypes": ["Ingress"], "ingress": []}
    here.api.put(POLICIES, {"metadata": {"name": name}, "spec": spec})


@dataclass
class SmallNetwork:
    """What makes a cluster's pods reach each other, and the agents that try; it may do less than it should."""

    here: Scene
    publishing: bool = True
    """Whether the controller manager keeps EndpointSlices up to date."""
    labelling: bool = True
    """Whether it copies a Service's labels to them."""
    dead: set[str] = field(default_factory=set)
    """Nodes whose Services are not programmed any more."""
    slow: dict[str, float] = field(default_factory=dict)
    """Seconds until a node is programmed, other than a tenth."""
    cut: set[str] = field(default_factory=set)
    """Nodes from which no pod on another node can be reached, nor the other way round."""
    enforcing: bool = True
    """Whether NetworkPolicies are in force, a tenth of a second after they are written."""
    bypassing: set[str] = field(default_factory=set)
    """Nodes whose agents no policy stops."""
    overblocking: bool = False
    """Whether a policy that allows something does nothing."""
    silent: set[str] = field(default_factory=set)
    """Nodes whose agents do not answer."""
    balancing: bool = True
    """Whether load balancers get an address."""
    ingress: tuple[Json, ...] = ({"ip": BALANCER},)
    """Where they say that they listen."""
    answering_after: float = 0.0
    """Seconds until they answer."""
    looking_up: bool = True
    """Whether agents can look up names."""
    addressless: set[str] = field(default_factory=set)
    """Nodes without an InternalIP."""
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    """Every check of every question."""
    _balanced: float = 0.0
    """When the load balancer got its address."""
    _tables: dict[str, list[str]] = field(default_factory=dict)
    """The pods' addresses behind the Service, by node."""

    def __post_init__(self) -> None:
        self.here.context = replace(self.here.context, agents=self)
        self._put, self._deleted = self.here.api.put, self.here.api.deleted
        self.here.api.put, self.here.api.deleted = self.put, self.deleted  # type: ignore[method-assign]
        self._addresses, self._chance = count(11), Random(1)
        for number, name in enumerate(self.here.small.nodes):
            known = self.here.api.objects["nodes"][name]
            kind = "Hostname" if name in self.addressless else "InternalIP"
            addresses = [{"type": kind, "address": f"198.18.0.{number}"}]
            self._put("nodes", {**known, "status": {**known["status"], "addresses": addresses}})

    # What the cluster does.

    def put(self, resource: str, item: Json) -> Json:
        """Store an object as the API server and the controllers make it."""
        if resource == PODS and item.get("status", {}).get("startTime"):
            known = self.here.api.objects[PODS].get(item["metadata"]["name"], {}).get("status", {})
            address = known.get("podIP") or f"10.244.0.{next(self._addresses)}"
            item = {**item, "status": {**item["status"], "podIP": address}}
        if resource == SERVICES and "clusterIPs" not in item["spec"]:
            (port,) = item["spec"]["ports"]
            ports = [{**port, "nodePort": NODE_PORT}]
            item = {**item, "spec": {**item["spec"], "clusterIPs": [ADDRESS], "ports": ports}}
            if item["spec"]["type"] == "LoadBalancer" and self.balancing:
                self.here.small.later(1.0, self._balance, item["metadata"]["name"])
        stored = self._put(resource, item)
        if resource in (PODS, SERVICES):
            self.here.small.later(PACE, self._publish)
        return stored

    def deleted(self, resource: str, item: Json, options: Json) -> bool:
        """Let a pod that has time to end go on answering."""
        if resource == SERVICES:
            for name in list(self.here.api.objects.get(SLICES, {})):
                self.here.small.later(PACE, self.here.api.remove, SLICES, name)
        if resource == PODS and options.get("gracePeriodSeconds", 0) > LINGER:
            self.here.small.later(LINGER, self.here.small._gone, item["metadata"]["name"])
            return False
        return self._deleted(resource, item, options)

    def _balance(self, name: str) -> None:
        service = self.here.api.objects[SERVICES][name]
        self._put(SERVICES, {**service, "status": {"loadBalancer": {"ingress": list(self.ingress)}}})
        self._balanced = self.here.clock.now()

    def _publish(self) -> None:
        if not self.publishing:
            return
        for name, service in self.here.api.objects.get(SERVICES, {}).items():
            labels = service["metadata"]["labels"] if self.labelling else {}
            metadata = {"name": f"{name}-x", "labels": {**labels, "kubernetes.io/service-name": name}}
            ready = [pod["status"]["podIP"] for pod in self._pods() if _ready(pod)]
            endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in ready]
            self._put(SLICES, {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints})
            for node in set(self.here.small.nodes) - self.dead:
                self.here.small.later(self.slow.get(node, PACE), self._tables.__setitem__, node, ready)

    def _pods(self) -> list[Json]:
        return [pod for pod in self.here.api.objects.get(PODS, {}).values() if pod["status"].get("podIP")]

    # What agents see.

    @property
    def agents(self) -> list[Agent]:
        """One agent on each node."""
        return [Agent(f"agent-{n}", f"uid-{n}", n, "", f"10.244.1.{n}", 8079) for n in self.here.small.nodes]

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return all agents."""
        del deadline, least
        return self.agents

    async def hosts(self, _deadline: float) -> Sequence[Agent]:
        """Return none: none are in the networks of nodes."""
        return ()

    async def ask(
        self, agents: Sequence[Agent], task: str, question: Callable[[Agent], Mapping[str, Any]], deadline: float
    ) -> Heard:
        """Let all agents try at the same time; those that are silent take until the deadline."""
        assert "until" == task
        silent = [agent for agent in agents if agent.node in self.silent]
        why = Failed(Reason.AGENT_UNREACHABLE, "no answer")
        told = await asyncio.gather(*(self._told(one, question(one)) for one in agents if one not in silent))
        if silent:
            await asyncio.sleep(max(0.0, deadline - self.here.clock.now()))
        return Heard(told, [Silence(agent, why) for agent in silent])

    async def _told(self, agent: Agent, question: Mapping[str, Any]) -> Told:
        sent = self.here.clock.now()
        self.asked += question["checks"]
        tries = (self._until(agent, check, question["within"]) for check in question["checks"])
        results = await asyncio.gather(*tries)
        now = self.here.clock.now()
        return Told(agent, {"name": agent.name, "seconds": now - sent, "results": results}, sent, now)

    async def _until(self, agent: Agent, check: Mapping[str, Any], within: float) -> Json:
        began, last, calm, answers, tries = self.here.clock.now(), 0.0, 0, Counter[str](), 0
        done = False
        while not done and (spent := self.here.clock.now() - began) < within:
            name, tries = self._reply(agent, check["address"]), tries + 1
            answers.update([name] if name else [])
            if check["want"] == "answer":
                done, last = bool(name), spent
            elif name and check.get("not", name) == name:
                last, calm = spent, 0
            else:
                calm += bool(name) or check["want"] == "silence"
                done = calm >= check["calm"]
            if not done:
                await asyncio.sleep(check["every"])
        return {"id": check["id"], "reached": done, "seconds": last, "uncertainty": 0.001, "tries": tries,
                "answers": answers, "error": "" if done else "timed out" if self.looking_up else "no lookup: A: timeout"}  # fmt: skip

    def _reply(self, agent: Agent, address: str) -> str:
        """Return the name of who answers an agent at an address; nothing if nobody does."""
        nodes = {f"198.18.0.{number}": name for number, name in enumerate(self.here.small.nodes)}
        balancers = {one.get("ip", one.get("hostname")) for one in self.ingress}
        if address in balancers and self.here.clock.now() < self._balanced + self.answering_after:
            return ""
        if address in balancers | {ADDRESS} or address in nodes:
            behind = self._tables.get(nodes.get(address, agent.node), [])
            if not behind:
                return ""
            address = self._chance.choice(behind)
        return next((self._answer(agent, pod) for pod in self._pods() if pod["status"]["podIP"] == address), "")

    def _answer(self, agent: Agent, pod: Json) -> str:
        there = pod["spec"]["nodeName"]
        if there != agent.node and {there, agent.node} & self.cut:
            return ""
        command = pod["spec"]["containers"][0]["command"]
        through = agent.node in self.bypassing or self._lets_through(pod)
        return command[command.index("--name") + 1] if through else ""

    def _lets_through(self, pod: Json) -> bool:
        policies = self.here.api.objects.get(POLICIES, {}).values()
        labels = pod["metadata"]["labels"].items()
        about = [p["spec"] for p in policies if p["spec"]["podSelector"].get("matchLabels", {}).items() <= labels]
        allowed = any(spec["ingress"] for spec in about) and not self.overblocking
        return not (self.enforcing and about) or allowed


def _ready(pod: Json) -> bool:
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
