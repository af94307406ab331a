"""The API's answers, to the letter of a real Kubernetes 1.37."""

from typing import Any

import pytest
from integration.simulator.simulator_client import CONTROLLERS, NAMESPACE, PODS, RESTRICTED, Client, controller, pod

from khealth_exporter.simulator import Simulator

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
STALE = "the object has been modified; please apply your changes to the latest version and try again"


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """Return a Status object of a failure."""
    about = {"details": details} if details else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **about,
        "code": code,
    }


async def test_every_answer_carries_date_and_audit_id(client: Client) -> None:
    """Khealth takes the API server's own clock from Date."""
    reply = await client.get(PODS)
    assert {"Date", "Audit-Id"} <= reply.headers.keys()


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/version", "v1.37.2"),
        ("/api", "v1"),
        ("/apis", "coordination.k8s.io"),
        ("/api/v1", "replicationcontrollers"),
        ("/readyz", "ok"),
        ("/livez", "ok"),
        ("/apis/coordination.k8s.io/v1", "leases"),
    ],
)
async def test_discovery_answers(client: Client, path: str, wanted: str) -> None:
    """Discovery, version and health are there."""
    reply = await client.get(path)
    assert (reply.code, True) == (200, wanted in str(reply.body))


async def test_created_object_has_what_the_server_owns(client: Client) -> None:
    """Uid, times, generation and defaults are the server's."""
    body = pod("a", serviceAccountName="default")
    made = (await client.post(PODS, {**body, "metadata": {"generateName": "a-", "uid": "mine"}})).body
    about = made["metadata"]
    assert about["name"].startswith("a-")
    assert len(about["name"]) == len("a-xxxxx")
    assert about["uid"] != "mine"
    assert (about["generation"], made["status"]["phase"], made["kind"]) == (1, "Pending", "Pod")
    assert made["spec"]["restartPolicy"] == "Always"


async def test_get_of_nothing_is_not_found(client: Client) -> None:
    """404 names the plural, and its group where there is one."""
    assert (
        status(404, "NotFound", 'pods "none" not found', name="none", kind="pods")
        == (await client.get(f"{PODS}/none")).body
    )
    message = 'leases.coordination.k8s.io "none" not found'
    wanted = status(404, "NotFound", message, name="none", group="coordination.k8s.io", kind="leases")
    assert wanted == (await client.get(f"{LEASES}/none")).body


async def test_unknown_resources_and_paths(client: Client) -> None:
    """An unknown resource is a Status, any other path is bare text."""
    reply = await client.get("/api/v1/foos")
    assert (reply.code, reply.message) == (404, "the server could not find the requested resource")
    assert (await client.get("/nothing")).body == "404 page not found\n"


async def test_second_create_already_exists(client: Client) -> None:
    """409 AlreadyExists."""
    await client.post(PODS, pod("a"))
    wanted = status(409, "AlreadyExists", 'pods "a" already exists', name="a", kind="pods")
    assert wanted == (await client.post(PODS, pod("a"))).body


async def test_create_in_no_namespace(client: Client) -> None:
    """404 names the namespace."""
    reply = await client.post("/api/v1/namespaces/none/pods", pod("a"))
    assert status(404, "NotFound", 'namespaces "none" not found', name="none", kind="namespaces") == reply.body


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (pod("A_b"), "metadata.name", 'Pod "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC'),
        (pod("e", containers=[]), "spec.containers", 'Pod "e" is invalid: spec.containers: Required value'),
        (
            pod("e", containers=[{"name": "c"}]),
            "spec.containers[0].image",
            'Pod "e" is invalid: spec.containers[0].image: Required value',
        ),
    ],
)
async def test_invalid_pods(client: Client, body: Any, field: str, message: str) -> None:
    """422 names the field and the rule."""
    reply = await client.post(PODS, body)
    assert (422, "Invalid", field) == (reply.code, reply.body["reason"], reply.body["details"]["causes"][0]["field"])
    assert reply.message.startswith(message)


async def test_selector_must_match_template(client: Client) -> None:
    """422 of a ReplicationController whose pods it would not find."""
    body = controller("r")
    body["spec"]["selector"] = {"app": "other"}
    reply = await client.post(CONTROLLERS, body)
    assert reply.message == (
        'ReplicationController "r" is invalid: spec.template.metadata.labels: Invalid value: {"app":"r"}: '
        "`selector` does not match template `labels`"
    )


async def test_stale_updates_conflict(client: Client) -> None:
    """409 for PUT and PATCH alike."""
    await client.post(PODS, pod("a"))
    stale = {"metadata": {"name": "a", "resourceVersion": "1"}}
    wanted = status(409, "Conflict", f'Operation cannot be fulfilled on pods "a": {STALE}', name="a", kind="pods")
    assert wanted == (await client.put(f"{PODS}/a", pod("a") | stale)).body
    assert wanted == (await client.patch(f"{PODS}/a", stale)).body


async def test_update_moves_resource_version_and_generation(client: Client) -> None:
    """The generation follows the spec alone; a write that changes nothing is none."""
    made = (await client.post(CONTROLLERS, controller("r", 0))).body
    same = (await client.patch(f"{CONTROLLERS}/r", {"spec": {"replicas": 0}})).body["metadata"]
    labelled = (await client.patch(f"{CONTROLLERS}/r", {"metadata": {"labels": {"x": "y"}}})).body["metadata"]
    scaled = (await client.patch(f"{CONTROLLERS}/r", {"spec": {"replicas": 1}})).body["metadata"]
    assert same["generation"] == made["metadata"]["generation"] == labelled["generation"] == 1
    assert scaled["generation"] == 2
    assert int(made["metadata"]["resourceVersion"]) < int(labelled["resourceVersion"]) < int(scaled["resourceVersion"])


async def test_pod_spec_cannot_change(client: Client) -> None:
    """422 for what a pod's update may not touch."""
    await client.post(PODS, pod("a"))
    reply = await client.patch(f"{PODS}/a", {"spec": {"hostname": "other"}})
    assert (reply.code, reply.body["reason"]) == (422, "Invalid")


async def test_lease_update_needs_a_revision(client: Client) -> None:
    """Leader election depends on it."""
    await client.post(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}})
    reply = await client.put(f"{LEASES}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "y"}})
    message = (
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )
    assert (422, message) == (reply.code, reply.message)


async def test_delete_preconditions(client: Client) -> None:
    """409 names the kind rather than the plural here."""
    uid = (await client.post(PODS, pod("a"))).body["metadata"]["uid"]
    reply = await client.delete(f"{PODS}/a", {"preconditions": {"uid": "123"}})
    message = (
        f'Operation cannot be fulfilled on Pod "a": the UID in the precondition (123) does not match the UID in '
        f"record ({uid}). The object might have been deleted and then recreated"
    )
    assert status(409, "Conflict", message, name="a", kind="Pod") == reply.body
    assert (await client.delete(f"{PODS}/a", {"preconditions": {"uid": uid}})).code == 200


async def test_delete_answers(client: Client) -> None:
    """A controller's delete in the background is answered by a Status, a marked one by the object."""
    uid = (await client.post(CONTROLLERS, controller("r", 0))).body["metadata"]["uid"]
    reply = await client.delete(f"{CONTROLLERS}/r", {"propagationPolicy": "Background"})
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    assert success | {"details": {"name": "r", "kind": "replicationcontrollers", "uid": uid}} == reply.body
    await client.post(CONTROLLERS, controller("s", 0))
    for policy, finalizer in (("Foreground", "foregroundDeletion"), (None, "orphan")):
        await client.post(CONTROLLERS, controller("s", 0))
        options = {"propagationPolicy": policy} if policy else None
        marked = (await client.delete(f"{CONTROLLERS}/s", options)).body["metadata"]
        assert ([finalizer], 0, 2) == (
            marked["finalizers"],
            marked["deletionGracePeriodSeconds"],
            marked["generation"],
        )
        await client.vanishes(CONTROLLERS, "s")


async def test_dry_run_leaves_no_trace(client: Client) -> None:
    """dryRun=All validates and stores nothing."""
    assert (await client.post(f"{PODS}?dryRun=All", pod("a"))).code == 201
    assert (await client.get(f"{PODS}/a")).code == 404
    await client.post(PODS, pod("a"))
    assert (await client.delete(f"{PODS}/a?dryRun=All")).code == 200
    assert "deletionTimestamp" not in (await client.get(f"{PODS}/a")).body["metadata"]


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
        ("labelSelector=app notin (a,b)", ["c"]),
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
        ("labelSelector=foo===bar", 400, "unable to parse requirement: found 'foo===bar', expected: identifier"),
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


@pytest.mark.parametrize("body", ["text", [1], {"metadata": "x"}, {"spec": "x", "metadata": {"name": "a"}}])
async def test_nonsense_is_a_bad_request(client: Client, body: Any) -> None:
    """No body breaks the server."""
    assert (await client.post(PODS, body)).code == 400
    assert (await client.get(PODS)).code == 200


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
