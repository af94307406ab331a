"""The chart's PrometheusRules and dashboards: those of `alerts` and `dashboards`, as values want them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import charts
import pytest
import yaml
from charts import Json
from deployment import ran
from promql import ALERTS
from tools import needs

from deploy import alert_tables
from deploy.generate import CHART, copies

SERVED = "http://khealth.khealth.svc:8080/runbook"
ON: Json = {"prometheusRule": {"enabled": True}}
FILES: Mapping[str, Json] = {
    path.name.removesuffix(".rules.yaml"): yaml.safe_load(path.read_text()) for path in ALERTS.glob("*.rules.yaml")
}
DASHBOARDS: Mapping[str, str] = {
    path.name: path.read_text() for path in (CHART / "files" / "dashboards").glob("*.json")
}


def specs(manifests: charts.Manifests) -> dict[str, Json]:
    """Return what was rendered of each file."""
    made = [document for document in manifests if document["kind"] == "PrometheusRule"]
    return {document["metadata"]["name"].removeprefix("khealth-"): document["spec"] for document in made}


def dashboards(manifests: charts.Manifests) -> dict[str, Json]:
    """Return each dashboard by its file's name."""
    made = [document for document in manifests if "grafana_dashboard" in document["metadata"].get("labels", {})]
    return {name: json.loads(text) for document in made for name, text in document["data"].items()}


def rendered(helm: charts.Helm, values: Json) -> dict[str, Json]:
    """Return each alert, and each record, by its name."""
    groups = [group for spec in specs(helm.template(values)).values() for group in spec["groups"]]
    return {rule.get("alert") or rule["record"]: rule for group in groups for rule in group["rules"]}


def test_the_rules_are_those_of_alerts(helm: charts.Helm) -> None:
    """All but the watchdog, to the letter: what Prometheus puts into braces is not helm's."""
    wanted = {name: rules for name, rules in FILES.items() if name != "watchdog"}
    assert wanted == specs(helm.template(ON))


def test_without_being_asked_for_there_are_none(helm: charts.Helm) -> None:
    """Not every cluster has the Prometheus operator."""
    assert {} == specs(helm.template({}))


@pytest.mark.parametrize("values", [ON, charts.ALERTING], ids=["as they are", "with others"])
def test_promtool_has_nothing_to_say(helm: charts.Helm, tmp_path: Path, values: Json) -> None:
    """Of what was rendered either."""
    made = specs(helm.template(values))
    assert made
    for name, spec in made.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    files = [str(tmp_path / f"{name}.yaml") for name in made]
    ran(needs("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *files)


def test_an_alert_can_be_switched_off(helm: charts.Helm) -> None:
    """By its name; the rest stays as it is."""
    before = rendered(helm, ON)
    after = rendered(helm, {"prometheusRule": {"enabled": True, "alerts": {"KhealthDnsBroken": {"enabled": False}}}})
    assert {name: rule for name, rule in before.items() if name != "KhealthDnsBroken"} == after


def test_every_alert_can_be_switched_off(helm: charts.Helm) -> None:
    """What is recorded is left: dashboards ask for it."""
    alerts = {rule["alert"]: {"enabled": False} for rule in alert_tables.alerts(ALERTS)}
    after = rendered(helm, {"prometheusRule": {"enabled": True, "alerts": alerts}})
    assert {name: rule for name, rule in rendered(helm, ON).items() if "record" in rule} == after


def test_the_watchdog_can_be_switched_on(helm: charts.Helm) -> None:
    """It is off where nothing is said: kube-prometheus has one."""
    assert "KhealthWatchdog" not in rendered(helm, ON)
    assert "KhealthWatchdog" in rendered(helm, charts.ALERTING)


def test_an_alert_can_be_retuned(helm: charts.Helm) -> None:
    """Every part of it; what is not said stays."""
    expected = {
        "alert": "KhealthStale",
        "expr": "up == 0",
        "for": "10m",
        "keep_firing_for": "1m30s",
        "labels": {"severity": "warning", "component": "khealth", "team": "sre"},
        "annotations": {
            "summary": "Look at {{ $labels.job }}.",
            "description": rendered(helm, ON)["KhealthStale"]["annotations"]["description"],
            "grafana": "https://grafana.example",
            "runbook_url": "https://runbooks.example/khealth#khealthstale",
        },
    }
    assert expected == rendered(helm, charts.ALERTING)["KhealthStale"]


def test_the_objective_can_be_another(helm: charts.Helm) -> None:
    """The one constant that everything about budgets follows from."""
    assert "vector(0.99)" == rendered(helm, ON)["khealth:objective:ratio"]["expr"]
    assert "vector(0.999)" == rendered(helm, charts.ALERTING)["khealth:objective:ratio"]["expr"]


def test_the_objects_are_as_an_operator_looks_for_them(helm: charts.Helm) -> None:
    """In its namespace, with its labels."""
    metadata = helm.template(charts.ALERTING).one("PrometheusRule", "khealth-khealth")["metadata"]
    found = metadata["namespace"], metadata["labels"]["release"], metadata["annotations"]
    assert ("monitoring", "prometheus", {"team": "sre"}) == found


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({}, SERVED),
        ({"service": {"port": 80}, "namespaceOverride": "monitoring"}, "http://khealth.monitoring.svc:80/runbook"),
        ({"service": {"enabled": False}}, "http://khealth-metrics.khealth.svc:8080/runbook"),
        ({"web": {"tlsSecret": "tls"}, "fullnameOverride": "canary"}, "https://canary.khealth.svc:8080/runbook"),
        ({"prometheusRule": {"runbookBaseUrl": "https://a.example/b"}}, "https://a.example/b"),
    ],
)
def test_the_runbook_is_where_it_is_served(helm: charts.Helm, values: Json, base: str) -> None:
    """By this release's own Service, unless another place is named."""
    rule = {**ON["prometheusRule"], **values.get("prometheusRule", {})}
    links = {
        name: rule["annotations"]["runbook_url"]
        for name, rule in rendered(helm, {**values, "prometheusRule": rule}).items()
        if "alert" in rule
    }
    assert {name: f"{base}#{name.lower()}" for name in links} == links
    assert links


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"alerts": {"KhealthSchedulerBork": {"enabled": False}}}, "'KhealthSchedulerBork' not allowed"),
        ({"alerts": {"KhealthBlind": {"four": "5m"}}}, "'four' not allowed"),
        ({"alerts": {"KhealthBlind": {"for": "soon"}}}, "/prometheusRule/alerts/KhealthBlind/for"),
        ({"objective": 99}, "/prometheusRule/objective"),
        ({"runbookBaseUrl": "runbooks.example"}, "/prometheusRule/runbookBaseUrl"),
    ],
)
def test_what_there_is_not_is_refused(helm: charts.Helm, values: Json, said: str) -> None:
    """An alert of another name, a word that means nothing, a figure that is none."""
    assert said in helm.refusal({"prometheusRule": values})


@pytest.mark.parametrize(
    ("values", "release", "namespace", "base"),
    [
        ({}, "khealth", "khealth", "http://khealth.khealth.svc:8080/runbook"),
        ({}, "canary", "monitoring", "http://canary-khealth.monitoring.svc:8080/runbook"),
        ({"web": {"tlsSecret": "tls"}}, "khealth", "khealth", "https://khealth.khealth.svc:8080/runbook"),
        (
            {"prometheusRule": {"runbookBaseUrl": "https://a.example/b?c&d#"}},
            "canary",
            "monitoring",
            "https://a.example/b?c&d",
        ),
    ],
    ids=["as they are", "another release", "TLS", "another place"],
)
def test_dashboards_lead_to_the_runbook_where_it_is_served(
    helm: charts.Helm, values: Json, release: str, namespace: str, base: str
) -> None:
    """As alerts do; everything else is to the letter."""
    on = {**values, "dashboards": {"enabled": True}}
    made = dashboards(helm.template(on, f"--namespace={namespace}", release=release))
    assert {name: json.loads(text.replace(SERVED, base)) for name, text in DASHBOARDS.items()} == made
    assert {base} == {v["query"] for d in made.values() for v in d["templating"]["list"] if v["name"] == "runbook"}


@pytest.mark.parametrize("odd", ["{{ $labels.cluster }}", "{", "}", "a b", "a\tb", "a\nb", '"', "\\"])
def test_a_link_that_nobody_could_follow_is_refused(helm: charts.Helm, odd: str) -> None:
    """Prometheus would take braces for its own, and refuse the rules; the dashboards' JSON has no quote to spare."""
    values = {"prometheusRule": {"runbookBaseUrl": f"https://runbooks.example/{odd}"}}
    assert "/prometheusRule/runbookBaseUrl" in helm.refusal(values)


def test_copies_follow_their_originals(tmp_path: Path) -> None:
    """Each is there; one whose original is gone is to go."""
    files = tmp_path / "files"
    for path, text in {"alerts/a.rules.yaml": "a", "alerts/manager.yaml": "b", "dashboards/c.json": "c"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (files / "alerts").mkdir(parents=True)
    (files / "alerts" / "old.rules.yaml").write_text("old")
    wanted = {"alerts/old.rules.yaml": "", "alerts/a.rules.yaml": "a", "dashboards/c.json": "c"}
    assert {files / path: text for path, text in wanted.items()} == copies(tmp_path, files)


def test_the_chart_has_no_other_rules() -> None:
    """Than those of `alerts`."""
    there: list[Any] = [path.name for path in (CHART / "files" / "alerts").iterdir()]
    assert sorted(path.name for path in ALERTS.glob("*.rules.yaml")) == sorted(there)
