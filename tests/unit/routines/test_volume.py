"""volume, on a small cluster with a provisioner, on virtual time."""

import asyncio
from typing import Any

import pytest
from canary_pods import (
    CLAIMS,
    CLASSES,
    VOLUMES,
    Storage,
    censored,
    document,
    left,
    measured,
    note,
    ran,
    reasons,
    storage_class,
    tell,
)
from documents import Json, node, unschedulable
from fakes import FORBIDDEN, TIMEOUT, Asked, hanging, refusing
from small_cluster import PODS, Scene, scene
from virtual_time import run, virtual

from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.routines.volume import Volume
from khealth_exporter.vocabulary.reason import Reason

MADE = (PODS, CLAIMS, VOLUMES)


async def volume(here: Scene, seconds: float = 30.0, **chosen: Any) -> RoutineStatus:
    return await ran(here, Volume, seconds, **chosen)


def verdict(status: RoutineStatus) -> Reason | None:
    (reason,) = reasons(status)
    return reason


@pytest.mark.parametrize("waits", [False, True])
def test_a_volume_is_provisioned_written_verified_and_deleted(waits: bool) -> None:
    """With either binding mode; nothing is left."""

    async def scenario() -> None:
        async with scene() as here:
            Storage(here, waits)
            status = await volume(here)
            (attempt,) = status.attempts
            steps = measured(attempt)
            assert (None, []) == (verdict(status), left(here, MADE))
            assert {"provision", "attach", "write", "verify", "detach", "delete"} == set(steps)
            assert pytest.approx((0.3, 0.3)) == (steps["write"], steps["verify"])
            assert 1.0 <= steps["provision"] < 1.5
            assert 1.0 <= steps["delete"] < 2.0

    run(scenario())


@virtual
async def test_both_canaries_are_attached_and_detached() -> None:
    """Each is an object of its own."""
    async with scene() as here:
        Storage(here)
        (attempt,) = (await volume(here)).attempts
        names = [sample.object.rpartition("-")[2] for sample in attempt.samples for _ in sample.measurements]
        assert ["write", "write", "verify", "verify"] == sorted(names, reverse=True)


@virtual
async def test_the_second_canary_runs_on_another_node_if_it_can() -> None:
    """Only a wish: a volume may belong to one node."""
    async with scene() as here:
        Storage(here)
        await volume(here)
        _, second = (asked.body["spec"] for asked in here.api.named("create", PODS))
        (term,) = second["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        expected = [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}]
        assert expected == term["preference"]["matchFields"]


@virtual
async def test_the_second_canary_begins_when_the_first_is_gone() -> None:
    """A volume of one node must be detached before."""
    async with scene() as here:
        Storage(here)
        await volume(here)
        first, second = here.api.named("create", PODS)
        (removed,) = [
            asked.at for asked in here.api.named("delete", PODS) if asked.name == first.body["metadata"]["name"]
        ]
        assert first.at < removed < second.at


@virtual
async def test_the_claim_is_what_the_settings_say() -> None:
    """A named class, a size, an access mode."""
    async with scene() as here:
        Storage(here)
        here.api.put(CLASSES, storage_class("slow", default=False))
        await volume(here, storage_class="slow", size="1Gi", access_mode="ReadWriteMany")
        (asked,) = here.api.named("create", CLAIMS)
        expected = {
            "storageClassName": "slow",
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        assert expected == asked.body["spec"]


@virtual
async def test_the_newest_default_class_is_taken() -> None:
    """As Kubernetes does where several are the default."""
    async with scene() as here:
        Storage(here)
        new = storage_class("new")
        new["metadata"]["creationTimestamp"] = "2099-01-01T00:00:00Z"
        here.api.put(CLASSES, new)
        await volume(here)
        assert "new" == here.api.named("create", CLAIMS)[0].body["spec"]["storageClassName"]


@pytest.mark.parametrize(
    ("classes", "chosen", "says"),
    [
        pytest.param([], {}, "no StorageClass is the default; there are: none", id="none"),
        pytest.param(
            [storage_class("slow", default=False)],
            {},
            "no StorageClass is the default; there are: slow",
            id="no default",
        ),
        pytest.param(
            [storage_class("fast")],
            {"storage_class": "slow"},
            "StorageClass slow does not exist; there are: fast",
            id="no such class",
        ),
        pytest.param(
            [storage_class("kept", reclaimPolicy="Retain")],
            {},
            "StorageClass kept has reclaimPolicy Retain: every attempt would leave a volume",
            id="retained",
        ),
        pytest.param(
            [storage_class("local", provisioner="kubernetes.io/no-provisioner")],
            {},
            "StorageClass local provisions no volumes",
            id="static",
        ),
    ],
)
def test_without_a_usable_class_nothing_is_created(classes: list[Json], chosen: Json, says: str) -> None:
    """That is the cluster's choice, and no failure."""

    async def scenario() -> None:
        async with scene() as here:
            for found in classes:
                here.api.put(CLASSES, found)
            status = await volume(here, **chosen)
            assert (Reason.NO_STORAGE_CLASS, says) == (verdict(status), note(status.attempts[0]))
            assert [] == here.api.named("create")

    run(scenario())


@pytest.mark.parametrize("waits", [False, True])
def test_a_claim_without_a_volume_is_not_provisioned(waits: bool) -> None:
    """Even if its pod has no node because of that; the provisioner is named."""

    async def scenario() -> None:
        async with scene() as here:
            Storage(here, waits, provisioning=False)
            status = await volume(here, 150.0)
            (attempt,) = status.attempts
            assert (Reason.VOLUME_NOT_PROVISIONED, ["provision"]) == (verdict(status), censored(attempt))
            assert "provisioner disks.example.com of StorageClass fast" in note(attempt)
            assert [] == left(here, MADE)

    run(scenario())


@virtual
async def test_a_canary_without_a_node_has_nothing_to_detach() -> None:
    """It would make the step look fast."""
    async with scene() as here:
        Storage(here, waits=True, provisioning=False)
        (attempt,) = (await volume(here, 150.0)).attempts
        assert {"provision", "delete"} == set(measured(attempt))


@pytest.mark.parametrize("waits", [False, True])
def test_a_claim_that_the_controller_manager_ignores_is_its_fault(waits: bool) -> None:
    """No provisioner was asked; where the class waits, not even the scheduler has chosen a node."""

    async def scenario() -> None:
        async with scene() as here:
            Storage(here, waits, observing=False)
            expected = Reason.POD_NOT_SCHEDULED if waits else Reason.STATUS_NOT_OBSERVED
            assert expected is verdict(await volume(here, 150.0))

    run(scenario())


@virtual
async def test_slow_answers_before_a_verdict_do_not_look_like_a_starved_khealth() -> None:
    """The claim is asked for first, and then its pod."""

    async def slow(asked: Asked) -> None:
        if asked.verb == "list" and asked.resource == "events":
            await asyncio.sleep(3.0)

    async with scene() as here:
        Storage(here, waits=True, observing=False)
        here.api.faults.append(slow)
        assert Reason.POD_NOT_SCHEDULED is verdict(await volume(here, 150.0))


@virtual
async def test_what_the_scheduler_says_of_storage_is_storages_fault() -> None:
    """It waits for the volume itself."""
    message = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    async with scene() as here:
        Storage(here, waits=True, observing=False)

        def say() -> None:
            for pod in list(here.api.objects[PODS].values()):
                here.api.put(PODS, unschedulable(pod, message))

        here.small.later(5.0, say)
        assert Reason.VOLUME_NOT_PROVISIONED is verdict(await volume(here, 150.0))


@virtual
async def test_a_volume_whose_node_takes_no_pod_is_no_fault_of_storage() -> None:
    """It is there, and cannot be moved."""
    message = "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had volume node affinity conflict."
    async with scene() as here:
        Storage(here)
        here.small.stuck, here.small.change = {0: "created"}, {0: lambda pod: unschedulable(pod, message)}
        assert Reason.NO_NODE is verdict(await volume(here, 150.0))


@virtual
async def test_nodes_that_are_full_of_volumes_have_no_room() -> None:
    """Others have attached them: storage is well."""
    message = "0/3 nodes are available: 3 node(s) exceed max volume count."
    async with scene() as here:
        Storage(here)
        here.small.stuck, here.small.change = {0: "created"}, {0: lambda pod: unschedulable(pod, message)}
        assert Reason.POD_UNSCHEDULABLE is verdict(await volume(here, 150.0))


@virtual
async def test_a_volume_that_cannot_be_mounted_is_not_attached() -> None:
    """The kubelet says so in an Event, and has no sandbox yet."""
    async with scene() as here:
        Storage(here, mounting=False)
        here.small.later(10.0, tell, here, "FailedAttachVolume", "Multi-Attach error for volume pvc-1")
        status = await volume(here, 150.0)
        (attempt,) = status.attempts
        assert (Reason.VOLUME_NOT_ATTACHED, ["attach"]) == (verdict(status), censored(attempt))
        assert "FailedAttachVolume on node-1: Multi-Attach error for volume pvc-1" in note(attempt)


@virtual
async def test_a_sandbox_that_fails_is_the_nodes_fault() -> None:
    """The kubelet has mounted the volume by then."""
    async with scene() as here:
        Storage(here, mounting=False)
        here.small.later(10.0, tell, here, "FailedCreatePodSandBox", "plugin type=loopback failed")
        assert Reason.SANDBOX_FAILED is verdict(await volume(here, 150.0))


@virtual
async def test_a_pod_that_waits_without_a_word_blames_neither_storage_nor_node() -> None:
    """A kubelet says nothing while it mounts."""
    async with scene() as here:
        Storage(here, mounting=False)
        assert Reason.NO_SINGLE_CAUSE is verdict(await volume(here, 150.0))


@virtual
async def test_a_silent_kubelet_is_the_nodes_fault() -> None:
    """It has not taken up the pod."""
    async with scene() as here:
        Storage(here)
        here.small.stuck, here.small.change = {0: "scheduled"}, {}
        assert Reason.KUBELET_SILENT is verdict(await volume(here, 150.0))


@virtual
async def test_a_canary_that_hangs_in_io_is_a_disk_that_failed() -> None:
    """It runs, and does not end."""
    async with scene() as here:
        Storage(here)
        here.small.stuck, here.small.change = {}, {}
        status = await volume(here, 200.0)
        assert (Reason.DISK_FAILED, ["write"]) == (verdict(status), censored(status.attempts[0]))


@virtual
async def test_a_canary_whose_node_is_dead_is_no_disk_that_failed() -> None:
    """Nobody has reported how it ended."""
    async with scene() as here:
        Storage(here)
        here.small.stuck, here.small.change = {}, {}
        for name in here.small.nodes:
            here.small.later(60.0, here.api.put, "nodes", node(name, ready="Unknown"))
        assert Reason.NODES_NOT_READY is verdict(await volume(here, 200.0))


@pytest.mark.parametrize("reason", [Reason.DATA_CORRUPTED, Reason.DISK_FAILED])
def test_what_the_second_canary_finds_is_the_verdict(reason: Reason) -> None:
    """Nothing is left all the same."""

    async def scenario() -> None:
        async with scene() as here:
            Storage(here, says={"verify": document("volume", reason=reason.value, error="wrong content at offset 7")})
            status = await volume(here)
            assert (reason, []) == (verdict(status), left(here, MADE))
            assert "wrong content at offset 7" in note(status.attempts[0])

    run(scenario())


@virtual
async def test_a_volume_that_stays_is_not_deleted() -> None:
    """What the provisioner says of it is the note."""
    async with scene() as here:
        Storage(here, reclaiming=False)
        status = await volume(here, 200.0)
        assert (Reason.VOLUME_NOT_DELETED, ["delete"]) == (verdict(status), censored(status.attempts[0]))
        assert "volume pvc-1 is Failed: disk is in use" in note(status.attempts[0])


@virtual
async def test_a_volume_that_another_client_retains_is_no_fault_of_storage() -> None:
    """Its class deletes volumes; this one was changed, or made by hand."""
    async with scene() as here:
        Storage(here, reclaiming=False)

        def retain() -> None:
            (made,) = here.api.objects[VOLUMES].values()
            here.api.put(VOLUMES, {**made, "spec": {"persistentVolumeReclaimPolicy": "Retain"}})

        here.small.later(1.3, retain)
        status = await volume(here, 200.0)
        assert Reason.INTERRUPTED is verdict(status)
        assert "volume pvc-1 has reclaimPolicy Retain" in note(status.attempts[0])


@virtual
async def test_a_volume_that_may_not_be_seen_is_not_waited_for() -> None:
    """That right is optional."""
    async with scene() as here:
        Storage(here, reclaiming=False)
        here.api.faults.append(refusing("get", "watch", resource=VOLUMES, by=FORBIDDEN))
        status = await volume(here, 200.0)
        assert (None, ["pvc-1"]) == (verdict(status), left(here, MADE))


@virtual
async def test_a_volume_whose_watch_fails_is_asked_for() -> None:
    """It is gone, only when is less certain."""
    async with scene() as here:
        Storage(here)
        here.api.faults.append(refusing("watch", resource=VOLUMES, by=FORBIDDEN))
        assert None is verdict(await volume(here))


@virtual
async def test_a_claim_that_stays_protected_is_the_controller_managers_fault() -> None:
    """Its pods are gone."""
    async with scene() as here:
        Storage(here, unprotecting=False)
        status = await volume(here, 200.0)
        assert Reason.NOT_COLLECTED is verdict(status)
        assert "kubernetes.io/pvc-protection" in note(status.attempts[0])


@virtual
async def test_a_claim_that_was_deleted_only_now_blames_nobody() -> None:
    """The API server has taken all the time for the delete."""
    async with scene() as here:
        Storage(here, unprotecting=False)
        here.api.faults.append(hanging("delete", resource=CLAIMS, seconds=117.0))
        assert Reason.NO_SINGLE_CAUSE is verdict(await volume(here, 200.0))


@virtual
async def test_a_finalizer_of_another_client_is_named_and_nobodys_fault() -> None:
    """Who has put it there must remove it."""
    async with scene() as here:
        Storage(here, finalizer="backup.example.com/keep")
        status = await volume(here, 200.0)
        assert Reason.INTERRUPTED is verdict(status)
        assert "backup.example.com/keep" in note(status.attempts[0])


@virtual
async def test_a_claim_that_another_client_deletes_is_an_interruption() -> None:
    """Before it is bound."""
    async with scene() as here:
        storage = Storage(here, provisioning=False)
        here.small.later(5.0, lambda: here.api.remove(CLAIMS, storage.claim["metadata"]["name"]))
        status = await volume(here, 150.0)
        assert (Reason.INTERRUPTED, []) == (verdict(status), left(here, MADE))


@pytest.mark.parametrize("resource", [CLAIMS, PODS])
def test_an_unanswered_create_leaves_nothing(resource: str) -> None:
    """What it may have created is found and deleted."""

    async def scenario() -> None:
        async with scene() as here:
            Storage(here)

            async def unanswered(asked: Asked) -> Any:
                if asked.verb != "create" or asked.resource != resource or asked.query:
                    return None
                here.api._create(asked)  # type: ignore[no-untyped-call, unused-ignore]
                return TIMEOUT

            here.api.faults.append(unanswered)
            status = await volume(here, 60.0)
            assert (Reason.API_TIMEOUT, []) == (verdict(status), left(here, MADE))

    run(scenario())


@virtual
async def test_a_class_list_that_is_denied_is_told_before_anything_is_made() -> None:
    """The right is named."""
    async with scene() as here:
        Storage(here)
        here.api.faults.append(refusing("list", resource=CLASSES, by=FORBIDDEN))
        status = await volume(here)
        assert (Reason.FORBIDDEN, []) == (verdict(status), here.api.named("create"))
