"""Requests that go on to pods, and the scale of workloads, with the answers of a real API server of version 1.37."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from integration.simulator.agents import PORT, agent, run_small_agent, started
from integration.simulator.simulator_client import (
    DEPLOYMENTS,
    NAMESPACE,
    PODS,
    Client,
    is_ready,
    pod,
    status,
    workload,
)

from khealth_exporter.simulator import Simulator, SimulatorSettings


async def test_scale_of_a_deployment(client: Client) -> None:
    """Read, patched and replaced."""
    made = (await client.post(DEPLOYMENTS, workload("d", 2))).body
    await client.reaches(DEPLOYMENTS, lambda found: found["status"].get("readyReplicas") == 2)
    scale = (await client.get(f"{DEPLOYMENTS}/d/scale")).body
    assert ("Scale", "autoscaling/v1", {"replicas": 2}, {"replicas": 2, "selector": "app=d"}) == (
        scale["kind"],
        scale["apiVersion"],
        scale["spec"],
        scale["status"],
    )
    assert made["metadata"]["uid"] == scale["metadata"]["uid"]
    patched = await client.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 1}})
    assert {"replicas": 1} == patched.body["spec"]
    await client.reaches(DEPLOYMENTS, lambda found: found["status"].get("replicas") == 1)
    await client.put(f"{DEPLOYMENTS}/d/scale", {"metadata": {"name": "d"}, "spec": {"replicas": 0}})
    await client.becomes(PODS, lambda pods: not pods)


async def test_invalid_scale(client: Client) -> None:
    """With the message of the real server."""
    await client.post(DEPLOYMENTS, workload("d", 1, paused=True))
    reply = await client.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -1}})
    why = "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    assert (422, f'Scale.autoscaling "d" is invalid: {why}') == (reply.code, reply.message)
    assert 404 == (await client.get(f"{DEPLOYMENTS}/none/scale")).code


def bearer(cluster: Simulator) -> dict[str, str]:
    """Return the headers of the default user."""
    return {"Authorization": f"Bearer {cluster.token}"}


@pytest.fixture
async def user() -> AsyncIterator[Client]:
    """Speak to a cluster whose agents run, as its default user."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=20.0, runner=run_small_agent)
    async with Simulator(settings) as running, aiohttp.ClientSession(headers=bearer(running)) as session:
        yield Client(session, running.url)


async def test_proxy_forwards_requests_and_answers(user: Client) -> None:
    """With their methods, paths, queries, bodies and headers, but without the caller's token."""
    await started(user, agent("a", "node-1"))
    headers = {"X-Own": "mine"}
    path = f"{user.url}{PODS}/a:{PORT}/proxy/v1/task?x=1"
    async with user.session.post(path, data="body", headers=headers) as response:
        found = (response.status, await response.text(), response.headers["X-Proof"])
    assert (201, "/v1/task?x=1 mine None body", "proof") == found
    assert "a node-1" == (await user.get(f"{PODS}/http:a:{PORT}/proxy/name")).body
    assert "a node-1" == (await user.get(f"{PODS}/a/proxy/name")).body


async def test_proxy_tells_what_it_cannot_reach(user: Client) -> None:
    """As a Status."""
    agents = await started(user, agent("a", "node-1"))
    told = f"error trying to reach service: dial tcp {agents.addresses['a']}:9999: connect: connection refused"
    expected = status(503, "ServiceUnavailable", told)
    assert expected == (await user.get(f"{PODS}/a:9999/proxy/name")).body
    missing = await user.get(f"{PODS}/none:{PORT}/proxy/name")
    assert status(404, "NotFound", 'pods "none" not found', name="none", kind="pods") == missing.body


async def test_proxy_without_a_path_leads_to_its_root(user: Client) -> None:
    """The pod is not asked."""
    await user.post(PODS, pod("a"))
    path = f"{PODS}/a:{PORT}/proxy"
    async with user.session.get(f"{user.url}{path}", allow_redirects=False) as response:
        assert (301, f"{path}/") == (response.status, response.headers["Location"])


async def test_log_of_an_agent(user: Client) -> None:
    """Whole, its last lines, or its first bytes."""
    await started(user, agent("a", "node-1"))
    lines = (await user.get(f"{PODS}/a/log")).body.splitlines()
    assert "listening" == lines[0]
    assert "lis" == (await user.get(f"{PODS}/a/log?limitBytes=3")).body
    assert 1 == len((await user.get(f"{PODS}/a/log?tailLines=1&container=canary")).body.splitlines())
    wrong = await user.get(f"{PODS}/a/log?container=other")
    assert status(400, "BadRequest", "container other is not valid for pod a") == wrong.body


async def test_log_of_a_container_that_has_not_started(client: Client) -> None:
    """Its state is the reason."""
    made = pod("a")
    made["spec"]["containers"][0]["image"] = "none:1"
    await client.post(PODS, made)
    await client.reaches(PODS, lambda found: "ErrImagePull" in str(found["status"].get("containerStatuses")))
    reply = await client.get(f"{PODS}/a/log")
    assert (400, 'container "pause" in pod "a" is waiting to start: ErrImagePull') == (reply.code, reply.message)


async def test_log_of_a_container_that_says_nothing_is_empty(client: Client) -> None:
    """As that of the pause image."""
    await client.post(PODS, pod("a"))
    await client.reaches(PODS, is_ready)
    assert "" == (await client.get(f"{PODS}/a/log")).body


@pytest.mark.parametrize(
    "right",
    [("GET", "get", f"a:{PORT}", "proxy"), ("POST", "create", f"a:{PORT}", "proxy"), ("GET", "get", "a", "log")],
)
async def test_requests_to_pods_need_their_own_right(
    client: Client, simulator: Simulator, right: tuple[str, str, str, str]
) -> None:
    """That of the subresource."""
    method, verb, name, subresource = right
    simulator.deny("joe", verb, f"pods/{subresource}")
    path = f"{PODS}/{name}/{subresource}" + ("/x" if subresource == "proxy" else "")
    reply = await client.call(method, path, token="joes")
    why = f'User "joe" cannot {verb} resource "pods/{subresource}" in API group "" in the namespace "{NAMESPACE}"'
    assert (403, f'pods "{name}" is forbidden: {why}') == (reply.code, reply.message)
