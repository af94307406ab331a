"""pod, on a small cluster on virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from documents import node, unschedulable
from fakes import FORBIDDEN, TIMEOUT, UNAVAILABLE, Asked, refusal, refusing
from small_cluster import Scene, pinned_to, scene
from virtual_time import run, virtual

from khealth_exporter.canaries.pod_spec import PodSettings, Resources
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.kinds import NODE, POD
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import RoutineStatus, State
from khealth_exporter.routines.pod import PodRoutine, PodRoutineSettings
from khealth_exporter.vocabulary.reason import Reason

PODS = "pods"
OURS = {"module": "workloads", "routine": "pod"}


async def ran(here: Scene, seconds: float, **chosen: Any) -> RoutineStatus:
    """Run pod for some seconds."""
    collector = Collector("workloads", here.figures.metrics, here.clock)
    settings = PodRoutineSettings(**chosen)
    wanted = RoutineConfig("workloads", "pod", PodRoutine, settings)
    here.cluster.watches.need(PodRoutine.watched(settings))
    collector.want([wanted], here.context)
    here.small.later(seconds, collector.terminate)
    await collector.start()
    (status,) = collector.status().routines
    return status


def visited(status: RoutineStatus) -> list[str | None]:
    """Return the node of each attempt's pod."""
    return [sample.node for attempt in status.attempts for sample in attempt.samples[:1]]


def reasons(status: RoutineStatus) -> list[Reason | None]:
    return [attempt.verdict.reason for attempt in status.attempts if attempt.verdict]


def nodes_asked_for(here: Scene) -> list[str]:
    """Return the node that each created pod was made for."""
    found = []
    for asked in here.api.named("create", PODS):
        required = asked.body["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        found.append(required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
    return found


@virtual
async def test_the_pod_is_what_policies_demand() -> None:
    """Its labels, resources and user are the settings'; what khealth finds it by stays."""
    limits = {"cpu": "10m", "memory": "16Mi"}
    wanted = PodSettings(labels={"team": "sre"}, resources=Resources(limits=limits), runAsUser=None)
    async with scene() as here:
        status = await ran(here, 20.0, pod=wanted)
        sent = here.api.named("create", PODS)[0].body
        labels = sent["metadata"]["labels"]
        assert ("sre", "false", "pod") == (
            labels["team"],
            labels["sidecar.istio.io/inject"],
            labels["khealth.io/routine"],
        )
        assert limits == sent["spec"]["containers"][0]["resources"]["limits"]
        assert ("runAsUser" in sent["spec"]["securityContext"], [None]) == (False, reasons(status))


@virtual
async def test_the_pod_goes_to_the_next_node() -> None:
    """Round and round, and nothing is left."""
    async with scene() as here:
        status = await ran(here, 100.0)
        assert ["node-1", "node-2", "node-3", "node-1"] == nodes_asked_for(here)
        assert ([None] * 4, {}) == (reasons(status), here.api.objects[PODS])


@virtual
async def test_a_pods_way_is_measured() -> None:
    """Its steps, without that of a controller."""
    async with scene() as here:
        status = await ran(here, 1.0)
        (attempt,) = status.attempts
        (sample,) = attempt.samples
        expected = ["schedule", "sandbox", "start", "ready", "startup", "delete"]
        assert (["accept"], expected) == (
            [m.step.name for m in attempt.measurements],
            [m.step.name for m in sample.measurements],
        )


@virtual
async def test_the_nodes_are_listed_once_in_a_while() -> None:
    """On a large cluster the list is the most expensive request."""
    async with scene() as here:
        await ran(here, 200.0)
        assert 1 == len(here.api.named("list", "nodes"))


def break_node(here: Scene, broken: str) -> None:
    """Let a node's kubelet take up nothing more."""
    advance = here.small._advance

    def stopped(name: str, number: int, stages: list[str]) -> None:
        bound_to = here.api.objects[PODS].get(name, {}).get("spec", {}).get("nodeName")
        if not (bound_to == broken and stages[0] == "accepted"):
            advance(name, number, stages)

    here.small._advance = stopped  # type: ignore[method-assign]


@virtual
async def test_a_broken_node_is_one_node() -> None:
    """Pods on other nodes are well: a ticket, and nobody is woken."""
    async with scene() as here:
        break_node(here, "node-2")
        status = await ran(here, 50.0)
        assert [None, Reason.ONE_NODE] == reasons(status)
        assert "kubelet_silent on node-2 only" in (
            status.attempts[1].verdict.note if status.attempts[1].verdict else ""
        )


@virtual
async def test_a_node_that_failed_is_tried_again_next() -> None:
    """And then every other time, so that it hides no other node."""
    async with scene() as here:
        break_node(here, "node-2")
        await ran(here, 200.0)
        assert ["node-1", "node-2", "node-2", "node-3", "node-1", "node-2", "node-3"] == nodes_asked_for(here)


@virtual
async def test_failing_nodes_are_counted_and_named_in_the_status() -> None:
    """The metric has no node's name: it is in the status."""
    async with scene() as here:
        break_node(here, "node-2")
        status = await ran(here, 50.0)
        remarks = {remark.name: remark.text for remark in status.remarks}
        assert 1.0 == here.figures.value("khealth_nodes_failing", **OURS)
        assert ("node-2 (kubelet_silent)", "3 usable nodes, one every 30 s: a full round takes 1 min 30 s") == (
            remarks["failing nodes"],
            remarks["round"],
        )


@virtual
async def test_a_success_elsewhere_does_not_hide_a_node_that_still_fails() -> None:
    """The state is that of the latest attempt, and what it leaves out is said beside it."""
    async with scene() as here:
        break_node(here, "node-2")
        status = await ran(here, 110.0)
        assert (Reason.ONE_NODE, None) == tuple(reasons(status)[-2:])
        assert (State.WELL, "failing nodes: node-2 (kubelet_silent)") == (status.state, status.still_failing)


@virtual
async def test_a_pod_that_is_not_scheduled_makes_no_node_fail() -> None:
    """The scheduler failed: a ticket about a healthy node would name the wrong component."""
    async with scene() as here:
        here.small.stuck = {0: "created"}
        status = await ran(here, 50.0)
        assert Reason.POD_NOT_SCHEDULED is reasons(status)[-1]
        assert 0.0 == here.figures.value("khealth_nodes_failing", **OURS)


@virtual
async def test_a_full_node_is_no_node() -> None:
    """The scheduler has answered, and the node is well: nobody is to blame."""
    async with scene() as here:
        here.small.stuck = {0: "created"}
        here.small.change = {0: lambda pod: unschedulable(pod, "0/3 nodes are available: 1 Too many pods.")}
        status = await ran(here, 50.0)
        assert [Reason.NO_NODE, Reason.NO_NODE] == reasons(status)
        assert "Too many pods" in (status.attempts[0].verdict.note if status.attempts[0].verdict else "")
        assert 0.0 == here.figures.value("khealth_nodes_failing", **OURS)


@virtual
async def test_one_attempt_is_lost_when_the_nodes_are_replaced() -> None:
    """The list is up to five minutes old; the next attempt has a new one."""
    async with scene() as here:

        def replace() -> None:
            for name in here.small.nodes:
                here.api.remove("nodes", name)
            for number in (7, 8):
                here.api.put("nodes", node(f"node-{number}"))

        def unbound(name: str, number: int, stages: list[str]) -> None:
            pod = here.api.objects[PODS].get(name)
            if pod and pinned_to(pod) not in here.api.objects["nodes"]:
                here.api.put(PODS, unschedulable(pod))
            else:
                advance(name, number, stages)

        advance, here.small._advance = here.small._advance, unbound  # type: ignore[method-assign]
        here.small.later(20.0, replace)
        status = await ran(here, 100.0)
        assert ["node-1", "node-2", "node-7", "node-8"] == nodes_asked_for(here)
        assert [None, Reason.NO_NODE, None, None] == reasons(status)


@virtual
async def test_a_broken_node_that_comes_first_is_one_node_as_soon_as_another_is_known() -> None:
    """Two failures in a row that are not known to be one node's would page somebody."""
    async with scene() as here:
        break_node(here, "node-1")
        status = await ran(here, 110.0)
        assert ["node-1", "node-2", "node-1", "node-3"] == nodes_asked_for(here)
        assert [Reason.KUBELET_SILENT, None, Reason.ONE_NODE, None] == reasons(status)


@virtual
async def test_a_node_that_does_not_end_its_pods_hides_no_other() -> None:
    """They become Ready there all the same."""
    async with scene() as here:
        ended = here.small._deleted

        def stuck(resource: str, item: Any, options: Any) -> bool:
            if pinned_to(item) == "node-2" and options.get("gracePeriodSeconds") != 0:
                return False
            return ended(resource, item, options)

        here.api.deleted = stuck
        status = await ran(here, 250.0)
        assert {"node-1", "node-2", "node-3"} == set(nodes_asked_for(here)[3:])
        assert {None, Reason.ONE_NODE} == set(reasons(status))
        assert 1.0 == here.figures.value("khealth_nodes_failing", **OURS)


@virtual
async def test_nodes_that_are_not_ready_any_more_are_no_one_node() -> None:
    """The list that the pods go by is up to five minutes old; the one that the verdict goes by is new."""
    async with scene() as here:

        def go() -> None:
            here.small.stuck = dict.fromkeys(range(9), "created")
            here.small.change = dict.fromkeys(range(9), unschedulable)
            for name in here.small.nodes:
                here.api.put("nodes", node(name, ready="Unknown", taints=("node.kubernetes.io/unreachable",)))

        here.small.later(20.0, go)
        assert [None, *[Reason.NODES_NOT_READY] * 3] == reasons(await ran(here, 110.0))


@virtual
async def test_a_new_node_is_no_reason_for_more_attempts_while_nodes_cannot_be_listed() -> None:
    """The attempt fails before it can choose the node."""
    async with scene() as here:
        here.small.later(301.0, here.api.faults.append, refusing("list", resource="nodes", by=UNAVAILABLE))
        here.small.later(305.0, here.api.put, "nodes", node("node-9"))
        status = await ran(here, 400.0, new_nodes=True)
        assert 4 >= len([reason for reason in reasons(status) if reason is Reason.API_ERROR])


@virtual
async def test_nodes_that_all_fail_are_no_one_node() -> None:
    """The second one in a row says that it is more than one node."""
    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        status = await ran(here, 170.0)
        assert Reason.ONE_NODE not in reasons(status)
        assert Reason.KUBELET_SILENT is reasons(status)[-1]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("node-1", cordoned=True)], Reason.NO_NODE),
        ([node("node-1", ready="Unknown")], Reason.NODES_NOT_READY),
    ],
)
def test_without_a_usable_node_there_is_no_pod(nodes: list[Any], expected: Reason) -> None:
    """Cordoned nodes say nothing about the cluster; nodes that are not Ready do."""

    async def scenario() -> None:
        async with scene() as here:
            for name in here.small.nodes:
                here.api.remove("nodes", name)
            for document in nodes:
                here.api.put("nodes", document)
            status = await ran(here, 1.0)
            assert ([expected], []) == (reasons(status), nodes_asked_for(here))

    run(scenario())


@pytest.mark.parametrize(
    ("toleration", "reason", "asked_for"),
    [
        ({"operator": "Exists", "effect": "NoExecute"}, Reason.NO_NODE, []),
        ({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}, None, ["node-1"]),
    ],
)
def test_a_cordoned_node_has_a_turn_where_the_pods_tolerate_it(
    toleration: dict[str, str], reason: Reason | None, asked_for: list[str]
) -> None:
    """Tolerating other effects opens neither it nor the control plane."""

    async def scenario() -> None:
        async with scene() as here:
            for name in here.small.nodes:
                here.api.remove("nodes", name)
            here.api.put("nodes", node("node-1", cordoned=True, taints=("node.kubernetes.io/unschedulable",)))
            here.api.put("nodes", node("control", taints=("node-role.kubernetes.io/control-plane",)))
            status = await ran(here, 10.0, pod={"tolerations": [toleration]})
            assert ([reason], asked_for) == (reasons(status), nodes_asked_for(here))

    run(scenario())


@virtual
async def test_without_the_right_to_list_nodes_it_is_forbidden() -> None:
    """It cannot choose a node."""
    async with scene() as here:
        here.api.faults.append(refusing("list", resource="nodes", by=FORBIDDEN))
        assert [Reason.FORBIDDEN] == reasons(await ran(here, 1.0))


@virtual
async def test_a_new_node_is_visited_at_once() -> None:
    """When it becomes Ready for the first time; the grid goes on."""
    async with scene() as here:
        here.small.later(40.0, here.api.put, "nodes", node("node-9", ready="False"))
        here.small.later(45.0, here.api.put, "nodes", node("node-9"))
        await ran(here, 70.0, new_nodes=True)
        assert ["node-1", "node-2", "node-9", "node-3"] == nodes_asked_for(here)
        (created,) = [asked.at for asked in here.api.named("create", PODS)][2:3]
        assert 45.0 == pytest.approx(created - 1000.0, abs=1.0)


@virtual
async def test_a_new_node_that_no_canary_may_use_is_not_visited() -> None:
    """Its pod could not be scheduled."""
    async with scene() as here:
        windows = node("node-8")
        windows["metadata"]["labels"]["kubernetes.io/os"] = "windows"
        here.small.later(10.0, here.api.put, "nodes", node("node-9", taints=("dedicated",)))
        here.small.later(11.0, here.api.put, "nodes", windows)
        await ran(here, 40.0, new_nodes=True)
        assert ["node-1", "node-2"] == nodes_asked_for(here)


@virtual
async def test_a_new_node_that_goes_during_an_attempt_is_not_visited() -> None:
    """Nothing follows the nodes meanwhile."""
    async with scene() as here:
        here.small.ending = False
        for name in ("node-8", "node-9"):
            here.small.later(31.0, here.api.put, "nodes", node(name))
        here.small.later(40.0, here.api.remove, "nodes", "node-9")
        await ran(here, 70.0, new_nodes=True)
        assert ["node-1", "node-2", "node-8", "node-3"] == nodes_asked_for(here)


@virtual
async def test_a_new_node_is_visited_though_its_first_attempt_fails() -> None:
    """On the grid: an outage is no time for more attempts."""
    async with scene() as here:
        refused = refusing("create", resource=PODS, by=TIMEOUT)
        here.small.later(10.0, here.api.faults.append, refused)
        here.small.later(12.0, here.api.put, "nodes", node("node-9"))
        here.small.later(25.0, here.api.faults.remove, refused)
        await ran(here, 40.0, new_nodes=True)
        assert ["node-1", "node-9", "node-9"] == nodes_asked_for(here)


@virtual
async def test_nodes_that_were_ready_before_are_not_new() -> None:
    """A start of khealth is no reason to visit all nodes at once."""
    async with scene() as here:
        await ran(here, 40.0, new_nodes=True)
        assert 2 == len(nodes_asked_for(here))


def test_nodes_are_watched_only_for_new_ones() -> None:
    """On a large cluster their heartbeats are many."""
    settings: Callable[..., PodRoutineSettings] = PodRoutineSettings
    assert ((POD,), (POD, NODE)) == tuple(PodRoutine.watched(settings(new_nodes=new)) for new in (False, True))


@virtual
async def test_a_pod_that_its_kubelet_does_not_end_is_removed() -> None:
    """Without the kubelet; the verdict says whose fault it was."""
    async with scene() as here:
        here.small.ending = False
        status = await ran(here, 1.0)
        assert ([Reason.KUBELET_SILENT], {}) == (reasons(status), here.api.objects[PODS])


@virtual
async def test_an_unanswered_create_leaves_nothing() -> None:
    """Its pod is found and deleted."""
    async with scene() as here:
        here.small.later(0.5, here.api.cut)
        await ran(here, 100.0)
        await asyncio.sleep(5.0)
        assert {} == here.api.objects[PODS]


@pytest.mark.parametrize(
    ("stage", "asked", "reason"),
    [
        pytest.param("created", True, Reason.INTERRUPTED, id="asked to go before it has a node"),
        pytest.param("created", False, Reason.INTERRUPTED, id="gone before it has a node"),
        pytest.param("scheduled", True, Reason.INTERRUPTED, id="asked to go"),
        pytest.param("scheduled", False, Reason.POD_LOST, id="gone from its node without being asked"),
    ],
)
def test_a_pod_that_another_client_deletes_is_an_interruption(stage: str, asked: bool, reason: Reason) -> None:
    """No component has a claim on a pod without a controller; but one that vanishes from its node was not deleted so."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck = {0: stage}
            here.small.later(2.0, lambda: here.small.take(0, asked=asked))
            assert [reason] == reasons(await ran(here, 10.0))
            assert {} == here.api.objects[PODS]

    run(scenario())


@virtual
async def test_a_pod_that_goes_with_its_namespace_is_an_interruption() -> None:
    """However it went."""
    said = refusal(403, "namespace is being terminated", "Forbidden", "NamespaceTerminating")

    async def trial(asked: Asked) -> Refusal | None:
        return said if asked.query.get("dryRun") else None

    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        here.api.faults.append(trial)
        here.small.later(2.0, lambda: here.small.take(0, asked=False))
        assert [Reason.INTERRUPTED] == reasons(await ran(here, 10.0))
