"""What is swept, and above all what is not."""

import asyncio
from collections import Counter

import pytest
from fakes import FORBIDDEN, UNAVAILABLE, UNREACHABLE, Asked, refusing
from structlog.testing import capture_logs
from sweeping import CONTROLLERS, OWNER, PODS, made, pod_of, world
from virtual_time import run, virtual

from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.ownership import INSTANCE, MAX_AGE, RUN
from khealth_exporter.cluster.sweep import OVERDUE, PERIOD


@virtual
async def test_what_a_living_attempt_of_ours_made_is_untouched() -> None:
    """However old it is: the attempt itself cleans up."""
    async with world() as here:
        here.cluster.active.add(("a", "a", "ourrun", "1"))
        controller = here.api.put(CONTROLLERS, made("ourrun"))
        here.api.put(PODS, pod_of(controller))
        await asyncio.sleep(10_000.0)
        assert ["khealth-a-ourrun-1", "khealth-a-ourrun-1-x7k2p"] == await here.sweep()


@virtual
async def test_what_an_ended_attempt_of_ours_left_is_taken() -> None:
    """At once: a run that ended should have left nothing."""
    async with world() as here:
        here.cluster.active.add(("a", "a", "ourrun", "2"))
        here.api.put(CONTROLLERS, made("ourrun", 1))
        here.api.put(CONTROLLERS, made("ourrun", 2))
        assert ["khealth-a-ourrun-2"] == await here.sweep()


@virtual
async def test_an_orphan_of_an_ended_attempt_is_taken() -> None:
    """A pod whose controller is gone, does not go by itself."""
    async with world() as here:
        here.api.put(PODS, made("ourrun", name="orphan"))
        assert [] == await here.sweep()


@virtual
async def test_a_living_neighbours_objects_are_untouched() -> None:
    """Another khealth works in the same namespace, within its rights."""
    async with world() as here:
        controller = here.api.put(CONTROLLERS, made())
        here.api.put(PODS, pod_of(controller))
        await asyncio.sleep(99.0)
        assert ["khealth-a-otherrun-1", "khealth-a-otherrun-1-x7k2p"] == await here.sweep()


@virtual
async def test_what_is_older_than_its_max_age_is_taken() -> None:
    """Its run is dead."""
    async with world() as here:
        here.api.put(CONTROLLERS, made())
        await asyncio.sleep(102.0)
        assert [] == await here.sweep()


@pytest.mark.parametrize("ahead", [-86_400.0, 86_400.0])
def test_age_goes_by_the_servers_clock(ahead: float) -> None:
    """Wherever our own clock stands: a day off kills nobody, and saves nobody."""

    async def scenario() -> None:
        async with world(ahead=ahead) as here:
            here.api.put(CONTROLLERS, made())
            young = await here.sweep()
            await asyncio.sleep(102.0)
            assert (["khealth-a-otherrun-1"], []) == (young, await here.sweep())

    run(scenario())


@virtual
async def test_what_an_earlier_process_of_our_pod_left_is_taken() -> None:
    """A container that was restarted takes what it left, young as it is."""
    async with world() as here:
        here.api.put(CONTROLLERS, made(annotations={MAX_AGE: "100", INSTANCE: f"{OWNER.uid}.1-0"}))
        assert [] == await here.sweep()


@pytest.mark.parametrize("resource", [PODS, CONTROLLERS])
@pytest.mark.parametrize("everything", [False, True])
def test_nothing_without_a_runs_label_is_ever_taken(resource: str, *, everything: bool) -> None:
    """Other tools may say `managed-by: khealth` too, and khealth's own Pod may: neither was made by a run."""

    async def scenario() -> None:
        async with world() as here:
            labels = {"app.kubernetes.io/managed-by": "khealth"}
            here.api.put(resource, {"metadata": {"name": "khealth-0", "uid": OWNER.uid, "labels": labels}})
            await asyncio.sleep(10_000.0)
            seen = {watch.resource: len(watch.objects) for watch in here.cluster.watches.all()}
            assert {PODS: 0, CONTROLLERS: 0, resource: 1} == seen
            assert () == here.sweeper.found(everything=everything)

    run(scenario())


@virtual
async def test_a_label_that_makes_no_sense_does_not_end_the_sweep() -> None:
    """An attempt's number that is none: the object is ours, and nobody's."""
    async with world() as here:
        here.api.put(CONTROLLERS, made("ourrun", "many"))
        here.api.put(CONTROLLERS, made("ourrun", 7))
        assert [] == await here.sweep()


@virtual
async def test_a_controller_goes_in_the_foreground_by_its_uid() -> None:
    """With its pods, and never another object that has its name by now."""
    async with world() as here:
        controller = here.api.put(CONTROLLERS, made("ourrun"))
        here.api.put(PODS, pod_of(controller))
        await here.sweep()
        (asked,) = here.deletions
        uid = controller["metadata"]["uid"]
        assert {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}} == asked.body


@virtual
async def test_what_is_being_deleted_is_not_asked_again() -> None:
    """A controller that goes slowly is left to go, as long as it may."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(CONTROLLERS, made("ourrun"))
        for _ in range(5):
            await here.sweep()
            await asyncio.sleep(OVERDUE / 6)
        assert 1 == len(here.deletions)


@virtual
async def test_what_is_asked_twice_is_counted_once_and_forgotten_when_it_is_gone() -> None:
    """A run of many months remembers no more than what is there."""
    async with world() as here:
        whole, here.api.deleted = here.api.deleted, lambda _resource, _item, _options: False
        here.api.put(CONTROLLERS, made("ourrun"))
        await here.sweep()
        remembered = len(here.sweeper._asked)
        here.api.deleted = whole
        await asyncio.sleep(OVERDUE + 2.0)
        await here.sweep()
        await here.sweep()
        counted = here.figures.value("khealth_swept_objects_total", kind="ReplicationController")
        assert (1, 1.0, set()) == (remembered, counted, here.sweeper._asked)


@virtual
async def test_a_controller_that_nobody_lets_go_is_deleted_in_the_background() -> None:
    """That takes away the finalizer, which a dead controller manager does not."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, _options: False
        here.api.put(CONTROLLERS, made("ourrun"))
        await here.sweep()
        await asyncio.sleep(OVERDUE + 2.0)
        await here.sweep()
        assert ["Foreground", "Background"] == [asked.body["propagationPolicy"] for asked in here.deletions]


@virtual
async def test_a_pod_that_does_not_go_is_taken_with_grace_0() -> None:
    """Its node is dead: some seconds after it was asked to go it is taken from the API server alone."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, options: options.get("gracePeriodSeconds") == 0
        here.api.put(PODS, made("ourrun", name="stuck"))
        await here.sweep()
        await asyncio.sleep(OVERDUE - 1.0)
        before = await here.sweep()
        await asyncio.sleep(2.0)
        assert (["stuck"], []) == (before, await here.sweep())
        assert [None, 0] == [asked.body.get("gracePeriodSeconds") for asked in here.deletions]


@virtual
async def test_an_overdue_pod_is_taken_though_its_controller_is_still_there() -> None:
    """A controller in foreground deletion waits for exactly this pod."""
    async with world() as here:
        here.api.deleted = lambda resource, _item, options: resource == PODS and options.get("gracePeriodSeconds") == 0
        controller = here.api.put(CONTROLLERS, made("ourrun"))
        pod = here.api.put(PODS, pod_of(controller))
        await here.sweep()
        here.api.put(PODS, {"metadata": {**pod["metadata"], "deletionTimestamp": "2023-11-14T22:13:20Z"}})
        await asyncio.sleep(OVERDUE + 2.0)
        assert ["khealth-a-ourrun-1"] == await here.sweep()


@virtual
async def test_pods_that_a_dead_controller_manager_asks_nothing_of_are_taken() -> None:
    """Their controller was asked to go long ago, and nobody has asked them."""
    async with world() as here:
        here.api.deleted = lambda resource, _item, options: resource == PODS and options.get("gracePeriodSeconds") == 0
        controller = here.api.put(CONTROLLERS, made("ourrun"))
        here.api.put(PODS, pod_of(controller))
        await here.sweep()
        before = here.left
        await asyncio.sleep(OVERDUE + 2.0)
        assert (2, ["khealth-a-ourrun-1"]) == (len(before), await here.sweep())


@virtual
async def test_what_is_swept_is_counted_once() -> None:
    """By kind; a second try at the same object is no second object."""
    async with world() as here:
        here.api.deleted = lambda _resource, _item, options: options.get("gracePeriodSeconds") == 0
        here.api.put(PODS, made("ourrun", name="stuck"))
        await here.sweep()
        await asyncio.sleep(OVERDUE + 2.0)
        await here.sweep()
        assert {"Pod": 1.0} == here.figures.counted("khealth_swept_objects_total", "kind")


@pytest.mark.parametrize("why", [UNAVAILABLE, UNREACHABLE], ids=["unavailable", "unreachable"])
def test_a_refusal_does_not_end_the_sweep(why: Refusal) -> None:
    """What cannot be deleted is told, and the rest is deleted all the same."""

    async def scenario() -> None:
        async with world() as here:
            here.api.put(CONTROLLERS, made("ourrun", 1))
            here.api.put(CONTROLLERS, made("ourrun", 2))

            async def one(asked: Asked) -> Refusal | None:
                return why if asked.verb == "delete" and asked.name.endswith("-1") else None

            here.api.faults.append(one)
            assert ["khealth-a-ourrun-1"] == await here.sweep()

    run(scenario())


@virtual
async def test_without_the_right_to_delete_one_of_a_kind_is_asked_for_in_each_sweep() -> None:
    """And it is told once, not for each leftover again and again."""
    async with world() as here:
        for number in range(1, 6):
            here.api.put(CONTROLLERS, made("ourrun", number))
            here.api.put(PODS, made("ourrun", name=f"orphan-{number}"))
        here.api.faults.append(refusing("delete", resource=CONTROLLERS, by=FORBIDDEN))
        with capture_logs() as logs:
            for _ in range(4):
                await here.sweep()
        warned = [log["event"].partition(":")[0] for log in logs if log["log_level"] in {"warning", "error"}]
        asked = [asked.resource for asked in here.api.named("delete")]
        assert ["khealth may not delete replicationcontrollers in namespace khealth"] == warned
        assert {CONTROLLERS: 4, PODS: 5} == Counter(asked)


@virtual
async def test_what_was_left_for_want_of_a_right_is_taken_once_the_right_is_back() -> None:
    """By the same process, without anyone asking for it."""
    async with world() as here:
        here.api.put(CONTROLLERS, made("ourrun", 1))
        here.api.put(CONTROLLERS, made("ourrun", 2))
        here.api.faults.append(refusing("delete", by=FORBIDDEN))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.sweeper.run())
            await asyncio.sleep(3 * PERIOD)
            before = here.left
            here.api.faults.clear()
            await asyncio.sleep(PERIOD + 1.0)
            task.cancel()
        assert (2, [], ()) == (len(before), here.left, here.cluster.denied())


@virtual
async def test_nothing_is_swept_while_nothing_is_seen() -> None:
    """An old picture of the namespace is no reason to delete."""
    async with world() as here:
        here.api.faults.append(refusing("list", "watch", by=UNREACHABLE))
        here.api.cut()
        await asyncio.sleep(0.1)
        here.api.put(CONTROLLERS, made("ourrun"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.sweeper.run())
            await asyncio.sleep(3 * PERIOD)
            task.cancel()
        assert [] == here.deletions


@virtual
async def test_sweeps_come_again_and_again() -> None:
    """What is left behind later is found later."""
    async with world() as here:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(here.sweeper.run())
            await asyncio.sleep(1.0)
            here.api.put(CONTROLLERS, made("ourrun"))
            await asyncio.sleep(PERIOD)
            task.cancel()
        assert [] == here.left


@virtual
async def test_an_object_of_another_uid_counts_as_gone() -> None:
    """Its name is used by somebody else by now: it stays."""
    async with world() as here:
        old = here.api.put(CONTROLLERS, made("ourrun"))
        await asyncio.sleep(0.1)
        here.api.objects[CONTROLLERS]["khealth-a-ourrun-1"] = {"metadata": {**old["metadata"], "uid": "another"}}
        await here.sweeper.sweep()
        assert (["khealth-a-ourrun-1"], {}) == (here.left, here.figures.counted("khealth_swept_objects_total", "kind"))


def test_the_run_label_is_what_marks_an_object() -> None:
    """The helper of these tests makes what khealth makes."""
    assert "otherrun" == made()["metadata"]["labels"][RUN]
