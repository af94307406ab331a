"""job from its first request to its verdict, on a small cluster."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from documents import disrupted, leaving, unschedulable
from fakes import UNREACHABLE, Asked, Json, refusing
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small_cluster import PODS, Scene, scene
from small_workloads import JOBS, TRACKING, SmallJobs
from virtual_time import run, virtual

from khealth_exporter.canaries.computing import fibonacci
from khealth_exporter.cluster.kinds import JOB, POD
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.routines.job import JobRoutine, JobSettings
from khealth_exporter.vocabulary.reason import Reason

RIGHT = "2880067194370816120"
"""Fibonacci number 90, as OEIS A000045 lists it."""
IMAGE = "registry.example/khealth:1"


def document(**facts: Any) -> Json:
    """Return what a canary says that has computed the right number."""
    told = {"result": RIGHT, "wall_seconds": 0.12, "cpu_seconds": 0.1, "throttled_seconds": 0.0, "steal_seconds": 0.0}
    return {
        "version": 1,
        "task": "compute",
        "ok": True,
        "reason": "",
        "error": "",
        "durations": {"compute": 0.12},
        "uncertainty_seconds": 1e-6,
        "facts": told | facts,
    }


@dataclass
class There:
    """A small cluster with a Job controller."""

    here: Scene

    @property
    def small(self) -> SmallJobs:
        return cast("SmallJobs", self.here.small)

    async def attempt(self, **chosen: Any) -> Attempt:
        """Make one attempt."""
        collector = Collector("workloads", self.here.figures.metrics, self.here.clock)
        context = replace(self.here.context, canary_image=IMAGE)
        collector.want([RoutineConfig("workloads", "job", JobRoutine, JobSettings(**chosen))], context)
        await collector.start(once=True)
        (status,) = collector.status().routines
        return status.attempts[0]

    async def reason(self, **chosen: Any) -> Reason | None:
        """Return why one attempt does not succeed; nothing may be left of it."""
        attempt = await self.attempt(**chosen)
        assert [] == self.small.left
        assert attempt.verdict
        return attempt.verdict.reason

    async def note(self, **chosen: Any) -> str:
        """Return the note of one attempt."""
        attempt = await self.attempt(**chosen)
        assert attempt.verdict
        return attempt.verdict.note

    def pod(self) -> Json:
        """Return the canary."""
        (pod,) = self.here.api.objects[PODS].values()
        return pod


@asynccontextmanager
async def there() -> AsyncIterator[There]:
    """Watch a small cluster with Jobs until the block ends."""
    async with scene(kinds=(POD, JOB), small=SmallJobs) as here:
        made = There(here)
        made.small.document = document()
        yield made


@virtual
async def test_the_right_number_is_a_success() -> None:
    """The Job completes, and nothing is left."""
    async with there() as it:
        assert None is await it.reason()


@virtual
async def test_every_step_is_measured() -> None:
    """A pod's, the computation by the canary's own clock, and the way from the pod's end to the Job's."""
    async with there() as it:
        attempt = await it.attempt()
        steps = {m.step.name: m.seconds for m in attempt.measurements}
        assert {"accept", "compute", "complete"} == set(steps)
        assert [0.12, 0.1] == pytest.approx([steps["compute"], steps["complete"]], abs=0.01)


@virtual
async def test_what_the_node_gave_the_computation_has_figures() -> None:
    """What the kernel does not tell has none."""
    async with there() as it:
        it.small.document = document(throttled_seconds=0.02, steal_seconds=-0.01)
        await it.attempt()
        names = ("cpu", "throttled", "steal", "waiting")
        labels = {"module": "workloads", "routine": "job"}
        told = [it.here.figures.value(f"khealth_compute_{name}_seconds", **labels) for name in names]
        assert [0.1, 0.02, None, None] == told


@virtual
async def test_the_canary_is_khealths_own_image() -> None:
    """It computes once, as the configuration says, and the Job never tries again."""
    async with there() as it:
        it.small.document = document(result="55")
        await it.attempt(number=10, cpu=0.2)
        (created,) = it.here.api.named("create", JOBS)
        spec = created.body["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        task = ["python3", "-m", "khealth_exporter.canary", "compute", "--n", "10", "--cpu-seconds", "0.2"]
        assert (IMAGE, task) == (container["image"], container["command"])
        assert (0, 1, "Never") == (spec["backoffLimit"], spec["completions"], spec["template"]["spec"]["restartPolicy"])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (document(result="2880067194370816121"), Reason.WRONG_RESULT),
        (document(result=None), Reason.CANARY_FAILED),
        ({**document(), "ok": False, "reason": "wrong_result", "error": "repetition 3 differs"}, Reason.WRONG_RESULT),
        ({**document(), "ok": False, "reason": "strange", "error": "x"}, Reason.CANARY_FAILED),
        ({"no": "document"}, Reason.CANARY_FAILED),
        (None, Reason.CANARY_FAILED),
        (document(wall_seconds=8.0), Reason.CPU_STARVED),
        (document(wall_seconds=4.0), None),
        (document(wall_seconds=8.0, cpu_seconds=1.0), None),
        (document(wall_seconds="long"), None),
        (document(steal_seconds=-0.01), None),
        (document(wall_seconds=10**400), Reason.CANARY_FAILED),
    ],
    ids=[
        "wrong",
        "none",
        "says-wrong",
        "unknown",
        "no-document",
        "silent",
        "starved",
        "slow",
        "busy",
        "absurd",
        "back",
        "huge",
    ],
)
def test_what_the_canary_says_is_judged(said: Json | None, reason: Reason | None) -> None:
    """Wrong is critical; starved only by both limits."""

    async def scenario() -> None:
        async with there() as it:
            it.small.document = said
            assert reason is await it.reason()

    run(scenario())


@virtual
async def test_the_note_says_where_the_time_went() -> None:
    """By the canary's own figures."""
    async with there() as it:
        it.small.document = document(wall_seconds=9.0, throttled_seconds=8.5, waiting_seconds=0.25)
        note = await it.note()
        assert "0.10 s of CPU took 9.00 s: 8.50 s throttled, 0.00 s stolen, 0.25 s waiting for a CPU" in note


@virtual
async def test_a_canary_that_exits_otherwise_is_told_with_its_code() -> None:
    """Before the deadline: it will never say anything."""
    async with there() as it:
        it.small.document, it.small.code = None, 137
        attempt = await it.attempt()
        assert attempt.verdict
        assert (Reason.CANARY_FAILED, True) == (attempt.verdict.reason, "137" in attempt.verdict.note)
        assert attempt.duration < 5.0


@virtual
async def test_a_canary_that_never_ends_is_starved() -> None:
    """It needs a tenth of a second of CPU."""
    async with there() as it:
        it.small.runs_on = True
        assert Reason.CPU_STARVED is await it.reason()


@virtual
async def test_a_canary_that_started_late_is_not_starved() -> None:
    """The scheduler used up the time."""
    async with there() as it:
        it.small.runs_on, it.small.delays = True, {"scheduled": 58.0}
        assert Reason.POD_NOT_SCHEDULED is await it.reason()


@pytest.mark.parametrize(
    ("stage", "change", "reason"),
    [
        ("none", None, Reason.POD_NOT_CREATED),
        ("created", None, Reason.POD_NOT_SCHEDULED),
        ("created", unschedulable, Reason.POD_UNSCHEDULABLE),
        ("scheduled", None, Reason.KUBELET_SILENT),
        ("sandboxed", None, Reason.POD_NOT_STARTED),
    ],
)
def test_a_pod_that_hangs_keeps_its_own_reason(
    stage: str, change: Callable[[Json], Json] | None, reason: Reason
) -> None:
    """As any pod's."""

    async def scenario() -> None:
        async with there() as it:
            it.small.stuck = {0: stage}
            it.small.change = {0: change} if change else {}
            assert reason is await it.reason()

    run(scenario())


@virtual
async def test_a_job_that_fails_without_a_pod_is_told_with_its_reason() -> None:
    """By its condition."""
    async with there() as it:
        it.small.stuck = {0: "none"}

        async def fail(asked: Asked) -> None:
            if asked.verb == "create" and not asked.query:
                it.small.later(1.0, it.small.settle, "Failed")

        it.here.api.faults.append(fail)
        assert Reason.JOB_FAILED is await it.reason()


@virtual
async def test_a_job_that_is_not_completed_has_failed() -> None:
    """Its pod has succeeded, and the controller manager does not see it."""
    async with there() as it:
        it.small.completing = False
        assert Reason.JOB_FAILED is await it.reason()


@virtual
async def test_a_pod_that_ended_late_does_not_blame_the_controller_manager() -> None:
    """It had no time left to complete the Job."""
    async with there() as it:
        it.small.completing, it.small.delays = False, {"scheduled": 58.0}
        assert Reason.POD_NOT_SCHEDULED is await it.reason()


@virtual
async def test_a_suspended_job_says_nothing_of_the_cluster() -> None:
    """A queue such as Kueue suspends Jobs until there is room."""
    async with there() as it:
        it.small.stuck = {0: "none"}

        async def suspend(asked: Asked) -> None:
            if asked.verb == "create" and not asked.query:
                it.small.later(1.0, it.small.settle, "Suspended")

        it.here.api.faults.append(suspend)
        assert Reason.POD_GATED is await it.reason()


@virtual
async def test_a_quota_that_refuses_the_pod_is_told_by_an_event() -> None:
    """A Job has no condition for that."""
    async with there() as it:
        it.small.stuck = {0: "none"}
        message = 'Error creating: pods "x" is forbidden: exceeded quota: small'
        about = {"kind": "Job", "name": "khealth-workloads-job-run-1"}
        it.here.api.put("events", {
            "metadata": {"name": "e"}, "reason": "FailedCreate", "message": message, "involvedObject": about
        })  # fmt: skip
        assert Reason.QUOTA_EXCEEDED is await it.reason()


OTHERS: tuple[tuple[str, Callable[[Json], Json], Reason], ...] = (
    ("deleted", leaving, Reason.POD_LOST),
    ("evicted", lambda pod: leaving(disrupted(pod)), Reason.DISRUPTED),
)


@pytest.mark.parametrize(("change", "reason"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_a_pod_that_others_take(change: Callable[[Json], Json], reason: Reason) -> None:
    """Told at once: the Job has no second try."""

    async def scenario() -> None:
        async with there() as it:
            it.small.runs_on = True

            async def take(asked: Asked) -> None:
                if asked.verb == "create" and not asked.query:
                    it.small.later(1.0, lambda: it.here.api.put(PODS, change(it.pod())))

            it.here.api.faults.append(take)
            assert reason is await it.reason()

    run(scenario())


@virtual
async def test_a_job_that_another_client_deletes_is_interference() -> None:
    """Its pod goes with it."""
    async with there() as it:
        it.small.runs_on = True

        def act() -> None:
            (job,) = it.here.api.objects[JOBS].values()
            it.here.api.put(JOBS, leaving(job))
            it.here.api.put(PODS, leaving(it.pod()))

        async def delete(asked: Asked) -> None:
            if asked.verb == "create" and not asked.query:
                it.small.later(1.0, act)

        it.here.api.faults.append(delete)
        attempt = await it.attempt()
        assert attempt.verdict
        assert Reason.INTERRUPTED is attempt.verdict.reason


@virtual
async def test_a_create_without_an_answer_is_the_api_servers() -> None:
    """And nothing is left of it."""
    async with there() as it:
        it.here.api.faults.append(refusing("create", by=UNREACHABLE))
        assert Reason.API_UNREACHABLE is await it.reason()


@pytest.mark.parametrize(
    ("finalizer", "reason"),
    [(TRACKING, Reason.POD_NOT_DELETED), ("example.com/keep", Reason.INTERRUPTED)],
    ids=["job-controller", "another-client"],
)
def test_a_finalizer_that_nobody_removes_is_not_the_kubelets_fault(finalizer: str, reason: Reason) -> None:
    """The canary has ended: the client that set the finalizer must remove it."""

    async def scenario() -> None:
        async with there() as it:
            it.small.finalizers = [finalizer]
            attempt = await it.attempt()
            assert attempt.verdict
            assert (reason, True) == (attempt.verdict.reason, finalizer in attempt.verdict.note)

    run(scenario())


def test_its_bounds_fit_its_interval() -> None:
    """Init and cleanup both end before the next attempt begins."""
    settings = JobSettings()
    assert 2 * settings.timeout <= settings.interval


@given(st.integers(0, 2000))
def test_fibonacci_numbers_are_right(n: int) -> None:
    """Fast doubling comes to what additions come to."""
    number, following = 0, 1
    for _ in range(n):
        number, following = following, number + following
    assert number == fibonacci(n)


def test_a_computation_that_cannot_end_in_time_is_refused() -> None:
    """Every node would be said to starve it."""
    with pytest.raises(ValidationError, match="cpu exceeds half of timeout"):
        JobSettings(cpu=31.0, timeout=60.0)
