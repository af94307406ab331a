"""Server-side dry-run: validated, admitted and answered, but not stored."""

from typing import Any

import pytest
from integration.simulator.simulator_client import (
    CONFIG_MAPS,
    CONTROLLERS,
    DEPLOYMENTS,
    MERGE,
    NAMESPACE,
    PODS,
    STATEFUL_SETS,
    Client,
    condition,
    controller,
    is_ready,
    pod,
    workload,
)

from khealth_exporter.simulator import Simulator

NAMESPACES = "/api/v1/namespaces"
LEVEL = "pod-security.kubernetes.io/enforce"
BARE = [{"name": "c", "image": "i"}]


async def restrict(client: Client) -> None:
    """Let the namespace enforce *restricted*."""
    await client.patch(f"{NAMESPACES}/{NAMESPACE}", {"metadata": {"labels": {LEVEL: "restricted"}}})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PODS, pod("a")),
        (CONTROLLERS, controller("a")),
        (DEPLOYMENTS, workload("a")),
        (STATEFUL_SETS, workload("a")),
        (CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}}),
    ],
    ids=["pod", "replicationcontroller", "deployment", "statefulset", "configmap"],
)
async def test_a_dry_run_creates_nothing(client: Client, path: str, body: Any) -> None:
    """The answer has a uid and defaults, but no resourceVersion."""
    before = (await client.get(path)).body["items"]
    reply = await client.post(f"{path}?dryRun=All", body)
    assert (201, True, False) == (
        reply.code,
        "uid" in reply.body["metadata"],
        "resourceVersion" in reply.body["metadata"],
    )
    assert (404, before) == (
        (await client.get(f"{path}/a")).code,
        (await client.get(path)).body["items"],
    )


async def test_a_dry_run_of_an_update_changes_nothing(client: Client) -> None:
    """PUT and PATCH answer with what would be."""
    made = await client.post(DEPLOYMENTS, workload("d", 1, paused=True))
    patched = await client.patch(f"{DEPLOYMENTS}/d?dryRun=All", {"spec": {"replicas": 3}})
    replaced = await client.put(f"{DEPLOYMENTS}/d?dryRun=All", workload("d", 4))
    kept = (await client.get(f"{DEPLOYMENTS}/d")).body
    assert [3, 4, 1] == [found["spec"]["replicas"] for found in (patched.body, replaced.body, kept)]
    assert [2, 2, 1] == [found["metadata"]["generation"] for found in (patched.body, replaced.body, kept)]
    assert made.body["metadata"]["uid"] == kept["metadata"]["uid"]


async def test_a_dry_run_deletes_nothing(client: Client) -> None:
    """The answer is that of the real deletion: a Status for what would go at once."""
    await client.post(CONFIG_MAPS, {"metadata": {"name": "a"}})
    reply = await client.delete(f"{CONFIG_MAPS}/a?dryRun=All")
    foreground = await client.delete(f"{CONFIG_MAPS}/a", {"dryRun": ["All"], "propagationPolicy": "Foreground"})
    kept = await client.get(f"{CONFIG_MAPS}/a")
    assert (200, "Success", ["foregroundDeletion"]) == (
        reply.code,
        reply.body["status"],
        foreground.body["metadata"]["finalizers"],
    )
    assert (200, False) == (kept.code, "deletionTimestamp" in kept.body["metadata"])


async def test_a_dry_run_evicts_nothing(client: Client) -> None:
    """The pod stays, without the condition of a disruption."""
    await client.post(PODS, pod("a"))
    await client.reaches(PODS, is_ready)
    body = {"metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}}
    reply = await client.post(f"{PODS}/a/eviction", body)
    kept = (await client.get(f"{PODS}/a")).body
    assert (201, False, {}) == (
        reply.code,
        "deletionTimestamp" in kept["metadata"],
        condition(kept, "DisruptionTarget"),
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("POST", f"{PODS}?dryRun=Some", pod("b"), "CreateOptions"),
        ("POST", f"{PODS}?dryRun=", pod("b"), "CreateOptions"),
        ("PUT", f"{CONFIG_MAPS}/a?dryRun=Some", {"metadata": {"name": "a"}}, "UpdateOptions"),
        ("PATCH", f"{CONFIG_MAPS}/a?dryRun=Some", {"data": {"k": "v"}}, "PatchOptions"),
        ("DELETE", f"{CONFIG_MAPS}/a?dryRun=Some", None, "DeleteOptions"),
        ("DELETE", f"{CONFIG_MAPS}/a", {"dryRun": ["Some"]}, "DeleteOptions"),
    ],
)
async def test_another_value_is_refused(client: Client, method: str, path: str, body: Any, kind: str) -> None:
    """422 in the real words, and nothing happens."""
    await client.post(CONFIG_MAPS, {"metadata": {"name": "a"}})
    reply = await client.call(method, path, body, kind=MERGE if method == "PATCH" else "application/json")
    value = "Some" if "Some" in path + str(body) else ""
    message = f'{kind}.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["{value}"]: supported values: "All"'
    assert (422, message) == (reply.code, reply.message)
    assert [200, 404] == [(await client.get(f"{CONFIG_MAPS}/a")).code, (await client.get(f"{PODS}/b")).code]


async def test_a_dry_run_is_admitted_as_the_real_request(client: Client) -> None:
    """Pod Security refuses what it would refuse, and lets a compliant pod pass; its level can be read."""
    await restrict(client)
    refused = await client.post(f"{PODS}?dryRun=All", pod("a", containers=BARE))
    accepted = await client.post(f"{PODS}?dryRun=All", pod("a"))
    labels = (await client.get(f"{NAMESPACES}/{NAMESPACE}")).body["metadata"]["labels"]
    assert (403, True, 201, "restricted") == (
        refused.code,
        'pods "a" is forbidden: violates PodSecurity "restricted:latest": ' in refused.message,
        accepted.code,
        labels[LEVEL],
    )


async def test_a_dry_run_counts_against_the_quota(client: Client, simulator: Simulator) -> None:
    """It is refused, although it would use nothing."""
    simulator.begin("quota")
    reply = await client.post(f"{PODS}?dryRun=All", pod("a"))
    assert (403, True) == (reply.code, "exceeded quota: simulated-quota" in reply.message)


async def test_a_dry_run_of_a_name_that_is_taken_conflicts(client: Client) -> None:
    """409, as the real request."""
    await client.post(PODS, pod("a"))
    assert 409 == (await client.post(f"{PODS}?dryRun=All", pod("a"))).code


async def test_a_webhook_without_dry_run_refuses_dry_runs_alone(client: Client, simulator: Simulator) -> None:
    """400 names the webhook in the real words."""
    simulator.begin("webhook-no-dry-run")
    reply = await client.post(f"{PODS}?dryRun=All", pod("a"))
    message = 'admission webhook "pods.simulated.example" does not support dry run'
    assert (400, "BadRequest", message) == (reply.code, reply.body["reason"], reply.message)
    assert 201 == (await client.post(PODS, pod("a"))).code


async def test_bypassed_admission_lets_a_violation_pass(client: Client, simulator: Simulator) -> None:
    """The label is still there, and holds again afterwards."""
    await restrict(client)
    simulator.begin("admission-bypassed")
    passed = await client.post(f"{PODS}?dryRun=All", pod("a", containers=BARE))
    simulator.end("admission-bypassed")
    assert [201, 403] == [passed.code, (await client.post(f"{PODS}?dryRun=All", pod("a", containers=BARE))).code]
