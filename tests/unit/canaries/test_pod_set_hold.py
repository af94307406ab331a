"""Pods that were Ready: what fails the hold, and what only looks like it."""

import asyncio
from typing import Any

import pytest
from canary_attempt import Attempt
from documents import node
from fakes import FORBIDDEN, UNAVAILABLE, UNREACHABLE, refusing
from small_cluster import CONTROLLERS, PODS, scene
from virtual_time import virtual

from khealth_exporter.cluster.kinds import CONFIG_MAP, POD, REPLICATION_CONTROLLER
from khealth_exporter.vocabulary.reason import Reason


@virtual
async def test_held_pods_that_are_well_are_verified_without_a_request() -> None:
    """From the watch alone."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        asked = len(here.api.asked)
        await attempt.verify()
        assert asked == len(here.api.asked)


@virtual
async def test_a_pod_that_loses_ready_fails_the_hold() -> None:
    """It was Ready, it is not any more."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.say(0, "Ready", "False")
        await asyncio.sleep(0.1)
        assert Reason.POD_NOT_READY is (await attempt.unwell()).reason


@virtual
async def test_a_pod_that_vanishes_fails_the_hold() -> None:
    """Nobody told why."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.take(1, asked=False)
        await asyncio.sleep(1.0)
        assert Reason.POD_LOST is (await attempt.unwell()).reason


@virtual
async def test_a_pod_too_many_does_not_disturb_the_hold() -> None:
    """A controller manager that restarts may make one and take it back: the held ones are well all the time."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        name = here.small.pod_names()[0]
        extra = here.api.objects[PODS][name]
        here.api.put(PODS, {**extra, "metadata": {**extra["metadata"], "name": "extra", "uid": "extra"}})
        await asyncio.sleep(0.1)
        here.api.remove(PODS, "extra")
        await asyncio.sleep(0.1)
        await attempt.verify()


@virtual
async def test_a_pod_that_is_younger_than_the_answer_interrupts_nothing() -> None:
    """A replacement that comes right after the question is on the watch alone, which is so ahead, not behind."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        ask = here.cluster.list

        async def list_pods(kind: Any, deadline: float, **asked: Any) -> Any:
            found = await ask(kind, deadline, **asked)
            if kind is not POD:
                return found
            (controller,) = here.api.objects[CONTROLLERS].values()
            here.small._make(controller, 9)
            await asyncio.sleep(0.01)
            return found

        here.cluster.list = list_pods  # type: ignore[method-assign]
        here.small.take(0)
        await asyncio.sleep(1.0)
        assert Reason.POD_LOST is (await attempt.unwell()).reason


@virtual
async def test_a_pod_whose_node_is_drained_disrupts_the_hold() -> None:
    """Its node was cordoned: no failure of the cluster."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.put("nodes", node("node-1", cordoned=True))
        here.small.take(0)
        await asyncio.sleep(1.0)
        assert Reason.DISRUPTED is (await attempt.unwell()).reason


@virtual
async def test_a_hold_in_which_the_watch_was_relisted_is_inconclusive() -> None:
    """Changes may have gone unseen."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.compact()
        here.api.version += 10
        here.api.relist()
        await asyncio.sleep(1.0)
        assert Reason.WATCH_INTERRUPTED is (await attempt.unwell()).reason


@virtual
async def test_a_hold_in_which_the_watch_was_resumed_is_well() -> None:
    """Nothing went unseen."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.cut()
        await asyncio.sleep(1.0)
        await attempt.verify()


@virtual
async def test_a_watch_that_is_down_is_no_failure_while_the_server_answers() -> None:
    """The API server is asked instead; if it lasts, the end of the hold tells."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.faults.append(refusing("watch", by=UNAVAILABLE))
        here.api.cut()
        await asyncio.sleep(1.0)
        await attempt.verify()


@virtual
async def test_an_outage_in_the_hold_is_the_api_servers_failure() -> None:
    """Neither watch nor list: it does not answer."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.faults.append(refusing("watch", "list", by=UNREACHABLE))
        here.api.cut()
        await asyncio.sleep(1.0)
        assert Reason.API_UNREACHABLE is (await attempt.unwell()).reason


@virtual
async def test_a_rest_ends_when_something_is_wrong() -> None:
    """The next poll comes at once."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        began = here.clock.now()
        here.small.later(1.0, here.small.take, 0)
        await attempt.pods.rest(5.0)
        assert 1.0 == pytest.approx(here.clock.now() - began)


@virtual
async def test_a_rest_lasts_as_long_as_all_is_well() -> None:
    """No longer and no shorter."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        began = here.clock.now()
        await attempt.pods.rest(5.0)
        assert 5.0 == pytest.approx(here.clock.now() - began)


@virtual
async def test_a_relist_of_another_kind_does_not_interrupt_the_hold() -> None:
    """Only changes of its own kinds may go unseen."""
    async with scene() as here:
        here.cluster.watches.need((POD, REPLICATION_CONTROLLER, CONFIG_MAP))
        await here.cluster.watches.see((CONFIG_MAP,), here.clock.now() + 5.0)
        attempt = Attempt(here)
        await attempt.init()
        (stream,) = here.api.open_streams("configmaps")
        stream.feed(b"garbage\n")
        await asyncio.sleep(5.0)
        assert 1 == here.cluster.watches.gaps((CONFIG_MAP,))
        await attempt.verify()


@virtual
async def test_a_forbidden_watch_of_another_kind_is_no_trouble() -> None:
    """The attempt waits for its own kinds alone, and never asks whether the other one is live."""
    async with scene() as here:
        here.api.faults.append(refusing("list", "watch", resource="configmaps", by=FORBIDDEN))
        here.cluster.watches.need((POD, REPLICATION_CONTROLLER, CONFIG_MAP))
        attempt = Attempt(here)
        await attempt.init()
        asked = len(here.api.named("list", PODS))
        await attempt.verify()
        assert (True, False) == (attempt.pods.live, here.cluster.watches.live((CONFIG_MAP,)))
        assert asked == len(here.api.named("list", PODS))
