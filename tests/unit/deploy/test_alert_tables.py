"""How many failures trip a burn rate: by the rules themselves."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from promql import ALERTS, ROOT

from deploy.alert_tables import INTERVALS, LEAST, Pair, alerts, burn_table, failures, page, pairs, seconds
from deploy.generate import CHART
from khealth_exporter.routines.rcscheduler import RcSchedulerSettings


def test_the_windows_are_the_rules() -> None:
    """Two that page, two that make a ticket."""
    expected = [
        Pair("KhealthErrorBudgetBurn", 14.4, "1h", "15m"),
        Pair("KhealthErrorBudgetBurn", 6.0, "6h", "30m"),
        Pair("KhealthErrorBudgetBurnSlow", 3.0, "1d", "2h"),
        Pair("KhealthErrorBudgetBurnSlow", 1.0, "3d", "6h"),
    ]
    assert expected == pairs(ALERTS)


@given(
    st.sampled_from(["15m", "1h", "6h", "3d"]), st.sampled_from(INTERVALS), st.sampled_from([0.01, 0.03, 0.06, 0.144])
)
def test_one_failure_less_does_not_trip_it(window: str, interval: str, ratio: float) -> None:
    """The figure is the least that lies above the ratio."""
    found = failures(window, interval, ratio)
    if found is None:
        assert seconds(window) // seconds(interval) < LEAST
    else:
        needed, attempts = found
        assert needed / attempts > ratio
        assert (needed - 1) / attempts <= ratio + 1e-9


@pytest.mark.parametrize("least", [5, 7])
def test_the_long_window_needs_some_failures(least: int) -> None:
    """However rare attempts are."""
    assert (least, 36) == failures("6h", "10m", 0.01, least)


def test_an_objective_of_three_nines_is_tripped_sooner() -> None:
    """The table follows the objective."""
    assert "| 5 of 60 and 1 of 15 |" in burn_table(ALERTS, 0.999)[2]


def test_a_page_keeps_what_stands_around_its_tables() -> None:
    """Only what is between the marks is written."""
    marks = "<!-- alerts: written by `make generate` -->{}<!-- end of alerts -->"
    text = f"a\n{marks.format('of yesterday')}\nb\n<!-- burn rates: written by `make generate` --><!-- end of burn rates -->\nc\n"
    made = page(text, ALERTS)
    assert "of yesterday" not in made
    assert ("a\n", "\nc\n") == (made[:2], made[-3:])
    assert made == page(made, ALERTS)


def test_from_fault_to_page_it_takes_less_than_three_minutes() -> None:
    """By the defaults of khealth, the chart, the rules and the example; the documentation has the same figures."""
    settings = RcSchedulerSettings()
    scrape = yaml.safe_load((CHART / "values.yaml").read_text())["metrics"]["serviceMonitor"]["interval"]
    evaluation = yaml.safe_load((ALERTS / "components.rules.yaml").read_text())["groups"][0]["interval"]
    (lasting,) = {r["for"] for r in alerts(ALERTS) if r["alert"] == "KhealthSchedulerBroken"}
    route = yaml.safe_load((ALERTS / "alertmanager.yaml").read_text())["route"]["routes"][0]
    figures = [settings.interval, settings.timeout, settings.interval]
    figures += [seconds(duration) for duration in (scrape, evaluation, lasting, route["group_wait"])]
    told = (ROOT / "docs" / "alerts.md").read_text().partition("## From fault to page")[2].partition("## Retuning")[0]
    assert [*map(int, figures), int(sum(figures))] == [int(row) for row in re.findall(r"\| (\d+) \|", told)]
    assert sum(figures) <= 180
