"""What makes the shipped rules as fast as a test divides every duration, and touches nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faster import faster, faster_expression, shorter

ALERTS = Path(__file__).parents[3] / "alerts"
FACTOR = 6
TIMES = re.compile(r"\[[^\]]*\]|\boffset\s+\S+|khealth_interval_seconds(?:\s*[<>]=?\s*[\d.]+)+")
"""What of an expression may become another."""
COUNTS = {
    "280": "of a day's 288 marks, five minutes apart: as many, however long a day is",
    "100": "scrapes in half an hour, that are close enough together",
    "86400": "the days of the error budget's thirty, which are not looked back upon",
    "300": "seconds for which a target may be there under two labels: an allowance, which may be too long",
    "3600": "seconds after which a target may be there again under another label: an allowance, too",
}
"""Large numbers that are no seconds, and why."""


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=1, max_value=100))
def test_a_duration_is_divided_to_the_millisecond(milliseconds: int, factor: int) -> None:
    """What is as many times longer comes out as it was."""
    assert f"{milliseconds}ms" == shorter(f"{milliseconds * factor}ms", factor)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("1m", "10000ms"), ("1h30m", "900000ms"), ("5s", "833ms"), ("10s", "1666ms"), ("30d", "432000000ms")],
)
def test_every_unit_of_a_duration_counts(duration: str, expected: str) -> None:
    """As Prometheus writes them, the greatest first."""
    assert expected == shorter(duration, FACTOR)


@pytest.mark.parametrize("wrong", ["", "5", "5 m", "m", "five minutes"])
def test_what_is_no_duration_is_refused(wrong: str) -> None:
    """Rather than left as it is, and too long for the test."""
    with pytest.raises(ValueError, match="no duration"):
        shorter(wrong, FACTOR)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("increase(a_total[5m]) > 0", "increase(a_total[50000ms]) > 0"),
        ("max_over_time(a[30d:1h])", "max_over_time(a[432000000ms:600000ms])"),
        ("max_over_time(a[1h:])", "max_over_time(a[600000ms:])"),
        ("a offset 1m - a offset -6s", "a offset 10000ms - a offset -1000ms"),
        ("on () khealth_interval_seconds > 120 <= 600", "on () khealth_interval_seconds > 20 <= 100"),
        ("time() - a > 5 * khealth_interval_seconds", "time() - a > 5 * khealth_interval_seconds"),
        ('a:b:ratio_1h{le=~"5(\\\\.0)?"} > 14.4 * 0.01', 'a:b:ratio_1h{le=~"5(\\\\.0)?"} > 14.4 * 0.01'),
    ],
)
def test_only_what_is_time_is_divided_in_an_expression(expression: str, expected: str) -> None:
    """Windows, offsets and the classes of intervals; no count, no share, no edge of a bucket, no name."""
    assert expected == faster_expression(expression, FACTOR)


def test_whatever_holds_a_duration_is_divided_in_a_configuration() -> None:
    """At any depth, in a rule file and in Alertmanager's; what only looks like one stays."""
    settings = {
        "groups": [
            {"name": "1h", "interval": "1m", "rules": [{"expr": "a[1m]", "for": "6s", "labels": {"for": "ever"}}]}
        ]
    }
    expected = {
        "groups": [
            {
                "name": "1h",
                "interval": "10000ms",
                "rules": [{"expr": "a[10000ms]", "for": "1000ms", "labels": {"for": "ever"}}],
            }
        ]
    }
    assert expected == faster(settings, FACTOR)


def shipped() -> list[Any]:
    """Return each shipped rule, with its name."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(ALERTS.glob("*.rules.yaml"))]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return [pytest.param(rule, id=rule.get("record") or rule["alert"]) for rule in rules]


@pytest.mark.parametrize("rule", shipped())
def test_a_shipped_expression_differs_in_its_times_alone(rule: dict[str, Any]) -> None:
    """Beside windows, offsets and classes of intervals it is what is shipped; and no other number in it can be a time."""
    made = faster(rule, FACTOR)["expr"]
    rest = TIMES.sub("", rule["expr"])
    large = [
        number for number in re.findall(r"(?<![\w.:])\d+(?![\w.:])", rest) if int(number) >= 60 and number not in COUNTS
    ]
    assert (rest, []) == (TIMES.sub("", made), large)


@pytest.mark.parametrize("rule", shipped())
def test_every_time_of_a_shipped_expression_is_divided(rule: dict[str, Any]) -> None:
    """Each of them, one by one."""
    made = faster(rule, FACTOR)["expr"]
    assert not set(TIMES.findall(rule["expr"])) & set(TIMES.findall(made))
