"""check with Kuberhealthy's protocol, on a small cluster on virtual time."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from canary_pods import ended, left, measured, note, ran, reasons
from documents import Json, container, disrupted, running, status_of, terminated
from small_cluster import PODS, Scene, scene
from virtual_time import virtual

from khealth_exporter.core.reports import Reports
from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.routines.check import Check
from khealth_exporter.vocabulary.reason import Reason

URL = "http://10.0.0.1:8090/check"
SPEC: Json = {
    "containers": [{"name": "canary", "image": "check", "env": [{"name": "KH_RUN_UUID", "value": "mine"}]}],
    "initContainers": [{"name": "prepare", "image": "check"}],
}


class Checks:
    """A small cluster that runs checks, and what their pods send."""

    def __init__(self, here: Scene, *, served: bool = True) -> None:
        self.here = here
        self.reports = Reports(here.clock, random.Random(1))
        if served:
            self.reports.served(URL)
        here.context = replace(here.context, reports=self.reports)
        self.spec: Json = {}
        """The last pod's specification."""

    def becomes(self, *errors: str, then: Callable[[Json], Json] | None = None, silent: bool = False) -> None:
        """Let the pod report once it has started, unless it is silent, and then end like this; else it goes on."""

        def change(pod: Json) -> Json:
            self.spec = pod["spec"]
            if not silent:
                self.report(errors)
            return then(pod) if then else running(pod, pod["spec"]["nodeName"])

        self.here.small.stuck, self.here.small.change = {0: "started"}, {0: change}

    def report(self, errors: Sequence[str]) -> None:
        """Send a report as the pod."""
        expected = self.reports.find(self.environment("canary")["KH_RUN_UUID"])
        assert expected
        expected.take(errors)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a container."""
        every = (*self.spec["containers"], *self.spec["initContainers"])
        (found,) = (one for one in every if one["name"] == name)
        return {entry["name"]: entry["value"] for entry in found["env"]}

    async def run(self, seconds: float = 1.0) -> RoutineStatus:
        """Run one attempt, which ends by itself or within 20 s."""
        template = {"kind": "Pod", "spec": SPEC}
        return await ran(self.here, Check, seconds, template=template, timeout=20.0, protocol="kuberhealthy")


async def attempt(here: Scene, checks: Checks, seconds: float = 1.0) -> Attempt:
    """Run one attempt, and see that it leaves nothing."""
    status = await checks.run(seconds)
    assert ([], 0) == (left(here, [PODS]), len(checks.reports))
    return status.attempts[0]


def exits(code: int) -> Callable[[Json], Json]:
    """Let the check's container exit."""
    return lambda pod: ended(pod, "", code)


@pytest.mark.parametrize("name", ["canary", "prepare"])
@virtual
async def test_all_containers_are_told_where_to_report(name: str) -> None:
    """Init containers too; what the manifest says of these variables is replaced, as by the original."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes(then=exits(0))
        await checks.run()
        told = checks.environment(name)
        assert (URL, "khealth") == (told["KH_REPORTING_URL"], told["KH_POD_NAMESPACE"])
        assert {"KH_RUN_UUID", "KH_CHECK_RUN_DEADLINE"} <= told.keys()
        assert "mine" != told["KH_RUN_UUID"]


@pytest.mark.parametrize("then", [None, exits(0), exits(1)], ids=["runs on", "exits with 0", "exits with 1"])
@virtual
async def test_a_report_of_success_is_a_success(then: Callable[[Json], Json] | None) -> None:
    """However the pod ends, and even if it does not."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes(then=then)
        found = await attempt(here, checks, 30.0)
        assert found.verdict
        assert None is found.verdict.reason
        assert measured(found)["check"] < 1


@pytest.mark.parametrize("errors", [(), ("no route",)], ids=["success", "failure"])
@virtual
async def test_a_check_that_has_reported_may_clean_up_after_itself(errors: tuple[str, ...]) -> None:
    """The original's daemonset-check deletes its DaemonSet only then; its report is the verdict all the same."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes(*errors)

        def end() -> None:
            (pod,) = here.api.objects[PODS].values()
            here.api.put(PODS, ended(pod, "", 1))

        here.small.later(3.0, end)
        began = here.clock.now()
        found = await attempt(here, checks, 15.0)
        assert found.verdict
        assert (Reason.CHECK_FAILED if errors else None) is found.verdict.reason
        assert measured(found)["check"] < 1
        (deleted,) = here.api.named("delete", PODS)
        assert 3.0 <= deleted.at - began < 4.0


@pytest.mark.parametrize(
    ("limit", "grace", "asked"), [(20.0, 5, 5.0), (120.0, 30, 45.0), (300.0, 75, 112.5), (3600.0, 0, 2250.0)]
)
@virtual
async def test_a_check_that_runs_on_is_deleted_in_time_to_end(limit: float, grace: int, asked: float) -> None:
    """Its kubelet is not blamed if it takes all the time that it has, and a while for the rest."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes()
        began, here.small.ending = here.clock.now(), False

        def gone() -> None:
            (name,) = here.small.pod_names()
            here.api.remove(PODS, name)

        here.small.later(asked + grace + min(limit / 8, 15.0), gone)
        spec = SPEC | {"terminationGracePeriodSeconds": grace}
        chosen = {"template": {"kind": "Pod", "spec": spec}, "timeout": limit, "interval": 3 * limit}
        status = await ran(here, Check, 1.5 * limit, **chosen, protocol="kuberhealthy")
        (deleted,) = here.api.named("delete", PODS)
        assert ([None], True) == (reasons(status), asked <= deleted.at - began < asked + 1.5)


@virtual
async def test_a_stop_does_not_wait_for_a_check_that_runs_on() -> None:
    """Its pod is asked to end at once."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes("no route")
        began = here.clock.now()
        template = {"kind": "Pod", "spec": SPEC}
        status = await ran(here, Check, 2.0, template=template, timeout=300.0, interval=900.0, protocol="kuberhealthy")
        (deleted,) = here.api.named("delete", PODS)
        assert ([Reason.CHECK_FAILED], True) == (reasons(status), deleted.at - began < 4.0)


@pytest.mark.parametrize("then", [None, exits(0), exits(1)], ids=["runs on", "exits with 0", "exits with 1"])
@virtual
async def test_reported_errors_fail_the_check(then: Callable[[Json], Json] | None) -> None:
    """They are evidence; the first one is the note."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes("no route", "no name", then=then)
        found = await attempt(here, checks, 30.0)
        assert found.verdict
        assert (Reason.CHECK_FAILED, "no route (and 1 more)") == (found.verdict.reason, found.verdict.note)
        assert [("no route", "no name")] == [one.lines for one in found.evidence if one.kind == "Report"]


@pytest.mark.parametrize(("code", "told"), [(0, "ended without a report"), (1, "without a report: canary with code 1")])
@virtual
async def test_a_pod_that_ends_without_a_report_is_silent_at_once(code: int, told: str) -> None:
    """The original waits for its time-out."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes(silent=True, then=exits(code))
        found = await attempt(here, checks)
        assert found.verdict
        assert (Reason.CHECK_SILENT, True) == (found.verdict.reason, found.verdict.note.endswith(told))
        assert measured(found)["check"] < 1


@virtual
async def test_no_report_until_the_deadline_is_silent() -> None:
    """What was refused is in the note."""
    async with scene() as here:
        checks = Checks(here)

        def refuse() -> None:
            expected = checks.reports.find(checks.environment("canary")["KH_RUN_UUID"])
            assert expected
            expected.refused = "HTTP 413: the body is larger than 64 KiB"

        checks.becomes(silent=True)
        here.small.later(5.0, refuse)
        found = await attempt(here, checks, 30.0)
        assert found.verdict
        assert Reason.CHECK_SILENT is found.verdict.reason
        assert found.verdict.note.endswith("its last report was refused: HTTP 413: the body is larger than 64 KiB")


@virtual
async def test_a_report_counts_even_if_an_init_container_sends_it_and_fails() -> None:
    """The pod never starts then."""
    async with scene() as here:
        checks = Checks(here)

        def fails(pod: Json) -> Json:
            init = container(terminated(1)) | {"name": "prepare"}
            return status_of(pod, phase="Failed", initContainerStatuses=[init])

        checks.becomes("cannot prepare", then=fails)
        here.small.stuck = {0: "sandboxed"}
        found = await attempt(here, checks)
        assert found.verdict
        assert (Reason.CHECK_FAILED, "cannot prepare") == (found.verdict.reason, found.verdict.note)


@virtual
async def test_one_container_that_fails_leaves_the_others_to_report() -> None:
    """Unlike with exit codes, only their report counts."""
    async with scene() as here:
        checks = Checks(here)
        both = {"containers": [*SPEC["containers"], {"name": "other", "image": "check"}], "initContainers": []}

        def one_fails(pod: Json) -> Json:
            other = container({"running": {}}) | {"name": "other"}
            pod = ended(pod, "", 1)
            return status_of(pod, phase="Running", containerStatuses=[*pod["status"]["containerStatuses"], other])

        checks.becomes(silent=True, then=one_fails)
        here.small.later(5.0, lambda: checks.report([]))
        template = {"kind": "Pod", "spec": both}
        status = await ran(here, Check, 30.0, template=template, timeout=20.0, protocol="kuberhealthy")
        assert [None] == reasons(status)


@virtual
async def test_an_eviction_after_the_report_changes_nothing() -> None:
    """The check has said its word."""
    async with scene() as here:
        checks = Checks(here)
        checks.becomes(then=lambda pod: disrupted(running(pod, "node-1")))
        found = await attempt(here, checks, 30.0)
        assert found.verdict
        assert found.verdict.reason is None


@virtual
async def test_no_pod_is_made_if_nobody_listens() -> None:
    """It is inconclusive: the check is not to blame."""
    async with scene() as here:
        checks = Checks(here, served=False)
        checks.reports.unserved("cannot listen on :8090: address already in use")
        status = await checks.run()
        assert [Reason.INTERNAL_ERROR] == reasons(status)
        assert "no pod can report: cannot listen on :8090: address already in use" == note(status.attempts[0])
        assert [] == here.api.named("create", PODS)


@pytest.mark.parametrize(("timeout", "given", "grace"), [(300.0, None, 30), (60.0, None, 15), (60.0, 4, 4)])
def test_a_silent_check_has_time_to_clean_up(timeout: float, given: int | None, grace: int) -> None:
    """Kubernetes' own 30 s, or a quarter of the timeout, unless its template says otherwise."""
    spec = SPEC | ({} if given is None else {"terminationGracePeriodSeconds": given})
    settings = {"template": {"kind": "Pod", "spec": spec}, "timeout": timeout, "protocol": "kuberhealthy"}
    assert grace == Check.Settings.model_validate(settings).grace


def test_only_this_protocol_needs_a_listener() -> None:
    """Then the port stays closed."""

    def needs(**chosen: Any) -> bool:
        return Check.needs_reports(Check.Settings.model_validate({"template": {"kind": "Pod", "spec": SPEC}, **chosen}))

    assert (True, False) == (needs(protocol="kuberhealthy"), needs())
