"""The pods of one attempt: made, held, made to go; and who is blamed when that does not work."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from documents import container, containers, disrupted, leaving, node, unschedulable, waiting
from fakes import FORBIDDEN, UNAVAILABLE, UNREACHABLE, Asked, Json, hanging, refusal, refusing
from hypothesis import given
from hypothesis import strategies as st
from small_cluster import CONTROLLERS, PODS, Scene, scene
from virtual_time import BEGINNING, run, virtual, virtual_loop

from khealth_exporter.canaries.diagnosis import not_created
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_set import PodSet
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.removal import Removal
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refusal, Refused
from khealth_exporter.cluster.kinds import POD, REPLICATION_CONTROLLER
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.verdict import Failed

COUNT = 3
STEPS = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY, STARTUP, DELETE)
BOUND = 20.0
REJECTED = refusal(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "Forbidden")


class Attempt:
    """Canaries of one attempt, and what they recorded."""

    def __init__(self, here: Scene, number: int = 1) -> None:
        self.here, self.number = here, number
        self.ownership = here.cluster.identity.of_attempt("a", "a", number, 100.0)
        placement, changed = PodSettings().placement, Signal()
        self.owned = Owned(REPLICATION_CONTROLLER, self.ownership, here.context, changed)
        self.pods = PodSet(self.owned, placement, here.context, STEPS, not_created)
        self.removal = Removal(self.owned, self.pods, placement, here.context, STEPS)
        self.accepted: Measurement | None = None
        self.samples: list[Sample] = []

    def manifest(self) -> Json:
        labels = dict(self.ownership.labels)
        metadata = {"labels": labels, "annotations": dict(self.ownership.annotations)}
        template = {"metadata": metadata, "spec": pod_spec(PodSettings(), labels)}
        spec = {"replicas": COUNT, "selector": labels, "template": template}
        return {"metadata": self.ownership.metadata(), "spec": spec}

    async def init(self) -> None:
        """Create the canaries, and wait until they are Ready."""
        deadline = self.here.clock.now() + BOUND
        await self.pods.see(deadline)
        self.accepted = await self.owned.create(self.manifest(), deadline, ACCEPT)
        await self.pods.all_ready(COUNT, deadline, self.samples.append)

    async def failing(self) -> Failed:
        """Return how init fails."""
        with pytest.raises(Failed) as raised:
            await self.init()
        return raised.value

    async def verify(self) -> None:
        await self.pods.verify(self.here.clock.now() + 10.0)

    async def unwell(self) -> Failed:
        """Return how a poll fails."""
        with pytest.raises(Failed) as raised:
            await self.verify()
        return raised.value

    async def remove(self) -> None:
        await self.removal.run(self.here.clock.now() + BOUND, BOUND, self.samples.append)

    async def staying(self) -> Failed:
        """Return how a removal fails."""
        with pytest.raises(Failed) as raised:
            await self.remove()
        return raised.value

    def close(self) -> None:
        """Let a sweep take what is left."""
        self.pods.close()
        self.owned.close()

    def steps(self, number: int = 0, *, censored: bool | None = None) -> dict[str, float]:
        measured = self.samples[number].measurements
        return {m.step.name: m.seconds for m in measured if censored in (None, m.censored)}


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
async def test_accept_is_the_time_of_the_answer() -> None:
    """From sending to the complete answer; exact at the first try."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        assert attempt.accepted is not None
        assert attempt.accepted.quality is Quality.EXACT
        assert attempt.accepted.seconds == pytest.approx(0.01)


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


@virtual
async def test_a_create_that_is_refused_is_raised() -> None:
    """With its own reason."""
    async with scene() as here:
        here.api.faults.append(refusing("create", by=REJECTED))
        assert Reason.API_REJECTED is (await Attempt(here).failing()).reason


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
                return Answer(201, b"{}", asked.at, asked.at + 0.1, 0.0, 2, None)
            return None

        here.api.faults.append(second)
        attempt = Attempt(here)
        await attempt.init()
        assert attempt.accepted is not None
        assert Quality.DEGRADED is attempt.accepted.quality


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
async def test_a_controller_manager_that_does_not_look_is_told() -> None:
    """ObservedGeneration stays below the generation."""
    async with scene() as here:
        here.small.looking = False
        failed = await Attempt(here).failing()
        assert (Reason.POD_NOT_CREATED, True) == (failed.reason, "has not observed" in failed.note)


@virtual
async def test_no_ready_node_is_told_from_no_room() -> None:
    """The nodes are listed once, on the failure path."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "created")
        here.small.change = dict.fromkeys(range(COUNT), unschedulable)
        for name in here.small.nodes:
            here.api.put("nodes", node(name, ready="Unknown"))
        failed = await Attempt(here).failing()
        assert (Reason.NODES_NOT_READY, 1) == (failed.reason, len(here.api.named("list", "nodes")))


@pytest.mark.parametrize("resource", ["nodes", "events"])
def test_without_optional_rights_there_is_a_verdict_all_the_same(resource: str) -> None:
    """Nodes and Events only sharpen it."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")
            here.api.faults.append(refusing("list", resource=resource, by=FORBIDDEN))
            assert Reason.KUBELET_SILENT is (await Attempt(here).failing()).reason

    run(scenario())


@virtual
async def test_what_is_garbled_on_the_failure_path_is_no_bug_of_khealth() -> None:
    """A proxy's page instead of the nodes: the verdict stands without them."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")

        async def garbled(asked: Asked) -> Answer | None:
            return here.api.answer(asked, b"<html>\xff") if asked.resource in ("nodes", "events") else None

        here.api.faults.append(garbled)
        assert Reason.KUBELET_SILENT is (await Attempt(here).failing()).reason


@virtual
async def test_a_failure_has_evidence() -> None:
    """The failing pod, the controller, and the Events about them: the canary is gone when someone looks."""
    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        event = {"metadata": {"name": "e"}, "involvedObject": {"name": "khealth-a-run-1-0"}, "reason": "FailedMount"}
        here.api.put("events", event)
        failed = await Attempt(here).failing()
        assert ["Pod", "ReplicationController", "Events"] == [seen.kind for seen in failed.evidence]


@virtual
async def test_a_pull_that_goes_on_is_the_registrys_failure() -> None:
    """Events tell that the image is on its way; the container says nothing."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "sandboxed")
        for number in range(COUNT):
            about = {"involvedObject": {"name": f"khealth-a-run-1-{number}"}, "reason": "Pulling"}
            here.api.put("events", {"metadata": {"name": f"e{number}"}, **about})
        assert Reason.IMAGE_PULL_FAILED is (await Attempt(here).failing()).reason


@virtual
async def test_nobody_is_blamed_when_the_watch_has_stopped() -> None:
    """The list shows more than the watch: watch_interrupted, and no step is censored."""
    async with scene() as here:
        attempt = Attempt(here)
        here.small.later(0.35, lambda: blind(*here.api.open_streams()))
        failed = await attempt.failing()
        assert Reason.WATCH_INTERRUPTED is failed.reason
        assert set() == {step for n in range(len(attempt.samples)) for step in attempt.steps(n, censored=True)}


def blind(*streams: Any) -> None:
    """Let streams show nothing more."""
    for stream in streams:
        stream.asked.query["labelSelector"] = "nothing=matches"


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
async def test_a_hold_in_which_the_watch_was_listed_anew_is_inconclusive() -> None:
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
async def test_what_goes_by_itself_while_questions_are_asked_is_late_and_no_failure() -> None:
    """Whoever is slow is not stuck."""
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
    """Whoever has removed what was left: khealth finds out by itself."""
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
async def test_a_garbage_collector_that_does_nothing_is_blamed_and_done_without() -> None:
    """Even while the controller manager is dead, nothing is left."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        here.small.collecting = False
        failed = await attempt.staying()
        assert (Reason.POD_NOT_DELETED, []) == (failed.reason, here.small.left)


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


@virtual
async def test_an_attempt_is_active_until_it_is_closed() -> None:
    """What is left of it may be swept from then on, however it went."""
    async with scene() as here:
        attempt = Attempt(here)
        during = set(here.cluster.active)
        attempt.close()
        assert ({("a", "a", "run", "1")}, set()) == (during, here.cluster.active)


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
async def test_a_refusal_carries_its_answer() -> None:
    """What is raised by init where the create is refused is the refusal itself."""
    async with scene() as here:
        here.api.faults.append(refusing("create", by=REJECTED))
        assert isinstance(await Attempt(here).failing(), Refused)


@virtual
async def test_an_object_of_somebody_elses_is_not_adopted() -> None:
    """Its name is taken, by another module's routine say: the create fails, and cleanup leaves the object alone."""
    async with scene() as here:
        attempt = Attempt(here)
        stranger = here.cluster.identity.of_attempt("b", "a", 1, 100.0)
        taken = {**stranger.metadata(), "name": attempt.ownership.name}
        here.api.put(CONTROLLERS, {"metadata": taken, "spec": {"replicas": 0}})
        assert Reason.API_REJECTED is (await attempt.failing()).reason
        await attempt.remove()
        assert [attempt.ownership.name] == here.small.left


@virtual
async def test_a_line_costs_the_same_however_many_pods_there_are() -> None:
    """What is waited for is counted as lines arrive: no condition looks through all pods."""
    async with scene() as here:
        attempt = Attempt(here)
        await attempt.init()
        (controller,) = here.api.objects[CONTROLLERS].values()
        for number in range(10, 1000):
            here.small._make(controller, number)
        await asyncio.sleep(2.0)
        attempt.pods.update()
        looked_at = Counting(attempt.pods.traces)
        attempt.pods.traces = looked_at
        resting = asyncio.create_task(attempt.pods.rest(10.0))
        await asyncio.sleep(0.1)
        for _ in range(100):
            here.say(5, "Ready")
            await asyncio.sleep(0.01)
        resting.cancel()
        assert (True, 0) == (looked_at.one >= 100, looked_at.all)


class Counting(dict[str, Any]):
    """A mapping that counts how often one of its values is looked up, and how often all are gone through."""

    one = all = 0

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.one += 1
        return super().setdefault(key, default)

    def __iter__(self) -> Any:
        self.all += 1
        return super().__iter__()

    def values(self) -> Any:
        self.all += 1
        return super().values()
