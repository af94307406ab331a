"""How an attempt's objects go, and who is blamed when they do not."""

import asyncio

import pytest
from canary_attempt import BOUND, COUNT, Attempt
from documents import node
from fakes import FORBIDDEN, UNAVAILABLE, UNREACHABLE, Asked, hanging, refusal, refusing
from hypothesis import given
from hypothesis import strategies as st
from small_cluster import CONTROLLERS, PODS, Scene, scene
from virtual_time import run, virtual

from khealth_exporter.canaries.backlog import BUSY
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed


@virtual
async def test_removal_returns_when_all_is_gone() -> None:
    """In the foreground, by uid; and each pod's deletion is recorded."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        attempt.samples.clear()
        began = here.clock.now()
        await attempt.remove()
        assert ([], True) == (here.small.left, here.clock.now() - began < 0.5)
        assert [{"delete": 0.21}] * COUNT == [pytest.approx(attempt.steps(n), abs=0.02) for n in range(COUNT)]
        (asked,) = here.api.named("delete")
        assert "Foreground" == asked.body["propagationPolicy"]


@virtual
async def test_removal_may_be_called_again() -> None:
    """What is gone is gone: no request, no second sample."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        await attempt.remove()
        asked, samples = len(here.api.asked), len(attempt.samples)
        await attempt.remove()
        assert (asked, samples) == (len(here.api.asked), len(attempt.samples))


@virtual
async def test_what_goes_by_itself_while_questions_are_asked_is_late_and_no_failure() -> None:
    """Slow is not stuck."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.ending = False

        async def mend(asked: Asked) -> None:
            if asked.verb == "list" and asked.resource == "nodes":
                for number in range(COUNT):
                    here.small.take(number, asked=False)
                await asyncio.sleep(1.0)

        here.api.faults.append(mend)
        await attempt.remove()
        assert [] == here.small.left


@virtual
async def test_a_kubelet_that_does_not_end_its_pod_is_blamed_and_done_without() -> None:
    """At half of the bound pods are taken with grace 0; the failure is settled, its step recorded as waited."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        attempt.samples.clear()
        here.small.ending = False
        failed = await attempt.staying()
        assert (Reason.KUBELET_SILENT, True, []) == (failed.reason, failed.settled, here.small.left)
        assert [{"delete"}] * COUNT == [set(attempt.steps(n, censored=True)) for n in range(COUNT)]


@virtual
async def test_a_dead_node_is_no_failure_of_deletion() -> None:
    """Its node became NotReady while others are well: disrupted, and the pod is taken all the same."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.ending = False
        for name in here.small.nodes[1:]:
            here.small.take(here.small.nodes.index(name))
        await asyncio.sleep(1.0)
        here.api.put("nodes", node("node-1", ready="Unknown"))
        failed = await attempt.staying()
        assert (Reason.DISRUPTED, []) == (failed.reason, here.small.left)


@pytest.mark.parametrize("resource", [PODS, CONTROLLERS])
def test_who_is_stuck_is_known_although_khealth_may_not_do_without_them(resource: str) -> None:
    """A dead kubelet is found out before khealth tries to take its pods: a right that it lacks hides nobody."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = Attempt(here)
            await attempt.init()
            here.small.ending = resource != PODS
            here.small.collecting = resource == PODS
            expected = Reason.KUBELET_SILENT if resource == PODS else Reason.POD_NOT_DELETED

            async def forced(asked: Asked) -> Refusal | None:
                grace, policy = asked.body.get("gracePeriodSeconds"), asked.body.get("propagationPolicy")
                by_force = grace == 0 if resource == PODS else grace is None and policy == "Background"
                return FORBIDDEN if asked.verb == "delete" and asked.resource == resource and by_force else None

            here.api.faults.append(forced)
            failed = await attempt.staying()
            assert (expected, False) == (failed.reason, failed.settled)
            assert [f"khealth may not delete {resource} in namespace khealth"] == [
                str(d) for d in here.cluster.denied()
            ]

    run(scenario())


@virtual
async def test_a_garbage_collector_that_does_nothing_is_blamed_and_done_without() -> None:
    """Even while the controller manager is dead, nothing is left."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.collecting = False
        failed = await attempt.staying()
        assert (Reason.POD_NOT_DELETED, []) == (failed.reason, here.small.left)


@pytest.mark.parametrize(
    ("backlog", "pause", "noting"),
    [
        pytest.param(12.0, 0.0, True, id="it begins late"),
        pytest.param(8.0, 4.0, False, id="one by one"),
        pytest.param(9.9, 0.0, False, id="just before half of the bound"),
    ],
)
def test_a_garbage_collector_that_is_slow_gets_more_time(backlog: float, pause: float, noting: bool) -> None:
    """While progress can be seen: it works, and the kubelets have only just been asked."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.backlog, here.small.pause, here.small.noting = backlog, pause, noting
            attempt = Attempt(here)
            await attempt.init()
            await attempt.remove()
            by_force = [asked for asked in here.api.named("delete") if asked.body.get("gracePeriodSeconds") == 0]
            assert ([], []) == (here.small.left, by_force)

    run(scenario())


@pytest.mark.parametrize(
    ("backlog", "pause", "noting"),
    [
        pytest.param(60.0, 0.0, True, id="busy elsewhere"),
        pytest.param(1.0, 30.0, False, id="one by one"),
        pytest.param(15.5, 0.0, True, id="the kubelets have only just been asked"),
    ],
)
def test_a_garbage_collector_that_is_too_slow_is_no_failure(backlog: float, pause: float, noting: bool) -> None:
    """It works: nothing tells that it is broken. Nothing is left, and that within the bound."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.backlog, here.small.pause, here.small.noting = backlog, pause, noting
            here.small.ending = backlog != 15.5
            attempt = Attempt(here)
            await attempt.init()
            began = here.clock.now()
            failed = await attempt.staying()
            assert (Reason.UNKNOWN, True, []) == (failed.reason, failed.settled, here.small.left)
            assert here.clock.now() - began < BOUND

    run(scenario())


@virtual
async def test_a_kubelet_is_blamed_although_a_slow_garbage_collector_asked_it_late() -> None:
    """It had its time too."""
    async with scene() as here:
        here.small.backlog, here.small.ending = 8.0, False
        attempt = Attempt(here)
        await attempt.init()
        failed = await attempt.staying()
        assert (Reason.KUBELET_SILENT, []) == (failed.reason, here.small.left)


@virtual
async def test_a_garbage_collector_that_stays_busy_for_too_long_is_blamed() -> None:
    """The controller manager works, but its garbage collector does nothing, attempt after attempt: it is broken."""
    async with scene() as here:
        here.small.noting, here.small.collecting = True, False
        reasons = []
        for number in range(1, 9):
            attempt = Attempt(here, number)
            await attempt.init()
            reasons.append((await attempt.staying()).reason)
            attempt.close()
            await asyncio.sleep(42.0)
        assert [Reason.UNKNOWN] * 5 == reasons[:5]
        assert (Reason.POD_NOT_DELETED, []) == (reasons[-1], here.small.left)


@virtual
async def test_a_garbage_collector_that_has_worked_meanwhile_is_busy_again() -> None:
    """How long it may be busy counts from when it last worked."""
    async with scene() as here:
        here.small.noting, here.small.collecting = True, False
        attempt = Attempt(here, 1)
        await attempt.init()
        await attempt.staying()
        here.small.collecting = True
        await asyncio.sleep(BUSY)
        attempt = Attempt(here, 2)
        await attempt.init()
        await attempt.remove()
        here.small.collecting = False
        attempt = Attempt(here, 3)
        await attempt.init()
        assert Reason.UNKNOWN is (await attempt.staying()).reason


@virtual
async def test_a_garbage_collector_that_waits_for_the_namespaces_end_is_not_blamed() -> None:
    """Somebody deletes the namespace meanwhile."""
    said = refusal(403, "namespace is being terminated", "Forbidden", "NamespaceTerminating")

    async def trial(asked: Asked) -> Refusal | None:
        return said if asked.query.get("dryRun") else None

    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.collecting = False
        here.api.faults.append(trial)
        failed = await attempt.staying()
        assert (Reason.INTERRUPTED, []) == (failed.reason, here.small.left)


@virtual
async def test_pods_whose_controller_was_taken_away_are_removed() -> None:
    """Somebody has deleted the controller and orphaned its pods."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.api.remove(CONTROLLERS, attempt.ownership.name)
        await asyncio.sleep(0.1)
        await attempt.remove()
        assert [] == here.small.left


@virtual
async def test_a_failed_try_of_removal_does_not_double_its_samples() -> None:
    """Cleanup is tried again after a refusal: a pod's deletion is measured once."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        attempt.samples.clear()
        here.small.ending = False
        here.api.faults.append(refusing("delete", resource=PODS, by=FORBIDDEN))
        await attempt.staying()
        here.api.faults.clear()
        await attempt.staying()
        names = [sample.object for sample in attempt.samples]
        assert (COUNT, []) == (len(names), here.small.left)
        assert len(set(names)) == len(names)


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["refuse", "hang", "mend", "cut", "compact", "take", "silence", "cordon"]),
        st.sampled_from(["list", "watch", "create", "delete", "get"]),
        st.sampled_from([0.0, 0.05, 0.4, 1.0, 7.0]),
    ),
    max_size=8,
)


@given(
    FAULTS, st.dictionaries(st.integers(0, 2), st.sampled_from(["none", "created", "scheduled", "started"]), max_size=2)
)
def test_nothing_is_left_after_any_script_of_faults(
    faults: list[tuple[str, str, float]], stuck: dict[int, str]
) -> None:
    """Whatever went wrong, and where: once faults are mended, cleanup tried again leaves nothing, and raises Failed alone."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck = stuck
            attempt = Attempt(here)
            async with asyncio.TaskGroup() as group:
                group.create_task(disturb(here, faults))
                with suppressed():
                    await attempt.init()
                    await attempt.verify()
                with suppressed():
                    await attempt.remove()
            here.api.faults.clear()
            here.small.ending = here.small.collecting = True
            for _ in range(5):
                with suppressed():
                    await attempt.remove()
                    break
                await asyncio.sleep(1.0)
            assert [] == here.small.left

    run(scenario())


class suppressed:  # noqa: N801 - it reads as contextlib's
    """Let Failed pass, and nothing else."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _trace: object) -> bool:
        return isinstance(error, Failed)


async def disturb(here: Scene, faults: list[tuple[str, str, float]]) -> None:
    """Let some things go wrong, one after the other."""
    for what, verb, pause in faults:
        await asyncio.sleep(pause)
        match what:
            case "refuse":
                here.api.faults.append(refusing(verb, by=UNAVAILABLE))
            case "hang":
                here.api.faults.append(hanging(verb, seconds=30.0))
            case "mend":
                here.api.faults.clear()
            case "cut":
                here.api.cut(UNREACHABLE)
            case "compact":
                here.api.relist()
            case "silence":
                here.small.ending = here.small.collecting = False
            case "cordon":
                here.api.put("nodes", node("node-1", cordoned=True))
            case _:
                if here.small.pod_names():
                    here.small.take(0)


@virtual
async def test_pods_that_were_asked_to_go_unseen_blame_no_garbage_collector() -> None:
    """The watch is silent; the API server tells that the collector has acted."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.ending = False
        for stream in here.api.open_streams():
            stream.hushed = stream.asked.resource == PODS
        with pytest.raises(Failed) as raised:
            await attempt.remove()
        assert Reason.WATCH_INTERRUPTED is raised.value.reason


@pytest.mark.parametrize("seconds", [12.0, 16.0, 19.0])
def test_a_delete_that_the_api_server_is_slow_to_do_blames_no_garbage_collector(seconds: float) -> None:
    """It has had no time until then."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = Attempt(here)
            await attempt.init()
            here.api.faults.append(hanging("delete", seconds=seconds))
            await attempt.remove()
            assert [] == here.small.left

    run(scenario())
