"""controllers, on a small cluster on virtual time."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from documents import bound, disrupted, leaving
from fakes import FORBIDDEN, UNREACHABLE, Asked, Json, refusal, refusing
from pydantic import ValidationError
from small_cluster import Scene, scene
from virtual_time import run, virtual

from khealth_exporter.canaries.pod_spec import PodSettings
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.kinds import DEPLOYMENT, POD, REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.routines.controllers import SCHEDULER, Controllers, ControllersSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

KINDS = {"ReplicationController": REPLICATION_CONTROLLER, "Deployment": DEPLOYMENT, "StatefulSet": STATEFUL_SET}
QUOTA = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
RESTRICTED = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


async def attempted(here: Scene, **chosen: Any) -> Attempt:
    """Return what one attempt came to; no scheduler looks at its pod."""
    settings = ControllersSettings(**chosen)
    here.small.controllers = settings.kind.plural
    here.small.stuck.setdefault(0, "created")
    here.cluster.watches.need(Controllers.watched(settings))
    collector = Collector("control-plane", here.figures.metrics, here.clock)
    collector.want([RoutineConfig("control-plane", "controllers", Controllers, settings)], here.context)
    await collector.start(once=True)
    (status,) = collector.status().routines
    return status.attempts[-1]


def reason(attempt: Attempt) -> Reason | None:
    return attempt.verdict.reason if attempt.verdict else None


def note(attempt: Attempt) -> str:
    return attempt.verdict.note if attempt.verdict else ""


def steps(attempt: Attempt) -> Iterator[str]:
    yield from (measured.step.name for sample in attempt.samples for measured in sample.measurements)
    yield from (measured.step.name for measured in attempt.measurements)


@pytest.mark.parametrize("workload", KINDS)
def test_pod_and_status_are_seen_and_both_go(workload: str) -> None:
    """Whatever the kind of the controller; nothing is left."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = await attempted(here, workload=workload)
            assert (None, []) == (reason(attempt), here.small.left)
            assert ["create", "delete", "observe"] == sorted(steps(attempt))

    run(scenario())


@pytest.mark.parametrize(("workload", "kind"), KINDS.items())
def test_the_pod_waits_for_a_scheduler_that_does_not_exist(workload: str, kind: Any) -> None:
    """One pod, in the template of the chosen kind, whose selector is the attempt's alone."""

    async def scenario() -> None:
        async with scene() as here:
            await attempted(here, workload=workload, pod=PodSettings(labels={"team": "sre"}))
            sent = here.api.named("create", kind.plural)[0].body
            spec, template = sent["spec"], sent["spec"]["template"]
            assert (kind.api_version, workload, 1, SCHEDULER) == (
                sent["apiVersion"], sent["kind"], spec["replicas"], template["spec"]["schedulerName"],
            )  # fmt: skip
            selector = spec["selector"].get("matchLabels", spec["selector"])
            assert ("controllers", True, "sre") == (
                selector["khealth.io/routine"],
                selector.items() <= template["metadata"]["labels"].items(),
                sent["metadata"]["labels"]["team"],
            )

    run(scenario())


@virtual
async def test_it_costs_two_writes() -> None:
    """As it declares."""
    async with scene() as here:
        await attempted(here)
        assert Controllers.writes == sum(asked.verb in {"create", "delete"} for asked in here.api.asked)


@virtual
async def test_a_controller_manager_that_creates_no_pod_is_blamed() -> None:
    """The pod is counted with the time waited, and the controller is removed without it."""
    async with scene() as here:
        here.small.looking = False
        attempt = await attempted(here)
        assert attempt.verdict
        assert (Reason.POD_NOT_CREATED, Component.CONTROLLER_MANAGER) == (reason(attempt), attempt.verdict.component)
        censored = [(m.step.name, m.censored) for sample in attempt.samples for m in sample.measurements]
        assert ([("create", True)], []) == (censored, here.small.left)


@virtual
async def test_a_status_that_does_not_count_the_pod_is_not_observed() -> None:
    """The pod exists; the step is observe."""
    async with scene() as here:
        here.small.counting = False
        attempt = await attempted(here)
        assert (Reason.STATUS_NOT_OBSERVED, []) == (reason(attempt), here.small.left)
        assert "status.replicas is 0, observedGeneration 1" in note(attempt)


@virtual
async def test_a_status_that_had_no_time_left_is_nobodys_fault() -> None:
    """A pod that came late has used up the time, or the API server has."""
    async with scene() as here:
        here.small.counting = False

        async def slow(asked: Asked) -> None:
            if asked.verb == "create" and not asked.query:
                await asyncio.sleep(12.0)

        here.api.faults.append(slow)
        assert Reason.NO_SINGLE_CAUSE is reason(await attempted(here))


@virtual
async def test_a_slow_api_server_is_not_the_controller_managers_fault() -> None:
    """What used up the time is the write."""
    async with scene() as here:
        here.small.delays["created"] = 30.0

        async def slow(asked: Asked) -> None:
            if asked.verb == "create" and not asked.query:
                await asyncio.sleep(19.0)

        here.api.faults.append(slow)
        assert Reason.API_TIMEOUT is reason(await attempted(here))


@virtual
async def test_a_garbage_collector_that_does_not_act_is_blamed() -> None:
    """Pod and controller are removed without it."""
    async with scene() as here:
        here.small.collecting = False
        attempt = await attempted(here)
        assert (Reason.POD_NOT_DELETED, []) == (reason(attempt), here.small.left)


@virtual
async def test_a_replica_set_that_nobody_collects_goes_too() -> None:
    """It would create another pod."""
    async with scene() as here:
        here.small.collecting = False

        def make() -> None:
            (deployment,) = here.api.objects["deployments"].values()
            owner = {"kind": "Deployment", "uid": deployment["metadata"]["uid"]}
            marks = {"labels": deployment["metadata"]["labels"], "ownerReferences": [owner]}
            here.api.put("replicasets", {"metadata": {"name": "made", **marks}})

        here.small.later(0.05, make)
        attempt = await attempted(here, workload="Deployment")
        assert (Reason.POD_NOT_DELETED, {}, []) == (
            reason(attempt),
            here.api.objects["replicasets"],
            here.small.left,
        )


@virtual
async def test_a_busy_garbage_collector_is_not_blamed_at_once() -> None:
    """The controller manager has taken note of the deletion: it works."""
    async with scene() as here:
        here.small.collecting, here.small.noting = False, True
        attempt = await attempted(here)
        assert (Reason.UNKNOWN, []) == (reason(attempt), here.small.left)


@pytest.mark.parametrize(("words", "expected"), [(QUOTA, Reason.QUOTA_EXCEEDED), (RESTRICTED, Reason.API_REJECTED)])
def test_a_refused_pod_is_not_the_controller_managers_fault(words: str, expected: Reason) -> None:
    """Its condition ReplicaFailure tells the API server's own words."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.refuse_pods(words)
            attempt = await attempted(here)
            assert (expected, True) == (reason(attempt), words[20:40] in note(attempt))

    run(scenario())


@pytest.mark.parametrize(("words", "expected"), [(QUOTA, Reason.QUOTA_EXCEEDED), (RESTRICTED, Reason.API_REJECTED)])
def test_a_statefulsets_refused_pod_is_known_by_an_event(words: str, expected: Reason) -> None:
    """It has no such condition."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck[0] = "none"

            async def told(asked: Asked) -> None:
                if asked.verb == "list" and asked.resource == "events":
                    name = here.api.named("create", "statefulsets")[0].body["metadata"]["name"]
                    message = f"Create Pod {name}-0 in StatefulSet {name} failed error: {words}"
                    about = {"kind": "StatefulSet", "name": name}
                    event = {"reason": "FailedCreate", "message": message, "involvedObject": about}
                    here.api.put("events", {"metadata": {"name": "e"}, **event})

            here.api.faults.append(told)
            attempt = await attempted(here, workload="StatefulSet")
            assert (expected, True, []) == (reason(attempt), words[20:40] in note(attempt), here.small.left)

    run(scenario())


def change(here: Scene, at: float, how: Any) -> None:
    """Let another client do something to the controller."""

    def act() -> None:
        plural = here.small.controllers
        for item in list(here.api.objects.get(plural, {}).values()):
            how(plural, item)

    here.small.later(at, act)


def scaled(here: Scene) -> None:
    change(here, 1.0, lambda plural, item: here.api.put(plural, {**item, "spec": {**item["spec"], "replicas": 0}}))


def deleted(here: Scene) -> None:
    change(here, 1.0, lambda plural, item: here.api.remove(plural, item["metadata"]["name"]))


def relabelled(here: Scene) -> None:
    """What has other labels is gone for a watch that selects by them."""

    def strip(plural: str, item: Json) -> None:
        here.api.remove(plural, item["metadata"]["name"])
        here.api.objects[plural][item["metadata"]["name"]] = {**item, "metadata": {**item["metadata"], "labels": {}}}

    change(here, 1.0, strip)


@pytest.mark.parametrize("interfere", [scaled, deleted, relabelled])
@pytest.mark.parametrize("what", ["looking", "counting"])
def test_another_client_is_not_the_controller_managers_fault(interfere: Any, what: str) -> None:
    """Whether the pod or the status is waited for."""

    async def scenario() -> None:
        async with scene() as here:
            setattr(here.small, what, False)
            interfere(here)
            attempt = await attempted(here)
            assert (Reason.INTERRUPTED, []) == (reason(attempt), here.small.left)

    run(scenario())


@virtual
async def test_a_namespace_that_goes_is_not_the_controller_managers_fault() -> None:
    """A create on trial tells."""
    gone = refusal(
        403, "is forbidden: unable to create new content in namespace khealth because it is being terminated"
    )

    async def trial(asked: Asked) -> Refusal | None:
        return gone if asked.query.get("dryRun") else None

    async with scene() as here:
        here.small.looking = False
        here.api.faults.append(trial)
        assert Reason.INTERRUPTED is reason(await attempted(here))


def taken(pod: Json) -> Json:
    return leaving(pod)


def evicted(pod: Json) -> Json:
    return disrupted(leaving(pod))


@pytest.mark.parametrize("how", [taken, evicted])
def test_a_pod_that_somebody_deletes_is_no_nodes_fault(how: Any) -> None:
    """It has no node."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.change[0] = how
            attempt = await attempted(here)
            assert (Reason.INTERRUPTED, True) == (
                reason(attempt),
                "another client has changed the pod" in note(attempt),
            )

    run(scenario())


@virtual
async def test_a_pod_that_was_given_a_node_blames_no_kubelet() -> None:
    """Somebody has changed its scheduler; the attempt says nothing of the node."""
    async with scene() as here:
        here.small.change[0], here.small.ending = bound, False
        attempt = await attempted(here)
        assert (Reason.INTERRUPTED, True, []) == (reason(attempt), "kubelet" in note(attempt), here.small.left)


@virtual
async def test_a_finalizer_of_another_client_is_not_the_garbage_collectors_fault() -> None:
    """What has it stays until that client removes it."""
    async with scene() as here:

        def held(pod: Json) -> Json:
            return {**pod, "metadata": {**pod["metadata"], "finalizers": ["example.com/keep"]}}

        here.small.change[0], here.small.ending = held, False
        attempt = await attempted(here)
        assert (Reason.INTERRUPTED, True) == (reason(attempt), "example.com/keep" in note(attempt))


@virtual
async def test_an_unanswered_create_is_found_and_removed() -> None:
    """The write went through; nobody has heard of it."""
    async with scene() as here:

        async def lost(asked: Asked) -> Refusal | None:
            if asked.verb != "create":
                return None
            here.api._create(asked)
            return UNREACHABLE

        here.api.faults.append(lost)
        attempt = await attempted(here)
        assert (Reason.API_UNREACHABLE, []) == (reason(attempt), here.small.left)


@pytest.mark.parametrize("workload", KINDS)
@pytest.mark.parametrize("seconds", [0.005, 0.05, 0.15, 0.6])
def test_what_a_killed_run_leaves_is_swept(workload: str, seconds: float) -> None:
    """By its labels, whatever the moment."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.counting = seconds < 0.5
            here.api.faults.append(refusing("delete", by=FORBIDDEN))
            await attempted(here, workload=workload, timeout=seconds)
            here.api.faults.clear()
            sweeper = Sweeper(here.cluster)
            sweeper.cover(Controllers.sweeps())
            for _ in range(2):
                await sweeper.sweep()
                await asyncio.sleep(1.0)
            assert [] == here.small.left

    run(scenario())


def test_it_watches_what_its_settings_choose() -> None:
    """And it may sweep what other settings have chosen before."""
    watched = [Controllers.watched(ControllersSettings(workload=workload)) for workload in KINDS]
    assert [(POD, kind) for kind in KINDS.values()] == watched
    assert {POD, *KINDS.values(), REPLICA_SET} == set(Controllers.sweeps())


def test_another_kind_is_refused() -> None:
    """Only Kubernetes' own controllers whose pods it can follow."""
    with pytest.raises(ValidationError, match="workload"):
        ControllersSettings.model_validate({"workload": "DaemonSet"})
