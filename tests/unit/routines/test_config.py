"""config, on a small cluster on virtual time."""

import base64
from typing import Any

import pytest
from canary_pods import censored, document, ended, ending, left, measured, note, ran, reasons, tell
from documents import Json
from fakes import TIMEOUT, Asked, refusal, refusing
from small_cluster import PODS, Scene, scene
from virtual_time import run, virtual

from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.routines.config import Config
from khealth_exporter.vocabulary.reason import Reason

MAPS, SECRETS = "configmaps", "secrets"
MADE = (PODS, MAPS, SECRETS)
SEEN = {**document("config"), "durations": {"/config": 30.0, "/secret": 31.0, "between": 1.0}}


async def config(here: Scene, seconds: float = 100.0, **chosen: Any) -> RoutineStatus:
    return await ran(here, Config, seconds, **chosen)


def end_canary(here: Scene, what: Json | str, code: int = 0) -> None:
    """Let the canary end."""
    (pod,) = here.api.objects[PODS].values()
    here.api.put(PODS, ended(pod, what, code))


def project(here: Scene, seconds: float = 30.0, what: Json | str = SEEN) -> None:
    """Let the canary end so long after the last update."""

    async def updated(asked: Asked) -> None:
        if asked.verb == "update" and asked.resource == SECRETS:
            here.small.later(seconds, end_canary, here, what)

    here.api.faults.append(updated)


@virtual
async def test_both_changes_are_seen_and_nothing_is_left() -> None:
    """A pod's steps, and how long the changes took."""
    async with scene() as here:
        project(here)
        status = await config(here)
        (attempt,) = status.attempts
        steps = {"accept", "schedule", "sandbox", "start", "ready", "startup", "project", "delete"}
        assert ([None], [], steps) == (reasons(status), left(here, MADE), set(measured(attempt)))


@virtual
async def test_the_truth_lies_within_the_error_bar() -> None:
    """The canary began after its sandbox was ready, and had seen both before its end was shown."""
    async with scene() as here:
        project(here, 30.5)
        (attempt,) = (await config(here)).attempts
        (project_step,) = [one for one in attempt.measurements if one.step.name == "project"]
        # It had waited 31 s since its sandbox was ready 0.3 s before the updates: 30.7 s at least, if khealth was late.
        assert 30.5 == pytest.approx(project_step.seconds, abs=project_step.uncertainty + 0.02)
        assert 0.0 < project_step.uncertainty < 1.0


@virtual
async def test_a_canary_that_is_slow_to_end_widens_the_error_bar() -> None:
    """Both changes had been seen 5 s before that was shown, or 5 s later than the canary could say."""
    async with scene() as here:
        project(here, 36.0)
        (attempt,) = (await config(here)).attempts
        (project_step,) = [one for one in attempt.measurements if one.step.name == "project"]
        low, high = project_step.seconds - project_step.uncertainty, project_step.seconds + project_step.uncertainty
        assert (low < 31.0, 35.9 < high) == (True, True)


@virtual
async def test_the_end_counts_from_the_container_that_measures() -> None:
    """A kubelet tells of it before the pod's phase does."""
    async with scene() as here:

        def end() -> None:
            (pod,) = here.api.objects[PODS].values()
            here.api.put(PODS, ending(pod, SEEN))

        here.small.later(31.0, end)
        (attempt,) = (await config(here)).attempts
        assert 30.5 == pytest.approx(measured(attempt)["project"], abs=0.5)


@virtual
async def test_the_canary_mounts_directories_and_waits_for_the_new_value() -> None:
    """Files that are mounted by subPath never change."""
    async with scene() as here:
        project(here)
        await config(here)
        (asked,) = here.api.named("create", PODS)
        (container,) = asked.body["spec"]["containers"]
        name = asked.body["metadata"]["name"]
        command = " ".join(container["command"])
        assert f"config --path /config --path /secret --value {name}-2 --timeout 1" in command
        assert [["mountPath", "name"]] * 2 == [sorted(mount) for mount in container["volumeMounts"]]
        (updated,) = here.api.named("update", SECRETS)
        assert f"{name}-2" == base64.b64decode(updated.body["data"]["value"]).decode()


@virtual
async def test_changes_that_are_not_seen_are_not_projected() -> None:
    """The canary says which; the step counts with the time waited."""
    what = document("config", reason="not_projected", error="not seen within 110 s: /secret")
    async with scene() as here:
        project(here, 109.0, what)
        status = await config(here, 150.0)
        (attempt,) = status.attempts
        assert ([Reason.NOT_PROJECTED], ["project"]) == (reasons(status), censored(attempt))
        assert ("not seen within 110 s: /secret" in note(attempt), []) == (True, left(here, MADE))


@virtual
async def test_a_canary_that_says_nothing_by_the_deadline_has_not_seen_them() -> None:
    """It runs on a node that hangs, perhaps."""
    async with scene() as here:
        status = await config(here, 150.0)
        assert ([Reason.NOT_PROJECTED], []) == (reasons(status), left(here, MADE))


@virtual
async def test_too_little_time_is_no_failure() -> None:
    """Kubelets look at a pod every 60 to 90 s."""
    async with scene() as here:
        status = await config(here, 150.0, timeout=60.0)
        assert [Reason.NO_SINGLE_CAUSE] == reasons(status)
        assert "a kubelet may take 100 s" in note(status.attempts[0])


@virtual
async def test_a_configmap_that_cannot_be_mounted_is_not_projected() -> None:
    """The kubelet says so in an Event."""
    async with scene() as here:
        here.small.stuck = {0: "accepted"}
        here.small.later(5.0, tell, here, "FailedMount", "failed to sync configmap cache")
        assert [Reason.NOT_PROJECTED] == reasons(await config(here, 150.0))


@virtual
async def test_a_pods_own_failure_keeps_its_reason() -> None:
    """Nothing was changed yet."""
    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        status = await config(here, 150.0)
        assert ([Reason.KUBELET_SILENT], []) == (reasons(status), here.api.named("update"))


@pytest.mark.parametrize("code", [0, 137])
def test_a_canary_that_ends_without_a_document_has_failed(code: int) -> None:
    """At once: it will not come back."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck, here.small.change = {0: "started"}, {0: lambda pod: ended(pod, "", code)}
            status = await config(here, 30.0)
            assert ([Reason.CANARY_FAILED], []) == (reasons(status), left(here, MADE))

    run(scenario())


@pytest.mark.parametrize("resource", [MAPS, SECRETS])
def test_an_object_that_another_client_changes_is_an_interruption(resource: str) -> None:
    """Before khealth does so."""

    async def scenario() -> None:
        async with scene() as here:

            def change() -> None:
                (found,) = here.api.objects[resource].values()
                here.api.put(resource, {**found, "data": {"value": "x"}})

            here.small.later(0.3, change)
            status = await config(here, 30.0)
            assert ([Reason.INTERRUPTED], []) == (reasons(status), left(here, MADE))

    run(scenario())


@pytest.mark.parametrize("resource", [MAPS, SECRETS])
@pytest.mark.parametrize("seconds", [0.3, 50.0])
def test_an_object_that_another_client_deletes_is_an_interruption(resource: str, seconds: float) -> None:
    """Before the change, or after: a kubelet keeps what it had."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.later(seconds, lambda: here.api.remove(resource, *here.api.objects[resource]))
            status = await config(here, 150.0)
            assert ([Reason.INTERRUPTED], []) == (reasons(status), left(here, MADE))

    run(scenario())


@pytest.mark.parametrize("resource", MADE)
def test_an_unanswered_create_leaves_nothing(resource: str) -> None:
    """What it may have created is found and deleted."""

    async def scenario() -> None:
        async with scene() as here:

            async def unanswered(asked: Asked) -> Any:
                if asked.verb != "create" or asked.resource != resource or asked.query:
                    return None
                here.api._create(asked)
                return TIMEOUT

            here.api.faults.append(unanswered)
            status = await config(here, 60.0)
            assert ([Reason.API_TIMEOUT], []) == (reasons(status), left(here, MADE))

    run(scenario())


@virtual
async def test_a_secret_that_may_not_be_created_is_told_and_the_configmap_goes() -> None:
    """The right is missing."""
    said = refusal(403, 'secrets is forbidden: User "khealth" cannot create resource "secrets"')
    async with scene() as here:
        here.api.faults.append(refusing("create", resource=SECRETS, by=said))
        status = await config(here, 30.0)
        assert ([Reason.FORBIDDEN], []) == (reasons(status), left(here, MADE))


@virtual
async def test_an_object_that_cannot_be_deleted_does_not_keep_the_others() -> None:
    """Each is tried."""
    async with scene() as here:
        project(here)
        here.api.faults.append(refusing("delete", resource=MAPS, by=TIMEOUT))
        status = await config(here, 300.0)
        assert [Reason.API_TIMEOUT] == reasons(status)
        assert 1 == len(left(here, MADE))
