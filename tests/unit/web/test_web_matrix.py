"""The round trips between nodes on the status page: a matrix of few nodes, the worst pairs of many."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from page_elements import Element, shown
from serving import WELL
from states import ABOUT

from khealth_exporter.canaries.agents.neighbors import neighbors
from khealth_exporter.core.snapshot import RoutineStatus, Snapshot
from khealth_exporter.routines.latency import Latency
from khealth_exporter.vocabulary.matrix import Matrix, Pair
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.web.page import status_page

LOST = "\N{MULTIPLICATION SIGN}"
LARGEST_PAGE = 150_000
"""Bytes that a matrix may add to a page."""


def status(pairs: Iterable[Pair]) -> RoutineStatus:
    """Return the routine with these pairs."""
    return replace(RoutineStatus("network", "latency", 60.0, Latency.steps), matrix=Matrix.of(pairs))


def measured(count: int, each: int = 3) -> list[Pair]:
    """Return the pairs of so many nodes; the first node is the slowest."""
    nodes = [f"node-{number:03}" for number in range(count)]
    return [
        Pair(source, target, 0.09 if source == nodes[0] else 0.00031, 0.00002, 0.0)
        for source, targets in neighbors(nodes, each).items()
        for target in targets
    ]


def matrix_of(page: Element) -> list[list[str]]:
    """Return the texts of the matrix, by row; nothing if there is none."""
    found = page.all("table", class_="matrix")
    return (
        [[cell.text for cell in row.all() if cell.name in {"th", "td"}] for row in found[0].all("tr")] if found else []
    )


def size_of(status: RoutineStatus) -> int:
    """Return the bytes of a page."""
    return len(status_page((Snapshot("network", (status,)),), (), ABOUT))


PAIRS = (
    Pair("a", "b", 0.00031, 0.00002, 0.0),
    Pair("b", "a", None, 0.0, 1.0, failing=True),
    Pair("c", "a", 0.0123, 0.001, 0.2),
    Pair("a", "c", 0.0042, 0.0001, 0.0),
)


def test_the_matrix_has_a_row_and_a_column_for_each_node() -> None:
    """Milliseconds from the row to the column; nothing where it was not measured."""
    expected = [
        ["from, to", "1", "2", "3"],
        ["1 a", "·", ".31", "4.2"],
        ["2 b", LOST, "·", ""],
        ["3 c", "12!", "", "·"],
    ]
    assert expected == matrix_of(shown(status(PAIRS)))


def test_a_cell_says_what_its_few_characters_leave_out() -> None:
    """And a column which node it is."""
    page = shown(status(PAIRS))
    titles = [cell.attributes.get("title") for cell in page.all("table", class_="matrix")[0].all() if cell.name != "b"]
    assert "c → a: 12.3 ms, jitter 1.00 ms, 20.0% lost" in titles
    assert "b → a: no answer, jitter 0.00 ms, 100.0% lost, failing" in titles
    assert {"a", "b", "c"} <= set(titles)


def test_what_is_failing_differs_in_more_than_its_color() -> None:
    """The table has a word for it."""
    page = shown(status(PAIRS))
    (cell,) = page.all("td", class_="failing")
    assert LOST == cell.text
    rows = page.all("details", id="network.latency.pairs")[0].all("tr")
    assert ["b", "a", "no answer", "", "100.0%", "failing"] == [c.text for c in rows[1].all() if c.name in {"th", "td"}]
    assert "healthy" == rows[2].all("td")[-1].text


@pytest.mark.parametrize("count", [2, 50])
def test_a_matrix_of_fifty_nodes_is_shown(count: int) -> None:
    """And the table of its pairs is folded."""
    page = shown(status(measured(count)))
    assert count + 1 == len(matrix_of(page))
    (table,) = page.all("details", id="network.latency.pairs")
    assert "open" not in table.attributes


@pytest.mark.parametrize("count", [51, 500, 5000])
def test_of_more_nodes_the_worst_pairs_are_shown(count: int) -> None:
    """In a table that is open; a matrix would not be readable."""
    page = shown(status(measured(count)))
    (table,) = page.all("details", id="network.latency.pairs")
    assert f"The worst 50 of {3 * count:,} pairs as a table" == table.all("summary")[0].text
    assert ([], 51) == (matrix_of(page), len(table.all("tr")))
    assert "open" in table.attributes
    assert {"node-000"} == {row.all("th")[0].text for row in table.all("tr")[1:4]}


@pytest.mark.parametrize(("count", "each"), [(50, 3), (50, 20), (5000, 3)])
def test_a_matrix_is_no_burden_to_the_page(count: int, each: int) -> None:
    """Whatever the number of nodes and of neighbors."""
    with_it, without = status(measured(count, each)), replace(status(()), matrix=None)
    assert size_of(with_it) - size_of(without) < LARGEST_PAGE


def test_no_pair_makes_no_matrix() -> None:
    """As with one node."""
    assert [] == matrix_of(shown(status(())))


def test_steps_that_were_measured_many_times_are_no_bar() -> None:
    """They do not follow each other, so their sum is nothing; a mean below a millisecond has digits."""
    step = Latency.steps[0]
    found = Distribution(step, (100, *(0,) * len(step.edges)), 0.031, 0.00002)
    attempt = replace(WELL, measurements=(), samples=(), distributions=(found,), steps=())
    page = shown(replace(status(PAIRS), attempts=(attempt,)))
    (entry,) = [item.text for item in page.all("li") if "mean of" in item.text]
    assert "pod_pod 0.31 ± 0.02 ms, mean of 100" == entry
    assert [] == page.all("svg", class_="bar")
