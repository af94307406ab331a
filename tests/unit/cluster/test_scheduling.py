"""What the scheduler matches of pods and nodes; each row is a rule of its sources."""

import pytest

from khealth_exporter.cluster.scheduling import NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration

DEDICATED = Taint("dedicated", "gpu", "NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "taint", "tolerates"),
    [
        (Toleration("dedicated", "Equal", "gpu", "NoSchedule"), DEDICATED, True),
        (Toleration("dedicated", "", "gpu"), DEDICATED, True),
        (Toleration("dedicated", "Equal", "cpu"), DEDICATED, False),
        (Toleration("dedicated"), DEDICATED, False),
        (Toleration("dedicated"), Taint("dedicated", effect="NoSchedule"), True),
        (Toleration("dedicated", "Exists"), DEDICATED, True),
        (Toleration("other", "Exists"), DEDICATED, False),
        (Toleration("dedicated", "Exists", effect="NoExecute"), DEDICATED, False),
        (Toleration("dedicated", "Exists", effect="NoSchedule"), DEDICATED, True),
        (Toleration(operator="Exists"), DEDICATED, True),
        (Toleration(operator="Exists", effect="NoExecute"), DEDICATED, False),
        (Toleration(operator="Exists", effect="NoExecute"), Taint("a", effect="NoExecute"), True),
        (Toleration("sla", "Lt", "950"), Taint("sla", "949", "NoSchedule"), True),
        (Toleration("sla", "Lt", "950"), Taint("sla", "950", "NoSchedule"), False),
        (Toleration("sla", "Gt", "950"), Taint("sla", "951", "NoSchedule"), True),
        (Toleration("sla", "Gt", "-5"), Taint("sla", "-4", "NoSchedule"), True),
        (Toleration("sla", "Gt", "950"), Taint("sla", "0951", "NoSchedule"), False),
        (Toleration("sla", "Gt", "950"), Taint("sla", "high", "NoSchedule"), False),
        (Toleration("sla", "Lt", "950"), Taint("sla", "-9" + "9" * 18, "NoSchedule"), False),
        (Toleration("sla", "Lt", "950"), Taint("sla", "1" * 5000, "NoSchedule"), False),
        (Toleration("dedicated", "Like", "gpu"), DEDICATED, False),
    ],
)  # fmt: skip
def test_which_taints_are_tolerated(toleration: Toleration, taint: Taint, tolerates: bool) -> None:
    """Key, operator, value, and effect all have to match; what is empty matches everything."""
    assert tolerates is toleration.covers(taint)


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [
        ("In", ("a", "b"), (True, False, False)),
        ("NotIn", ("a", "b"), (False, True, True)),  # codespell:ignore notin
        ("Exists", (), (True, True, False)),
        ("DoesNotExist", (), (False, False, True)),
        ("Gt", ("4",), (False, True, False)),
        ("Lt", ("6",), (False, True, False)),
        ("Gt", ("5",), (False, False, False)),
        ("Gt", (), (False, False, False)),
        ("Like", ("a",), (False, False, False)),
    ],
)
def test_which_labels_are_as_asked_for(operator: str, values: tuple[str, ...], holds: tuple[bool, ...]) -> None:
    """For a label that is `a`, one that is `5`, and one that is missing."""
    asked = NodeSelectorRequirement("zone", operator, values)
    assert holds == tuple(asked.holds(labels) for labels in ({"zone": "a"}, {"zone": "5"}, {}))


@pytest.mark.parametrize(
    ("expressions", "fields", "holds"),
    [
        ((), (), False),
        ((("zone", "In", ("a",)),), (), True),
        ((("zone", "In", ("a",)), ("disk", "Exists", ())), (), False),
        ((), (("metadata.name", "In", ("node-1",)),), True),
        ((), (("metadata.name", "NotIn", ("node-1",)),), False),  # codespell:ignore notin
        ((("zone", "In", ("a",)),), (("metadata.name", "In", ("node-2",)),), False),
        ((), (("metadata.uid", "In", ("node-1",)),), False),
    ],
)
def test_which_nodes_a_term_allows(
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...],
    fields: tuple[tuple[str, str, tuple[str, ...]], ...],
    holds: bool,
) -> None:
    """All of its requirements have to hold, and there has to be one."""
    term = NodeSelectorTerm(
        tuple(NodeSelectorRequirement(*asked) for asked in expressions),
        tuple(NodeSelectorRequirement(*asked) for asked in fields),
    )
    assert holds is term.holds("node-1", {"zone": "a"})
