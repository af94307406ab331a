"""What one routine's canaries tell of nodes, for others."""

import pytest
from documents import a_pod, bound, pod, running

from khealth_exporter.canaries.acting_nodes import ActingNodes
from khealth_exporter.canaries.diagnosis import Finding, blame
from khealth_exporter.canaries.pod_steps import SANDBOX, START, WAY
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason


def seen(node: str, *, started: float | None, now: float = 100.0) -> ActingNodes:
    """Return what is known after a canary on a node, which has started at this time or not at all."""
    trace = Trace(WAY, a_pod(bound(pod(), node)))
    if started is not None:
        trace.take(a_pod(bound(running(pod()), node)), Moment(started), removed=False)
    nodes = ActingNodes()
    nodes.note([trace], now)
    return nodes


def blamed(reason: Reason, nodes: ActingNodes, *, since: float = 50.0) -> Reason:
    """Return who is blamed for a single pod on node-2 that fails, which was created at a time."""
    found = Finding(SANDBOX, reason, "so it is", "node-2")
    failing = Trace(WAY, a_pod(pod()))
    failing.take(failing.item, Moment(since), removed=False)
    return blame([found], (SANDBOX,), (), nodes.since([failing])).reason


@pytest.mark.parametrize("reason", [Reason.KUBELET_SILENT, Reason.SANDBOX_FAILED])
def test_a_node_fails_alone_if_another_has_started_a_canary_meanwhile(reason: Reason) -> None:
    """Of whatever routine it was: a Job's single pod tells nothing of other nodes."""
    assert Reason.ONE_NODE is blamed(reason, seen("node-1", started=60.0))


@pytest.mark.parametrize(
    "nodes",
    [
        seen("node-1", started=40.0),
        seen("node-2", started=60.0),
        seen("node-1", started=None),
        seen("node-1", started=60.0, now=1000.0),
    ],
    ids=["earlier", "same node", "not started", "long ago"],
)
def test_otherwise_all_nodes_may_fail(nodes: ActingNodes) -> None:
    """No other node is known to act."""
    assert Reason.KUBELET_SILENT is blamed(Reason.KUBELET_SILENT, nodes)


def test_what_depends_on_the_pod_is_not_the_nodes_because_of_another_pod() -> None:
    """Another image starts elsewhere."""
    assert Reason.POD_CRASHED is blamed(Reason.POD_CRASHED, seen("node-1", started=60.0))


def still_running(nodes: ActingNodes, *, started: float, now: float = 90.0) -> Reason:
    """Return who is blamed for a canary on node-2 that runs at its deadline, and should have ended."""
    trace = Trace(WAY, a_pod(bound(pod(), "node-2")))
    trace.take(a_pod(bound(running(pod()), "node-2")), Moment(started), removed=False)
    (found,) = nodes.explained([Finding(START, Reason.DISK_FAILED, "it runs", "node-2", runs=True)], [trace], now)
    return found.reason


@pytest.mark.parametrize(
    ("silent", "node", "expected"),
    [
        (70.0, "node-2", Reason.KUBELET_SILENT),
        (70.0, "node-1", Reason.DISK_FAILED),
        (50.0, "node-2", Reason.DISK_FAILED),
    ],
    ids=["since then", "another node", "before it started"],
)
def test_that_a_canary_still_runs_says_nothing_if_its_kubelet_is_silent(
    silent: float, node: str, expected: Reason
) -> None:
    """It may have ended long ago; another routine has found out that the kubelet does nothing."""
    nodes = ActingNodes()
    nodes.explained([Finding(SANDBOX, Reason.KUBELET_SILENT, "so it is", node)], [], silent)
    assert expected is still_running(nodes, started=60.0)


def test_a_kubelet_that_has_started_another_canary_is_not_silent() -> None:
    """Then the canary does run."""
    nodes = seen("node-2", started=80.0)
    nodes.explained([Finding(SANDBOX, Reason.KUBELET_SILENT, "so it is", "node-2")], [], 70.0)
    assert Reason.DISK_FAILED is still_running(nodes, started=60.0)


def test_silence_of_long_ago_is_forgotten() -> None:
    """After ten minutes nothing is known."""
    nodes = ActingNodes()
    nodes.explained([Finding(SANDBOX, Reason.KUBELET_SILENT, "so it is", "node-2")], [], 70.0)
    assert Reason.DISK_FAILED is still_running(nodes, started=60.0, now=700.0)
