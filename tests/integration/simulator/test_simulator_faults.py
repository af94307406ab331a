"""Faults on order: those of every kind in turn, and what each does to scheduler, controllers and nodes."""

import asyncio

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
    settled,
    waiting_reason,
)

from khealth_exporter.simulator import FAULTS, Simulator, SimulatorSettings

NODES = "/api/v1/nodes"
LASTING = sorted(set(FAULTS) - {"watch-cut", "watch-gone", "pods-lost", "pods-evicted"})


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


@pytest.mark.parametrize("fault", LASTING)
async def test_cluster_stops_in_the_middle_of_each_fault(fault: str) -> None:
    """Whatever is open or under way then."""
    simulator = Simulator(SimulatorSettings(namespaces=(NAMESPACE,), speed=20.0))
    async with asyncio.timeout(BOUND), simulator, aiohttp.ClientSession() as session:
        client = Client(session, simulator.url)
        await settled(client)
        async with client.watch(PODS):
            simulator.begin(fault)
            asked = asyncio.create_task(client.post(CONTROLLERS, controller("late", 2)))
            await asyncio.wait({asked}, timeout=0.05)
            asked.cancel()
            await asyncio.wait({asked})


def test_unknown_faults_name_the_known_ones() -> None:
    """A typing error is answered with the list."""
    simulator = Simulator()
    with pytest.raises(ValueError, match=r"(?s)unknown fault 'nope'; known faults:\n  scheduler-stalled .*slow-start"):
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
