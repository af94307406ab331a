"""What the benchmark of NetworkPolicies makes of its observers."""

import pytest

from benchmarks.audit import Interval
from benchmarks.policies import Change, Effect, effects, goals, true

CREATED = Interval(100.0, 100.01)
CHANGES = [
    Change("a", "192.0.2.1", answers=True, between=Interval(0.0, 90.0)),
    Change("b", "192.0.2.1", answers=True, between=Interval(0.0, 91.0)),
    Change("a", "192.0.2.1", answers=False, between=Interval(100.1, 100.2)),
    Change("b", "192.0.2.1", answers=False, between=Interval(100.15, 100.16)),
    Change("a", "192.0.2.1", answers=True, between=Interval(103.0, 103.1)),
]


def test_a_policy_takes_until_the_last_observer_feels_it() -> None:
    truth = true("deny", CREATED, 110.0, CHANGES)
    assert truth is not None
    assert [truth.low, truth.high] == pytest.approx([0.14, 0.2])


def test_what_one_observer_does_not_feel_is_not_known() -> None:
    assert true("allow", Interval(102.0, 102.0), 110.0, CHANGES) is None
    assert true("deny", CREATED, 100.18, CHANGES) is None


def test_only_steps_that_ended_count() -> None:
    found = {"seconds": 0.3, "uncertainty": 0.05, "step": {"name": "deny"}}
    attempts = [
        {"began": 99.0, "ended": 110.0, "measurements": [{**found, "censored": censored}]} for censored in (True, False)
    ]
    (effect,) = effects(attempts, {"deny": [CREATED]}, CHANGES)
    assert 0.05 == pytest.approx(effect.beyond)


def test_khealth_may_be_as_far_from_the_truth_as_it_says() -> None:
    effect = Effect("deny", 0.3, 0.1, Interval(0.15, 0.2))
    assert 0.0 == effect.beyond
    assert all(goal.met for goal in goals([effect, effect], ["success"], ["policy_not_enforced"]))
    assert not all(goal.met for goal in goals([effect], ["success"], ["policy_not_enforced"]))
