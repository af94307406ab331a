"""Each alert tells of its own disease, and of no other; nobody is woken by what khealth itself goes through."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deployment import ran as done
from diseases import DAY, FINE, MOMENTS, NEW_PODS, OF_TEN, QUICK, SLOW, TOGETHER, Disease
from histories import Life
from promql import ALERTS, rules
from promtool import ONCE, Firing, Pace, Store, Told, document, ran
from promtool import told as told_of
from tools import needs

from dashboards.queries import TICKETS
from khealth_exporter.canaries.pod_steps import SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.modules import MODULES
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

FILES = sorted(ALERTS.glob("*.rules.yaml"))
RULES: Mapping[str, Mapping[str, Any]] = {rule["alert"]: rule for _, rule in rules() if "alert" in rule}
BASE = "http://khealth.khealth.svc:8080/runbook#"
SUITES = (QUICK, TOGETHER, OF_TEN, FINE, SLOW, DAY)
SCHEDULER = "KhealthSchedulerBroken", "critical", "scheduler"
NODES = "KhealthNodesBroken", "critical", "node"
API_SERVER = "KhealthApiServerBroken", "critical", "api_server"


def test_promtool_has_nothing_to_say() -> None:
    """Neither of syntax nor of style."""
    done(needs("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *map(str, FILES))


def test_every_alert_has_a_disease() -> None:
    """An alert that no test has seen fire is none."""
    seen = {alert for suite in SUITES for disease in suite.values() for alert, _, _ in disease.told}
    assert RULES.keys() - {"KhealthWatchdog"} == seen


def test_every_component_can_be_broken() -> None:
    """Each that khealth blames has its alert, which is its series and nothing else."""
    broken = {r["labels"]["component"]: r["expr"] for name, r in RULES.items() if name.endswith("Broken")}
    blamed = {reason.component for reason in Reason if reason.component} - {Component.KHEALTH}
    assert {c: f'component:khealth_failures:since_success{{component="{c}"}}' for c in blamed} == broken


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_all_that_it_has_to(name: str) -> None:
    """Who is woken, which component, what is broken, with which figures, and what to do."""
    rule = RULES[name]
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    assert f"{BASE}{name.lower()}" == rule["annotations"]["runbook_url"]
    assert "{{" not in rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}
    assert "component" in rule["labels"] or re.search(
        r"by \(cluster,.* component\)|by \(cluster, component\)", rule["expr"]
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_duration_is_reasoned(path: Path) -> None:
    """A comment stands directly above each `for` and `keep_firing_for`, or says why there is none."""
    for text in path.read_text().split("- alert: ")[1:]:
        for key in ("for", "keep_firing_for"):
            given = re.search(rf"#[^\n]*\n *{key}: ", text)
            assert given or (key not in re.findall(r"^ *(\w+): ", text, re.MULTILINE) and f"`{key}`" in text), text[:80]


def test_a_startup_is_blamed_on_the_component_of_its_step() -> None:
    """The steps of which it consists are those of the code, with their components."""
    recorded = next(r["expr"] for _, r in rules() if r.get("record", "").endswith("khealth_step_info:pod_startup"))
    (named,) = re.findall(r'step=~"([^"]*)"', recorded)
    assert [step.name for step in (SCHEDULE, SANDBOX, START)] == named.split("|")
    ways = [kind.steps for module in MODULES for kind in module.routines if STARTUP in kind.steps]
    assert ways
    assert {(SCHEDULE, SANDBOX, START)} == {way[way.index(SCHEDULE) : way.index(START) + 1] for way in ways}


def test_dashboards_and_rules_agree_on_tickets() -> None:
    """Dashboards work without recording rules, so they have a list of their own."""
    recorded = next(r["expr"] for _, r in rules() if r.get("record") == "reason:khealth_reason_info:ticket")
    assert [TICKETS] == re.findall(r'reason=~"([^"]*)"', recorded)


def listened(
    suite: Mapping[str, Disease],
    pace: Pace,
    folder: Path,
    looks: Mapping[str, float] | None = None,
    store: Store = ONCE,
) -> Told:
    """Return what promtool tells of a suite; it knows each disease as a cluster."""
    lives = {name: disease.lives for name, disease in suite.items()}
    return told_of(lives, pace, folder, (), (looks or {}).items(), store)


def heard(suite: Mapping[str, Disease], said: Told) -> tuple[dict[str, set[Any]], dict[str, set[Any]]]:
    """Return by disease what should be told of it, and what is."""
    expected = {name: set(disease.told) for name, disease in suite.items() if disease.told}
    found = {
        name: {(f.alert, f.severity, f.component) for f in firing} for name, firing in said.firing.items() if firing
    }
    return expected, found


LOOKS = {alert: 2100.0 for disease in QUICK.values() for alert, _, _ in disease.told} | {
    alert: 1260.0
    for alert in RULES
    if alert.endswith(("Broken", "Refuses"))
    or alert
    in {
        "KhealthCheckCritical",
        "KhealthCheckFailed",
        "KhealthPodUnschedulable",
        "KhealthOneNode",
        "KhealthQuotaExceeded",
    }
}
LOOKS["KhealthApiServerOverloaded"] = 1620.0
"""When, in seconds, to look at an alert's words."""


@pytest.mark.parametrize("part", range(2))
def test_each_disease_is_told_by_its_own_alert_alone(part: int, tmp_path: Path) -> None:
    """Every history before every alert: its own fires, the others are silent, and so are all in health."""
    suite = dict(list(QUICK.items())[part::2])
    said = listened(suite, Pace(2700, 60, 60), tmp_path, LOOKS)
    expected, found = heard(suite, said)
    assert expected == found
    words = said.details
    assert {(name, alert) for name in expected for alert, _, _ in expected[name]} == words.keys()
    for (cluster, alert), (labels, texts) in words.items():
        annotations = RULES[alert]["annotations"]
        own = {"module", "routine"} if alert.startswith("KhealthCheck") else set()
        assert labels.keys() - {"cluster", "namespace", "job"} == {"alertname", "severity", "component"} | own
        assert (annotations["summary"], annotations["runbook_url"]) == (texts["summary"], texts["runbook_url"])
        assert texts["description"].startswith(f"Cluster {cluster}: ")
        assert "{{" not in texts["description"]
        assert "NaN" not in texts["description"]
    here = DESCRIPTIONS.keys() & suite.keys()
    told = {name: words[name, QUICK[name].told[0][0]][1]["description"] for name in here}
    assert {name: f"Cluster {name}: {DESCRIPTIONS[name]}" for name in here} == told


@pytest.mark.parametrize("scrape", [15, 60, 120])
@pytest.mark.parametrize("part", range(4))
def test_each_disease_is_told_however_its_series_are_stored(part: int, scrape: float, tmp_path: Path) -> None:
    """Twice, with the second copy a scrape late; with an `instance` that says nothing; scraped rarely or often.

    In parts, because promtool keeps 10,000 samples in memory at most.
    """
    suite = dict(list(QUICK.items())[part::4])
    said = listened(suite, Pace(2700, scrape, 60), tmp_path, store=Store(servers=2, instance="khealth"))
    expected, found = heard(suite, said)
    assert expected == found


DESCRIPTIONS = {
    "scheduler": "failed since their last success: rcscheduler/rcscheduler with pod_not_scheduled 11 times. "
    "The last success was at 1970-01-01 00:09:22 +0000 UTC.",
    "api-server": "failed since their last success: rcscheduler/rcscheduler with api_unreachable 11 times. "
    "The last success was at 1970-01-01 00:09:22 +0000 UTC.",
    "certificate": "the API server's serving certificate expires in 12d 23h 25m 0s. When it has expired, no client "
    "trusts the API server.",
    "flapping": "node failed 48.57% of the attempts of one routine. Failures of the last hour: "
    "rcscheduler/rcscheduler 17; by reason: sandbox_failed 17.",
    "slow-api": "71.43% of the last hour's writes took more than 1 s; the objective allows 1%. The 99th percentile: "
    "accept 4.958s (rcscheduler/rcscheduler).",
    "stale": "routines of khealth-metrics without a result for five intervals: 1. Last results: "
    "rcscheduler/rcscheduler at 1970-01-01 00:09:22 +0000 UTC.",
    "degraded": "85.8% of the attempts of one routine were inconclusive, or of its samples degraded or discarded. "
    "Attempts in the last 30 minutes, by reason: none; samples by quality: degraded 75, exact 12.",
    "check-critical": "custom-critical/shop has failed 11 times since its last success. khealth's status page has what "
    "it said.",
    "restarting": "khealth-metrics was restarted 7 times in the last hour.",
}


def test_one_fault_that_several_routines_meet_is_one_page(tmp_path: Path) -> None:
    """With rcscheduler, control-plane/api and workloads/pod; the page names its component and every routine."""
    said = listened(TOGETHER, Pace(2700, 60, 60), tmp_path, {alert: 1260.0 for alert, _, _ in _alerts(TOGETHER)})
    expected, found = heard(TOGETHER, said)
    assert expected == found
    once = {name: len(disease.told) for name, disease in TOGETHER.items() if disease.told}
    assert once == {name: len(firing) for name, firing in said.firing.items() if firing}
    for name, parts in NAMED.items():
        description = said.details[name, TOGETHER[name].told[0][0]][1]["description"]
        assert [] == [part for part in parts if part not in description], description


@pytest.mark.parametrize("name", OF_TEN)
def test_one_fault_that_ten_routines_meet_is_one_page(name: str, tmp_path: Path) -> None:
    """However many routines a dead component fails, the page is its own, once, and names them."""
    suite = {name: OF_TEN[name]}
    ((alert, _, _),) = suite[name].told
    said = listened(suite, Pace(2700, 60, 60), tmp_path, {alert: 1260.0})
    assert ({name: set(suite[name].told)}, 1) == (heard(suite, said)[1], len(said.firing[name]))
    description = said.details[name, alert][1]["description"]
    assert [] == [label for label in suite[name].lives[0].routines if f"{label} with" not in description]


def _alerts(suite: Mapping[str, Disease]) -> set[tuple[str, str, str]]:
    return {told for disease in suite.values() for told in disease.told}


NAMED = {
    "scheduler-of-two": ("rcscheduler/rcscheduler with pod_not_scheduled", "workloads/pod with pod_not_scheduled"),
    "stale-reads-of-one": ("failed since their last success: control-plane/api with stale_read 11 times.",),
    "one-broken-node-between-others": ("workloads/pod fails on 1 node. khealth's status page names the node.",),
}
"""What the alert of a history must name, in any order."""


@pytest.mark.parametrize("store", [ONCE, Store(servers=2, instance="khealth")], ids=str)
def test_a_restart_counts_whether_or_not_the_pod_is_a_new_one(store: Store, tmp_path: Path) -> None:
    """Evictions do; replicas that an upgrade replaces, and one that is added, do not."""
    suite = NEW_PODS | {"restarting": QUICK["restarting"]}
    expected, found = heard(suite, listened(suite, Pace(2700, 60, 60), tmp_path, store=store))
    assert expected == found


def test_what_does_not_go_is_told_where_it_is_looked_at_often_enough(tmp_path: Path) -> None:
    """At every moment of an hour something was there; what is there at the moments of a rare scrape says nothing."""
    said = listened(FINE, Pace(4500, 15, 60), tmp_path)
    expected, found = heard(FINE, said)
    assert expected == found
    rare = listened({name: Disease(disease.lives) for name, disease in FINE.items()}, Pace(4500, 60, 60), tmp_path)
    assert {} == heard({}, rare)[1]


def test_an_objective_is_missed_slowly_and_a_paged_outage_is_over(tmp_path: Path) -> None:
    """A low rate of failures is a ticket; what was paged for hours is one page, and neither page nor ticket after it."""
    said = listened(SLOW, Pace(17 * 3600, 300, 240), tmp_path)
    expected, found = heard(SLOW, said)
    assert expected == found
    (whole,) = said.firing["paged-for-seven-hours"]
    assert whole.end - whole.begin > 6.5 * 3600


def test_a_day_without_an_alert_and_a_day_without_an_attempt(tmp_path: Path) -> None:
    """Nothing is told of the first; of the second it is told after a day, not before."""
    said = listened(DAY, Pace(25 * 3600, 300, 240), tmp_path)
    expected, found = heard(DAY, said)
    assert expected == found
    (suspended,) = said.firing["suspended-for-a-day"]
    assert 23 * 3600 < suspended.begin <= 24 * 3600


def test_pages_begin_and_end_when_they_should(tmp_path: Path) -> None:
    """To the second, with attempts each minute from 0 s on, a scrape each 15 s and an evaluation each 5 s.

    The third attempt to fail does so at 320 s, the second at 260 s, which is scraped at 270 s.
    """
    said = told_of(MOMENTS, Pace(1800, 15, 5), tmp_path, [ALERTS / "components.rules.yaml"])
    scheduler = Firing(*SCHEDULER, 280, 685)
    expected = {
        "one-routine": [scheduler],
        # One cause is one page.
        "three-routines": [scheduler],
        # Some successes do not resolve it and page again.
        "a-lucky-one": [Firing(*SCHEDULER, 280, 925)],
        "in-pairs": [Firing(*NODES, 280, 1345)],
        # What is over is not named again because of another.
        "another-one-three-minutes-later": [Firing(*NODES, 640, 1045), scheduler],
        "one-that-failed-long-ago": [scheduler],
        # What does not come up any more is over after five minutes, although nothing has succeeded since.
        "from-one-to-another": [Firing(*API_SERVER, 455, 1465), Firing(*SCHEDULER, 280, 910)],
        # A verdict holds for three intervals.
        "then-nothing-can-be-told": [Firing(*SCHEDULER, 280, 805)],
        "over-and-then-unseen": [Firing(*SCHEDULER, 280, 805)],
        # khealth's own restart neither resolves a page nor sends another.
        "restarted-in-the-midst": [Firing(*SCHEDULER, 280, 1030)],
        "restarted-after-older-failures": [Firing(*SCHEDULER, 100, 445), Firing(*SCHEDULER, 700, 1435)],
        "replaced-in-the-midst": [Firing(*SCHEDULER, 280, 1030)],
        "replaced-and-well": [Firing(*SCHEDULER, 280, 760)],
        # An outage that takes khealth with it is not over; one that was over stays so.
        "gone-in-the-midst": [Firing(*SCHEDULER, 280, 1625)],
        "over-and-then-gone": [scheduler],
        "unseen-in-the-midst": [Firing(*SCHEDULER, 280, 985)],
        "the-server-under-three-modules": [Firing(*API_SERVER, 275, 745)],
        # It comes first, and goes last.
        "the-server-and-its-dependents": [
            Firing(*API_SERVER, 275, 745),
            Firing("KhealthControllerManagerBroken", "critical", "controller_manager", 280, 685),
        ],
        # Who answers with a refusal does not hide the rest.
        "one-is-refused-and-another-finds-dead-nodes": [
            Firing("KhealthApiServerRefuses", "critical", "api_server", 280, 685),
            Firing(*NODES, 280, 685),
        ],
    }
    assert expected == said.firing


def test_the_watchdog_always_fires(tmp_path: Path) -> None:
    """From the first evaluation on, whatever there is or is not."""
    alert = {
        "exp_labels": {"severity": "none", "component": "khealth"},
        "exp_annotations": {k: v.strip() for k, v in RULES["KhealthWatchdog"]["annotations"].items()},
    }
    asked = [{"alertname": "KhealthWatchdog", "eval_time": at, "exp_alerts": [alert]} for at in ("0s", "1h")]
    files = [ALERTS / "watchdog.rules.yaml"]
    said = ran(document({}, Pace(3600, 60, 60), files, alert_rule_test=asked), tmp_path)
    assert (0, "") == (said.returncode, said.stderr)


def test_a_cluster_whose_label_is_changed_is_not_missed(tmp_path: Path) -> None:
    """Its target goes on under another label; one that ends, and one that begins elsewhere, have nothing to do with it."""
    here = Life({}, instance="10.0.1.1:8080", pod="khealth-here")
    there = Life({}, instance="10.0.2.1:8080", pod="khealth-there")
    histories = {
        "": [replace(here, end=1200)],
        "new-label": [replace(here, begin=1200)],
        "gone": [Life({}, end=1200)],
        "begun": [replace(there, begin=1200)],
    }
    said = told_of(histories, Pace(3600, 60, 60), tmp_path, [ALERTS / "khealth.rules.yaml"], store=Store(servers=2))
    absent = {name: [f.alert for f in firing if f.alert == "KhealthAbsent"] for name, firing in said.firing.items()}
    assert {"": [], "new-label": [], "gone": ["KhealthAbsent"], "begun": []} == absent


HOUR, END = 3600.0, math.inf
SPANS: Mapping[str, tuple[Mapping[str, Sequence[tuple[float, float]]], Mapping[str, float]]] = {
    "removed-again": ({"": [(0, 1200), (HOUR, END)], "b": [(1200, HOUR)]}, {}),
    "changed-back": ({"a": [(0, 1200), (HOUR, END)], "b": [(1200, HOUR)]}, {}),
    "tried": ({"a": [(0, 1200), (1500, END)], "b": [(1200, 1500)]}, {}),
    "three": ({"a": [(0, 1200)], "b": [(1200, HOUR)], "c": [(HOUR, END)]}, {}),
    "three-and-back": ({"a": [(0, 1200), (5400, END)], "b": [(1200, HOUR)], "c": [(HOUR, 5400)]}, {}),
    "to-and-fro": (
        {
            "a": [(at, at + 900) for at in range(0, 10800, 1800)],
            "b": [(at + 900, at + 1800) for at in range(0, 10800, 1800)],
        },
        {},
    ),
    "both-for-a-while": ({"a": [(0, 1500), (HOUR, END)], "b": [(1200, HOUR + 300)]}, {}),
    "unseen-meanwhile": ({"a": [(0, 1200)], "b": [(1800, END)]}, {}),
    "changed-and-gone": ({"a": [(0, 1200)], "b": [(1200, HOUR)]}, {"b": HOUR}),
    "changed-back-and-gone": ({"a": [(0, 1200), (2400, HOUR)], "b": [(1200, 2400)]}, {"a": HOUR}),
    "another": ({"a": [(0, 1200)], "b": [(0, END)]}, {"a": 1200}),
    "another-is-changed": ({"a": [(0, 1200)], "b": [(0, END)], "c": [(1200, END)]}, {}),
    "both-gone": ({"a": [(0, 1200)], "b": [(0, 1260)]}, {"a": 1200, "b": 1260}),
}
"""Between which times a target is seen under which `cluster`, and when that ends of which one is missed."""


@pytest.mark.parametrize("servers", [1, 2])
def test_a_cluster_is_missed_unless_its_target_goes_on(servers: int, tmp_path: Path) -> None:
    """Under whatever label it was seen later; targets of the same labels are told apart by their number."""
    histories = {
        cluster and f"{name}-{cluster}": [Life({}, begin=begin, end=end, pod=name) for begin, end in spans]
        for name, (clusters, _) in SPANS.items()
        for cluster, spans in clusters.items()
    }
    expected = {
        f"{name}-{cluster}": ended + 60 * (servers - 1) + 900
        for name, (_, gone) in SPANS.items()
        for cluster, ended in gone.items()
    }
    files = [ALERTS / "khealth.rules.yaml"]
    said = told_of(histories, Pace(3 * HOUR, 60, 60), tmp_path, files, store=Store(servers=servers))
    absent = {name: [f.begin for f in some if f.alert == "KhealthAbsent"] for name, some in said.firing.items()}
    assert expected == {name: begin for name, begins in absent.items() for begin in begins}


def test_without_any_khealth_its_absence_is_told(tmp_path: Path) -> None:
    """Where there never was one there is no cluster to name."""
    said = told_of({}, Pace(1200, 60, 60), tmp_path)
    assert {"": [Firing("KhealthAbsent", "critical", "khealth", 900, 1200)]} == said.firing
