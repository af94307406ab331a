"""Who and what is refused: users, quotas, limits, policies, Pod Security."""

from typing import Any

import pytest
from integration.simulator.simulator_client import (
    NAMESPACE,
    PODS,
    RESTRICTED,
    Client,
    pod,
    status,
)

from khealth_exporter.simulator import Simulator

POLICIES = "/apis/admissionregistration.k8s.io/v1"


async def test_users(client: Client, simulator: Simulator) -> None:
    """Tokens are users; a denied one is told in full what he may not do."""
    assert (await client.call("GET", PODS, token="nobody")).body == status(401, "Unauthorized", "Unauthorized")
    assert (await client.call("GET", PODS, token="joes")).code == 200
    simulator.deny("joe", "*", "pods")
    simulator.deny("joe", "list", "nodes")
    message = 'pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the namespace "canary"'
    assert status(403, "Forbidden", message, kind="pods") == (await client.call("GET", PODS, token="joes")).body
    named = await client.call("GET", f"{PODS}/a", token="joes")
    assert named.message == (
        'pods "a" is forbidden: User "joe" cannot get resource "pods" in API group "" in the namespace "canary"'
    )
    nodes = await client.call("GET", "/api/v1/nodes", token="joes")
    assert nodes.message == (
        'nodes is forbidden: User "joe" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": NAMESPACE}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await client.call("POST", path, review, token="joes")).body["status"] == {"allowed": False}
    simulator.allow("joe", "*", "pods")
    assert (await client.call("GET", PODS, token="joes")).code == 200


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            {"serviceAccountName": "nosuch"},
            'error looking up service account canary/nosuch: serviceaccount "nosuch" not found',
        ),
        ({"priorityClassName": "nope"}, "no PriorityClass with name nope was found"),
    ],
)
async def test_admission_by_name(client: Client, spec: Any, why: str) -> None:
    """403 in the real words."""
    reply = await client.post(PODS, pod("a", **spec))
    assert status(403, "Forbidden", f'pods "a" is forbidden: {why}', name="a", kind="pods") == reply.body


async def test_pod_security_restricted(client: Client) -> None:
    """403 lists every violation; a canary's spec passes."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await client.patch(f"/api/v1/namespaces/{NAMESPACE}", label)
    bare = [{"name": "c", "image": "i"}]
    reply = await client.post(PODS, pod("bad", containers=bare))
    assert reply.message == (
        'pods "bad" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
        '(container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities '
        '(container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container '
        '"c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    assert (await client.post(PODS, pod("good"))).code == 201
    whole = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    context = {key: RESTRICTED[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    spec = {"securityContext": whole, "containers": [{"name": "c", "image": "i", "securityContext": context}]}
    assert (await client.post(PODS, pod("whole", **spec))).code == 201


async def test_pod_security_baseline(client: Client) -> None:
    """403 lists what the host lends."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    await client.patch(f"/api/v1/namespaces/{NAMESPACE}", label)
    containers = [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]
    volumes = [{"name": "h", "hostPath": {"path": "/"}}]
    reply = await client.post(PODS, pod("bad", hostNetwork=True, volumes=volumes, containers=containers))
    assert reply.message == (
        'pods "bad" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true), '
        'hostPath volumes (volume "h"), privileged (container "c" must not set securityContext.privileged=true)'
    )


async def test_quota(client: Client) -> None:
    """403 counts as the real one does."""
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "count/pods": "1"}}}
    quotas = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    await client.post(quotas, quota)
    await client.reaches(quotas, lambda quota: "hard" in quota.get("status", {}))
    assert (await client.post(PODS, pod("a"))).code == 201
    reply = await client.post(PODS, pod("b"))
    assert reply.message == (
        'pods "b" is forbidden: exceeded quota: q, requested: count/pods=1,pods=1, used: count/pods=1,pods=1, '
        "limited: count/pods=1,pods=1"
    )
    found = await client.reaches(quotas, lambda quota: quota["status"].get("used", {}).get("pods") == "1")
    assert found["status"]["hard"] == {"pods": "1", "count/pods": "1"}


async def test_limit_range(client: Client) -> None:
    """403 names each bound; what is not given is filled in."""
    limits = [{"type": "Container", "max": {"cpu": "100m", "memory": "64Mi"}, "min": {"cpu": "5m"}}]
    await client.post(
        f"/api/v1/namespaces/{NAMESPACE}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}}
    )
    low = await client.post(PODS, pod("low"))
    assert low.message == 'pods "low" is forbidden: minimum cpu usage per Container is 5m, but request is 1m'
    demand = {"limits": {"cpu": "200m", "memory": "128Mi"}}
    high = await client.post(PODS, pod("high", containers=[{"name": "c", "image": "i", "resources": demand}]))
    assert high.message == (
        'pods "high" is forbidden: [maximum cpu usage per Container is 100m, but limit is 200m, maximum memory usage '
        "per Container is 64Mi, but limit is 128Mi]"
    )
    made = (await client.post(PODS, pod("open", containers=[{"name": "c", "image": "i"}]))).body
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "100m", "memory": "64Mi"}


async def test_policy_that_denies(client: Client) -> None:
    """422 from the moment the binding exists, for pods of the namespace alone."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    policy = {
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": rules, "namespaceSelector": selector},
            "validations": [{"expression": "false"}],
        },
    }
    binding = {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}}
    await client.post(f"{POLICIES}/validatingadmissionpolicies", policy)
    assert (await client.post(PODS, pod("before"))).code == 201
    await client.post(f"{POLICIES}/validatingadmissionpolicybindings", binding)
    reply = await client.post(PODS, pod("a"))
    why = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: false"
    message = f'pods "a" is forbidden: {why}'
    assert status(422, "Invalid", message, name="a", kind="pods", causes=[{"message": why}]) == reply.body
    assert (await client.post("/api/v1/namespaces/default/pods", pod("a"))).code == 201


@pytest.mark.parametrize("body", ["text", [1], {"metadata": "x"}, {"spec": "x", "metadata": {"name": "a"}}])
async def test_nonsense_is_a_bad_request(client: Client, body: Any) -> None:
    """No body breaks the server."""
    assert (await client.post(PODS, body)).code == 400
    assert (await client.get(PODS)).code == 200
