"""Required node affinity: which nodes a pod names, which match, and which rules it breaks."""

from typing import Any

import pytest

from khealth_exporter.simulator.node_affinity import candidates, causes, matches

NODE = {"metadata": {"name": "node-1", "labels": {"zone": "a", "cores": "8", "size": "big"}}}


def pod(*terms: Any, **spec: Any) -> dict[str, Any]:
    """Return a pod with these node selector terms."""
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"spec": {"affinity": {"nodeAffinity": required}, **spec}}


def label(key: str, operator: str, *values: str) -> dict[str, Any]:
    """Return a term with one expression about a label."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def named(*nodes: str, operator: str = "In") -> dict[str, Any]:
    """Return a term with one requirement for each name."""
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": [node]} for node in nodes]}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"spec": {}}, None),
        (pod(named("a")), {"a"}),
        (pod(named("a"), named("b")), {"a", "b"}),
        (pod(named("a", "b")), set()),
        (pod(named("a"), label("zone", "Exists")), None),
        (pod(named("a", operator="NotIn")), None),  # codespell:ignore notin
        (pod(named("a") | label("zone", "Exists")), {"a"}),
    ],
)
def test_pod_names_nodes_only_if_every_term_does(found: Any, expected: Any) -> None:
    """One term that leaves the choice open is enough for all nodes."""
    assert expected == candidates(found)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (named("node-1"), True),
        (named("node-2"), False),
        (named("node-2", operator="NotIn"), True),  # codespell:ignore notin
        (named("node-1") | label("zone", "In", "b"), False),
        (label("zone", "In", "a", "b"), True),
        (label("none", "In", "a"), False),
        (label("zone", "NotIn", "a"), False),  # codespell:ignore notin
        (label("none", "NotIn", "a"), True),  # codespell:ignore notin
        (label("zone", "Exists"), True),
        (label("none", "DoesNotExist"), True),
        (label("zone", "DoesNotExist"), False),
        (label("cores", "Gt", "7"), True),
        (label("cores", "Lt", "8"), False),
        (label("none", "Lt", "8"), False),
        (label("size", "Gt", "1"), False),
        ({}, False),
    ],
)
def test_operators(term: Any, expected: bool) -> None:
    """Each as the API documents it; an empty term matches nothing."""
    assert expected is matches(pod(term), NODE)


def test_one_term_is_enough_but_the_node_selector_always_counts() -> None:
    """Terms are alternatives; the node selector is a further condition."""
    assert matches(pod(named("node-2"), label("zone", "Exists")), NODE)
    assert not matches(pod(named("node-1"), nodeSelector={"zone": "b"}), NODE)


@pytest.mark.parametrize(
    ("term", "field", "message"),
    [
        (
            label("zone", "In"),
            "matchExpressions[0].values",
            "Required value: must be specified when `operator` is 'In' or 'NotIn'",  # codespell:ignore notin
        ),
        (
            label("zone", "Exists", "a"),
            "matchExpressions[0].values",
            "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            label("zone", "Gt", "1", "2"),
            "matchExpressions[0].values",
            "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            label("zone", "Foo", "a"),
            "matchExpressions[0].operator",
            'Invalid value: "Foo": not a valid selector operator',
        ),
        (
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]},
            "matchFields[0].values",
            (
                "Required value: must be only one value when `operator` is 'In' or 'NotIn' "  # codespell:ignore notin
                "for node field selector"
            ),
        ),
        (
            named("a", operator="Exists"),
            "matchFields[0].operator",
            'Invalid value: "Exists": not a valid selector operator',
        ),
    ],
)
def test_rules(term: Any, field: str, message: str) -> None:
    """In the words of the real API server."""
    (cause,) = causes(pod(term)["spec"], "spec")
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    assert (f"{path}[0].{field}", message) == (cause.field, cause.message)


def test_affinity_needs_a_term() -> None:
    """An empty list is refused."""
    (cause,) = causes(pod()["spec"], "spec")
    assert "Required value: must have at least one node selector term" == cause.message
