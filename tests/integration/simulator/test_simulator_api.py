"""Objects over HTTP: the answers of a real Kubernetes 1.37, to the letter."""

from typing import Any

import pytest
from integration.simulator.simulator_client import (
    CONTROLLERS,
    LEASES,
    PODS,
    Client,
    controller,
    pod,
    status,
)

STALE = "the object has been modified; please apply your changes to the latest version and try again"


async def test_every_answer_carries_date_and_audit_id(client: Client) -> None:
    """Khealth takes the API server's own clock from Date."""
    reply = await client.get(PODS)
    assert {"Date", "Audit-Id"} <= reply.headers.keys()


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/version", "v1.37.2"),
        ("/api", "v1"),
        ("/apis", "coordination.k8s.io"),
        ("/api/v1", "replicationcontrollers"),
        ("/readyz", "ok"),
        ("/livez", "ok"),
        ("/apis/coordination.k8s.io/v1", "leases"),
    ],
)
async def test_discovery_answers(client: Client, path: str, wanted: str) -> None:
    """Discovery, version and health are there."""
    reply = await client.get(path)
    assert (reply.code, True) == (200, wanted in str(reply.body))


async def test_created_object_has_what_the_server_owns(client: Client) -> None:
    """Uid, times, generation and defaults are the server's."""
    body = pod("a", serviceAccountName="default")
    made = (await client.post(PODS, {**body, "metadata": {"generateName": "a-", "uid": "mine"}})).body
    about = made["metadata"]
    assert about["name"].startswith("a-")
    assert len(about["name"]) == len("a-xxxxx")
    assert about["uid"] != "mine"
    assert (about["generation"], made["status"]["phase"], made["kind"]) == (1, "Pending", "Pod")
    assert made["spec"]["restartPolicy"] == "Always"


async def test_get_of_nothing_is_not_found(client: Client) -> None:
    """404 names the plural, and its group where there is one."""
    assert (
        status(404, "NotFound", 'pods "none" not found', name="none", kind="pods")
        == (await client.get(f"{PODS}/none")).body
    )
    message = 'leases.coordination.k8s.io "none" not found'
    wanted = status(404, "NotFound", message, name="none", group="coordination.k8s.io", kind="leases")
    assert wanted == (await client.get(f"{LEASES}/none")).body


async def test_unknown_resources_and_paths(client: Client) -> None:
    """An unknown resource is a Status, any other path is bare text."""
    reply = await client.get("/api/v1/foos")
    assert (reply.code, reply.message) == (404, "the server could not find the requested resource")
    assert (await client.get("/nothing")).body == "404 page not found\n"


async def test_second_create_already_exists(client: Client) -> None:
    """409 AlreadyExists."""
    await client.post(PODS, pod("a"))
    wanted = status(409, "AlreadyExists", 'pods "a" already exists', name="a", kind="pods")
    assert wanted == (await client.post(PODS, pod("a"))).body


async def test_create_in_no_namespace(client: Client) -> None:
    """404 names the namespace."""
    reply = await client.post("/api/v1/namespaces/none/pods", pod("a"))
    assert status(404, "NotFound", 'namespaces "none" not found', name="none", kind="namespaces") == reply.body


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (pod("A_b"), "metadata.name", 'Pod "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC'),
        (pod("e", containers=[]), "spec.containers", 'Pod "e" is invalid: spec.containers: Required value'),
        (
            pod("e", containers=[{"name": "c"}]),
            "spec.containers[0].image",
            'Pod "e" is invalid: spec.containers[0].image: Required value',
        ),
    ],
)
async def test_invalid_pods(client: Client, body: Any, field: str, message: str) -> None:
    """422 names the field and the rule."""
    reply = await client.post(PODS, body)
    assert (422, "Invalid", field) == (reply.code, reply.body["reason"], reply.body["details"]["causes"][0]["field"])
    assert reply.message.startswith(message)


async def test_selector_must_match_template(client: Client) -> None:
    """422 of a ReplicationController whose pods it would not find."""
    body = controller("r")
    body["spec"]["selector"] = {"app": "other"}
    reply = await client.post(CONTROLLERS, body)
    assert reply.message == (
        'ReplicationController "r" is invalid: spec.template.metadata.labels: Invalid value: {"app":"r"}: '
        "`selector` does not match template `labels`"
    )


async def test_stale_updates_conflict(client: Client) -> None:
    """409 for PUT and PATCH alike."""
    await client.post(PODS, pod("a"))
    stale = {"metadata": {"name": "a", "resourceVersion": "1"}}
    wanted = status(409, "Conflict", f'Operation cannot be fulfilled on pods "a": {STALE}', name="a", kind="pods")
    assert wanted == (await client.put(f"{PODS}/a", pod("a") | stale)).body
    assert wanted == (await client.patch(f"{PODS}/a", stale)).body


async def test_update_moves_resource_version_and_generation(client: Client) -> None:
    """The generation follows the spec alone; a write that changes nothing is none."""
    made = (await client.post(CONTROLLERS, controller("r", 0))).body
    same = (await client.patch(f"{CONTROLLERS}/r", {"spec": {"replicas": 0}})).body["metadata"]
    labelled = (await client.patch(f"{CONTROLLERS}/r", {"metadata": {"labels": {"x": "y"}}})).body["metadata"]
    scaled = (await client.patch(f"{CONTROLLERS}/r", {"spec": {"replicas": 1}})).body["metadata"]
    assert same["generation"] == made["metadata"]["generation"] == labelled["generation"] == 1
    assert scaled["generation"] == 2
    assert int(made["metadata"]["resourceVersion"]) < int(labelled["resourceVersion"]) < int(scaled["resourceVersion"])


async def test_pod_spec_cannot_change(client: Client) -> None:
    """422 for what a pod's update may not touch."""
    await client.post(PODS, pod("a"))
    reply = await client.patch(f"{PODS}/a", {"spec": {"hostname": "other"}})
    assert (reply.code, reply.body["reason"]) == (422, "Invalid")


async def test_lease_update_needs_a_revision(client: Client) -> None:
    """Leader election depends on it."""
    await client.post(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}})
    reply = await client.put(f"{LEASES}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "y"}})
    message = (
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )
    assert (422, message) == (reply.code, reply.message)


async def test_delete_preconditions(client: Client) -> None:
    """409 names the kind rather than the plural here."""
    uid = (await client.post(PODS, pod("a"))).body["metadata"]["uid"]
    reply = await client.delete(f"{PODS}/a", {"preconditions": {"uid": "123"}})
    message = (
        f'Operation cannot be fulfilled on Pod "a": the UID in the precondition (123) does not match the UID in '
        f"record ({uid}). The object might have been deleted and then recreated"
    )
    assert status(409, "Conflict", message, name="a", kind="Pod") == reply.body
    assert (await client.delete(f"{PODS}/a", {"preconditions": {"uid": uid}})).code == 200


async def test_delete_answers(client: Client) -> None:
    """A controller's delete in the background is answered by a Status, a marked one by the object."""
    uid = (await client.post(CONTROLLERS, controller("r", 0))).body["metadata"]["uid"]
    reply = await client.delete(f"{CONTROLLERS}/r", {"propagationPolicy": "Background"})
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    assert success | {"details": {"name": "r", "kind": "replicationcontrollers", "uid": uid}} == reply.body
    await client.post(CONTROLLERS, controller("s", 0))
    for policy, finalizer in (("Foreground", "foregroundDeletion"), (None, "orphan")):
        await client.post(CONTROLLERS, controller("s", 0))
        options = {"propagationPolicy": policy} if policy else None
        marked = (await client.delete(f"{CONTROLLERS}/s", options)).body["metadata"]
        assert ([finalizer], 0, 2) == (
            marked["finalizers"],
            marked["deletionGracePeriodSeconds"],
            marked["generation"],
        )
        await client.vanishes(CONTROLLERS, "s")


async def test_dry_run_leaves_no_trace(client: Client) -> None:
    """dryRun=All validates and stores nothing."""
    assert (await client.post(f"{PODS}?dryRun=All", pod("a"))).code == 201
    assert (await client.get(f"{PODS}/a")).code == 404
    await client.post(PODS, pod("a"))
    assert (await client.delete(f"{PODS}/a?dryRun=All")).code == 200
    assert "deletionTimestamp" not in (await client.get(f"{PODS}/a")).body["metadata"]
