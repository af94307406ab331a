"""What khealth says and does when it lacks a right from the start."""

import pytest

from bodies.account import RIGHTS, account, right
from bodies.run import counted
from bodies.target import Target, wait_for

CONTROLLERS = "replicationcontrollers"


def told(target: Target, verb: str, resource: str) -> str:
    """Return how khealth names a right that it lacks."""
    return f"khealth may not {verb} {resource} in namespace {target.namespace}"


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("list", "pods"), ("watch", "pods"), ("list", CONTROLLERS), ("watch", CONTROLLERS), ("create", CONTROLLERS)],
)
def test_a_right_that_is_missing_from_the_start_is_named(target: Target, verb: str, resource: str) -> None:
    """Exit 3, inconclusive; the report and the log name verb, resource and namespace; nothing was made."""
    with account(target, RIGHTS - {right(verb, resource)}) as khealth:
        found = target.once(target.quick(), kubeconfig=khealth.kubeconfig())
    words = told(target, verb, resource)
    assert ((3, "inconclusive", "forbidden"), True, True, []) == (
        found.verdict,
        words in found.attempt["note"],
        words in found.log,
        target.objects(),
    ), found


@pytest.mark.parametrize(("verb", "resource"), [("get", CONTROLLERS), ("delete", "pods")])
def test_a_right_that_only_a_broken_cluster_takes_is_not_missed_on_a_healthy_one(
    target: Target, verb: str, resource: str
) -> None:
    """Nothing is asked for in advance."""
    with account(target, RIGHTS - {right(verb, resource)}) as khealth:
        found = target.once(target.configure(), kubeconfig=khealth.kubeconfig())
    assert (0, "success", None) == found.verdict, found.attempt["note"]


@pytest.mark.parametrize("resource", ["nodes", "events"])
def test_without_an_optional_right_there_is_a_verdict_all_the_same(target: Target, resource: str) -> None:
    """The failure counts as what it is; log, /status and page say what would sharpen it."""
    settings = target.quick(pod={"nodeSelector": {"khealth.io/no-such-node": "true"}}, interval="20s")
    namespace = None if resource == "nodes" else target.namespace
    with (
        account(target, RIGHTS - {right("list", resource)}) as khealth,
        target.running(settings, kubeconfig=khealth.kubeconfig()) as running,
    ):
        wait_for("the verdict", counted(running, "failures", "pod_unschedulable"))
        shown = running.forbidden(), f"khealth may not list {resource}" in running.get("/")[1]
        logged = running.log.count(f"khealth may not list {resource}")
        running.stop()
    assert (([("list", resource, namespace, True)], True), 1) == (shown, logged)
