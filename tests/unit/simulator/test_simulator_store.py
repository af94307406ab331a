"""The simulator's store: revisions, histories, commits."""

from typing import Any

import pytest

from khealth_exporter.simulator.documents import merged, micro_timestamp, timestamp, with_conditions
from khealth_exporter.simulator.quantities import parse
from khealth_exporter.simulator.resources import LEASES, PODS
from khealth_exporter.simulator.selection import Selector, label_tests
from khealth_exporter.simulator.store import Commit, Compacted, Store


def lease(name: str, **spec: Any) -> dict[str, Any]:
    """Return a Lease as it is stored."""
    return {"metadata": {"name": name, "namespace": "n"}, "spec": spec}


def test_every_write_has_a_revision_of_its_own() -> None:
    """Whatever the resource, and the deletion too."""
    store = Store(history_limit=10)
    first = store.put(LEASES, lease("a"))
    second = store.put(PODS, lease("a"))
    third = store.remove(LEASES, first)
    revisions = [int(stored["metadata"]["resourceVersion"]) for stored in (first, second, third)]
    assert revisions == [store.revision - 2, store.revision - 1, store.revision]


def test_writing_the_same_is_no_write() -> None:
    """Neither revision nor history moves."""
    store = Store(history_limit=10)
    stored = store.put(LEASES, lease("a", x=1))
    assert store.put(LEASES, lease("a", x=1)) is stored
    assert len(store.history(LEASES).since(0)) == 1


def test_listeners_are_told_within_the_write() -> None:
    """With the state before and after."""
    store, told = Store(history_limit=10), list[Commit]()
    store.listen(told.append)
    store.put(LEASES, lease("a", x=1))
    store.put(LEASES, lease("a", x=2))
    store.remove(LEASES, lease("a", x=2))
    assert [commit.kind for commit in told] == ["ADDED", "MODIFIED", "DELETED"]
    assert [commit.before and commit.before["spec"] for commit in told] == [None, {"x": 1}, {"x": 2}]


def test_history_is_bounded() -> None:
    """What is dropped can no longer be resumed from; what is kept can, in full."""
    store = Store(history_limit=8)
    revisions = [int(store.put(LEASES, lease("a", x=x))["metadata"]["resourceVersion"]) for x in range(100)]
    history = store.history(LEASES)
    with pytest.raises(Compacted):
        history.position(revisions[0])
    position = history.position(revisions[-4])
    assert [change.revision for change in history.since(position)] == revisions[-3:]
    assert len(history.since(history.position(revisions[-8]))) == 7


def test_compaction_spares_positions_at_the_end() -> None:
    """Who has read everything goes on."""
    store = Store(history_limit=8)
    store.put(LEASES, lease("a", x=1))
    history = store.history(LEASES)
    begin, end = 0, history.end
    store.compact()
    store.put(LEASES, lease("a", x=2))
    assert len(history.since(end)) == 1
    with pytest.raises(Compacted):
        history.since(begin)


def test_records_are_ordered_by_key() -> None:
    """As etcd orders them."""
    store = Store(history_limit=8)
    for name in ("b", "a", "c"):
        store.put(LEASES, lease(name))
    assert [key for key, _ in store.records(LEASES, Selector("n"))] == [("n", "a"), ("n", "b"), ("n", "c")]
    assert store.records(LEASES, Selector("other")) == []


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    """RFC 7386; the target itself stays."""
    before = repr(target)
    assert merged(target, patch) == result
    assert repr(target) == before


def test_strategic_merge_of_keyed_lists() -> None:
    """Conditions are merged by type."""
    target = {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}
    patch = {"conditions": [{"type": "B", "status": "False"}, {"type": "A", "$patch": "delete"}]}
    assert merged(target, patch, strategic=True) == {"conditions": [{"type": "B", "status": "False"}]}


def test_transition_time_moves_with_the_status_alone() -> None:
    """A reason that changes is no transition."""
    old = {"type": "Ready", "status": "False", "lastTransitionTime": "then"}
    pod = {"status": {"conditions": [old]}}
    same = with_conditions(pod, [{"type": "Ready", "status": "False", "reason": "other"}], "now")
    changed = with_conditions(pod, [{"type": "Ready", "status": "True"}], "now")
    assert [same[0]["lastTransitionTime"], changed[0]["lastTransitionTime"]] == ["then", "now"]


def test_times_as_kubernetes_writes_them() -> None:
    """Whole seconds for Time, microseconds for MicroTime."""
    assert timestamp(1.9) == "1970-01-01T00:00:01Z"
    assert micro_timestamp(1.5) == "1970-01-01T00:00:01.500000Z"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), ("100m", 0.1), ("8Mi", 8 * 2**20), ("1e3", 1000.0), (2, 2.0), ("1.5Gi", 1.5 * 2**30)],
)
def test_quantities(text: Any, value: float) -> None:
    """As far as pods and quotas use them."""
    assert parse(text) == pytest.approx(value)


def test_bad_quantity() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="quantities must match"):
        parse("1x")


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ({"key": "a", "operator": "In", "values": ["x"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["x"]}, False),  # codespell:ignore notin
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "operator": "DoesNotExist"}, False),
    ],
)
def test_label_selector_objects(expression: Any, wanted: bool) -> None:
    """Expressions with each operator."""
    tests = label_tests({"matchExpressions": [expression]})
    assert all(test({"a": "x"}) for test in tests) is wanted
