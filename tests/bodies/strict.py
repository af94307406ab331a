"""Canary pods in strict clusters: what a pod can be told arrives in the pods, and does what it is for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from kubernetes import client

from bodies.begun import holding_pods
from bodies.run import holding
from bodies.target import Target

NODE = "node-2"
TAINT = {"key": "khealth.io/test-only", "value": "yes", "effect": "NoSchedule"}


def held(target: Target, **pod: Any) -> list[Any]:
    """Return the pods of one attempt while they are held: what they are told does not keep them from that."""
    with holding_pods(target, holding(target, pod=pod)) as running:
        pods = target.pods()
        running.stop()
    return pods


@contextmanager
def priority_class(target: Target) -> Iterator[str]:
    """Make a PriorityClass of value 1000, which preempts nobody, for the block."""
    api: Any = client.SchedulingV1Api(target.api)
    api.create_priority_class(
        {"metadata": {"name": target.namespace}, "value": 1000, "preemptionPolicy": "Never", "description": "a test's"}
    )
    try:
        yield target.namespace
    finally:
        api.delete_priority_class(target.namespace)


@contextmanager
def runtime_class(target: Target) -> Iterator[str]:
    """Make a RuntimeClass of runc, which every container runtime has, for the block."""
    api: Any = client.NodeV1Api(target.api)
    api.create_runtime_class({"metadata": {"name": target.namespace}, "handler": "runc"})
    try:
        yield target.namespace
    finally:
        api.delete_runtime_class(target.namespace)


@contextmanager
def tainted(target: Target) -> Iterator[None]:
    """Taint a node for the block."""
    before = target.core.read_node(NODE).spec.taints or []
    kept = [target.api.sanitize_for_serialization(taint) for taint in before if taint.key != TAINT["key"]]
    target.core.patch_node(NODE, {"spec": {"taints": [*kept, TAINT]}})
    try:
        yield
    finally:
        target.core.patch_node(NODE, {"spec": {"taints": kept or None}})


@pytest.mark.parametrize(
    ("told", "shown", "expected"),
    [
        (
            {"annotations": {"example.com/exempt": "yes"}},
            lambda pod: pod.metadata.annotations.get("example.com/exempt"),
            "yes",
        ),
        (
            {"annotations": {"sidecar.istio.io/inject": "true"}},
            lambda pod: pod.metadata.annotations.get("sidecar.istio.io/inject"),
            "true",
        ),
        (
            {"imagePullSecrets": [{"name": "not-there"}]},
            lambda pod: [secret.name for secret in pod.spec.image_pull_secrets],
            ["not-there"],
        ),
        ({"nodeSelector": {"kubernetes.io/hostname": NODE}}, lambda pod: pod.spec.node_name, NODE),
        (
            {"tolerations": [{"key": "example.com/pool", "operator": "Exists", "effect": "NoSchedule"}]},
            lambda pod: [t.operator for t in pod.spec.tolerations if t.key == "example.com/pool"],
            ["Exists"],
        ),
        ({"priorityClassName": "system-node-critical"}, lambda pod: pod.spec.priority, 2_000_001_000),
    ],
    ids=["annotation", "annotation-of-ours", "pull-secret", "node-selector", "toleration", "priority-of-the-system"],
)
def test_what_the_pods_are_told_arrives(
    target: Target, told: dict[str, Any], shown: Callable[[Any], Any], expected: Any
) -> None:
    """In each of them; a pull secret that is missing does no harm where the image is there."""
    assert [expected] * 3 == [shown(pod) for pod in held(target, **told)]


def test_a_priority_class_gives_its_value(target: Target) -> None:
    """The API server has looked it up."""
    with priority_class(target) as name:
        assert [1000] * 3 == [pod.spec.priority for pod in held(target, priorityClassName=name)]


def test_pods_run_in_a_runtime_class(target: Target) -> None:
    """The container runtime has understood its handler."""
    with runtime_class(target) as name:
        assert [name] * 3 == [pod.spec.runtime_class_name for pod in held(target, runtimeClassName=name)]


@pytest.mark.parametrize("setting", ["priorityClassName", "runtimeClassName"])
def test_a_class_that_is_missing_is_rejected_by_its_name(target: Target, setting: str) -> None:
    """The API server refuses the controller's pods, and says why."""
    found = target.once(target.quick(pod={setting: "not-there"}))
    assert ((1, "failure", "api_rejected"), True) == (found.verdict, "not-there" in found.attempt["note"]), found


@pytest.mark.alone
def test_a_taint_keeps_pods_away_that_do_not_tolerate_it(target: Target) -> None:
    """And lets those in that do."""
    there = {"nodeSelector": {"kubernetes.io/hostname": NODE}}
    with tainted(target):
        kept_away = target.once(target.quick(pod=there, timeout="3s"))
        let_in = target.once(target.configure(pod=there | {"tolerations": [TAINT]}))
    assert ((1, "failure", "pod_unschedulable"), (0, "success", None)) == (kept_away.verdict, let_in.verdict)


@contextmanager
def cordoned(target: Target, node: str) -> Iterator[None]:
    """Cordon a node for the block."""
    target.core.patch_node(node, {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        target.core.patch_node(node, {"spec": {"unschedulable": None}})


@pytest.mark.alone
def test_a_cordon_explains_it_where_the_other_node_repels_the_pods(target: Target) -> None:
    """A toleration of one effect tolerates no other, so the cordoned node is the only one for the pods."""
    tolerations = [{"operator": "Exists", "effect": "NoExecute"}]
    others = [node.metadata.name for node in target.core.list_node().items if node.metadata.name != NODE]
    with ExitStack() as around:
        around.enter_context(tainted(target))
        for node in others:
            around.enter_context(cordoned(target, node))
        found = target.once(target.quick(pod={"tolerations": tolerations}, timeout="3s"))
    assert (3, "inconclusive", "no_node") == found.verdict, found.attempt["note"]


def test_an_image_may_be_named_by_its_digest(target: Target) -> None:
    """By that which the nodes themselves know it by."""
    digest = held(target)[0].status.container_statuses[0].image_id
    pods = held(target, image=digest)
    assert ([digest] * 3, True) == ([pod.spec.containers[0].image for pod in pods], "sha256:" in digest)
