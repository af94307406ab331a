"""A dashboard around its panels: variables, links, annotations, time."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import BLUE, GRAY, RED, SOURCE, link
from dashboards.queries import TARGET, own
from dashboards.series import once

RUNBOOK_URL = "http://khealth.khealth.svc:8080/runbook"
"""Where khealth serves it, installed by its defaults; the variable takes any other."""
TAGS = ("khealth", "kubernetes")


def framed(board: dashboard.Dashboard, uid: str, about: str) -> dashboard.Dashboard:
    """Return a dashboard that can be found, and that keeps itself up to date."""
    return (
        board.uid(uid)
        .description(about)
        .tags(list(TAGS))
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
    )


def runbook_link() -> dashboard.DashboardLink:
    """Return the way to the whole runbook."""
    return link("Runbook", "${runbook:raw}").icon("doc").target_blank(True)


def other(title: str, uid: str) -> dashboard.DashboardLink:
    """Return the way to another dashboard, at the same time and of the same source."""
    return link(title, f"/d/{uid}?${{datasource:queryparam}}&${{cluster:queryparam}}").icon("dashboard").keep_time(True)


def datasource() -> dashboard.DatasourceVariable:
    """Return the variable that chooses a Prometheus."""
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def chosen(name: str, label: str, question: str, about: str) -> dashboard.QueryVariable:
    """Return a variable of a label's values; All also stands for series that have no such label."""
    every = models.VariableOption(text="All", value="$__all", selected=True)
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(about)
        .datasource(SOURCE)
        .query({"query": question, "refId": f"variable-{name}"})
        .definition(question)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .include_all(True)
        .all_value(".*")
        .multi(True)
        .current(every)
    )


def cluster() -> dashboard.QueryVariable:
    """Return the variable that chooses clusters."""
    return chosen(
        "cluster",
        "Cluster",
        "label_values(khealth_build_info, cluster)",
        "Clusters, if one Prometheus monitors several. Without the label, select All.",
    )


def runbook() -> dashboard.TextBoxVariable:
    """Return the variable with the runbook's address."""
    return (
        dashboard.TextBoxVariable("runbook")
        .label("Runbook")
        .description("The URL of khealth's runbook: /runbook on its Service, Ingress or NodePort.")
        .default_value(RUNBOOK_URL)
        .current(models.VariableOption(text=RUNBOOK_URL, value=RUNBOOK_URL, selected=True))
    )


def annotations() -> Sequence[dashboard.AnnotationQuery]:
    """Return what is marked in every graph: firing alerts, starts of khealth, new configurations."""
    started = once(f"process_start_time_seconds{{{TARGET}}}")
    read = once(f"khealth_config_last_reload_success_timestamp_seconds{{{TARGET}}}")
    reloaded = f"{read} and {read} - {started} > 60"
    alerts = 'ALERTS{cluster=~"$cluster",alertname=~"Khealth.+",severity!="none",alertstate="firing"}'
    firing = f"max by (cluster, alertname, severity, component) ({alerts})"
    return (
        _annotation("Alerts", firing, RED).title_format("{{alertname}}").text_format("{{severity}}: {{component}}"),
        _annotation("Starts of khealth", f"1000 * ({own(started)})", BLUE)
        .title_format("khealth started")
        .text_format("{{namespace}} {{pod}} {{instance}}")
        .use_value_for_time(True),
        _annotation("New configurations", f"1000 * ({reloaded})", GRAY)
        .title_format("Configuration reloaded")
        .text_format("{{namespace}} {{pod}} {{instance}}")
        .use_value_for_time(True),
    )


def _annotation(name: str, expression: str, color: str) -> dashboard.AnnotationQuery:
    query = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color)
    return query.expr(expression).step("30s")
