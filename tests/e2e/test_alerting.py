"""From a fault of the real cluster to exactly one page, from its end to the page's resolution, and silence in health."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dashboard_queries
import promql
import pytest
from alerting import FACTOR, HEARTBEAT, INTERVAL, PAGING, Way, rule_files, rules, way
from bodies.target import Target, wait_for
from webhook import Notification

from benchmarks.faster import faster_expression

RULES = [pytest.param(path, id=path.stem) for path in rule_files()]
DASHBOARDS = [pytest.param(path, id=path.stem) for path in dashboard_queries.dashboards()]
FAULTS = {
    "scheduler-stalled": ("KhealthSchedulerBroken", "scheduler", "The scheduler "),
    "controller-stalled": ("KhealthControllerManagerBroken", "controller_manager", "The controller manager "),
    "kubelet-stalled": ("KhealthNodesBroken", "node", "The nodes "),
    "api-paused": ("KhealthApiServerBroken", "api_server", "The API server "),
}
"""What is paused; the alert and the component that it has to bring, and the words in which its summary begins."""
EMPTY = {
    "target_reason:khealth_failures:since_success": "nothing has failed",
    "routine_reason:khealth_failures:since_success": "nothing has failed",
    "routine_reason:khealth_failures:lasting": "nothing has failed",
    "routine_severity:khealth_check_failures:lasting": "no check has failed",
    "component:khealth_failures:since_success": "nothing is broken",
    "component:khealth_failures:refused": "nothing is refused",
}
"""What is recorded only in an outage, and why it is empty in health; every alert is besides, but for the Watchdog."""
HEALTH = float(os.environ.get("KHEALTH_HEALTH_SECONDS", "180"))
"""Seconds of health that must bring nothing: 180 in the gate, 600 by hand."""
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def watched(lasting_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Way, float]]:
    """The whole way, well and at work; and since when."""
    with way(lasting_target, tmp_path_factory.mktemp("way")) as running:
        yield running, time.time()


@pytest.mark.timeout(HEALTH + PAGING)
def test_health_brings_no_page_and_no_ticket(watched: tuple[Way, float]) -> None:
    """Nobody is told anything, although khealth has made its attempts all the time."""
    running, since = watched
    known = running.attempts()
    wait_for("the end of the time", lambda: time.time() >= since + HEALTH, HEALTH)
    told = [said.outline for said in (*running.pages(), *running.tickets())]
    assert ([], True) == (told, running.attempts() - known > HEALTH / INTERVAL / 2)


def test_the_heartbeat_goes_on(watched: tuple[Way, float]) -> None:
    """The Watchdog was told some time ago, and is told still: somebody may listen for the whole way's own end."""
    running, _ = watched

    def beating() -> bool:
        beats = [beat.at for beat in running.hook.came(HEARTBEAT)]
        return bool(beats) and time.time() - beats[-1] < 3 * INTERVAL < beats[-1] - beats[0]

    wait_for("heartbeats", beating, PAGING)


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
    asked = {rule.get("record") or rule["alert"]: rule for rule in rules(path)}
    empty = {name for name, rule in asked.items() if name in EMPTY or ("alert" in rule and name != "KhealthWatchdog")}
    queries = {name: faster_expression(rule["expr"], FACTOR) for name, rule in asked.items()}
    assert empty == running.unanswered(queries, empty)


@pytest.mark.parametrize("path", DASHBOARDS)
def test_every_expression_of_the_dashboards_has_an_answer(watched: tuple[Way, float], path: Path) -> None:
    """None is empty but those of what there is only on occasion."""
    running, _ = watched
    queries = {
        f"{asked.panel} {asked.ref}: {asked.substituted}": asked.substituted
        for asked in dashboard_queries.expressions(path)
        if not asked.may_be_empty
    }
    assert set() == running.unanswered(queries)


@pytest.mark.parametrize("path", RULES)
def test_every_expression_of_the_rules_is_taken_as_it_is_shipped(watched: tuple[Way, float], path: Path) -> None:
    """At its own speed too, it is no error."""
    running, _ = watched
    refused = [rule["expr"] for rule in rules(path) if running.refuses(rule["expr"])]
    assert [] == refused


@pytest.mark.parametrize("path", [*RULES, *DASHBOARDS])
def test_every_metric_and_label_that_is_asked_for_exists(watched: tuple[Way, float], path: Path) -> None:
    """In the golden file, or recorded by a rule; Prometheus itself reads no other names out of it than that check does."""
    running, _ = watched
    wrong = {asked: found for asked in expressions(path) if (found := promql.wrong(asked))}
    misread = {asked for asked in expressions(path) if promql.asked(asked).names != running.names(asked)}
    assert ({}, set()) == (wrong, misread)


def expressions(path: Path) -> list[str]:
    """Return what a file of rules, or a dashboard, asks."""
    if path.suffix == ".json":
        return [asked.substituted for asked in dashboard_queries.expressions(path)]
    return [rule["expr"] for rule in rules(path)]


@dataclass(frozen=True)
class Outage:
    """What came of a fault: when it began and when it was mended (Unix seconds), and who was woken until all was well."""

    fault: str
    began: float
    mended: float
    pages: list[Notification]


@pytest.fixture(scope="module", params=FAULTS)
def outage(request: pytest.FixtureRequest, watched: tuple[Way, float]) -> Outage:
    """One fault, from a cluster that is well to one that is well again; it lasts for one failure more than makes a page."""
    running, _ = watched
    running.wait_until_well()
    began = time.time()
    with running.target.broken(request.param):
        wait_for("a page", lambda: running.pages(began), PAGING)
        known = running.failures()
        wait_for("one more failure", lambda: running.failures() > known, PAGING)
    mended = time.time()
    wait_for("a resolution", lambda: running.pages(began)[-1].status == "resolved", PAGING)
    running.wait_until_well()
    return Outage(request.param, began, mended, running.pages(began))


@pytest.mark.timeout(5 * PAGING)
def test_a_fault_is_one_page_that_names_it_and_its_end_resolves_it(
    outage: Outage, record_property: Callable[[str, object], None]
) -> None:
    """One notification of one alert, until a second one says that it is over; nothing else from the fault to that."""
    record_property("seconds from fault to page", round(outage.pages[0].at - outage.began, 1))
    record_property("seconds from mending to resolution", round(outage.pages[-1].at - outage.mended, 1))
    alert, component, _ = FAULTS[outage.fault]
    named = [(alert, component)]
    assert [("firing", named), ("resolved", named)] == [page.outline for page in outage.pages]


@pytest.mark.timeout(5 * PAGING)
def test_a_page_says_in_words_what_is_broken_and_where_to_read_on(watched: tuple[Way, float], outage: Outage) -> None:
    """Its summary names the component, its description the routine, and its link a section of the runbook that khealth serves."""
    running, _ = watched
    said = outage.pages[0].alerts[0]["annotations"]
    _, _, words = FAULTS[outage.fault]
    found = (
        said["summary"].startswith(words),
        "rcscheduler/rcscheduler" in said["description"],
        running.has_section(said["runbook_url"]),
    )
    assert (True, True, True) == found, said
