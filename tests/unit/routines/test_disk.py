"""disk, on a small cluster on virtual time."""

from typing import Any

import pytest
from canary_pods import censored, document, ended, left, measured, note, ran, reasons, says, silence, tell
from documents import Json
from fakes import TIMEOUT, hanging, refusing
from small_cluster import PODS, Scene, pinned_to, scene
from virtual_time import run, virtual

from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.routines.disk import Disk
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

WELL = document("disk", write=0.01, fsync=0.25, read=0.002)


async def disk(here: Scene, seconds: float = 1.0, **chosen: Any) -> RoutineStatus:
    return await ran(here, Disk, seconds, **chosen)


@virtual
async def test_a_disk_is_measured_by_the_canarys_own_clock() -> None:
    """Its durations come from the document; nothing is left."""
    async with scene() as here:
        says(here, WELL)
        status = await disk(here)
        (attempt,) = status.attempts
        steps = measured(attempt)
        assert ([None], []) == (reasons(status), left(here, [PODS]))
        assert (0.01, 0.25, 0.002) == tuple(steps[name] for name in ("write", "fsync", "read"))
        assert {"accept", "schedule", "sandbox", "start", "startup", "delete"} < set(steps)


@virtual
async def test_each_attempt_visits_the_next_node() -> None:
    """Round and round."""
    async with scene() as here:
        says(here, WELL)
        await disk(here, 210.0)
        nodes = [pinned_to(asked.body) for asked in here.api.named("create", PODS)]
        assert ["node-1", "node-2", "node-3", "node-1"] == nodes


@virtual
async def test_the_file_is_as_large_as_the_settings_say() -> None:
    """And its emptyDir can hold it."""
    async with scene() as here:
        says(here, WELL)
        await disk(here, size="1Mi", syncs=3)
        spec = here.api.named("create", PODS)[0].body["spec"]
        command = " ".join(spec["containers"][0]["command"])
        assert command.endswith("disk --path /disk --bytes 1048576 --syncs 3 --within 15")
        assert [{"name": "khealth-disk", "emptyDir": {"sizeLimit": "3145728"}}] == spec["volumes"]


@virtual
async def test_a_read_that_the_page_cache_may_have_answered_is_noted() -> None:
    """It says nothing of the disk."""
    async with scene() as here:
        says(here, {**WELL, "facts": {"cached": 1, "fsync_median_seconds": 0.002, "fsync_max_seconds": 0.03}})
        status = await disk(here)
        remarks = {remark.name: remark.text for remark in status.remarks}
        assert "the read may come from the page cache" == remarks["page cache"]
        assert "one takes 2.00 ms at the median, 30.00 ms at most" == remarks["fsync"]


@pytest.mark.parametrize(
    ("end", "code", "reason", "component"),
    [
        pytest.param(
            {**document("disk", reason="disk_failed", error="fsync: EIO"), "facts": {"operation": "fsync"}},
            0, Reason.DISK_FAILED, Component.STORAGE, id="disk fails",
        ),
        pytest.param(
            {
                **document("disk", reason="unfinished", error="not finished after 15 s"),
                "facts": {"operation": "fsync", "within_seconds": 15.0, "waiting_seconds": 0.1},
            },
            0, Reason.DISK_FAILED, Component.STORAGE, id="disk is too slow",
        ),
        pytest.param(
            {
                **document("disk", reason="unfinished", error="not finished after 15 s"),
                "facts": {"operation": "fsync", "within_seconds": 15.0, "waiting_seconds": 12.0},
            },
            0, Reason.NO_SINGLE_CAUSE, Component.KHEALTH, id="no CPU",
        ),
        pytest.param(
            document("disk", reason="data_corrupted", error="wrong content at offset 7"),
            0, Reason.DATA_CORRUPTED, Component.STORAGE, id="data corrupted",
        ),
        pytest.param(
            document("disk", write=0.1, fsync=0.1), 0, Reason.CANARY_FAILED, Component.NODE, id="a duration is missing"
        ),
        pytest.param("no JSON", 0, Reason.CANARY_FAILED, Component.NODE, id="no document"),
        pytest.param("", 0, Reason.CANARY_FAILED, Component.NODE, id="nothing said"),
        pytest.param("", 3, Reason.CANARY_FAILED, Component.NODE, id="exit code"),
        pytest.param(document("disk", reason="new_reason"), 0, Reason.CANARY_FAILED, Component.NODE, id="unknown word"),
        pytest.param(
            document("disk", write=-1.0, fsync=0.1, read=0.1), 0, Reason.CANARY_FAILED, Component.NODE, id="backwards"
        ),
        pytest.param(
            document("disk", write=1e308, fsync=0.1, read=0.1), 0, Reason.CANARY_FAILED, Component.NODE, id="endless"
        ),
        pytest.param(
            {**WELL, "uncertainty_seconds": -5.0}, 0, Reason.CANARY_FAILED, Component.NODE, id="more than certain"
        ),
        pytest.param(
            {**WELL, "facts": {"fsync_median_seconds": 10**400, "fsync_max_seconds": 1}},
            0, Reason.CANARY_FAILED, Component.NODE, id="no float",
        ),
    ],
)  # fmt: skip
def test_what_a_canary_says_is_the_verdict(end: Json | str, code: int, reason: Reason, component: Component) -> None:
    """One that says nothing has failed itself."""

    async def scenario() -> None:
        async with scene() as here:
            says(here, end, code)
            status = await disk(here)
            (attempt,) = status.attempts
            assert attempt.verdict
            assert (reason, component, []) == (attempt.verdict.reason, attempt.verdict.component, left(here, [PODS]))

    run(scenario())


@virtual
async def test_what_was_measured_before_a_failure_counts() -> None:
    """A slow disk that then fails was slow all the same."""
    async with scene() as here:
        says(here, document("disk", reason="disk_failed", error="read: EIO", write=0.5, fsync=9.0))
        (attempt,) = (await disk(here)).attempts
        assert (0.5, 9.0) == tuple(measured(attempt)[name] for name in ("write", "fsync"))


@virtual
async def test_a_canary_that_hangs_in_io_is_a_disk_that_failed() -> None:
    """It counts in the histogram, with the time waited."""
    async with scene() as here:
        status = await disk(here, 40.0)
        (attempt,) = status.attempts
        assert ([Reason.DISK_FAILED], ["write"]) == (reasons(status), censored(attempt))
        assert 29.0 == pytest.approx(measured(attempt)["write"], abs=1.0)


@virtual
async def test_a_disk_is_not_to_blame_if_the_kubelet_of_its_node_is_silent() -> None:
    """Another routine has found that out meanwhile: the canary may have ended long ago."""
    async with scene() as here:
        here.small.later(20.0, silence, here)
        status = await disk(here, 40.0)
        assert ([Reason.KUBELET_SILENT], ["write"]) == (reasons(status), censored(status.attempts[0]))
        assert "does not act for other pods either" in note(status.attempts[0])


@virtual
async def test_a_canary_that_started_late_is_not_its_disks_fault() -> None:
    """Without the scheduler's excess it would have been in time."""
    async with scene() as here:
        here.small.delays = {"scheduled": 29.0}
        assert [Reason.POD_NOT_SCHEDULED] == reasons(await disk(here, 40.0))


@virtual
async def test_an_empty_directory_that_cannot_be_made_is_a_disk_that_failed() -> None:
    """The kubelet says so in an Event."""
    async with scene() as here:
        here.small.stuck = {0: "accepted"}
        here.small.later(5.0, tell, here, "FailedMount", "mkdir: read-only file system")
        status = await disk(here, 40.0)
        assert [Reason.DISK_FAILED] == reasons(status)
        assert "FailedMount on node-1: mkdir: read-only file system" in note(status.attempts[0])


@virtual
async def test_a_pods_own_failure_keeps_its_reason() -> None:
    """Nothing is known of the disk."""
    async with scene() as here:
        here.small.stuck = {0: "accepted"}
        assert [Reason.SANDBOX_FAILED] == reasons(await disk(here, 40.0))


@virtual
async def test_a_disk_that_fails_on_one_node_is_storages() -> None:
    """The node is visited again, and counted among those that fail."""
    bad = document("disk", reason="disk_failed", error="write: EIO")
    async with scene() as here:
        says(here, WELL)
        here.small.later(50.0, says, here, bad)
        status = await disk(here, 70.0)
        assert [None, Reason.DISK_FAILED] == reasons(status)
        assert 1.0 == here.figures.value("khealth_nodes_failing", module="storage", routine="disk")


@virtual
async def test_a_canary_that_fails_on_one_node_only_is_one_node() -> None:
    """As any pod there would be."""
    async with scene() as here:
        says(here, WELL)
        here.small.later(50.0, says, here, "", 137)
        assert [None, Reason.ONE_NODE] == reasons(await disk(here, 70.0))


@virtual
async def test_a_canary_that_another_client_deletes_is_an_interruption() -> None:
    """No component is to blame."""
    async with scene() as here:
        here.small.later(2.0, here.small.take, 0)
        status = await disk(here, 10.0)
        assert ([Reason.INTERRUPTED], []) == (reasons(status), left(here, [PODS]))


@virtual
async def test_an_unanswered_create_leaves_nothing() -> None:
    """Its pod is found and deleted."""
    async with scene() as here:
        says(here, WELL)
        here.api.latency = 100.0
        here.small.later(5.0, setattr, here.api, "latency", 0.01)
        here.api.faults.append(refusing("create", resource=PODS, by=TIMEOUT))
        status = await disk(here, 40.0)
        assert ([Reason.API_TIMEOUT], []) == (reasons(status), left(here, [PODS]))


@virtual
async def test_a_finalizer_on_the_pod_is_another_clients() -> None:
    """Kubernetes gives none to a bare pod, but a deletion in the foreground that somebody else asks for does."""

    def held(pod: Json) -> Json:
        pod = ended(pod, WELL)
        return {**pod, "metadata": {**pod["metadata"], "finalizers": ["foregroundDeletion"]}}

    async with scene() as here:
        here.small.stuck, here.small.change, here.small.ending = {0: "started"}, {0: held}, False
        assert [Reason.INTERRUPTED] == reasons(await disk(here))


@virtual
async def test_a_kubelet_that_was_asked_only_now_is_not_blamed() -> None:
    """The API server has taken all the time for the delete."""
    async with scene() as here:
        says(here, WELL)
        here.api.faults.append(hanging("delete", resource=PODS, seconds=28.0))
        assert [None] == reasons(await disk(here))
