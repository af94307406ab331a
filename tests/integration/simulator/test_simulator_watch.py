"""Watches: where they begin, what they show, how they end."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from integration.simulator.simulator_client import BOUND, LEASES, NAMESPACE, Client, overtaken

from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.simulator.settings import Delay, Delays


def lease(name: str, **labels: str) -> dict[str, object]:
    """Return a Lease."""
    return {"metadata": {"name": name, "labels": labels}, "spec": {"holderIdentity": "x"}}


@pytest.fixture
async def hasty() -> AsyncIterator[tuple[Simulator, Client]]:
    """Run a cluster with frequent bookmarks and a short history."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=50.0, bookmark_interval=0.05, history_limit=8)
    async with Simulator(settings) as simulator, aiohttp.ClientSession() as session:
        yield simulator, Client(session, simulator.url)


async def test_watch_without_revision_begins_with_the_present(client: Client) -> None:
    """What exists is ADDED first."""
    await client.post(LEASES, lease("a"))
    async with client.watch(LEASES) as watcher:
        event = await watcher.next()
        assert (event["type"], event["object"]["metadata"]["name"], event["object"]["kind"]) == ("ADDED", "a", "Lease")
        await client.post(LEASES, lease("b"))
        assert (await watcher.next())["object"]["metadata"]["name"] == "b"


async def test_watch_resumes_after_its_revision(client: Client) -> None:
    """The revision itself is not shown again, and nothing after it is left out."""
    await client.post(LEASES, lease("a"))
    revision = (await client.get(LEASES)).body["metadata"]["resourceVersion"]
    await client.patch(f"{LEASES}/a", {"spec": {"holderIdentity": "y"}})
    await client.delete(f"{LEASES}/a")
    async with client.watch(LEASES, resourceVersion=revision) as watcher:
        events = [await watcher.next(), await watcher.next()]
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert int(revision) < revisions[0] < revisions[1]


async def test_leaving_and_entering_a_selector(client: Client) -> None:
    """Leaving is a deletion with the event's revision and the last state that was seen; entering an addition."""
    made = (await client.post(LEASES, lease("a", app="x"))).body
    async with client.watch(
        LEASES, labelSelector="app=x", resourceVersion=made["metadata"]["resourceVersion"]
    ) as watcher:
        changed = (await client.patch(f"{LEASES}/a", {"metadata": {"labels": {"app": "y"}}})).body
        left = await watcher.next()
        await client.patch(f"{LEASES}/a", {"metadata": {"labels": {"app": "x"}}})
        entered = await watcher.next()
    assert (left["type"], left["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x"})
    assert changed["metadata"]["resourceVersion"] == left["object"]["metadata"]["resourceVersion"]
    assert entered["type"] == "ADDED"


async def test_watch_ends_cleanly_after_its_time(client: Client) -> None:
    """After timeoutSeconds the stream ends, with a bookmark shortly before."""
    revision = (await client.get(LEASES)).body["metadata"]["resourceVersion"]
    async with client.watch(
        LEASES, timeoutSeconds="3", allowWatchBookmarks="true", resourceVersion=revision
    ) as watcher:
        assert (await watcher.next())["type"] == "BOOKMARK"
        with pytest.raises(EOFError):
            await watcher.next()


async def test_bookmarks_come_at_their_interval(hasty: tuple[Simulator, Client]) -> None:
    """They carry a revision from which nothing was missed; the first one ends the initial events."""
    _, client = hasty
    async with client.watch(LEASES, allowWatchBookmarks="1", timeoutSeconds="60") as watcher:
        first = await watcher.next()
        second = await watcher.next()
        assert [first["type"], second["type"]] == ["BOOKMARK", "BOOKMARK"]
        assert first["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        made = (await client.post(LEASES, lease("a"))).body
        added = await watcher.until(lambda event: event["type"] == "ADDED")
        assert added["object"] == made
        later = await watcher.next()
    assert int(later["object"]["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])


async def test_no_bookmarks_unless_asked_for(hasty: tuple[Simulator, Client]) -> None:
    """A watch without allowWatchBookmarks shows changes alone."""
    _, client = hasty
    async with client.watch(LEASES) as watcher:
        with pytest.raises(TimeoutError):
            await watcher.next(0.3)


async def test_old_revisions_are_gone(hasty: tuple[Simulator, Client]) -> None:
    """A revision that the history no longer reaches is answered 200 and an ERROR event 410."""
    _, client = hasty
    first = (await client.post(LEASES, lease("a"))).body["metadata"]["resourceVersion"]
    for number in range(20):
        await client.patch(f"{LEASES}/a", {"spec": {"holderIdentity": str(number)}})
    async with client.watch(LEASES, resourceVersion=first) as watcher:
        event = await watcher.next()
        with pytest.raises(EOFError):
            await watcher.next()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith(f"too old resource version: {first} (")


async def test_compaction_spares_open_watches(client: Client, simulator: Simulator) -> None:
    """Only resuming is hurt."""
    revision = (await client.get(LEASES)).body["metadata"]["resourceVersion"]
    async with client.watch(LEASES, resourceVersion=revision) as watcher:
        await client.post(LEASES, lease("a"))
        assert (await watcher.next())["type"] == "ADDED"
        simulator.begin("watch-gone")
        await client.post(LEASES, lease("b"))
        assert (await watcher.next())["object"]["metadata"]["name"] == "b"
    async with client.watch(LEASES, resourceVersion=revision) as watcher:
        assert (await watcher.next())["type"] == "ERROR"


async def test_future_revision_is_answered_and_silent(client: Client) -> None:
    """As after an etcd restore: 200, and then nothing."""
    async with client.watch(LEASES, resourceVersion="99999999") as watcher:
        assert watcher.response.status == 200
        await client.post(LEASES, lease("a"))
        with pytest.raises(TimeoutError):
            await watcher.next(0.2)


async def test_cut_watches_break_off(client: Client, simulator: Simulator) -> None:
    """The stream has no end: the client sees an error."""
    async with client.watch(LEASES) as watcher:
        simulator.begin("watch-cut")
        with pytest.raises(aiohttp.ClientPayloadError):
            await watcher.next()
    assert simulator.faults == ()


async def test_silent_watches_stay_dead(client: Client, simulator: Simulator) -> None:
    """Even when the fault has ended; a new watch is alive."""
    async with client.watch(LEASES) as watcher:
        simulator.begin("watch-silent")
        await client.post(LEASES, lease("a"))
        simulator.end("watch-silent")
        async with client.watch(LEASES) as fresh:
            assert (await fresh.next())["type"] == "ADDED"
        with pytest.raises(TimeoutError):
            await watcher.next(0.2)


async def test_bindings_may_overtake_the_answer() -> None:
    """Order is not given: a watcher may see the pod bound before the create is answered."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), delays=Delays(answer=Delay(0.5, 0.0)))
    async with Simulator(settings) as simulator, aiohttp.ClientSession() as session:
        await overtaken(Client(session, simulator.url), lambda found: bool(found["spec"].get("nodeName")))


async def test_a_slow_watcher_costs_nothing(hasty: tuple[Simulator, Client]) -> None:
    """What a reader does not read is not kept for it: it falls behind the history and is told 410."""
    _, client = hasty
    large = {"metadata": {"name": "large"}, "data": {"x": "y" * 500_000}}
    maps = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    async with client.watch(maps, resourceVersion="0") as watcher:
        await client.post(maps, large)
        for number in range(40):
            await client.patch(f"{maps}/large", {"data": {"n": str(number)}})
        async with asyncio.timeout(BOUND):
            told = await watcher.response.content.read()
    lines = told.splitlines()
    assert lines[-1].startswith(b'{"type":"ERROR"')
    assert len(lines) < 40
