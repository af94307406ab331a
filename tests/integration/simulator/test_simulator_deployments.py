"""Deployments and ReplicaSets over HTTP: defaults, rollouts, status and refusals, as a real Kubernetes 1.37 has them."""

from typing import Any

import pytest
from integration.simulator.simulator_client import (
    APPS,
    DEPLOYMENTS,
    NAMESPACE,
    PODS,
    REPLICA_SETS,
    Client,
    condition,
    is_ready,
    pod,
    renewed,
    waiting_reason,
    workload,
)

from khealth_exporter.simulator import Simulator

QUOTAS = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"


def is_rolled_out(found: Any) -> bool:
    """Tell whether the Deployment's present template is complete."""
    observed = found["status"].get("observedGeneration") == found["metadata"]["generation"]
    return observed and bool(condition(found, "Progressing").get("reason") == "NewReplicaSetAvailable")


async def rolled_out(client: Client, name: str = "d", replicas: int = 2, **spec: Any) -> Any:
    """Create a Deployment, and return it once it is complete."""
    assert (await client.post(DEPLOYMENTS, workload(name, replicas, **spec))).code == 201
    return await client.reaches(DEPLOYMENTS, is_rolled_out)


async def test_a_deployment_has_the_defaults_of_the_real_server(client: Client) -> None:
    """A quarter of the pods may be unavailable and a quarter may be surplus, and ten minutes pass without progress."""
    spec = (await client.post(DEPLOYMENTS, {**workload("d"), "spec": workload("d")["spec"]})).body["spec"]
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert (rolling, 10, 600) == (spec["strategy"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"])
    assert ("default-scheduler", "Always") == tuple(
        spec["template"]["spec"][field] for field in ("schedulerName", "restartPolicy")
    )


async def test_a_deployment_becomes_available(client: Client) -> None:
    """Its status counts its pods, and says so in both conditions."""
    found = await rolled_out(client)
    counts = {
        name: found["status"][name] for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    }
    assert {2} == set(counts.values())
    assert ("True", "MinimumReplicasAvailable") == tuple(
        condition(found, "Available")[key] for key in ("status", "reason")
    )
    assert "1" == found["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert 1 == found["metadata"]["generation"]


async def test_pods_have_the_hash_of_their_template(client: Client) -> None:
    """The ReplicaSet's name, selector and labels have it as well, and each owns the next."""
    deployment = await rolled_out(client)
    [replica_set] = (await client.get(REPLICA_SETS)).body["items"]
    pods = (await client.get(PODS)).body["items"]
    code = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert f"d-{code}" == replica_set["metadata"]["name"]
    assert {"app": "d", "pod-template-hash": code} == replica_set["spec"]["selector"]["matchLabels"]
    assert [code, code] == [found["metadata"]["labels"]["pod-template-hash"] for found in pods]
    owners = [found["metadata"]["ownerReferences"][0]["uid"] for found in (replica_set, *pods)]
    uid = replica_set["metadata"]["uid"]
    assert [deployment["metadata"]["uid"], uid, uid] == owners


async def test_an_update_never_has_fewer_ready_pods_than_promised(client: Client) -> None:
    """With maxUnavailable 0, each old pod stays until a new one is ready."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    await rolled_out(client, strategy=rolling)
    before = (await client.get(PODS)).body
    await client.patch(f"{DEPLOYMENTS}/d", renewed("2"))
    fewest, most = 9, 0
    pods = {found["metadata"]["uid"]: found for found in before["items"]}
    async with client.watch(PODS, resourceVersion=before["metadata"]["resourceVersion"]) as watcher:
        while {found["metadata"].get("annotations", {}).get("version") for found in pods.values()} != {"2"}:
            event = await watcher.next()
            pods[event["object"]["metadata"]["uid"]] = event["object"]
            if event["type"] == "DELETED":
                del pods[event["object"]["metadata"]["uid"]]
            alive = [found for found in pods.values() if "deletionTimestamp" not in found["metadata"]]
            fewest, most = min(fewest, sum(map(is_ready, alive))), max(most, len(alive))
    assert (2, 3) == (fewest, most)


async def test_an_update_counts_generations_and_revisions(client: Client) -> None:
    """The status is behind until the controller has seen the change; the old ReplicaSet stays at 0."""
    await rolled_out(client)
    updated = (await client.patch(f"{DEPLOYMENTS}/d", renewed("2"))).body
    assert (2, 1) == (updated["metadata"]["generation"], updated["status"]["observedGeneration"])
    found = await client.reaches(DEPLOYMENTS, is_rolled_out)
    sizes = {
        one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: one["spec"]["replicas"]
        for one in (await client.get(REPLICA_SETS)).body["items"]
    }
    assert ("2", {"1": 0, "2": 2}) == (found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], sizes)


async def test_an_earlier_template_reuses_its_replica_set(client: Client) -> None:
    """Its revision becomes the highest."""
    await rolled_out(client)
    for value in ("2", None):
        await client.patch(f"{DEPLOYMENTS}/d", renewed(value))  # type: ignore[arg-type]  # null removes it
        found = await client.reaches(DEPLOYMENTS, is_rolled_out)
    assert "3" == found["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert 2 == len((await client.get(REPLICA_SETS)).body["items"])


async def test_a_deployment_is_recreated_without_overlap(client: Client) -> None:
    """No new pod exists before the last old one has ended."""
    await rolled_out(client, strategy={"type": "Recreate"})
    patched = await client.patch(f"{DEPLOYMENTS}/d", renewed("2"))
    ended = set[str]()
    async with client.watch(PODS, resourceVersion=patched.body["metadata"]["resourceVersion"]) as watcher:
        while (event := await watcher.next())["type"] != "ADDED":
            ended |= (
                {event["object"]["metadata"]["name"]} if event["object"]["status"]["phase"] == "Succeeded" else set()
            )
    assert (2, "2") == (len(ended), event["object"]["metadata"]["annotations"]["version"])


@pytest.mark.parametrize("replicas", [0, 1, 4])
async def test_a_deployment_scales(client: Client, replicas: int) -> None:
    """Its only ReplicaSet gets the new size."""
    await rolled_out(client)
    await client.patch(f"{DEPLOYMENTS}/d", {"spec": {"replicas": replicas}})
    await client.becomes(PODS, lambda pods: len(pods) == replicas and all(map(is_ready, pods)))
    assert [replicas] == [found["spec"]["replicas"] for found in (await client.get(REPLICA_SETS)).body["items"]]


async def test_a_put_fills_in_the_defaults(client: Client) -> None:
    """What a client leaves out is no change."""
    await rolled_out(client)
    replaced = await client.put(f"{DEPLOYMENTS}/d", workload("d", 2))
    assert (200, "25%") == (replaced.code, replaced.body["spec"]["strategy"]["rollingUpdate"]["maxSurge"])


async def test_a_selector_cannot_change(client: Client) -> None:
    """422 in the real words."""
    await client.post(DEPLOYMENTS, workload("d"))
    changed = workload("d", selector={"matchLabels": {"app": "d", "x": "y"}})
    changed["spec"]["template"]["metadata"]["labels"]["x"] = "y"
    reply = await client.put(f"{DEPLOYMENTS}/d", changed)
    value = '{"matchLabels":{"app":"d","x":"y"}}'
    message = f'Deployment.apps "d" is invalid: spec.selector: Invalid value: {value}: field is immutable'
    assert (422, message) == (reply.code, reply.message)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"selector": None}, "spec.selector: Required value"),
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            'spec.template.metadata.labels: Invalid value: {"app":"d"}: `selector` does not match template `labels`',
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}},
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
        ),
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"template": {"metadata": {"labels": {"app": "d"}}, "spec": pod("d")["spec"] | {"restartPolicy": "Never"}}},
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
    ],
)
async def test_invalid_deployments_are_refused(client: Client, spec: Any, told: str) -> None:
    """422 names the field, in the real words."""
    reply = await client.post(DEPLOYMENTS, workload("d", **spec))
    assert (422, f'Deployment.apps "d" is invalid: {told}') == (reply.code, reply.message)


async def test_a_rollout_that_stalls_exceeds_its_deadline(client: Client, simulator: Simulator) -> None:
    """The new pods miss their image, the old ones stay ready; afterwards the rollout goes on by itself."""
    await rolled_out(client, progressDeadlineSeconds=3, strategy={"rollingUpdate": {"maxUnavailable": 0}})
    simulator.begin("rollout-stalled")
    await client.patch(f"{DEPLOYMENTS}/d", renewed("2"))
    await client.reaches(PODS, lambda found: waiting_reason(found) == "ErrImagePull")
    late = await client.reaches(DEPLOYMENTS, lambda found: condition(found, "Progressing")["status"] == "False")
    ready = [is_ready(found) for found in (await client.get(PODS)).body["items"]]
    assert ("ProgressDeadlineExceeded", 2) == (
        condition(late, "Progressing")["reason"],
        late["status"]["readyReplicas"],
    )
    assert [False, True, True] == sorted(ready)
    simulator.end("rollout-stalled")
    await client.reaches(DEPLOYMENTS, is_rolled_out)


async def test_minimum_ready_seconds_delay_availability(client: Client) -> None:
    """Pods are ready before they are available: an hour before, and then twenty of the cluster's seconds."""
    await client.post(DEPLOYMENTS, workload("d", 2, minReadySeconds=3600, progressDeadlineSeconds=7200))
    early = await client.reaches(DEPLOYMENTS, lambda found: found["status"].get("readyReplicas", 0) == 2)
    assert "availableReplicas" not in early["status"]
    await client.patch(f"{DEPLOYMENTS}/d", {"spec": {"minReadySeconds": 20, "progressDeadlineSeconds": 600}})
    await client.reaches(DEPLOYMENTS, is_rolled_out)


async def test_a_switched_off_deployment_controller_does_nothing(client: Client, simulator: Simulator) -> None:
    """The status is not observed, but ReplicaSets of others still get their pods."""
    simulator.begin("deployment-controller-off")
    await client.post(DEPLOYMENTS, workload("d"))
    await client.post(REPLICA_SETS, workload("r"))
    await client.reaches(REPLICA_SETS, lambda found: found["status"].get("availableReplicas", 0) == 1)
    assert {} == (await client.get(f"{DEPLOYMENTS}/d")).body["status"]
    simulator.end("deployment-controller-off")
    await client.reaches(DEPLOYMENTS, is_rolled_out)


async def test_a_quota_of_pods_shows_in_the_deployment(client: Client, simulator: Simulator) -> None:
    """The ReplicaSet's failure is passed on, and goes when pods can be created."""
    simulator.begin("quota")
    await client.post(DEPLOYMENTS, workload("d"))
    found = await client.reaches(DEPLOYMENTS, lambda found: condition(found, "ReplicaFailure"))
    assert "FailedCreate" == condition(found, "ReplicaFailure")["reason"]
    assert "exceeded quota: simulated-quota" in condition(found, "ReplicaFailure")["message"]
    simulator.end("quota")
    found = await client.reaches(DEPLOYMENTS, is_rolled_out)
    assert {} == condition(found, "ReplicaFailure")


async def test_a_quota_counts_deployments(client: Client) -> None:
    """403 in the real words, and the quota's status says how many there are."""
    await client.post(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"count/deployments.apps": "1"}}})
    await client.post(DEPLOYMENTS, workload("a"))
    reply = await client.post(DEPLOYMENTS, workload("b"))
    counted = "requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1"
    assert (403, f'deployments.apps "b" is forbidden: exceeded quota: q, {counted}') == (reply.code, reply.message)
    await client.reaches(QUOTAS, lambda found: found["status"].get("used") == {"count/deployments.apps": "1"})


async def test_a_name_that_is_still_taken_yields_another_hash(client: Client, simulator: Simulator) -> None:
    """The ReplicaSet of a deleted Deployment of the same name and template is not reused."""
    await rolled_out(client)
    simulator.begin("garbage-collector-off")
    await client.delete(f"{DEPLOYMENTS}/d")
    await client.post(DEPLOYMENTS, workload("d", 2))
    found = await client.reaches(DEPLOYMENTS, is_rolled_out)
    assert (1, 2) == (found["status"]["collisionCount"], len((await client.get(REPLICA_SETS)).body["items"]))


async def test_the_group_is_discovered(client: Client) -> None:
    """Deployments, ReplicaSets and StatefulSets, each with its status and its scale."""
    groups = [group["name"] for group in (await client.get("/apis")).body["groups"]]
    listed = {found["name"] for found in (await client.get("/apis/apps/v1")).body["resources"]}
    kinds = {"deployments", "replicasets", "statefulsets"}
    further = {f"{kind}/{name}" for kind in kinds for name in ("status", "scale")}
    assert ("apps" in groups, kinds | further | {"controllerrevisions"}) == (True, listed)
    assert 404 == (await client.get(f"{APPS}/daemonsets")).code


async def test_a_pod_of_another_scheduler_is_left_alone(client: Client) -> None:
    """It is not bound and not judged, also when others are retried."""
    await client.post(PODS, pod("other", schedulerName="khealth.io/none"))
    await client.post(PODS, pod("mine"))
    await client.reaches(PODS, is_ready, fieldSelector="metadata.name=mine")
    await client.delete(f"{PODS}/mine")
    await client.vanishes(PODS, "mine")
    found = (await client.get(f"{PODS}/other")).body
    assert (None, "Pending", {}) == (
        found["spec"].get("nodeName"),
        found["status"]["phase"],
        condition(found, "PodScheduled"),
    )
