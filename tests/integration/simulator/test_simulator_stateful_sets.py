"""StatefulSets over HTTP: numbered pods in order, revisions and status, as a real Kubernetes 1.37 has them."""

from typing import Any

import pytest
from integration.simulator.simulator_client import (
    APPS,
    PODS,
    STATEFUL_SETS,
    Client,
    is_ready,
    pod,
    renewed,
    workload,
)


def is_complete(found: Any) -> bool:
    """Tell whether every pod is ready and of the present template."""
    status, wanted = found["status"], found["spec"]["replicas"]
    observed = status.get("observedGeneration") == found["metadata"]["generation"]
    return bool(observed and status.get("currentReplicas") == status.get("readyReplicas") == wanted)


async def complete(client: Client, replicas: int = 3, **spec: Any) -> Any:
    """Create a StatefulSet, and return it once it is complete."""
    assert (await client.post(STATEFUL_SETS, workload("s", replicas, **spec))).code == 201
    return await client.reaches(STATEFUL_SETS, is_complete)


async def test_pods_are_created_in_order(client: Client) -> None:
    """Each is created once its predecessor is ready; its labels name it and its revision."""
    async with client.watch(PODS) as watcher:
        await client.post(STATEFUL_SETS, workload("s", 2))
        ready, second = list[str](), await watcher.next()
        while second["object"]["metadata"]["name"] != "s-1":
            ready += [second["object"]["metadata"]["name"]] if is_ready(second["object"]) else []
            second = await watcher.next()
    assert "s-0" in ready
    found = await client.reaches(STATEFUL_SETS, is_complete)
    assert {
        "app": "s",
        "statefulset.kubernetes.io/pod-name": "s-1",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": found["status"]["updateRevision"],
    } == second["object"]["metadata"]["labels"]
    assert "s-1" == second["object"]["spec"]["hostname"]


async def test_a_pod_that_is_not_scheduled_blocks_the_next(client: Client) -> None:
    """Only the first pod exists, and the status says so."""
    template = {"metadata": {"labels": {"app": "s"}}, "spec": pod("s", schedulerName="khealth.io/none")["spec"]}
    await client.post(STATEFUL_SETS, workload("s", 3, template=template))
    found = await client.reaches(STATEFUL_SETS, lambda found: found["status"]["replicas"] == 1)
    assert (1, 0, 1) == tuple(
        found["status"].get(name, 0) for name in ("observedGeneration", "readyReplicas", "updatedReplicas")
    )
    assert ["s-0"] == [one["metadata"]["name"] for one in (await client.get(PODS)).body["items"]]


async def test_parallel_pods_do_not_wait(client: Client) -> None:
    """All pods exist at once."""
    template = {"metadata": {"labels": {"app": "s"}}, "spec": pod("s", schedulerName="khealth.io/none")["spec"]}
    await client.post(STATEFUL_SETS, workload("s", 3, podManagementPolicy="Parallel", template=template))
    await client.becomes(PODS, lambda pods: len(pods) == 3)


async def test_an_update_goes_from_the_last_pod_to_the_first(client: Client) -> None:
    """One pod at a time, and the revision is the current one in the end."""
    before = await complete(client, 2)
    patched = await client.patch(f"{STATEFUL_SETS}/s", renewed("2"))
    gone = list[str]()
    async with client.watch(PODS, resourceVersion=patched.body["metadata"]["resourceVersion"]) as watcher:
        while len(gone) < 2:
            event = await watcher.next()
            gone += [event["object"]["metadata"]["name"]] if event["type"] == "DELETED" else []
    after = await client.reaches(STATEFUL_SETS, is_complete)
    assert ["s-1", "s-0"] == gone
    assert (
        after["status"]["currentRevision"] == after["status"]["updateRevision"] != before["status"]["currentRevision"]
    )
    assert 2 == len((await client.get(f"{APPS}/controllerrevisions")).body["items"])


async def test_a_stateful_set_shrinks_from_the_end(client: Client) -> None:
    """The first pod stays."""
    await complete(client)
    await client.patch(f"{STATEFUL_SETS}/s", {"spec": {"replicas": 1}})
    await client.becomes(PODS, lambda pods: [one["metadata"]["name"] for one in pods] == ["s-0"])


async def test_a_deleted_pod_returns_by_its_name(client: Client) -> None:
    """It has another uid."""
    await complete(client, 1)
    uid = (await client.delete(f"{PODS}/s-0")).body["metadata"]["uid"]
    await client.becomes(PODS, lambda pods: [one["metadata"]["uid"] == uid for one in pods] == [False])
    assert 200 == (await client.get(f"{PODS}/s-0")).code


async def test_pods_and_revisions_go_with_their_stateful_set(client: Client) -> None:
    """In the foreground, the StatefulSet is the last to go."""
    await complete(client, 2)
    await client.delete(f"{STATEFUL_SETS}/s", {"propagationPolicy": "Foreground"})
    await client.vanishes(STATEFUL_SETS, "s")
    left = [(await client.get(path)).body["items"] for path in (PODS, f"{APPS}/controllerrevisions")]
    assert [[], []] == left


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for statefulset"),
        (
            {"podManagementPolicy": "Chaos"},
            "spec.podManagementPolicy: Invalid value: \"Chaos\": must be 'OrderedReady' or 'Parallel'",
        ),
        (
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        ),
    ],
)
async def test_invalid_stateful_sets_are_refused(client: Client, spec: Any, told: str) -> None:
    """422 names the field, in the real words."""
    reply = await client.post(STATEFUL_SETS, workload("s", **spec))
    assert (422, f'StatefulSet.apps "s" is invalid: {told}') == (reply.code, reply.message)


async def test_what_identifies_a_stateful_set_cannot_change(client: Client) -> None:
    """422 in the real words."""
    await client.post(STATEFUL_SETS, workload("s"))
    reply = await client.patch(f"{STATEFUL_SETS}/s", {"spec": {"serviceName": "other"}})
    message = 'StatefulSet.apps "s" is invalid: spec.serviceName: Invalid value: "other": field is immutable'
    assert (422, message) == (reply.code, reply.message)
