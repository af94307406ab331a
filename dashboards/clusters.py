"""Many clusters at once: a row for each, with a link to its own dashboard."""

from collections.abc import Iterator, Sequence

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from dashboards import queries as ask
from dashboards.parts import (
    GREEN,
    HOURLY,
    ORANGE,
    RED,
    Told,
    finished,
    fixed,
    lines,
    matrix,
    now,
    override,
    query,
    rows,
    single,
    state_colors,
    states,
    thresholds,
    timeline,
    to_reason,
)
from dashboards.queries import STARTUP, STEPS

NONE = override("noValue", "–")  # noqa: RUF001 - a dash
"""What an empty cell shows; what a table shows that has no row would be read as if it were about the cell."""
COUNTED = {"healthy": GREEN, "failing": ORANGE, "broken": RED, "unknown": "#8e8e8e"}

COUNTS = {
    "healthy": (
        "Healthy clusters",
        "Clusters in which the last attempt of every routine succeeded. Good is all of them.",
        "KhealthAbsent",
    ),
    "failing": (
        "Failing",
        "Clusters in which an attempt failed once, or for a reason that is a ticket, such as one_node. Good is 0.",
        "KhealthOneNode",
    ),
    "broken": (
        "Broken",
        "Clusters in which a component failed twice or more in a row. Good is 0. The table shows which and since when.",
        "KhealthErrorBudgetBurn",
    ),
    "unknown": (
        "Unknown",
        "No routine fails, but one has no verdict or an outdated one; or no scrape for up to a day. Good is 0.",
        "KhealthStale",
    ),
}
TABLE = Told(
    "Clusters",
    "A row for each cluster, the worst first. Click a cluster to open its dashboard. Component and reason: the"
    " worst failure, or the reason why the state is unknown. Last success: of the routine that has failed for the"
    " longest time. Budget left: of 30 days, needs the recording rules. Startup and API write: p99 of 1 h (good:"
    " up to 5 s and 1 s), empty with fewer than 5 samples. Blind: the share of inconclusive attempts in the last"
    " half hour (good: below 10 %).",
    (0, 4, 24, 9),
    ("KhealthErrorBudgetBurn", "KhealthPodStartupSlow", "KhealthApiSlow", "KhealthBlind"),
)
HISTORY = Told(
    "States",
    "The worst state of any component or routine of each cluster over time. Green is good. Gray: a routine has no"
    " verdict. Blank: nothing was scraped.",
    (0, 13, 24, 7),
    ("KhealthErrorBudgetBurn", "KhealthAbsent"),
)
SLOW_PODS = Told(
    "Pod startup, p99 of 1 h",
    "99 % of the pods of the previous hour started within this time. Good is below the dashed line, 5 s.",
    (0, 20, 12, 7),
    ("KhealthPodStartupSlow",),
)
SLOW_WRITES = Told(
    "Writes to the API server, p99 of 1 h",
    "99 % of khealth's writes of the previous hour were answered within this time, including the network. Good is"
    " below the dashed line, 1 s.",
    (12, 20, 12, 7),
    ("KhealthApiSlow", "KhealthApiServerOverloaded"),
)


def panels() -> Iterator[stat.Panel | timeseries.Panel | statetimeline.Panel | table.Panel]:
    """Yield the panels, from above to below."""
    yield from _counts()
    yield _table()
    state = ask.cluster_state(ask.EVERYWHERE, "cluster")
    yield finished(timeline(), HISTORY, query(state, "{{cluster}}"))
    yield _slow(SLOW_PODS, STARTUP, "", 5.0)
    yield _slow(SLOW_WRITES, STEPS, ask.API_WRITES, 1.0)


def _counts() -> Iterator[stat.Panel]:
    for number, (name, (title, meaning, section)) in enumerate(COUNTS.items()):
        told = Told(title, meaning, (6 * number, 0, 6, 4), (section,))
        base = (None, GREEN if name == "healthy" else "text")
        panel = single("none", base, *([] if name == "healthy" else [(1.0, COUNTED[name])]), none="0")
        yield finished(panel, told, now(f"count(({_state()}) == {ask.STATES[name]})", name))


def _table() -> table.Panel:
    columns = {
        "cluster": "Cluster",
        "Value #A": "State",
        "component": "Component",
        "reason": "Reason",
        "Value #C": "Last success",
        "Value #D": "Budget left",
        "Value #E": "Startup p99",
        "Value #F": "API write p99",
        "Value #G": "Blind",
        "Value #B": "Severity",
    }
    panel = matrix([*columns.items()], none="No cluster: is khealth scraped?")
    panel.sort_by([common_builders.TableSortByFieldState().display_name("State").desc(True)])
    panel.override_by_name("Reason", [override("links", [to_reason()]), NONE])
    way = {
        "title": "${__value.text}",
        "url": "/d/khealth?var-cluster=${__value.text:percentencode}&${datasource:queryparam}&${__url_time_range}",
    }
    panel.override_by_name("Cluster", [override("links", [way])])
    panel.override_by_name("Severity", [override("custom.hidden", True)])
    background = override("custom.cellOptions", {"type": "color-background", "mode": "basic"})
    shades = override("thresholds", state_colors().build())
    panel.override_by_name("State", [override("mappings", [states()]), shades, background])
    panel.override_by_name("Component", [fixed(ORANGE), override("custom.cellOptions", {"type": "color-text"}), NONE])
    panel.override_by_name("Last success", [override("unit", "dateTimeFromNow"), NONE])
    for name, unit, decimals, steps in (
        ("Budget left", "percentunit", 0, ((None, RED), (0.0, ORANGE), (0.5, GREEN))),
        ("Startup p99", "s", 1, ((None, GREEN), (3.0, ORANGE), (5.0, RED))),
        ("API write p99", "s", 1, ((None, GREEN), (0.5, ORANGE), (1.0, RED))),
        ("Blind", "percentunit", 1, ((None, GREEN), (0.05, ORANGE), (0.1, RED))),
    ):
        panel.override_by_name(name, _colored(unit, decimals, steps))
    return finished(panel, TABLE, *(rows(text, ref) for ref, text in _columns().items()))


def _colored(unit: str, decimals: int, steps: Sequence[tuple[float | None, str]]) -> list[models.DynamicConfigValue]:
    return [
        override("unit", unit),
        override("decimals", decimals),
        NONE,
        override("thresholds", thresholds(*steps).build()),
        override("custom.cellOptions", {"type": "color-text"}),
    ]


def _columns() -> dict[str, str]:
    where = "cluster"
    lost = f'khealth_inconclusive_total{{{ask.EVERYWHERE},reason!~"{ask.MENTIONED}"}}'
    return {
        "A": _state(),
        "B": ask.worst(ask.EVERYWHERE),
        "C": ask.not_well_since(ask.EVERYWHERE, where),
        "D": f"min by ({where}) (routine:khealth_error_budget_left:ratio_30d{{{ask.EVERYWHERE}}})",
        "E": _p99(STARTUP, ask.EVERYWHERE),
        "F": _p99(STEPS, ask.EVERYWHERE, ask.API_WRITES),
        "G": ask.share([lost], f"khealth_attempts_total{{{ask.EVERYWHERE}}}", where),
    }


def _state() -> str:
    """Return the state of every cluster; of one whose khealth was there within a day and is gone, unknown."""
    known = ask.cluster_state(ask.EVERYWHERE, "cluster")
    return f"{known} or {ask.STATES['unknown']} + {ask.gone(ask.EVERYWHERE)}"


def _p99(histogram: str, chosen: str, among: str = "") -> str:
    figure = ask.percentile(0.99, histogram, chosen, "cluster", among)
    return ask.enough(figure, f"{histogram}_count{{{chosen}}}", "cluster", among)


def _slow(told: Told, histogram: str, among: str, objective: float) -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (objective, RED), none="Fewer than 5 samples in an hour.").interval(HOURLY)
    panel.axis_soft_max(1.2 * objective)
    return finished(panel, told, query(_p99(histogram, ask.EVERYWHERE, among), "{{cluster}}"))
