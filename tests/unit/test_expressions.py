"""What the check of expressions finds: whatever they refer to that khealth does not expose."""

from pathlib import Path
from typing import Any

import pytest
from expressions import known, unknown


def selector(name: str, **labels: str) -> dict[str, Any]:
    """Return a selector as Prometheus parses it."""
    matchers = [{"name": label, "type": "=", "value": value} for label, value in labels.items()]
    return {
        "type": "vectorSelector",
        "name": name,
        "matchers": [*matchers, {"name": "__name__", "type": "=", "value": name}],
    }


@pytest.mark.parametrize(
    ("tree", "wrong"),
    [
        (selector("khealth_failures_total", reason="pod_lost", cluster="a"), []),
        (selector("khealth_failures_total", reason="pod_lots"), ["reason=pod_lots of khealth_failures_total"]),
        (selector("khealth_failures_total", step="create"), ["label step of khealth_failures_total"]),
        (selector("khealth_step_duration_seconds"), ["metric khealth_step_duration_seconds"]),
        (selector("khealth_step_duration_seconds_bucket", le="5"), []),
        (selector("khealth_failure_total"), ["metric khealth_failure_total"]),
        (selector("routine:a:sum", component="node"), []),
        (selector("routine:b:sum"), ["metric routine:b:sum"]),
        ({"type": "aggregation", "grouping": ["modul"], "expr": selector("up")}, ["label modul"]),
        (
            {
                "type": "binaryExpr",
                "lhs": selector("up"),
                "rhs": selector("down"),
                "matching": {"labels": ["routin"], "include": ["reason"]},
            },
            ["label routin", "metric down"],
        ),
    ],
)
def test_what_does_not_exist_is_named(golden_folder: Path, tree: Any, wrong: list[str]) -> None:
    """Metrics, labels of a metric, values of labels that have a closed list of them, and labels to group and to join by."""
    there = known(golden_folder / "metrics.txt", {"routine:a:sum"})
    assert wrong == sorted(unknown(tree, there))
