"""Faults on order: what each does while it lasts, and that all is well when it has ended."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from integration.simulator.simulator_client import (
    BOUND,
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

from khealth_exporter.simulator import FAULTS, Simulator

NODES = "/api/v1/nodes"
LASTING = sorted(set(FAULTS) - {"watch-cut", "watch-gone", "pods-lost", "pods-evicted"})


def is_scheduled(document: Any) -> bool:
    """Tell whether a pod has its node."""
    return bool(document["spec"].get("nodeName"))


async def settled(client: Client, name: str = "r", replicas: int = 2) -> list[Any]:
    """Return a ReplicationController's pods, once they are ready."""
    await client.post(CONTROLLERS, controller(name, replicas))
    await client.reaches(CONTROLLERS, lambda found: found["status"].get("readyReplicas", 0) == replicas)
    pods: list[Any] = (await client.get(PODS)).body["items"]
    return pods


async def until_answered(client: Client, path: str) -> int:
    """Ask until there is an answer, and return its code."""
    async with asyncio.timeout(BOUND):
        while True:
            try:
                return (await client.get(path)).code
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", LASTING)
async def test_all_is_well_after_each_fault(client: Client, simulator: Simulator, fault: str) -> None:
    """Pods come and go again as soon as the fault has ended, and what is deleted goes."""
    await settled(client)
    simulator.begin(fault)
    assert list(simulator.faults) == [fault]
    simulator.end(fault)
    assert list(simulator.faults) == []
    assert await until_answered(client, "/readyz") == 200
    assert (await client.post(CONTROLLERS, controller("after", 2))).code == 201
    await client.reaches(CONTROLLERS, lambda found: found["status"].get("readyReplicas", 0) == 2)
    await client.delete(f"{CONTROLLERS}/after", {"propagationPolicy": "Foreground"})
    await client.vanishes(CONTROLLERS, "after")
    nodes = (await client.get(NODES)).body["items"]
    assert [node["metadata"]["name"] for node in nodes if is_ready(node)] == ["node-1", "node-2"]


def test_unknown_faults_name_the_known_ones() -> None:
    """A typing error is answered with the list."""
    simulator = Simulator()
    with pytest.raises(ValueError, match=r"unknown fault 'nope'; known are: scheduler-stalled, .*slow-start"):
        simulator.begin("nope")
    with pytest.raises(ValueError, match="only these faults take a node"):
        simulator.begin("api-down:node-1")


async def test_scheduler_stalled_binds_nothing(client: Client, simulator: Simulator) -> None:
    """It does not even say why; pods that are bound already run on."""
    simulator.begin("scheduler-stalled")
    await client.post(PODS, pod("waiting"))
    await client.post(PODS, pod("bound", nodeName="node-1"))
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=bound")
    found = (await client.get(f"{PODS}/waiting")).body
    assert (found["spec"].get("nodeName"), condition(found, "PodScheduled")) == (None, {})
    simulator.end("scheduler-stalled")
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=waiting")


async def test_controller_stalled_makes_no_pods(client: Client, simulator: Simulator) -> None:
    """Its status stays behind the generation."""
    simulator.begin("controller-stalled")
    await client.post(CONTROLLERS, controller("r", 1))
    await client.post(PODS, pod("other"))
    await client.reaches(PODS, is_ready)
    assert (await client.get(f"{CONTROLLERS}/r")).body["status"] == {"replicas": 0}
    assert len((await client.get(PODS)).body["items"]) == 1


async def test_one_stalled_kubelet(client: Client, simulator: Simulator) -> None:
    """Its pods get no startTime, its node turns Unknown and is tainted; the other node is well."""
    first, second = await settled(client)
    simulator.begin("kubelet-stalled:node-1")
    await client.post(PODS, pod("silent", nodeName="node-1"))
    await client.post(PODS, pod("well", nodeName="node-2"))
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=well")
    unready = lambda node: condition(node, "Ready")["status"] == "Unknown" and len(node["spec"].get("taints", [])) == 2  # noqa: E731
    node = await client.reaches(NODES, unready)
    assert node["metadata"]["name"] == "node-1"
    assert {(taint["key"], taint["effect"]) for taint in node["spec"]["taints"]} == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    lost = next(entry for entry in (first, second) if entry["spec"]["nodeName"] == "node-1")
    name = f"metadata.name={lost['metadata']['name']}"
    await client.reaches(PODS, lambda found: not is_ready(found), fieldSelector=name)
    assert "startTime" not in (await client.get(f"{PODS}/silent")).body["status"]
    simulator.end("kubelet-stalled:node-1")
    await client.reaches(
        NODES, lambda found: is_ready(found) and "taints" not in found["spec"], fieldSelector="metadata.name=node-1"
    )
    await client.reaches(PODS, is_ready, fieldSelector=name)
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=silent")


async def test_sandbox_fails(client: Client, simulator: Simulator) -> None:
    """The kubelet has the pod, and says what is wrong."""
    simulator.begin("sandbox-fails")
    await client.post(PODS, pod("a"))
    events = f"/api/v1/namespaces/{NAMESPACE}/events"
    await client.reaches(events, lambda event: event["reason"] == "FailedCreatePodSandBox")
    found = (await client.get(f"{PODS}/a")).body
    assert "startTime" in found["status"]
    assert condition(found, "PodReadyToStartContainers")["status"] == "False"
    simulator.end("sandbox-fails")
    await client.reaches(PODS, is_ready)


async def test_runtime_stalled_gives_no_start_time(client: Client, simulator: Simulator) -> None:
    """The kubelet takes no new pod, but ends the old ones."""
    await client.post(PODS, pod("old"))
    await client.reaches(PODS, is_ready)
    simulator.begin("runtime-stalled")
    await client.post(PODS, pod("a"))
    await client.delete(f"{PODS}/old")
    await client.vanishes(PODS, "old")
    assert "startTime" not in (await client.get(f"{PODS}/a")).body["status"]


async def test_image_missing(client: Client, simulator: Simulator) -> None:
    """Even the pause image; when it is back, the pod mends itself."""
    simulator.begin("image-missing")
    await client.post(PODS, pod("a"))
    await client.reaches(PODS, lambda found: waiting_reason(found) == "ErrImagePull")
    await client.reaches(PODS, lambda found: waiting_reason(found) == "ImagePullBackOff")
    simulator.end("image-missing")
    await client.reaches(PODS, is_ready)


async def test_container_crashes(client: Client, simulator: Simulator) -> None:
    """It starts, exits 1, and is started again ever later."""
    simulator.begin("container-crashes")
    async with client.watch(PODS) as watcher:
        await client.post(PODS, pod("a"))
        ended = await watcher.until(
            lambda event: (
                "terminated" in (event["object"]["status"].get("containerStatuses") or [{"state": {}}])[0]["state"]
            )
        )
        assert ended["object"]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 1
        waits = await watcher.until(lambda event: waiting_reason(event["object"]) == "CrashLoopBackOff")
        status = waits["object"]["status"]["containerStatuses"][0]
        assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 1)
    simulator.end("container-crashes")
    await client.reaches(PODS, is_ready)


async def test_never_ready(client: Client, simulator: Simulator) -> None:
    """The containers run."""
    simulator.begin("never-ready")
    await client.post(PODS, pod("a"))
    found = await client.reaches(PODS, lambda found: found["status"]["phase"] == "Running")
    assert condition(found, "Ready")["status"] == "False"
    simulator.end("never-ready")
    await client.reaches(PODS, is_ready)


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
    async with client.watch(PODS) as watcher:
        simulator.begin("api-slow")
        begun = time.monotonic()
        create = asyncio.create_task(client.post(PODS, pod("a")))
        await watcher.next()
        assert not create.done()
        await create
    assert time.monotonic() - begun >= 1.0


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


async def test_api_paused_answers_everything_later(client: Client, simulator: Simulator) -> None:
    """What was sent meanwhile is done at the end, even where its client has given up."""
    async with client.watch(PODS) as watcher:
        simulator.begin("api-paused")
        for name in ("a", "b"):
            timeout = aiohttp.ClientTimeout(total=0.2)
            with pytest.raises(TimeoutError):
                async with client.session.post(client.url + PODS, json=pod(name), timeout=timeout):
                    pass
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


async def test_stuck_deletion_yields_to_force(client: Client, simulator: Simulator) -> None:
    """With grace 0 the pod goes whatever the kubelet does."""
    simulator.begin("deletion-stuck")
    await client.post(PODS, pod("a"))
    await client.reaches(PODS, is_ready)
    await client.post(PODS, pod("b"))
    await client.delete(f"{PODS}/a")
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=b")
    assert (await client.get(f"{PODS}/a")).body["metadata"]["deletionGracePeriodSeconds"] == 1
    assert (await client.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})).code == 200
    assert (await client.get(f"{PODS}/a")).code == 404


async def test_slow_start(client: Client, simulator: Simulator) -> None:
    """Ten of the cluster's seconds more."""
    simulator.begin("slow-start")
    uid = (await client.post(PODS, pod("a"))).body["metadata"]["uid"]
    await client.reaches(PODS, is_ready)
    truth = simulator.truth[uid]
    assert scheduled_before(truth.bound, truth.started, 10 / 20)


def scheduled_before(first: float | None, second: float | None, seconds: float) -> bool:
    """Tell whether so many seconds lie between the two."""
    return first is not None and second is not None and second - first >= seconds
