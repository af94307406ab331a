"""deployment from its first request to its verdict, on a small cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from documents import disrupted, leaving, unschedulable
from fakes import GONE, UNREACHABLE, Asked, Json, refusing
from small_cluster import PODS, Scene, scene
from small_workloads import DEPLOYMENTS, REPLICA_SETS, SmallDeployments
from virtual_time import run, virtual

from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.kinds import DEPLOYMENT, POD, REPLICA_SET
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import Attempt, State
from khealth_exporter.routines.deployment import DeploymentRoutine, DeploymentSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

QUOTA = 'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'


@dataclass
class There:
    """A small cluster with a Deployment controller."""

    here: Scene

    @property
    def small(self) -> SmallDeployments:
        return cast("SmallDeployments", self.here.small)

    async def attempt(self, **chosen: Any) -> Attempt:
        """Make one attempt."""
        collector = Collector("workloads", self.here.figures.metrics, self.here.clock)
        settings = DeploymentSettings(**chosen)
        collector.want([RoutineConfig("workloads", "d", DeploymentRoutine, settings)], self.here.context)
        await collector.start(once=True)
        (status,) = collector.status().routines
        return status.attempts[0]

    async def reason(self, **chosen: Any) -> Reason | None:
        """Return why one attempt does not succeed; nothing may be left of it."""
        attempt = await self.attempt(**chosen)
        assert [] == self.small.left
        assert attempt.verdict
        return attempt.verdict.reason

    def once_updated(self, act: Callable[[], object], *, after: float = 0.0) -> None:
        """Do something some seconds after the update was answered."""

        async def fault(asked: Asked) -> None:
            if asked.verb == "patch":
                self.small.later(after + self.here.api.latency, act)

        self.here.api.faults.append(fault)


@asynccontextmanager
async def there() -> AsyncIterator[There]:
    """Watch a small cluster with Deployments until the block ends."""
    async with scene(kinds=(POD, DEPLOYMENT), small=SmallDeployments) as here:
        yield There(here)


@virtual
async def test_a_rollout_on_a_well_cluster_is_a_success() -> None:
    """The Deployment is available, rolls out, and leaves nothing."""
    async with there() as it:
        assert None is await it.reason()


@virtual
async def test_every_step_is_measured() -> None:
    """Steps of the Deployment once, those of a pod for each of four pods; only the first two were asked for."""
    async with there() as it:
        await it.attempt()
        ours = {"module": "workloads", "routine": "d"}
        count = "khealth_step_duration_seconds_count"
        steps = {
            s.name: it.here.figures.value(count, **ours, step=s.name) for s in DeploymentRoutine.steps if not s.sli
        }
        once = dict.fromkeys(("accept", "observe", "available", "update", "rolled_out"), 1.0)
        pods = dict.fromkeys(("schedule", "sandbox", "start", "ready"), 4.0)
        assert once | pods | {"create": 2.0, "delete": 2.0} == steps


@virtual
async def test_a_surge_pod_comes_before_an_old_one_goes() -> None:
    """The strategy that the Deployment is created with."""
    async with there() as it:
        await it.attempt(replicas=3)
        (created,) = it.here.api.named("create", DEPLOYMENTS)
        spec = created.body["spec"]
        assert {"maxSurge": 1, "maxUnavailable": 0} == spec["strategy"]["rollingUpdate"]
        assert (3, 45) == (spec["replicas"], spec["progressDeadlineSeconds"])


@virtual
async def test_a_controller_manager_that_does_not_observe_is_told() -> None:
    """Before any pod is missed."""
    async with there() as it:
        it.small.acting = False
        assert Reason.STATUS_NOT_OBSERVED is await it.reason()


@virtual
async def test_counts_that_are_never_told_stall_the_rollout() -> None:
    """All pods are Ready, and the Deployment is not available."""
    async with there() as it:
        it.small.telling = False
        assert Reason.ROLLOUT_STALLED is await it.reason()


@virtual
async def test_new_pods_that_are_not_created_stall_the_rollout() -> None:
    """The Deployment controller stops with the update."""
    async with there() as it:
        it.once_updated(lambda: setattr(it.small, "acting", False))
        attempt = await it.attempt()
        assert attempt.verdict
        assert (Reason.ROLLOUT_STALLED, Component.CONTROLLER_MANAGER) == (
            attempt.verdict.reason,
            attempt.verdict.component,
        )


@virtual
async def test_old_pods_that_are_not_taken_stall_the_rollout() -> None:
    """The first new pod is Ready, and nothing comes of it."""
    async with there() as it:
        it.once_updated(lambda: setattr(it.small, "acting", False), after=0.1)
        assert Reason.ROLLOUT_STALLED is await it.reason()


@pytest.mark.parametrize(
    ("stage", "change", "reason"),
    [
        ("created", None, Reason.POD_NOT_SCHEDULED),
        ("created", unschedulable, Reason.POD_UNSCHEDULABLE),
        ("accepted", None, Reason.SANDBOX_FAILED),
        ("started", None, Reason.POD_NOT_READY),
    ],
)
@pytest.mark.parametrize("number", [0, 2], ids=["first", "new"])
def test_a_pods_own_failure_keeps_its_reason(
    number: int, stage: str, change: Callable[[Json], Json] | None, reason: Reason
) -> None:
    """Of the first template or of the new one: the rollout waits rightly."""

    async def scenario() -> None:
        async with there() as it:
            it.small.nodes = ("node-1",)
            it.small.stuck = {number: stage}
            it.small.change = {number: change} if change else {}
            assert reason is await it.reason()

    run(scenario())


@virtual
async def test_one_new_pod_that_fails_does_not_tell_its_node_from_others() -> None:
    """The old pods on other nodes have not tried what it tries."""
    async with there() as it:
        it.small.stuck = {2: "accepted"}
        assert Reason.SANDBOX_FAILED is await it.reason()


@virtual
async def test_a_slow_scheduler_is_blamed_for_a_rollout_that_has_no_time_left() -> None:
    """The second new pod is not created yet, because the first one was scheduled late."""
    async with there() as it:
        it.once_updated(lambda: it.small.delays.update(scheduled=42.3))
        assert Reason.POD_NOT_SCHEDULED is await it.reason()


@pytest.mark.parametrize("number", [0, 2], ids=["first", "surge"])
def test_a_quota_that_refuses_pods_says_nothing_of_the_cluster(number: int) -> None:
    """The ReplicaSet's refusal stands in the Deployment's conditions too."""

    async def scenario() -> None:
        async with there() as it:
            if number:
                it.once_updated(lambda: it.small.refuse_pods(QUOTA))
            else:
                it.small.refuse_pods(QUOTA)
            assert Reason.QUOTA_EXCEEDED is await it.reason()

    run(scenario())


@virtual
async def test_old_pods_that_go_too_early_break_the_promise() -> None:
    """At once, and not at the deadline; the evidence has the pods."""
    async with there() as it:
        it.small.rude = True
        attempt = await it.attempt()
        assert attempt.verdict
        assert attempt.judged is not None
        assert (Reason.ROLLOUT_UNAVAILABLE, True) == (attempt.verdict.reason, attempt.judged - attempt.began < 5.0)


@virtual
async def test_as_many_pods_may_be_missing_as_the_strategy_allows() -> None:
    """With max_unavailable, old pods may go first."""
    async with there() as it:
        it.small.rude = True
        assert None is await it.reason(max_unavailable=2)


@virtual
async def test_a_node_that_is_drained_during_the_rollout_breaks_no_promise() -> None:
    """An eviction is told by the pod itself."""
    async with there() as it:

        def evict() -> None:
            name = it.small.pod_names()[0]
            it.here.api.put(PODS, leaving(disrupted(it.here.api.objects[PODS][name])))

        it.small.stuck = {2: "created"}
        it.once_updated(evict, after=0.3)
        assert Reason.DISRUPTED is await it.reason()


@virtual
async def test_an_old_pod_that_stops_being_ready_has_its_own_reason() -> None:
    """It is not the controller that took it."""
    async with there() as it:
        it.small.stuck = {2: "created"}
        it.once_updated(lambda: it.here.say(0, "Ready", "False"), after=0.3)
        assert Reason.POD_NOT_READY is await it.reason()


@virtual
async def test_an_old_pod_that_another_client_deletes_is_lost() -> None:
    """Its ReplicaSet replaces it, which it would not do with a pod that it took itself."""
    async with there() as it:

        def take() -> None:
            it.small.take(0)
            (replica_set,) = [o for o in it.here.api.objects[REPLICA_SETS].values() if o["spec"]["replicas"] == 2]
            it.small.number(replica_set)

        it.small.stuck = {2: "created"}
        it.once_updated(take, after=0.3)
        assert Reason.POD_LOST is await it.reason()


@virtual
async def test_a_replacement_that_takes_a_moment_is_waited_for() -> None:
    """The controller did not take the pod, though at first it looks as if it had."""
    async with there() as it:

        def take() -> None:
            it.small.acting = False
            it.small.take(0)
            (replica_set,) = [o for o in it.here.api.objects[REPLICA_SETS].values() if o["spec"]["replicas"] == 2]
            it.small.later(0.5, it.small.number, replica_set)

        it.small.stuck = {2: "created"}
        it.once_updated(take, after=0.3)
        assert Reason.POD_LOST is await it.reason()


@virtual
async def test_a_new_pod_that_another_client_deletes_is_lost() -> None:
    """As with any controller's pods."""
    async with there() as it:
        it.once_updated(lambda: it.small.take(2), after=0.3)
        assert Reason.POD_LOST is await it.reason()


CHANGES: tuple[tuple[str, Callable[[Json], Json]], ...] = (
    ("scaled", lambda d: {**d, "spec": {**d["spec"], "replicas": 1}}),
    ("paused", lambda d: {**d, "spec": {**d["spec"], "paused": True}}),
    ("deleted", leaving),
)


@pytest.mark.parametrize("change", [row[1] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_what_another_client_does_to_the_deployment_is_interference(change: Callable[[Json], Json]) -> None:
    """Told from a controller that stalls."""

    async def scenario() -> None:
        async with there() as it:

            def act() -> None:
                it.small.acting = False
                (deployment,) = it.here.api.objects[DEPLOYMENTS].values()
                it.here.api.put(DEPLOYMENTS, change(deployment))

            it.once_updated(act, after=0.01)
            attempt = await it.attempt()
            assert attempt.verdict
            assert Reason.INTERRUPTED is attempt.verdict.reason

    run(scenario())


@virtual
async def test_a_deployment_that_is_gone_at_its_update_was_deleted_by_another() -> None:
    """That is no rejection by the API server."""
    async with there() as it:

        async def vanish(asked: Asked) -> None:
            if asked.verb == "patch":
                it.here.api.objects[REPLICA_SETS].clear()
                for name in it.small.pod_names():
                    it.here.api.remove(PODS, name)
                it.here.api.remove(DEPLOYMENTS, asked.name)

        it.here.api.faults.append(vanish)
        assert Reason.INTERRUPTED is await it.reason()


@pytest.mark.parametrize("verb", ["create", "patch"])
def test_a_write_without_an_answer_is_the_api_servers(verb: str) -> None:
    """And what it may have created is removed."""

    async def scenario() -> None:
        async with there() as it:
            it.here.api.faults.append(refusing(verb, by=UNREACHABLE))
            assert Reason.API_UNREACHABLE is await it.reason()

    run(scenario())


@virtual
async def test_a_deployment_that_an_unanswered_create_has_made_is_deleted() -> None:
    """It is asked for by name, several times."""
    async with there() as it:

        async def lose(asked: Asked) -> Refusal | Answer | None:
            if asked.verb != "create" or asked.query.get("dryRun"):
                return None
            it.here.api.created(DEPLOYMENTS, it.here.api.put(DEPLOYMENTS, {**asked.body, "metadata": {
                "generation": 1, **asked.body["metadata"]}}))  # fmt: skip
            return UNREACHABLE

        it.here.api.faults.append(lose)
        assert Reason.API_UNREACHABLE is await it.reason()


@virtual
async def test_a_watch_that_lists_again_during_the_rollout_proves_no_promise() -> None:
    """A pod may have been missing meanwhile."""
    async with there() as it:
        it.once_updated(lambda: it.here.api.relist(GONE), after=0.3)
        assert Reason.WATCH_INTERRUPTED is await it.reason()


@virtual
async def test_replica_sets_that_nobody_collects_create_no_more_pods() -> None:
    """They go before the pods do."""
    async with there() as it:
        it.small.collecting = False
        assert Reason.POD_NOT_DELETED is await it.reason()
        await asyncio.sleep(10.0)
        assert [] == it.small.left


def test_what_dead_runs_left_is_swept_with_its_replica_sets() -> None:
    """A ReplicaSet that stays goes on creating pods."""
    assert {DEPLOYMENT, POD, REPLICA_SET} == set(DeploymentRoutine.sweeps())


def test_it_is_well_is_shown() -> None:
    """Its state is that of its last attempt."""

    async def scenario() -> None:
        async with there() as it:
            collector = Collector("workloads", it.here.figures.metrics, it.here.clock)
            wanted = [RoutineConfig("workloads", "d", DeploymentRoutine, DeploymentSettings())]
            collector.want(wanted, it.here.context)
            await collector.start(once=True)
            (status,) = collector.status().routines
            assert State.WELL is status.state

    run(scenario())
