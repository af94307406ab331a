"""admission, on an API server in memory."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes import FORBIDDEN, TIMEOUT, UNAVAILABLE, Asked, Json, refusal, refusing
from small_cluster import Scene, scene
from virtual_time import run, virtual

from khealth_exporter.canaries.pod_spec import PodSettings
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.namespace import ENFORCE
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.routines.admission import Admission, AdmissionSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

PODS = "pods"
HOST_NETWORK = refusal(
    403,
    'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)',
    "Forbidden",
)
POLICY = refusal(400, 'admission webhook "policy.example.com" denied the request: no host network')
DRY_RUN = refusal(400, 'admission webhook "shy.example.com" does not support dry run', "BadRequest")
WEBHOOK = refusal(
    500, 'Internal error occurred: failed calling webhook "dead.example.com": connection refused', "InternalError"
)
QUOTA = refusal(403, 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1')


def enforcing(here: Scene, level: str = "restricted") -> None:
    """Let the namespace enforce a Pod Security Standard, or none."""
    labels = {ENFORCE: level} if level else {}
    here.api.put("namespaces", {"metadata": {"name": "khealth", "labels": labels}})


Fault = Callable[[Asked], Awaitable[Refusal | Answer | None]]


def trial(answer: Refusal, *, host: bool) -> Fault:
    """Return a fault that refuses trials of the pod on the host's network, or of the other one."""

    async def fault(asked: Asked) -> Refusal | None:
        tried = asked.verb == "create" and asked.resource == PODS and asked.query == {"dryRun": "All"}
        return answer if tried and host == asked.body["spec"].get("hostNetwork", False) else None

    return fault


async def attempted(here: Scene, **chosen: Any) -> Attempt:
    """Return what one attempt came to."""
    collector = Collector("control-plane", here.figures.metrics, here.clock)
    wanted = RoutineConfig("control-plane", "admission", Admission, AdmissionSettings(**chosen))
    collector.want([wanted], here.context)
    await collector.start(once=True)
    (status,) = collector.status().routines
    return status.attempts[-1]


def reason(attempt: Attempt) -> Reason | None:
    return attempt.verdict.reason if attempt.verdict else None


def note(attempt: Attempt) -> str:
    return attempt.verdict.note if attempt.verdict else ""


def steps(attempt: Attempt) -> list[str]:
    return [measured.step.name for measured in attempt.measurements]


@virtual
async def test_one_pod_is_accepted_and_the_other_refused() -> None:
    """Both are measured, and neither is stored."""
    async with scene() as here:
        enforcing(here)
        here.api.faults.append(trial(HOST_NETWORK, host=True))
        attempt = await attempted(here)
        assert (None, ["accept", "refuse"]) == (reason(attempt), steps(attempt))
        assert {} == here.api.objects.get(PODS, {})


@virtual
async def test_it_declares_its_trials_as_writes() -> None:
    """All it writes are trials, and they are as many as it says."""
    async with scene() as here:
        enforcing(here)
        here.api.faults.append(trial(HOST_NETWORK, host=True))
        await attempted(here)
        sent = here.api.named("create")
        assert [{"dryRun": "All"}] * Admission.writes == [asked.query for asked in sent]


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_pod_that_violates_what_is_enforced_must_not_be_accepted(level: str) -> None:
    """The API server is blamed, and its exemptions are thought of."""

    async def scenario() -> None:
        async with scene() as here:
            enforcing(here, level)
            attempt = await attempted(here)
            assert attempt.verdict
            assert (Reason.ADMISSION_BYPASSED, Component.API_SERVER) == (reason(attempt), attempt.verdict.component)
            assert (True, True) == (level in note(attempt), "exempt" in note(attempt))

    run(scenario())


@pytest.mark.parametrize("level", ["", "privileged"])
def test_what_is_not_enforced_is_not_tried(level: str) -> None:
    """The step is left out, and a remark says so."""

    async def scenario() -> None:
        async with scene() as here:
            enforcing(here, level)
            attempt = await attempted(here)
            assert (None, ["accept"]) == (reason(attempt), steps(attempt))

    run(scenario())


@virtual
async def test_without_the_right_to_read_the_namespace_the_refusal_is_left_out() -> None:
    """The right is optional: the attempt succeeds."""
    async with scene() as here:
        enforcing(here)
        here.cluster.know(Admission.all_permissions())
        here.api.faults.append(refusing("get", resource="namespaces", by=FORBIDDEN))
        attempt = await attempted(here)
        assert (None, ["accept"], [True]) == (
            reason(attempt),
            steps(attempt),
            [denied.optional for denied in here.cluster.denied()],
        )


@virtual
async def test_a_remark_says_what_is_enforced() -> None:
    """Or that nothing is, and what is left out for that."""
    async with scene() as here:
        told = []
        for level in ("", "restricted"):
            enforcing(here, level)
            here.api.faults = [trial(HOST_NETWORK, host=True)]
            collector = Collector("control-plane", here.figures.metrics, here.clock)
            wanted = RoutineConfig("control-plane", "admission", Admission, AdmissionSettings())
            collector.want([wanted], here.context)
            await collector.start(once=True)
            (status,) = collector.status().routines
            told += [remark.text for remark in status.remarks]
        assert ["namespace khealth enforces no Pod Security Standard: `refuse` is left out", "restricted"] == told


@pytest.mark.parametrize(
    ("answer", "expected", "named"),
    [
        (WEBHOOK, Reason.WEBHOOK_FAILED, "dead.example.com"),
        (DRY_RUN, Reason.DRY_RUN_UNSUPPORTED, "shy.example.com"),
        (POLICY, Reason.API_REJECTED, "policy.example.com"),
        (HOST_NETWORK, Reason.API_REJECTED, "violates PodSecurity"),
        (QUOTA, Reason.QUOTA_EXCEEDED, "exceeded quota"),
        (FORBIDDEN, Reason.FORBIDDEN, "may not create pods"),
        (UNAVAILABLE, Reason.API_ERROR, "etcdserver"),
    ],
)
def test_a_compliant_pod_that_is_not_accepted_gives_the_verdict(answer: Refusal, expected: Reason, named: str) -> None:
    """The note has the name of the webhook, the policy, the quota."""

    async def scenario() -> None:
        async with scene() as here:
            enforcing(here)
            here.api.faults.append(trial(answer, host=False))
            attempt = await attempted(here)
            words = note(attempt) + " ".join(str(denied) for denied in here.cluster.denied())
            assert (expected, True) == (reason(attempt), named in words)

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (POLICY, Reason.UNKNOWN),
        (WEBHOOK, Reason.WEBHOOK_FAILED),
        (DRY_RUN, Reason.DRY_RUN_UNSUPPORTED),
        (TIMEOUT, Reason.API_TIMEOUT),
    ],
)
def test_a_refusal_that_is_not_pod_securitys_proves_nothing(answer: Refusal, expected: Reason) -> None:
    """Another policy, a dead webhook, no answer: the step is not measured."""

    async def scenario() -> None:
        async with scene() as here:
            enforcing(here)
            here.api.faults.append(trial(answer, host=True))
            attempt = await attempted(here)
            assert (expected, ["accept"]) == (reason(attempt), steps(attempt))

    run(scenario())


def answered(here: Scene, change: Callable[[Json], object]) -> Fault:
    """Return a fault that accepts the pod on the host's network, having changed something."""

    async def fault(asked: Asked) -> Answer | None:
        if asked.verb != "create" or not asked.body["spec"].get("hostNetwork"):
            return None
        change(asked.body)
        return here.api.answer(asked, asked.body)

    return fault


@virtual
async def test_a_pod_that_a_webhook_made_compliant_proves_nothing() -> None:
    """What is accepted violates nothing any more."""
    async with scene() as here:
        enforcing(here)
        here.api.faults.append(answered(here, lambda body: body["spec"].pop("hostNetwork")))
        attempt = await attempted(here)
        assert (Reason.UNKNOWN, True) == (reason(attempt), "changed it" in note(attempt))


@virtual
async def test_a_namespace_that_is_relaxed_meanwhile_is_another_clients_doing() -> None:
    """The label is read again before anybody is blamed."""
    async with scene() as here:
        enforcing(here)
        here.api.faults.append(answered(here, lambda _: enforcing(here, "privileged")))
        assert Reason.INTERRUPTED is reason(await attempted(here))


@virtual
async def test_an_answer_that_is_no_pod_accepts_nothing() -> None:
    """Something between khealth and the API server has answered, or the API server is broken."""
    async with scene() as here:

        async def fault(asked: Asked) -> Answer | None:
            return here.api.answer(asked, {"kind": "Pod", "metadata": {}}) if asked.verb == "create" else None

        here.api.faults.append(fault)
        assert Reason.API_ERROR is reason(await attempted(here))


@virtual
async def test_a_trial_without_an_answer_is_repeated_and_leaves_nothing() -> None:
    """Within the time-out it fails as the API server's."""
    async with scene() as here:
        here.api.faults.append(trial(TIMEOUT, host=False))
        assert (Reason.API_TIMEOUT, {}) == (reason(await attempted(here)), here.api.objects.get(PODS, {}))


@virtual
async def test_the_pod_is_what_policies_demand() -> None:
    """Its labels and annotations are the settings', and khealth's own."""
    async with scene() as here:
        await attempted(here, pod=PodSettings(labels={"team": "sre"}, annotations={"a/b": "c"}))
        sent = here.api.named("create")[0].body["metadata"]
        assert ("sre", "admission", "c") == (
            sent["labels"]["team"],
            sent["labels"]["khealth.io/routine"],
            sent["annotations"]["a/b"],
        )


def test_it_creates_nothing_that_must_be_swept() -> None:
    """Its rights are those of a trial, and an optional one."""
    rights = [(p.verb, p.resource, p.optional) for p in Admission.all_permissions()]
    assert ((), [("create", PODS, False), ("get", "namespaces", True)]) == (Admission.sweeps(), rights)
