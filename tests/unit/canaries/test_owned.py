"""One object of an attempt: written, found again, deleted; and what is nobody else's business."""

import asyncio
import json

import pytest
from canary_attempt import BOUND, COUNT, Attempt
from fakes import FORBIDDEN, UNREACHABLE, Asked, Fault, Json, refusal, refusing
from small_cluster import CONTROLLERS, PODS, Scene, scene
from virtual_time import virtual

from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_steps import ACCEPT
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refusal, Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP
from khealth_exporter.cluster.objects import ConfigMap
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Quality

REJECTED = refusal(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "Forbidden")


@virtual
async def test_accept_is_the_time_of_the_answer() -> None:
    """From sending to the complete answer; exact at the first try."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        assert attempt.accepted is not None
        assert attempt.accepted.quality is Quality.EXACT
        assert attempt.accepted.seconds == pytest.approx(0.01)


@virtual
async def test_a_create_that_is_refused_is_raised() -> None:
    """With its own reason."""
    async with scene() as here:
        here.api.faults.append(refusing("create", by=REJECTED))
        assert Reason.API_REJECTED is (await Attempt(here).failing()).reason


@virtual
async def test_a_refusal_carries_its_answer() -> None:
    """What is raised by init where the create is refused is the refusal itself."""
    async with scene() as here:
        here.api.faults.append(refusing("create", by=REJECTED))
        assert isinstance(await Attempt(here).failing(), Refused)


@virtual
async def test_after_a_definite_refusal_nothing_is_asked_in_cleanup() -> None:
    """Nothing was made: nothing is to be looked for."""
    async with scene() as here:
        here.api.faults.append(refusing("create", by=REJECTED))
        attempt = Attempt(here)
        await attempt.failing()
        asked = len(here.api.asked)
        await attempt.remove()
        assert asked == len(here.api.asked)


@virtual
async def test_a_create_whose_answer_was_lost_is_cleaned_up() -> None:
    """It went through although nobody said so: the controller is found by its name, and removed."""
    async with scene() as here:

        async def lost(asked: Asked) -> Refusal | None:
            if asked.verb == "create":
                here.api._create(asked)
                return UNREACHABLE
            return None

        here.api.faults.append(lost)
        attempt = Attempt(here)
        failed = await attempt.failing()
        await attempt.remove()
        assert (Reason.API_UNREACHABLE, []) == (failed.reason, here.small.left)


@virtual
async def test_a_create_that_goes_through_after_all_is_cleaned_up() -> None:
    """Its request was still under way when nobody waited for it any more."""
    async with scene() as here:

        async def late(asked: Asked) -> Refusal | None:
            if asked.verb == "create":
                here.small.later(1.0, here.api._create, asked)
                return UNREACHABLE
            return None

        here.api.faults.append(late)
        attempt = Attempt(here)
        await attempt.failing()
        await attempt.remove()
        assert [] == here.small.left


@virtual
async def test_an_earlier_try_of_ours_is_a_success() -> None:
    """409 AlreadyExists with our run in the name: an earlier try went through; `accept` has its whole time as error."""
    async with scene() as here:

        async def twice(asked: Asked) -> Refusal | None:
            if asked.verb == "create":
                here.api._create(asked)
            return None

        here.api.faults.append(twice)
        attempt = Attempt(here)
        await attempt.init()
        assert attempt.accepted is not None
        assert attempt.accepted.uncertainty >= attempt.accepted.seconds
        assert COUNT == len(attempt.samples)


@virtual
async def test_an_accept_that_took_a_retry_is_degraded() -> None:
    """Its time is the last try's, and something was wrong."""
    async with scene() as here:

        async def second(asked: Asked) -> Answer | None:
            if asked.verb == "create":
                created = here.api._create(asked)
                assert not isinstance(created, Refusal)
                return Answer(201, json.dumps(created).encode(), asked.at, asked.at + 0.1, 0.0, 2, None)
            return None

        here.api.faults.append(second)
        attempt = Attempt(here)
        await attempt.init()
        assert attempt.accepted is not None
        assert Quality.DEGRADED is attempt.accepted.quality


def stranger_with(name: str, here: Scene) -> Json:
    """Return a controller of another module's routine that has this name."""
    stranger = here.cluster.identity.of_attempt("b", "a", 1, 100.0)
    return {"metadata": {**stranger.metadata(), "name": name}, "spec": {"replicas": 0}}


@virtual
async def test_an_object_of_somebody_elses_is_not_adopted() -> None:
    """Its name is taken, by another module's routine say: the create fails, and cleanup leaves the object alone."""
    async with scene() as here:
        attempt = Attempt(here)
        here.api.put(CONTROLLERS, stranger_with(attempt.ownership.name, here))
        assert Reason.API_REJECTED is (await attempt.failing()).reason
        await attempt.remove()
        assert [attempt.ownership.name] == here.small.left


@virtual
async def test_a_delete_that_is_refused_is_asked_again() -> None:
    """The next try of cleanup begins with it, rather than wait for what nobody was asked to do."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.faults.append(refusing("delete", by=refusal(500, "boom")))
        assert Reason.API_ERROR is (await attempt.staying()).reason
        here.api.faults.clear()
        began = here.clock.now()
        await attempt.remove()
        assert ([], True) == (here.small.left, here.clock.now() - began < 1.0)


@virtual
async def test_a_deletion_that_had_to_be_asked_twice_is_as_uncertain_as_that() -> None:
    """The first request may have been heard, although it was refused: the error bar reaches back to it."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        attempt.samples.clear()
        here.api.faults.append(refusing("delete", by=refusal(500, "boom")))
        await attempt.staying()
        here.api.faults.clear()
        await asyncio.sleep(2.0)
        await attempt.remove()
        deletions = [m for sample in attempt.samples for m in sample.measurements]
        assert (COUNT, True) == (len(deletions), all(m.uncertainty >= 2.0 for m in deletions))


@virtual
async def test_nothing_is_made_that_may_not_be_removed_again() -> None:
    """Once a deletion was refused, the next attempt first asks for one of nothing; nothing piles up."""
    async with scene() as here:
        first = Attempt(here)
        await first.init()
        here.api.faults.append(refusing("delete", resource=CONTROLLERS, by=FORBIDDEN))
        assert Reason.FORBIDDEN is (await first.staying()).reason
        left = here.small.left
        for number in range(2, 10):
            later = Attempt(here, number)
            assert Reason.FORBIDDEN is (await later.failing()).reason
            await later.remove()
        assert (left, 1) == (here.small.left, len(here.api.named("create")))


@virtual
async def test_as_soon_as_deletions_are_permitted_canaries_are_made_again() -> None:
    """Another client removes the leftovers, and khealth notices it by itself."""
    async with scene() as here:
        first = Attempt(here)
        await first.init()
        here.api.faults.append(refusing("delete", resource=CONTROLLERS, by=FORBIDDEN))
        await first.staying()
        here.api.faults.clear()
        for name in here.small.left:
            here.api.remove(PODS if name in here.small.pod_names() else CONTROLLERS, name)
        later = Attempt(here, 2)
        await later.init()
        await later.remove()
        assert ([], ()) == (here.small.left, here.cluster.denied())


@virtual
async def test_a_healthy_attempt_asks_for_no_deletion_of_nothing() -> None:
    """Two writes an attempt, as long as nothing was refused."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        await attempt.remove()
        assert (1, 1) == (len(here.api.named("create")), len(here.api.named("delete")))


@virtual
async def test_an_attempt_is_active_until_it_is_closed() -> None:
    """What is left of it may be swept from then on, however it went."""
    async with scene() as here:
        attempt = Attempt(here)
        during = set(here.cluster.active)
        attempt.close()
        assert ({("a", "a", "run", "1")}, set()) == (during, here.cluster.active)


@virtual
async def test_the_watchs_lag_is_taken_from_our_own_write() -> None:
    """How late ADDED was after the answer, and at most after the sending."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        assert 1.0 == here.figures.value("khealth_watch_lag_seconds_count")
        assert here.figures.value("khealth_watch_lag_seconds_sum") == pytest.approx(0.0, abs=0.001)


@virtual
async def test_a_line_that_was_recovered_tells_no_lag() -> None:
    """It may be old for another reason."""
    async with scene() as here:
        here.small.later(0.025, here.api.cut)
        await asyncio.sleep(0.024)
        attempt = Attempt(here)
        await attempt.init()
        assert (here.figures.value("khealth_watch_lag_seconds_sum") or 0.0) < 0.05


def unanswered_then_exists(here: Scene) -> Fault:
    """Return a fault: a create gets no answer; its second try finds the name taken."""

    async def fault(asked: Asked) -> None:
        if asked.verb == "create" and asked.name == CONTROLLERS:
            here.api._create(asked)
            raise Refused(refusal(409, "already exists", "AlreadyExists"), "create", tries=2, unanswered=True)

    return fault


@virtual
async def test_an_unanswered_create_whose_name_is_taken_deletes_nothing_of_somebody_elses() -> None:
    """Cleanup looks for what the lost try may have created, and finds an object that is not the attempt's."""
    async with scene() as here:
        attempt = Attempt(here)
        here.api.put(CONTROLLERS, stranger_with(attempt.ownership.name, here))
        here.api.faults.append(refusing("create", by=UNREACHABLE))
        assert Reason.API_UNREACHABLE is (await attempt.failing()).reason
        await attempt.remove()
        assert ([attempt.ownership.name], []) == (here.small.left, here.api.named("delete"))


@virtual
async def test_a_repeated_create_whose_name_is_taken_deletes_nothing_of_somebody_elses() -> None:
    """The first try got no answer, the second one a 409: the object may be the attempt's, and is not."""
    async with scene() as here:
        attempt = Attempt(here)
        here.api.put(CONTROLLERS, stranger_with(attempt.ownership.name, here))
        here.api.faults.append(unanswered_then_exists(here))
        assert Reason.API_REJECTED is (await attempt.failing()).reason
        await attempt.remove()
        assert ([attempt.ownership.name], []) == (here.small.left, here.api.named("delete"))


@virtual
async def test_a_repeated_create_that_cannot_be_confirmed_is_cleaned_up() -> None:
    """The object may be the attempt's own: cleanup asks for it again."""
    async with scene() as here:
        attempt = Attempt(here)
        here.api.faults += [unanswered_then_exists(here), refusing("get", by=UNREACHABLE)]
        assert Reason.API_UNREACHABLE is (await attempt.failing()).reason
        here.api.faults.clear()
        await attempt.remove()
        assert [] == here.small.left


def owned_map(here: Scene) -> Owned[ConfigMap]:
    """Return a ConfigMap that an attempt will create, and that no watch follows."""
    ownership = here.cluster.identity.of_attempt("a", "a", 1, 100.0)
    return Owned(CONFIG_MAP, ownership, here.context, Signal(), watched=False)


async def created(owned: Owned[ConfigMap], here: Scene) -> Owned[ConfigMap]:
    """Create an object, and return it."""
    await owned.create({"metadata": owned.ownership.metadata()}, here.clock.now() + BOUND, ACCEPT)
    return owned


@virtual
async def test_without_a_watch_an_object_is_gone_once_its_deletion_is_answered() -> None:
    """There is nothing to wait for."""
    async with scene() as here:
        owned = await created(owned_map(here), here)
        before = owned.gone
        await owned.delete(here.clock.now() + BOUND)
        assert (False, True, []) == (before, owned.gone, list(here.api.objects["configmaps"]))


@virtual
async def test_an_object_that_a_cleanup_left_makes_its_kind_suspect() -> None:
    """The next sweep lists the kind, though no watch shows it."""
    async with scene() as here:
        (await created(owned_map(here), here)).close()
        assert {CONFIG_MAP} == here.cluster.suspects


@virtual
async def test_an_unanswered_create_makes_its_kind_suspect() -> None:
    """It may have created the object."""
    async with scene() as here:
        here.api.faults.append(refusing("create", by=UNREACHABLE))
        owned = owned_map(here)
        with pytest.raises(Refused):
            await created(owned, here)
        owned.close()
        assert {CONFIG_MAP} == here.cluster.suspects


@virtual
async def test_an_object_that_was_removed_or_never_created_makes_nothing_suspect() -> None:
    """A list would be wasted."""
    async with scene() as here:
        owned = await created(owned_map(here), here)
        await owned.delete(here.clock.now() + BOUND)
        owned.close()
        owned_map(here).close()
        assert set() == here.cluster.suspects
