"""Requests for any kind, and waiting for what they bring about."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakes import FORBIDDEN, Asked, FakeApi, Telemetered, refusing
from virtual_time import BEGINNING, virtual, virtual_clock

from khealth_exporter.canaries.facts import EVENT_PAGES, list_events, list_nodes
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP, ENDPOINT_SLICE, NODE, POD, REPLICATION_CONTROLLER, Kind
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.cluster.watch.watches import Watches
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

DEADLINE = BEGINNING + 20.0


async def garbled(asked: Asked) -> Answer | None:
    return Answer(200, b"<html>\xff", 0.0, 0.0, 0.0, 1, None) if asked.verb in ("get", "list") else None


def cluster_of(api: FakeApi) -> Cluster:
    telemetry = Telemetered(api.clock).metrics
    return Cluster(api, Identity("run", "khealth"), api.clock, telemetry, random.Random(1))


@virtual
async def test_nodes_that_cannot_be_read_are_unknown() -> None:
    """As if they were forbidden: they only sharpen a verdict."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    cluster = cluster_of(api)
    assert (None, []) == (await list_nodes(cluster, DEADLINE), await list_events(cluster, DEADLINE))


@virtual
async def test_a_controller_that_cannot_be_read_is_an_error_of_the_api() -> None:
    """And no bug of khealth's."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    with pytest.raises(Failed) as raised:
        await cluster_of(api).get(REPLICATION_CONTROLLER, "c", DEADLINE)
    assert Reason.API_ERROR is raised.value.reason


@virtual
async def test_pods_that_cannot_be_read_are_an_error_of_the_api() -> None:
    """Nobody is blamed on such a list."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    with pytest.raises(Failed) as raised:
        await cluster_of(api).list(POD, DEADLINE, labels="a=b")
    assert Reason.API_ERROR is raised.value.reason


@virtual
async def test_pods_are_listed_page_by_page() -> None:
    """All of them, however many."""
    api = FakeApi(virtual_clock(), page=2)
    for name in "abcde":
        api.put("pods", {"metadata": {"name": name}})
    assert list("abcde") == [pod.name for pod in await cluster_of(api).list(POD, DEADLINE)]


@virtual
async def test_events_are_read_up_to_a_bound() -> None:
    """Evidence must not cost more than what it is for."""
    api = FakeApi(virtual_clock(), page=1)
    for number in range(20):
        api.put("events", {"metadata": {"name": f"e{number}"}})
    found = await list_events(cluster_of(api), DEADLINE)
    assert (EVENT_PAGES, EVENT_PAGES) == (len(found), len(api.asked))


@virtual
async def test_waiting_looks_again_at_each_change() -> None:
    """A condition that comes true is seen when something changes, and at the deadline in any case."""
    signal = Signal()
    facts: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, facts.append, "true")
    loop.call_later(2.0, signal.fire)
    seen = await signal.until(lambda: bool(facts), BEGINNING + 10.0)
    assert (True, BEGINNING + 2.0) == (seen, asyncio.get_running_loop().time())


@virtual
async def test_waiting_looks_a_last_time_at_the_deadline() -> None:
    """Whatever became true without anyone saying so."""
    signal = Signal()
    facts: list[str] = []
    asyncio.get_running_loop().call_later(1.0, facts.append, "true")
    assert await signal.until(lambda: bool(facts), BEGINNING + 10.0)
    assert BEGINNING + 10.0 == asyncio.get_running_loop().time()


def permissions(found: Iterable[Permission]) -> list[str]:
    return [f"{'optional ' if p.optional else ''}{p.verb} {p.scope}" for p in found]


def test_rights_follow_from_what_is_done_with_a_kind() -> None:
    """What is created must be found, deleted and swept; nodes belong to no namespace."""
    assert ["create namespace", "get namespace", "delete namespace"] == permissions(POD.to_make(watched=True))
    assert "list namespace" == permissions(CONFIG_MAP.to_make(watched=False))[-1]
    assert ["list namespace", "watch namespace"] == permissions(POD.to_watch())
    assert ["optional list cluster"] == permissions(NODE.to_read())


def test_a_kind_knows_its_path_and_version() -> None:
    """With and without a group, of a namespace or of the whole cluster."""
    paths = CONFIG_MAP.path("n", "x"), NODE.path("n"), ENDPOINT_SLICE.path("default")
    expected = (
        "/api/v1/namespaces/n/configmaps/x",
        "/api/v1/nodes",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    )
    assert (expected, "discovery.k8s.io/v1") == (paths, ENDPOINT_SLICE.api_version)


@asynccontextmanager
async def watched(api: FakeApi, *kinds: Kind[Any]) -> AsyncIterator[Watches]:
    """Watch these kinds until the block ends."""
    watches = cluster_of(api).watches
    watches.need(kinds)
    running = asyncio.create_task(watches.run())
    try:
        yield watches
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait({running})


@virtual
async def test_a_kind_is_watched_while_it_is_needed() -> None:
    """A watch that nobody needs costs the API server nothing."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD, CONFIG_MAP) as watches:
        await watches.see((POD, CONFIG_MAP), DEADLINE)
        watches.need((POD,))
        await asyncio.sleep(5.0)
        assert ["pods"] == [stream.asked.resource for stream in api.open_streams()]


@virtual
async def test_a_kind_that_is_needed_again_is_watched_again() -> None:
    """A reload may take a routine away and bring it back."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD) as watches:
        await watches.see((POD,), DEADLINE)
        watches.need(())
        await asyncio.sleep(5.0)
        watches.need((POD,))
        await watches.see((POD,), DEADLINE)
        assert 1 == len(api.open_streams("pods"))


@virtual
async def test_a_watch_that_an_attempt_follows_stays_until_the_attempt_ends() -> None:
    """The attempt still has to see its objects go."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD) as watches:
        await watches.see((POD,), DEADLINE)
        following = watches.of(POD).subscribe(("m", "r", "run", "1"), Signal())
        watches.need(())
        await asyncio.sleep(60.0)
        assert 1 == len(api.open_streams("pods"))
        following.close()
        await asyncio.sleep(5.0)
        assert [] == api.open_streams()


@virtual
async def test_a_forbidden_watch_blinds_no_routine_that_follows_another_kind() -> None:
    """Each routine waits for its own kinds alone."""
    api = FakeApi(virtual_clock())
    api.faults.append(refusing("list", "watch", resource="configmaps", by=FORBIDDEN))
    async with watched(api, POD, CONFIG_MAP) as watches:
        await watches.see((POD,), DEADLINE)
        assert (True, False) == (watches.live((POD,)), watches.live((CONFIG_MAP,)))
        with pytest.raises(Refused):
            await watches.see((CONFIG_MAP,), DEADLINE)


@virtual
async def test_a_relist_of_another_kind_is_no_gap() -> None:
    """Nothing of the kind that a routine follows went unseen."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD, CONFIG_MAP) as watches:
        await watches.see((POD, CONFIG_MAP), DEADLINE)
        api.compact()
        api.version += 1
        api.compact()
        for stream in api.open_streams("configmaps"):
            stream.end()
        await asyncio.sleep(10.0)
        assert (0, 1) == (watches.gaps((POD,)), watches.gaps((CONFIG_MAP,)))
