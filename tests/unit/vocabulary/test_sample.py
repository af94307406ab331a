"""Durations in the buckets of their step."""

from hypothesis import given
from hypothesis import strategies as some

from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.step import Step

STEP = Step("ask", Component.DNS, "asked → answered", (0.1, 1.0))


def test_a_duration_on_an_edge_is_in_its_bucket() -> None:
    """As Prometheus has it: an edge is the upper bound, inclusive."""
    assert (2, 1, 1) == Distribution.of(STEP, (0.05, 0.1, 1.0, 1.1), 0.0).counts


@given(some.lists(some.floats(0, 10), max_size=20))
def test_every_duration_is_counted_once(durations: list[float]) -> None:
    """And its sum is theirs."""
    found = Distribution.of(STEP, durations, 0.5)
    assert (len(durations), sum(durations)) == (found.count, found.seconds)
