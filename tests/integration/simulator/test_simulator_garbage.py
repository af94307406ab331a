"""The garbage collector: dependents in the background, in the foreground, and orphaned."""

from typing import Any

import pytest
from integration.simulator.simulator_client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    Client,
    condition,
    is_ready,
    workload,
)

from khealth_exporter.simulator import Simulator


async def family(client: Client, *, blocking: bool = True) -> None:
    """Create a ConfigMap that owns one, which owns another."""
    owners = list[Any]()
    for name in ("owner", "child", "grandchild"):
        about = {"name": name, "labels": {"app": "family"}, "ownerReferences": owners}
        made = (await client.post(CONFIG_MAPS, {"metadata": about})).body
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": made["metadata"]["uid"]}
        owners = [{**reference, "blockOwnerDeletion": blocking}]


async def members(client: Client) -> list[Any]:
    """Return the family's ConfigMaps."""
    found: list[Any] = (await client.get(f"{CONFIG_MAPS}?labelSelector=app%3Dfamily")).body["items"]
    return found


async def test_background_deletes_the_owner_first(client: Client) -> None:
    """The owner is gone with the answer, its dependents go afterwards."""
    await family(client)
    reply = await client.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Background"})
    assert (200, "Success", 404) == (reply.code, reply.body["status"], (await client.get(f"{CONFIG_MAPS}/owner")).code)
    await client.vanishes(CONFIG_MAPS, "grandchild")
    assert [] == await members(client)


async def test_foreground_deletes_the_owner_last(client: Client) -> None:
    """It has the finalizer until then, and the order is from the leaves to the root."""
    await family(client)
    reply = await client.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Foreground"})
    version = reply.body["metadata"]["resourceVersion"]
    assert (["foregroundDeletion"], True) == (
        reply.body["metadata"]["finalizers"],
        "deletionTimestamp" in reply.body["metadata"],
    )
    gone = list[str]()
    async with client.watch(CONFIG_MAPS, resourceVersion=version, labelSelector="app=family") as watcher:
        while len(gone) < 3:
            event = await watcher.next()
            gone += [event["object"]["metadata"]["name"]] if event["type"] == "DELETED" else []
    assert ["grandchild", "child", "owner"] == gone


async def test_foreground_does_not_wait_for_dependents_that_do_not_block(client: Client) -> None:
    """They go after their owner."""
    await family(client, blocking=False)
    version = (await client.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Foreground"})).body["metadata"]
    async with client.watch(CONFIG_MAPS, resourceVersion=version["resourceVersion"]) as watcher:
        first = await watcher.until(lambda event: event["type"] == "DELETED")
    await client.vanishes(CONFIG_MAPS, "grandchild")
    assert ("owner", []) == (first["object"]["metadata"]["name"], await members(client))


async def test_orphan_keeps_the_dependents(client: Client) -> None:
    """The child has no owner any more, and what it owns is untouched."""
    await family(client)
    reply = await client.delete(f"{CONFIG_MAPS}/owner", {"propagationPolicy": "Orphan"})
    assert ["orphan"] == reply.body["metadata"]["finalizers"]
    await client.vanishes(CONFIG_MAPS, "owner")
    child, grandchild = await members(client)
    assert (False, ["child"]) == (
        "ownerReferences" in child["metadata"],
        [owner["name"] for owner in grandchild["metadata"]["ownerReferences"]],
    )


async def test_a_dependent_with_another_owner_stays(client: Client) -> None:
    """Only the reference to the owner that exists keeps it."""
    uids = [
        (await client.post(CONFIG_MAPS, {"metadata": {"name": name}})).body["metadata"]["uid"] for name in ("a", "b")
    ]
    owners = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}
        for name, uid in zip(("a", "b"), uids, strict=True)
    ]
    await client.post(CONFIG_MAPS, {"metadata": {"name": "shared", "ownerReferences": owners}})
    await client.post(CONFIG_MAPS, {"metadata": {"name": "alone", "ownerReferences": owners[:1]}})
    await client.delete(f"{CONFIG_MAPS}/a")
    await client.vanishes(CONFIG_MAPS, "alone")
    assert 200 == (await client.get(f"{CONFIG_MAPS}/shared")).code


async def test_a_dependent_of_nothing_is_collected(client: Client) -> None:
    """Its owner has never existed."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "00000000-0000-4000-8000-000000000000"}
    await client.post(CONFIG_MAPS, {"metadata": {"name": "lost", "ownerReferences": [owner]}})
    await client.vanishes(CONFIG_MAPS, "lost")


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_deployment_takes_its_pods_with_it(client: Client, policy: str) -> None:
    """ReplicaSets and pods go, in either order."""
    await client.post(DEPLOYMENTS, workload("d", 2))
    await client.becomes(PODS, lambda pods: len(pods) == 2 and all(map(is_ready, pods)))
    await client.delete(f"{DEPLOYMENTS}/d", {"propagationPolicy": policy})
    await client.becomes(PODS, lambda pods: not pods)
    await client.becomes(REPLICA_SETS, lambda found: not found)
    await client.becomes(DEPLOYMENTS, lambda found: not found)


async def test_an_orphaned_replica_set_is_adopted_again(client: Client) -> None:
    """A new Deployment of the same selector and template takes over what the old one left."""
    await client.post(DEPLOYMENTS, workload("d"))
    await client.reaches(DEPLOYMENTS, lambda found: condition(found, "Available").get("status") == "True")
    pods = [found["metadata"]["uid"] for found in (await client.get(PODS)).body["items"]]
    await client.delete(f"{DEPLOYMENTS}/d", {"propagationPolicy": "Orphan"})
    await client.vanishes(DEPLOYMENTS, "d")
    [orphan] = (await client.get(REPLICA_SETS)).body["items"]
    uid = (await client.post(DEPLOYMENTS, workload("d"))).body["metadata"]["uid"]
    await client.reaches(DEPLOYMENTS, lambda found: found["status"].get("readyReplicas", 0) == 1)
    [adopted] = (await client.get(REPLICA_SETS)).body["items"]
    assert (False, [uid], pods) == (
        "ownerReferences" in orphan["metadata"],
        [owner["uid"] for owner in adopted["metadata"]["ownerReferences"]],
        [found["metadata"]["uid"] for found in (await client.get(PODS)).body["items"]],
    )


async def test_a_switched_off_collector_collects_nothing(client: Client, simulator: Simulator) -> None:
    """Other controllers work; all is collected when it is back."""
    await family(client)
    simulator.begin("garbage-collector-off")
    await client.delete(f"{CONFIG_MAPS}/owner")
    await client.post(DEPLOYMENTS, workload("d"))
    await client.reaches(DEPLOYMENTS, lambda found: found["status"].get("readyReplicas", 0) == 1)
    assert ["child", "grandchild"] == [found["metadata"]["name"] for found in await members(client)]
    simulator.end("garbage-collector-off")
    await client.vanishes(CONFIG_MAPS, "grandchild")
