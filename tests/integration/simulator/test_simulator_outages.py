"""Faults on order: the API server's outages and refusals, and pods and nodes that go."""

import asyncio
from typing import Any

import aiohttp
import pytest
from integration.simulator.simulator_client import (
    BOUND,
    CONTROLLERS,
    NAMESPACE,
    PODS,
    Client,
    Reply,
    condition,
    controller,
    is_ready,
    overtaken,
    pod,
    settled,
)

from khealth_exporter.simulator import Simulator
from khealth_exporter.simulator.server import ApiServer

NODES = "/api/v1/nodes"


async def test_quota_in_new_namespaces_too(client: Client, simulator: Simulator) -> None:
    """Every namespace but the system's."""
    simulator.begin("quota")
    await client.post("/api/v1/namespaces", {"metadata": {"name": "new"}})
    await client.reaches("/api/v1/namespaces/new/resourcequotas", lambda quota: quota["spec"]["hard"] == {"pods": "0"})
    reply = await client.post(PODS, pod("a"))
    assert reply.message == (
        'pods "a" is forbidden: exceeded quota: simulated-quota, requested: pods=1, used: pods=0, limited: pods=0'
    )
    assert (await client.get("/api/v1/namespaces/kube-system/resourcequotas")).body["items"] == []
    simulator.end("quota")
    assert (await client.post(PODS, pod("a"))).code == 201


async def test_webhook_down_refuses_the_controllers_pods_too(client: Client, simulator: Simulator) -> None:
    """500, and ReplicaFailure."""
    simulator.begin("webhook-down")
    reply = await client.post(PODS, pod("a"))
    assert (reply.code, reply.body["reason"]) == (500, "InternalError")
    assert reply.message.startswith('Internal error occurred: failed calling webhook "pods.simulated.example": ')
    await client.post(CONTROLLERS, controller("r", 1))
    found = await client.reaches(CONTROLLERS, lambda found: bool(condition(found, "ReplicaFailure")))
    assert "failed calling webhook" in condition(found, "ReplicaFailure")["message"]
    simulator.end("webhook-down")
    await client.reaches(PODS, is_ready)


async def test_forbidden_lets_the_user_look(client: Client, simulator: Simulator) -> None:
    """Creates alone are refused, in RBAC's words."""
    simulator.begin("forbidden")
    reply = await client.post(PODS, pod("a"))
    message = (
        'pods is forbidden: User "simulated-admin" cannot create resource "pods" in API group "" in the namespace '
        f'"{NAMESPACE}"'
    )
    assert (403, message) == (reply.code, reply.message)
    assert (await client.get(PODS)).code == 200


@pytest.mark.parametrize(
    ("fault", "code", "reason"), [("api-500", 500, "InternalError"), ("api-503", 503, "ServiceUnavailable")]
)
async def test_api_errors(client: Client, simulator: Simulator, fault: str, code: int, reason: str) -> None:
    """Every request is answered so."""
    simulator.begin(fault)
    reply = await client.get(PODS)
    assert (code, reason) == (reply.code, reply.body["reason"])


async def test_api_429_is_bare_text(client: Client, simulator: Simulator) -> None:
    """Priority and fairness answers without a Status, and says when to come back."""
    simulator.begin("api-429")
    reply = await client.post(PODS, pod("a"))
    assert (
        reply.code,
        reply.headers["Retry-After"],
        reply.body,
    ) == (429, "1", "Too many requests, please try again later.\n")


async def test_api_slow_spares_watches(client: Client, simulator: Simulator) -> None:
    """Answers take a second longer; what a watch shows does not."""
    simulator.begin("api-slow")
    assert await overtaken(client, lambda _: True) >= 1.0


async def test_api_down_and_back_on_the_same_port(client: Client, simulator: Simulator) -> None:
    """Connections are dropped and refused; the control port stays."""
    url = simulator.url
    async with client.watch(PODS) as watcher:
        simulator.begin("api-down")
        with pytest.raises(aiohttp.ClientError):
            await watcher.next()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(PODS)
    async with client.session.get(f"{simulator.control_url}/faults") as response:
        assert (await response.json())["active"] == ["api-down"]
    simulator.end("api-down")
    assert simulator.url == url
    assert (await client.get(PODS)).code == 200


async def test_api_down_again_and_again(client: Client, simulator: Simulator) -> None:
    """However short the outages are."""
    for _ in range(3):
        simulator.begin("api-down")
        simulator.end("api-down")
    assert (await client.get(PODS)).code == 200
    simulator.begin("api-down")
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(PODS)


def writes() -> int:
    """Return how many writes the API server works on; each is a task that goes on without its client."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum(getattr(found, "__qualname__", "") == ApiServer._serve.__qualname__ for found in coroutines)


async def begun(create: asyncio.Task[Reply], before: int) -> None:
    """Wait until the API server works on this write too."""
    async with asyncio.timeout(BOUND):
        while writes() == before:
            assert not create.done()
            await asyncio.sleep(0.01)


async def test_api_paused_answers_everything_later(client: Client, simulator: Simulator) -> None:
    """What was sent meanwhile is done at the end, even where its client has given up."""
    async with client.watch(PODS) as watcher:
        simulator.begin("api-paused")
        for name in ("a", "b"):
            before, create = writes(), asyncio.create_task(client.post(PODS, pod(name)))
            await begun(create, before)
            create.cancel()
            await asyncio.wait({create})
        with pytest.raises(TimeoutError):
            await watcher.next(0.1)
        waiting = asyncio.create_task(client.get("/version"))
        simulator.end("api-paused")
        assert (await waiting).code == 200
        names = {
            (await watcher.until(lambda event: event["type"] == "ADDED"))["object"]["metadata"]["name"] for _ in "ab"
        }
    assert names == {"a", "b"}


async def test_etcd_stalled(client: Client, simulator: Simulator) -> None:
    """Writes and consistent reads fail after a while, cached ones do not, and nothing was written."""
    simulator.begin("etcd-stalled")
    for reply in (await client.post(PODS, pod("a")), await client.get(PODS), await client.get(f"{PODS}/a")):
        assert (reply.code, reply.message) == (500, "etcdserver: request timed out")
    assert (await client.get(f"{PODS}?resourceVersion=0")).code == 200
    assert (await client.get("/readyz")).code == 500
    simulator.end("etcd-stalled")
    assert (await client.get(PODS)).body["items"] == []


async def test_pods_lost_vanish_unexplained(client: Client, simulator: Simulator) -> None:
    """No DisruptionTarget, and a replacement follows."""
    await settled(client)
    revision = (await client.get(PODS)).body["metadata"]["resourceVersion"]
    async with client.watch(PODS, resourceVersion=revision) as watcher:
        simulator.begin("pods-lost")
        gone = await watcher.until(lambda event: event["type"] == "DELETED")
        await watcher.until(lambda event: event["type"] == "ADDED")
    assert condition(gone["object"], "DisruptionTarget") == {}
    assert is_ready(gone["object"])


async def test_pods_evicted_say_so(client: Client, simulator: Simulator) -> None:
    """DisruptionTarget is there before the pod goes."""
    await settled(client)
    revision = (await client.get(PODS)).body["metadata"]["resourceVersion"]
    async with client.watch(PODS, resourceVersion=revision) as watcher:
        simulator.begin("pods-evicted")
        gone = await watcher.until(lambda event: event["type"] == "DELETED")
    assert condition(gone["object"], "DisruptionTarget")["reason"] == "EvictionByEvictionAPI"


async def test_drained_node_is_left(client: Client, simulator: Simulator) -> None:
    """Cordoned, and its pods start again on the other one."""
    await settled(client)
    simulator.begin("node-drained:node-1")
    assert (await client.get(f"{NODES}/node-1")).body["spec"]["unschedulable"] is True

    def moved(pods: list[Any]) -> bool:
        return len(pods) == 2 and all(is_ready(found) and found["spec"]["nodeName"] == "node-2" for found in pods)

    await client.becomes(PODS, moved)
    simulator.end("node-drained:node-1")
    assert "unschedulable" not in (await client.get(f"{NODES}/node-1")).body["spec"]


async def test_gone_node_comes_back_as_another(client: Client, simulator: Simulator) -> None:
    """Its pods go with it."""
    await settled(client)
    before = (await client.get(f"{NODES}/node-2")).body["metadata"]["uid"]
    simulator.begin("node-gone:node-2")
    assert (await client.get(f"{NODES}/node-2")).code == 404
    assert "node-2" not in [found["spec"].get("nodeName") for found in (await client.get(PODS)).body["items"]]
    simulator.end("node-gone:node-2")
    assert (await client.get(f"{NODES}/node-2")).body["metadata"]["uid"] != before


async def test_nodes_not_ready_are_tainted_at_once(client: Client, simulator: Simulator) -> None:
    """And nothing is scheduled."""
    simulator.begin("nodes-not-ready")
    for node in (await client.get(NODES)).body["items"]:
        assert condition(node, "Ready")["status"] == "False"
        assert {taint["key"] for taint in node["spec"]["taints"]} == {"node.kubernetes.io/not-ready"}
    await client.post(PODS, pod("a"))
    found = await client.reaches(PODS, lambda found: bool(condition(found, "PodScheduled")))
    assert "2 node(s) had untolerated taint(s)" in condition(found, "PodScheduled")["message"]
    simulator.end("nodes-not-ready")
    await client.reaches(PODS, is_ready)
