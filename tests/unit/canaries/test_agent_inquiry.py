"""What is found out about a silent agent, from the watch, the nodes, its neighbors and the other path."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_cluster import UNREACHED, AgentCluster, fleet_of
from documents import Json, condition, disrupted, leaving, node, status_of
from fakes import FORBIDDEN, Asked, refusing
from small_cluster import PODS, scene
from virtual_time import virtual, virtual_loop

from khealth_exporter.canaries.agents.fleet import Fleet
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.core.agents import Heard
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

SILENT = "agent-node-3"


@asynccontextmanager
async def agents(*others: str, reached: Sequence[str] = ()) -> AsyncIterator[tuple[AgentCluster, Fleet]]:
    """Run agents on these nodes and on node-3, whose agent does not answer; the others reach those that are named."""
    async with scene(kinds=(POD,)) as here:
        cluster = AgentCluster(here)
        cluster.secret()
        cluster.chart(*others, "node-3")
        cluster.process(SILENT).answers = lambda _asked: UNREACHED
        cluster.tasks["round_trips"] = lambda _name, asked: {"results": list(trips(asked, reached))}
        yield cluster, fleet_of(here, own=False)


def trips(asked: Json, reached: Sequence[str]) -> Any:
    """Yield what an agent that measures answers; a uid ends in the pod's name."""
    for probe in asked["probes"]:
        lost = 0 if probe["id"].removeprefix("uid-") in reached else probe["count"]
        yield {"id": probe["id"], "sent": probe["count"], "lost": lost}


async def asked(cluster: AgentCluster, fleet: Fleet, seconds: float = 20.0) -> Heard:
    """Ask all agents about DNS."""
    deadline = cluster.here.clock.now() + seconds
    return await fleet.ask(await fleet.ready(deadline), "dns", lambda _agent: {"within": 2.0}, deadline)


def why(heard: Heard) -> Failed:
    """Return why the silent agent is silent."""
    (silence,) = heard.silent
    assert silence.agent.name == SILENT
    return silence.why


def soon(cluster: AgentCluster, change: Any, seconds: float = 3.0) -> None:
    """Let the silent agent's pod change while khealth asks."""

    def changed() -> None:
        cluster.here.api.put(PODS, change(cluster.here.api.objects[PODS][SILENT]))

    cluster.here.small.later(seconds, changed)


def unready(pod: Json) -> Json:
    """Return a pod whose readiness probe fails."""
    return status_of(pod, condition("Ready", "False", "ContainersNotReady", "containers with unready status: [canary]"))


@virtual
async def test_an_agent_that_answers_the_second_question_was_not_silent() -> None:
    """It was restarting."""
    async with agents("node-1") as (cluster, fleet):
        cluster.here.small.later(0.5, setattr, cluster.process(SILENT), "answers", lambda _asked: None)

        assert [] == list((await asked(cluster, fleet)).silent)


@virtual
async def test_an_agent_that_its_neighbours_reach_is_only_unreachable_for_khealth() -> None:
    """A NetworkPolicy, for example: nothing is said of the cluster."""
    async with agents("node-1", "node-2", reached=[SILENT]) as (cluster, fleet):
        heard = await asked(cluster, fleet)
        assert Reason.AGENT_UNREACHABLE is why(heard).reason
        assert [True] == [silence.reached for silence in heard.silent]


@virtual
async def test_one_agent_that_nobody_reaches_is_its_nodes_trouble() -> None:
    """Its kubelet still reaches it, once it has had time to find out."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        began = cluster.here.clock.now()
        heard = await asked(cluster, fleet)
        failed = why(heard)

        assert (Reason.ONE_NODE, [False]) == (failed.reason, [silence.reached for silence in heard.silent])
        assert failed.note.startswith("network_unreachable on node-3 only: agent agent-node-3 on node-3: ")
        assert 13 <= cluster.here.clock.now() - began < 14


@virtual
async def test_agents_of_several_nodes_that_nobody_reaches_blame_the_network() -> None:
    """One node's trouble would not reach so far."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        cluster.process("agent-node-2").answers = lambda _asked: UNREACHED
        heard = await asked(cluster, fleet)

        assert [Reason.NETWORK_UNREACHABLE] * 2 == [silence.why.reason for silence in heard.silent]


@virtual
async def test_a_frozen_agent_is_the_canarys_failure_once_its_kubelet_tells() -> None:
    """Khealth does not blame the network before the readiness probe has failed twice."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        soon(cluster, unready, 11.0)

        assert Reason.CANARY_FAILED is why(await asked(cluster, fleet)).reason


@virtual
async def test_an_agent_on_a_node_that_is_not_ready_blames_that_node() -> None:
    """Its kubelet is silent, too."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        soon(cluster, unready)
        cluster.here.api.put("nodes", node("node-3", ready="Unknown", says=("NodeStatusUnknown", "stopped posting")))
        failed = why(await asked(cluster, fleet))

        assert Reason.ONE_NODE is failed.reason
        assert failed.note.startswith("kubelet_silent on node-3 only: ")


@virtual
async def test_an_agent_that_crashed_is_judged_as_any_pod() -> None:
    """Its container has ended."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        end = {"exitCode": 137, "reason": "OOMKilled"}
        status = {
            "name": "canary",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": end},
        }
        soon(cluster, lambda pod: status_of(unready(pod), containerStatuses=[status]))
        failed = why(await asked(cluster, fleet))

        assert Reason.POD_CRASHED is failed.reason
        assert "OOMKilled" in failed.note
        assert SILENT == failed.evidence[0].name


@pytest.mark.parametrize("change", [leaving, disrupted, lambda pod: status_of(pod, phase="Failed", reason="Evicted")])
def test_an_agent_that_is_taken_away_is_disrupted(change: Any) -> None:
    """A rollout, a drain, an eviction: nothing is broken."""

    @virtual
    async def reason() -> Reason:
        async with agents("node-1", "node-2") as (cluster, fleet):
            soon(cluster, change)
            return why(await asked(cluster, fleet)).reason

    assert Reason.DISRUPTED is reason()


@virtual
async def test_an_agent_that_is_gone_is_disrupted() -> None:
    """Another client removed it without asking it to end."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        cluster.here.small.later(3.0, cluster.here.api.remove, PODS, SILENT)

        assert Reason.DISRUPTED is why(await asked(cluster, fleet)).reason


@virtual
async def test_an_agent_on_a_node_out_of_service_is_disrupted() -> None:
    """Someone works on it."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        cluster.here.api.put("nodes", node("node-3", cordoned=True))

        assert Reason.DISRUPTED is why(await asked(cluster, fleet)).reason


@virtual
async def test_without_the_right_to_list_nodes_the_network_can_still_be_blamed() -> None:
    """The node's state is unknown then."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        cluster.here.api.faults.append(refusing("list", resource="nodes", by=FORBIDDEN))

        assert Reason.ONE_NODE is why(await asked(cluster, fleet)).reason


@virtual
async def test_if_no_agent_answers_the_most_frequent_reason_counts() -> None:
    """Khealth inside the cluster reaches none of them on either path."""
    async with agents("node-1", "node-2") as (cluster, fleet):
        for name in ("agent-node-1", "agent-node-2"):
            cluster.process(name).answers = lambda _asked: UNREACHED
        cluster.process(SILENT).secret, cluster.process(SILENT).answers = "old", lambda _asked: None
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet)

        assert Reason.NETWORK_UNREACHABLE is caught.value.reason


@virtual
async def test_an_agent_alone_that_answers_on_the_other_path_is_unreachable_for_khealth() -> None:
    """There is no neighbor to ask."""
    async with agents() as (cluster, _):
        fleet = fleet_of(cluster.here, own=False, reached=[SILENT])
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet)

        assert Reason.AGENT_UNREACHABLE is caught.value.reason
        assert "the other path reaches it: yes" in caught.value.note


@virtual
async def test_outside_of_the_cluster_no_address_of_a_pod_is_asked() -> None:
    """It may be a stranger's there."""
    async with agents() as (cluster, _):
        fleet = fleet_of(cluster.here, inside=False, own=False, reached=[SILENT])
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet)

        assert "the other path" not in caught.value.note


@virtual
async def test_neighbours_of_other_nodes_are_asked_and_no_more_than_three() -> None:
    """What they cost does not grow with the cluster."""
    async with agents(*(f"node-{n}" for n in (1, 2, 4, 5, 6, 7))) as (cluster, fleet):
        await asked(cluster, fleet)

        assert 3 == len([task for _, task, _ in cluster.questions if task == "round_trips"])


@virtual
async def test_an_inquiry_ends_soon_after_the_deadline() -> None:
    """The runner would cut it off."""
    async with agents("node-1", "node-2") as (cluster, fleet):

        async def slow(request: Asked) -> None:
            await asyncio.sleep(4.0 if request.resource == "nodes" or SILENT in request.path else 0.0)

        cluster.here.api.faults.append(slow)
        began = cluster.here.clock.now()
        await asked(cluster, fleet, seconds=8.0)

        assert cluster.here.clock.now() - began < 8.0 + 15.0


@virtual
async def test_khealth_itself_that_did_not_run_is_what_is_told() -> None:
    """A process that was stopped must not blame the cluster."""
    async with agents("node-1") as (cluster, fleet):

        async def stopped(request: Asked) -> None:
            if SILENT in request.path:
                virtual_loop().pass_time(30.0)
                await asyncio.sleep(60.0)

        cluster.here.api.faults.append(stopped)
        with pytest.raises(Failed) as caught:
            await asked(cluster, fleet)

        assert Reason.PROBER_STARVED is caught.value.reason
