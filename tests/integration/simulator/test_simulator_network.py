"""What agents reach over the simulated network: pods, Services, names, and what faults and policies take away."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import pytest
from integration.simulator.agents import (
    POLICIES,
    PORT,
    SERVICES,
    SLICES,
    Agents,
    agent,
    run_small_agent,
    service,
    started,
)
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, is_ready, pod

from khealth_exporter.simulator import Simulator, SimulatorSettings

DNS_SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"


@pytest.fixture
async def cluster() -> AsyncIterator[Simulator]:
    """Run a cluster ten times as fast as a real one."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=10.0, runner=run_small_agent)
    async with Simulator(settings) as running:
        yield running


@pytest.fixture
async def user(cluster: Simulator) -> AsyncIterator[Client]:
    """Speak to it as its default user."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {cluster.token}"}) as session:
        yield Client(session, cluster.url)


@pytest.fixture
async def pair(user: Client) -> Agents:
    """Run an agent on each of the two nodes."""
    return await started(user, agent("a", "node-1"), agent("b", "node-2"))


async def until(wanted: str, ask: Callable[[], Awaitable[str]]) -> None:
    """Ask until the answer is the wanted one."""
    async with asyncio.timeout(BOUND):
        while (found := await ask()) != wanted:
            assert found
            await asyncio.sleep(0.02)


async def address_of(user: Client, made: Any) -> str:
    """Create a Service and return its address."""
    return str((await user.post(SERVICES, made)).body["spec"]["clusterIP"])


async def test_agents_know_their_pod_and_reach_each_other(pair: Agents) -> None:
    """By every protocol, and each connection comes from the pod's own address."""
    assert ["a node-1", "b node-2"] == [await pair.ask(name, "/name") for name in ("a", "b")]
    assert ["connected", "10", "b node-2"] == [await pair.between(protocol) for protocol in ("tcp", "udp", "http")]
    assert pair.addresses["a"] == await pair.between("http", path="/from")


async def test_secret_of_an_agent_appears_when_it_exists(user: Client, pair: Agents) -> None:
    """It is optional, and the mount follows it."""
    assert "missing" == await pair.ask("a", "/secret")
    encoded = base64.b64encode(b"shared").decode()
    secret = {"metadata": {"name": "agent"}, "data": {"secret": encoded}}
    await user.post(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
    await until("shared", lambda: pair.ask("a", "/secret"))


async def test_service_answers_from_every_agent_and_by_every_endpoint(user: Client, pair: Agents) -> None:
    """Also at a port below 1024, where only root may listen."""
    address = await address_of(user, service("s", 80))
    for name in ("a", "b"):
        await until("a node-1", partial(pair.hasty.attempt, name, "http", address, 80))
        await until("b node-2", partial(pair.hasty.attempt, name, "http", address, 80))
    assert pair.addresses["b"] == await pair.attempt("b", "http", address, 80, path="/from")


async def test_service_forwards_datagrams(user: Client, pair: Agents) -> None:
    """To an endpoint and back."""
    ports = [{"port": 7000, "targetPort": PORT, "protocol": "UDP"}]
    address = await address_of(user, service("s", ports=ports))
    await until("10", lambda: pair.hasty.attempt("a", "udp", address, 7000))


async def test_endpoint_that_is_gone_answers_no_more(user: Client, pair: Agents) -> None:
    """The slice names the other one alone, and traffic follows."""
    address = await address_of(user, service("s"))
    await until("b node-2", lambda: pair.hasty.attempt("a", "http", address))
    await user.patch(f"{PODS}/b", {"metadata": {"labels": {"app": "other"}}})
    await user.becomes(SLICES, lambda slices: len(slices) == 1 and len(slices[0]["endpoints"]) == 1)
    await user.patch(f"{PODS}/a", {"metadata": {"labels": {"app": "other"}}})
    await until("ConnectionRefusedError", lambda: pair.hasty.attempt("a", "tcp", address))


async def test_stopped_kube_proxy_leaves_its_node_behind(user: Client, cluster: Simulator, pair: Agents) -> None:
    """A new Service answers from the other node; when the fault ends, from this one too."""
    cluster.begin("kube-proxy-stopped:node-1")
    address = await address_of(user, service("s"))
    await until("connected", lambda: pair.hasty.attempt("b", "tcp", address))
    assert "TimeoutError" == await pair.hasty.attempt("a", "tcp", address)
    cluster.end("kube-proxy-stopped:node-1")
    await until("connected", lambda: pair.hasty.attempt("a", "tcp", address))


@pytest.mark.parametrize("protocol", ["tcp", "udp", "http"])
async def test_node_that_is_cut_off_reaches_nothing(cluster: Simulator, pair: Agents, protocol: str) -> None:
    """And nobody reaches it. Then all is well again."""
    cluster.begin("network-cut:node-2")
    assert "TimeoutError" == await pair.hasty.between(protocol)
    cluster.end("network-cut:node-2")
    assert "Error" not in await pair.between(protocol)


async def test_pods_of_one_node_reach_each_other_when_it_is_cut_off(user: Client, cluster: Simulator) -> None:
    """Their traffic does not leave it."""
    agents = await started(user, agent("a", "node-1"), agent("b", "node-1"))
    cluster.begin("network-cut")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await agents.ask("a", "/name")
    cluster.end("network-cut")
    cluster.begin("network-cut:node-2")
    assert "connected" == await agents.between("tcp")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("network-udp", ["connected", "TimeoutError", "b node-2", "b node-2"]),
        ("mtu", ["connected", "10", "b node-2", "TimeoutError"]),
        ("agent-frozen:node-2", ["connected", "TimeoutError", "TimeoutError", "TimeoutError"]),
    ],
)
async def test_faults_of_the_network(cluster: Simulator, pair: Agents, fault: str, expected: list[str]) -> None:
    """A connection, a small datagram, a small request and a large one."""
    cluster.begin(fault)
    tries = [("tcp", 10), ("udp", 10), ("http", 10), ("http", 2000)]
    agents = [pair.hasty if wanted == "TimeoutError" else pair for wanted in expected]
    found = [await one.between(protocol, size=size) for one, (protocol, size) in zip(agents, tries, strict=True)]
    assert expected == found
    cluster.end(fault)
    assert ["connected", "2000", "b node-2"] == [
        await pair.between(protocol, size=2000) for protocol in ("tcp", "udp", "http")
    ]


async def test_long_datagrams_are_lost_on_a_narrow_way(cluster: Simulator, pair: Agents) -> None:
    """1,372 bytes and two headers are 1,400."""
    cluster.begin("mtu")
    assert "1372" == await pair.between("udp", size=1372)
    assert "TimeoutError" == await pair.hasty.between("udp", size=1373)


async def test_some_packets_are_lost_on_a_lossy_way(cluster: Simulator, pair: Agents) -> None:
    """Sooner or later each of the two happens."""
    cluster.begin("network-loss")
    for protocol, well in (("udp", "10"), ("tcp", "connected")):
        await until("TimeoutError", partial(pair.hasty.between, protocol))
        await until(well, partial(pair.hasty.between, protocol))


async def test_frozen_agent_becomes_not_ready(user: Client, cluster: Simulator, pair: Agents) -> None:
    """After as many failures as its probe allows; it becomes ready again."""
    assert pair.addresses
    cluster.begin("agent-frozen:node-2")
    await user.reaches(PODS, lambda pod: not is_ready(pod), fieldSelector="metadata.name=b")
    cluster.end("agent-frozen:node-2")
    await user.reaches(PODS, is_ready, fieldSelector="metadata.name=b")


def policy(ingress: list[Any]) -> Any:
    """Return a policy for agent `b`."""
    spec = {"podSelector": {"matchLabels": {"name": "b"}}, "ingress": ingress, "policyTypes": ["Ingress"]}
    return {"metadata": {"name": "p"}, "spec": spec}


async def test_policy_blocks_and_allows(user: Client, cluster: Simulator, pair: Agents) -> None:
    """What it names, and only while policies are enforced; the API server reaches the pod all the time."""
    await user.post(POLICIES, policy([]))
    await until("TimeoutError", lambda: pair.hasty.between("tcp"))
    assert "b node-2" == await pair.ask("b", "/name")
    assert "connected" == await pair.attempt("b", "tcp", pair.addresses["a"])
    cluster.begin("policy-not-enforced")
    await until("connected", lambda: pair.hasty.between("tcp"))
    cluster.end("policy-not-enforced")
    await until("TimeoutError", lambda: pair.hasty.between("tcp"))
    allowed = {"from": [{"podSelector": {"matchLabels": {"name": "a"}}}], "ports": [{"port": PORT}]}
    await user.patch(f"{POLICIES}/p", {"spec": {"ingress": [allowed]}})
    await until("connected", lambda: pair.hasty.between("tcp"))


async def test_agent_lingers_after_the_signal(user: Client, pair: Agents) -> None:
    """It answers on, its endpoint is not ready, and it is terminating."""
    assert pair.addresses
    lingering = agent("c", "node-1", "--linger", "60", labels={"app": "c"}, terminationGracePeriodSeconds=600)
    agents = await started(user, lingering)
    await user.post(SERVICES, service("c", selector={"app": "c"}))
    await user.becomes(SLICES, lambda slices: bool(slices and slices[0]["endpoints"]))
    await user.delete(f"{PODS}/c")
    conditions = {"ready": False, "serving": True, "terminating": True}
    await user.becomes(
        SLICES, lambda slices: [conditions] == [one["conditions"] for one in slices[0]["endpoints"] or []]
    )
    assert "connected" == await pair.attempt("a", "tcp", agents.addresses["c"])
    await user.delete(f"{PODS}/c", {"gracePeriodSeconds": 0})
    await user.becomes(SLICES, lambda slices: not slices[0]["endpoints"])
    await until("ConnectionRefusedError", lambda: pair.hasty.attempt("a", "tcp", agents.addresses["c"]))


async def test_agent_that_ends_starts_again_and_tells_why_in_its_log(user: Client) -> None:
    """As its restartPolicy says, which is Always."""
    made = agent("d", "node-1")
    made["spec"]["containers"][0]["command"] += ["--wrong"]
    await user.post(PODS, made)
    found = await user.reaches(
        PODS,
        lambda pod: pod["status"].get("containerStatuses", [{"restartCount": 0}])[0]["restartCount"] > 1,
        fieldSelector="metadata.name=d",
    )
    assert "unrecognized arguments: --wrong" in (await user.get(f"{PODS}/d/log")).body
    assert not is_ready(found)


async def test_agents_use_the_cluster_dns(user: Client, pair: Agents) -> None:
    """At the address of the Service kube-dns."""
    found = (await user.get("/api/v1/namespaces/kube-system/services/kube-dns")).body
    address = found["spec"]["clusterIP"]
    search = f"{NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local"
    assert f"search {search}\nnameserver {address}\noptions ndots:5\n" == await pair.ask("a", "/resolver")
    await until("connected", lambda: pair.hasty.attempt("a", "tcp", address, 53))


async def test_dns_that_is_scaled_to_zero_refuses(user: Client, pair: Agents) -> None:
    """Nothing listens at its Service's address."""
    address = (await user.get("/api/v1/namespaces/kube-system/services/kube-dns")).body["spec"]["clusterIP"]
    await until("connected", lambda: pair.hasty.attempt("a", "tcp", address, 53))
    scale = "/apis/apps/v1/namespaces/kube-system/deployments/coredns/scale"
    await user.patch(scale, {"spec": {"replicas": 0}})
    await user.becomes(DNS_SLICES, lambda slices: not slices[0]["endpoints"])
    await until("ConnectionRefusedError", lambda: pair.hasty.attempt("a", "tcp", address, 53))


async def test_pods_reach_the_api_server(user: Client, cluster: Simulator, pair: Agents) -> None:
    """At its Service's address and at its own, unless their node is cut off from it; other pods they still reach."""
    service_address = (await user.get("/api/v1/namespaces/default/services/kubernetes")).body["spec"]["clusterIP"]
    host, _, port = cluster.url.rpartition("/")[2].partition(":")
    places = ((service_address, 443), (host, int(port)))
    for address, number in places:
        await until("connected", partial(pair.hasty.attempt, "b", "tcp", address, number))
    cluster.begin("network-api-cut:node-2")
    for address, number in places:
        assert "TimeoutError" == await pair.hasty.attempt("b", "tcp", address, number)
    assert "connected" == await pair.attempt("b", "tcp", pair.addresses["a"])
    assert "connected" == await pair.attempt("a", "tcp", *places[1])


async def test_fake_nodes_run_no_dns() -> None:
    """Only nodes with a kubelet do."""
    settings = SimulatorSettings(speed=20.0, nodes=1, fake_nodes=3)
    async with Simulator(settings) as running, aiohttp.ClientSession() as session:
        pods = (await Client(session, running.url).get("/api/v1/namespaces/kube-system/pods")).body["items"]
    assert ["node-1", "node-1"] == [pod["spec"]["nodeName"] for pod in pods]


async def test_pods_of_fake_nodes_are_not_in_the_network() -> None:
    """They have the addresses of their nodes, whose last bytes could be those of Services."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=20.0, runner=run_small_agent, nodes=1, fake_nodes=3)
    async with Simulator(settings) as running, aiohttp.ClientSession() as session:
        client = Client(session, running.url)
        for number in (1, 2, 3):
            await client.post(PODS, pod(f"fake-{number}", nodeName=f"fake-{number}"))
            await client.reaches(PODS, is_ready, fieldSelector=f"metadata.name=fake-{number}")
        agents = await started(client, agent("a", "node-1"))
        running.begin("network-cut:fake-1")
        running.begin("network-cut:fake-2")
        running.begin("network-cut:fake-3")
        addresses = [(await client.get(f"{PODS}/fake-{number}")).body["status"]["podIP"] for number in (1, 2, 3)]
        services = [f"{agents.addresses['a'].rsplit('.', 2)[0]}.{address.split('.', 2)[2]}" for address in addresses]
        assert {"ConnectionRefusedError"} == {await agents.attempt("a", "tcp", address, 9) for address in services}
