"""Sweeping kinds that no watch shows: by a list at the start, after a failed cleanup, and every few minutes."""

import asyncio

import pytest
from fakes import FORBIDDEN, UNAVAILABLE, Asked, refusing
from sweeping import CONTROLLERS, MAPS, WATCHED, made, world
from virtual_time import virtual

from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP
from khealth_exporter.cluster.sweep import LISTING, OVERDUE, PERIOD


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


KEY = ("a", "a", "ourrun", "1")


@virtual
async def test_a_dropped_kind_is_swept_while_its_last_attempt_cleans_up() -> None:
    """A reload drops the routine at once, but its cleanup may still fail."""
    async with world() as here:
        here.cluster.active.add(KEY)
        here.api.put(MAPS, made("ourrun"))
        await here.sweep()
        here.sweeper.cover(WATCHED)
        assert ["khealth-a-ourrun-1"] == await here.sweep()
        here.cluster.active.discard(KEY)
        assert [] == await here.sweep()


@virtual
async def test_a_dropped_kind_is_swept_after_a_cleanup_that_failed() -> None:
    """Also where the attempt claimed its objects only after the reload."""
    async with world() as here:
        here.sweeper.cover(WATCHED)
        for _ in range(3):
            await here.sweep()
        here.api.put(MAPS, made("ourrun"))
        here.cluster.suspects.add(CONFIG_MAP)
        assert [] == await here.sweep()


@virtual
async def test_a_dropped_kind_is_swept_until_its_leftovers_are_gone() -> None:
    """A finalizer may hold one for long."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(MAPS, made("ourrun"))
        here.sweeper.cover(WATCHED)
        sweeping = asyncio.create_task(here.sweeper.run())
        await asyncio.sleep(2 * LISTING)
        here.api.deleted = lambda _resource, _item, _options: True
        await asyncio.sleep(LISTING + 1.0)
        sweeping.cancel()
        assert [] == here.left


@virtual
async def test_a_dropped_kind_is_listed_again_after_a_list_that_failed() -> None:
    """No answer does not prove that nothing is left."""
    async with world() as here:
        here.sweeper.cover(WATCHED)
        here.api.put(MAPS, made("ourrun"))
        here.api.faults.append(refusing("list", resource=MAPS, by=UNAVAILABLE))
        await here.sweep()
        here.api.faults.clear()
        assert [] == await here.sweep()


@virtual
async def test_a_dropped_kind_that_may_not_be_listed_is_swept_once_the_right_is_back() -> None:
    """Until then, it is listed as rarely as any other."""
    async with world() as here:
        here.sweeper.cover(WATCHED)
        here.api.put(MAPS, made("ourrun"))
        here.api.faults.append(refusing("list", resource=MAPS, by=FORBIDDEN))
        sweeping = asyncio.create_task(here.sweeper.run())
        await asyncio.sleep(LISTING - 1.0)
        asked = len(here.api.named("list", MAPS))
        here.api.faults.clear()
        await asyncio.sleep(2 * PERIOD)
        sweeping.cancel()
        assert (1, []) == (asked, here.left)


@virtual
async def test_a_dropped_kind_of_which_nothing_is_left_is_not_listed_any_more() -> None:
    """No routine creates it, so khealth may lose the rights."""
    async with world() as here:
        here.api.put(MAPS, made())  # A living neighbour's object is no leftover.
        await here.sweep()
        here.sweeper.cover(WATCHED)
        sweeping = asyncio.create_task(here.sweeper.run())
        await asyncio.sleep(3 * LISTING)
        sweeping.cancel()
        assert 2 == len(here.api.named("list", MAPS))


@virtual
async def test_a_dropped_kind_that_was_watched_is_swept_by_a_list() -> None:
    """Its watch ends with its last attempt."""
    async with world() as here:
        here.cluster.watches.need(())
        here.sweeper.cover(())
        await asyncio.sleep(2.0)
        here.api.put(CONTROLLERS, made("ourrun"))
        await here.sweep()
        assert [] == await here.sweep()


@virtual
async def test_a_kind_that_is_wanted_again_is_swept_again() -> None:
    """A reload may take a routine away and bring it back."""
    async with world() as here:
        for kinds in (WATCHED, (*WATCHED, CONFIG_MAP)):
            here.sweeper.cover(kinds)
            for _ in range(3):
                await here.sweep()
        sweeping = asyncio.create_task(here.sweeper.run())
        here.api.put(MAPS, made("ourrun"))
        await asyncio.sleep(LISTING + 1.0)
        sweeping.cancel()
        assert [] == here.left


@virtual
async def test_objects_of_a_dropped_kind_have_no_series() -> None:
    """An alert on old figures would never end."""
    async with world() as here:
        await here.sweep()
        before = [here.figures.value("khealth_objects", kind=kind) for kind in ("Pod", "ConfigMap")]
        here.cluster.watches.need(())
        here.sweeper.cover(())
        await asyncio.sleep(2.0)
        await here.sweep()
        after = [here.figures.value("khealth_objects", kind=kind) for kind in ("Pod", "ConfigMap")]
        assert ([0.0, 0.0], [None, None]) == (before, after)


@virtual
async def test_a_list_from_before_a_watch_does_not_outlive_it() -> None:
    """What it showed may be gone since."""
    async with world() as here:
        here.api.put(MAPS, made())
        await here.sweep()
        here.cluster.watches.need((*WATCHED, CONFIG_MAP))
        await here.sweep()
        here.api.remove(MAPS, "khealth-a-otherrun-1")
        here.cluster.watches.need(WATCHED)
        await asyncio.sleep(2.0)
        await here.sweep()
        assert () == here.sweeper.found(everything=True)


@virtual
async def test_a_listed_leftover_with_a_finalizer_is_counted_once() -> None:
    """It stays in the list, with its deletion requested."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(MAPS, made("ourrun"))
        for _ in range(10):
            await here.sweep()
            await asyncio.sleep(PERIOD)
        assert 1.0 == here.figures.value("khealth_swept_objects_total", kind="ConfigMap")


@virtual
async def test_a_listed_leftover_is_counted_once_though_a_list_fails() -> None:
    """A list that fails does not prove that it is gone."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(MAPS, made("ourrun"))
        await here.sweep()
        here.api.faults.append(refusing("list", resource=MAPS, by=UNAVAILABLE))
        await asyncio.sleep(OVERDUE)
        await here.sweep()
        here.api.faults.clear()
        await here.sweep()
        assert 1.0 == here.figures.value("khealth_swept_objects_total", kind="ConfigMap")


@virtual
async def test_a_watched_leftover_is_counted_once_though_its_watch_begins_again() -> None:
    """A watch that has not listed yet does not prove that it is gone."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(CONTROLLERS, made("ourrun"))
        await here.sweep()
        here.cluster.watches.need(())
        await asyncio.sleep(OVERDUE + 2.0)
        here.cluster.watches.need(WATCHED)
        await here.sweeper.sweep()
        await here.sweep()
        assert 1.0 == here.figures.value("khealth_swept_objects_total", kind="ReplicationController")


@virtual
async def test_a_look_fails_only_for_a_kind_that_is_needed() -> None:
    """What a routine may have left that is off, khealth may have no right to see."""
    async with world() as here:
        here.api.faults.append(refusing("list", resource=MAPS, by=FORBIDDEN))
        deadline = here.cluster.clock.now() + 5.0
        await here.sweeper.look(deadline, needed=())
        with pytest.raises(Refused, match="forbidden"):
            await here.sweeper.look(deadline, needed=(CONFIG_MAP,))
