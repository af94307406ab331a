"""What other clients delete or change: it explains lost pods before any component is blamed, in every phase."""

import asyncio
from collections.abc import Callable

import pytest
from canary_attempt import COUNT, Attempt
from documents import bound, leaving, pod, read, running, status_of
from fakes import Asked, Json, refusal
from small_cluster import CONTROLLERS, PODS, Scene, scene
from virtual_time import BEGINNING, run, virtual

from khealth_exporter.canaries.interference import held_by_another
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.vocabulary.reason import Reason

TERMINATING = refusal(403, "namespace is being terminated", "Forbidden", "NamespaceTerminating")
GONE = refusal(404, 'namespaces "khealth" not found', "NotFound")


def controller(here: Scene) -> str:
    """Return the name of the only controller."""
    (name,) = here.api.objects[CONTROLLERS]
    return name


def swept(here: Scene) -> None:
    """Delete the controller in the foreground, as `khealth sweep --all` does: it is left until its pods are gone."""
    name = controller(here)
    here.api.put(CONTROLLERS, leaving(here.api.objects[CONTROLLERS][name]))
    here.small._collect(here.api.objects[CONTROLLERS][name])


def deleted(here: Scene) -> None:
    """Delete the controller in the background, as `kubectl delete` does: it is gone before its pods are."""
    here.api.remove(CONTROLLERS, controller(here))
    for number in range(len(here.small.pod_names())):
        here.small.take(number)


def scaled(here: Scene) -> None:
    """Ask the controller for one pod less."""
    item = here.api.objects[CONTROLLERS][controller(here)]
    here.api.put(CONTROLLERS, {**item, "spec": {**item["spec"], "replicas": COUNT - 1}})
    here.small.take(0)


def relabelled(here: Scene) -> None:
    """Give the controller other labels: its watch, which selects by them, shows it as deleted."""
    name = controller(here)
    item = here.api.objects[CONTROLLERS][name]
    here.api.remove(CONTROLLERS, name)
    here.api.objects[CONTROLLERS][name] = {**item, "metadata": {**item["metadata"], "labels": {}}}
    here.small.take(0)


def ending(said: Refusal) -> Callable[[Scene], None]:
    """Return what deletes the namespace: pods may go before their controller, and nothing can be created."""

    def end(here: Scene) -> None:
        async def trial(asked: Asked) -> Refusal | None:
            return said if asked.query.get("dryRun") else None

        here.api.faults.append(trial)
        here.small.take(0)

    return end


CASES = [
    pytest.param(swept, "was deleted by another client", id="swept"),
    pytest.param(deleted, "was deleted by another client", id="deleted"),
    pytest.param(scaled, f"was scaled from {COUNT} to {COUNT - 1} pods by another client", id="scaled"),
    pytest.param(relabelled, "was given other labels by another client", id="relabelled"),
    pytest.param(ending(TERMINATING), "namespace is being terminated", id="namespace going"),
    pytest.param(ending(GONE), "namespace khealth was deleted", id="namespace gone"),
]


@pytest.mark.parametrize(("disturb", "note"), CASES)
def test_what_another_client_does_in_the_hold_is_an_interruption(disturb: Callable[[Scene], None], note: str) -> None:
    """The note says what was done, and to what."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = Attempt(here)
            await attempt.init()
            disturb(here)
            await asyncio.sleep(1.0)
            failed = await attempt.unwell()
            assert (Reason.INTERRUPTED, True) == (failed.reason, note in failed.note), failed.note

    run(scenario())


@pytest.mark.parametrize(("disturb", "note"), CASES)
def test_what_another_client_does_during_startup_is_an_interruption(
    disturb: Callable[[Scene], None], note: str
) -> None:
    """Pods were created, and are not Ready yet: nobody waits for them until the deadline."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = Attempt(here)
            here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")
            here.small.later(1.0, disturb, here)
            failed = await attempt.failing()
            assert (Reason.INTERRUPTED, True) == (failed.reason, note in failed.note), failed.note
            assert here.clock.now() - BEGINNING < 3.0

    run(scenario())


@pytest.mark.parametrize("disturb", [swept, deleted])
def test_a_controller_that_is_deleted_before_it_has_pods_ends_the_wait(disturb: Callable[[Scene], None]) -> None:
    """The controller manager is not blamed for pods that nobody wants any more."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.looking = False
            here.small.later(1.0, disturb, here)
            failed = await Attempt(here).failing()
            assert Reason.INTERRUPTED is failed.reason
            assert here.clock.now() - BEGINNING < 3.0

    run(scenario())


@virtual
async def test_a_controller_that_is_scaled_down_before_it_has_pods_is_an_interruption() -> None:
    """Its pods are missing because nobody asks for them."""

    def stopped(here: Scene) -> None:
        item = here.api.objects[CONTROLLERS][controller(here)]
        here.api.put(CONTROLLERS, {**item, "spec": {**item["spec"], "replicas": 0}})

    async with scene() as here:
        here.small.looking = False
        here.small.later(1.0, stopped, here)
        assert Reason.INTERRUPTED is (await Attempt(here).failing()).reason


@pytest.mark.parametrize("asked", [True, False])
def test_a_pod_that_goes_while_its_controller_stays_is_lost(asked: bool) -> None:
    """A component that deletes what it should not looks the same as a person: the fault must not be hidden."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = Attempt(here)
            await attempt.init()
            here.small.take(1, asked=asked)
            await asyncio.sleep(1.0)
            assert Reason.POD_LOST is (await attempt.unwell()).reason

    run(scenario())


@virtual
async def test_a_controller_with_other_labels_is_not_left_behind() -> None:
    """No watch and no sweep would find it again."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        relabelled(here)
        await asyncio.sleep(1.0)
        await attempt.remove()
        assert [] == here.small.left


@virtual
async def test_a_pod_set_whose_controller_was_deleted_leaves_nothing() -> None:
    """Cleanup takes what the other client has left."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.collecting = False
        here.api.remove(CONTROLLERS, controller(here))
        here.small.take(0)
        await asyncio.sleep(1.0)
        assert Reason.INTERRUPTED is (await attempt.unwell()).reason
        await attempt.remove()
        assert ([], {}) == (here.small.left, here.api.objects[PODS])


@virtual
async def test_evidence_that_is_slow_does_not_take_the_verdicts_time() -> None:
    """The question who deleted something has a time of its own, and without an answer the verdict stands."""
    async with scene() as here:
        here.small.looking = False

        async def slow(asked: Asked) -> Refusal | None:
            if asked.resource in {"events", "nodes"}:
                await asyncio.sleep(60.0)
            return None

        here.api.faults.append(slow)
        failed = await Attempt(here).failing()
    assert Reason.POD_NOT_CREATED is failed.reason
    assert failed.evidence


FOREIGN, OWN = "example.com/keep", "batch.kubernetes.io/job-tracking"


@pytest.mark.parametrize(
    ("item", "held"),
    [
        (leaving(pod(finalizers=[FOREIGN])), True),
        (pod(finalizers=[FOREIGN]), False),
        (leaving(pod(finalizers=[OWN])), False),
        (leaving(pod(finalizers=["foregroundDeletion"])), False),
        (leaving(running(bound(pod(finalizers=[FOREIGN])))), False),
        (leaving(status_of(bound(pod(finalizers=[FOREIGN])), phase="Failed")), True),
    ],
)
def test_a_finalizer_holds_what_nothing_else_keeps(item: Json, held: bool) -> None:
    """Kubernetes' own are its components' business; a pod that has not ended waits for its kubelet."""
    failed = held_by_another([read(Pod, item)])
    assert held == (failed is not None and FOREIGN in failed.note)
