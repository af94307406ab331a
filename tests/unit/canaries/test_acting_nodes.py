"""What one routine's canaries tell of nodes, for others."""

import pytest
from documents import a_pod, bound, pod, running

from khealth_exporter.canaries.acting_nodes import ActingNodes
from khealth_exporter.canaries.diagnosis import Finding, blame
from khealth_exporter.canaries.pod_steps import SANDBOX, WAY
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
