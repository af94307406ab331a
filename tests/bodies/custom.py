"""What a user's check says, as a Pod and as a Job."""

import pytest

from bodies.target import Target

WELL = ("compute", "--n", "90", "--cpu-seconds", "0.1")
HANGS = ("config", "--path", "/nowhere", "--value", "never")


@pytest.mark.parametrize("kind", ["Pod", "Job"])
def test_a_check_that_ends_with_0_is_well(target: Target, kind: str) -> None:
    """Every step is timed, and nothing stays."""
    found = target.every(target.checks(*WELL, kind=kind), "custom/mine")
    steps = {"accept", "check"} | ({"complete"} if kind == "Job" else set())
    assert (0, "success") == (found.code, found.attempt["result"]), found.told
    assert (steps, []) == (set(found.attempt["steps"]), target.objects())


@pytest.mark.parametrize("kind", ["Pod", "Job"])
def test_a_check_that_ends_with_another_code_has_failed(target: Target, kind: str) -> None:
    """The component is the one that the user names, and the note has the code."""
    found = target.every(target.checks("no-such-task", kind=kind, component="dns"), "custom/mine")
    assert (1, {"mine": ("dns", "check_failed")}) == (found.code, found.blamed), found.told
    assert ("mine exited with code 2" in found.attempt["note"], []) == (True, target.objects()), found.told


def test_a_check_that_does_not_end_is_silent(target: Target) -> None:
    """It is ended, and nothing stays."""
    found = target.every(target.checks(*HANGS, timeout="15s"), "custom/mine")
    assert (1, {"mine": ("workload", "check_silent")}) == (found.code, found.blamed), found.told
    assert [] == target.objects()


def test_a_template_that_the_api_server_refuses_has_failed(target: Target) -> None:
    """What is wrong with it is the user's, and the API server's words say what."""
    found = target.every(
        target.checks(*WELL, template={"spec": {"containers": [{"name": "a", "image": "b"}]}}), "custom/mine"
    )
    assert (1, {"mine": ("workload", "check_failed")}) == (found.code, found.blamed), found.told
    assert "PodSecurity" in found.attempt["note"]
