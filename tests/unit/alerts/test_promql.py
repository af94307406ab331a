"""Rules and dashboards query only metrics and labels that exist, and the check finds any other."""

import pytest
from promql import ALERTS, Matcher, NotRead, asked, rules, wrong


def test_series_conditions_and_labels_are_found() -> None:
    """Names, matchers, the labels of every list, whatever stands around them."""
    found = asked(
        'sum by (cluster, step) (rate(a_b{c="d,}",e=~"f|g"}[5m:1m] offset 1d)) '
        '/ on (x) group_left (y) max without (z) ({__name__=~"p|q"} > bool 1e3) # comment\n or k:l:m'
    )
    expected = (("a_b", (Matcher("c", "=", "d,}"), Matcher("e", "=~", "f|g"))), ("p", ()), ("q", ()), ("k:l:m", ()))
    assert expected == found.selectors
    assert frozenset({"cluster", "step", "x", "y", "z"}) == found.labels


def test_labels_that_are_made_are_known() -> None:
    """By label_replace and label_join, with any expression."""
    text = 'sum by (q) (label_replace(f(x{a="b"}, 1), "q", "$1", "a", "(.*)")) + label_join(x, "r", ",", "a")'
    assert {"q", "r"} == asked(text).made


@pytest.mark.parametrize("text", ["a ? b", "sum by (a", "a{b=c}", "a{b"])
def test_what_is_not_promql_is_told(text: str) -> None:
    """Rather than passed over."""
    with pytest.raises((NotRead, ValueError)):
        asked(text)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("khealth_failure_total", "there is no khealth_failure_total"),
        ("routine:khealth_failures:ratio_increase5m", "there is no routine:khealth_failures:ratio_increase5m"),
        ('khealth_attempts_total{reason="slow"}', "khealth_attempts_total has no label reason"),
        ('khealth_failures_total{reason=~"one_node|two"}', "khealth_failures_total has no reason two"),
        ("sum by (zone) (khealth_attempts_total)", "nothing has a label zone"),
        ('khealth_step_duration_seconds_bucket{le="7.0"}', "khealth_step_duration_seconds_bucket has no le 7.0"),
    ],
)
def test_what_there_is_not_is_told(expression: str, complaint: str) -> None:
    """A series, a record, a label, a value of a closed list."""
    assert [complaint] == wrong(expression)


@pytest.mark.parametrize(
    "expression",
    [
        'khealth_failures_total{cluster=~"$cluster",module="mine",reason!~"one_node|pod_unschedulable"}[$__rate_interval]',
        'khealth_step_duration_seconds_bucket{le=~"5(\\\\.0)?|\\\\+Inf"}',
        'sum by (component) (ALERTS{alertstate="firing",component=~"${component:regex}"})',
        "sum by (instance) (component:khealth_failures:since_success) + up",
    ],
)
def test_what_there_is_is_taken(expression: str) -> None:
    """Targets' labels, Grafana's variables, Prometheus' own series, an edge as either Prometheus writes it."""
    assert [] == wrong(expression)


@pytest.mark.parametrize("path", sorted(ALERTS.glob("*.rules.yaml")), ids=lambda path: path.name)
def test_rules_ask_for_what_there_is(path: object) -> None:
    """Every series, label and value in every expression is khealth's, Prometheus', or a record of ours."""
    asking = {rule.get("record") or rule["alert"]: rule["expr"] for file, rule in rules() if file == path}
    assert asking
    assert {} == {name: wrong(expression) for name, expression in asking.items() if wrong(expression)}
