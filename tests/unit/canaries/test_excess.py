"""A pod that was late is blamed on the step without whose excess it would have been in time, wherever it is stuck."""

import math
from collections.abc import Mapping, Sequence

import pytest
from canary_attempt import STEPS, Attempt
from documents import (
    RUNNING,
    Json,
    a_pod,
    accepted,
    bound,
    condition,
    container,
    containers,
    pod,
    sandboxed,
    status_of,
    terminated,
    unschedulable,
    waiting,
)
from hypothesis import given
from hypothesis import strategies as st
from pod_traces import way_of
from small_cluster import scene
from virtual_time import virtual

from khealth_exporter.canaries.diagnosis import Finding, blame
from khealth_exporter.canaries.excess import Lateness, Usual, blamed, excuses, occupied, overdue, unexplained
from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, READY, SANDBOX, SCHEDULE, START, WAY
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step

CHAIN = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY)
USUAL = dict(zip(CHAIN, (0.05, 0.1, 0.1, 0.4, 0.3, 0.2), strict=True))
SECONDS = st.floats(0, 20)


def cut(durations: Sequence[float], budget: float) -> tuple[dict[Step, float], Step] | None:
    """Return what has been spent when the budget is used up, and the step that goes on; None if all was in time."""
    spent, left = dict[Step, float](), budget
    for step, seconds in zip(CHAIN, durations, strict=True):
        spent[step] = min(seconds, left)
        if seconds > left:
            return spent, step
        left -= seconds
    return None


@pytest.mark.parametrize(
    ("durations", "budget", "culprit"),
    [
        ((0.05, 0.1, 5.5, 9, 0, 0), 6, SCHEDULE),
        ((0.05, 5.5, 0.1, 9, 0, 0), 6, CREATE),
        ((0.05, 5.5, 9, 0, 0, 0), 6, CREATE),
        ((5.8, 9, 0, 0, 0, 0), 6, ACCEPT),
        ((0.05, 0.1, 0.1, 4, 9, 0), 6, SANDBOX),
        ((0.05, 0.1, 0.1, 0.4, 9, 0), 6, START),
        ((0.05, 0.1, 0.1, 0.4, 5.4, 9), 6, START),
        ((0.05, 0.1, 9, 0, 0, 0), 6, SCHEDULE),
        ((0.05, 2.5, 2.5, 2.5, 9, 0), 6, None),
        ((0.05, 0.1, 11, 99, 0, 0), 20, SANDBOX),
        ((0.05, 0.1, 18, 99, 0, 0), 20, SCHEDULE),
        ((0.05, 0.1, 0.1, 0.4, 0.3, 9), 0.8, None),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)  # fmt: skip
def test_the_step_that_used_up_the_time_is_blamed(
    durations: Sequence[float], budget: float, culprit: Step | None
) -> None:
    """Whether it still goes on or has ended; nobody where several share it, or the time is too short for all."""
    found = cut(durations, budget)
    assert found
    assert culprit == blamed(*found, USUAL, budget)


@given(st.tuples(*[SECONDS] * len(CHAIN)), st.floats(0.5, 20), st.tuples(*[st.floats(0.01, 3)] * len(CHAIN)))
def test_without_the_excess_the_pod_would_have_been_in_time(
    durations: Sequence[float], budget: float, usually: Sequence[float]
) -> None:
    """For any durations; and if nobody is blamed, no single step would have done."""
    usual = dict(zip(CHAIN, usually, strict=True))
    if (found := cut(durations, budget)) is None:
        return
    spent, still = found
    culprit = blamed(spent, still, usual, budget)

    known = {**usual, **spent, still: 2 * spent[still] if spent[still] > usual[still] else usual[still]}

    def expected(without: Step) -> float:
        return sum({**known, without: min(known[without], usual[without])}.values())

    excess = {step: max(0.0, known[step] - usual[step]) for step in spent}
    if culprit is None:
        half = sum(excess.values()) / 2 + 1e-6
        assert not [step for step in spent if expected(step) <= budget - 1e-6 and excess[step] > half]
    else:
        assert expected(culprit) <= budget + 1e-6
        assert max(excess.values()) == excess[culprit] > 0


def test_defaults_leave_room_in_a_short_time() -> None:
    """All steps together take three quarters of the time at most."""
    usual = Usual()
    assert pytest.approx(2.25) == sum(usual.of(CHAIN, 3.0).values())
    assert 1.5 == usual.of(CHAIN, 60.0)[SANDBOX]


def test_a_cluster_where_each_step_is_slow_now_and_then_still_has_a_culprit() -> None:
    """The steps' 90th percentiles may add up to more than the time: they are not slow at the same time."""
    usual = Usual()
    for number in range(50):
        slow = {0: SANDBOX, 1: START}.get(number % 5)
        usual.note(Measurement(step, 12.0 if step is slow else 0.1, 0.0) for step in CHAIN)
    spent = {ACCEPT: 0.05, CREATE: 0.05, SCHEDULE: 19.9}
    assert SCHEDULE is blamed(spent, SCHEDULE, usual.of(CHAIN, 20.0), 20.0)


def test_time_that_was_lost_before_the_first_write_is_no_components_fault() -> None:
    """The pods had too little time: no step can be blamed for that."""
    spent = {ACCEPT: 0.05, CREATE: 0.1, SCHEDULE: 0.1, SANDBOX: 1.2}
    assert blamed(spent, SANDBOX, USUAL, 20.0, 18.55) is None


def test_what_is_usual_is_what_nine_of_ten_take() -> None:
    """Of the last ones; a single slow one changes nothing."""
    usual = Usual()
    for number in range(100):
        usual.note([Measurement(START, 5.0 if number % 50 == 7 else 0.3, 0.0)])
    assert 0.3 == usual.of(CHAIN, 20.0)[START]


NAME = "khealth-a"
FAIR = pod(NAME)


@pytest.mark.parametrize(
    ("document", "silent"),
    [
        (FAIR, True),
        (bound(FAIR), True),
        (accepted(FAIR), True),
        (sandboxed(FAIR), True),
        (unschedulable(FAIR), False),
        (status_of(accepted(FAIR), condition("PodReadyToStartContainers", "False", "", "no pod sandbox exists")), True),
        (containers(FAIR, container(waiting("ErrImagePull", "denied"))), False),
        (containers(FAIR, container(waiting("ContainerCreating", ""))), True),
        (containers(FAIR, container(terminated(1, "Error"))), False),
        (containers(FAIR, container(RUNNING, last=terminated(1, "Error"))), False),
    ],
)
def test_who_says_why_is_believed(document: Json, silent: bool) -> None:
    """Times decide only where nobody says anything."""
    assert silent is unexplained(a_pod(document))


def lateness(budget: float, usual: Mapping[Step, float] = USUAL) -> Lateness:
    return Lateness(usual, budget, 0.0, 0.05)


def steps(*seconds: float) -> list[Measurement]:
    """Return the steps from `create` on, of which the last one has not ended."""
    found = [Measurement(step, value, 0.0) for step, value in zip(CHAIN[1:], seconds, strict=False)]
    return [*found[:-1], Measurement(found[-1].step, found[-1].seconds, 0.0, censored=True)]


def test_the_note_tells_the_time_and_what_is_usual() -> None:
    """Where to look, and why."""
    place = Finding(SANDBOX, Reason.KUBELET_SILENT, "khealth-a: the kubelet has not accepted the pod", "node-1")
    found = lateness(6.0).judged(place, NAME, steps(0.1, 5.4, 0.4))
    assert (SCHEDULE, Reason.POD_NOT_SCHEDULED, None) == (found.step, found.reason, found.node)
    assert "khealth-a: schedule took 5.40 s (usually 0.10 s)" in found.note


def followed(*seen: tuple[float, Json]) -> Trace[Pod]:
    """Return the trace of a pod that was seen like this at these times."""
    trace = Trace(WAY, a_pod(seen[0][1]))
    for at, document in seen:
        trace.take(a_pod(document), Moment(at), removed=False)
    return trace


CLEARED = status_of(FAIR, condition("PodScheduled", "False", "SchedulingGated"))
GATED = {**CLEARED, "spec": {**CLEARED.get("spec", {}), "schedulingGates": [{"name": "example.com/gate"}]}}


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (((0.1, GATED), (5.0, CLEARED), (5.5, bound(FAIR))), Reason.POD_GATED),
        (((0.1, GATED), (0.6, CLEARED), (5.5, bound(FAIR))), Reason.POD_NOT_SCHEDULED),
        (((0.1, FAIR), (0.2, unschedulable(FAIR)), (5.5, bound(FAIR))), Reason.POD_UNSCHEDULABLE),
        (((0.1, FAIR), (5.0, unschedulable(FAIR)), (5.5, bound(FAIR))), Reason.POD_NOT_SCHEDULED),
        (((0.1, FAIR), (5.5, bound(FAIR))), Reason.POD_NOT_SCHEDULED),
    ],
    ids=["gate cleared late", "gate cleared early", "no room for long", "no room at last", "nothing"],
)
def test_a_scheduler_is_blamed_for_its_own_time_alone(seen: Sequence[tuple[float, Json]], reason: Reason) -> None:
    """Not for a gate that others clear, nor for a cluster that has no room."""
    place = Finding(SANDBOX, Reason.KUBELET_SILENT, "khealth-a: the kubelet has not accepted the pod", "node-1")
    found = lateness(6.0).judged(place, NAME, steps(0.1, 5.4, 0.4), excuses(followed(*seen), 6.0))
    assert (SCHEDULE, reason) == (found.step, found.reason)


def test_a_node_that_does_not_take_its_pod_is_no_fault_of_the_scheduler() -> None:
    """It was not Ready, and is by now: the scheduler had answered, and may not choose another node."""
    seen = ((0.1, FAIR), (0.2, unschedulable(FAIR)), (5.5, bound(FAIR)))
    place = Finding(SANDBOX, Reason.KUBELET_SILENT, "khealth-a: the kubelet has not accepted the pod", "node-1")
    excused = excuses(followed(*seen), 6.0, pinned=True)
    assert Reason.NO_NODE is lateness(6.0).judged(place, NAME, steps(0.1, 5.4, 0.4), excused).reason


def test_an_injected_container_excuses_no_image_that_is_missing() -> None:
    """What is said of the container that a pod waits for stands, while it waits."""
    place = Finding(START, Reason.IMAGE_PULL_FAILED, "khealth-a: the image of init container proxy is being pulled")
    added = {START: (Reason.POD_GATED, math.inf)}
    assert place is lateness(6.0).judged(place, NAME, steps(0.1, 0.1, 0.2, 5.5), added)


def test_a_pod_that_has_ended_is_not_judged_by_time() -> None:
    """Its kubelet has said why."""
    rejected = status_of(bound(FAIR), phase="Failed", reason="OutOfmemory", message="Node didn't have enough")
    assert not unexplained(a_pod(rejected))


def test_a_step_that_is_stuck_keeps_its_own_reason() -> None:
    """The kubelet's silence is told from a sandbox that fails."""
    place = Finding(SANDBOX, Reason.KUBELET_SILENT, "khealth-a: the kubelet has not accepted the pod", "node-1")
    assert place is lateness(6.0).judged(place, NAME, steps(0.1, 0.1, 5.7))


def test_several_that_share_it_are_inconclusive() -> None:
    """The note tells what each took."""
    place = Finding(START, Reason.POD_NOT_STARTED, "khealth-a: not started", "node-1")
    found = lateness(6.0).judged(place, NAME, steps(2.0, 2.0, 1.5, 0.4))
    assert Reason.NO_SINGLE_CAUSE is found.reason
    assert "create 2.00 s (usually 0.10 s), schedule 2.00 s (usually 0.10 s)" in found.note


@pytest.mark.parametrize(
    "reason", [Reason.NODES_NOT_READY, Reason.DISRUPTED, Reason.QUOTA_EXCEEDED, Reason.POD_CRASHED]
)
def test_what_is_known_otherwise_stands(reason: Reason) -> None:
    """Times do not change what nodes, conditions or refusals say."""
    place = Finding(SANDBOX, reason, "khealth-a: so", "node-1")
    assert place is lateness(6.0).judged(place, NAME, steps(0.1, 5.4, 0.4))


def test_a_pod_with_a_cause_stands_for_one_without() -> None:
    """An attempt is inconclusive only if no pod tells more."""
    none = Finding(CREATE, Reason.NO_SINGLE_CAUSE, "a: none")
    late = Finding(START, Reason.POD_NOT_STARTED, "b: start took long", "node-1")
    assert late is blame([none, late], STEPS)


@virtual
async def test_a_scheduler_that_was_paused_is_blamed_though_the_pods_are_with_their_kubelets() -> None:
    """Seen on a cluster: the scheduler stood still for 5.5 of 6 seconds, and a healthy kubelet was blamed."""
    async with scene() as here:
        here.small.delays = {"scheduled": 19.7}
        failed = await Attempt(here).failing()
    assert (Reason.POD_NOT_SCHEDULED, SCHEDULE) == (failed.reason, failed.step)
    assert "schedule took 19.70 s" in failed.note


@virtual
async def test_a_controller_manager_that_was_paused_is_blamed() -> None:
    """The pods were created too late to be Ready in time."""
    async with scene() as here:
        here.small.delays = {"created": 19.8}
        failed = await Attempt(here).failing()
    assert (Reason.POD_NOT_CREATED, CREATE) == (failed.reason, failed.step)


LATE_GOAL = Finding(READY, Reason.ROLLOUT_STALLED, "not there")


def test_a_goal_that_had_most_of_the_time_is_missed_by_its_own_fault() -> None:
    """The pods' steps took less than half."""
    assert LATE_GOAL is overdue(LATE_GOAL, 6.0, {SCHEDULE: 4.0}, 10.0)


def test_a_step_that_left_a_goal_no_time_is_blamed() -> None:
    """It took more than half of the time."""
    found = overdue(LATE_GOAL, 3.0, {SCHEDULE: 6.0, START: 1.0}, 10.0)
    assert (SCHEDULE, Reason.POD_NOT_SCHEDULED) == (found.step, found.reason)


@pytest.mark.parametrize("spent", [{}, {SCHEDULE: 4.0, START: 3.0}])
def test_without_a_step_that_took_most_of_the_time_there_is_no_single_cause(spent: dict[Step, float]) -> None:
    """Two slow steps, or none at all."""
    assert Reason.NO_SINGLE_CAUSE is overdue(LATE_GOAL, 3.0, spent, 10.0).reason


def test_pods_that_hang_at_the_same_time_count_once() -> None:
    """Two wait for the scheduler together for three seconds, one of them alone for one more."""
    traces = [way_of(("created", 1.0), ("scheduled", 4.0)), way_of(("created", 1.0), ("scheduled", 5.0))]
    found = occupied(traces, 0.0, 6.0)
    assert (4.0, 5.0) == (found[SCHEDULE], found[None])


def test_pods_that_hang_one_after_the_other_count_each() -> None:
    """As in a rollout; what came before it does not count."""
    traces = [way_of(("created", 1.0), ("scheduled", 3.0)), way_of(("created", 6.0))]
    assert 1.0 + 4.0 == occupied(traces, 2.0, 10.0)[SCHEDULE]
