"""What `khealth once` says of a healthy cluster, and of each way in which one is broken."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException

from bodies.attempts import Once, repeated
from bodies.target import Target, wait_for

MILESTONES = ["created", "scheduled", "sandboxed", "started", "ready", "deleted"]
STEPS = ["create", "schedule", "sandbox", "start", "ready", "startup", "delete"]


def test_a_healthy_cluster_is_well(target: Target) -> None:
    """Exit 0, and every one of the three pods is sampled, each step of it with its time."""
    found = target.once(target.configure())
    samples = found.attempt["samples"]
    measured = [sorted(step for step, seconds in s["steps"].items() if seconds is not None) for s in samples]
    assert ((0, "success", None), [sorted(STEPS)] * 3) == (found.verdict, measured)


def test_a_report_that_cannot_be_written_is_no_failed_cluster(target: Target) -> None:
    """The attempt was well; the code says that nobody can read that."""
    words = target.command("once", "--config", target.configure(replicas=1), "rcscheduler", "--json")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=150, check=False)  # noqa: S603
    line = "khealth: cannot write to standard output: No space left on device\n"
    assert (3, line, []) == (done.returncode, done.stderr, target.objects())


def test_milestones_are_in_the_order_of_a_pods_life(target: Target) -> None:
    """No pod is seen to start before it is scheduled, and so on."""
    found = target.once(target.configure(replicas=1))
    (sample,) = found.attempt["samples"]
    times = [sample["observed"][name] for name in MILESTONES]
    assert sorted(times) == times


def test_once_leaves_nothing(target: Target) -> None:
    """When it has ended, no object of it is left."""
    target.once(target.configure())
    assert [] == target.objects()


def test_a_missing_namespace_is_made_and_removed(target: Target) -> None:
    """The namespace that `once` made itself is gone when it ends."""
    target.namespace += "-new"
    found = target.once(target.configure())
    names = [item.metadata.name for item in target.core.list_namespace().items]
    target.namespace = target.namespace.removesuffix("-new")
    assert ((0, "success", None), False) == (found.verdict, f"{target.namespace}-new" in names)


def test_every_routine_is_well_on_a_healthy_cluster(target: Target) -> None:
    """Side by side, with nothing left."""
    found = target.every(target.configure())
    assert (0, target.routines, []) == (found.code, found.well, target.objects()), found.told


UNBOUND = {name: {"pod_not_scheduled"} for name in ("rcscheduler", "pod", "deployment", "job")}
UNMANAGED = {
    "rcscheduler": {"pod_not_created"},
    "controllers": {"pod_not_created"},
    "deployment": {"status_not_observed"},
    "job": {"pod_not_created"},
    "collect": {"not_collected"},
}
_NODE = {"kubelet_silent", "nodes_not_ready", "sandbox_failed", "pod_not_started"}
SILENT = dict.fromkeys(UNBOUND, _NODE)
MAY = {"kubelet-stalled:node-2": {routine: {"one_node", *_NODE} for routine in UNBOUND}}
"""By fault, what else may fail, as it is up to the scheduler where pods run."""


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "component", "expected"),
    [
        ("scheduler-stalled", "scheduler", UNBOUND),
        ("scheduler-stopped", "scheduler", UNBOUND),
        ("controller-stalled", "controller_manager", UNMANAGED),
        ("controller-stopped", "controller_manager", UNMANAGED),
        ("kubelet-stalled", "node", SILENT),
        ("runtime-stalled", "node", SILENT),
        ("kubelet-stalled:node-2", "node", {"rcscheduler": {"one_node"}}),
    ],
)
def test_a_broken_component_is_named(target: Target, fault: str, component: str, expected: dict[str, set[str]]) -> None:
    """Exit 1. Every routine that needs the component names it; no other routine blames anything."""
    found = target.under(fault, target.quick(timeout=f"{target.crowded:g}s"))
    must, may = expected.keys() & target.routines, {**MAY.get(fault, {}), **expected}
    assert (1, True) == (found.code, must <= found.blamed.keys()), found.told
    assert {component} == {blamed for blamed, _ in found.blamed.values()}, found.told
    assert all(reason in may.get(routine, ()) for routine, (_, reason) in found.blamed.items()), found.told
    assert target.routines - found.blamed.keys() == found.well, found.told


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "blamed"),
    [
        ("scheduler-stalled", ("scheduler", "pod_not_scheduled")),
        ("controller-stalled", ("controller_manager", "pod_not_created")),
    ],
)
def test_a_component_that_took_up_the_time_is_named_though_it_works_again(
    target: Target, fault: str, blamed: tuple[str, str]
) -> None:
    """The pods are with their kubelets at the deadline, which got them too late.

    Where they move at that very moment, the watch may be behind the API server, and then nothing is blamed.
    """

    def useless(made: tuple[Once, bool]) -> bool:
        # Khealth that comes late may find that all are Ready after all.
        found, late = made
        return found.spoiled or not found.blamed or (late and not _tells(found, fault))

    found, _ = repeated(lambda: _resumed_late(target, fault), useless)
    assert {"rcscheduler": blamed} == found.blamed, found.told
    assert _tells(found, fault), found.told


def _tells(found: Once, fault: str) -> bool:
    """Tell whether a note says what came late; on a busy machine it works again too late for some of the pods."""
    came_late = "schedule took" if fault == "scheduler-stalled" else "create took"
    return any(said in found.attempt["note"] for said in (came_late, "not created", "not reported"))


def _resumed_late(target: Target, fault: str) -> tuple[Once, bool]:
    """Return an attempt whose fault ends as late as the pods could just be Ready, if nothing else delayed them.

    And whether it has ended even later.
    """
    wait_for("a healthy cluster", target.healthy, target.patience)
    target.begin(fault)
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(target.attempt, target.quick(), "rcscheduler")
        wait_for("the controller", lambda: target.objects() or attempt.done())
        resumed = time.monotonic() + target.timeout - target.fastest
        wait_for("nearly all of the time to pass", lambda: time.monotonic() >= resumed)
        target.end(fault)
        late = attempt.done() or time.monotonic() > resumed + target.fastest
        return attempt.result(150), late


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("api-paused", {"api_timeout"}),
        ("api-down", {"api_unreachable"}),
        ("etcd-stalled", {"api_timeout", "api_error"}),
    ],
)
def test_an_api_server_that_does_not_answer_is_named(target: Target, fault: str, reasons: set[str]) -> None:
    """Exit 3 (or 1, if it did answer that it cannot). Every routine names the API server."""
    found = target.under(fault, target.quick(timeout=f"{target.crowded:g}s"))
    assert target.routines == set(found.blamed), found.told
    assert {"api_server"} == {component for component, _ in found.blamed.values()}, found.told
    told = {reason for _, reason in found.blamed.values()}
    assert (told <= reasons, found.code) == (True, 1 if "api_error" in told else 3), found.told


def test_an_image_that_cannot_be_pulled_is_named(target: Target) -> None:
    """The registry is to blame, not the kubelet."""
    found = target.once(target.quick(pod={"image": "registry.invalid/nothing:1"}))
    assert (1, "failure", "image_pull_failed") == found.verdict, found.attempt["note"]


def test_a_selector_that_nothing_matches_is_unschedulable(target: Target) -> None:
    """The scheduler has spoken: there is no such node."""
    found = target.once(target.quick(pod={"nodeSelector": {"khealth.io/no-such-node": "true"}}))
    assert (1, "failure", "pod_unschedulable") == found.verdict, found.attempt["note"]


def test_an_exceeded_quota_is_inconclusive(target: Target) -> None:
    """A quota says nothing of the cluster's health."""
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    target.core.create_namespaced_resource_quota(target.namespace, quota)
    wait_for("the quota's status", lambda: _quota_is_counted(target))
    found = target.once(target.quick())
    assert (3, "inconclusive", "quota_exceeded") == found.verdict


def test_a_quota_that_demands_limits_is_inconclusive(target: Target) -> None:
    """It refuses what does not specify them; the note says what to set."""
    quota = {"metadata": {"name": "limits"}, "spec": {"hard": {"limits.cpu": "10"}}}
    target.core.create_namespaced_resource_quota(target.namespace, quota)
    wait_for("the quota's status", lambda: _quota_is_counted(target))
    found = target.once(target.quick())
    assert (3, "inconclusive", "quota_exceeded") == found.verdict, found.attempt["note"]
    assert "must specify limits.cpu for: pause: set pod.resources" in found.attempt["note"]


def _quota_is_counted(target: Target) -> bool:
    (quota,) = target.core.list_namespaced_resource_quota(target.namespace).items
    return bool(quota.status and quota.status.hard)


def test_pods_that_a_limit_range_refuses_are_rejected(target: Target) -> None:
    """What the API server refuses the controller manager is found in the controller's condition."""
    limit = {"type": "Container", "min": {"memory": "64Mi"}}
    body = {"metadata": {"name": "large"}, "spec": {"limits": [limit]}}
    target.core.create_namespaced_limit_range(target.namespace, body)
    found = target.once(target.quick())
    assert (1, "failure", "api_rejected") == found.verdict


def test_pods_that_an_admission_policy_refuses_are_rejected(target: Target) -> None:
    """The same by a ValidatingAdmissionPolicy."""
    name = target.namespace
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    labels = {"matchLabels": {"kubernetes.io/metadata.name": target.namespace}}
    target.admission.create_validating_admission_policy(
        {
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule], "namespaceSelector": labels},
                "validations": [{"expression": "false", "message": "nothing may run here"}],
            },
        }
    )
    try:
        target.admission.create_validating_admission_policy_binding(
            {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
        )
        wait_for("the policy to be in force", lambda: _pods_are_refused(target))
        found = target.once(target.quick())
    finally:
        target.admission.delete_validating_admission_policy_binding(name)
        target.admission.delete_validating_admission_policy(name)
    assert (1, "failure", "api_rejected") == found.verdict


def _pods_are_refused(target: Target) -> bool:
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "metadata": {"name": "refused"},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "image": "a", "securityContext": restricted}],
        },
    }
    try:
        target.core.create_namespaced_pod(target.namespace, pod, dry_run="All")
    except ApiException as error:
        return "nothing may run here" in str(error.body)
    return False
