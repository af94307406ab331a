"""The screen that answers: is the cluster well, since when, which part, how slow."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import queries as ask
from dashboards.colours import COLOURS, PART, POD_STEPS, START
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
    "Is the cluster well?",
    "The worst state of any component or routine, now. Well is good: the last attempt of every routine succeeded."
    " Failing: one failed, or it is a matter for office hours (no room for a pod, one node). Broken: a component twice"
    " in a row or more, as the alerts have it. Unknown: none fails, but of one routine or more khealth has no verdict,"
    " or one too old. It is one attempt and one scrape behind, 75 s or so.",
    (0, 0, 4, 4),
    ("KhealthStale", "KhealthAbsent", "KhealthSuspended"),
)
SINCE = Told(
    "Since",
    "While something is not well: the last good attempt of the routine that is so for longest; the fault began"
    " between then and one interval later. While all is well: since when, to the minute, within the time shown.",
    (4, 0, 3, 4),
    ("KhealthErrorBudgetBurn",),
)
FAILING = Told(
    "What is wrong now",
    "Every reason for which a routine fails or says nothing now, and the component that it belongs to. The reason"
    " leads to the runbook. Attempts: failures in a row, of which two make an alert; or how many of late were"
    " inconclusive (with an interval above an hour: since khealth started). Empty is good.",
    (7, 0, 11, 4),
    BROKEN,
)
BUDGET = Told(
    "Error budget left, 30 d",
    "Good is above 50 %. How much of the failures that the objective (99 % of attempts, unless the rules were given"
    " another) allows in 30 days is left, of the routine that has least. Below 0: the objective is missed. It comes"
    " from the recording rule routine:khealth_error_budget_left:ratio_30d (up to ten minutes late), because 30 days are"
    " too long to be added up for every look.",
    (18, 0, 3, 4),
    ("KhealthErrorBudgetBurn", "KhealthErrorBudgetBurnSlow"),
)
P99 = Told(
    "Pod startup, p99 of 1 h",
    "99 % of the last hour's canaries started within this time, pulls of a new image left out: good is up to 5 s. It"
    " lies within its bucket (4 to 5 s, for instance). A pod that never started counts with the time waited. Fewer"
    " than 5 pods: no figure.",
    (21, 0, 3, 4),
    ("KhealthPodStartupSlow",),
)
COMPONENTS = Told(
    "Components",
    "The state of each part of the cluster over time; green is good. Grey: no attempt got as far as that part,"
    " because an earlier one failed, or there is no verdict. Blank: nothing was scraped. A failure is put down to the"
    " first step that broke.",
    (0, 4, 12, 7),
    BROKEN,
)
ROUTINES = Told(
    "Routines",
    "The state of each routine over time: green is good, orange one failure, red two in a row or more. Grey: no"
    " conclusive attempt for three intervals. Blank: nothing was scraped.",
    (12, 4, 12, 7),
    ("KhealthErrorBudgetBurn", "KhealthBlind", "KhealthSuspended"),
)
WAY = Told(
    "Where a pod's start spends its time",
    "The mean of each step, one upon the other: the longest colour is where to look; even bars are good. With a"
    " component that is dead the step that waits for it grows to the time waited, and the later ones are missing."
    " Each step is exact to some milliseconds; see the error bars below.",
    (0, 11, 8, 7),
    ("KhealthPodStartupSlow", "pod_not_scheduled", "kubelet_silent", "image_pull_failed"),
)
HEAT = Told(
    "Pod startup, each pod",
    "How many canaries started within which time: good is one dark band far below 5 s. A second band is a second kind"
    " of node; a slow climb is a cluster that fills up; dots above are single nodes or pulls.",
    (8, 11, 8, 7),
    ("KhealthPodStartupSlow", "one_node"),
)
QUANTILES = Told(
    "Pod startup, p50 and p99 of 1 h",
    "Half, and 99 %, of the pods of the hour before started within these times. Good is a p99 below the dashed line,"
    " the objective: at most 5 s. A figure lies within its bucket. Fewer than 5 pods: no figure.",
    (16, 11, 8, 7),
    ("KhealthPodStartupSlow",),
)
REASONS = Told(
    "Failures by reason",
    "Failed attempts, by reason. No bar is good. Counted at the attempt's deadline,"
    " so a fault shows some 20 s after the attempt that met it began.",
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
    "The share of pods that started within 5 s and within 1 s, and of writes that the API server answered within 1 s."
    " Counted at bucket edges, so exact. Good is above the dashed line, the objective, which is drawn if khealth's"
    " recording rules are there. Fewer than 5 samples: no figure.",
    (8, 18, 8, 6),
    ("KhealthPodStartupSlow", "KhealthApiSlow"),
)
SLOWEST = Told(
    "Steps, p99 of 1 h",
    "Which step is slow for the unlucky ones. Each step measures one component: see the legend. A step of a pod that"
    " was stuck counts with the time waited. Good: none above the dashed line, 5 s.",
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
    panel = single("dateTimeFromNow", (None, "text"), none="longer than shown")
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
    panel = matrix(columns, none="Nothing, as far as khealth sees.").min_width(60)
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
    panel = bars("s", none="No pod was made in this time.")
    for step in POD_STEPS:
        panel.override_by_name(step.name, _named(step.name, PART[step.component]))
    asked = [
        query(ask.mean(STEPS, f'{ask.ROUTINE},step="{name}"', "step", of_pods=True), "{{step}}", chr(ord("A") + number))
        for number, name in enumerate(START)
    ]
    return finished(panel, WAY, *asked)


def _named(step: str, component: str) -> list[models.DynamicConfigValue]:
    color = [fixed(COLOURS[step])] if step in COLOURS else []
    return [*color, override("displayName", f"{step}: {component}")]


def _heat() -> heatmap.Panel:
    colours = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel = (
        heatmap.Panel()
        .unit("short")
        .decimals(0)
        .thresholds(thresholds((None, GREEN)))
        .no_value("No pod was made in this time.")
        .interval(STEP)
        .calculate(False)
        .color(colours.scale(heatmap_models.HeatmapColorScale.EXPONENTIAL).exponent(0.5).reverse(False))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .cell_gap(1)
        .hide_legend()
    )
    expression = ask.increase(f"{STARTUP}_bucket", ask.ROUTINE, "le")
    return finished(panel, HEAT, query(expression, "{{le}}").format(PromQueryFormat.HEATMAP))


def _quantiles() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (5.0, RED), none="Fewer than 5 pods were started in an hour.").interval(HOURLY)
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
