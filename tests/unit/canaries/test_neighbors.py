"""The neighbors of a node: the nodes that it measures."""

from collections import Counter
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from khealth_exporter.canaries.agents.neighbors import neighbors, one_per_node
from khealth_exporter.core.agents import Agent

NODES = st.lists(st.text("abcxyz019-", min_size=1, max_size=8), min_size=1, max_size=30, unique=True)
COUNT = st.integers(1, 6)


def named(number: int) -> list[str]:
    """Return the names of so many nodes."""
    return [f"node-{place}.example" for place in range(number)]


@given(NODES, COUNT)
def test_a_node_has_as_many_others_as_there_are_and_as_it_should(nodes: list[str], count: int) -> None:
    """Itself is none of them, and none is there twice."""
    for node, others in neighbors(nodes, count).items():
        assert min(count, len(nodes) - 1) == len(set(others) - {node}) == len(others)


@given(NODES, COUNT)
def test_every_node_is_somebodys_neighbor(nodes: list[str], count: int) -> None:
    """So that no node is measured by itself alone."""
    assume(len(nodes) > 1)
    assert set(nodes) == {other for others in neighbors(nodes, count).values() for other in others}


@given(NODES, COUNT, st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(nodes: list[str], count: int, chance: Random) -> None:
    """Nor does khealth's own restart: the names alone decide."""
    mixed = list(nodes)
    chance.shuffle(mixed)
    assert neighbors(nodes, count) == neighbors(mixed, count)


@given(NODES, COUNT)
def test_a_node_that_comes_takes_the_place_of_one_neighbor_at_most(nodes: list[str], count: int) -> None:
    """Read backwards, one that goes is replaced by one other, and only where it was a neighbor."""
    *before, new = nodes
    assume(len(before) > count)
    earlier, later = neighbors(before, count), neighbors(nodes, count)
    for node in before:
        added = set(later[node]) - set(earlier[node])
        assert added <= {new}
        assert added or set(later[node]) == set(earlier[node])


def test_a_node_that_comes_changes_about_as_many_nodes_as_it_should_have_neighbors() -> None:
    """Of hundreds: their histories stay comparable."""
    earlier, later = neighbors(named(300), 3), neighbors(named(301), 3)
    assert 3 == sum(earlier[node] != later[node] for node in earlier)


def test_every_node_is_the_neighbor_of_equally_many() -> None:
    """Within one or two, where circles agree: hashing both names would give some of them ten, and some none."""
    times = Counter(other for others in neighbors(named(1000), 3).values() for other in others)
    assert (1000, 3000) == (len(times), times.total())
    assert {2, 3, 4} >= set(times.values())


def test_no_part_of_the_nodes_measures_only_itself() -> None:
    """Else a network that is cut in two between those parts would look well."""
    found = neighbors(named(1000), 2)
    reached, after = set[str](), ["node-0.example"]
    while after:
        reached |= set(after)
        after = [other for node in after for other in found[node] if other not in reached]
    assert 1000 == len(reached)


def test_of_several_agents_on_a_node_the_first_stands_for_it() -> None:
    """A second one would measure the same ways again."""
    agents = [Agent(name, name, node, "", "10.0.0.1", 8079) for name, node in [("b", "n"), ("a", "n"), ("c", "m")]]
    assert {"n": "a", "m": "c"} == {node: agent.name for node, agent in one_per_node(agents).items()}
