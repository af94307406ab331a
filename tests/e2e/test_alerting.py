"""From a fault of the real cluster to exactly one page, from its end to the page's resolution, and ten minutes of silence."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alerting import FACTOR, PAGING, Way, rule_files, rules, way
from bodies.target import Target, wait_for
from expressions import known, unknown
from faster import faster_expression

RULES = [pytest.param(path, id=path.stem) for path in rule_files()]
EMPTY = {
    "target_reason:khealth_failures:since_success": "nothing has failed",
    "routine_reason:khealth_failures:since_success": "nothing has failed",
    "component:khealth_failures:since_success": "nothing is broken",
}
"""What is recorded only in an outage, and why it is empty in health; every alert is besides, but for the Watchdog."""
HEALTH = 600.0
"""Seconds of health that must bring nothing."""


@pytest.fixture(scope="module")
def watched(lasting_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Way, float]]:
    """The whole way, well and at work; and since when."""
    with way(lasting_target, tmp_path_factory.mktemp("way")) as running:
        yield running, time.time()


@pytest.mark.timeout(HEALTH + PAGING)
def test_ten_minutes_of_health_bring_no_page_and_no_ticket(watched: tuple[Way, float]) -> None:
    """Nobody is told anything; the tests before this one have run within these minutes."""
    running, since = watched
    wait_for("ten minutes", lambda: time.time() >= since + HEALTH, HEALTH)
    told = [said.outline for said in (*running.pages(), *running.tickets())]
    assert ([], 0.0) == (told, running.failures())


def test_every_rule_is_evaluated_without_an_error(watched: tuple[Way, float]) -> None:
    """Prometheus has loaded all of them, and complains of none."""
    running, _ = watched
    expected = {rule.get("record") or rule["alert"]: ("ok", "") for path in rule_files() for rule in rules(path)}
    loaded = [rule for group in running.tell("rules")["groups"] for rule in group["rules"]]
    assert expected == {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in loaded}


@pytest.mark.parametrize("path", RULES)
def test_every_expression_of_the_rules_has_an_answer(watched: tuple[Way, float], path: Path) -> None:
    """None is empty but those of alerts, in health, and those that are told above."""
    running, _ = watched
    named = [(rule.get("record") or rule["alert"], rule) for rule in rules(path)]
    empty = {name for name, rule in named if name in EMPTY or ("alert" in rule and name != "KhealthWatchdog")}
    found = {name for name, rule in named if not running.ask(faster_expression(rule["expr"], FACTOR))}
    assert empty == found


@pytest.mark.parametrize("path", RULES)
def test_every_expression_of_the_rules_is_taken_as_it_is_shipped(watched: tuple[Way, float], path: Path) -> None:
    """At its own speed too, it is no error."""
    running, _ = watched
    refused = [rule["expr"] for rule in rules(path) if running.refuses(rule["expr"])]
    assert [] == refused


@pytest.mark.parametrize("path", RULES)
def test_every_metric_and_label_in_the_rules_exists(
    watched: tuple[Way, float], path: Path, golden_folder: Path
) -> None:
    """In the golden file of what khealth exposes, or recorded by another rule."""
    running, _ = watched
    recorded = {rule["record"] for file in rule_files() for rule in rules(file) if "record" in rule}
    there = known(golden_folder / "metrics.txt", recorded)
    trees = {rule["expr"]: running.tell("parse_query", query=rule["expr"]) for rule in rules(path)}
    wrong = {expression: missed for expression, tree in trees.items() if (missed := list(unknown(tree, there)))}
    assert {} == wrong


@pytest.mark.timeout(4 * PAGING)
@pytest.mark.parametrize(
    ("fault", "alert", "component"),
    [
        ("scheduler-stalled", "KhealthSchedulerBroken", "scheduler"),
        ("controller-stalled", "KhealthControllerManagerBroken", "controller_manager"),
        ("kubelet-stalled", "KhealthNodesBroken", "node"),
        ("api-paused", "KhealthApiServerBroken", "api_server"),
    ],
)
def test_a_fault_is_one_page_that_names_it_and_its_end_resolves_it(
    watched: tuple[Way, float], record_property: Callable[[str, object], None], fault: str, alert: str, component: str
) -> None:
    """One notification of one alert, until a second one says that it is over; nothing else from the fault to that."""
    running, _ = watched
    running.wait_until_well()
    began = time.time()
    with running.target.broken(fault):
        (page,) = wait_for("a page", lambda: running.pages(began), PAGING)
        known = running.failures()
        wait_for("one more failure", lambda: running.failures() > known, PAGING)
    mended = time.time()
    wait_for("a resolution", lambda: running.pages(began)[-1].status == "resolved", PAGING)
    running.wait_until_well()
    record_property("from fault to page", f"{page.at - began:.1f} s")
    record_property("from mending to resolution", f"{running.pages(began)[-1].at - mended:.1f} s")
    told = [said.outline for said in running.pages(began)]
    assert [("firing", [(alert, component)]), ("resolved", [(alert, component)])] == told
