"""The arithmetic of a rollout: surge, unavailability, and the next sizes of the ReplicaSets."""

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from khealth_exporter.simulator.controllers import rollout
from khealth_exporter.simulator.controllers.rollout import Limits


def deployment(replicas: int, unavailable: int | str = "25%", surge: int | str = "25%") -> dict[str, Any]:
    """Return a Deployment of that size."""
    rolling = {"maxUnavailable": unavailable, "maxSurge": surge}
    return {"spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}


def replica_set(name: str, replicas: int, available: int | None = None) -> dict[str, Any]:
    """Return a ReplicaSet of that size; all pods are available unless another number is given."""
    present = replicas if available is None else available
    return {"metadata": {"name": name}, "spec": {"replicas": replicas}, "status": {"availableReplicas": present}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (deployment(4), Limits(4, 1, 1)),
        (deployment(10), Limits(10, 3, 2)),
        (deployment(2, unavailable=0, surge="1%"), Limits(2, 1, 0)),
        (deployment(3, unavailable="10%", surge=0), Limits(3, 0, 1)),
        (deployment(2, unavailable=5, surge=0), Limits(2, 0, 2)),
        ({"spec": {"replicas": 3, "strategy": {"type": "Recreate"}}}, Limits(3, 0, 0)),
    ],
    ids=["default", "rounded", "surge-up", "both-zero", "capped", "recreate"],
)
def test_percentages_are_rounded_as_the_real_controller_does(given: dict[str, Any], expected: Limits) -> None:
    """A surge is rounded up, unavailability down, and one of them is at least 1."""
    assert expected == rollout.limits(given)


@pytest.mark.parametrize(
    ("given", "new", "old", "expected"),
    [
        (deployment(2, 0, 1), replica_set("new", 0), [replica_set("old", 2)], {"new": 1}),
        (deployment(2, 0, 1), replica_set("new", 1, 0), [replica_set("old", 2)], {}),
        (deployment(2, 0, 1), replica_set("new", 1), [replica_set("old", 2)], {"old": 1}),
        (deployment(2, 1, 0), replica_set("new", 0), [replica_set("old", 2)], {"old": 1}),
        (deployment(3, 0, 1), replica_set("new", 1, 0), [replica_set("old", 3, 2)], {}),
        (deployment(3, 1, 1), replica_set("new", 1), [replica_set("old", 3, 1)], {"old": 1}),
        (deployment(2, 0, 1), replica_set("new", 5), [], {"new": 2}),
        (deployment(4, 2, 0), replica_set("new", 0), [replica_set("first", 1), replica_set("second", 3)], {"first": 0, "second": 2}),
        (deployment(2, 0, 1), replica_set("new", 2), [], {}),
    ],
    ids=[
        "surge", "new-not-available", "replace", "no-surge", "nothing-to-spare", "unavailable-first", "scale-down",
        "oldest-first", "complete",
    ],
)  # fmt: skip
def test_next_sizes_keep_the_strategys_promise(
    given: dict[str, Any], new: dict[str, Any], old: list[dict[str, Any]], expected: dict[str, int]
) -> None:
    """The sum is at most replicas and surge, and at least replicas minus maxUnavailable stay available."""
    assert expected == rollout.next_sizes(given, new, old)


@drawn(
    replicas=st.integers(0, 12),
    unavailable=st.integers(0, 12) | st.integers(0, 100).map("{}%".format),
    surge=st.integers(1, 12) | st.integers(1, 200).map("{}%".format),
    becoming=st.lists(st.integers(0, 3), max_size=40),
)
def test_every_rollout_keeps_within_its_limits_and_ends(
    replicas: int, unavailable: int | str, surge: int | str, becoming: list[int]
) -> None:
    """However slowly new pods become available, there are never too many pods nor too few available ones."""
    given = deployment(replicas, unavailable, surge)
    allowed = rollout.limits(given)
    sizes, available = {"new": 0, "old": replicas}, {"new": 0, "old": replicas}
    for step in [*becoming, *([replicas] * (4 * replicas + 4))]:
        new, old = (replica_set(name, sizes[name], available[name]) for name in ("new", "old"))
        sizes |= rollout.next_sizes(given, new, [old])
        available["old"] = min(available["old"], sizes["old"])
        assert sum(sizes.values()) <= replicas + allowed.surge
        assert sum(available.values()) >= replicas - allowed.unavailable
        available["new"] = min(sizes["new"], available["new"] + step)
    assert {"new": replicas, "old": 0} == sizes
