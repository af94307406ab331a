"""Jobs, and the pods of canaries that end, as a real Kubernetes 1.37 shows them."""

import asyncio
import itertools
import signal
from typing import Any

import pytest
from integration.simulator.canary_pods import (
    JOBS,
    SeemingRunner,
    canary,
    conditions,
    ending,
    is_over,
    job,
    until_event,
)
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, condition, is_ready

from khealth_exporter.simulator import Simulator

QUOTAS = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"


def is_finished(document: Any) -> bool:
    """Tell whether a Job has ended."""
    return not {"Complete", "Failed"}.isdisjoint(conditions(document))


async def finished(client: Client, **spec: Any) -> Any:
    """Create a Job, and return it when it has ended."""
    await client.post(JOBS, job("j", "compute", **spec))
    return await client.reaches(JOBS, is_finished)


async def test_job_completes_with_its_pod(admin: Client, runner: SeemingRunner) -> None:
    """The status counts it, and says why the Job is over."""
    runner.endings = [(0, "{}")]
    found = await finished(admin)
    reached = {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert reached == conditions(found)
    assert list(reached) == [known["type"] for known in found["status"]["conditions"]]
    counts = {"succeeded": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    assert counts == {name: value for name, value in found["status"].items() if name in {*counts, "active", "failed"}}
    assert found["status"]["startTime"] <= found["status"]["completionTime"]
    assert await until_event(admin, "Completed") == "Job completed"


async def test_job_owns_and_labels_its_pod(admin: Client) -> None:
    """By name and uid, with the finalizer by which it is counted."""
    made = (await admin.post(JOBS, job("j", "compute"))).body
    pod = await admin.reaches(PODS, is_ready)
    uid = made["metadata"]["uid"]
    labels = {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
    labels |= {"batch.kubernetes.io/job-name": "j", "job-name": "j"}
    assert labels == pod["metadata"]["labels"]
    assert [uid] == [owner["uid"] for owner in pod["metadata"]["ownerReferences"] if owner["controller"]]
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert pod["metadata"]["name"].startswith("j-")
    running = await admin.reaches(JOBS, lambda found: found["status"].get("ready"))
    assert (1, 1, None) == (running["status"]["active"], running["status"]["ready"], running["status"].get("failed"))


async def test_job_defaults(admin: Client) -> None:
    """What the API server fills in."""
    spec = (await admin.post(JOBS, job("j", "compute"))).body["spec"]
    expected = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed"}
    assert expected == {name: spec[name] for name in expected}
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


async def test_job_retries_after_a_failed_pod(admin: Client, runner: SeemingRunner) -> None:
    """The second pod makes good what the first one did not."""
    runner.endings = [(1, ""), (0, "")]
    found = await finished(admin)
    assert (1, 1) == (found["status"]["succeeded"], found["status"]["failed"])
    assert sorted(pod["status"]["phase"] for pod in (await admin.get(PODS)).body["items"]) == ["Failed", "Succeeded"]


async def test_job_fails_at_its_backoff_limit(admin: Client, runner: SeemingRunner) -> None:
    """One pod more than it allows, none after that."""
    runner.endings = [(1, "")] * 5
    found = await finished(admin, backoffLimit=1)
    assert {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"} == conditions(found)
    assert (2, None) == (found["status"]["failed"], found["status"].get("completionTime"))
    assert condition(found, "Failed")["message"] == "Job has reached the specified backoff limit"
    assert await until_event(admin, "BackoffLimitExceeded") == "Job has reached the specified backoff limit"


async def test_job_fails_at_its_deadline(admin: Client) -> None:
    """Its running pod is ended."""
    found = await finished(admin, activeDeadlineSeconds=1)
    assert {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"} == conditions(found)
    await admin.becomes(PODS, lambda pods: not pods)


async def test_job_replaces_a_pod_that_is_killed(admin: Client, runner: SeemingRunner) -> None:
    """A deleted pod counts as failed."""
    await admin.post(JOBS, job("j", "compute"))
    first = await admin.reaches(PODS, is_ready)
    runner.endings = [(0, "")]
    await admin.delete(f"{PODS}/{first['metadata']['name']}", {"gracePeriodSeconds": 0})
    found = await admin.reaches(JOBS, is_finished)
    assert ("CompletionsReached", 1) == (conditions(found)["Complete"], found["status"]["failed"])


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_deleted_job_takes_its_pods_along(admin: Client, policy: str) -> None:
    """By the garbage collector; their processes end."""
    await admin.post(JOBS, job("j", "compute"))
    await admin.reaches(PODS, is_ready)
    await admin.delete(f"{JOBS}/j", {"propagationPolicy": policy})
    await admin.vanishes(JOBS, "j")
    await admin.becomes(PODS, lambda pods: not pods)


async def test_deleted_job_orphans_its_pods_by_default(admin: Client, runner: SeemingRunner) -> None:
    """As batch/v1 has always done."""
    runner.endings = [(0, "")]
    await finished(admin)
    await admin.delete(f"{JOBS}/j")
    await admin.vanishes(JOBS, "j")
    assert [None] == [pod["metadata"].get("ownerReferences") for pod in (await admin.get(PODS)).body["items"]]


async def test_finished_job_goes_after_its_time_to_live(admin: Client, runner: SeemingRunner) -> None:
    """With its pods."""
    runner.endings = [(0, "")]
    await admin.post(JOBS, job("j", "compute", ttlSecondsAfterFinished=1))
    await admin.becomes(JOBS, lambda jobs: not jobs)
    await admin.becomes(PODS, lambda pods: not pods)


async def test_job_without_controller_does_nothing(admin: Client, seeming: Simulator) -> None:
    """Its status stays empty, ReplicationControllers go on, and it catches up later."""
    seeming.begin("job-controller-off")
    await admin.post(JOBS, job("j", "compute"))
    assert {} == (await admin.get(f"{JOBS}/j")).body["status"]
    seeming.end("job-controller-off")
    await admin.reaches(PODS, is_ready)


async def test_job_says_why_it_has_no_pod(admin: Client) -> None:
    """A quota forbids it; the Job tries again."""
    await admin.post(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}})
    await admin.post(JOBS, job("j", "compute"))
    assert "exceeded quota: q, requested: pods=1" in await until_event(admin, "FailedCreate")
    await admin.delete(f"{QUOTAS}/q")
    await admin.reaches(PODS, is_ready)


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        (
            {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
            ("spec.template.spec.restartPolicy", 'Required value: valid values: "OnFailure", "Never"'),
        ),
        ({"backoffLimit": -1}, ("spec.backoffLimit", "Invalid value: -1: must be greater than or equal to 0")),
        (
            {"template": {"spec": {"restartPolicy": "Never"}}},
            ("spec.template.spec.containers", "Required value"),
        ),
    ],
)
async def test_job_that_breaks_a_rule_is_refused(admin: Client, spec: Any, cause: tuple[str, str]) -> None:
    """422, with the field and the rule."""
    reply = await admin.post(JOBS, job("j", "compute", **spec))
    assert (422, [cause]) == (
        reply.code,
        [(found["field"], found["message"]) for found in reply.body["details"]["causes"]],
    )


@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (3, "Failed", "Error")])
async def test_pod_ends_with_its_process(
    admin: Client, runner: SeemingRunner, code: int, phase: str, reason: str
) -> None:
    """Its phase, exit code and termination message are those of the process."""
    runner.endings = [(code, '{"version": 1}')]
    await admin.post(PODS, canary("a", "compute"))
    pod = await admin.reaches(PODS, is_over)
    told = ending(pod)
    assert (phase, code, reason, '{"version": 1}') == (
        pod["status"]["phase"],
        told["exitCode"],
        told["reason"],
        told["message"],
    )
    assert told["startedAt"] <= told["finishedAt"]
    assert condition(pod, "Ready")["reason"] == ("PodFailed" if code else "PodCompleted")


async def test_termination_message_is_cut(admin: Client, runner: SeemingRunner) -> None:
    """The kubelet reads 4096 bytes."""
    runner.endings = [(0, "x" * 5000)]
    await admin.post(PODS, canary("a", "compute"))
    assert "x" * 4096 == ending(await admin.reaches(PODS, is_over))["message"]


async def test_pod_that_restarts_on_failure_backs_off(admin: Client, runner: SeemingRunner) -> None:
    """Until its process succeeds."""
    runner.endings = [(1, ""), (0, "")]
    await admin.post(PODS, canary("a", "compute", restartPolicy="OnFailure"))
    pod = await admin.reaches(PODS, is_over)
    assert ("Succeeded", 1) == (pod["status"]["phase"], pod["status"]["containerStatuses"][0]["restartCount"])


async def test_deleted_pod_ends_its_process(admin: Client, runner: SeemingRunner) -> None:
    """With SIGTERM, which the exit code shows."""
    await admin.post(PODS, canary("a", "compute"))
    await admin.reaches(PODS, is_ready)
    async with admin.watch(PODS) as watcher:
        await admin.delete(f"{PODS}/a")
        last = (await watcher.until(lambda event: event["type"] == "DELETED"))["object"]
    assert ([signal.SIGTERM], 143) == (runner.programs[0].signals, ending(last)["exitCode"])


async def test_process_that_does_not_end_is_killed(admin: Client, runner: SeemingRunner) -> None:
    """After the grace period."""
    runner.obeys = False
    await admin.post(PODS, canary("a", "compute"))
    await admin.reaches(PODS, is_ready)
    async with admin.watch(PODS) as watcher:
        await admin.delete(f"{PODS}/a")
        last = (await watcher.until(lambda event: event["type"] == "DELETED"))["object"]
    assert ([signal.SIGTERM, signal.SIGKILL], 137) == (runner.programs[0].signals, ending(last)["exitCode"])


async def test_forced_deletion_kills_the_process(admin: Client, runner: SeemingRunner) -> None:
    """At once."""
    await admin.post(PODS, canary("a", "compute"))
    await admin.reaches(PODS, is_ready)
    await admin.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})
    assert -signal.SIGKILL == await runner.programs[0].wait()


async def test_canaries_wait_for_room(admin: Client, runner: SeemingRunner) -> None:
    """Two run; the third begins when one of them ends."""
    for name in ("a", "b", "c"):
        await admin.post(PODS, canary(name, "compute"))
    await admin.becomes(PODS, lambda pods: sum(is_ready(pod) for pod in pods) == 2)
    assert len(runner.programs) == 2
    runner.programs[0].end(0)
    await admin.becomes(PODS, lambda pods: sum(is_ready(pod) for pod in pods) == 2 and any(map(is_over, pods)))
    assert len(runner.programs) == 3


async def test_canary_that_crashes_reports_nothing(admin: Client, seeming: Simulator) -> None:
    """It exits with 1, and other pods are well."""
    seeming.begin("canary-crashes")
    await admin.post(PODS, canary("a", "compute"))
    told = ending(await admin.reaches(PODS, is_over))
    assert (1, None) == (told["exitCode"], told.get("message"))


async def test_pod_fails_at_its_deadline(admin: Client, runner: SeemingRunner) -> None:
    """Its process is ended, and the reason is in its status."""
    async with asyncio.timeout(BOUND):
        for number in itertools.count():
            await admin.post(PODS, canary(f"a{number}", "compute", activeDeadlineSeconds=1))
            pod = await admin.reaches(PODS, is_over, fieldSelector=f"metadata.name=a{number}")
            if runner.programs:  # else the deadline came before the process
                break
    assert ("Failed", "DeadlineExceeded", 143) == (
        pod["status"]["phase"],
        pod["status"]["reason"],
        ending(pod)["exitCode"],
    )
    assert runner.programs[0].signals == [signal.SIGTERM]
