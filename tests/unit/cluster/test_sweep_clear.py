"""`khealth sweep`: what it finds, and how it waits until that is gone."""

import asyncio

import pytest
from fakes import FORBIDDEN, refusing
from sweeping import CONTROLLERS, PODS, made, pod_of, world
from virtual_time import virtual

from khealth_exporter.cluster.sweep import Leftover
from khealth_exporter.vocabulary.reason import Reason


@virtual
async def test_found_names_what_would_be_deleted() -> None:
    """A dry run deletes nothing."""
    async with world() as here:
        item = here.api.put(CONTROLLERS, made("ourrun"))
        await asyncio.sleep(0.1)
        expected = Leftover("ReplicationController", "khealth-a-ourrun-1", item["metadata"]["uid"])
        assert (expected,) == here.sweeper.found(everything=False)
        assert ("ReplicationController/khealth-a-ourrun-1", []) == (str(expected), here.deletions)


@virtual
async def test_everything_is_a_living_neighbours_too() -> None:
    """`--all` takes whatever a khealth made, whatever its age."""
    async with world() as here:
        here.api.put(CONTROLLERS, made())
        await asyncio.sleep(0.1)
        assert ((), 1) == (here.sweeper.found(everything=False), len(here.sweeper.found(everything=True)))


@virtual
async def test_clear_waits_until_all_is_gone() -> None:
    """The controller's pods too, though they were not named."""
    async with world() as here:
        controller = here.api.put(CONTROLLERS, made("ourrun"))
        name = pod_of(controller)["metadata"]["name"]
        here.api.put(PODS, pod_of(controller))
        here.api.deleted = lambda resource, _item, _options: resource == CONTROLLERS
        asyncio.get_running_loop().call_later(5.0, here.api.remove, PODS, name)
        await asyncio.sleep(0.1)
        began = here.cluster.clock.now()
        left = await here.sweeper.clear(here.sweeper.found(everything=False), began + 60.0)
        assert ((), [], True) == (left, here.left, 4.0 < here.cluster.clock.now() - began < 6.0)


@virtual
async def test_clear_returns_what_is_left_at_the_deadline() -> None:
    """Objects that do not go are named, and the wait ends."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(CONTROLLERS, made("ourrun"))
        await asyncio.sleep(0.1)
        began = here.cluster.clock.now()
        left = await here.sweeper.clear(here.sweeper.found(everything=False), began + 7.0)
        assert (["ReplicationController/khealth-a-ourrun-1"], 7.0) == (
            [str(item) for item in left],
            here.cluster.clock.now() - began,
        )


@virtual
async def test_clear_takes_an_overdue_pod_with_grace_0() -> None:
    """A dead node does not keep the namespace full."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, options: options.get("gracePeriodSeconds") == 0
        here.api.put(PODS, made("ourrun", name="stuck"))
        await asyncio.sleep(0.1)
        assert () == await here.sweeper.clear(here.sweeper.found(everything=False), here.cluster.clock.now() + 60.0)


@virtual
async def test_clear_raises_what_forbids_it() -> None:
    """Without the right to delete, waiting is in vain."""
    async with world() as here:
        here.api.put(CONTROLLERS, made("ourrun"))
        here.api.faults.append(refusing("delete", by=FORBIDDEN))
        await asyncio.sleep(0.1)
        with pytest.raises(Exception, match="cannot list") as raised:
            await here.sweeper.clear(here.sweeper.found(everything=False), here.cluster.clock.now() + 60.0)
        assert Reason.FORBIDDEN is getattr(raised.value, "reason", None)
