"""check, on a small cluster on virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from canary_pods import censored, ended, left, measured, note, ran, reasons, says, silence
from documents import Json, accepted, container, disrupted, injected, leaving, running, status_of, terminated, waiting
from fakes import FORBIDDEN, Asked, refusal, refusing
from small_cluster import PODS, Scene, scene
from small_workloads import JOBS, SmallJobs
from virtual_time import virtual

from khealth_exporter.canaries.checks.protocol import Protocol, Said
from khealth_exporter.canaries.checks.settings import CheckSettings
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.kinds import JOB, POD
from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.measure.trace import Trace
from khealth_exporter.routines import check as checks
from khealth_exporter.routines.check import Check
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

SPEC: Json = {"containers": [{"name": "canary", "image": "busybox"}]}
"""`canary`, because the small cluster ends containers of that name."""
POD_TEMPLATE: Json = {"kind": "Pod", "spec": SPEC}
JOB_TEMPLATE: Json = {"kind": "Job", "spec": {"template": {"spec": SPEC}}}
OURS = {"module": "storage", "routine": "check"}


async def check(here: Scene, seconds: float = 1.0, **chosen: Any) -> RoutineStatus:
    """Run one attempt, which ends by itself or within `timeout`."""
    return await ran(here, Check, seconds, **{"template": POD_TEMPLATE, "timeout": 20.0, **chosen})


def prints(here: Scene, output: str) -> None:
    """Let every container have printed this."""

    async def fault(asked: Asked) -> Answer | None:
        if asked.resource != "pods/log":
            return None
        # As a kubelet does: the last lines, and of these the first bytes.
        last = "".join(output.splitlines(keepends=True)[-int(asked.query["tailLines"]) :])
        return here.api.answer(asked, last.encode()[: int(asked.query["limitBytes"])])

    here.api.faults.append(fault)


def becomes(here: Scene, change: Any) -> None:
    """Let the check's pod become this as soon as it has started."""
    here.small.stuck, here.small.change = {0: "started"}, {0: change}


@asynccontextmanager
async def with_jobs() -> AsyncIterator[tuple[Scene, SmallJobs]]:
    """Watch a small cluster with Jobs until the block ends."""
    async with scene(kinds=(POD, JOB), small=SmallJobs) as here:
        assert isinstance(here.small, SmallJobs)
        yield here, here.small


def verdict(attempt: Attempt) -> tuple[Reason | None, Component | None]:
    """Return why an attempt failed, and what is to blame."""
    assert attempt.verdict
    return attempt.verdict.reason, attempt.verdict.component


@virtual
async def test_exit_code_0_is_a_success() -> None:
    """A pod's steps are measured, and the check's; nothing is left."""
    async with scene() as here:
        says(here, "")
        status = await check(here)
        assert ([None], []) == (reasons(status), left(here, [PODS]))
        assert {"accept", "schedule", "sandbox", "start", "check", "delete"} == set(measured(status.attempts[0]))


@virtual
async def test_another_exit_code_fails_the_check() -> None:
    """The code and the message are in the note, and the component is the user's."""
    async with scene() as here:
        says(here, "first\nthe shop is closed\n", code=3)
        status = await check(here, component="network")
        assert (Reason.CHECK_FAILED, Component.NETWORK) == verdict(status.attempts[0])
        assert "canary exited with code 3: the shop is closed" == note(status.attempts[0])
        assert [] == left(here, [PODS])


@virtual
async def test_an_error_in_the_termination_message_is_the_note() -> None:
    """Its steps count too."""
    async with scene() as here:
        says(here, {"steps": {"login": 0.5}, "error": "no stock"}, code=1)
        status = await check(here, steps={"login": {}, "pay": {}})
        assert "canary exited with code 1: no stock" == note(status.attempts[0])
        assert 0.5 == measured(status.attempts[0])["login"]


@virtual
async def test_the_output_tells_steps_and_last_words() -> None:
    """Lines that are no step are evidence of a failure."""
    async with scene() as here:
        says(here, "", code=1)
        prints(here, "login 0.25\nhello there\npay 1.5e0\npay 2\nlogin 1e400\nlogin nan\n")
        status = await check(here, steps={"login": {}, "pay": {}})
        (attempt,) = status.attempts
        steps = measured(attempt)
        assert (0.25, 2.0) == (steps["login"], steps["pay"])
        (output,) = (one for one in attempt.evidence if one.kind == "Output")
        assert ("login 0.25", "hello there") == output.lines[:2]


@pytest.mark.parametrize("width", [10, 90, 1000, 20_000])
@virtual
async def test_the_end_of_a_long_output_is_read(width: int) -> None:
    """A kubelet sends the first bytes of what it is asked for, and steps are often at the end."""
    async with scene() as here:
        says(here, "", code=1)
        prints(here, f"{'x' * width}\n" * 1500 + "login 0.25\n")
        status = await check(here, steps={"login": {}})
        assert 0.25 == measured(status.attempts[0])["login"]
        assert "login 0.25" == next(one.lines[-1] for one in status.attempts[0].evidence if one.kind == "Output")


@virtual
async def test_undeclared_and_missing_steps_are_remarks() -> None:
    """A name that the settings do not have makes no series."""
    async with scene() as here:
        says(here, {"steps": {"surprise": 1, "login": 0.5}})
        status = await check(here, steps={"login": {}, "pay": {}})
        assert [None] == reasons(status)
        remarks = {remark.name: remark.text for remark in status.remarks}
        assert {"undeclared steps": "surprise", "missing steps": "pay"} == remarks
        assert "surprise" not in measured(status.attempts[0])


@pytest.mark.parametrize("steps", [{}, {"login": {}}], ids=["no steps", "steps"])
@virtual
async def test_the_output_is_read_only_for_steps(steps: Json) -> None:
    """Without steps, khealth needs no right to read logs."""
    async with scene() as here:
        says(here, "")
        await check(here, steps=steps)
        assert bool(steps) is bool(here.api.named("get", "pods/log"))


@virtual
async def test_an_output_that_may_not_be_read_fails_nothing() -> None:
    """The steps are missing then."""
    async with scene() as here:
        says(here, "")
        here.api.faults.append(refusing("get", resource="pods/log", by=FORBIDDEN))
        status = await check(here, steps={"login": {}})
        assert [None] == reasons(status)
        assert {"undeclared steps": "none", "missing steps": "login"} == {r.name: r.text for r in status.remarks}


@virtual
async def test_a_check_is_not_silent_because_its_kubelet_is() -> None:
    """Another routine has found that out meanwhile: the check may have ended long ago."""
    async with scene() as here:
        here.small.stuck = {0: "started"}
        here.small.later(10.0, silence, here)
        assert (Reason.KUBELET_SILENT, Component.NODE) == verdict((await check(here, 30.0)).attempts[0])


@virtual
async def test_a_check_that_does_not_end_is_silent() -> None:
    """Its step counts with the time waited."""
    async with scene() as here:
        here.small.stuck = {0: "started"}
        status = await check(here, 30.0)
        assert (Reason.CHECK_SILENT, Component.WORKLOAD) == verdict(status.attempts[0])
        assert ["check"] == censored(status.attempts[0])
        assert 19.0 == pytest.approx(measured(status.attempts[0])["check"], abs=1.0)
        assert [] == left(here, [PODS])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            lambda pod: status_of(pod, containerStatuses=[container(waiting("ImagePullBackOff", "no such image"))]),
            Reason.IMAGE_PULL_FAILED, id="image",
        ),
        pytest.param(lambda pod: pod, Reason.POD_NOT_STARTED, id="not started"),
        pytest.param(
            lambda pod: disrupted(ended(pod, "", 137), "EvictionByEvictionAPI"), Reason.DISRUPTED, id="evicted"
        ),
    ],
)  # fmt: skip
@virtual
async def test_a_check_that_cannot_run_is_judged_like_any_pod(change: Any, reason: Reason) -> None:
    """It says nothing of what the check looks at."""
    async with scene() as here:
        here.small.stuck, here.small.change = {0: "sandboxed"}, {0: change}
        status = await check(here, 30.0)
        assert [reason] == reasons(status)


def cannot_run(pod: Json) -> Json:
    """Return a pod whose container's command does not exist."""
    end = terminated(128, "StartError")
    end["terminated"]["message"] = 'exec: "no-such-program": executable file not found in $PATH'
    return status_of(running(pod), phase="Failed", containerStatuses=[{**container(end), "name": "canary"}])


def cannot_be_made(pod: Json) -> Json:
    """Return a pod whose container needs a Secret that does not exist."""
    state = waiting("CreateContainerConfigError", 'secret "none" not found')
    return status_of(accepted(pod), containerStatuses=[{**container(state), "name": "canary"}])


def has_no_image(pod: Json) -> Json:
    """Return a pod whose image has a name that none can have."""
    state = waiting("InvalidImageName", "couldn't parse image name")
    return status_of(accepted(pod), containerStatuses=[{**container(state), "name": "canary"}])


def init_fails(pod: Json) -> Json:
    """Return a pod whose init container has failed."""
    return status_of(injected(accepted(pod), "prepare", terminated(2)), phase="Failed")


@pytest.mark.parametrize("change", [cannot_run, cannot_be_made, has_no_image, init_fails])
@virtual
async def test_what_the_template_alone_can_have_caused_fails_the_check(change: Any) -> None:
    """A command that is not there, an init container that fails."""
    async with scene() as here:
        here.small.stuck, here.small.change = {0: "sandboxed"}, {0: change}
        spec = {**SPEC, "initContainers": [{"name": "prepare", "image": "busybox"}]}
        status = await check(here, 30.0, template={"kind": "Pod", "spec": spec})
        assert [Reason.CHECK_FAILED] == reasons(status)


@virtual
async def test_a_template_that_the_api_server_refuses_fails_the_check() -> None:
    """The API server works: it is the template that is wrong."""
    async with scene() as here:
        here.api.faults.append(refusing("create", resource=PODS, by=refusal(422, "spec.containers[0]: Invalid value")))
        status = await check(here)
        assert (Reason.CHECK_FAILED, Component.WORKLOAD) == verdict(status.attempts[0])
        assert "Invalid value" in note(status.attempts[0])


@virtual
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (403, 'admission webhook "policies.example" denied the request: no team'),
        (422, "pods is forbidden: ValidatingAdmissionPolicy 'team' with binding 'all' denied request: no team"),
    ],
    ids=["webhook", "policy"],
)
async def test_what_may_be_refused_to_every_pod_is_no_failed_check(code: int, said: str) -> None:
    """A webhook that refuses all pods says nothing of the check, and one that refuses only this one does not say so."""
    async with scene() as here:
        here.api.faults.append(refusing("create", resource=PODS, by=refusal(code, said)))
        status = await check(here)
        assert (Reason.NO_SINGLE_CAUSE, Component.KHEALTH) == verdict(status.attempts[0])
        assert "no team" in note(status.attempts[0])


@virtual
async def test_a_pod_that_another_client_deletes_is_no_failed_check() -> None:
    """Its containers are killed, whatever their exit code."""
    async with scene() as here:
        becomes(here, lambda pod: leaving(ended(pod, "", 143)))
        status = await check(here, 30.0)
        assert [Reason.INTERRUPTED] == reasons(status)


@virtual
async def test_a_container_that_others_added_need_not_end() -> None:
    """The check is over when its own containers are."""
    async with scene() as here:

        def change(pod: Json) -> Json:
            done = ended(pod, "")
            (own,) = done["status"]["containerStatuses"]
            mesh = {**container({"running": {}}, ready=True), "name": "mesh"}
            spec = {**done["spec"], "containers": [*done["spec"]["containers"], {"name": "mesh", "image": "mesh"}]}
            return {**status_of(done, phase="Running", containerStatuses=[own, mesh]), "spec": spec}

        becomes(here, change)
        status = await check(here)
        assert [None] == reasons(status)
        assert ("container mesh",) == status.attempts[0].samples[0].injected


@virtual
async def test_what_the_template_asks_for_is_not_injected() -> None:
    """Its probes and volumes are no surprise, so its steps count."""
    async with scene() as here:
        says(here, "")
        spec = {
            "containers": [{"name": "canary", "image": "busybox", "readinessProbe": {"exec": {"command": ["true"]}}}],
            "volumes": [{"name": "data", "hostPath": {"path": "/data"}}],
        }
        status = await check(here, template={"kind": "Pod", "spec": spec})
        assert () == status.attempts[0].samples[0].injected


@virtual
async def test_what_is_created_is_the_users_template_with_khealths_marks() -> None:
    """Unknown keys pass as they are; labels that khealth finds its objects by are its own."""
    async with scene() as here:
        says(here, "")
        template = {
            "kind": "Pod",
            "metadata": {"labels": {"team": "shop", "istio.io/dataplane-mode": "ambient"}, "annotations": {"a": "b"}},
            "spec": {**SPEC, "serviceAccountName": "shop", "hostAliases": [{"ip": "10.0.0.1"}]},
        }
        await check(here, template=template)
        (asked,) = here.api.named("create", PODS)
        metadata, spec = asked.body["metadata"], asked.body["spec"]
        assert ("shop", "ambient", "khealth") == tuple(
            metadata["labels"][name] for name in ("team", "istio.io/dataplane-mode", "app.kubernetes.io/managed-by")
        )
        assert ("b", "canary") == (metadata["annotations"]["a"], metadata["annotations"]["khealth.io/asked"])
        assert {"serviceAccountName": "shop", "hostAliases": [{"ip": "10.0.0.1"}]}.items() <= spec.items()
        assert ("Never", 1) == (spec["restartPolicy"], spec["terminationGracePeriodSeconds"])


@virtual
async def test_a_job_is_well_when_it_is_complete() -> None:
    """Its pod's steps, the check's and the Job's are measured, and nothing is left."""
    async with with_jobs() as (here, small):
        small.document = {"steps": {"login": 0.5}}
        status = await check(here, template=JOB_TEMPLATE, steps={"login": {}})
        assert ([None], []) == (reasons(status), small.left)
        steps = {"accept", "create", "schedule", "sandbox", "start", "check", "login", "complete", "delete"}
        assert steps == set(measured(status.attempts[0]))
        (asked,) = here.api.named("create", JOBS)
        assert (1, 0) == (asked.body["spec"]["completions"], asked.body["spec"]["backoffLimit"])


@virtual
async def test_a_job_whose_pod_fails_fails_the_check() -> None:
    """As a Pod would."""
    async with with_jobs() as (here, small):
        small.code, small.document = 2, {"error": "no stock"}
        status = await check(here, template=JOB_TEMPLATE)
        assert "canary exited with code 2: no stock" == note(status.attempts[0])
        assert [] == small.left


@virtual
async def test_a_job_that_does_not_complete_is_the_controller_managers() -> None:
    """The check itself was well."""
    async with with_jobs() as (here, small):
        small.completing = False
        status = await check(here, 30.0, template=JOB_TEMPLATE)
        assert (Reason.JOB_FAILED, Component.CONTROLLER_MANAGER) == verdict(status.attempts[0])


def test_steps_follow_from_the_settings() -> None:
    """The user's have the user's component and edges."""
    settings = CheckSettings.model_validate(
        {"template": POD_TEMPLATE, "component": "dns", "steps": {"login": {"edges": [0.1, 1.0]}}}
    )
    steps = {step.name: step for step in Check.steps_of(settings)}
    assert ["accept", "schedule", "sandbox", "start", "check", "login", "delete"] == list(steps)
    assert (Component.DNS, (0.1, 1.0)) == (steps["login"].component, steps["login"].edges)
    assert Component.DNS is steps["check"].component


class Early(Protocol):
    """A check that says what it found while it runs."""

    async def begin(self, deadline: float) -> Json:
        """Tell the check who it is."""
        del deadline
        return {"RUN": "1"}

    async def heard(self) -> None:
        """Return at once."""

    async def said(self, trace: Trace[Any], deadline: float) -> Said:
        """Say that it is not well."""
        del trace, deadline
        return Said(Reason.CHECK_FAILED, "heard")


@virtual
async def test_a_protocol_may_hear_the_check_while_it_runs() -> None:
    """Then nobody waits for its end; all containers have its environment, init containers too."""
    async with scene() as here:
        here.small.stuck = {0: "started"}
        spec = {
            "containers": [
                {"name": "canary", "image": "busybox", "env": [{"name": "RUN"}, {"name": "B", "value": "2"}]}
            ],
            "initContainers": [{"name": "prepare", "image": "busybox"}],
        }
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(checks, "_PROTOCOLS", {"exit": Early})
            status = await check(here, template={"kind": "Pod", "spec": spec})
        assert "heard" == note(status.attempts[0])
        (asked,) = here.api.named("create", PODS)
        given = [asked.body["spec"][key][0]["env"] for key in ("containers", "initContainers")]
        run = {"name": "RUN", "value": "1"}
        assert [[{"name": "B", "value": "2"}, run], [run]] == given
