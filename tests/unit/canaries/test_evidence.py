"""What is kept of a failed attempt, in lines for people."""

from typing import Any

from documents import (
    a_controller,
    a_pod,
    accepted,
    container,
    containers,
    controller,
    gated,
    injected,
    leaving,
    pod,
    read,
    readiness_gated,
    ready,
    terminated,
    waiting,
)
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canaries.evidence import of_events, of_owner, of_pod
from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.cluster.objects import KubernetesEvent, Pod
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace


def way(document: dict[str, Any], *, gone: bool = False) -> Trace[Pod]:
    followed = Trace(WAY, a_pod(document))
    followed.take(a_pod(document), Moment(1.0), removed=gone)
    return followed


def event(name: str, reason: str, at: str = "", **more: Any) -> KubernetesEvent:
    document = {"involvedObject": {"name": name}, "reason": reason, "message": "words", "lastTimestamp": at, **more}
    return read(KubernetesEvent, document)


def test_what_was_injected_into_a_pod_is_kept() -> None:
    """It explains why a pod differs from what khealth asked for."""
    document = accepted(pod())
    document["spec"] = {**document["spec"], "initContainers": [{"name": "istio-init"}]}
    assert "injected: init container istio-init" in of_pod(way(document)).lines


def test_a_pods_phase_and_conditions_are_kept() -> None:
    """Where it was, and what is said of it."""
    found = of_pod(way(accepted(pod("pod-a"))))
    assert ("Pod", "pod-a", "phase Pending on node-1") == (found.kind, found.name, found.lines[0])
    assert "PodReadyToStartContainers=False" in found.lines
    assert "Ready=False ContainersNotReady containers with unready status: [pause]" in found.lines


def test_a_pods_gates_are_kept() -> None:
    """By name: the condition tells of scheduling gates without their names."""
    held = readiness_gated(gated(pod(), "kueue.x-k8s.io/admission", "b.example/x"), "elb.example/ready")
    expected = ("scheduling gates: kueue.x-k8s.io/admission, b.example/x", "readiness gates: elb.example/ready")
    assert expected == of_pod(way(held)).lines[1:3]


def test_a_pod_without_a_node_says_so() -> None:
    """Before scheduling there is none."""
    assert "phase Pending on no node" == of_pod(way(pod())).lines[0]


def test_a_containers_state_is_kept() -> None:
    """What it waits for, how often it was restarted, and how it ended before that."""
    state = container(waiting("CrashLoopBackOff", "back-off 10s"), last=terminated(137, "OOMKilled"), restarts=2)
    expected = "container pause waiting CrashLoopBackOff back-off 10s, 2 restarts; before that it exited with code 137 OOMKilled"
    assert expected == of_pod(way(containers(pod(), state))).lines[-1]


def test_injected_containers_are_kept() -> None:
    """Init containers and sidecars first, as they start, each with its state, exit code or image."""
    held = containers(pod(), container(waiting("PodInitializing")))
    held = injected(held, "istio-init", terminated(0, "Completed"))
    held = injected(held, "proxy", waiting("ErrImagePull", "denied"), sidecar=True)
    expected = (
        "init container istio-init terminated with exit code 0 Completed, 0 restarts",
        "sidecar proxy waiting ErrImagePull denied image mesh.example/proxy:1, 0 restarts",
        "container pause waiting PodInitializing, 0 restarts",
    )
    assert expected == of_pod(way(held)).lines[-3:]


def test_a_pod_that_is_gone_says_so() -> None:
    """What is left of it is its last state."""
    assert "deleted" == of_pod(way(ready(pod()), gone=True)).lines[1]


def test_a_pod_that_is_asked_to_go_says_so() -> None:
    """With the time since when."""
    assert "being deleted since 2026-11-23T14:30:00Z" == of_pod(way(leaving(ready(pod())))).lines[1]


def test_a_controllers_replicas_and_generations_are_kept() -> None:
    """Whether the controller manager has looked at it, and what it complains of."""
    (found,) = of_owner(a_controller(controller(observed=0, refusal="exceeded quota")))
    assert ("0 replicas; generation 1, observed 0", "ReplicaFailure=True FailedCreate exceeded quota") == found.lines


def test_events_are_in_the_order_of_their_time() -> None:
    """By their last time, or where it is missing by the newer field, or their creation."""
    events = [
        event("x", "Third", "2026-11-23T14:30:03Z"),
        event("x", "First", metadata={"creationTimestamp": "2026-11-23T14:30:01Z"}),
        event("x", "Second", eventTime="2026-11-23T14:30:02.000000Z"),
    ]
    (found,) = of_events(events, "x")
    assert ["First:", "Second:", "Third:"] == [line.split()[-2] for line in found.lines]


def test_the_last_events_are_kept() -> None:
    """A dozen is enough for people."""
    (found,) = of_events([event("x", "R", f"2026-11-23T14:30:{n:02}Z") for n in range(30)], "x")
    assert (12, "2026-11-23T14:30:29Z") == (len(found.lines), found.lines[-1].split()[0])


def test_without_events_there_is_no_evidence_of_them() -> None:
    """An empty box helps nobody."""
    assert [] == list(of_events([], "khealth-a"))


TEXTS = st.text(max_size=400)


@given(TEXTS, TEXTS, TEXTS)
def test_every_line_is_one_short_line(message: str, reason: str, phase: str) -> None:
    """Whatever a kubelet writes, a line of evidence has no line breaks, and an end."""
    document = containers(pod(), container(waiting(reason, message)), phase=phase)
    lines = (
        *of_pod(way(document)).lines,
        *(line for e in of_events([event("x", reason, message)], "x") for line in e.lines),
    )
    assert all(line.isprintable() and len(line) <= 400 for line in lines)
