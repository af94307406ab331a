"""latency, on a network that loses and delays what a test says."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fake_agents import FakeAgents, agent
from fake_network import FakeNetwork, Way
from fakes import FORBIDDEN, Asked, refusal, refusing
from pydantic import ValidationError
from small_cluster import Scene, scene
from virtual_time import virtual

from khealth_exporter.canaries.agents.neighbors import neighbors
from khealth_exporter.core.agents import Agent
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.routines.latency import Latency, LatencySettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

OURS = {"module": "network", "routine": "latency"}
SERVICE, FIRST_API, SECOND_API = "10.96.0.1", "192.0.2.1", "192.0.2.2"
UDP_OR_HTTP = {"udp", "http"}
Lost = Callable[[Way], float]


@dataclass
class Here:
    """Agents on a network, and an API server that khealth asks."""

    scene: Scene
    agents: FakeAgents
    network: FakeNetwork
    statuses: list[RoutineStatus] = field(default_factory=list)

    async def attempt(self, **chosen: Any) -> Attempt:
        """Return what one attempt came to."""
        collector = Collector("network", self.scene.figures.metrics, self.scene.clock)
        context = replace(self.scene.context, agents=self.agents)
        collector.want([RoutineConfig("network", "latency", Latency, LatencySettings(**chosen))], context)
        await collector.start(once=True)
        self.statuses += collector.status().routines
        return self.statuses[-1].attempts[-1]

    async def failed(self, **chosen: Any) -> tuple[Reason | None, str]:
        """Return why one attempt failed; no reason if it did not."""
        verdict = (await self.attempt(**chosen)).verdict
        assert verdict
        return verdict.reason, verdict.note

    def value(self, name: str, **labels: str) -> float | None:
        """Return a metric of the routine."""
        return self.scene.figures.value(name, **OURS, **labels)


@asynccontextmanager
async def small_network(count: int = 5, lost: Lost = lambda _way: 0.0) -> AsyncIterator[Here]:
    """Run agents on so many nodes, `node-1` and so on; the API server has two addresses."""
    members = [agent(number) for number in range(1, count + 1)]
    async with scene() as made:
        made.api.put("services", {"metadata": {"name": "kubernetes"}, "spec": {"clusterIPs": [SERVICE]}})
        endpoints = [{"addresses": [FIRST_API]}, {"addresses": [SECOND_API]}]
        labels = {"kubernetes.io/service-name": "kubernetes"}
        slices = {"metadata": {"name": "kubernetes", "labels": labels}, "endpoints": endpoints}
        made.api.put("endpointslices", {**slices, "ports": [{"name": "https", "port": 6443}]})
        network = FakeNetwork(members, lost)
        agents = FakeAgents(made.clock, members)
        agents.answers("round_trips", network.answer)
        yield Here(made, agents, network)


def between(way: Way) -> bool:
    """Tell whether a way is one between two nodes."""
    return way.target.startswith("node-")


def of(node: str, *protocols: str) -> Lost:
    """Lose what has to do with a node."""
    return lambda way: between(way) and node in way.ends and way.protocol in (protocols or ("tcp", "udp", "http"))


def one_way(source: str, target: str, *protocols: str) -> Lost:
    """Lose what goes from a node to another one."""
    lost = protocols or ("tcp", "udp", "http")
    return lambda way: (way.source, way.target) == (source, target) and way.protocol in lost


@virtual
async def test_a_network_that_works_is_a_success() -> None:
    """Every agent is asked once; the round trips of all of them are counted in bulk."""
    async with small_network() as here:
        assert (None, "") == await here.failed()
        assert [f"agent-{number}" for number in range(1, 6)] == [one.agent.name for one in here.agents.asked]
        counted = {
            step.name: here.value("khealth_step_duration_seconds_count", step=step.name) for step in Latency.steps
        }
        hosts = {"host_host": 0.0}  # No agents are there.
        assert {"pod_pod": 225.0, "pod_service": 25.0, "pod_api": 50.0, "large": 75.0, **hosts} == counted
        assert 4.0 == here.value("khealth_measurement_uncertainty_seconds_count")


@virtual
async def test_a_node_measures_as_many_others_as_it_should() -> None:
    """By TCP, UDP and HTTP, and with one large datagram that must not be fragmented."""
    async with small_network(8) as here:
        await here.attempt(neighbors=2, large=1300)
        ways = [way for way in here.network.ways if way.source == "node-1" and between(way)]
        expected = [("http", 64), ("tcp", 64), ("udp", 64), ("udp", 1300)]
        assert sorted(expected * 2) == sorted((way.protocol, way.size) for way in ways)
        assert 2 == len({way.target for way in ways})
        large = [probe for probe in here.agents.asked[0].document["probes"] if probe["size"] == 1300]
        assert [False, False] == [probe["fragment"] for probe in large]


@virtual
async def test_a_network_that_carries_nothing_is_unreachable() -> None:
    """It is nothing of one node."""
    async with small_network(lost=between) as here:
        reason, note = await here.failed()
        assert (Reason.NETWORK_UNREACHABLE, "no pod reaches a pod on another node: all 15 pairs fail") == (reason, note)
        assert 15.0 == here.value("khealth_latency_pairs_failing")
        assert 1.0 == here.value("khealth_latency_loss_ratio")


@virtual
async def test_a_node_that_is_cut_off_is_to_blame_alone() -> None:
    """All failing pairs have it in common, and the others are well."""
    async with small_network(lost=of("node-3")) as here:
        attempt = await here.attempt()
        verdict = attempt.verdict
        assert verdict
        assert (Reason.ONE_NODE, Component.NODE) == (verdict.reason, verdict.component)
        assert "all with node-3" in verdict.note
        (evidence,) = attempt.evidence
        assert "5 of 5 lost, ETIMEDOUT: no answer in time" in evidence.lines[0]


@virtual
async def test_an_api_server_that_khealth_does_not_reach_either_is_to_blame_itself() -> None:
    """Agents may notice an outage before khealth asks again."""

    def outage(way: Way) -> float:
        if way.target in (SERVICE, FIRST_API, SECOND_API):
            down = refusal(503, "unavailable", "ServiceUnavailable")
            here.scene.api.faults.append(refusing("list", resource="endpointslices", by=down))
            return 1.0
        return 0.0

    async with small_network(lost=outage) as here:
        reason, _ = await here.failed()
        assert Reason.API_ERROR is reason


@pytest.mark.parametrize("seconds", [1.5, 3.0], ids=["slow", "dead connection"])
@virtual
async def test_an_api_server_that_answers_late_is_not_to_blame_for_the_way_of_pods(seconds: float) -> None:
    """A connection that was kept alive may be dead; the second try makes a new one."""
    tried: list[Asked] = []

    async def first_waits(asked: Asked) -> None:
        if asked.resource == "endpointslices" and here.agents.asked:
            tried.append(asked)
            await asyncio.sleep(seconds if len(tried) == 1 else 0.0)

    async with small_network(lost=lambda way: float(way.target in (SERVICE, FIRST_API, SECOND_API))) as here:
        here.scene.api.faults.append(first_waits)
        reason, _ = await here.failed()
        assert Reason.NETWORK_UNREACHABLE is reason


@virtual
async def test_only_the_chosen_protocols_are_sent() -> None:
    """A network may be meant to drop the others; large datagrams are UDP."""
    async with small_network(lost=lambda way: float(between(way) and way.protocol == "udp")) as here:
        assert (None, "") == await here.failed(protocols=("tcp", "http"))
        assert {"tcp", "http"} == {way.protocol for way in here.network.ways if between(way)}


@pytest.mark.parametrize("protocols", [(), ("tcp", "tcp"), ("icmp",)])
def test_protocols_that_make_no_sense_are_refused(protocols: tuple[str, ...]) -> None:
    """Before anything runs."""
    with pytest.raises(ValidationError):
        LatencySettings.model_validate({"protocols": protocols})


@virtual
async def test_of_two_nodes_none_is_to_blame_alone() -> None:
    """Nothing tells which of them it is."""
    async with small_network(2, lost=between) as here:
        reason, _ = await here.failed()
        assert Reason.NETWORK_UNREACHABLE is reason


@virtual
async def test_two_nodes_that_do_not_reach_each_other_are_a_matter_of_the_network() -> None:
    """Both reach all others."""
    async with small_network(4, lost=lambda way: way.ends == {"node-1", "node-2"}) as here:
        reason, note = await here.failed()
        assert (Reason.NETWORK_UNREACHABLE, "pods do not reach pods: node-1 → node-2, node-2 → node-1") == (
            reason,
            note,
        )


@virtual
async def test_what_is_lost_once_is_no_failure() -> None:
    """The pairs are asked about again, and answer."""
    async with small_network(lost=lambda way: between(way) and not way.again) as here:
        assert (None, "") == await here.failed()
        assert 10 == len(here.agents.asked)


@virtual
async def test_only_suspect_pairs_are_asked_about_again() -> None:
    """From both ends, and nothing else."""
    async with small_network(lost=lambda way: (way.source, way.target) == ("node-1", "node-2")) as here:
        await here.attempt(neighbors=4)
        assert {"node-1", "node-2"} == {way.source for way in here.network.ways if way.again}
        assert {"node-1", "node-2"} == {way.target for way in here.network.ways if way.again}


@virtual
async def test_udp_alone_is_named() -> None:
    """Some firewalls let only TCP through."""
    async with small_network(lost=lambda way: between(way) and way.protocol == "udp") as here:
        reason, note = await here.failed()
        assert Reason.NETWORK_UNREACHABLE is reason
        assert note.startswith("UDP only: ")
        assert note.endswith(" and 12 more")


@virtual
async def test_udp_of_one_node_alone_is_named() -> None:
    """It is that node, and it is UDP."""
    async with small_network(lost=of("node-2", "udp")) as here:
        reason, note = await here.failed()
        assert Reason.ONE_NODE is reason
        assert "network_unreachable: UDP only: " in note
        assert "all with node-2" in note


@virtual
async def test_one_direction_alone_is_named() -> None:
    """The other direction was asked about too, though no node had it among its neighbors."""
    nodes = [f"node-{number}" for number in range(1, 9)]
    (other,) = neighbors(nodes, 1)["node-1"]
    async with small_network(8, lost=lambda way: (way.source, way.target) == ("node-1", other)) as here:
        reason, note = await here.failed(neighbors=1)
        assert f"pods do not reach pods, in one direction only: node-1 → {other}" == note
        assert Reason.NETWORK_UNREACHABLE is reason


@virtual
async def test_large_datagrams_that_vanish_are_a_black_hole() -> None:
    """Small ones pass, and no one tells the sender."""
    async with small_network(lost=lambda way: way.size == 1400 and "node-2" in way.ends) as here:
        attempt = await here.attempt()
        assert attempt.verdict
        assert (Reason.MTU_BLACK_HOLE, Component.NETWORK) == (attempt.verdict.reason, attempt.verdict.component)
        assert "datagrams of 1400 bytes" in attempt.verdict.note
        assert "all with node-2" in attempt.verdict.note


@virtual
async def test_a_large_datagram_that_is_not_allowed_to_leave_is_no_failure() -> None:
    """The path's MTU is smaller, and the sender was told: nothing is lost, nothing is counted, nothing is repeated."""
    async with small_network(lost=lambda way: way.size == 1400) as here:
        here.network.error = "EMSGSIZE: Message too long"
        assert (None, "") == await here.failed()
        assert (5, 0.0) == (
            len(here.agents.asked), here.value("khealth_step_duration_seconds_count", step="large"),
        )  # fmt: skip
        (remark,) = [one for one in here.statuses[-1].remarks if one.name == "large datagrams"]
        assert "the path from node-1, node-2, node-3 and 2 more takes none" == remark.text


@virtual
async def test_large_datagrams_can_be_left_out() -> None:
    """0 bytes: none."""
    async with small_network() as here:
        await here.attempt(large=0)
        assert {64} == {way.size for way in here.network.ways}


@pytest.mark.parametrize(
    ("address", "what"), [(SERVICE, "the Service `kubernetes`"), (FIRST_API, "the API server")], ids=["service", "api"]
)
@virtual
async def test_what_one_node_alone_does_not_reach_is_that_nodes_fault(address: str, what: str) -> None:
    """Pods on other nodes reach it."""
    async with small_network(lost=lambda way: (way.source, way.target) == ("node-4", address)) as here:
        expected = f"network_unreachable: pods on node-4 do not reach {what}, pods on other nodes do"
        assert (Reason.ONE_NODE, expected) == await here.failed()


@pytest.mark.parametrize(
    ("nodes", "who"),
    [({"node-1", "node-4"}, "pods on node-1, node-4"), ({f"node-{n}" for n in range(1, 6)}, "pods on all nodes")],
    ids=["some", "all"],
)
@virtual
async def test_what_several_nodes_do_not_reach_is_the_networks_fault(nodes: set[str], who: str) -> None:
    """The note names them."""
    async with small_network(lost=lambda way: way.source in nodes and way.target == SERVICE) as here:
        expected = f"{who} do not reach the Service `kubernetes`"
        assert (Reason.NETWORK_UNREACHABLE, expected) == await here.failed()


@virtual
async def test_an_api_server_that_no_pod_reaches_is_to_blame_itself() -> None:
    """Another one is reached from everywhere: a ticket."""
    async with small_network(lost=lambda way: way.target == SECOND_API) as here:
        verdict = (await here.attempt()).verdict
        assert verdict
        assert (Reason.ONE_API_SERVER, Component.API_SERVER) == (verdict.reason, verdict.component)
        assert f"no agent reaches 1 of 2 API server addresses: API server {SECOND_API}" == verdict.note


@virtual
async def test_an_api_server_that_answers_khealth_alone_is_not_to_blame() -> None:
    """It is between pods and all of its addresses."""
    async with small_network(lost=lambda way: way.target in (FIRST_API, SECOND_API, SERVICE)) as here:
        expected = "no pod reaches the API server, which answers khealth"
        assert (Reason.NETWORK_UNREACHABLE, expected) == await here.failed()


@virtual
async def test_without_the_permissions_agents_measure_each_other() -> None:
    """What khealth may not know of is left out."""
    async with small_network() as here:
        here.scene.api.faults += [refusing("list", "get", by=FORBIDDEN)]
        assert (None, "") == await here.failed()
        assert all(between(way) for way in here.network.ways)


@virtual
async def test_round_trips_that_take_too_long_twice_are_slow() -> None:
    """The median of TCP's, which the kernels answer."""
    async with small_network() as here:
        here.network.seconds = lambda way: 0.15 if way.ends == {"node-1", "node-2"} else 0.0003
        reason, note = await here.failed(neighbors=4)
        assert Reason.NETWORK_SLOW is reason
        expected = "a round trip takes 150 ms, and at most 100 ms are allowed: node-1 → node-2, node-2 → node-1"
        assert expected == note
        assert 0.15 == here.value("khealth_latency_worst_seconds")


@pytest.mark.parametrize(
    "slow",
    [
        lambda way: not way.again,
        lambda way: way.protocol in UDP_OR_HTTP,
    ],
    ids=["once", "the agents"],
)
@virtual
async def test_what_is_slow_for_another_reason_is_not_the_networks_fault(slow: Callable[[Way], bool]) -> None:
    """A single burst; or agents, which answer UDP and HTTP themselves, and may wait for a CPU."""
    async with small_network() as here:
        here.network.seconds = lambda way: 0.2 if slow(way) else 0.0003
        assert (None, "") == await here.failed()


@virtual
async def test_a_pair_that_loses_too_much_is_slow() -> None:
    """It is measured more closely before that is said."""
    async with small_network(lost=lambda way: 0.3 if way.ends == {"node-1", "node-2"} else 0.0) as here:
        reason, note = await here.failed(neighbors=4)
        assert Reason.NETWORK_SLOW is reason
        assert "90 of 300 round trips are lost, and at most 5% are allowed: node-1 → node-2, node-2 → node-1" == note


@pytest.mark.parametrize("loss", [0.04, 0.1])
@virtual
async def test_a_loss_that_chance_explains_is_no_failure(loss: float) -> None:
    """One or two of a few: it is the limit, or below it, where more round trips are made."""
    async with small_network(lost=lambda way: loss if way.again else 0.2) as here:
        expected = None if loss < 0.05 else Reason.NETWORK_SLOW
        assert expected is (await here.failed())[0]


def by_chance(share: float, seed: int) -> Lost:
    """Lose each round trip with this probability."""
    chance = random.Random(seed)
    return lambda way: sum(chance.random() < share for _ in range(way.count)) / way.count


@pytest.mark.parametrize(("share", "expected"), [(0.01, {None}), (0.2, {Reason.NETWORK_SLOW})])
@virtual
async def test_noise_is_no_failure_and_a_bad_network_is_always_one(share: float, expected: set[Reason | None]) -> None:
    """With the default limits, attempt after attempt."""
    reasons = set()
    for seed in range(8):
        async with small_network(10, lost=by_chance(share, seed)) as here:
            reasons.add((await here.failed())[0])
    assert expected == reasons


SILENT = Failed(Reason.ONE_NODE, "its kubelet reaches it, and other agents do not")
UNSURE = Failed(Reason.AGENT_REFUSED, "the agent and khealth have not the same secret")


@pytest.mark.parametrize("why", [SILENT, UNSURE])
@virtual
async def test_an_agent_that_is_silent_is_judged_as_the_fleet_says(why: Failed) -> None:
    """Pairs with it say nothing more: it may have died, and its neighbors' round trips with it."""
    async with small_network(lost=of("node-2")) as here:
        here.agents.silent("round_trips", why, "agent-2")
        assert (why.reason, why.note) == await here.failed()


ALONE = Failed(Reason.AGENT_UNREACHABLE, "other agents reach it, khealth does not")


@pytest.mark.parametrize("protocols", [("tcp", "udp", "http"), ("udp",)], ids=" ".join)
@virtual
async def test_the_way_between_khealths_node_and_another_one_is_broken(protocols: tuple[str, ...]) -> None:
    """Other agents reach that agent, so what goes to it counts: as between any two nodes."""
    async with small_network(4, lost=one_way("node-1", "node-4", *protocols)) as here:
        here.agents.silent("round_trips", ALONE, "agent-4")
        reason, note = await here.failed()
        assert (Reason.NETWORK_UNREACHABLE, True) == (reason, note.endswith("node-1 → node-4"))
        assert 1.0 == here.value("khealth_latency_pairs_failing")


@virtual
async def test_a_way_that_is_broken_though_nobody_else_measures_it() -> None:
    """Those that were asked why the agent is silent reach it."""
    nodes = [f"node-{number}" for number in range(1, 9)]
    (other,) = neighbors(nodes, 1)["node-1"]
    async with small_network(8, lost=one_way("node-1", other)) as here:
        here.agents.silent("round_trips", ALONE, other.replace("node", "agent"))
        assert Reason.AGENT_UNREACHABLE is (await here.failed(neighbors=1))[0]
        here.agents.reached = True
        reason, note = await here.failed(neighbors=1)
        assert (Reason.NETWORK_UNREACHABLE, f"pods do not reach pods: node-1 → {other}") == (reason, note)


@virtual
async def test_an_agent_that_several_do_not_reach_is_on_a_node_that_is_to_blame() -> None:
    """Others reach it, and each other."""
    lost: Lost = lambda way: float(way.target == "node-4" and way.source != "node-2")  # noqa: E731
    async with small_network(5, lost=lost) as here:
        here.agents.silent("round_trips", ALONE, "agent-4")
        assert Reason.ONE_NODE is (await here.failed(neighbors=4))[0]


@pytest.mark.parametrize(
    "lost",
    [
        lambda _way: 0.0,
        # What is lost once may be chance.
        lambda way: float(way.target == "node-4" and way.source == "node-1" and not way.again),
        # It does not answer anybody, or is overloaded, or slow.
        lambda way: float(way.target == "node-4"),
        lambda way: float(way.target == "node-4" and way.protocol != "tcp"),
        lambda way: (1.0 if way.source == "node-1" else 0.8) * (way.target == "node-4" and way.protocol != "tcp"),
        lambda way: 0.6 * (way.target == "node-4"),
    ],
    ids=["nothing", "once", "all", "the agent's own", "most", "some"],
)
@virtual
async def test_an_agent_that_khealth_alone_does_not_reach_is_no_failure(lost: Lost) -> None:
    """Losses that can be the agent's own accuse no network."""
    async with small_network(4, lost=lost) as here:
        here.agents.silent("round_trips", ALONE, "agent-4")
        assert (ALONE.reason, ALONE.note) == await here.failed()


@pytest.mark.parametrize("why", [SILENT, UNSURE, Failed(Reason.DISRUPTED, "the agent's pod goes, or is gone")])
@virtual
async def test_what_goes_to_an_agent_that_is_silent_for_another_reason_says_nothing(why: Failed) -> None:
    """It was there when some measured it, and gone when others did."""
    async with small_network(4, lost=one_way("node-1", "node-4")) as here:
        here.agents.silent("round_trips", why, "agent-4")
        assert (why.reason, why.note) == await here.failed()


@virtual
async def test_what_an_agent_told_before_it_fell_silent_says_nothing() -> None:
    """It was asked once: what it lost may be chance. What went to it was asked about twice."""

    def answer(asked: Agent, question: Any) -> Any:
        again = len(here.agents.asked) > 4 and asked.node == "node-4"
        return ALONE if again else here.network.answer(asked, question)

    async with small_network(4, lost=one_way("node-4", "node-1")) as here:
        here.agents.answers("round_trips", answer)
        assert (ALONE.reason, ALONE.note) == await here.failed()


@virtual
async def test_of_several_silent_agents_a_failure_counts() -> None:
    """What is not known is no failure, and hides none."""
    async with small_network() as here:
        for number, why in enumerate((UNSURE, UNSURE, SILENT), 1):
            here.agents.silent("round_trips", why, f"agent-{number}")
        expected = f"agents on node-1, node-2, node-3 do not answer: {SILENT.note}"
        assert (Reason.ONE_NODE, expected) == await here.failed()


@virtual
async def test_what_is_broken_counts_more_than_a_silent_agent() -> None:
    """What others measured between each other is true all the same."""
    async with small_network(lost=of("node-3")) as here:
        here.agents.silent("round_trips", UNSURE, "agent-1")
        assert Reason.ONE_NODE is (await here.failed())[0]


@virtual
async def test_losses_of_an_agent_without_a_cpu_say_nothing() -> None:
    """Nor do those of round trips to it, which it did not answer."""
    async with small_network(lost=of("node-3")) as here:
        here.network.waiting = {"node-3": 0.7}
        assert (None, "") == await here.failed()
        (remark,) = [one for one in here.statuses[-1].remarks if one.name == "agents without a CPU"]
        assert "node-3" == remark.text


@virtual
async def test_without_any_cpu_nothing_is_known() -> None:
    """It is khealth's own trouble."""
    async with small_network(lost=between) as here:
        here.network.waiting = {f"node-{number}": 0.7 for number in range(1, 6)}
        assert Reason.PROBER_STARVED is (await here.failed())[0]


@virtual
async def test_a_second_agent_of_a_node_must_answer_too() -> None:
    """It measures nothing: the first one does."""
    async with small_network(3) as here:
        here.agents.members = [*here.agents.members, replace(agent(2), name="agent-9", uid="uid-9")]
        assert (None, "") == await here.failed()
        (asked,) = [one for one in here.agents.asked if one.agent.uid == "uid-9"]
        assert [] == asked.document["probes"]


@virtual
async def test_one_node_measures_the_way_to_the_api_server() -> None:
    """There is no other node."""
    async with small_network(1) as here:
        assert (None, "") == await here.failed()
        assert {SERVICE, FIRST_API, SECOND_API} == {way.target for way in here.network.ways}


@virtual
async def test_one_node_without_the_permissions_can_measure_nothing() -> None:
    """Which is no failure."""
    async with small_network(1) as here:
        here.scene.api.faults += [refusing("list", "get", by=FORBIDDEN)]
        assert Reason.AGENTS_NOT_READY is (await here.failed())[0]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "99"}, {"id": "first"}, {"counts": [1, 2]}, {"lost": 6}, {"median": "fast"}, {"sum": -1.0},
    ],
    ids=str,
)  # fmt: skip
@virtual
async def test_an_agent_that_answers_something_else_is_refused(change: dict[str, Any]) -> None:
    """Nothing is counted that does not fit the question."""
    async with small_network(2) as here:

        def answer(asked: Agent, question: Any) -> Any:
            document = here.network.answer(asked, question)
            return {**document, "results": [{**document["results"][0], **change}]}

        here.agents.answers("round_trips", answer, "agent-2")
        reason, note = await here.failed()
        assert Reason.AGENT_REFUSED is reason
        assert note.startswith("agent-2 on node-2 answers something else than it was asked")


@virtual
async def test_an_agent_that_answers_something_else_hides_nothing() -> None:
    """What the others measured is judged."""
    async with small_network(lost=of("node-3")) as here:
        here.agents.answers("round_trips", lambda _agent, _question: {"results": "none"}, "agent-2")
        assert Reason.ONE_NODE is (await here.failed())[0]


@virtual
async def test_agents_that_are_silent_when_asked_again_hide_no_figures() -> None:
    """Why they are silent is the verdict; what they measured before is shown."""
    async with small_network(2, lost=lambda way: way.protocol == "udp") as here:

        def answer(asked: Agent, question: Any) -> Any:
            again = len(here.agents.asked) > 2
            return SILENT if again else here.network.answer(asked, question)

        here.agents.answers("round_trips", answer)
        assert (SILENT.reason, SILENT.note) == await here.failed()
        assert 2.0 == here.value("khealth_latency_agents")
        assert here.statuses[-1].matrix


@virtual
async def test_the_matrix_has_each_measured_pair() -> None:
    """The worst first: a pair that is failing, and then the slowest."""
    async with small_network(lost=of("node-3")) as here:
        here.network.seconds = lambda way: 0.05 if way.ends == {"node-1", "node-2"} else 0.0003
        await here.attempt(neighbors=4)
        matrix = here.statuses[-1].matrix
        assert matrix
        assert (20, 20) == (matrix.measured, len(matrix.pairs))
        assert all("node-3" in (pair.source, pair.target) for pair in matrix.pairs[:8])
        assert [(None, 1.0, True)] * 8 == [(pair.seconds, pair.loss, pair.failing) for pair in matrix.pairs[:8]]
        assert {(0.05, 0.005, 0.0, False)} == {
            (pair.seconds, pair.jitter, pair.loss, pair.failing) for pair in matrix.pairs[8:10]
        }


def on_hosts(count: int = 5) -> list[Agent]:
    """Return the agents in the networks of so many nodes; that of node-N has the address 192.168.0.N."""
    found = [agent(number) for number in range(1, count + 1)]
    return [
        replace(one, name=f"host-{number}", uid=f"uid-host-{number}", address=f"192.168.0.{number}")
        for number, one in enumerate(found, 1)
    ]


@asynccontextmanager
async def two_networks(pods: Lost, hosts: Lost = lambda _way: 0.0) -> AsyncIterator[Here]:
    """Run agents in the networks of nodes too; what these lose is told apart by their names."""
    async with small_network() as here:
        beside = FakeNetwork(on_hosts(), hosts)
        here.network.lost = pods
        here.agents.on_hosts = beside.agents

        def answer(asked: Agent, question: Any) -> Any:
            return (beside if asked.name.startswith("host") else here.network).answer(asked, question)

        here.agents.answers("round_trips", answer)
        yield here


@virtual
async def test_the_networks_of_nodes_are_measured_beside_that_of_pods() -> None:
    """Each node has the same neighbors there, by TCP and UDP; that is a step of its own."""
    async with two_networks(lambda _way: 0.0) as here:
        assert (None, "") == await here.failed()
        assert 5 * 3 * 2 * 5 == here.value("khealth_step_duration_seconds_count", step="host_host")
        assert 5 * 3 * 3 * 5 == here.value("khealth_step_duration_seconds_count", step="pod_pod")
        told = {remark.name: remark.text for remark in here.statuses[-1].remarks}
        expected = "15 pairs: 0 of 150 round trips between nodes are lost, and the slowest median is 0.30 ms"
        assert expected == told["outside the network of pods"]


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        (lambda _way: 0.0, "outside the network of pods, 0 of "),
        (lambda _way: 1.0, "outside the network of pods, no agent answers: a firewall, or the network below"),
    ],
)
def test_the_networks_of_nodes_tell_where_the_fault_is(hosts: Lost, words: str) -> None:
    """What is broken is the network of pods alone, or what it is built on."""

    @virtual
    async def failed() -> tuple[Reason | None, str]:
        async with two_networks(lambda way: float(between(way)), hosts) as here:
            return await here.failed()

    reason, note = failed()
    assert Reason.NETWORK_UNREACHABLE is reason
    assert words in note


@virtual
async def test_the_networks_of_nodes_alone_fail_nothing() -> None:
    """A firewall between nodes may drop what goes to the port of agents, and no pod feels it."""
    async with two_networks(lambda _way: 0.0, lambda way: float(way.source == "node-1")) as here:
        assert (None, "") == await here.failed()
        told = {remark.name: remark.text for remark in here.statuses[-1].remarks}
        assert "3 pairs do not answer at the port of agents" in told["outside the network of pods"]


@virtual
async def test_the_networks_of_nodes_explain_no_black_hole() -> None:
    """Nothing large is sent there: that small packets arrive says nothing."""
    async with two_networks(lambda way: float(way.size == 1400)) as here:
        reason, note = await here.failed()
        assert (Reason.MTU_BLACK_HOLE, False) == (reason, "outside" in note)


@virtual
async def test_the_networks_of_nodes_are_measured_though_no_agent_of_pods_answers() -> None:
    """Then they say most: the note has it, whatever its length."""
    async with two_networks(lambda _way: 0.0) as here:
        why = Failed(Reason.NETWORK_UNREACHABLE, "x" * 400)
        for number in range(1, 6):
            here.agents.silent("round_trips", why, f"agent-{number}")
        reason, note = await here.failed()
        assert Reason.NETWORK_UNREACHABLE is reason
        assert note.endswith(": outside the network of pods, 0 of 150 round trips between nodes are lost, "
                             "and the slowest median is 0.30 ms")  # fmt: skip


@pytest.mark.parametrize(
    ("protocols", "expected"), [(["tcp"], {"tcp"}), (["udp", "http"], {"udp"}), (["http"], {"tcp"})]
)
def test_protocols_that_are_left_out_are_not_sent_between_nodes_either(
    protocols: list[str], expected: set[str]
) -> None:
    """HTTP is not sent there: TCP stands for it."""

    @virtual
    async def sent() -> set[str]:
        async with two_networks(lambda _way: 0.0) as here:
            assert (None, "") == await here.failed(protocols=protocols)
            asked = [one for one in here.agents.questions("round_trips") if one.agent.name.startswith("host")]
            return {probe["protocol"] for one in asked for probe in one.document["probes"]}

    assert expected == sent()


@virtual
async def test_pairs_that_lose_udp_alone_answer() -> None:
    """A firewall that is open for TCP says so."""
    async with two_networks(lambda _way: 0.0, lambda way: float(way.protocol == "udp")) as here:
        assert (None, "") == await here.failed()
        told = {remark.name: remark.text for remark in here.statuses[-1].remarks}
        assert "firewall" not in told["outside the network of pods"]
        assert told["outside the network of pods"].startswith("15 pairs: 75 of 150 round trips")


@virtual
async def test_agents_that_cannot_be_in_the_networks_of_nodes_fail_nothing() -> None:
    """Pod Security may forbid it: that is told."""
    async with small_network() as here:
        here.agents.on_hosts = Failed(Reason.API_REJECTED, "violates PodSecurity")
        assert (None, "") == await here.failed()
        told = {remark.name: remark.text for remark in here.statuses[-1].remarks}
        assert "not measured: violates PodSecurity" == told["outside the network of pods"]
        here.agents.on_hosts = on_hosts(1)
        assert (None, "") == await here.failed()
        told = {remark.name: remark.text for remark in here.statuses[-1].remarks}
        expected = "not measured: fewer than two nodes have Ready agents in both networks: node-1"
        assert expected == told["outside the network of pods"]


@virtual
async def test_an_agent_in_the_network_of_a_node_that_is_silent_hides_nothing() -> None:
    """Why it is silent is told, and the others count."""
    async with two_networks(lambda _way: 0.0) as here:
        here.agents.silent("round_trips", SILENT, "host-1")
        assert (None, "") == await here.failed()
        told = {remark.name: remark.text for remark in here.statuses[-1].remarks}
        assert told["outside the network of pods"].startswith("9 pairs: 0 of 90")
        assert told["outside the network of pods"].endswith(SILENT.note)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"slow": 1.0}, "slow must be below lost_after"),
        ({"count": 50}, "exceeds 4.5s"),
        ({"timeout": 20.0}, "timeout is below 24s"),
    ],
)
def test_settings_that_leave_no_time_are_refused(wrong: dict[str, Any], words: str) -> None:
    """Both questions must fit into an attempt."""
    with pytest.raises(ValidationError, match=words):
        LatencySettings(**wrong)
