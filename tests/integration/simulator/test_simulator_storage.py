"""Claims, volumes, storage classes and Secrets, as a real Kubernetes 1.37 shows them."""

import base64
from typing import Any

import pytest
from integration.simulator.canary_pods import CLAIMS, JOBS, VOLUMES, canary, claim, claimed, until_event
from integration.simulator.simulator_client import NAMESPACE, PODS, Client, condition, is_ready, status, waiting_reason

from khealth_exporter.simulator import Simulator

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
IMMEDIATE = {"storageClassName": "immediate"}
SELECTED = "volume.kubernetes.io/selected-node"


def is_bound(document: Any) -> bool:
    """Tell whether a claim or a volume is bound."""
    return bool(document["status"]["phase"] == "Bound")


def user(name: str, claim_name: str = "c", **spec: Any) -> dict[str, Any]:
    """Return a pod that mounts a claim."""
    return canary(name, "volume", volumes={"/data": claimed(claim_name)}, terminationGracePeriodSeconds=1, **spec)


def on(node: str) -> dict[str, Any]:
    """Return what places a pod on a node."""
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


async def test_cluster_has_two_storage_classes(admin: Client) -> None:
    """The default one waits for a pod."""
    listed = (await admin.get(CLASSES)).body["items"]
    default = "storageclass.kubernetes.io/is-default-class"
    assert {"standard": ("WaitForFirstConsumer", "true"), "immediate": ("Immediate", None)} == {
        found["metadata"]["name"]: (
            found["volumeBindingMode"],
            found["metadata"].get("annotations", {}).get(default),
        )
        for found in listed
    }
    assert {"Delete"} == {found["reclaimPolicy"] for found in listed}


async def test_immediate_claim_is_bound_to_a_volume_of_its_own(admin: Client) -> None:
    """Both name each other and are protected."""
    made = (await admin.post(CLAIMS, claim("c", **IMMEDIATE))).body
    assert ("Pending", ["kubernetes.io/pvc-protection"]) == (made["status"]["phase"], made["metadata"]["finalizers"])
    found = await admin.reaches(CLAIMS, is_bound)
    volume = (await admin.get(f"{VOLUMES}/{found['spec']['volumeName']}")).body
    uid = made["metadata"]["uid"]
    assert (f"pvc-{uid}", uid) == (volume["metadata"]["name"], volume["spec"]["claimRef"]["uid"])
    assert ("Bound", "Delete", "immediate") == (
        volume["status"]["phase"],
        volume["spec"]["persistentVolumeReclaimPolicy"],
        volume["spec"]["storageClassName"],
    )
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "4Mi"}} == found["status"]
    assert found["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"


async def test_claim_of_the_default_class_waits_for_a_pod(admin: Client) -> None:
    """The scheduler chooses the node, and binds the pod when the volume is there."""
    made = (await admin.post(CLAIMS, claim("c"))).body
    assert made["spec"]["storageClassName"] == "standard"
    waits = "waiting for first consumer to be created before binding"
    assert waits == await until_event(admin, "WaitForFirstConsumer")
    assert not is_bound((await admin.get(f"{CLAIMS}/c")).body)
    await admin.post(PODS, user("a"))
    pod = await admin.reaches(PODS, is_ready)
    found = (await admin.get(f"{CLAIMS}/c")).body
    assert (True, pod["spec"]["nodeName"]) == (is_bound(found), found["metadata"]["annotations"][SELECTED])


async def test_pod_waits_for_an_immediate_claim(admin: Client, seeming: Simulator) -> None:
    """The scheduler says so, and goes on when the claim is bound."""
    seeming.begin("provisioner-off")
    await admin.post(CLAIMS, claim("c", **IMMEDIATE))
    await admin.post(PODS, user("a"))
    refused = await admin.reaches(PODS, lambda pod: condition(pod, "PodScheduled").get("status") == "False")
    assert "pod has unbound immediate PersistentVolumeClaims" in condition(refused, "PodScheduled")["message"]
    assert "waiting" in (await until_event(admin, "ExternalProvisioning")).lower()
    assert not is_bound((await admin.get(f"{CLAIMS}/c")).body)
    seeming.end("provisioner-off")
    await admin.reaches(PODS, is_ready)


async def test_pod_names_the_claim_that_is_missing(admin: Client) -> None:
    """It is not scheduled until there is one."""
    await admin.post(PODS, user("a"))
    refused = await admin.reaches(PODS, lambda pod: condition(pod, "PodScheduled").get("status") == "False")
    assert 'persistentvolumeclaim "c" not found' in condition(refused, "PodScheduled")["message"]
    await admin.post(CLAIMS, claim("c"))
    await admin.reaches(PODS, is_ready)


async def test_claim_of_an_unknown_provisioner_stays_pending(admin: Client) -> None:
    """And names it."""
    await admin.post(CLASSES, {"metadata": {"name": "none"}, "provisioner": "example.com/none"})
    await admin.post(CLAIMS, claim("c", storageClassName="none"))
    assert "'example.com/none'" in await until_event(admin, "ExternalProvisioning")
    assert (await admin.get(VOLUMES)).body["items"] == []


async def test_claim_of_an_unknown_class_stays_pending(admin: Client) -> None:
    """Until the class is created."""
    await admin.post(CLAIMS, claim("c", storageClassName="later"))
    assert await until_event(admin, "ProvisioningFailed") == 'storageclass.storage.k8s.io "later" not found'
    await admin.post(CLASSES, {"metadata": {"name": "later"}, "provisioner": "csi.simulated.example"})
    await admin.reaches(CLAIMS, is_bound)


async def test_volume_goes_after_its_claim(admin: Client) -> None:
    """It is released first."""
    await admin.post(CLAIMS, claim("c", **IMMEDIATE))
    found = await admin.reaches(CLAIMS, is_bound)
    async with admin.watch(VOLUMES) as watcher:
        await admin.delete(f"{CLAIMS}/c")
        await watcher.until(lambda event: event["object"]["status"]["phase"] == "Released")
        await watcher.until(lambda event: event["type"] == "DELETED")
    assert [404, 404] == [
        (await admin.get(path)).code for path in (f"{CLAIMS}/c", f"{VOLUMES}/{found['spec']['volumeName']}")
    ]


async def test_volume_of_a_retaining_class_stays(admin: Client) -> None:
    """Released."""
    retaining = {"metadata": {"name": "kept"}, "provisioner": "csi.simulated.example", "reclaimPolicy": "Retain"}
    await admin.post(CLASSES, retaining)
    await admin.post(CLAIMS, claim("c", storageClassName="kept"))
    await admin.reaches(CLAIMS, is_bound)
    await admin.delete(f"{CLAIMS}/c")
    await admin.reaches(VOLUMES, lambda volume: volume["status"]["phase"] == "Released")


async def test_claim_in_use_is_protected(admin: Client) -> None:
    """It goes when its pod has gone."""
    await admin.post(CLAIMS, claim("c"))
    await admin.post(PODS, user("a"))
    await admin.reaches(PODS, is_ready)
    marked = await admin.delete(f"{CLAIMS}/c")
    assert "deletionTimestamp" in marked.body["metadata"]
    await admin.post(CLAIMS, claim("other", **IMMEDIATE))
    await admin.reaches(CLAIMS, is_bound, fieldSelector="metadata.name=other")
    assert (await admin.get(f"{CLAIMS}/c")).code == 200
    await admin.delete(f"{PODS}/a")
    await admin.vanishes(CLAIMS, "c")


async def test_volume_is_attached_to_one_node_at_a_time(admin: Client) -> None:
    """A second pod on another node waits for the end of the first one."""
    await admin.post(CLAIMS, claim("c", **IMMEDIATE))
    await admin.post(PODS, user("a", **on("node-1")))
    await admin.reaches(PODS, is_ready)
    await admin.post(PODS, user("b", **on("node-2")))
    assert "already exclusively attached to one node" in await until_event(admin, "FailedAttachVolume")
    assert waiting_reason((await admin.get(f"{PODS}/b")).body) == "ContainerCreating"
    await admin.delete(f"{PODS}/a")
    await admin.reaches(PODS, is_ready, fieldSelector="metadata.name=b")


async def test_volume_that_cannot_be_attached_holds_its_pod_up(admin: Client, seeming: Simulator) -> None:
    """On that node; the pod has no sandbox either."""
    seeming.begin("volume-not-attached:node-1")
    await admin.post(CLAIMS, claim("c", **IMMEDIATE))
    await admin.post(PODS, user("a", **on("node-1")))
    assert (await until_event(admin, "FailedAttachVolume")).startswith("AttachVolume.Attach failed for volume")
    held = (await admin.get(f"{PODS}/a")).body
    assert ("ContainerCreating", "False") == (
        waiting_reason(held),
        condition(held, "PodReadyToStartContainers")["status"],
    )
    seeming.end("volume-not-attached:node-1")
    await admin.reaches(PODS, is_ready)


async def test_volume_that_cannot_be_deleted_stays_released(admin: Client, seeming: Simulator) -> None:
    """Its claim goes, and the volume follows when the fault has ended."""
    await admin.post(CLAIMS, claim("c", **IMMEDIATE))
    name = (await admin.reaches(CLAIMS, is_bound))["spec"]["volumeName"]
    seeming.begin("volume-not-deleted")
    await admin.delete(f"{CLAIMS}/c")
    await admin.vanishes(CLAIMS, "c")
    await admin.reaches(VOLUMES, lambda volume: volume["status"]["phase"] == "Released")
    await admin.reaches("/api/v1/namespaces/default/events", lambda event: event["reason"] == "VolumeFailedDelete")
    assert (await admin.get(f"{VOLUMES}/{name}")).code == 200
    seeming.end("volume-not-deleted")
    await admin.vanishes(VOLUMES, name)


async def test_claim_that_breaks_a_rule_is_refused(admin: Client) -> None:
    """422, with the field and the rule."""
    reply = await admin.post(CLAIMS, {"metadata": {"name": "c"}, "spec": {}})
    causes = [(cause["field"], cause["message"]) for cause in reply.body["details"]["causes"]]
    expected = [
        ("spec.accessModes", "Required value: at least 1 access mode is required"),
        ("spec.resources[storage]", "Required value"),
    ]
    assert (422, expected) == (reply.code, causes)


async def test_claim_keeps_its_class(admin: Client) -> None:
    """Its spec is immutable."""
    await admin.post(CLAIMS, claim("c"))
    reply = await admin.patch(f"{CLAIMS}/c", {"spec": {"storageClassName": "immediate"}})
    assert (422, "FieldValueForbidden") == (reply.code, reply.body["details"]["causes"][0]["reason"])


async def test_mount_of_no_volume_is_refused(admin: Client) -> None:
    """By its name."""
    made = canary("a", "config", volumes={"/x": {"emptyDir": {}}})
    made["spec"]["volumes"][0]["name"] = "other"
    reply = await admin.post(PODS, made)
    field = "spec.containers[0].volumeMounts[0].name"
    assert (422, [{"reason": "FieldValueNotFound", "message": 'Not found: "v0"', "field": field}]) == (
        reply.code,
        reply.body["details"]["causes"],
    )


async def test_pod_waits_for_its_config_map(admin: Client) -> None:
    """And says which one is missing."""
    await admin.post(PODS, canary("a", "config", volumes={"/c": {"configMap": {"name": "m"}}}))
    assert await until_event(admin, "FailedMount") == (
        'MountVolume.SetUp failed for volume "v0" : configmap "m" not found'
    )
    await admin.post(f"/api/v1/namespaces/{NAMESPACE}/configmaps", {"metadata": {"name": "m"}})
    await admin.reaches(PODS, is_ready)


async def test_secret_stores_plain_strings_encoded(admin: Client) -> None:
    """Also in an update; the plain strings are not stored."""
    made = (await admin.post(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "1"}})).body
    changed = (await admin.patch(f"{SECRETS}/s", {"stringData": {"b": "2"}})).body
    one, two = (base64.b64encode(text).decode() for text in (b"1", b"2"))
    assert ("Opaque", {"a": one}, False) == (made["type"], made["data"], "stringData" in made)
    assert ({"a": one, "b": two}, False) == (changed["data"], "stringData" in changed)


async def test_secret_that_is_not_base64_is_refused(admin: Client) -> None:
    """400, as every object that cannot be decoded."""
    reply = await admin.post(SECRETS, {"metadata": {"name": "s"}, "data": {"a": "?"}})
    message = 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
    assert status(400, "BadRequest", message) == reply.body


async def test_immutable_secret_keeps_its_data(admin: Client) -> None:
    """422."""
    await admin.post(SECRETS, {"metadata": {"name": "s"}, "data": {"a": "MQ=="}, "immutable": True})
    reply = await admin.patch(f"{SECRETS}/s", {"data": {"a": "Mg=="}})
    assert (422, "data") == (reply.code, reply.body["details"]["causes"][0]["field"])


async def test_new_kinds_are_discovered(admin: Client) -> None:
    """With their names, and whether they are in namespaces."""
    found = {
        entry["name"]: entry["namespaced"]
        for path in ("/api/v1", "/apis/batch/v1", "/apis/storage.k8s.io/v1")
        for entry in (await admin.get(path)).body["resources"]
    }
    expected = {
        "jobs": True,
        "jobs/status": True,
        "persistentvolumeclaims": True,
        "persistentvolumes": False,
        "secrets": True,
        "storageclasses": False,
    }
    assert expected == {name: found.get(name) for name in expected}


@pytest.mark.parametrize(
    ("group", "resource", "path"),
    [("batch", "jobs", JOBS), ("", "persistentvolumeclaims", CLAIMS), ("", "secrets", SECRETS)],
)
async def test_new_kinds_need_permission(admin: Client, group: str, resource: str, path: str) -> None:
    """A Role grants each of them."""
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": ["list"]}]
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default/token"
    token = (await admin.post(account, {"spec": {}})).body["status"]["token"]
    before = (await admin.call("GET", path, token=token)).code
    await admin.post(f"{roles}/roles", {"metadata": {"name": "r"}, "rules": rules})
    subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    await admin.post(f"{roles}/rolebindings", {"metadata": {"name": "r"}, "subjects": subjects, "roleRef": reference})
    assert (403, 200) == (before, (await admin.call("GET", path, token=token)).code)
