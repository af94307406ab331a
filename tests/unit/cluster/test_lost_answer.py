"""Whether an object holds what was written."""

from typing import Any

import pytest

from khealth_exporter.cluster.lost_answer import holds

STORED = {"metadata": {"name": "a", "uid": "u"}, "data": {"value": "2"}, "items": [{"a": 1, "defaulted": 2}]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"data": {"value": "2"}}, True),
        ({"data": {"value": "1"}}, False),
        ({"data": {"value": "2", "other": "3"}}, False),
        ({"data": {"value": "2", "other": None}}, True),
        ({"data": {"value": None}}, False),
        ({"labels": {"a": None}}, True),
        ({"labels": {"a": "1"}}, False),
        ({"data": "value"}, False),
        ({"metadata": {"name": {"a": "b"}}}, False),
        ({"items": [{"a": 1}]}, True),
        ({"items": [{"a": 1}, {"a": 1}]}, False),
        ({"items": []}, False),
        ({}, True),
    ],
)
def test_an_object_holds_what_was_written_and_may_have_more(written: dict[str, Any], expected: bool) -> None:
    """The API server adds fields of its own; null stands for no field."""
    assert expected is holds(STORED, written)
