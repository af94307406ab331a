"""dns, on a small cluster on virtual time, with agents that ask a DNS in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from documents import node
from fake_agents import FakeAgents, agent
from fakes import FORBIDDEN, Asked, FakeApi, Json, refusal, refusing
from small_cluster import Scene, scene
from virtual_time import virtual

from khealth_exporter.core.agents import Agent
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.dns import Dns, DnsSettings
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

SERVICES, SLICES = "services", "endpointslices"
CLUSTER_IP, DNS_IP = "10.96.0.1", "10.96.0.10"
PODS = {"10.0.1.2": "node-1", "10.0.2.2": "node-2"}
OWN = "kubernetes.default.svc.example.internal."
OURS = {"module": "network", "routine": "dns"}


def service(name: str, *addresses: str) -> Json:
    """Return a Service with these addresses."""
    return {"metadata": {"name": name}, "spec": {"clusterIPs": list(addresses)}}


def dns_slice(ready: Mapping[str, str] = PODS, port: int = 53, *unready: str) -> Json:
    """Return the EndpointSlice of the DNS Service."""
    ends = [
        {
            "addresses": [address],
            "conditions": {"ready": address not in unready},
            "nodeName": node,
            "targetRef": {"name": f"coredns-{node}"},
        }
        for address, node in ready.items()
    ]
    metadata = {"name": "kube-dns-1", "labels": {"kubernetes.io/service-name": "kube-dns"}}
    return {"metadata": metadata, "endpoints": ends, "ports": [{"name": "dns", "port": port}]}


@dataclass
class MemoryDns:
    """A DNS that answers what the API server holds."""

    api: FakeApi
    clock: Clock
    said: dict[str, str] = field(default_factory=dict)
    """What is answered to questions of a server, or of the pod's own (""), instead of the truth."""
    lag: float = 0.0
    """Seconds until it knows what was created."""
    own: tuple[str, ...] = (CLUSTER_IP,)
    asked: list[Json] = field(default_factory=list)
    _seen: dict[str, float] = field(default_factory=dict)

    def answers(self, _agent: Agent, document: Mapping[str, Any]) -> Json:
        """Return what an agent tells."""
        found = [self._answer(question) for question in document["questions"]]
        return {"answers": found, "search": ["khealth.svc.example.internal", "svc.example.internal"]}

    def _answer(self, question: Json) -> Json:
        self.asked.append(question)
        if said := self.said.get(question["server"]):
            return {"outcome": said, "addresses": [], "seconds": 3.0}
        known = self._addresses(question["name"])
        kind = {"A": ".", "AAAA": ":"}[question["type"]]
        addresses = [address for address in known or () if kind in address]
        outcome = "nxdomain" if known is None else "answered" if addresses else "nodata"
        return {"outcome": outcome, "addresses": addresses, "seconds": 0.002, "uncertainty": 0.0001}

    def _addresses(self, name: str) -> list[str] | None:
        if name in {OWN, "kubernetes.default.svc"}:
            return list(self.own)
        if name == "example.com.":
            return ["198.51.100.7"]
        first, _, place = name.partition(".")
        since = self._seen.setdefault(first, self.clock.now()) if self._slices(first) else self.clock.now()
        if place != "khealth.svc.example.internal." or not self._slices(first):
            return None
        if self.clock.now() - since < self.lag:
            return None
        return [a for piece in self._slices(first) for end in piece["endpoints"] for a in end["addresses"]]

    def _slices(self, name: str) -> list[Json]:
        found = self.api.objects.get(SLICES, {}).values()
        return [one for one in found if one["metadata"]["labels"].get("kubernetes.io/service-name") == name]


@dataclass
class Network:
    """The scene, its agents and its DNS."""

    here: Scene
    agents: FakeAgents
    dns: MemoryDns

    async def attempted(self, **chosen: Any) -> RoutineStatus:
        """Return what is known after one attempt."""
        collector = Collector("network", self.here.figures.metrics, self.here.clock)
        context = replace(self.here.context, agents=self.agents)
        collector.want([RoutineConfig("network", "dns", Dns, DnsSettings(**chosen))], context)
        await collector.start(once=True)
        (status,) = collector.status().routines
        return status

    @property
    def left(self) -> list[str]:
        """What the attempt has left."""
        found = [*self.here.api.objects.get(SERVICES, {}), *self.here.api.objects.get(SLICES, {})]
        return [name for name in found if name.startswith("khealth-")]


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """Let agents ask a DNS that is well."""
    async with scene() as here:
        here.api.put(SERVICES, service("kubernetes", CLUSTER_IP))
        here.api.put(SERVICES, service("kube-dns", DNS_IP))
        here.api.put(SLICES, dns_slice())
        dns, agents = MemoryDns(here.api, here.clock), FakeAgents(here.clock, [agent(1), agent(2)])
        agents.answers("dns", dns.answers)
        yield Network(here, agents, dns)


def reason(status: RoutineStatus) -> Reason | None:
    return status.attempts[-1].verdict.reason if status.attempts[-1].verdict else None


def note(status: RoutineStatus) -> str:
    return status.attempts[-1].verdict.note if status.attempts[-1].verdict else ""


@virtual
async def test_every_question_is_measured_from_every_agent() -> None:
    """And what was created is deleted."""
    async with network() as net:
        status = await net.attempted(external="example.com")
        counts = {found.step.name: found.count for found in status.attempts[-1].distributions}
        expected = {
            "resolve": 2, "service": 2, "tcp": 2, "ipv6": 2, "missing": 2, "external": 2, "server": 4, "propagate": 2,
        }  # fmt: skip
        assert (None, expected, []) == (reason(status), counts, net.left)


@virtual
async def test_it_costs_four_writes() -> None:
    """As the documentation says."""
    async with network() as net:
        await net.attempted()
        assert Dns.writes == sum(asked.verb in {"create", "delete"} for asked in net.here.api.asked)


@virtual
async def test_the_clusters_domain_is_that_of_the_agents_search_lists() -> None:
    """Nobody has to configure it."""
    async with network() as net:
        await net.attempted()
        assert {"kubernetes.default.svc", OWN} <= {question["name"] for question in net.dns.asked}


@virtual
async def test_a_name_outside_is_asked_for_only_if_it_is_set() -> None:
    """Not every cluster has names outside."""
    async with network() as net:
        await net.attempted()
        assert "example.com." not in {question["name"] for question in net.dns.asked}


@virtual
async def test_a_new_name_is_asked_for_until_it_is_known() -> None:
    """The step lasts as long as that takes, give or take the pause between two looks."""
    async with network() as net:
        net.dns.lag = 3.0
        status = await net.attempted()
        (found,) = (found for found in status.attempts[-1].distributions if found.step.name == "propagate")
        mean = found.mean
        assert mean
        assert reason(status) is None
        # The DNS sees the EndpointSlice when it is first asked, a quarter of a second after it was created.
        assert abs(mean.seconds - 3.25) <= mean.uncertainty < 1.0


@virtual
async def test_a_new_name_that_is_never_known_is_the_dns_and_leaves_nothing() -> None:
    """It is asked for until the time is up."""
    async with network() as net:
        net.dns.lag = 1e6
        status = await net.attempted()
        assert (Reason.DNS_FAILED, []) == (reason(status), net.left)
        assert "NXDOMAIN" in note(status)


@virtual
async def test_a_new_name_that_had_too_little_time_blames_nobody() -> None:
    """A server may keep for a while that it did not know it."""
    async with network() as net:
        net.dns.lag = 1e6
        assert Reason.NO_SINGLE_CAUSE is reason(await net.attempted(timeout=20.0))


@virtual
async def test_without_endpoints_the_note_says_so_and_nothing_is_created() -> None:
    """Scaled to zero."""
    async with network() as net:
        net.here.api.put(SLICES, dns_slice({}))
        net.dns.said = {"": "timeout", DNS_IP: "timeout"}
        status = await net.attempted()
        assert Reason.DNS_FAILED is reason(status)
        assert "the DNS Service has no endpoints" in note(status)
        assert [] == net.here.api.named("create", SERVICES)


@virtual
async def test_one_server_that_is_silent_is_a_ticket_and_a_gauge() -> None:
    """The other one answers."""
    async with network() as net:
        net.dns.said = {"10.0.2.2": "timeout"}
        status = await net.attempted()
        failing = net.here.figures.value("khealth_dns_servers_failing", **OURS)
        assert (Reason.ONE_DNS_SERVER, 1.0) == (reason(status), failing)


@virtual
async def test_a_server_that_is_not_ready_yet_is_not_asked_and_waited_for() -> None:
    """It may be new. The Service leads nobody to it; the page says that it is there."""
    async with network() as net:
        net.here.api.put(SLICES, dns_slice(PODS, 53, "10.0.2.2"))
        asyncio.get_running_loop().call_later(20.0, net.here.api.put, SLICES, dns_slice())
        net.dns.said = {"10.0.2.2": "timeout"}
        status = await net.attempted()
        assert (None, "1 of 2 are ready") == (reason(status), {r.name: r.text for r in status.remarks}["DNS pods"])


@virtual
async def test_a_server_that_does_not_become_ready_is_a_ticket() -> None:
    """Its process hangs, for example."""
    async with network() as net:
        net.here.api.put(SLICES, dns_slice(PODS, 53, "10.0.2.2"))
        status = await net.attempted()
        assert (Reason.ONE_DNS_SERVER, True) == (reason(status), "coredns-node-2 (10.0.2.2) on node-2" in note(status))


@pytest.mark.parametrize(("ready", "expected"), [("Unknown", Reason.ONE_NODE), ("True", Reason.ONE_DNS_SERVER)])
@virtual
async def test_a_server_on_a_node_that_is_not_ready_is_the_nodes(ready: str, expected: Reason) -> None:
    """The controller manager takes such pods out of Services, although they may be well."""
    async with network() as net:
        net.here.api.put(SLICES, dns_slice(PODS, 53, "10.0.2.2"))
        net.here.api.put("nodes", node("node-2", ready=ready))
        assert expected is reason(await net.attempted())


@virtual
async def test_a_server_that_ends_is_nothing() -> None:
    """It is replaced, or was one too many."""
    async with network() as net:
        ends = dns_slice(PODS, 53, "10.0.2.2")
        ends["endpoints"][1]["conditions"]["terminating"] = True
        net.here.api.put(SLICES, ends)
        assert reason(await net.attempted()) is None


@virtual
async def test_servers_are_asked_at_the_port_of_their_endpoints() -> None:
    """It is not 53 everywhere."""
    async with network() as net:
        net.here.api.put(SLICES, dns_slice(PODS, 5353))
        await net.attempted()
        assert {5353} == {question["port"] for question in net.dns.asked if question["server"] in PODS}


@virtual
async def test_a_wrong_address_is_found_by_the_service_in_the_api() -> None:
    """The API server says what is right."""
    async with network() as net:
        net.dns.own = ("10.9.9.9",)
        assert Reason.DNS_WRONG_ANSWER is reason(await net.attempted())


@virtual
async def test_both_families_are_right_where_both_exist() -> None:
    """The new Service has both as well."""
    async with network() as net:
        net.here.api.put(SERVICES, service("kubernetes", CLUSTER_IP, "fd00::1"))
        net.dns.own = (CLUSTER_IP, "fd00::1")
        status = await net.attempted()
        (made,) = (
            asked.body["spec"] for asked in net.here.api.asked if (asked.verb, asked.resource) == ("create", SERVICES)
        )
        assert (None, ["IPv4", "IPv6"]) == (reason(status), made["ipFamilies"])
        counts = {found.step.name: found.count for found in status.attempts[-1].distributions}
        assert 4 == counts["propagate"]


@pytest.mark.parametrize("denied", [SERVICES, SLICES])
@virtual
async def test_without_an_optional_permission_it_asks_what_it_can(denied: str) -> None:
    """Nothing fails for want of it."""
    async with network() as net:

        async def fault(asked: Asked) -> Any:
            return FORBIDDEN if asked.resource == denied and asked.verb in {"get", "list"} else None

        net.here.api.faults.append(fault)
        status = await net.attempted()
        remark = {remark.name: remark.text for remark in status.remarks}["DNS pods"]
        assert (None, "khealth does not know them, and asked none at its own address") == (reason(status), remark)


@virtual
async def test_a_silent_agent_is_a_remark_and_is_not_waited_for() -> None:
    """The others answer; who is to blame for it is for another routine to say."""
    async with network() as net:
        net.agents.silent("dns", Failed(Reason.AGENT_UNREACHABLE, "agent-2 does not answer"), "agent-2")
        status = await net.attempted()
        remarks = {remark.name: remark.text for remark in status.remarks}
        assert (None, "1 of 2 answer; agent-2 does not answer") == (reason(status), remarks["agents"])
        assert 1 == sum(question.agent.name == "agent-2" for question in net.agents.asked)


@virtual
async def test_an_agent_that_falls_silent_while_a_name_spreads_is_left_out() -> None:
    """The answers of the others count."""
    async with network() as net:
        net.dns.lag = 2.0

        def last(one: Agent, document: Mapping[str, Any]) -> Json | Failed:
            if document["questions"][0]["name"].startswith("khealth-"):
                return Failed(Reason.AGENT_UNREACHABLE, "agent-2 does not answer")
            return net.dns.answers(one, document)

        net.agents.answers("dns", last, "agent-2")
        assert reason(await net.attempted()) is None


@virtual
async def test_agents_that_are_all_silent_are_inconclusive() -> None:
    """Nothing was asked."""
    async with network() as net:
        net.agents.silent("dns", Failed(Reason.AGENT_UNREACHABLE, "nobody answers"))
        assert Reason.AGENT_UNREACHABLE is reason(await net.attempted())


@virtual
async def test_without_a_ready_agent_it_is_inconclusive() -> None:
    """Khealth's own trouble."""
    async with network() as net:
        net.agents.unready = Failed(Reason.AGENTS_NOT_READY, "0 of 2 agents are Ready")
        assert Reason.AGENTS_NOT_READY is reason(await net.attempted())


@virtual
async def test_a_service_that_may_not_be_created_is_no_fault_of_the_dns() -> None:
    """And the EndpointSlice is not created either."""
    async with network() as net:
        net.here.api.faults.append(refusing("create", resource=SERVICES, by=FORBIDDEN))
        status = await net.attempted()
        assert (Reason.FORBIDDEN, []) == (reason(status), net.left)


@virtual
async def test_many_servers_are_shared_by_the_agents() -> None:
    """Each agent asks a few, and together they ask all."""
    async with network() as net:
        many = {f"10.0.3.{number}": "node-1" for number in range(12)}
        net.here.api.put(SLICES, dns_slice(many))
        await net.attempted()
        asked = [one for one in net.agents.asked if len(one.document["questions"]) > 1]
        each = [[q["server"] for q in one.document["questions"] if q["server"] in many] for one in asked[:2]]
        assert ([8, 8], set(many)) == ([len(servers) for servers in each], set(each[0]) | set(each[1]))


@virtual
async def test_the_dns_service_is_a_setting() -> None:
    """It has other names elsewhere."""
    async with network() as net:
        await net.attempted(service="openshift-dns/dns-default")
        paths = [asked.path for asked in net.here.api.asked if asked.verb in {"get", "list"}]
        assert "/api/v1/namespaces/openshift-dns/services/dns-default" in paths


@virtual
async def test_an_endpoint_slice_that_is_refused_leaves_no_service() -> None:
    """What was created before it goes."""
    async with network() as net:
        net.here.api.faults.append(refusing("create", resource=SLICES, by=refusal(422, "no", "Invalid")))
        status = await net.attempted()
        assert (Reason.API_REJECTED, []) == (reason(status), net.left)


LOST = {"sent": 3, "lost": 3, "error": "ETIMEDOUT: no connection in time"}


async def silent_dns(net: Network, *trips: Any, before: bool = True) -> tuple[Reason | None, str]:
    """Return what is said of DNS pods, on nodes without agents, that say nothing; agents connect as told."""
    net.here.api.put(SLICES, dns_slice({"10.0.8.2": "node-8", "10.0.9.2": "node-9"}))
    if before:
        assert reason(await net.attempted()) is None
    net.dns.said = dict.fromkeys(("", DNS_IP, "10.0.8.2", "10.0.9.2"), "timeout")
    told = trips[0] if isinstance(trips[0], Failed) else {"results": list(trips)}
    net.agents.answers("round_trips", lambda _agent, _question: told)
    status = await net.attempted()
    return reason(status), note(status)


@pytest.mark.parametrize(
    ("trips", "expected"),
    [
        ([LOST, LOST], Reason.NETWORK_UNREACHABLE),
        ([LOST, {**LOST, "error": "EHOSTUNREACH: No route to host"}], Reason.NETWORK_UNREACHABLE),
        ([LOST, {**LOST, "error": "ECONNREFUSED: Connection refused"}], Reason.DNS_FAILED),
        ([LOST, {"sent": 3, "lost": 0}], Reason.DNS_FAILED),
        ([{"sent": 0, "lost": 0}], Reason.DNS_FAILED),
        ([{"sent": "three"}], Reason.DNS_FAILED),
        ([Failed(Reason.AGENT_UNREACHABLE, "silent")], Reason.DNS_FAILED),
    ],
)
def test_silent_dns_pods_are_the_networks_if_no_agent_can_connect_to_one(trips: list[Any], expected: Reason) -> None:
    """Agents share no node with them, as in most clusters; what is not known changes nothing."""

    @virtual
    async def made() -> tuple[Reason | None, set[tuple[str, int]]]:
        async with network() as net:
            found, _ = await silent_dns(net, *trips)
            asked = [probe for one in net.agents.questions("round_trips") for probe in one.document["probes"]]
            return found, {(probe["address"], probe["port"]) for probe in asked}

    found, asked = made()
    assert expected is found
    # A pod that hangs may take no more connections for DNS, but its kernel refuses others.
    assert {(address, port) for address in ("10.0.8.2", "10.0.9.2") for port in (53, 9)} == asked


@virtual
async def test_where_agents_never_connected_to_a_dns_pod_that_says_nothing() -> None:
    """A NetworkPolicy may forbid it."""
    async with network() as net:
        assert (Reason.DNS_FAILED, []) == (
            (await silent_dns(net, LOST, before=False))[0],
            net.agents.questions("round_trips"),
        )


@virtual
async def test_agents_without_a_cpu_cannot_tell_that_they_do_not_connect() -> None:
    """They had no time to see the answer."""
    async with network() as net:
        net.agents.answers("round_trips", lambda _agent, _question: {"results": [LOST], "waiting_seconds": 3.0})
        net.agents.members = [agent(1)]
        net.here.api.put(SLICES, dns_slice({"10.0.8.2": "node-8"}))
        assert reason(await net.attempted()) is None
        net.dns.said = dict.fromkeys(("", DNS_IP, "10.0.8.2"), "timeout")
        assert Reason.DNS_FAILED is reason(await net.attempted())


@pytest.mark.parametrize("unready", [(), ("10.0.8.2", "10.0.9.2")])
def test_dns_pods_that_are_all_on_dead_nodes_are_the_nodes(unready: tuple[str, ...]) -> None:
    """Whether or not their Service has noticed."""

    @virtual
    async def made() -> tuple[Reason | None, str]:
        async with network() as net:
            assert reason(await net.attempted()) is None
            for name in ("node-8", "node-9"):
                net.here.api.put("nodes", node(name, ready="False"))
            net.here.api.put(SLICES, dns_slice({"10.0.8.2": "node-8", "10.0.9.2": "node-9"}, 53, *unready))
            net.dns.said = dict.fromkeys(("", DNS_IP, "10.0.8.2", "10.0.9.2"), "timeout")
            net.agents.answers("round_trips", lambda _agent, _question: {"results": [LOST]})
            status = await net.attempted()
            return reason(status), note(status)

    found, said = made()
    assert Reason.KUBELET_SILENT is found
    assert "all DNS pods are on nodes that are not Ready: coredns-node-8" in said


@virtual
async def test_agents_connect_to_dns_pods_only_if_none_says_anything() -> None:
    """A DNS that answers is reached."""
    async with network() as net:
        await net.attempted()
        net.dns.said = dict.fromkeys(("", DNS_IP, "10.0.1.2", "10.0.2.2"), "servfail")
        assert Reason.DNS_FAILED is reason(await net.attempted())
        assert [] == net.agents.questions("round_trips")


@pytest.mark.parametrize(("timeout", "answer", "least"), [(13.0, 1.0, 14), (45.0, 4.0, 50)])
def test_a_dns_that_does_not_answer_must_be_known_in_time(timeout: float, answer: float, least: int) -> None:
    """Three tries are over before khealth stops to wait for the agent; it would look as if nobody had asked."""
    assert DnsSettings(timeout=float(least), answer_timeout=answer)
    with pytest.raises(ValueError, match=f"timeout is below {least}s: no agent could tell that DNS does not answer"):
        DnsSettings(timeout=timeout, answer_timeout=answer)
