"""Faults that only a simulator has on order: each is named as what it is."""

import pytest
from bodies.run import all_held, counted, holding
from bodies.target import Target, wait_for


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("sandbox-fails", (1, "failure", "sandbox_failed")),
        ("sandbox-fails:node-2", (1, "failure", "one_node")),
        ("image-missing", (1, "failure", "image_pull_failed")),
        ("never-ready", (1, "failure", "pod_not_ready")),
        ("nodes-not-ready", (1, "failure", "nodes_not_ready")),
        ("deletion-stuck", (1, "failure", "kubelet_silent")),
        ("webhook-down", (1, "failure", "webhook_failed")),
        ("quota", (3, "inconclusive", "quota_exceeded")),
        ("api-429", (3, "inconclusive", "throttled")),
        ("api-500", (1, "failure", "api_error")),
        ("api-503", (1, "failure", "api_error")),
    ],
)
def test_a_fault_is_named(target: Target, fault: str, verdict: tuple[int, str, str]) -> None:
    """Exit code, result and reason say what was broken."""
    with target.broken(fault):
        found = target.once(target.quick())
    assert verdict == found.verdict, found.attempt["note"]


def test_an_api_server_that_is_only_slow_is_no_failure(target: Target) -> None:
    """A second for each answer is measured, not blamed."""
    with target.broken("api-slow"):
        found = target.once(target.quick(timeout="10s"))
    assert ((0, "success", None), True) == (found.verdict, found.attempt["steps"]["accept"] >= 1)


def test_containers_that_start_and_crash_are_found_in_the_hold(target: Target) -> None:
    """For a moment they were Ready: one look does not find them, the hold does."""
    with target.broken("container-crashes"), target.running(holding(target)) as running:
        wait_for("the verdict", counted(running, "failures", "pod_crashed"))
        running.stop()


@pytest.mark.parametrize(
    ("fault", "counter", "reason"),
    [
        ("pods-lost", "failures", "pod_lost"),
        ("pods-evicted", "inconclusive", "disrupted"),
        ("node-drained", "inconclusive", "disrupted"),
        ("node-gone", "inconclusive", "disrupted"),
    ],
)
def test_a_disturbance_in_the_hold_is_told_apart(target: Target, fault: str, counter: str, reason: str) -> None:
    """A pod that vanishes unexplained is a failure, one that is drained away is none."""
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
        with target.broken(fault):
            wait_for("the verdict", counted(running, counter, reason))
        running.stop()


def test_a_watch_that_is_cut_in_the_hold_changes_nothing(target: Target) -> None:
    """It is resumed where it was: the attempt succeeds, and the restart is counted."""
    with target.running(holding(target, pod_ttl="4s")) as running:
        wait_for("the hold", lambda: all_held(target))
        target.begin("watch-cut")
        wait_for("the verdict", lambda: running.metric("khealth_attempts_total"))
        restarts = sum(
            running.metric("khealth_watch_restarts_total", cause=cause) or 0 for cause in ("ended", "api_unreachable")
        )
        shown = running.state(), restarts >= 1
        running.stop()
    assert (200, True) == shown
