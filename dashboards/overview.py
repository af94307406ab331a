"""The first screen: whether the cluster is healthy, since when, which component is broken, and how slow pods are."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import queries as ask
from dashboards.colors import COLORS, PART, POD_STEPS, START
from dashboards.parts import (
    BLUE,
    GREEN,
    HOURLY,
    ORANGE,
    RED,
    RULES_MISSING,
    STEP,
    Told,
    bars,
    by_reason,
    finished,
    fixed,
    lines,
    matrix,
    now,
    override,
    query,
    rows,
    single,
    state_now,
    thresholds,
    timeline,
    to_reason,
)
from dashboards.queries import STARTUP, STEPS

BROKEN = (
    "KhealthApiServerBroken",
    "KhealthControllerManagerBroken",
    "KhealthSchedulerBroken",
    "KhealthNodesBroken",
    "KhealthRegistryBroken",
)
STATE = Told(
    "Is the cluster healthy?",
    "The worst state of any component or routine now. Healthy is good: the last attempt of every routine"
    " succeeded. Failing: an attempt failed, or the reason is a ticket (a node does not run pods, or no node has"
    " room for a pod). Broken: a component failed twice or more in a row, as in the alerts. Unknown: nothing"
    " fails, but at least one routine has no verdict or an outdated one. The state lags by one attempt and one"
    " scrape, about 75 s.",
    (0, 0, 4, 4),
    ("KhealthStale", "KhealthAbsent", "KhealthSuspended"),
)
SINCE = Told(
    "Since",
    "If something fails: the last success of the routine that has failed for the longest time. The fault began"
    " between then and one interval later. If all is good: since when, to the minute, within the selected time"
    " range.",
    (4, 0, 3, 4),
    ("KhealthErrorBudgetBurn",),
)
FAILING = Told(
    "What is wrong now",
    "Each reason for which a routine fails or is inconclusive now, with its component. Click the reason to open"
    " the runbook. Attempts: consecutive failures (an alert needs two), or the number of recent inconclusive"
    " attempts. If the interval is above one hour, it counts all attempts since the start of khealth. Empty is"
    " good.",
    (7, 0, 11, 4),
    BROKEN,
)
BUDGET = Told(
    "Error budget left, 30 d",
    "The objective is that 99 % of attempts succeed, unless you changed it in the rules. This is the unspent"
    " share of the failures that it allows in 30 days, for the routine with the smallest share. Good is above 50"
    " %. Below 0, the objective is missed. The recording rule routine:khealth_error_budget_left:ratio_30d"
    " computes it, and lags by up to ten minutes.",
    (18, 0, 3, 4),
    ("KhealthErrorBudgetBurn", "KhealthErrorBudgetBurnSlow"),
)
P99 = Told(
    "Pod startup, p99 of 1 h",
    "99 % of the canary pods of the last hour started within this time. Good is up to 5 s. Pods that may have"
    " pulled a new image do not count. The value lies within its histogram bucket, for example 4 to 5 s. A pod"
    " that never started counts with the time waited. With fewer than 5 pods there is no value.",
    (21, 0, 3, 4),
    ("KhealthPodStartupSlow",),
)
COMPONENTS = Told(
    "Components",
    "The state of each component over time. Green is good. Gray: khealth has no verdict, or an earlier step"
    " failed in every attempt. Blank: nothing was scraped. A failure is attributed to the first step that failed.",
    (0, 4, 12, 7),
    BROKEN,
)
ROUTINES = Told(
    "Routines",
    "The state of each routine over time. Green is good, orange is one failure, red is two or more in a row."
    " Gray: no conclusive attempt for three intervals. Blank: nothing was scraped.",
    (12, 4, 12, 7),
    ("KhealthErrorBudgetBurn", "KhealthBlind", "KhealthSuspended"),
)
WAY = Told(
    "Pod startup by step",
    "The mean duration of each step, stacked. Look at the longest bar first. Even bars are good. If a component"
    " is down, the step that waits for it grows to the time waited, and later steps are missing. Steps are"
    " accurate to a few milliseconds; the error bars are in the row below.",
    (0, 11, 8, 7),
    ("KhealthPodStartupSlow", "pod_not_scheduled", "kubelet_silent", "image_pull_failed"),
)
HEAT = Told(
    "Pod startup, each pod",
    "How many canary pods started within which time. Good is one dark band far below 5 s. A second band is a"
    " second kind of node. A slow rise is a cluster that fills up. Single dots above the band are slow nodes or"
    " image pulls.",
    (8, 11, 8, 7),
    ("KhealthPodStartupSlow", "one_node"),
)
QUANTILES = Told(
    "Pod startup, p50 and p99 of 1 h",
    "Half of the pods of the previous hour, and 99 % of them, started within these times. Good is a p99 below the"
    " dashed line, the objective of 5 s. A value lies within its histogram bucket. With fewer than 5 pods there"
    " is no value.",
    (16, 11, 8, 7),
    ("KhealthPodStartupSlow",),
)
REASONS = Told(
    "Failures by reason",
    "Failed attempts, by reason. No bar is good. Failures count at the deadline of the attempt, so a fault shows"
    " about 20 s after the attempt began.",
    (0, 18, 8, 6),
    (
        "pod_not_scheduled",
        "pod_not_created",
        "kubelet_silent",
        "sandbox_failed",
        "image_pull_failed",
        "api_unreachable",
    ),
)
GOOD = Told(
    "Good share of 1 h",
    "The share of pods that started within 5 s and within 1 s, and of writes that the API server answered within"
    " 1 s. The shares are exact, because 1 s and 5 s are bucket edges. Good is above the dashed line, the"
    " objective, which needs khealth's recording rules. With fewer than 5 samples there is no value.",
    (8, 18, 8, 6),
    ("KhealthPodStartupSlow", "KhealthApiSlow"),
)
SLOWEST = Told(
    "Steps, p99 of 1 h",
    "The slowest 1 % of each step. The legend names the component that a step measures. The step in which a pod"
    " was stuck counts with the time waited. Good: no line above the dashed line, 5 s.",
    (16, 18, 8, 6),
    ("KhealthPodStartupSlow", "KhealthApiSlow"),
)


def panels() -> Iterator[stat.Panel | timeseries.Panel | statetimeline.Panel | heatmap.Panel | table.Panel]:
    """Yield the panels of the screen, from its upper left to its lower right."""
    yield finished(state_now(), STATE, now(ask.cluster_state(ask.ROUTINE), "state"))
    yield _since()
    yield _failing()
    yield _budget()
    yield _p99()
    yield finished(timeline(), COMPONENTS, query(ask.component_state(ask.ROUTINE), "{{cluster}} {{component}}"))
    yield finished(timeline(), ROUTINES, query(ask.routine_state(ask.ROUTINE), "{{cluster}} {{module}}/{{routine}}"))
    yield _way()
    yield _heat()
    yield _quantiles()
    yield _reasons()
    yield _good()
    yield _slowest()


def _since() -> stat.Panel:
    panel = single("dateTimeFromNow", (None, "text"), none="before this range")
    panel.color_mode(common.BigValueColorMode.NONE)
    expression = f"{ask.not_well_since(ask.ROUTINE)} or {ask.well_since(ask.ROUTINE)}"
    return finished(panel, SINCE, now(expression, "since"))


def _failing() -> table.Panel:
    columns = (
        ("cluster", "Cluster"),
        ("component", "Component"),
        ("reason", "Reason"),
        ("module", "Module"),
        ("routine", "Routine"),
        ("Value #A", "Attempts"),
        ("Value #B", "Last success"),
    )
    panel = matrix(columns, none="No failures.").min_width(60)
    panel.override_by_name("Component", [fixed(ORANGE), override("custom.cellOptions", {"type": "color-text"})])
    panel.override_by_name("Reason", [override("links", [to_reason()]), override("custom.width", 190)])
    width = override("custom.width", 130)
    panel.override_by_name("Attempts", [override("custom.width", 90)])
    panel.override_by_name("Last success", [override("unit", "dateTimeFromNow"), override("noValue", "never"), width])
    return finished(
        panel,
        FAILING,
        rows(f"{ask.wrong(ask.ROUTINE)} or {ask.missing()}", "A"),
        rows(ask.last_success(ask.ROUTINE), "B"),
    )


def _budget() -> stat.Panel:
    panel = single("percentunit", (None, RED), (0.0, ORANGE), (0.5, GREEN), none=RULES_MISSING)
    panel.graph_mode(common.BigValueGraphMode.AREA)
    expression = f"min(routine:khealth_error_budget_left:ratio_30d{{{ask.RECORDED}}})"
    return finished(panel, BUDGET, query(expression, "left"))


def _p99() -> stat.Panel:
    panel = single("s", (None, GREEN), (3.0, ORANGE), (5.0, RED), none="too few pods", decimals=1)
    figure = ask.enough(ask.percentile(0.99, STARTUP, ask.ROUTINE), f"{STARTUP}_count{{{ask.ROUTINE}}}")
    return finished(panel.graph_mode(common.BigValueGraphMode.AREA).interval(HOURLY), P99, query(figure, "p99"))


def _way() -> timeseries.Panel:
    panel = bars("s", none="No pod was created in this time.")
    for step in POD_STEPS:
        panel.override_by_name(step.name, _named(step.name, PART[step.component]))
    asked = [
        query(ask.mean(STEPS, f'{ask.ROUTINE},step="{name}"', "step", of_pods=True), "{{step}}", chr(ord("A") + number))
        for number, name in enumerate(START)
    ]
    return finished(panel, WAY, *asked)


def _named(step: str, component: str) -> list[models.DynamicConfigValue]:
    color = [fixed(COLORS[step])] if step in COLORS else []
    return [*color, override("displayName", f"{step}: {component}")]


def _heat() -> heatmap.Panel:
    colors = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel = (
        heatmap.Panel()
        .unit("short")
        .decimals(0)
        .thresholds(thresholds((None, GREEN)))
        .no_value("No pod was created in this time.")
        .interval(STEP)
        .calculate(False)
        .color(colors.scale(heatmap_models.HeatmapColorScale.EXPONENTIAL).exponent(0.5).reverse(False))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .cell_gap(1)
        .hide_legend()
    )
    expression = ask.increase(f"{STARTUP}_bucket", ask.ROUTINE, "le")
    return finished(panel, HEAT, query(expression, "{{le}}").format(PromQueryFormat.HEATMAP))


def _quantiles() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (5.0, RED), none="Fewer than 5 pods started in an hour.").interval(HOURLY)
    panel.override_by_name("p50", [fixed(GREEN)]).override_by_name("p99", [fixed(ORANGE)]).axis_soft_max(6)
    count = f"{STARTUP}_count{{{ask.ROUTINE}}}"
    return finished(
        panel,
        QUANTILES,
        query(ask.enough(ask.percentile(0.5, STARTUP, ask.ROUTINE), count), "p50", "A"),
        query(ask.enough(ask.percentile(0.99, STARTUP, ask.ROUTINE), count), "p99", "B"),
    )


def _reasons() -> timeseries.Panel:
    panel = by_reason(bars("short", none="No attempt failed in this time.").decimals(0))
    expression = f"{ask.increase('khealth_failures_total', ask.ROUTINE, 'reason')} > 0"
    return finished(panel, REASONS, query(expression, "{{reason}}"))


def _good() -> timeseries.Panel:
    panel = lines("percentunit", none="Fewer than 5 samples in an hour.").interval(HOURLY).max(1).axis_soft_min(0.95)
    panel.override_by_name("pods within 5 s", [fixed(GREEN)]).override_by_name("pods within 1 s", [fixed(BLUE)])
    panel.override_by_name("API writes within 1 s", [fixed("purple")])
    dashes = override("custom.lineStyle", {"fill": "dash", "dash": [8, 8]})
    panel.override_by_name("objective", [fixed(RED), dashes, override("custom.lineWidth", 1)])
    return finished(
        panel,
        GOOD,
        query(ask.good_share(STARTUP, ask.ROUTINE, "5"), "pods within 5 s", "A"),
        query(ask.good_share(STARTUP, ask.ROUTINE, "1"), "pods within 1 s", "B"),
        query(ask.good_share(STEPS, ask.ROUTINE, "1", ask.API_WRITES), "API writes within 1 s", "C"),
        query("max(khealth:objective:ratio)", "objective", "D"),
    )


def _slowest() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (5.0, RED), none="Fewer than 5 samples in an hour.").interval(HOURLY)
    by = "module, routine, step"
    figure = ask.percentile(0.99, STEPS, ask.ROUTINE, by)
    expression = ask.of_step(ask.enough(figure, f"{STEPS}_count{{{ask.ROUTINE}}}", by))
    return finished(panel, SLOWEST, query(expression, "{{routine}} {{step}}: {{component}}"))
