"""Paths outside the resources, and what each user may get there, over HTTP and TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import trustme
import yaml
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, status

from khealth_exporter.simulator import Simulator, SimulatorSettings

RULES = "/apis/rbac.authorization.k8s.io/v1"
ROBOT = f"system:serviceaccount:{NAMESPACE}:default"


@pytest.fixture
async def robot(client: Client) -> str:
    """Return the token of a service account without any rights of its own."""
    body: dict[str, Any] = {"spec": {}}
    reply = await client.post(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default/token", body)
    return str(reply.body["status"]["token"])


@pytest.fixture
async def secure() -> AsyncIterator[tuple[Simulator, Client]]:
    """Run a cluster that speaks TLS, and a client that verifies it and has no token."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    settings = SimulatorSettings(
        namespaces=(NAMESPACE,), speed=20.0, tls=tls, certificate_authority=authority.cert_pem.bytes().decode()
    )
    connector = aiohttp.TCPConnector(ssl=trusting, force_close=True)
    async with Simulator(settings) as running, aiohttp.ClientSession(connector=connector) as session:
        yield running, Client(session, running.url)


def refused(user: str, verb: str, path: str) -> dict[str, Any]:
    """Return the Status of a path that the user may not use."""
    message = f'forbidden: User "{user}" cannot {verb} path "{path}"'
    return {**status(403, "Forbidden", message), "details": {}}


@pytest.mark.parametrize("path", ["/readyz", "/livez"])
async def test_health_is_plain_text(client: Client, path: str) -> None:
    """Just `ok`, without a Status."""
    reply = await client.get(path)
    assert (200, "ok", "text/plain; charset=utf-8") == (reply.code, reply.body, reply.headers["Content-Type"])


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/version", "/api", "/apis", "/apis/discovery.k8s.io/v1"])
async def test_service_accounts_may_get_health_and_discovery(client: Client, robot: str, path: str) -> None:
    """By the default ClusterRoles system:public-info-viewer and system:discovery."""
    assert 200 == (await client.call("GET", path, token=robot)).code


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/metrics"), ("GET", "/readyz/etcd"), ("GET", "/nothing"), ("POST", "/readyz")]
)
async def test_service_accounts_get_no_other_path(client: Client, robot: str, method: str, path: str) -> None:
    """403 in the words of the real server."""
    assert refused(ROBOT, method.lower(), path) == (await client.call(method, path, token=robot)).body


async def test_cluster_roles_allow_paths(client: Client, robot: str) -> None:
    """NonResourceURLs of a ClusterRole that is bound to a group of the service account."""
    rules = [{"verbs": ["get"], "nonResourceURLs": ["/nothing*"]}]
    await client.post(f"{RULES}/clusterroles", {"metadata": {"name": "r"}, "rules": rules})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "Group", "name": f"system:serviceaccounts:{NAMESPACE}"}],
    }
    await client.post(f"{RULES}/clusterrolebindings", binding)
    assert 404 == (await client.call("GET", "/nothing/at/all", token=robot)).code


async def test_denials_cover_paths(client: Client, simulator: Simulator) -> None:
    """A denial names the path itself; `*` means resources."""
    simulator.deny("joe", "*", "*")
    assert 200 == (await client.call("GET", "/readyz", token="joes")).code
    simulator.deny("joe", "get", "/readyz")
    assert refused("joe", "get", "/readyz") == (await client.call("GET", "/readyz", token="joes")).body
    simulator.allow("joe", "get", "/readyz")
    assert 200 == (await client.call("GET", "/readyz", token="joes")).code


async def test_access_reviews_cover_paths(client: Client, robot: str) -> None:
    """A service account asks what it may get."""
    allowed = {}
    for path in ("/readyz", "/metrics"):
        body = {"spec": {"nonResourceAttributes": {"path": path, "verb": "get"}}}
        path_of_reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        reply = await client.call("POST", path_of_reviews, body, token=robot)
        allowed[path] = reply.body["status"]["allowed"]
    assert {"/readyz": True, "/metrics": False} == allowed


async def test_unknown_tokens_are_unauthorized_everywhere(client: Client) -> None:
    """Also where everyone may look."""
    expected = status(401, "Unauthorized", "Unauthorized")
    assert expected == (await client.call("GET", "/readyz", token="nobodys")).body


async def test_anyone_gets_health_over_tls(secure: tuple[Simulator, Client]) -> None:
    """A client without a token is anonymous, and sees what is public."""
    _, client = secure
    assert [200, 200, 200] == [(await client.get(path)).code for path in ("/readyz", "/livez", "/version")]


async def test_anonymous_users_get_nothing_else(secure: tuple[Simulator, Client]) -> None:
    """403, for a path and for a resource."""
    _, client = secure
    assert refused("system:anonymous", "get", "/api") == (await client.get("/api")).body
    message = (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace '
        f'"{NAMESPACE}"'
    )
    assert status(403, "Forbidden", message, kind="pods") == (await client.get(PODS)).body


async def test_kubeconfig_trusts_the_certificate(secure: tuple[Simulator, Client]) -> None:
    """Its token and its certificate authority are all that a client needs."""
    simulator, client = secure
    config = yaml.safe_load(simulator.kubeconfig())
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    assert cluster["server"].startswith("https://127.0.0.1:")
    assert "certificate-authority-data" in cluster
    assert 200 == (await client.call("GET", PODS, token=token)).code


async def test_tls_connections_break_when_the_server_goes_down(secure: tuple[Simulator, Client]) -> None:
    """The port is closed, and serves TLS again afterwards."""
    simulator, client = secure
    simulator.begin("api-down")
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get("/readyz")
    simulator.end("api-down")
    async with asyncio.timeout(BOUND):
        assert 200 == (await client.get("/readyz")).code
