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


def test_a_node_that_failed_is_tried_again_next() -> None:
    """It may have been a passing disturbance; another node is known to be well."""
    turning = rotation("a", "b", "c")
    turning.succeeded(str(turning.next()))
    second = turning.next()
    turning.failed(str(second), Reason.KUBELET_SILENT)
    assert ("b", "b") == (second, turning.next())


def test_a_node_that_failed_first_of_all_is_tried_again_after_one_other() -> None:
    """Twice in a row, it would look as if no node ran pods."""
    turning, visited = rotation("a", "b", "c"), []
    for _ in range(3):
        chosen = str(turning.next())
        visited.append(chosen)
        turning.failed(chosen, Reason.KUBELET_SILENT) if chosen == "a" else turning.succeeded(chosen)
    assert ["a", "b", "a"] == visited


def test_no_node_has_a_third_turn_in_a_row() -> None:
    """What is known of the others may be older than an outage of all."""
    turning, visited = rotation("a", "b"), []
    for _ in range(6):
        visited.append(str(turning.next()))
        turning.succeeded("a") if len(visited) == 1 else turning.failed(visited[-1], Reason.KUBELET_SILENT)
    assert ["a", "b", "b", "a", "b", "a"] == visited


def test_the_only_node_is_tried_again() -> None:
    """No other one can be asked."""
    turning = rotation("a")
    turning.failed(str(turning.next()), Reason.KUBELET_SILENT)
    assert "a" == turning.next()


def test_a_node_that_failed_is_tried_again_after_a_round_without_a_result() -> None:
    """The others are full: it is the only one that says anything."""
    turning = rotation("a", "b", "c")
    turning.failed(str(turning.next()), Reason.KUBELET_SILENT)
    assert ["b", "c", "a"] == [turning.next() for _ in range(3)]


@given(NAMES.filter(lambda names: len(names) > 1), st.data())
def test_one_broken_node_never_fails_twice_as_if_it_were_several(names: list[str], data: st.DataObject) -> None:
    """Two failures that are not known to be one node's page somebody: a success comes in between."""
    turning, broken, in_a_row = rotation(*names), data.draw(st.sampled_from(names)), 0
    for _ in range(4 * len(names)):
        chosen = str(turning.next())
        if chosen == broken:
            in_a_row += not turning.well_elsewhere(chosen)
            turning.failed(chosen, Reason.KUBELET_SILENT)
        else:
            in_a_row = 0
            turning.succeeded(chosen)
        assert in_a_row <= 1


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


def seen(turning: Rotation, name: str, uid: str = "1", *, usable: bool = True) -> list[str]:
    """Return the fresh nodes after the watch has shown this one."""
    document = node(name)
    turning.take(a_node({**document, "metadata": {**document["metadata"], "uid": uid}}), usable=usable)
    return list(turning.fresh)


def test_a_node_that_becomes_usable_for_the_first_time_is_fresh() -> None:
    """Once, and not before it takes pods."""
    turning = Rotation()
    turning.know([a_node(node("a"))])
    assert ([], [], ["b"]) == (seen(turning, "a", ""), seen(turning, "b", usable=False), seen(turning, "b"))
    turning.visited("b")
    assert [] == seen(turning, "b")


def test_a_fresh_node_that_takes_no_pods_any_more_is_fresh_when_it_does() -> None:
    """It was not visited yet."""
    turning = Rotation()
    assert (["b"], [], ["b"]) == (seen(turning, "b"), seen(turning, "b", usable=False), seen(turning, "b"))


def test_a_fresh_node_that_is_removed_is_not_visited() -> None:
    """Neither if the watch shows it, nor if it went while no one watched."""
    turning = Rotation()
    seen(turning, "b")
    turning.forget("b")
    assert ({}, ()) == (turning.fresh, turning.nodes)
    seen(turning, "c")
    turning.keep({"d"})
    assert ({}, ()) == (turning.fresh, turning.nodes)


def test_another_node_of_the_same_name_is_fresh() -> None:
    """Its removal may have gone unseen."""
    turning = Rotation()
    seen(turning, "b", "1")
    turning.visited("b")
    assert ["b"] == seen(turning, "b", "2")


def test_a_fresh_node_stays_so_until_it_has_a_pod() -> None:
    """The create may fail. The next attempt goes there again, but no attempt begins early for it."""
    turning = rotation("a")
    seen(turning, "b")
    awaited = turning.awaited
    turning.begin()
    chosen = [turning.next(), turning.next()]
    assert (True, ["b", "b"], False) == (awaited, chosen, turning.awaited)
    turning.visited("b")
    assert "a" == turning.next()


def test_a_node_that_takes_no_pods_has_the_nodes_listed_again() -> None:
    """They may all have been replaced; and it fails no more."""
    turning = rotation("a", "b")
    turning.failed("a", Reason.KUBELET_SILENT)
    turning.refused("a")
    assert ({}, True) == (turning.failing, turning.stale(0.0))


@pytest.mark.parametrize(
    ("count", "interval", "words"), [(2, 30, "1 min"), (5000, 30, "41 h 40 min"), (1, 10, "10 s"), (0, 30, "0 s")]
)
def test_a_round_is_told_in_words(count: int, interval: float, words: str) -> None:
    """5,000 nodes at 30 s are 42 hours: the operator of such a cluster should know."""
    turning = rotation(*(f"n{number}" for number in range(count)))
    assert turning.round(interval).endswith(f"a full round takes {words}")
