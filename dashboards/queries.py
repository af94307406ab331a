"""What the dashboards ask Prometheus, as text with Grafana's variables in it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dashboards.series import PLACE, increased, once

TARGET = 'cluster=~"$cluster",namespace=~"$namespace"'
"""Chooses processes; a label that Prometheus does not add is empty, which All matches."""
ROUTINE = f'{TARGET},module=~"$module",routine=~"$routine"'
"""Chooses routines of processes."""
RECORDED = 'cluster=~"$cluster",module=~"$module",routine=~"$routine"'
"""Chooses routines in what recording rules have put together."""
EVERYWHERE = 'cluster=~"$cluster"'
"""Chooses clusters, all of them at once."""

STARTUP, STEPS = "khealth_pod_startup_duration_seconds", "khealth_step_duration_seconds"

STATES: Mapping[str, int] = MappingProxyType({"suspended": 0, "healthy": 1, "unknown": 2, "failing": 3, "broken": 4})
"""States as numbers, so that the worst of several is their maximum."""
TICKETS = "pod_unschedulable|one_node|one_api_server|one_dns_server|cpu_starved"
"""Reasons that are no outage: they leave a component failing and never make it broken."""
MENTIONED = "throttled|quota_exceeded"
"""Inconclusive reasons with an alert of their own: of these khealth is not blind."""
API_WRITES = 'khealth_step_info{component="api_server",step=~"accept|create|update|delete"}'
"""The steps that measure a write to the API server: elsewhere, steps of these names measure other components."""
OF_PODS = "khealth_pod_startup_duration_seconds_count"
"""What only routines that follow pods have."""
LONG, BLIND = "1h", "30m"
"""Windows: of a percentile of what happens three times a minute, and of the alert KhealthBlind."""

_RUN = f"on ({PLACE}, module, routine)"
_STEP = f"on ({PLACE}, module, routine, step)"
_WHY = "on (cluster, reason) group_left (component)"
_WINDOWS = (("<= 120", "5m"), ("> 120 <= 600", "30m:1m"), ("> 600 <= 3600", "3h:5m"), ("> 3600", ""))
"""Of an interval in seconds, a window with two attempts or more; the longer ones by fewer points, for the cost.

Above an hour there is none, as in the alerts: everything since the start of khealth is recent.
"""


def recent(chosen: str, counter: str = "khealth_failures_total") -> str:
    """Return how much a counter of attempts rose within its routine's last attempts, as whole numbers."""
    series = f"{counter}{{{chosen}}}"
    return " or ".join(
        f"(round({increased(series, window) if window else once(series)})"
        f" and {_RUN} khealth_interval_seconds{{{chosen}}} {bound})"
        for bound, window in _WINDOWS
    )


def blamed(chosen: str) -> str:
    """Return, by process, routine, reason and component: up to 1 for a failure, 2 where two were in a row.

    A product instead of a minimum, which PromQL does not have: 2 recent failures and 1 in a row give half of 2 * 1.
    """
    tickets = f'reason=~"{TICKETS}"'
    why = f"({_components(chosen, tickets.replace('=', '!', 1))} or 0.5 * {_components(chosen, tickets)})"
    in_a_row = f"clamp_max({once(f'khealth_consecutive_failures{{{chosen}}}')}, 2)"
    return f"(clamp_max({recent(chosen)}, 2) * {_RUN} group_left () {in_a_row} * {_WHY} {why} / 2 > 0)"


def _components(chosen: str, reasons: str = "") -> str:
    """Return the component of each reason: one for each, even while two versions of khealth see it differently."""
    where = ",".join(filter(None, (EVERYWHERE if chosen == EVERYWHERE else TARGET, reasons)))
    return f"topk by (cluster, reason) (1, group by (cluster, reason, component) (khealth_reason_info{{{where}}}))"


def component_state(chosen: str, by: str = "cluster, component") -> str:
    """Return the state of every component that a routine can blame; unknown where none got that far."""
    known = f"khealth_failures_total{{{chosen}}} and {_RUN} khealth_"
    info = f"* {_WHY} {_components(chosen)}"
    return (
        f"max by ({by}) (2 + ceil({blamed(chosen)}))"
        f" or max by ({by}) (1 + 0 * ({known}success{{{chosen}}} == 1) {info})"
        f" or max by ({by}) (2 + 0 * ({known}suspended{{{chosen}}} == 0) {info})"
        f" or max by ({by}) (0 * ({known}suspended{{{chosen}}} == 1) {info})"
    )


def cluster_state(chosen: str, by: str = "") -> str:
    """Return the worst state of any component or routine: a routine that sees nothing is not made up for by others.

    A routine alone makes it failing at most: tickets, and failures in two components, are in a row and not broken.
    """
    grouped = f" by ({by})" if by else ""
    routines = f"clamp_max({routine_state(chosen)}, {STATES['failing']})"
    return f"max{grouped} ({component_state(chosen)} or {routines})"


def routine_state(chosen: str) -> str:
    """Return the state of every routine: failing after one failure, broken after two in a row."""
    by = "max by (cluster, module, routine)"
    failed = f"khealth_consecutive_failures{{{chosen}}} and {_RUN} khealth_success{{{chosen}}} == 0"
    return (
        f"{by} (0 * (khealth_suspended{{{chosen}}} == 1))"
        f" or {by} (2 + clamp_max({failed}, 2))"
        f" or {by} (khealth_success{{{chosen}}} == 1)"
        f" or {by} (2 + 0 * (khealth_suspended{{{chosen}}} == 0))"
    )


def undecided(chosen: str) -> str:
    """Return how many recent attempts were inconclusive, by process, routine and reason, without a verdict since."""
    counted = recent(chosen, "khealth_inconclusive_total")
    return f"(({counted}) > 0 unless {_RUN} khealth_success{{{chosen}}})"


def wrong(chosen: str) -> str:
    """Return for each reason for which a routine fails how many failures are in a row, or how often it says nothing."""
    in_a_row = f"{_RUN} group_left () ({once(f'khealth_consecutive_failures{{{chosen}}}')} > 0)"
    return _of_components(chosen, f"(0 * (({recent(chosen)}) > 0) + {in_a_row} or {undecided(chosen)})")


def missing() -> str:
    """Return a reason of its own where no khealth is scraped at all: its alert, as the anchor is spelt."""
    return _absent(f"0 * absent(khealth_build_info{{{TARGET}}})")


def gone(chosen: str) -> str:
    """Return 0 for each cluster of which a khealth was scraped within a day, and is no more."""
    there = f"khealth_build_info{{{chosen}}}"
    return f"0 * (max by (cluster) (last_over_time({there}[1d])) unless on (cluster) {there})"


def _absent(figure: str) -> str:
    return f'label_replace(label_replace({figure}, "component", "khealth", "", ""), "reason", "khealthabsent", "", "")'


def last_success(chosen: str) -> str:
    """Return for each of these reasons when its routine last succeeded, in Unix milliseconds."""
    failed = f"({recent(chosen)}) > 0 and {_RUN} khealth_consecutive_failures{{{chosen}}} > 0"
    last = f"{_RUN} group_left () {once(f'khealth_last_success_timestamp_seconds{{{chosen}}}')}"
    return f"1000 * {_of_components(chosen, f'(0 * ({failed} or {undecided(chosen)}) + {last})')}"


def _of_components(chosen: str, figure: str) -> str:
    return f"max by (cluster, component, reason, module, routine) ({figure} * {_WHY} {_components(chosen)})"


def worst(chosen: str) -> str:
    """Return the one component and reason of each cluster that is worst: broken, failing, or why nothing is known."""
    by = "max by (cluster, component, reason)"
    info = f"{_WHY} {_components(chosen)}"
    seen = f"topk by (cluster) (1, {by} (ceil({blamed(chosen)})) or {by} (0 * {undecided(chosen)} * {info}))"
    return f"{seen} or {_absent(gone(chosen))}"


def not_well_since(chosen: str, by: str = "") -> str:
    """Return when the routine that is not well for longest last succeeded, in Unix milliseconds."""
    grouped = f" by ({by})" if by else ""
    last = f"khealth_last_success_timestamp_seconds{{{chosen}}}"
    return f"1000 * min{grouped} ({last} unless {_RUN} khealth_success{{{chosen}}} == 1)"


def well_since(chosen: str) -> str:
    """Return when a routine was last seen not to be well, in Unix milliseconds; nothing while one is not."""
    at_work = f"max by (cluster, module, routine) (khealth_suspended{{{chosen}}} == 0)"
    bad = f"{at_work} unless on (cluster, module, routine) khealth_success{{{chosen}}} == 1"
    return f"1000 * (max(max_over_time(timestamp({bad})[$__range:1m])) unless on () max({bad}))"


def enough(figure: str, count: str, by: str = "", among: str = "") -> str:
    """Return a figure where five samples or more are behind it: a percentile of three pods says nothing."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{figure} and on ({by}) {grouped} ({increased(count, LONG)}{_among(among)}) >= 5"


def percentile(  # noqa: PLR0913 - each narrows it down
    share: float, histogram: str, chosen: str, by: str = "", among: str = "", *, window: str = LONG
) -> str:
    """Return a percentile of a histogram over a window; with `among`, of the steps that this selects."""
    grouped = f"le, {by}" if by else "le"
    rate = once(f"{histogram}_bucket{{{chosen}}}", f"rate({{}}[{window}])")
    return f"histogram_quantile({share}, sum by ({grouped}) ({rate}{_among(among)}))"


def _among(steps: str) -> str:
    """Return what keeps only the series of some steps: of the same module, routine and step."""
    return f" and {_STEP} {steps}" if steps else ""


def good_share(histogram: str, chosen: str, edge: str, among: str = "") -> str:
    """Return the share of samples that are not above a bucket's edge, however Prometheus writes it: `5` or `5.0`."""
    within = f'{histogram}_bucket{{{chosen},le=~"{edge}(\\\\.0)?"}}'
    count = f"{histogram}_count{{{chosen}}}"
    only = _among(among)
    share = f"sum({increased(within, LONG)}{only}) / sum({increased(count, LONG)}{only})"
    return enough(share, count, among=among)


def mean(histogram: str, chosen: str, by: str, *, of_pods: bool = False) -> str:
    """Return a histogram's mean, where it has samples; with `of_pods`, in routines that follow pods."""
    pods = f" and {_RUN} {OF_PODS}" if of_pods else ""
    total, count = (increased(f"{histogram}_{part}{{{chosen}}}") for part in ("sum", "count"))
    return f"sum by ({by}) ({total}{pods}) / (sum by ({by}) ({count}{pods}) > 0)"


def of_step(figure: str) -> str:
    """Return a figure by module, routine and step, with the step's component."""
    by = "module, routine, step"
    info = f"topk by ({by}) (1, group by ({by}, component) (khealth_step_info{{{ROUTINE}}}))"
    return f"({figure}) * on ({by}) group_left (component) {info}"


def increase(counter: str, chosen: str, by: str) -> str:
    """Return by how much a counter rose in each step of the graph."""
    return f"sum by ({by}) ({increased(f'{counter}{{{chosen}}}')})"


def share(part: Sequence[str], counter: str, by: str = "") -> str:
    """Return which share of a counter a part of it is, over the window of KhealthBlind."""
    grouped = f" by ({by})" if by else ""
    *some, every = (f"sum{grouped} ({increased(series, BLIND)})" for series in (*part, counter))
    return f"{' + '.join(some)} / ({every} > 0)"


def configuration() -> str:
    """Return whether the last reload was accepted; a standby without any configuration has no value."""
    ever = f"khealth_config_last_reload_success_timestamp_seconds{{{TARGET}}} > 0"
    return f"min(khealth_config_last_reload_successful{{{TARGET}}} and on ({PLACE}) {ever})"


def own(figure: str) -> str:
    """Return a figure of processes for khealth alone: every process exposes `process_*`."""
    return f"{figure} and on ({PLACE}) khealth_build_info{{{TARGET}}}"
