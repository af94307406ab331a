"""Bare pods on one node, nodes that join, and the addresses of the API server itself."""

import asyncio
from typing import Any

import aiohttp
import pytest
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, condition, is_ready, pod, status

from khealth_exporter.simulator import Simulator, SimulatorSettings

NODES = "/api/v1/nodes"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def only_on(*terms: Any) -> dict[str, Any]:
    """Return the affinity of a pod that must run where one of the terms holds."""
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"nodeAffinity": required}


def named(node: str) -> dict[str, Any]:
    """Return the term that names one node."""
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}


async def complaint(client: Client) -> str:
    """Wait until the scheduler has refused the pod, and return why."""
    found = await client.reaches(PODS, lambda found: condition(found, "PodScheduled").get("status") == "False")
    scheduled = condition(found, "PodScheduled")
    assert "Unschedulable" == scheduled["reason"]
    message: str = scheduled["message"]
    return message.removesuffix(" preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.")


@pytest.mark.parametrize("node", ["node-1", "node-2"])
async def test_pod_runs_on_the_node_that_it_names(client: Client, node: str) -> None:
    """The scheduler binds it, however busy the node is."""
    for number in range(3):
        await client.post(PODS, pod(f"other-{number}", nodeName=node))
    await client.post(PODS, pod("a", affinity=only_on(named(node))))
    found = await client.reaches(PODS, is_ready, fieldSelector="metadata.name=a")
    assert (node, "True") == (found["spec"]["nodeName"], condition(found, "PodScheduled")["status"])


@pytest.mark.parametrize(
    ("affinity", "reason"),
    [
        (only_on(named("none")), "2 node(s) didn't satisfy plugin(s) [NodeAffinity]."),
        (
            only_on({"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}),
            "2 node(s) didn't match Pod's node affinity/selector.",
        ),
        (
            only_on(
                named("node-2")
                | {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}
            ),
            "1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't satisfy plugin(s) [NodeAffinity].",
        ),
        (only_on({}), "2 node(s) didn't match Pod's node affinity/selector."),
    ],
)
async def test_pod_that_no_node_suits_is_unschedulable(client: Client, affinity: Any, reason: str) -> None:
    """In the real scheduler's words."""
    await client.post(PODS, pod("a", affinity=affinity))
    assert f"0/2 nodes are available: {reason}" == await complaint(client)


async def test_pod_for_a_cordoned_node_is_unschedulable(client: Client) -> None:
    """Only the node that it names is asked; the pod is bound when that node is uncordoned."""
    await client.patch(f"{NODES}/node-1", {"spec": {"unschedulable": True}})
    await client.post(PODS, pod("a", affinity=only_on(named("node-1"))))
    reasons = "1 node(s) didn't satisfy plugin(s) [NodeAffinity], 1 node(s) were unschedulable."
    assert f"0/2 nodes are available: {reasons}" == await complaint(client)
    await client.patch(f"{NODES}/node-1", {"spec": {"unschedulable": None}})
    await client.reaches(PODS, is_ready)


async def test_pod_that_waits_for_a_label_is_bound_when_a_node_gets_it(client: Client) -> None:
    """The scheduler looks again when labels change."""
    expression = {"key": "disk", "operator": "Exists"}
    await client.post(PODS, pod("a", affinity=only_on({"matchExpressions": [expression]})))
    await complaint(client)
    await client.patch(f"{NODES}/node-2", {"metadata": {"labels": {"disk": ""}}})
    assert "node-2" == (await client.reaches(PODS, is_ready))["spec"]["nodeName"]


async def test_invalid_affinity_is_refused(client: Client) -> None:
    """422 names the field."""
    term = {"matchFields": [{"key": "spec.x", "operator": "In", "values": ["x"]}]}
    reply = await client.post(PODS, pod("a", affinity=only_on(term)))
    field = (
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
        "matchFields[0].key"
    )
    message = f'Pod "a" is invalid: {field}: Invalid value: "spec.x": not a valid field selector key'
    assert (422, message) == (reply.code, reply.message)


async def test_kubelet_ends_a_deleted_pod_after_its_grace_period(client: Client) -> None:
    """The delete's own grace period counts; the pod stays until its kubelet removes it."""
    await client.post(PODS, pod("a", terminationGracePeriodSeconds=30))
    await client.reaches(PODS, is_ready)
    async with client.watch(PODS) as watcher:
        marked = (await client.delete(f"{PODS}/a", {"gracePeriodSeconds": 1})).body["metadata"]
        assert (1, True) == (marked["deletionGracePeriodSeconds"], "deletionTimestamp" in marked)
        await watcher.until(lambda event: event["type"] == "DELETED")


async def test_added_node_becomes_ready(client: Client, simulator: Simulator) -> None:
    """A watch shows it NotReady first, then Ready and without its taint."""
    listed = (await client.get(NODES)).body["metadata"]["resourceVersion"]
    async with client.watch(NODES, resourceVersion=listed, fieldSelector="metadata.name=node-3") as watcher:
        simulator.add_node("node-3")
        first = await watcher.next()
        taints = [taint["key"] for taint in first["object"]["spec"]["taints"]]
        assert ("ADDED", False, ["node.kubernetes.io/not-ready"]) == (first["type"], is_ready(first["object"]), taints)
        await watcher.until(lambda event: is_ready(event["object"]) and "taints" not in event["object"]["spec"])


def on_host(name: str) -> Any:
    """Return a pod in the network of its node that listens on a port."""
    made = pod(name, hostNetwork=True)
    made["spec"]["containers"][0]["ports"] = [{"containerPort": 8079}]
    return made


async def test_a_port_of_a_node_is_for_one_pod(client: Client) -> None:
    """Of three that want the same one, two run: each has an address of its node, and the port is the node's."""
    for number in range(3):
        await client.post(PODS, on_host(f"host-{number}"))
    two_run = "2 node(s) didn't have free ports for the requested pod ports."
    assert f"0/2 nodes are available: {two_run}" == await complaint(client)
    found = [await client.reaches(PODS, is_ready, fieldSelector=f"metadata.name=host-{n}") for n in range(2)]
    assert 2 == len({one["status"]["podIP"] for one in found})
    assert [8079, 8079] == [one["spec"]["containers"][0]["ports"][0]["hostPort"] for one in found]


async def test_added_node_runs_pods(client: Client, simulator: Simulator) -> None:
    """A pod that waits for it is bound as soon as it is Ready."""
    await client.post(PODS, pod("a", affinity=only_on(named("node-3"))))
    await complaint(client)
    simulator.add_node("node-3")
    assert "node-3" == (await client.reaches(PODS, is_ready))["spec"]["nodeName"]


async def test_nodes_have_addresses_of_their_own(client: Client, simulator: Simulator) -> None:
    """Those of the start, and those that join."""
    simulator.add_node("node-3")
    nodes = (await client.get(NODES)).body["items"]
    addresses = {node["status"]["addresses"][0]["address"] for node in nodes}
    assert 3 == len(addresses)


async def test_control_port_adds_nodes(client: Client, simulator: Simulator) -> None:
    """201 with the node; 409 for a name that is taken, 422 for one that is none."""
    codes = []
    for name in ("node-3", "node-3", "Node_4"):
        async with client.session.post(f"{simulator.control_url}/nodes/{name}") as response:
            codes.append(response.status)
    assert [201, 409, 422] == codes
    await client.reaches(NODES, is_ready, fieldSelector="metadata.name=node-3")


def test_nodes_cannot_be_added_before_the_start() -> None:
    """There is no cluster yet."""
    with pytest.raises(RuntimeError, match="the simulated cluster has not started"):
        Simulator().add_node("node-3")


async def test_api_server_publishes_its_address(client: Client, simulator: Simulator) -> None:
    """The EndpointSlice `kubernetes` has the address and port that clients use."""
    (found,) = (await client.get(f"{SLICES}?labelSelector=kubernetes.io/service-name%3Dkubernetes")).body["items"]
    host, _, port = simulator.url.removeprefix("http://").rpartition(":")
    del found["metadata"]
    assert {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": int(port), "protocol": "TCP"}],
    } == found


async def test_api_server_repairs_its_endpoint_slice(client: Client) -> None:
    """A watch shows that a deleted one comes back."""
    kept = (await client.get(f"{SLICES}/kubernetes")).body
    async with client.watch(SLICES, resourceVersion=kept["metadata"]["resourceVersion"]) as watcher:
        await client.delete(f"{SLICES}/kubernetes")
        again = await watcher.until(lambda event: event["type"] == "ADDED")
    assert kept["endpoints"] == again["object"]["endpoints"]


async def test_further_endpoints_refuse_connections() -> None:
    """A test finds one address that answers and one that does not."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), endpoint_addresses=("127.0.0.2",))
    async with Simulator(settings) as simulator, aiohttp.ClientSession() as session:
        client = Client(session, simulator.url)
        found = (await client.get(f"{SLICES}/kubernetes")).body
        port = found["ports"][0]["port"]
        assert [["127.0.0.1"], ["127.0.0.2"]] == [endpoint["addresses"] for endpoint in found["endpoints"]]
        assert 200 == (await Client(session, f"http://127.0.0.1:{port}").get("/readyz")).code
        async with asyncio.timeout(BOUND):
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://127.0.0.2:{port}/readyz")


async def test_endpoint_slices_are_named_with_their_group(client: Client) -> None:
    """404 in the real server's words."""
    message = 'endpointslices.discovery.k8s.io "none" not found'
    expected = status(404, "NotFound", message, name="none", group="discovery.k8s.io", kind="endpointslices")
    assert expected == (await client.get(f"{SLICES}/none")).body
