"""What every panel has: title, meaning, place, source, unit, thresholds and the way to the runbook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.colors import reasons
from dashboards.queries import STATES

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNBOOK = "${runbook:raw}"
"""The runbook's address, as the variable has it: nothing of it is escaped."""
GREEN, YELLOW, ORANGE, RED, GRAY, BLUE = "green", "yellow", "orange", "red", "#8e8e8e", "blue"
WORDS: Mapping[str, tuple[str, str]] = {
    "suspended": ("Suspended", BLUE),
    "healthy": ("Healthy", GREEN),
    "unknown": ("Unknown", GRAY),
    "failing": ("Failing", ORANGE),
    "broken": ("Broken", RED),
}
"""How states are called, and their colors."""
RULES_MISSING = "needs khealth's recording rules"
HOURLY = "1m"
"""The least step of what is over an hour: it moves slowly, and each point costs an hour's samples."""
STEP = "2m"
"""The least step of what attempts bring: at one attempt a minute two of them, six pods."""

Builder = TypeVar("Builder", bound=stat.Panel | timeseries.Panel | statetimeline.Panel | heatmap.Panel | table.Panel)
Query = prometheus.Dataquery


@dataclass(frozen=True, slots=True)
class Told:
    """What a panel is called, what it means, where it is, and which sections of the runbook it leads to."""

    title: str
    meaning: str
    place: tuple[int, int, int, int]
    """x, y, width, height."""
    sections: Sequence[str]


def query(expression: str, legend: str = "__auto", ref: str = "A") -> Query:
    """Return a query over the time that is shown."""
    return _query(expression, ref).range().legend_format(legend)


def now(expression: str, legend: str = "__auto", ref: str = "A") -> Query:
    """Return a query of the last moment that is shown."""
    return _query(expression, ref).instant().legend_format(legend)


def rows(expression: str, ref: str) -> Query:
    """Return a query of the last moment, its labels as a table's columns."""
    return now(expression, ref=ref).format(PromQueryFormat.TABLE)


def _query(expression: str, ref: str) -> Query:
    return prometheus.Dataquery().datasource(SOURCE).expr(expression).ref_id(ref)


def finished(panel: Builder, told: Told, *queries: Query) -> Builder:
    """Return a panel with what all of them have."""
    x, y, width, height = told.place
    for asked in queries:
        panel.with_target(asked)
    panel.title(told.title).description(told.meaning).datasource(SOURCE)
    panel.grid_pos(models.GridPos(x=x, y=y, w=width, h=height))
    panel.links([runbook(section) for section in told.sections])
    return panel


def runbook(section: str) -> dashboard.DashboardLink:
    """Return the way to the runbook's section of an alert or a reason."""
    return link(f"Runbook: {section}", f"{RUNBOOK}#{section.lower()}").target_blank(True)


def to_reason() -> Mapping[str, object]:
    """Return a cell's way to the runbook's section of the reason in it."""
    return {"title": "Runbook: ${__value.text}", "url": f"{RUNBOOK}#${{__value.text}}", "targetBlank": True}


def link(title: str, url: str) -> dashboard.DashboardLink:
    """Return a way to somewhere else."""
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)


def thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Return from which values on which colors hold; the first is the base, from None on."""
    told = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(told)


def mapped(words: Mapping[str, tuple[str, str]]) -> models.ValueMap:
    """Return what is shown, and in which color, in the place of values."""
    return models.ValueMap(
        options={
            value: models.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(words.items())
        }
    )


def states() -> models.ValueMap:
    """Return the words and colors of states."""
    return mapped({str(number): WORDS[name] for name, number in STATES.items()})


def state_colors() -> dashboard.ThresholdsConfig:
    """Return the same colors for what goes by thresholds."""
    return thresholds((None, GRAY), *((float(number), WORDS[name][1]) for name, number in STATES.items()))


def by_thresholds() -> dashboard.FieldColor:
    """Return that a value's threshold gives its color."""
    return dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def fixed(color: str) -> models.DynamicConfigValue:
    """Return an override: one color, always."""
    return override("color", {"mode": "fixed", "fixedColor": color})


def override(key: str, value: object) -> models.DynamicConfigValue:
    """Return what an override sets."""
    return models.DynamicConfigValue(id_val=key, value=value)


def single(unit: str, *steps: tuple[float | None, str], none: str = "no data", decimals: int = 0) -> stat.Panel:
    """Return a panel of one large figure, colored by thresholds."""
    return (
        stat.Panel()
        .unit(unit)
        .decimals(decimals)
        .thresholds(thresholds(*steps))
        .color_scheme(by_thresholds())
        .no_value(none)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .orientation(common.VizOrientation.VERTICAL)
    )


def state_now() -> stat.Panel:
    """Return a panel of one state, as a colored field with a word."""
    return (
        single("none", none="No data: is khealth scraped?")
        .thresholds(state_colors())
        .mappings([states()])
        .color_mode(common.BigValueColorMode.BACKGROUND)
    )


def timeline(none: str = "No data: is khealth scraped?") -> statetimeline.Panel:
    """Return a panel of states over time; a gap stays a gap."""
    return (
        statetimeline.Panel()
        .unit("none")
        .decimals(0)
        .thresholds(state_colors())
        .color_scheme(by_thresholds())
        .mappings([states()])
        .no_value(none)
        .merge_values(True)
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.85)
        .fill_opacity(90)
        .line_width(0)
        .span_nulls(False)
        .legend(_legend(common.LegendPlacement.BOTTOM))
    )


def _legend(placement: common.LegendPlacement, *calcs: str) -> common_builders.VizLegendOptions:
    mode = common.LegendDisplayMode.TABLE if calcs else common.LegendDisplayMode.LIST
    return common_builders.VizLegendOptions().display_mode(mode).placement(placement).show_legend(True).calcs([*calcs])


def lines(
    unit: str, *steps: tuple[float | None, str], none: str = "no data", decimals: int | None = None
) -> timeseries.Panel:
    """Return a panel of curves; from the second threshold on, each is drawn as a dashed line."""
    drawn = common.GraphThresholdsStyleMode.DASHED if len(steps) > 1 else common.GraphThresholdsStyleMode.OFF
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .thresholds(thresholds(*(steps or ((None, GREEN),))))
        .thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(drawn))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .no_value(none)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        .span_nulls(False)
        .legend(_legend(common.LegendPlacement.BOTTOM))
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    return panel if decimals is None else panel.decimals(decimals)


def bars(unit: str, *steps: tuple[float | None, str], none: str = "no data") -> timeseries.Panel:
    """Return a panel of stacked bars."""
    return (
        lines(unit, *steps, none=none)
        .draw_style(common.GraphDrawStyle.BARS)
        .line_width(0)
        .fill_opacity(85)
        .bar_width_factor(0.9)
        .bar_alignment(common.BarAlignment.BEFORE)
        .stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        .interval(STEP)
    )


def by_reason(panel: timeseries.Panel) -> timeseries.Panel:
    """Return a panel whose series are reasons: each has a shade of its component's color."""
    for reason, color in reasons().items():
        panel.override_by_name(reason, [fixed(color)])
    return panel


def transformed(name: str, options: Mapping[str, object]) -> models.DataTransformerConfig:
    """Return a change of what was answered, before it is shown."""
    return models.DataTransformerConfig(id_val=name, options=dict(options))


def matrix(columns: Sequence[tuple[str, str]], none: str) -> table.Panel:
    """Return a table of several queries, a row for each set of labels, with columns and what they are called."""
    return (
        table.Panel()
        .unit("none")
        .decimals(0)
        .thresholds(thresholds((None, GREEN)))
        .color_scheme(by_thresholds())
        .no_value(none)
        .show_header(True)
        .cell_height(common.TableCellHeight.SM)
        .with_transformation(transformed("merge", {}))
        .with_transformation(
            transformed(
                "organize",
                {
                    "excludeByName": {"Time": True},
                    "indexByName": {name: index for index, (name, _) in enumerate(columns)},
                    "renameByName": {name: shown for name, shown in columns if name != shown},
                },
            )
        )
    )
