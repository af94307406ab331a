"""What is to blame for a silent agent: every row, and that none hides another."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from khealth_exporter.canaries.agents.blame import (
    AS_API,
    AS_POD,
    ROWS,
    WAIT,
    Facts,
    NodeState,
    Outcome,
    PodState,
    Reached,
    decide,
    table,
)
from khealth_exporter.core.agents import AGENT_REASONS
from khealth_exporter.vocabulary.reason import COMMON_REASONS, Reason

PAGE = Path(__file__).parents[3] / "docs" / "blame.md"

UNREACHED = Facts(
    api=True,
    awake=True,
    outcome=Outcome.NONE,
    pod=PodState.READY,
    node=NodeState.READY,
    neighbours=Reached.NO,
    other=Reached.NO,
    alone=False,
    probed=True,
)
"""Several agents are Ready, and neither the others nor khealth reach them."""


def everything() -> Iterator[Facts]:
    """Yield all that can be known of an agent."""
    truth = (True, False)
    yield from itertools.starmap(
        Facts, itertools.product(truth, truth, Outcome, PodState, NodeState, Reached, Reached, truth, truth)
    )


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"awake": False}, Reason.PROBER_STARVED),
        ({"outcome": Outcome.REFUSED}, Reason.AGENT_REFUSED),
        ({"outcome": Outcome.REFUSED, "api": False}, Reason.AGENT_REFUSED),
        ({"outcome": Outcome.BUSY}, Reason.PROBER_STARVED),
        ({"api": False}, AS_API),
        ({"pod": PodState.GOING}, Reason.DISRUPTED),
        ({"pod": PodState.GOING, "node": NodeState.NOT_READY}, Reason.DISRUPTED),
        ({"node": NodeState.OUT}, Reason.DISRUPTED),
        ({"node": NodeState.OUT, "pod": PodState.FROZEN}, Reason.DISRUPTED),
        ({"pod": PodState.FROZEN, "node": NodeState.NOT_READY, "alone": True}, Reason.ONE_NODE),
        ({"pod": PodState.UNREADY, "node": NodeState.NOT_READY, "alone": True}, Reason.ONE_NODE),
        ({"pod": PodState.FROZEN, "node": NodeState.NOT_READY}, Reason.KUBELET_SILENT),
        ({"pod": PodState.FROZEN}, Reason.CANARY_FAILED),
        ({"pod": PodState.FROZEN, "node": NodeState.UNKNOWN}, Reason.CANARY_FAILED),
        ({"pod": PodState.UNREADY}, AS_POD),
        ({"neighbours": Reached.YES}, Reason.AGENT_UNREACHABLE),
        ({"neighbours": Reached.YES, "other": Reached.YES}, Reason.AGENT_UNREACHABLE),
        ({"neighbours": Reached.UNKNOWN, "other": Reached.YES}, Reason.AGENT_UNREACHABLE),
        ({"probed": False}, WAIT),
        ({"probed": False, "alone": True}, WAIT),
        ({"alone": True}, Reason.ONE_NODE),
        ({"alone": True, "other": Reached.YES, "probed": False}, Reason.ONE_NODE),
        ({}, Reason.NETWORK_UNREACHABLE),
        ({"other": Reached.YES}, Reason.NETWORK_UNREACHABLE),
        ({"node": NodeState.UNKNOWN}, Reason.NETWORK_UNREACHABLE),
        ({"neighbours": Reached.UNKNOWN}, Reason.NETWORK_UNREACHABLE),
        ({"neighbours": Reached.UNKNOWN, "other": Reached.UNKNOWN}, Reason.AGENT_UNREACHABLE),
    ],
)
def test_facts_decide_what_to_blame(known: dict[str, Any], expected: Reason | str) -> None:
    """Each case differs from an agent that nobody reaches only in what it names."""
    assert expected == decide(replace(UNREACHED, **known)).reason


def test_every_row_of_the_table_counts_for_some_facts() -> None:
    """A row that those above it hide would be a rule that is written and does not hold."""
    counting = {ROWS.index(decide(facts)) for facts in everything()}

    assert set(range(len(ROWS))) == counting


def test_some_row_fits_whatever_is_known() -> None:
    """No facts leave the question open."""
    assert all(decide(facts).note for facts in everything())


def test_nothing_waits_once_the_kubelet_has_probed() -> None:
    """An inquiry ends."""
    assert not [facts for facts in everything() if facts.probed and decide(facts).reason == WAIT]


def test_every_reason_of_the_table_is_one_that_routines_with_agents_can_give() -> None:
    """The runner takes a reason that is not declared for a bug."""
    given = {row.reason for row in ROWS if isinstance(row.reason, Reason)}

    assert given <= {*AGENT_REASONS, *COMMON_REASONS}


def test_the_page_has_the_table_of_the_code() -> None:
    """docs/blame.md says what khealth does."""
    assert "\n".join(table()) in PAGE.read_text()
