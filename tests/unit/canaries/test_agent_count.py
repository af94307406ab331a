"""How many agents there are, and how many there should be: what an alert is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent_cluster import AgentCluster, fleet_of, zoned
from documents import condition, leaving, status_of
from small_cluster import PODS, scene
from virtual_time import virtual

from khealth_exporter.canaries.agents.fleet import Fleet
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.core.agents import AgentCount

CHART: Any = {"own": False}


@asynccontextmanager
async def tended(*nodes: str, **settings: Any) -> AsyncIterator[tuple[AgentCluster, Fleet]]:
    """Run agents of the chart on these nodes, of four in two zones, and look after them until the block ends."""
    async with scene(kinds=(POD,)) as here:
        cluster = AgentCluster(here)
        here.api.put("deployments/scale", {"metadata": {"name": "scale"}})
        for number, zone in enumerate("aabb", 1):
            here.api.put("nodes", zoned(f"node-{number}", zone))
        cluster.chart(*nodes)
        fleet = fleet_of(here, **(CHART | settings))
        async with fleet.tended(once=False):
            await here.cluster.watches.see([POD], here.clock.now() + 5)
            await asyncio.sleep(5)
            yield cluster, fleet


@virtual
async def test_a_deployment_should_have_what_the_nodes_need() -> None:
    """Whether or not its pods exist already."""
    async with tended("node-1", scale=True) as (_, fleet):
        assert AgentCount(1, 4) == fleet.count()


@virtual
async def test_of_a_daemonset_each_pod_should_be_ready() -> None:
    """One that is about to go is not missed."""
    async with tended("node-1", "node-2", "node-3") as (cluster, fleet):
        api = cluster.here.api
        api.put(PODS, status_of(api.objects[PODS]["agent-node-2"], condition("Ready", "False")))
        api.put(PODS, leaving(api.objects[PODS]["agent-node-3"]))
        await asyncio.sleep(1)

        assert AgentCount(1, 2) == fleet.count()


@virtual
async def test_without_any_pod_one_agent_is_missing() -> None:
    """The routines that need it make no progress."""
    async with tended() as (_, fleet):
        assert AgentCount(0, 1) == fleet.count()


@virtual
async def test_khealths_own_agents_count_once_they_are_needed() -> None:
    """Before the first attempt there is none by right."""
    async with tended(own=True) as (cluster, fleet):
        before = fleet.count()
        await fleet.ready(cluster.here.clock.now() + 20)
        assert (None, AgentCount(4, 4)) == (before, fleet.count())


@virtual
async def test_who_looks_after_no_agents_counts_none() -> None:
    """A replica that is not the leader would tell nobody's number."""
    async with tended("node-1") as (_, fleet):
        pass
    assert fleet.count() is None
