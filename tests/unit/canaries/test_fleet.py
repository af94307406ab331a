"""Fleet: which agents there are, what they are asked, and what becomes of an answer."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_cluster import AgentCluster, agent_pod, by_name, fleet_of, zoned
from documents import condition, leaving, pod, status_of
from fakes import FORBIDDEN, UNREACHABLE, refusing
from small_cluster import PODS, scene
from virtual_time import virtual

from khealth_exporter.canaries.agents.fleet import Fleet
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.core.agents import SECRET, Heard
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

CHART: Any = {"own": False}


@asynccontextmanager
async def agents(*nodes: str) -> AsyncIterator[AgentCluster]:
    """Run the chart's agents on some nodes."""
    async with scene(kinds=(POD,)) as here:
        cluster = AgentCluster(here)
        cluster.secret()
        cluster.chart(*nodes)
        yield cluster


async def asked(cluster: AgentCluster, fleet: Fleet, seconds: float = 20.0, **question: Any) -> Heard:
    """Ask all agents about DNS."""
    deadline = cluster.here.clock.now() + seconds
    found = await fleet.ready(deadline)
    return await fleet.ask(found, "dns", lambda _agent: question, deadline)


@virtual
async def test_agents_are_the_ready_pods_of_the_chart() -> None:
    """Their node, their node's zone, their address and port follow from pod and node."""
    async with agents("node-1", "node-2") as cluster:
        cluster.here.api.put("nodes", zoned("node-1", "a"))
        found = await fleet_of(cluster.here, **CHART).ready(cluster.here.clock.now() + 5)

        expected = [("agent-node-1", "node-1", "a", "10.0.0.1", 8079), ("agent-node-2", "node-2", "", "10.0.0.2", 8079)]
        assert expected == [(one.name, one.node, one.zone, one.address, one.port) for one in found]


@virtual
async def test_agents_of_the_chart_in_the_networks_of_nodes_are_told_from_the_others() -> None:
    """By their pods; they are no agents of the network of pods, and count if they are wanted."""
    async with agents("node-1", "node-2") as cluster:
        on_host = agent_pod("host-node-1", "node-1")
        on_host["spec"]["hostNetwork"] = True
        cluster.here.api.put(PODS, on_host)
        fleet, deadline = fleet_of(cluster.here, host_network=True, **CHART), cluster.here.clock.now() + 5

        assert ["agent-node-1", "agent-node-2"] == by_name(await fleet.ready(deadline))
        assert ["host-node-1"] == by_name(await fleet.hosts(deadline))
        assert () == await fleet_of(cluster.here, **CHART).hosts(deadline)


@virtual
async def test_without_an_agent_in_the_network_of_a_node_that_is_told() -> None:
    """They are wanted, and the chart runs none."""
    async with agents("node-1") as cluster:
        with pytest.raises(Failed, match="does Pod Security refuse their pods"):
            await fleet_of(cluster.here, host_network=True, **CHART).hosts(cluster.here.clock.now() + 5)


@virtual
async def test_other_pods_and_agents_of_other_khealths_are_no_agents_of_the_chart() -> None:
    """A canary has no component, and an agent that a khealth runs itself has its run."""
    async with agents("node-1") as cluster:
        managed = {"app.kubernetes.io/managed-by": "khealth"}
        cluster.here.api.put(PODS, pod("canary", labels=managed))
        stranger = agent_pod("stranger", "node-2")
        stranger["metadata"]["labels"] = stranger["metadata"]["labels"] | {"khealth.io/run": "other"}
        cluster.here.api.put(PODS, stranger)

        assert ["agent-node-1"] == by_name(await fleet_of(cluster.here, **CHART).ready(cluster.here.clock.now() + 5))


@virtual
async def test_an_agent_that_is_not_ready_or_goes_is_not_asked() -> None:
    """Only who is Ready, and stays, can answer."""
    async with agents("node-1", "node-2", "node-3") as cluster:
        api = cluster.here.api
        api.put(PODS, status_of(api.objects[PODS]["agent-node-2"], condition("Ready", "False")))
        api.put(PODS, leaving(api.objects[PODS]["agent-node-3"]))

        assert ["agent-node-1"] == by_name(await fleet_of(cluster.here, **CHART).ready(cluster.here.clock.now() + 5))


@virtual
async def test_ready_waits_for_as_many_agents_as_are_needed() -> None:
    """An agent that becomes Ready in time counts."""
    async with agents("node-1") as cluster:
        cluster.here.small.later(3.0, cluster.chart, "node-2")
        began = cluster.here.clock.now()
        found = await fleet_of(cluster.here, **CHART).ready(began + 10, least=2)

        assert ["agent-node-1", "agent-node-2"] == by_name(found)
        assert cluster.here.clock.now() - began < 3.5


@virtual
async def test_without_agents_the_attempt_is_inconclusive() -> None:
    """The cluster need not be broken: the chart may run none."""
    async with agents() as cluster:
        with pytest.raises(Failed) as caught:
            await fleet_of(cluster.here, **CHART).ready(cluster.here.clock.now() + 5)

        assert Reason.AGENTS_NOT_READY is caught.value.reason


@virtual
async def test_an_agent_whose_image_cannot_be_pulled_blames_the_registry() -> None:
    """Where too few agents are Ready, a pod that is not is judged as any other."""
    async with agents("node-1") as cluster:
        known = cluster.here.api.objects[PODS]["agent-node-1"]
        waits = {"name": "canary", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
        cluster.here.api.put(PODS, status_of(known, condition("Ready", "False"), containerStatuses=[waits]))
        with pytest.raises(Failed) as caught:
            await fleet_of(cluster.here, **CHART).ready(cluster.here.clock.now() + 5)

        assert Reason.IMAGE_PULL_FAILED is caught.value.reason


@virtual
async def test_every_agent_is_asked_at_the_same_time_what_is_meant_for_it() -> None:
    """The questions need not be the same."""
    async with agents("node-1", "node-2") as cluster:
        fleet, deadline = fleet_of(cluster.here, **CHART), cluster.here.clock.now() + 20
        found = await fleet.ready(deadline)
        heard = await fleet.ask(found, "dns", lambda agent: {"from": agent.node, "within": 4.0}, deadline)

        expected = [(f"agent-node-{n}", "dns", {"from": f"node-{n}", "within": 4.0}) for n in (1, 2)]
        assert expected == sorted(cluster.questions, key=lambda one: one[0])
        assert ["agent-node-1", "agent-node-2"] == [told.document["name"] for told in heard.told]
        assert heard.told[0].sent == heard.told[1].sent


@virtual
async def test_a_question_without_within_gets_the_time_that_is_left() -> None:
    """The agent answers with what it has two seconds before the deadline."""
    async with agents("node-1") as cluster:
        await asked(cluster, fleet_of(cluster.here, **CHART), 20.0)

        ((_, _, question),) = cluster.questions
        assert 17.5 < question["within"] <= 18.0


@virtual
async def test_the_start_of_an_agents_process_is_learned_once() -> None:
    """The first question costs one request more, and one after a restart."""
    async with agents("node-1") as cluster:
        fleet = fleet_of(cluster.here, **CHART)
        counts = []
        for boot in ("b001", "b001", "b002"):
            cluster.process("agent-node-1").boot = boot
            before = len(cluster.here.api.named("create", "pods/proxy"))
            await asked(cluster, fleet)
            counts.append(len(cluster.here.api.named("create", "pods/proxy")) - before)

        assert [2, 1, 2] == counts


@virtual
async def test_an_empty_secret_is_filled_in_and_lasts() -> None:
    """The chart ships it empty; the next process of khealth uses what the first one has written."""
    async with agents("node-1") as cluster:
        cluster.secret("")
        await asked(cluster, fleet_of(cluster.here, **CHART))
        written = cluster.here.api.objects["secrets"][SECRET]["data"]["secret"]
        await asked(cluster, fleet_of(cluster.here, **CHART))

        assert written == cluster.here.api.objects["secrets"][SECRET]["data"]["secret"]
        assert 32 == len(bytes.fromhex(base64.b64decode(written).decode()))


@virtual
async def test_two_khealths_that_fill_in_the_secret_end_with_the_same() -> None:
    """The second one's patch conflicts, and it reads what the first one has written."""
    async with agents("node-1") as cluster:
        cluster.secret("")
        heard = await asyncio.gather(*(asked(cluster, fleet_of(cluster.here, **CHART)) for _ in range(2)))

        assert [1, 1] == [len(one.told) for one in heard]
        assert 2 == len(cluster.here.api.named("patch", "secrets"))


@virtual
async def test_a_secret_that_changed_is_read_again() -> None:
    """Someone may replace it while khealth runs."""
    async with agents("node-1") as cluster:
        fleet = fleet_of(cluster.here, **CHART)
        await asked(cluster, fleet)
        cluster.secret("another")
        await asyncio.sleep(30)

        assert 1 == len((await asked(cluster, fleet)).told)


@virtual
async def test_without_the_secret_nothing_is_asked() -> None:
    """It is installed with the agents."""
    async with agents("node-1") as cluster:
        cluster.here.api.remove("secrets", SECRET)
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet_of(cluster.here, **CHART))

        assert Reason.AGENTS_NOT_READY is caught.value.reason
        assert "Secret khealth-agent does not exist" in caught.value.note


@virtual
async def test_an_agent_with_another_secret_refuses_and_the_others_answer() -> None:
    """Its kubelet may not have brought the new one yet."""
    async with agents("node-1", "node-2") as cluster:
        cluster.process("agent-node-2").secret = "old"
        heard = await asked(cluster, fleet_of(cluster.here, **CHART))

        assert ["agent-node-1"] == [told.agent.name for told in heard.told]
        assert [("agent-node-2", Reason.AGENT_REFUSED)] == [(s.agent.name, s.why.reason) for s in heard.silent]
        assert "another secret" in heard.silent[0].why.note


@virtual
async def test_an_answer_without_the_seal_is_not_believed() -> None:
    """Another pod may have the address of an agent that is gone."""
    async with agents("node-1") as cluster:
        api = cluster.here.api
        cluster.process("agent-node-1").answers = lambda request: api.answer(request, {"name": "forged"})
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet_of(cluster.here, **CHART))

        assert Reason.AGENT_REFUSED is caught.value.reason
        assert "not sealed" in caught.value.note


@virtual
async def test_the_proxy_that_is_denied_is_a_right_that_khealth_lacks() -> None:
    """Nothing is known of the agents then."""
    async with agents("node-1") as cluster:
        cluster.here.api.faults.append(refusing("create", resource="pods/proxy", by=FORBIDDEN))
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet_of(cluster.here, **CHART))

        assert Reason.FORBIDDEN is caught.value.reason


@virtual
async def test_an_api_server_that_does_not_answer_is_what_is_blamed() -> None:
    """Its proxy is the way to the agents."""
    async with agents("node-1") as cluster:
        fleet = fleet_of(cluster.here, **CHART)
        await asked(cluster, fleet)
        cluster.here.api.faults += [
            refusing("create", resource="pods/proxy", by=UNREACHABLE),
            refusing("list", resource="nodes", by=UNREACHABLE),
        ]
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet)

        assert Reason.API_UNREACHABLE is caught.value.reason


@virtual
async def test_the_deployment_of_the_chart_is_scaled_to_what_the_nodes_need() -> None:
    """Two per zone, and no more than there are nodes."""
    async with agents("node-1") as cluster:
        api = cluster.here.api
        api.put("deployments/scale", {"metadata": {"name": "scale"}})
        for number in range(1, 6):
            api.put("nodes", zoned(f"node-{number}", "ab"[number % 2]))
        async with fleet_of(cluster.here, **CHART, scale=True).tended(once=False):
            await asyncio.sleep(30)

        path = "/apis/apps/v1/namespaces/khealth/deployments/khealth-agent/scale"
        assert [(path, {"spec": {"replicas": 4}})] == [(one.path, one.body) for one in api.named("patch")]


@virtual
async def test_an_attempt_of_once_leaves_the_charts_agents_as_they_are() -> None:
    """A smoke test changes nothing that stays."""
    async with agents("node-1") as cluster:
        async with fleet_of(cluster.here, **CHART, scale=True, count=3).tended(once=True):
            await asyncio.sleep(120)

        assert [] == cluster.here.api.named("patch")


@virtual
async def test_agents_are_no_objects_that_an_attempt_left() -> None:
    """An alert counts those that stay for half an hour."""
    async with agents("node-1", "node-2") as cluster:
        cluster.here.api.put(PODS, pod("canary", labels={"app.kubernetes.io/managed-by": "khealth"}))
        await fleet_of(cluster.here, **CHART).ready(cluster.here.clock.now() + 5)

        assert 1.0 == cluster.here.figures.value("khealth_objects", kind="Pod")


@virtual
async def test_agents_of_the_chart_are_never_swept() -> None:
    """They lack what every object has that khealth creates, so that not even all of it takes them."""
    async with agents("node-1") as cluster:
        sweeper = Sweeper(cluster.here.cluster)
        sweeper.cover([POD])
        await sweeper.look(cluster.here.clock.now() + 5)
        await asyncio.sleep(7200)

        assert () == sweeper.found(everything=True)
