"""What the simulated cluster does with what it is given: controllers, scheduler, nodes."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from integration.simulator.simulator_client import (
    CONTROLLERS,
    NAMESPACE,
    PODS,
    Client,
    condition,
    controller,
    is_ready,
    pod,
    waiting_reason,
)

from khealth_exporter.simulator import Simulator, SimulatorSettings

NODES = "/api/v1/nodes"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"


def is_complete(document: Any) -> bool:
    """Tell whether a ReplicationController says that all its pods are ready."""
    return bool(document["status"].get("readyReplicas", 0) == document["spec"]["replicas"])


async def ready_controller(client: Client, name: str, replicas: int = 2) -> list[Any]:
    """Create a ReplicationController, and return its pods once they are ready."""
    await client.post(CONTROLLERS, controller(name, replicas))
    await client.reaches(CONTROLLERS, is_complete, fieldSelector=f"metadata.name={name}")
    pods: list[Any] = (await client.get(f"{PODS}?labelSelector=app%3D{name}")).body["items"]
    return pods


async def test_controller_makes_owned_pods(client: Client) -> None:
    """They are named after it, owned by it, and counted in its status."""
    pods = await ready_controller(client, "r", 3)
    found = (await client.get(f"{CONTROLLERS}/r")).body
    owner = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "name": "r",
        "uid": found["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert [entry["metadata"]["ownerReferences"] for entry in pods] == [[owner]] * 3
    assert all(entry["metadata"]["name"].startswith("r-") for entry in pods)
    assert found["status"] == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "observedGeneration": 1,
    }
    assert {entry["spec"]["nodeName"] for entry in pods} == {"node-1", "node-2"}


async def test_milestones_come_in_order(client: Client, simulator: Simulator) -> None:
    """Created, bound, sandboxed, started, ready; the truth log has the same milestones."""
    async with client.watch(PODS) as watcher:
        uid = (await client.post(PODS, pod("a"))).body["metadata"]["uid"]
        seen: list[Any] = []
        while not seen or not is_ready(seen[-1]["object"]):
            seen.append(await watcher.next())
        states = [condition(event["object"], "PodReadyToStartContainers").get("status") for event in seen]
        assert states == [None, None, "False", "True", "True"]
        assert [event["object"]["status"]["phase"] for event in seen] == ["Pending"] * 4 + ["Running"]
        assert waiting_reason(seen[2]["object"]) == "ContainerCreating"
        assert "startTime" in seen[2]["object"]["status"]
        await client.delete(f"{PODS}/a")
        await watcher.until(lambda event: event["type"] == "DELETED")
    truth = simulator.truth[uid]
    times = [
        truth.created,
        truth.bound,
        truth.sandboxed,
        truth.started,
        truth.ready,
        truth.deletion_marked,
        truth.deleted,
    ]
    assert None not in times
    assert times == sorted(time for time in times if time is not None)
    reasons = [event["reason"] for event in (await client.get(EVENTS)).body["items"]]
    assert sorted(reasons) == ["Created", "Killing", "Pulled", "Scheduled", "Started"]


async def test_controller_replaces_a_deleted_pod(client: Client) -> None:
    """The new one is another."""
    (first,) = await ready_controller(client, "r", 1)
    await client.delete(f"{PODS}/{first['metadata']['name']}")
    uid = first["metadata"]["uid"]
    await client.reaches(PODS, lambda found: found["metadata"]["uid"] != uid and is_ready(found))


async def test_controller_scales_down(client: Client) -> None:
    """What is too much is deleted."""
    await ready_controller(client, "r", 3)
    await client.patch(f"{CONTROLLERS}/r", {"spec": {"replicas": 1}})
    await client.reaches(CONTROLLERS, lambda found: found["status"]["replicas"] == 1 == found["spec"]["replicas"])
    assert (await client.get(f"{CONTROLLERS}/r")).body["status"]["observedGeneration"] == 2


async def test_foreground_deletes_the_controller_last(client: Client) -> None:
    """Its own DELETED comes after the last pod's, and no pod is made meanwhile."""
    await ready_controller(client, "r", 2)
    revision = (await client.get(PODS)).body["metadata"]["resourceVersion"]
    async with client.watch(CONTROLLERS, resourceVersion=revision) as watcher:
        await client.delete(f"{CONTROLLERS}/r", {"propagationPolicy": "Foreground"})
        last = await watcher.until(lambda event: event["type"] == "DELETED")
    async with client.watch(PODS, resourceVersion=revision, timeoutSeconds="1") as watcher:
        gone = [await watcher.until(lambda event: event["type"] != "MODIFIED") for _ in range(2)]
        with pytest.raises(EOFError):
            await watcher.until(lambda event: event["type"] == "ADDED")
    assert [event["type"] for event in gone] == ["DELETED", "DELETED"]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in (*gone, last)]
    assert revisions == sorted(revisions)


async def test_second_delete_keeps_the_policy(client: Client, simulator: Simulator) -> None:
    """A foreground deletion under way is not turned into an orphaning one by a delete that says nothing."""
    simulator.begin("controller-stalled")
    await client.post(CONTROLLERS, controller("r", 0))
    await client.delete(f"{CONTROLLERS}/r", {"propagationPolicy": "Foreground"})
    again = await client.delete(f"{CONTROLLERS}/r")
    assert again.body["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_background_collects_the_pods(client: Client) -> None:
    """The controller goes at once, its pods follow."""
    (one,) = await ready_controller(client, "r", 1)
    await client.delete(f"{CONTROLLERS}/r", {"propagationPolicy": "Background"})
    assert (await client.get(f"{CONTROLLERS}/r")).code == 404
    await client.vanishes(PODS, one["metadata"]["name"])


async def test_orphans_stay_and_are_adopted(client: Client) -> None:
    """A ReplicationController deleted without a policy orphans its pods."""
    (one,) = await ready_controller(client, "r", 1)
    name, uid = one["metadata"]["name"], one["metadata"]["uid"]
    await client.delete(f"{CONTROLLERS}/r")
    await client.vanishes(CONTROLLERS, "r")
    assert "ownerReferences" not in (await client.get(f"{PODS}/{name}")).body["metadata"]
    (adopted,) = await ready_controller(client, "r", 1)
    assert (adopted["metadata"]["uid"], adopted["metadata"]["ownerReferences"][0]["name"]) == (uid, "r")


async def test_what_has_lost_its_owner_is_collected(client: Client) -> None:
    """Khealth's objects belong to its own Pod and go with it."""
    owner = (await client.post(PODS, pod("khealth"))).body
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "khealth", "uid": owner["metadata"]["uid"]}
    body = controller("r", 1)
    body["metadata"]["ownerReferences"] = [reference]
    await client.post(CONTROLLERS, body)
    await client.reaches(CONTROLLERS, is_complete)
    await client.delete(f"{PODS}/khealth", {"gracePeriodSeconds": 0})
    await client.vanishes(CONTROLLERS, "r")
    await client.becomes(PODS, lambda pods: not pods)


async def test_refused_pods_are_told_in_the_status(client: Client) -> None:
    """ReplicaFailure carries the refusal, and goes when the pods come."""
    quotas = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    await client.post(quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    await client.post(CONTROLLERS, controller("r", 1))
    found = await client.reaches(CONTROLLERS, lambda found: bool(condition(found, "ReplicaFailure")))
    failure = condition(found, "ReplicaFailure")
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    assert "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0" in failure["message"]
    assert found["status"]["observedGeneration"] == 1
    await client.delete(f"{quotas}/none")
    done = await client.reaches(CONTROLLERS, is_complete)
    assert condition(done, "ReplicaFailure") == {}
    reasons = {event["reason"] for event in (await client.get(EVENTS)).body["items"]}
    assert {"FailedCreate", "SuccessfulCreate"} <= reasons


async def test_namespace_begins_with_its_account(client: Client) -> None:
    """A moment after its creation pods are accepted."""
    await client.post("/api/v1/namespaces", {"metadata": {"name": "new"}})
    await client.reaches("/api/v1/namespaces/new/serviceaccounts", lambda found: found["metadata"]["name"] == "default")
    assert (await client.post("/api/v1/namespaces/new/pods", pod("a"))).code == 201


async def test_namespace_ends_with_everything_in_it(client: Client) -> None:
    """Terminating refuses what is new, empties itself, and is gone."""
    await ready_controller(client, "r", 1)
    reply = await client.delete(f"/api/v1/namespaces/{NAMESPACE}")
    assert reply.body["status"]["phase"] == "Terminating"
    refused = await client.post(PODS, pod("late"))
    why = f"unable to create new content in namespace {NAMESPACE} because it is being terminated"
    assert (403, f'pods "late" is forbidden: {why}') == (refused.code, refused.message)
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await client.vanishes("/api/v1/namespaces", NAMESPACE)
    for path in (PODS, CONTROLLERS, EVENTS):
        assert (await client.get(path)).body["items"] == []
    assert (await client.delete("/api/v1/namespaces/default")).message == (
        'namespaces "default" is forbidden: this namespace may not be deleted'
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"nodeSelector": {"no": "such"}}, "2 node(s) didn't match Pod's node affinity/selector"),
        (
            {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000", "memory": "1Mi"}}}]},
            "2 Insufficient cpu",
        ),
    ],
)
async def test_unschedulable_says_why(client: Client, spec: Any, reason: str) -> None:
    """In the real scheduler's words, as condition and as Event."""
    await client.post(PODS, pod("a", **spec))
    found = await client.reaches(PODS, lambda found: condition(found, "PodScheduled").get("status") == "False")
    helpless = "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    message = f"0/2 nodes are available: {reason}. {helpless}"
    scheduled = condition(found, "PodScheduled")
    assert ("Unschedulable", message) == (scheduled["reason"], scheduled["message"])
    events = (await client.get(f"{EVENTS}?fieldSelector=type%3DWarning")).body["items"]
    assert [(event["reason"], event["message"]) for event in events] == [("FailedScheduling", message)]


async def test_cordoned_nodes_take_no_pods(client: Client) -> None:
    """A pod waits for the first node that is uncordoned."""
    for node in ("node-1", "node-2"):
        await client.patch(f"{NODES}/{node}", {"spec": {"unschedulable": True}})
    await client.post(PODS, pod("a"))
    found = await client.reaches(PODS, lambda found: bool(condition(found, "PodScheduled")))
    assert "2 node(s) were unschedulable" in condition(found, "PodScheduled")["message"]
    await client.patch(f"{NODES}/node-2", {"spec": {"unschedulable": None}})
    bound = await client.reaches(PODS, lambda found: bool(found["spec"].get("nodeName")))
    assert bound["spec"]["nodeName"] == "node-2"


async def test_taints_repel_what_does_not_tolerate(client: Client) -> None:
    """A toleration lets the pod in."""
    for node in ("node-1", "node-2"):
        taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
        await client.patch(f"{NODES}/{node}", {"spec": {"taints": [taint]}})
    await client.post(PODS, pod("a"))
    await client.post(PODS, pod("b", tolerations=[{"key": "dedicated", "operator": "Equal", "value": "x"}]))
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=b")
    found = (await client.get(f"{PODS}/a")).body
    assert "2 node(s) had untolerated taint(s)" in condition(found, "PodScheduled")["message"]


async def test_readiness_probes_take_their_time(client: Client, simulator: Simulator) -> None:
    """A pod with a probe runs before it is ready."""
    body = pod("a")
    body["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["true"]}, "initialDelaySeconds": 2}
    uid = (await client.post(PODS, body)).body["metadata"]["uid"]
    await client.reaches(PODS, is_ready)
    truth = simulator.truth[uid]
    assert truth.started is not None
    assert truth.ready is not None
    assert truth.ready - truth.started >= 2 / 20


async def test_unknown_images_cannot_be_pulled(client: Client) -> None:
    """ErrImagePull, and then waiting to try again."""
    body = pod("a")
    body["spec"]["containers"][0]["image"] = "registry.invalid/none:1"
    async with client.watch(PODS) as watcher:
        await client.post(PODS, body)
        await watcher.until(lambda event: waiting_reason(event["object"]) == "ErrImagePull")
        await watcher.until(lambda event: waiting_reason(event["object"]) == "ImagePullBackOff")
        again = await watcher.until(lambda event: waiting_reason(event["object"]) == "ErrImagePull")
    assert again["object"]["status"]["phase"] == "Pending"
    assert condition(again["object"], "PodReadyToStartContainers")["status"] == "True"


@pytest.fixture
async def fakes() -> AsyncIterator[Client]:
    """Run a cluster whose only node is KWOK's."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=20.0, nodes=0, fake_nodes=1)
    async with Simulator(settings) as simulator, aiohttp.ClientSession() as session:
        yield Client(session, simulator.url)


async def test_fake_nodes_go_straight_to_ready(fakes: Client) -> None:
    """PodReadyToStartContainers never appears there."""
    async with fakes.watch(PODS) as watcher:
        await fakes.post(PODS, pod("a"))
        event = await watcher.until(lambda event: is_ready(event["object"]))
        assert condition(event["object"], "PodReadyToStartContainers") == {}
        assert "running" in event["object"]["status"]["containerStatuses"][0]["state"]
        await fakes.delete(f"{PODS}/a")
        await watcher.until(lambda event: event["type"] == "DELETED")
