"""The example for Alertmanager: who gets what, and what is silent while something else is told."""

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from bodies.target import wait_for
from deployment import alertmanager, ran
from promql import ALERTS, rules
from tools import needs

CONFIG = ALERTS / "alertmanager.yaml"
RULES: Mapping[str, Mapping[str, str]] = {rule["alert"]: rule["labels"] for _, rule in rules() if "alert" in rule}
RECEIVERS = {"critical": "khealth-pages", "warning": "khealth-tickets", "none": "khealth-heartbeat"}
STARTING = 60.0
"""Seconds for Alertmanager to start, on a busy machine."""


def test_amtool_has_nothing_to_say() -> None:
    """The example can be used as it is."""
    ran(needs("amtool"), "check-config", str(CONFIG))


def routed(labels: Mapping[str, str]) -> str:
    """Return the receiver of an alert."""
    words = [f"{name}={value}" for name, value in labels.items()]
    return ran(needs("amtool"), "config", "routes", "test", f"--config.file={CONFIG}", *words).stdout.strip()


@pytest.mark.parametrize("name", RULES)
def test_each_alert_goes_to_whom_its_severity_says(name: str) -> None:
    """Pages, tickets, and the heartbeat."""
    labels = RULES[name]
    assert RECEIVERS[labels["severity"]] == routed({"alertname": name, **labels, "cluster": "a"})


def test_what_is_not_khealths_goes_nowhere() -> None:
    """The example does not route what it does not know."""
    assert "nowhere" == routed({"alertname": "KubeletDown", "severity": "critical"})


def test_every_receiver_gets_something() -> None:
    """None is there for nothing."""
    named = {receiver["name"] for receiver in yaml.safe_load(CONFIG.read_text())["receivers"]}
    assert {*RECEIVERS.values(), "nowhere"} == named


@contextmanager
def example(folder: Path) -> Iterator[str]:
    """Run an Alertmanager with the example, which tells nobody, until the block ends; yield its API's address."""
    settings = yaml.safe_load(CONFIG.read_text().replace("127.0.0.1:9095", "127.0.0.1:9"))
    with alertmanager(folder, settings) as address:
        yield f"{address}/api/v2"


def asked(url: str, given: object = None) -> Any:
    """Return what the API answers; None while it is not there yet."""
    body = None if given is None else msgspec.json.encode(given)
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - on this machine
    try:
        with urllib.request.urlopen(request, timeout=STARTING) as answer:  # noqa: S310
            return msgspec.json.decode(answer.read() or b"{}")
    except OSError:
        return None


def labels(name: str, cluster: str, component: str = "") -> dict[str, str]:
    """Return the labels with which an alert arrives; without a cluster it has no such label."""
    told = {"alertname": name, **RULES[name], **({"component": component} if component else {})}
    return told | ({"cluster": cluster} if cluster else {})


BURNING = {
    "KhealthErrorBudgetBurn": "scheduler",
    "KhealthErrorBudgetBurnSlow": "scheduler",
    "KhealthPodStartupSlow": "node",
}
"""Alerts whose component is their series', and one for each."""
EVERYTHING = {name: BURNING.get(name, "") for name in RULES}
CASES: Mapping[str, tuple[Mapping[str, str], set[str]]] = {
    "everything": (EVERYTHING, {"KhealthApiServerBroken", "KhealthWatchdog"}),
    "overloaded": (
        {"KhealthApiServerOverloaded": "", "KhealthNodesBroken": "", "KhealthBlind": "", "KhealthWatchdog": ""},
        {"KhealthApiServerOverloaded", "KhealthNodesBroken", "KhealthWatchdog"},
    ),
    "refusing": (
        {"KhealthApiServerRefuses": "", "KhealthNodesBroken": "", "KhealthErrorBudgetBurn": "api_server"},
        {"KhealthApiServerRefuses", "KhealthNodesBroken"},
    ),
    "scheduler": (
        {"KhealthSchedulerBroken": "", **BURNING, "KhealthPodUnschedulable": "", "KhealthBlind": ""},
        {"KhealthSchedulerBroken"},
    ),
    "": (
        {"KhealthNodesBroken": "", "KhealthOneNode": "", **BURNING},
        {"KhealthNodesBroken", "KhealthErrorBudgetBurn"},
    ),
    "two-components": (
        {"KhealthNodesBroken": "", "KhealthSchedulerBroken": ""},
        {"KhealthNodesBroken", "KhealthSchedulerBroken"},
    ),
    "stale": ({"KhealthStale": "", "KhealthBlind": "", "KhealthOneNode": ""}, {"KhealthStale"}),
    "tickets": (
        {"KhealthErrorBudgetBurnSlow": "scheduler", "KhealthPodUnschedulable": ""},
        {"KhealthErrorBudgetBurnSlow", "KhealthPodUnschedulable"},
    ),
    "elsewhere": ({"KhealthDnsBroken": ""}, {"KhealthDnsBroken"}),
}
"""By cluster, the alerts that fire, each with its component where it is the series', and those that are told."""


def test_one_cause_is_one_page(tmp_path: Path) -> None:
    """What follows from something else is silent: in its own cluster, and where it says so of its own component."""
    firing = [
        {"labels": labels(name, cluster, component)}
        for cluster, (alerts, _) in CASES.items()
        for name, component in alerts.items()
    ]
    with example(tmp_path) as api:
        wait_for("Alertmanager", lambda: asked(f"{api}/status"), STARTING)
        assert asked(f"{api}/alerts", firing) == {}

        expected = {cluster: told for cluster, (_, told) in CASES.items()}

        def active() -> Mapping[str, set[str]]:
            told: dict[str, set[str]] = {cluster: set() for cluster in CASES}
            for alert in asked(f"{api}/alerts") or []:
                if alert["status"]["state"] == "active":
                    told[alert["labels"].get("cluster", "")].add(alert["labels"]["alertname"])
            return told

        def settled() -> bool:
            # What inhibits is taken in a moment after it is listed.
            return len(asked(f"{api}/alerts") or []) == len(firing) and active() == expected

        with suppress(AssertionError):
            wait_for("a verdict on each", settled, STARTING)
        assert expected == active()
