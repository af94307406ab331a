"""The pods of one attempt on their way to Ready, and who is blamed when they do not get there."""

import asyncio
from collections.abc import Callable

import pytest
from canary_attempt import BOUND, COUNT, Attempt, blind
from documents import container, containers, disrupted, gated, leaving, node, unschedulable, waiting
from fakes import FORBIDDEN, Asked, Json, hanging, refusing
from small_cluster import CONTROLLERS, PODS, scene
from virtual_time import BEGINNING, run, virtual, virtual_loop

from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed


@virtual
async def test_init_returns_when_all_pods_are_ready() -> None:
    """As soon as the watch shows the last of them."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        # Two opened watches, a create, and six tenths of a second of the pods' way.
        assert 0.6 < here.clock.now() - BEGINNING < 0.7


@virtual
async def test_every_pods_way_is_recorded() -> None:
    """Each step took as long as it took, to the millisecond."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        expected = {"create": 0.1, "schedule": 0.1, "sandbox": 0.2, "start": 0.1, "ready": 0.1, "startup": 0.4}
        assert COUNT == len(attempt.samples)
        assert expected == pytest.approx(attempt.steps(), abs=0.011)


@virtual
async def test_nothing_is_created_before_the_watches_are_live() -> None:
    """Watch, never poll: what is created is seen from its beginning."""
    async with scene() as here:
        here.api.faults.append(hanging("watch", seconds=5.0))
        await Attempt(here).init()
        verbs = [asked.verb for asked in here.api.asked]
        assert verbs.index("create") > max(n for n, verb in enumerate(verbs) if verb == "watch")


@virtual
async def test_watches_that_do_not_come_are_the_api_servers_silence() -> None:
    """Without an answer to any list until the deadline: api_timeout, and nothing was made."""
    async with scene() as here:
        here.api.faults.append(hanging("list", "watch"))
        failed = await Attempt(here).failing()
        assert (Reason.API_TIMEOUT, []) == (failed.reason, here.small.left)


@virtual
async def test_watches_that_are_forbidden_are_known_at_once() -> None:
    """Waiting mends no missing right."""
    async with scene() as here:
        here.api.faults.append(refusing("list", by=FORBIDDEN))
        failed = await Attempt(here).failing()
        assert Reason.FORBIDDEN is failed.reason
        assert here.clock.now() - BEGINNING < 1.0


STUCK: tuple[tuple[str, Callable[[Json], Json] | None, Reason, str], ...] = (
    ("created", None, Reason.POD_NOT_SCHEDULED, "schedule"),
    ("created", unschedulable, Reason.POD_UNSCHEDULABLE, "schedule"),
    ("scheduled", None, Reason.KUBELET_SILENT, "sandbox"),
    ("accepted", None, Reason.SANDBOX_FAILED, "sandbox"),
    ("sandboxed", None, Reason.POD_NOT_STARTED, "start"),
    (
        "sandboxed",
        lambda pod: containers(pod, container(waiting("ErrImagePull", "x"))),
        Reason.IMAGE_PULL_FAILED,
        "start",
    ),
    ("started", None, Reason.POD_NOT_READY, "ready"),
)


@pytest.mark.parametrize(("stage", "change", "reason", "step"), STUCK, ids=[row[2] for row in STUCK])
def test_a_stuck_pod_is_judged_at_the_deadline(
    stage: str, change: Callable[[Json], Json] | None, reason: Reason, step: str
) -> None:
    """Each place of the way has its reason, and the step is recorded with the time waited."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck = dict.fromkeys(range(COUNT), stage)
            here.small.change = dict.fromkeys(range(COUNT), change) if change else {}
            attempt = Attempt(here)
            failed = await attempt.failing()
            assert reason is failed.reason
            assert here.clock.now() - BEGINNING >= BOUND
            assert BOUND == pytest.approx(attempt.steps(censored=True)[step], abs=1.0)

    run(scenario())


@virtual
async def test_a_pod_that_waits_for_a_gate_says_nothing_of_the_cluster() -> None:
    """Inconclusive, with the gate in note and evidence; the time waited is no sample of the scheduler's."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "created")
        here.small.change = dict.fromkeys(range(COUNT), lambda pod: gated(pod, "kueue.x-k8s.io/admission"))
        attempt = Attempt(here)
        failed = await attempt.failing()
        assert (Reason.POD_GATED, {}) == (failed.reason, attempt.steps(censored=True))
        assert "kueue.x-k8s.io/admission" in failed.note
        assert "scheduling gates: kueue.x-k8s.io/admission" in failed.evidence[0].lines


@virtual
async def test_nodes_are_judged_by_what_the_pods_tolerate() -> None:
    """Workers are cordoned, and what admission let the pods tolerate does not open the control plane."""
    async with scene() as here:
        tolerations = [{"operator": "Exists", "effect": "NoExecute"}]
        here.small.stuck = dict.fromkeys(range(COUNT), "created")
        here.small.change = dict.fromkeys(
            range(COUNT), lambda pod: unschedulable({**pod, "spec": {**pod["spec"], "tolerations": tolerations}})
        )
        for name in here.small.nodes:
            here.api.put("nodes", node(name, cordoned=True))
        here.api.put("nodes", node("control", taints=("node-role.kubernetes.io/control-plane",)))
        failed = await Attempt(here).failing()
        assert (Reason.NO_NODE, True) == (failed.reason, "every node is cordoned" in failed.note)


@virtual
async def test_one_stuck_pod_on_one_node_is_that_nodes_failure() -> None:
    """The others, on other nodes, got further."""
    async with scene() as here:
        here.small.stuck = {1: "scheduled"}
        failed = await Attempt(here).failing()
        assert (Reason.ONE_NODE, True) == (failed.reason, "node-2" in failed.note)


@virtual
async def test_pods_that_got_there_are_recorded_with_those_that_did_not() -> None:
    """All three; only the stuck one is censored."""
    async with scene() as here:
        here.small.stuck = {1: "scheduled"}
        attempt = Attempt(here)
        await attempt.failing()
        assert [{}, {"sandbox", "startup"}, {}] == [set(attempt.steps(n, censored=True)) or {} for n in range(COUNT)]


@virtual
async def test_pods_that_are_never_created_are_recorded() -> None:
    """Each missing one waits in `create`, and has no milestone."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "none")
        attempt = Attempt(here)
        failed = await attempt.failing()
        assert Reason.POD_NOT_CREATED is failed.reason
        assert [{"create"}] * COUNT == [set(attempt.steps(n, censored=True)) for n in range(COUNT)]
        assert {None} == {time for sample in attempt.samples for time in sample.observed.values()}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: small', Reason.QUOTA_EXCEEDED),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', Reason.API_REJECTED),
        ('Internal error occurred: failed calling webhook "w": timeout', Reason.WEBHOOK_FAILED),
    ],
)
def test_why_the_controllers_pods_are_refused_is_told(message: str, reason: Reason) -> None:
    """The ReplicaFailure condition refines pod_not_created."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.refuse_pods(message)
            assert reason is (await Attempt(here).failing()).reason

    run(scenario())


@virtual
async def test_an_inconclusive_attempt_censors_nothing() -> None:
    """Where the cluster is not to blame, stuck steps have no duration."""
    async with scene() as here:
        here.small.refuse_pods('pods "x" is forbidden: exceeded quota: small')
        attempt = Attempt(here)
        await attempt.failing()
        assert [] == attempt.samples


@virtual
async def test_a_stuck_step_counts_where_no_single_step_explains_the_lateness() -> None:
    """The pods were late, whatever made them so: each waits in `start`."""
    async with scene() as here:
        here.small.delays = dict.fromkeys(("created", "scheduled", "accepted"), 5.0)
        here.small.stuck = dict.fromkeys(range(COUNT), "sandboxed")
        attempt = Attempt(here)
        failed = await attempt.failing()
        assert Reason.NO_SINGLE_CAUSE is failed.reason
        waited = [attempt.steps(n, censored=True) for n in range(COUNT)]
        assert [{"start", "startup"}] * COUNT == [set(steps) for steps in waited]
        assert [pytest.approx(4.8, abs=0.1)] * COUNT == [steps["start"] for steps in waited]


@virtual
async def test_missing_pods_count_where_no_single_step_explains_the_lateness() -> None:
    """Watches and the create were slow, so little time was left for pods: each missing one waits in `create`."""
    async with scene() as here:
        here.api.faults += [hanging("watch", seconds=8.0), hanging("create", seconds=8.0)]
        here.small.stuck = dict.fromkeys(range(COUNT), "none")
        attempt = Attempt(here)
        failed = await attempt.failing()
        assert Reason.NO_SINGLE_CAUSE is failed.reason
        waited = [attempt.steps(n, censored=True) for n in range(COUNT)]
        assert [{"create": pytest.approx(4.0, abs=0.1)}] * COUNT == waited


@virtual
async def test_a_controller_manager_that_does_not_look_is_told() -> None:
    """ObservedGeneration stays below the generation."""
    async with scene() as here:
        here.small.looking = False
        failed = await Attempt(here).failing()
        assert (Reason.POD_NOT_CREATED, True) == (failed.reason, "has not observed" in failed.note)


@virtual
async def test_nobody_is_blamed_when_the_watch_has_stopped() -> None:
    """The list shows more than the watch: watch_interrupted, and no step is censored."""
    async with scene() as here:
        attempt = Attempt(here)
        here.small.later(0.35, lambda: blind(*here.api.open_streams()))
        failed = await attempt.failing()
        assert Reason.WATCH_INTERRUPTED is failed.reason
        assert set() == {step for n in range(len(attempt.samples)) for step in attempt.steps(n, censored=True)}


@virtual
async def test_nobody_is_blamed_when_the_controllers_watch_has_stopped() -> None:
    """Why pods are missing is said by the controller's status: the API server itself is asked for it."""
    async with scene() as here:
        here.small.refuse_pods('pods "x" is forbidden: exceeded quota: small')
        here.small.later(0.05, lambda: blind(*here.api.open_streams(CONTROLLERS)))
        assert Reason.QUOTA_EXCEEDED is (await Attempt(here).failing()).reason


@virtual
async def test_nobody_is_blamed_when_the_api_server_does_not_answer() -> None:
    """Before any verdict about pods it is asked, and its silence is its own."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")
        here.small.later(10.0, here.api.faults.append, hanging("list"))
        assert Reason.API_TIMEOUT is (await Attempt(here).failing()).reason


@virtual
async def test_who_wakes_up_late_was_starved() -> None:
    """Khealth itself was not run for seconds: it says nothing of the cluster."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")
        here.small.later(19.0, virtual_loop().pass_time, 5.0)
        assert Reason.PROBER_STARVED is (await Attempt(here).failing()).reason


@virtual
async def test_a_lost_pod_ends_the_wait_at_once() -> None:
    """It will not come back: another one might, but not this one."""
    async with scene() as here:
        here.small.stuck = {0: "started"}
        here.small.later(1.0, here.small.take, 0)
        failed = await Attempt(here).failing()
        assert Reason.POD_LOST is failed.reason
        assert here.clock.now() - BEGINNING < 3.0


@virtual
async def test_a_pod_that_goes_while_the_question_is_under_way_is_lost_all_the_same() -> None:
    """The watch that shows a deletion which an answer does not show yet is ahead of it, and not behind."""
    async with scene() as here:
        here.small.stuck = {0: "started"}

        async def slow(asked: Asked) -> Answer | None:
            if asked.verb == "list" and asked.resource == PODS and here.clock.now() >= BEGINNING + 1.0:
                answer = here.api._list(asked)
                await asyncio.sleep(0.3)
                return here.api.answer(asked, answer)
            return None

        here.api.faults.append(slow)
        here.small.later(1.0, here.small.take, 0)
        assert Reason.POD_LOST is (await Attempt(here).failing()).reason


@virtual
async def test_before_the_deadline_only_what_was_lost_is_judged() -> None:
    """The others still had time: their unfinished steps are nobody's fault, and are not counted as waited."""
    async with scene() as here:
        here.small.stuck = {0: "started", 1: "created", 2: "scheduled"}
        here.small.later(1.0, here.small.take, 0)
        attempt = Attempt(here)
        failed = await attempt.failing()
        assert Reason.POD_LOST is failed.reason
        assert set() == {step for n in range(COUNT) for step in attempt.steps(n, censored=True)}


@virtual
async def test_a_controller_that_is_shown_too_late_interrupts_the_watch() -> None:
    """All pods are Ready, but the watch shows their controller only after the deadline: it was late, nobody else."""
    async with scene() as here:
        attempt = Attempt(here)

        def late() -> None:
            (stream,) = here.api.open_streams(CONTROLLERS)
            stream.say("ADDED", here.api.objects[CONTROLLERS]["khealth-a-run-1"])

        here.small.later(0.025, lambda: blind(*here.api.open_streams(CONTROLLERS)))
        here.small.later(BOUND - 1.0, here.api.faults.append, hanging("list", seconds=0.5))
        here.small.later(BOUND + 0.3, late)
        assert Reason.WATCH_INTERRUPTED is (await attempt.failing()).reason


@virtual
async def test_an_evicted_pod_is_disrupted() -> None:
    """Its cluster says that it is taken away on purpose."""
    async with scene() as here:
        here.small.stuck = {0: "started"}

        def evict() -> None:
            name = here.small.pod_names()[0]
            here.api.put(PODS, disrupted(leaving(here.api.objects[PODS][name])))

        here.small.later(1.0, evict)
        assert Reason.DISRUPTED is (await Attempt(here).failing()).reason


@virtual
async def test_another_attempts_pods_are_not_ours() -> None:
    """Two attempts in one namespace do not see each other's pods."""
    async with scene() as here:
        first, second = Attempt(here, 1), Attempt(here, 2)
        async with asyncio.TaskGroup() as group:
            group.create_task(first.init())
            group.create_task(second.init())
        names = [{trace.item.name for trace in attempt.pods.traces.values()} for attempt in (first, second)]
        assert {f"khealth-a-run-1-{n}" for n in range(COUNT)} == names[0]
        assert {f"khealth-a-run-2-{n}" for n in range(COUNT)} == names[1]


@virtual
async def test_the_watch_catches_up_with_pods_that_are_gone() -> None:
    """The API server shows no pod any more: the question is settled once the watch has shown each of them go."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()

        async def empty(asked: Asked) -> Answer | None:
            none: Json = {"metadata": {"resourceVersion": "1"}, "items": []}
            return here.api.answer(asked, none) if asked.verb == "list" and asked.resource == PODS else None

        here.api.faults.append(empty)
        began = here.clock.now()
        for number, name in enumerate(here.small.pod_names(), 1):
            here.small.later(number / 10, here.api.remove, PODS, name)
        await attempt.pods.ask(began + BOUND)
        assert COUNT / 10 == pytest.approx(here.clock.now() - began)


@virtual
async def test_a_watch_that_does_not_show_a_pod_go_is_interrupted() -> None:
    """For a second at most it is waited for."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        blind(*here.api.open_streams(PODS))
        here.api.remove(PODS, here.small.pod_names()[1])
        began = here.clock.now()
        with pytest.raises(Failed) as raised:
            await attempt.pods.ask(began + BOUND)
        assert Reason.WATCH_INTERRUPTED is raised.value.reason
        assert 1.0 == pytest.approx(here.clock.now() - began, abs=0.1)
