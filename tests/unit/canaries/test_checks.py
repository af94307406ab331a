"""What a check's output and termination message say, and when its containers are over."""

import json
import math

import pytest
from documents import Json, a_pod, container, pod, running, status_of, terminated
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canaries.checks.endings import failed, over
from khealth_exporter.canaries.checks.exits import LONGEST, Told, printed, read
from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace

NAMES = frozenset({"a", "b"})
RUNS: Json = {"running": {}}


def with_states(a: Json, b: Json, **status: str) -> Trace[Pod]:
    """Return a pod whose two containers are in these states, next to one that others added."""
    states = {"a": a, "b": b, "mesh": RUNS}
    statuses = [{**container(state), "name": name} for name, state in states.items()]
    return Trace(WAY, a_pod(status_of(running(pod()), containerStatuses=statuses, **status)))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (RUNS, RUNS, False),
        (terminated(0), RUNS, False),
        (terminated(0), terminated(0), True),
        (terminated(1), RUNS, True),
    ],
)
def test_a_check_is_over_when_all_have_ended_or_one_with_an_error(a: Json, b: Json, *, expected: bool) -> None:
    """A container that others added may go on."""
    assert expected is over(with_states(a, b), NAMES)


def test_a_pod_that_its_kubelet_has_ended_is_not_over() -> None:
    """The exit codes are those of the signals that it sent."""
    assert not over(with_states(terminated(137), terminated(137), reason="Evicted"), NAMES)


def test_only_what_ended_with_an_error_has_failed() -> None:
    """Each with its code."""
    found = failed(with_states(terminated(0), terminated(3)).item, NAMES)
    assert {"b": 3} == {name: end.exit_code for name, end in found.items()}


@given(st.text(max_size=200))
def test_any_output_is_read(output: str) -> None:
    """What it says are durations, whatever it is."""
    assert all(math.isfinite(value) and 0 <= value <= LONGEST for value in printed(output).values())


@given(st.text(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_termination_message_is_read(message: str) -> None:
    """One that is no such JSON says nothing."""
    assert isinstance(read(message), Told)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"steps": {"login": 1}, "error": None}, Told({"login": 1.0})),
        ({"steps": {"login": "1", "cart": 2.5, "pay": None}, "error": "no stock"}, Told({"cart": 2.5}, "no stock")),
        ({"steps": {"a": True, "b": math.inf, "c": math.nan, "d": 10**400}}, Told()),
        ({"steps": [1], "error": "no stock"}, Told({}, "no stock")),
        ({"error": {"code": 1}}, Told()),
        ([1], Told()),
        (3, Told()),
    ],
)
def test_a_value_that_makes_no_sense_takes_nothing_away(message: object, expected: Told) -> None:
    """A step that was not reached is often null, and so is the error of a success."""
    assert expected == read(json.dumps(message))


@pytest.mark.parametrize("message", ["", "no JSON", '{"x":' + "[" * 2000, '{"x":' + "[" * 2000 + "]" * 2000 + "}"])
def test_a_message_that_is_no_json_says_nothing(message: str) -> None:
    """However deep it is: it has at most 4096 bytes."""
    assert Told() == read(message)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("login 0.5", {"login": 0.5}),
        ("  login\t1e-3 ", {"login": 0.001}),
        ("login=2", {"login": 2.0}),
        ("login 2s", {"login": 2.0}),
        ("login -1", {}),
        ("login 1.2.3", {}),
        ("Login 1", {}),
        ("it took 5", {}),
        ("login 1e9", {}),
    ],
)
def test_a_line_is_a_name_and_seconds(line: str, expected: dict[str, float]) -> None:
    """Everything else is for people."""
    assert expected == printed(line)
