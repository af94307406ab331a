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


ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
USER = f"system:serviceaccount:{NAMESPACE}:robot"
OTHER_UID = (
    "the UID in the bound object reference (other) does not match the UID in record. The object might have been "
    "deleted and then recreated"
)
SUBJECTS = [{"kind": "ServiceAccount", "name": "robot", "namespace": NAMESPACE}]


async def robot(client: Client, **spec: Any) -> str:
    """Return a token of a service account, which is made if it is missing."""
    await client.post(ACCOUNTS, {"metadata": {"name": "robot"}})
    reply = await client.post(f"{ACCOUNTS}/robot/token", {"spec": {"expirationSeconds": 600, **spec}})
    return str(reply.body["status"]["token"])


async def bound(client: Client, kind: str, rules: list[Any], *, namespace: str = "") -> None:
    """Make a role with these rules, and bind it to the service account."""
    base = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
    plural = {"Role": "role", "ClusterRole": "clusterrole"}[kind]
    binding = "rolebinding" if namespace else "clusterrolebinding"
    await client.post(f"{base if kind == 'Role' else RBAC}/{plural}s", {"metadata": {"name": "r"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "r"}
    body = {"metadata": {"name": "r"}, "roleRef": reference, "subjects": SUBJECTS}
    assert (await client.post(f"{base}/{binding}s", body)).code == 201


def rule(verb: str, resource: str, group: str = "", **more: Any) -> Any:
    return {"apiGroups": [group], "resources": [resource], "verbs": [verb], **more}


async def test_a_service_account_may_do_what_is_bound_to_it_alone(client: Client) -> None:
    """Nothing at first, then what its role says; the refusal names it in full."""
    token = await robot(client)
    before = await client.call("GET", PODS, token=token)
    await bound(client, "Role", [rule("list", "pods")], namespace=NAMESPACE)
    after = await client.call("GET", PODS, token=token)
    other = await client.call("GET", "/api/v1/namespaces/default/pods", token=token)
    named = await client.call("GET", f"{PODS}/a", token=token)
    message = f'pods is forbidden: User "{USER}" cannot list resource "pods" in API group "" in the namespace "canary"'
    assert (message, [200, 403, 403]) == (before.message, [after.code, other.code, named.code])


async def test_a_cluster_role_holds_where_it_is_bound(client: Client) -> None:
    """Everywhere, or in one namespace."""
    token = await robot(client)
    await bound(client, "ClusterRole", [rule("list", "nodes"), rule("list", "pods")])
    codes = [
        (await client.call("GET", path, token=token)).code
        for path in ("/api/v1/nodes", PODS, "/api/v1/namespaces/default/pods", "/api/v1/namespaces")
    ]
    assert [200, 200, 200, 403] == codes


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        (rule("*", "*", "*"), {"verb": "get", "resource": "pods"}, True),
        (rule("get", "pods"), {"verb": "get", "resource": "pods"}, True),
        (rule("get", "pods"), {"verb": "list", "resource": "pods"}, False),
        (rule("get", "pods"), {"verb": "get", "resource": "pods", "subresource": "status"}, False),
        (rule("get", "pods/status"), {"verb": "get", "resource": "pods", "subresource": "status"}, True),
        (rule("get", "deployments", "apps"), {"verb": "get", "resource": "deployments", "group": "apps"}, True),
        (rule("get", "deployments"), {"verb": "get", "resource": "deployments", "group": "apps"}, False),
        (rule("get", "leases"), {"verb": "get", "resource": "leases", "group": "coordination.k8s.io"}, False),
        (rule("get", "pods", resourceNames=["a"]), {"verb": "get", "resource": "pods", "name": "a"}, True),
        (rule("get", "pods", resourceNames=["a"]), {"verb": "get", "resource": "pods", "name": "b"}, False),
    ],
)
async def test_a_rule_covers_what_it_names(client: Client, given: Any, asked: Any, *, allowed: bool) -> None:
    """Verb, group, resource with its subresource, and name."""
    await robot(client)
    await bound(client, "Role", [given], namespace=NAMESPACE)
    review = {"spec": {"user": USER, "resourceAttributes": {"namespace": NAMESPACE, **asked}}}
    assert {"allowed": allowed} == (await client.post(REVIEWS, review)).body["status"]


async def test_a_token_that_is_bound_to_a_secret_ends_with_it(client: Client) -> None:
    """401 as soon as the Secret is deleted, and for another of the same name."""
    uid = (await client.post(SECRETS, {"metadata": {"name": "s"}})).body["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": uid}
    token = await robot(client, boundObjectRef=reference)
    codes = [(await client.call("GET", PODS, token=token)).code]
    await client.delete(f"{SECRETS}/s")
    codes.append((await client.call("GET", PODS, token=token)).code)
    await client.post(SECRETS, {"metadata": {"name": "s"}})
    codes.append((await client.call("GET", PODS, token=token)).code)
    assert [403, 401, 401] == codes


async def test_a_token_ends_with_its_service_account(client: Client) -> None:
    """401; a new account of the same name has tokens of its own."""
    token = await robot(client)
    await client.delete(f"{ACCOUNTS}/robot")
    gone = (await client.call("GET", PODS, token=token)).code
    new = await robot(client)
    codes = [(await client.call("GET", PODS, token=one)).code for one in (token, new)]
    assert (401, [401, 403]) == (gone, codes)


@pytest.mark.parametrize(
    ("name", "bound_to", "code", "message"),
    [
        ("nosuch", None, 404, 'serviceaccounts "nosuch" not found'),
        ("robot", {"kind": "Secret", "name": "nosuch"}, 404, 'secrets "nosuch" not found'),
        ("robot", {"kind": "ConfigMap"}, 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (
            "robot",
            {"kind": "Secret", "name": "s", "uid": "other"},
            409,
            f'Operation cannot be fulfilled on Secret "s": {OTHER_UID}',
        ),
    ],
)
async def test_a_token_is_given_out_for_what_exists_alone(
    client: Client, name: str, bound_to: Any, code: int, message: str
) -> None:
    """The account, and what the token is to be bound to; in the real words."""
    await robot(client)
    await client.post(SECRETS, {"metadata": {"name": "s"}})
    spec = {"boundObjectRef": {"apiVersion": "v1", **bound_to}} if bound_to else {}
    reply = await client.post(f"{ACCOUNTS}/{name}/token", {"spec": spec})
    assert (code, message) == (reply.code, reply.message)


@pytest.mark.parametrize("token", ["e30", "bm90aGluZw", "W10", "eyJhY2NvdW50IjpbXX0"])
async def test_a_token_that_nobody_gave_out_is_nobodys(client: Client, token: str) -> None:
    """Whatever it says."""
    assert (await client.call("GET", PODS, token=token)).code == 401


async def test_a_priority_class_sets_the_priority(client: Client) -> None:
    """The system's own as well, which need not be made."""
    await client.post("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "mine"}, "value": 7})
    names = ("mine", "system-cluster-critical")
    made = [(await client.post(PODS, pod(name, priorityClassName=name))).body for name in names]
    assert [7, 2_000_000_000] == [found["spec"]["priority"] for found in made]


async def test_a_runtime_class_must_exist(client: Client) -> None:
    """403 in the real words until it does."""
    refused = await client.post(PODS, pod("a", runtimeClassName="mine"))
    await client.post("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "mine"}, "handler": "runc"})
    let_in = await client.post(PODS, pod("a", runtimeClassName="mine"))
    expected = 'pods "a" is forbidden: pod rejected: RuntimeClass "mine" not found'
    assert (expected, 201) == (refused.message, let_in.code)


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


async def test_quota_that_demands_limits(client: Client) -> None:
    """403 names each resource, with the containers that do not specify it."""
    quota = {
        "metadata": {"name": "q"},
        "spec": {"hard": {"limits.cpu": "1", "limits.memory": "1Gi", "requests.cpu": "1"}},
    }
    await client.post(f"/api/v1/namespaces/{NAMESPACE}/resourcequotas", quota)
    reply = await client.post(PODS, pod("a"))
    assert (
        403,
        'pods "a" is forbidden: failed quota: q: must specify limits.cpu for: pause; limits.memory for: pause',
    ) == (
        reply.code,
        reply.message,
    )


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
