"""Lists, selectors and pages; patches, evictions and bindings; the request log."""

import pytest
from integration.simulator.simulator_client import (
    LEASES,
    NAMESPACE,
    PODS,
    Client,
    pod,
)

from khealth_exporter.simulator import Simulator


async def test_delete_collection_follows_its_selector(client: Client) -> None:
    """Only what is selected goes."""
    for name in ("a", "b"):
        await client.post(LEASES, {"metadata": {"name": name, "labels": {"app": name}}, "spec": {}})
    reply = await client.delete(f"{LEASES}?labelSelector=app%3Da")
    assert [item["metadata"]["name"] for item in reply.body["items"]] == ["a"]
    assert [item["metadata"]["name"] for item in (await client.get(LEASES)).body["items"]] == ["b"]


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("labelSelector=app=a", ["a"]),
        ("labelSelector=app==a", ["a"]),
        ("labelSelector=app!=a", ["b", "c"]),
        ("labelSelector=app in (a,b)", ["a", "b"]),
        ("labelSelector=app notin (a,b)", ["c"]),  # codespell:ignore notin
        ("labelSelector=app", ["a", "b"]),
        ("labelSelector=!app", ["c"]),
        ("labelSelector=app,app!=a", ["b"]),
        ("fieldSelector=metadata.name=c", ["c"]),
        ("fieldSelector=metadata.namespace!=canary", []),
    ],
)
async def test_selectors(client: Client, selector: str, wanted: list[str]) -> None:
    """Each form selects what it should."""
    for name, labels in (("a", {"app": "a"}), ("b", {"app": "b"}), ("c", {})):
        await client.post(LEASES, {"metadata": {"name": name, "labels": labels}, "spec": {}})
    listed = (await client.get(f"{LEASES}?{selector}")).body["items"]
    assert wanted == [item["metadata"]["name"] for item in listed]


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("fieldSelector=foo=bar", 400, "field label not supported: foo"),
        ("labelSelector=foo===bar", 400, "unable to parse requirement: found '=', expected: identifier"),
        ("resourceVersion=99999999", 504, "Timeout: Too large resource version: 99999999, current: "),
        ("continue=abc", 400, "invalid continue token: continue key is not valid: "),
    ],
)
async def test_bad_lists(client: Client, query: str, code: int, message: str) -> None:
    """What cannot be listed is said."""
    reply = await client.get(f"{PODS}?{query}")
    assert code == reply.code
    assert reply.message.startswith(message)


async def test_pages(client: Client, simulator: Simulator) -> None:
    """Limit and continue walk through everything once; a compacted token is 410 Expired."""
    for name in ("a", "b", "c"):
        await client.post(LEASES, {"metadata": {"name": name}, "spec": {}})
    first = (await client.get(f"{LEASES}?limit=2")).body
    token = first["metadata"]["continue"]
    second = (await client.get(f"{LEASES}?limit=2&continue={token}")).body
    names = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert (
        names,
        first["metadata"]["remainingItemCount"],
        "continue" in second["metadata"],
    ) == (["a", "b", "c"], 1, False)
    await client.post(LEASES, {"metadata": {"name": "d"}, "spec": {}})
    simulator.begin("watch-gone")
    gone = await client.get(f"{LEASES}?limit=2&continue={token}")
    assert (gone.code, gone.body["reason"]) == (410, "Expired")


async def test_eviction_marks_and_deletes(client: Client) -> None:
    """DisruptionTarget tells why the pod goes."""
    await client.post(PODS, pod("a"))
    await client.reaches(PODS, lambda found: found["status"]["phase"] == "Running")
    async with client.watch(PODS, resourceVersion="0") as watcher:
        reply = await client.post(f"{PODS}/a/eviction", {"metadata": {"name": "a"}})
        assert (reply.code, reply.body["status"]) == (201, "Success")
        event = await watcher.until(lambda event: event["type"] == "DELETED")
    found = {entry["type"]: entry for entry in event["object"]["status"]["conditions"]}
    assert (found["DisruptionTarget"]["status"], found["DisruptionTarget"]["reason"]) == (
        "True",
        "EvictionByEvictionAPI",
    )


async def test_binding_by_hand(client: Client, simulator: Simulator) -> None:
    """A binding binds once."""
    simulator.begin("scheduler-stalled")
    await client.post(PODS, pod("a"))
    target = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node-2"}}
    assert (await client.post(f"{PODS}/a/binding", target)).code == 201
    assert (await client.get(f"{PODS}/a")).body["spec"]["nodeName"] == "node-2"
    assert (await client.post(f"{PODS}/a/binding", target)).message == (
        'Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "node-2"'
    )


async def test_json_patch(client: Client) -> None:
    """Add, replace, test and remove."""
    await client.post(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}})
    kind = "application/json-patch+json"
    steps = [
        {"op": "test", "path": "/spec/holderIdentity", "value": "x"},
        {"op": "replace", "path": "/spec/holderIdentity", "value": "y"},
        {"op": "add", "path": "/spec/leaseDurationSeconds", "value": 15},
    ]
    assert (await client.patch(f"{LEASES}/l", steps, kind)).body["spec"] == {
        "holderIdentity": "y",
        "leaseDurationSeconds": 15,
    }
    assert (await client.patch(f"{LEASES}/l", steps, kind)).code == 422
    assert (await client.patch(f"{LEASES}/l", {}, "application/foo")).code == 415


async def test_requests_are_logged(client: Client, simulator: Simulator) -> None:
    """Each as the audit log would name it."""
    simulator.forget_requests()
    await client.post(PODS, pod("a"))
    await client.get(PODS)
    await client.delete(f"{PODS}/none")
    told = [(r.verb, r.resource, r.namespace, r.name, r.code, r.user_agent) for r in simulator.requests]
    assert told == [
        ("create", "pods", NAMESPACE, "", 201, "khealth/test"),
        ("list", "pods", NAMESPACE, "", 200, "khealth/test"),
        ("delete", "pods", NAMESPACE, "none", 404, "khealth/test"),
    ]
