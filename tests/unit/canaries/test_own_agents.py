"""Agents that khealth runs itself: how many, for how long, and that nothing of them is left."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kubernetes_validate
import pytest
from agent_cluster import AgentCluster, by_name, fleet_of, zoned
from documents import Json, bound, condition, leaving, status_of
from fakes import FORBIDDEN, UNREACHABLE, Asked, hanging, refusal, refusing
from small_cluster import PODS, scene
from virtual_time import virtual

from khealth_exporter.canaries.agents.fleet import Fleet
from khealth_exporter.canaries.agents.settings import AgentPodSettings, AgentsSettings
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.kinds import POD, SECRET
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.core.agents import AgentCount
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

NAMES = [f"khealth-agents-run-1-{number}" for number in (1, 2, 3)]
HOSTS = [f"khealth-agents-run-2-{number}" for number in (1, 2, 3)]


@asynccontextmanager
async def own(**settings: Any) -> AsyncIterator[tuple[AgentCluster, Fleet]]:
    """Let khealth run its own agents on three nodes of two zones until the block ends."""
    async with scene(kinds=(POD,)) as here:
        cluster = AgentCluster(here, secret_name="khealth-agents-run-1")
        for number, zone in enumerate("aab", 1):
            here.api.put("nodes", zoned(f"node-{number}", zone))
        fleet = fleet_of(here, inside=False, **settings)
        async with fleet.tended(once=False):
            yield cluster, fleet


def alive(cluster: AgentCluster) -> list[str]:
    """Return the names of the agents that are there to stay."""
    return [pod["metadata"]["name"] for pod in cluster.pods() if "deletionTimestamp" not in pod["metadata"]]


def assert_all_are_next(cluster: AgentCluster) -> None:
    """See that as many agents run as before, and that all are of the next image."""
    assert {"khealth:next"} == {pod["spec"]["containers"][0]["image"] for pod in cluster.pods()}
    assert len(NAMES) == len(alive(cluster))


async def sweeper_of_another(cluster: AgentCluster) -> Sweeper:
    """Return what another khealth sees there is to sweep."""
    here = cluster.here
    other = Cluster(here.api, Identity("other", "khealth"), here.clock, here.figures.metrics, random.Random(1))
    sweeper = Sweeper(other)
    sweeper.cover([POD, SECRET])
    await sweeper.look(here.clock.now() + 5)
    return sweeper


@virtual
async def test_khealth_runs_agents_only_when_they_are_needed() -> None:
    """A configuration that enables a routine need not mean that it is due."""
    async with own() as (cluster, _):
        await asyncio.sleep(600)

        assert [] == cluster.here.api.named("create")


@virtual
async def test_the_first_attempt_waits_for_all_of_them() -> None:
    """Two per zone, and no more than there are nodes; an attempt with one of them would measure little."""
    async with own() as (cluster, fleet):
        assert NAMES == by_name(await fleet.ready(cluster.here.clock.now() + 20))


@pytest.mark.parametrize(("nodes", "expected"), [("a", 1), ("aab", 3), ("aaaa", 2), ("aaabbb", 4), ("abcdefg" * 3, 10)])
def test_there_are_two_agents_per_zone_and_at_most_ten(nodes: str, expected: int) -> None:
    """One, if there is one node."""

    @virtual
    async def made() -> int:
        async with own() as (cluster, fleet):
            for number, zone in enumerate(nodes.ljust(3), 1):
                cluster.here.api.put("nodes", zoned(f"node-{number}", zone))
            for number in range(len(nodes) + 1, 4):
                cluster.here.api.remove("nodes", f"node-{number}")
            return len(await fleet.ready(cluster.here.clock.now() + 20))

    assert expected == made()


@virtual
async def test_the_configured_count_is_what_runs() -> None:
    """As far as there are nodes."""
    async with own(count=2) as (cluster, fleet):
        assert NAMES[:2] == by_name(await fleet.ready(cluster.here.clock.now() + 20))


@virtual
async def test_they_answer_questions() -> None:
    """They have a Secret of their own, made before them."""
    async with own() as (cluster, fleet):
        deadline = cluster.here.clock.now() + 20
        found = await fleet.ready(deadline)

        assert len(NAMES) == len((await fleet.ask(found, "dns", lambda _agent: {}, deadline)).told)
        assert ["secrets", "pods", "pods", "pods"] == [
            asked.resource for asked in cluster.here.api.named("create") if asked.resource != "pods/proxy"
        ]


@virtual
async def test_nothing_is_left_of_them_at_the_end() -> None:
    """Neither pods nor the Secret."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        here = cluster.here

    assert [{}, {}] == [here.api.objects[PODS], here.api.objects["secrets"]]


@virtual
async def test_agents_in_the_networks_of_nodes_run_beside_the_others() -> None:
    """They start at the same time, share the Secret, are counted, and nothing is left of them."""
    async with own(host_network=True) as (cluster, fleet):
        deadline = cluster.here.clock.now() + 20
        found = await fleet.ready(deadline)
        hosts = await fleet.hosts(deadline)
        pods = {pod["metadata"]["name"]: pod["spec"] for pod in cluster.pods()}

        assert (NAMES, HOSTS) == (by_name(found), by_name(hosts))
        assert HOSTS == sorted(name for name, spec in pods.items() if spec.get("hostNetwork"))
        assert 1 == len(cluster.here.api.objects["secrets"])
        assert AgentCount(3, 3) == fleet.count()
        assert 3 == len((await fleet.ask(hosts, "dns", lambda _agent: {}, deadline)).told)
        here = cluster.here

    assert [{}, {}] == [here.api.objects[PODS], here.api.objects["secrets"]]


@virtual
async def test_agents_that_pod_security_refuses_keep_no_others_from_running() -> None:
    """Those in the networks of pods answer; why there are no others is told."""
    refused = refusal(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "Forbidden")

    async def only_hosts(asked: Asked) -> Refusal | None:
        wanted = asked.verb == "create" and asked.resource == "pods" and asked.body["spec"].get("hostNetwork")
        return refused if wanted else None

    async with own(host_network=True) as (cluster, fleet):
        cluster.here.api.faults.append(only_hosts)
        deadline = cluster.here.clock.now() + 20

        assert NAMES == by_name(await fleet.ready(deadline))
        with pytest.raises(Failed, match="violates PodSecurity"):
            await fleet.hosts(deadline)
        await asyncio.sleep(10)
        assert AgentCount(0, 3) == fleet.count()


@virtual
async def test_agents_in_the_networks_of_nodes_go_when_they_are_no_longer_wanted() -> None:
    """A reload can turn them on and off; the others stay."""
    async with own() as (cluster, fleet):
        deadline = cluster.here.clock.now() + 20
        await fleet.ready(deadline)
        assert () == await fleet.hosts(deadline)
        fleet.want(AgentsSettings(channel="proxy", host_network=True), "khealth:test", needed=True)
        assert HOSTS == by_name(await fleet.hosts(deadline))
        fleet.want(AgentsSettings(channel="proxy"), "khealth:test", needed=True)
        await asyncio.sleep(10)
        assert NAMES == alive(cluster)

        # Turned on and off, and on again while they are removed: they are nobody's leftovers.
        for wanted in (True, False, True):
            fleet.want(AgentsSettings(channel="proxy", host_network=wanted), "khealth:test", needed=True)
            await asyncio.sleep(1)
        await asyncio.sleep(30)
        sweeper = Sweeper(cluster.here.cluster)
        sweeper.cover(fleet.sweeps)
        await sweeper.sweep()
        await asyncio.sleep(1)
        assert 6 == len(alive(cluster))
        assert AgentCount(3, 3) == fleet.count()


@virtual
async def test_agents_in_the_networks_of_nodes_are_removed_though_khealth_ends_meanwhile() -> None:
    """They were no longer wanted, and their end takes a while."""
    async with own(host_network=True) as (cluster, fleet):
        deadline = cluster.here.clock.now() + 20
        await fleet.hosts(deadline)
        here = cluster.here
        fleet.want(AgentsSettings(channel="proxy"), "khealth:test", needed=True)
        await asyncio.sleep(0.05)

    assert [{}, {}] == [here.api.objects[PODS], here.api.objects["secrets"]]


def pinned(pod: Json) -> str:
    """Return the only node on which a pod may run."""
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    (field,) = term["matchFields"]
    return str(field["values"][0])


@virtual
async def test_agents_in_the_networks_of_nodes_are_where_the_others_are() -> None:
    """Only the same nodes can be compared: they follow to another node, and there are no more of them."""
    async with own(host_network=True, count=2) as (cluster, fleet):
        await fleet.hosts(cluster.here.clock.now() + 20)
        api = cluster.here.api

        def nodes(*, host: bool) -> set[str]:
            living = [one for one in cluster.pods() if "deletionTimestamp" not in one["metadata"]]
            found = [one for one in living if bool(one["spec"].get("hostNetwork")) is host]
            return {pinned(one) if host else one["spec"]["nodeName"] for one in found}

        assert nodes(host=False) == nodes(host=True)
        api.remove(PODS, NAMES[0])
        await asyncio.sleep(20)
        assert 2 == len(nodes(host=False))
        assert nodes(host=False) == nodes(host=True)
        assert AgentCount(2, 2) == fleet.count()


@virtual
async def test_an_agent_whose_node_does_not_end_it_is_removed_without_it() -> None:
    """Its node may be dead."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        api = cluster.here.api
        api.deleted = lambda resource, _item, options: resource != PODS or options.get("gracePeriodSeconds") == 0

    assert {} == api.objects[PODS]


@virtual
async def test_an_agent_that_the_watch_has_not_shown_is_removed_too() -> None:
    """Its create may have been answered just before the end."""
    async with own() as (cluster, fleet):
        api = cluster.here.api
        waiting = asyncio.ensure_future(fleet.ready(cluster.here.clock.now() + 20))
        while not api.objects.get(PODS):
            await asyncio.sleep(0.001)
            for stream in api.open_streams("pods"):
                stream.hushed = True
        waiting.cancel()

    assert [] == alive(cluster)


@virtual
async def test_an_agent_that_is_lost_is_replaced() -> None:
    """Evicted, deleted, ended: its number is not used again."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        api = cluster.here.api
        api.remove(PODS, NAMES[0])
        api.put(PODS, leaving(api.objects[PODS][NAMES[1]]))
        api.put(PODS, status_of(api.objects[PODS][NAMES[2]], phase="Failed"))
        await asyncio.sleep(10)

        assert [f"khealth-agents-run-1-{number}" for number in (4, 5, 6)] == alive(cluster)


@virtual
async def test_they_live_longer_than_a_sweep_would_let_them() -> None:
    """Another khealth sweeps what is older than its max-age: it is renewed in time."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        await asyncio.sleep(7200)
        other = await sweeper_of_another(cluster)

        assert () == other.found(everything=False)


@virtual
async def test_a_sweep_takes_what_a_killed_khealth_left_of_them() -> None:
    """Pods and Secret, ten minutes after the last renewal."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        cluster.here.api.faults.append(refusing("patch", by=UNREACHABLE))  # It renews nothing any more.
        await asyncio.sleep(700)
        other = await sweeper_of_another(cluster)

        expected = sorted([f"Secret/{NAMES[0].rpartition('-')[0]}", *(f"Pod/{name}" for name in NAMES)])
        assert expected == sorted(str(found) for found in other.found(everything=False))


@virtual
async def test_a_living_khealth_does_not_sweep_its_own() -> None:
    """They are nobody's leftovers as long as they are used."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        sweeper = Sweeper(cluster.here.cluster)
        sweeper.cover(fleet.sweeps)
        await sweeper.sweep()
        await asyncio.sleep(1)

        assert NAMES == alive(cluster)


@virtual
async def test_a_denied_create_is_told_at_once() -> None:
    """Waiting does not help."""
    async with own() as (cluster, fleet):
        cluster.here.api.faults.append(refusing("create", resource="secrets", by=FORBIDDEN))
        began = cluster.here.clock.now()
        with pytest.raises(Failed) as caught:
            await fleet.ready(began + 20)

        assert Reason.FORBIDDEN is caught.value.reason
        assert cluster.here.clock.now() - began < 1


@virtual
async def test_agents_come_when_the_api_server_is_back() -> None:
    """What could not be created is tried again."""
    async with own() as (cluster, fleet):
        down = refusing("create", by=UNREACHABLE)
        cluster.here.api.faults.append(down)
        with pytest.raises(Failed) as caught:
            await fleet.ready(cluster.here.clock.now() + 20)
        cluster.here.api.faults.remove(down)
        await asyncio.sleep(10)

        assert Reason.API_UNREACHABLE is caught.value.reason
        assert NAMES == alive(cluster)


@virtual
async def test_a_create_whose_answer_was_lost_makes_no_agent_too_many() -> None:
    """The watch shows what it has made."""
    async with own() as (cluster, fleet):
        api = cluster.here.api

        async def lost(asked: Asked) -> Refusal | None:
            if asked.verb != "create" or asked.resource != PODS or api.objects.get(PODS):
                return None
            api.created(PODS, api.put(PODS, asked.body))
            return UNREACHABLE

        api.faults.append(lost)
        with pytest.raises(Failed):
            await fleet.ready(cluster.here.clock.now() + 20)
        await asyncio.sleep(60)

        assert NAMES == alive(cluster)


@virtual
async def test_another_specification_replaces_them() -> None:
    """A reload with another image, for example."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        fleet.want(AgentsSettings(channel="proxy"), "khealth:next", needed=True)
        await asyncio.sleep(10)

        assert_all_are_next(cluster)


@virtual
async def test_agents_that_no_routine_needs_any_more_are_removed() -> None:
    """A reload may switch off the last of them."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        fleet.want(AgentsSettings(channel="proxy"), "khealth:test", needed=False)
        await asyncio.sleep(10)

        assert [] == alive(cluster)
        assert () == fleet.watches


@virtual
async def test_an_agent_that_never_becomes_ready_is_judged_as_any_pod() -> None:
    """The scheduler has no room for it."""
    async with own() as (cluster, fleet):
        api = cluster.here.api
        why = condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")

        def refused(resource: str, item: Json) -> None:
            if resource == PODS:
                api.put(PODS, status_of({"status": {}, **item}, why))

        api.created = refused

        with pytest.raises(Failed) as caught:
            await fleet.ready(cluster.here.clock.now() + 20)

        assert Reason.POD_UNSCHEDULABLE is caught.value.reason


@pytest.mark.parametrize(("seconds", "expected"), [(10, Reason.AGENTS_NOT_READY), (60, Reason.KUBELET_SILENT)])
def test_an_agent_that_has_not_started_yet_is_no_failure_of_its_node(seconds: float, expected: Reason) -> None:
    """A minute is enough for a pod to start, and a short attempt need not be."""

    @virtual
    async def reason() -> Reason:
        async with own() as (cluster, fleet):
            api = cluster.here.api

            def only_bound(resource: str, item: Json) -> None:
                if resource == PODS:
                    api.put(PODS, bound({"status": {}, **item}))

            api.created = only_bound
            with pytest.raises(Failed) as caught:
                await fleet.ready(cluster.here.clock.now() + seconds)
            return caught.value.reason

    assert expected is reason()


@virtual
async def test_an_api_server_that_hangs_does_not_keep_khealth_from_ending() -> None:
    """What is left is for sweeps."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        began = cluster.here.clock.now()
        cluster.here.api.faults.append(hanging("delete"))

    assert cluster.here.clock.now() - began < 20


@virtual
async def test_the_pod_is_restricted_and_valid() -> None:
    """The API server takes it in a namespace that enforces the *restricted* standard."""
    async with own(pod=AgentPodSettings(labels={"team": "platform"})) as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        body = next(asked.body for asked in cluster.here.api.named("create", "pods"))

        kubernetes_validate.validate(body, "1.33", strict=True)
        assert "agent" == body["metadata"]["labels"]["app.kubernetes.io/component"]
        assert "platform" == body["metadata"]["labels"]["team"]
        assert False is body["spec"]["automountServiceAccountToken"]
        assert {"secretName": "khealth-agents-run-1", "optional": True} == body["spec"]["volumes"][0]["secret"]


@virtual
async def test_a_quota_that_is_exceeded_is_what_is_told() -> None:
    """The agents are too many for it."""
    async with own() as (cluster, fleet):
        said = 'pods "khealth-agents-run-1-1" is forbidden: exceeded quota: small'
        cluster.here.api.faults.append(refusing("create", resource="pods", by=refusal(403, said, "Forbidden")))
        with pytest.raises(Failed) as caught:
            await fleet.ready(cluster.here.clock.now() + 20)

        assert Reason.QUOTA_EXCEEDED is caught.value.reason


QUOTA = refusal(403, 'pods "khealth-agents-run-1-4" is forbidden: exceeded quota: small', "Forbidden")
SECRET_NAME = "khealth-agents-run-1"


def refusing_one(verb: str, name: str) -> Any:
    """Return a fault: one pod cannot be changed like this."""

    async def fault(asked: Asked) -> Refusal | None:
        return FORBIDDEN if asked.verb == verb and asked.path.endswith(f"/{name}") else None

    return fault


@virtual
async def test_what_cannot_be_made_keeps_nothing_from_being_renewed() -> None:
    """There is no quota left for one that was lost: the others live on, and so does the Secret."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        cluster.here.api.faults.append(refusing("create", resource="pods", by=QUOTA))
        cluster.here.api.remove(PODS, NAMES[0])
        await asyncio.sleep(7200)
        other = await sweeper_of_another(cluster)

        assert ((), NAMES[1:]) == (other.found(everything=False), alive(cluster))
        assert AgentCount(2, 3) == fleet.count()


@virtual
async def test_what_cannot_be_made_keeps_nothing_from_being_removed() -> None:
    """Evicted agents stay as failed pods otherwise."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        api = cluster.here.api
        quota = refusing("create", resource="pods", by=QUOTA)
        api.faults.append(quota)
        api.put(PODS, status_of(api.objects[PODS][NAMES[2]], phase="Failed"))
        await asyncio.sleep(10)
        assert NAMES[:2] == alive(cluster)

        api.faults.remove(quota)
        await asyncio.sleep(10)
        assert 3 == len(alive(cluster))


@pytest.mark.parametrize("wrong", [FORBIDDEN, UNREACHABLE], ids=["no right", "no answer"])
@virtual
async def test_nodes_that_cannot_be_listed_take_no_agent_away(wrong: Refusal) -> None:
    """It is not known then that there are too many."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        cluster.here.api.faults.append(refusing("list", resource="nodes", by=wrong))
        await asyncio.sleep(900)
        assert (NAMES, []) == (alive(cluster), cluster.here.api.named("delete", PODS))


@virtual
async def test_a_secret_that_was_deleted_is_made_again() -> None:
    """It is the same one: agents that run have it, and they are asked all the time."""
    async with own() as (cluster, fleet):
        found = await fleet.ready(cluster.here.clock.now() + 20)
        secrets = cluster.here.api.objects["secrets"]
        before = secrets[SECRET_NAME]["data"]
        for fault in ([], [refusing("create", resource="pods", by=QUOTA)]):
            cluster.here.api.faults += fault
            cluster.here.api.remove("secrets", SECRET_NAME)
            await asyncio.sleep(300)

            assert before == secrets[SECRET_NAME]["data"]
        deadline = cluster.here.clock.now() + 20
        assert len(NAMES) == len((await fleet.ask(found, "dns", lambda _agent: {}, deadline)).told)
        await asyncio.sleep(7200)
        assert () == (await sweeper_of_another(cluster)).found(everything=False)

    assert {} == secrets


@virtual
async def test_agents_that_begin_again_have_another_secret() -> None:
    """That of the earlier ones was deleted with them."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        before = cluster.here.api.objects["secrets"][SECRET_NAME]["data"]
        fleet.want(AgentsSettings(channel="proxy"), "khealth:test", needed=False)
        await asyncio.sleep(10)
        fleet.want(AgentsSettings(channel="proxy"), "khealth:test", needed=True)
        await fleet.ready(cluster.here.clock.now() + 20)

        assert before != cluster.here.api.objects["secrets"][SECRET_NAME]["data"]


@virtual
async def test_an_agent_that_cannot_be_renewed_keeps_no_other_from_it() -> None:
    """A webhook may refuse the first one; the others are not patched again and again."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        cluster.here.api.faults.append(refusing_one("patch", NAMES[0]))
        await asyncio.sleep(7200)
        other = await sweeper_of_another(cluster)

        assert [f"Pod/{NAMES[0]}"] == [str(found) for found in other.found(everything=False)]
        assert 7200 / 100 > len([one for one in cluster.here.api.named("patch") if one.path.endswith(NAMES[1])])


@virtual
async def test_an_agent_that_cannot_be_removed_keeps_no_other_from_it() -> None:
    """It is replaced once it can be."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        stuck = refusing_one("delete", NAMES[0])
        cluster.here.api.faults.append(stuck)
        fleet.want(AgentsSettings(channel="proxy"), "khealth:next", needed=True)
        await asyncio.sleep(20)
        assert [NAMES[0], "khealth-agents-run-1-4", "khealth-agents-run-1-5"] == alive(cluster)

        cluster.here.api.faults.remove(stuck)
        await asyncio.sleep(20)
        assert [f"khealth-agents-run-1-{number}" for number in (4, 5, 6)] == alive(cluster)


@virtual
async def test_an_agent_that_the_watch_has_not_shown_is_replaced_too() -> None:
    """A reload came just after it was made."""
    async with own() as (cluster, fleet):
        api = cluster.here.api
        waiting = asyncio.ensure_future(fleet.ready(cluster.here.clock.now() + 60))
        while not api.objects.get(PODS):
            await asyncio.sleep(0.001)
            for stream in api.open_streams("pods"):
                stream.hushed = True
        fleet.want(AgentsSettings(channel="proxy"), "khealth:next", needed=True)
        await asyncio.sleep(2)
        for stream in api.open_streams("pods"):
            stream.end()
        await waiting
        await asyncio.sleep(20)

        assert_all_are_next(cluster)


@virtual
async def test_an_agent_that_cannot_be_removed_leaves_nothing_else_at_the_end() -> None:
    """It is left to sweeps."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        api = cluster.here.api
        api.faults.append(refusing_one("delete", NAMES[0]))

    assert ([NAMES[0]], {}) == (sorted(api.objects[PODS]), api.objects["secrets"])


@virtual
async def test_an_api_server_that_is_down_does_not_delay_the_end() -> None:
    """Nothing is asked twice."""
    async with own() as (cluster, fleet):
        await fleet.ready(cluster.here.clock.now() + 20)
        cluster.here.api.faults.append(refusing("delete", "get", "patch", by=UNREACHABLE))
        began = cluster.here.clock.now()

    assert cluster.here.clock.now() - began < 5
