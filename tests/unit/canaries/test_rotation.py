"""Which node comes next."""

import pytest
from documents import a_node, node
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canaries.rotation import REFRESH, Rotation
from khealth_exporter.vocabulary.reason import Reason

NAMES = st.lists(st.sampled_from([f"node-{n}" for n in range(9)]), min_size=1, max_size=6, unique=True)


def rotation(*names: str) -> Rotation:
    made = Rotation()
    made.renew(names, 0.0)
    return made


@given(NAMES, st.sets(st.sampled_from([f"node-{n}" for n in range(9)]), max_size=3))
def test_every_node_is_visited_however_many_fail(names: list[str], broken: set[str]) -> None:
    """A node that keeps failing hides no other: within three turns for each node all are visited."""
    turning, visited = rotation(*names), []
    for _ in range(3 * len(names) + 1):
        chosen = turning.next()
        assert chosen is not None
        visited.append(chosen)
        if chosen in broken:
            turning.failed(chosen, Reason.KUBELET_SILENT)
        else:
            turning.succeeded(chosen)
    assert set(names) == set(visited)
    assert set(turning.failing) == broken & set(names)


@given(NAMES)
def test_healthy_nodes_are_visited_in_turn(names: list[str]) -> None:
    """No node twice before each was visited once."""
    turning = rotation(*names)
    assert sorted(names) == [turning.next() for _ in names]


def test_a_node_that_failed_is_visited_again_at_once() -> None:
    """It may have been a passing disturbance."""
    turning = rotation("a", "b")
    first = turning.next()
    turning.failed(str(first), Reason.KUBELET_SILENT)
    assert first == turning.next()


def test_a_node_that_is_gone_fails_no_more() -> None:
    """It was removed, or cordoned."""
    turning = rotation("a", "b")
    turning.failed("a", Reason.KUBELET_SILENT)
    turning.renew(["b"], 1.0)
    assert ({}, "b") == (turning.failing, turning.next())


def test_without_nodes_there_is_none() -> None:
    """Nothing can be chosen."""
    assert Rotation().next() is None


@pytest.mark.parametrize(("now", "stale"), [(REFRESH, False), (REFRESH + 1, True)])
def test_the_list_is_used_for_a_while(now: float, *, stale: bool) -> None:
    """Five minutes."""
    assert stale is rotation("a").stale(now)


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([], False),
        ([("b", True)], True),
        ([("b", False)], False),
        ([("b", True), ("a", False)], True),
        ([("b", True), ("c", False)], False),
        ([("b", False), ("c", True)], True),
    ],
)
def test_whether_the_latest_other_node_was_well(visits: list[tuple[str, bool]], *, expected: bool) -> None:
    """Then a failure of this node is its own."""
    turning = rotation("a", "b", "c")
    for name, well in visits:
        turning.succeeded(name) if well else turning.failed(name, Reason.KUBELET_SILENT)
    assert expected is turning.well_elsewhere("a")


def test_a_node_that_becomes_ready_for_the_first_time_is_fresh() -> None:
    """Once, until it is removed and comes again."""
    turning = Rotation()
    turning.know([a_node(node("a"))])
    turning.take(a_node(node("a")))
    turning.take(a_node(node("b", ready="False")))
    before = list(turning.fresh)
    turning.take(a_node(node("b")))
    turning.take(a_node(node("b")))
    once = list(turning.fresh)
    turning.forget(a_node(node("b")))
    turning.take(a_node(node("b")))
    assert ([], ["b"], ["b", "b"]) == (before, once, turning.fresh)


@pytest.mark.parametrize(
    ("count", "interval", "words"), [(2, 30, "1 min"), (5000, 30, "41 h 40 min"), (1, 10, "10 s"), (0, 30, "0 s")]
)
def test_a_round_is_told_in_words(count: int, interval: float, words: str) -> None:
    """5,000 nodes at 30 s are 42 hours: the operator of such a cluster should know."""
    turning = rotation(*(f"n{number}" for number in range(count)))
    assert turning.round(interval).endswith(f"a full round takes {words}")
