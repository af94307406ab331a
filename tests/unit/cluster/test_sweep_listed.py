"""Sweeping kinds that no watch shows: by a list at the start, after a failed cleanup, and every few minutes."""

import asyncio

from fakes import FORBIDDEN, UNAVAILABLE, Asked, refusing
from sweeping import CONTROLLERS, MAPS, WATCHED, made, world
from virtual_time import virtual

from khealth_exporter.cluster.kinds import CONFIG_MAP
from khealth_exporter.cluster.sweep import LISTING


@virtual
async def test_a_kind_that_is_not_watched_is_listed_at_the_start() -> None:
    """Nothing else would show what a dead run left of it."""
    async with world() as here:
        here.api.put(MAPS, made(age="0"))
        await asyncio.sleep(1.0)
        assert [] == await here.sweep()
        assert 1.0 == here.figures.value("khealth_swept_objects_total", kind="ConfigMap")


@virtual
async def test_a_kind_that_is_not_watched_is_listed_now_and_then() -> None:
    """Every few minutes, and not at every sweep."""
    async with world() as here:
        sweeping = asyncio.create_task(here.sweeper.run())
        await asyncio.sleep(3 * LISTING + 1.0)
        sweeping.cancel()
        assert 4 == len([asked for asked in here.api.named("list") if asked.resource == MAPS])


@virtual
async def test_a_kind_that_is_not_watched_is_listed_after_a_cleanup_that_failed() -> None:
    """At the next sweep."""
    async with world() as here:
        await here.sweep()
        here.api.put(MAPS, made("ourrun"))
        assert ["khealth-a-ourrun-1"] == await here.sweep()
        here.cluster.suspects.add(CONFIG_MAP)
        assert [] == await here.sweep()


@virtual
async def test_what_a_living_attempt_has_of_a_kind_that_is_not_watched_is_untouched() -> None:
    """The attempt itself deletes it; what the list showed of it is no leftover afterwards."""
    async with world() as here:
        here.cluster.active.add(("a", "a", "ourrun", "1"))
        here.api.put(MAPS, made("ourrun"))
        assert ["khealth-a-ourrun-1"] == await here.sweep()


@virtual
async def test_a_kind_that_may_not_be_listed_stops_no_other() -> None:
    """Its sweep waits for the right; the watched kinds are swept."""
    async with world() as here:
        here.api.faults.append(refusing("list", resource=MAPS, by=FORBIDDEN))
        here.api.put(CONTROLLERS, made(age="0"))
        await asyncio.sleep(1.0)
        assert [] == await here.sweep()


@virtual
async def test_what_a_list_showed_of_a_living_attempt_is_not_deleted_after_it() -> None:
    """The attempt has deleted it itself: the list is old news, and a request for it is wasted."""
    async with world() as here:
        key = ("a", "a", "ourrun", "1")
        here.cluster.active.add(key)
        here.api.put(MAPS, made("ourrun"))
        await here.sweep()
        here.api.remove(MAPS, "khealth-a-ourrun-1")
        here.cluster.active.discard(key)
        await here.sweep()
        assert [] == here.deletions


@virtual
async def test_a_list_that_fails_is_taken_again_at_the_next_sweep() -> None:
    """An API server that is away when khealth starts hides nothing for minutes."""
    async with world() as here:
        here.api.put(MAPS, made(age="0"))
        await asyncio.sleep(1.0)
        here.api.faults.append(refusing("list", resource=MAPS, by=UNAVAILABLE))
        await here.sweep()
        here.api.faults.clear()
        assert [] == await here.sweep()


@virtual
async def test_a_cleanup_that_fails_while_its_kind_is_listed_is_not_missed() -> None:
    """The list may be older than the failure."""
    async with world() as here:
        key = ("a", "a", "ourrun", "1")
        here.cluster.active.add(key)
        here.api.put(MAPS, made("ourrun"))

        async def closing(asked: Asked) -> None:
            if asked.resource == MAPS and asked.verb == "list":
                here.cluster.active.discard(key)
                here.cluster.suspects.add(CONFIG_MAP)

        here.api.faults.append(closing)
        await here.sweep()
        here.api.faults.clear()
        assert [] == await here.sweep()


@virtual
async def test_a_list_that_is_denied_is_not_asked_for_at_every_sweep() -> None:
    """A missing permission rarely comes back."""
    async with world() as here:
        here.api.faults.append(refusing("list", resource=MAPS, by=FORBIDDEN))
        for _ in range(5):
            await here.sweep()
        assert 1 == len(here.api.named("list", MAPS))


@virtual
async def test_look_lists_what_no_watch_shows() -> None:
    """`khealth sweep` sees every kind before it says what there is to delete."""
    async with world() as here:
        here.api.put(MAPS, made(age="0"))
        await asyncio.sleep(1.0)
        await here.sweeper.look(here.cluster.clock.now() + 5.0)
        assert ["ConfigMap/khealth-a-otherrun-1"] == [str(found) for found in here.sweeper.found(everything=False)]


@virtual
async def test_clear_lists_what_no_watch_shows() -> None:
    """It waits until the list shows that all is gone."""
    async with world() as here:
        here.api.put(MAPS, made(age="0"))
        await asyncio.sleep(1.0)
        deadline = here.cluster.clock.now() + 60.0
        await here.sweeper.look(deadline)
        assert ((), []) == (await here.sweeper.clear(here.sweeper.found(everything=False), deadline), here.left)


@virtual
async def test_a_kind_that_is_not_covered_any_more_is_not_swept() -> None:
    """No routine makes it, so khealth may lack the rights."""
    async with world() as here:
        here.api.put(MAPS, made(age="0"))
        await asyncio.sleep(1.0)
        here.sweeper.cover(WATCHED)
        assert ["khealth-a-otherrun-1"] == await here.sweep()
