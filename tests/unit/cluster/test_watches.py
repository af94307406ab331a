"""Watches by need: a kind is watched while a routine needs it, and troubles no routine of other kinds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from fakes import FORBIDDEN, FakeApi, Telemetered, cluster_of, refusing
from virtual_time import BEGINNING, virtual, virtual_clock

from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP, NODE, POD, Kind
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.cluster.watch.watches import Watches

DEADLINE = BEGINNING + 20.0


@asynccontextmanager
async def watched(api: FakeApi, *kinds: Kind[Any], figures: Telemetered | None = None) -> AsyncIterator[Watches]:
    """Watch these kinds until the block ends."""
    watches = cluster_of(api, figures).watches
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
async def test_what_khealth_did_not_create_is_not_counted() -> None:
    """`khealth_objects` is for its own objects; nodes are the cluster's."""
    api = FakeApi(virtual_clock())
    figures = Telemetered(api.clock)
    api.put("nodes", {"metadata": {"name": "node-1"}})
    async with watched(api, POD, NODE, figures=figures) as watches:
        await watches.see((POD, NODE), DEADLINE)
        api.put("nodes", {"metadata": {"name": "node-2"}})
        await asyncio.sleep(1.0)
        counted = [figures.value("khealth_objects", kind=kind.name) for kind in (POD, NODE)]
        assert (2, [0.0, None]) == (len(watches.of(NODE).objects), counted)


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


@virtual
async def test_a_kind_that_no_routine_needs_has_no_watch() -> None:
    """The routine has not declared it."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD) as watches:
        with pytest.raises(KeyError):
            watches.of(CONFIG_MAP)


@virtual
async def test_routines_share_the_watch_of_a_kind() -> None:
    """However many need it, and however often they say so."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD, POD) as watches:
        await watches.see((POD,), DEADLINE)
        watches.need((POD, CONFIG_MAP, POD))
        await watches.see((POD, CONFIG_MAP), DEADLINE)
        assert ["pods", "configmaps"] == [stream.asked.resource for stream in api.open_streams()]


@virtual
async def test_a_followed_watch_that_is_needed_again_is_not_interrupted() -> None:
    """A reload that takes a routine away and brings it back while its attempt ends costs no new list."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD) as watches:
        await watches.see((POD,), DEADLINE)
        following = watches.of(POD).subscribe(("m", "r", "run", "1"), Signal())
        watches.need(())
        await asyncio.sleep(5.0)
        watches.need((POD,))
        following.close()
        await asyncio.sleep(5.0)
        assert (1, 1) == (len(api.named("list")), len(api.named("watch")))


@virtual
async def test_a_watch_that_crashes_stops_no_other() -> None:
    """It is an internal error: it starts again, and what may have gone unseen counts as a gap of its kind alone."""
    api = FakeApi(virtual_clock())
    async with watched(api, POD, CONFIG_MAP) as watches:
        await watches.see((POD, CONFIG_MAP), DEADLINE)
        (stream,) = api.open_streams("configmaps")
        stream.feed(cast("bytes", 1))
        await asyncio.sleep(5.0)
        assert (0, 1) == (watches.gaps((POD,)), watches.gaps((CONFIG_MAP,)))
        assert watches.live((POD, CONFIG_MAP))
