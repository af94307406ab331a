"""The row about khealth itself: how certain its figures are, what it costs, and whether it is active."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.models import common

from dashboards import queries as ask
from dashboards.parts import (
    GRAY,
    GREEN,
    ORANGE,
    RED,
    Told,
    bars,
    by_reason,
    finished,
    fixed,
    lines,
    mapped,
    now,
    override,
    query,
    single,
)
from dashboards.series import once

TOP = 25
"""Where the row begins on the grid, below its title."""
LOOP_LAG, WATCH_LAG = 0.02, 0.05
"""Seconds from which on a step is called degraded, by khealth's defaults."""

LEADER = Told(
    "Leaders",
    "The number of active replicas in each cluster and namespace. Good is 1, also without leader election.",
    (0, TOP, 3, 4),
    ("KhealthNoLeader", "KhealthManyLeaders"),
)
VERSION = Told(
    "Version",
    "The version of khealth at the last scrape. One version is good. A rolling update shows two.",
    (3, TOP, 3, 4),
    ("KhealthAbsent",),
)
CONFIGURATION = Told(
    "Configuration",
    "Whether khealth accepted the configuration at the last reload. Accepted is good. Refused: the previous"
    " configuration is still active, and khealth's log has the errors.",
    (6, TOP, 4, 4),
    ("KhealthConfigRefused",),
)
AGE = Told(
    "Age of the last attempt",
    "The time since the last attempt, in intervals of the routine, for the routine with the oldest one. Good is"
    " up to 2. From 5 on, the results of khealth are outdated.",
    (10, TOP, 4, 4),
    ("KhealthStale",),
)
RESTARTS = Told(
    "Restarts, 1 h",
    "How often the process restarted in its pod within an hour. Good is 0. Annotations in the graphs show the times.",
    (14, TOP, 3, 4),
    ("KhealthRestarting",),
)
BLIND = Told(
    "Blind share, 30 m",
    "The share of inconclusive attempts in the last half hour, and the shares of samples that were discarded or"
    " degraded. Good is below 10 %. The reasons throttled and quota_exceeded have their own alerts and do not"
    " count.",
    (17, TOP, 7, 4),
    ("KhealthBlind",),
)
UNCERTAINTY = Told(
    "Error bars of the measured steps",
    "The uncertainty of the measured steps: half of them, and 99 %, have an error below this. Good is a few"
    " milliseconds. A sample whose error bar crosses an edge of an objective is discarded.",
    (0, TOP + 4, 6, 7),
    ("KhealthBlind", "prober_starved"),
)
LAG = Told(
    "Watch lag",
    "The delay with which the watch shows khealth's own writes. Good is a few milliseconds. More than that is a"
    " busy API server or network. Above the dashed line (50 ms by default), steps are degraded.",
    (6, TOP + 4, 6, 7),
    ("KhealthBlind", "watch_interrupted"),
)
READ = Told(
    "Watches, first read after a pause",
    "How long after their arrival khealth read the first bytes that a watch showed after a pause. The times that"
    " khealth measures do not contain this delay. Good is below the dashed line (20 ms by default). Above it, khealth"
    " needs more CPU.",
    (12, TOP + 4, 6, 7),
    ("KhealthBlind", "prober_starved"),
)
BUSY = Told(
    "Event loop, busy at one time",
    "How long khealth's own work blocked its event loop. Good is below the dashed line (20 ms by default). Above"
    " it, steps are degraded: khealth needs more CPU, or watches too many pods.",
    (18, TOP + 4, 6, 7),
    ("KhealthBlind", "prober_starved"),
)
QUALITY = Told(
    "Samples by quality",
    "Measured objects, by the worst quality of their steps. Exact is good. Cold: the first pod of the image on"
    " its node. Foreign: a webhook or a policy put something into the pod that made a step longer; such steps do not"
    " count. Degraded: khealth or its watch was late. Discarded: too uncertain to count near an edge of an objective.",
    (0, TOP + 11, 8, 7),
    ("KhealthBlind",),
)
INCONCLUSIVE = Told(
    "Inconclusive attempts by reason",
    "Attempts without a verdict about the cluster, by reason. They count neither as success nor as failure. No"
    " bar is good.",
    (8, TOP + 11, 8, 7),
    (
        "KhealthBlind",
        "forbidden",
        "proxy_error",
        "throttled",
        "quota_exceeded",
        "watch_interrupted",
        "prober_starved",
        "disrupted",
        "no_single_cause",
        "pod_gated",
        "unknown",
    ),
)
OBJECTS = Told(
    "Objects of khealth",
    "The number of khealth's objects in its namespace. Good: it rises with each attempt and returns to 0.",
    (16, TOP + 11, 8, 7),
    ("KhealthLeftovers",),
)
REQUESTS = Told(
    "Requests to the API server",
    "Requests of khealth per second, by verb and status code (none: no answer). Good is far below 1, with codes"
    " 200 and 201. A 404 from time to time is an object that was just deleted.",
    (0, TOP + 18, 8, 7),
    ("KhealthApiServerOverloaded", "throttled", "forbidden"),
)
COST = Told(
    "Duration of a request",
    "The mean duration of khealth's requests, by verb and resource, without watches. Good is a few milliseconds.",
    (8, TOP + 18, 8, 7),
    ("KhealthApiSlow",),
)
WATCHES = Told(
    "Watch restarts and sweeps",
    "Watches that khealth had to restart, by cause, and objects of ended runs that it deleted, by kind. No bar is"
    " good. A restart from time to time is normal: the API server ends each watch after a while.",
    (16, TOP + 18, 8, 7),
    ("watch_interrupted", "KhealthLeftovers"),
)
PROCESS = Told(
    "khealth's own CPU and memory",
    "CPU in cores (left) and resident memory (right) of each process. Good is a few thousandths of a core, and"
    " memory that does not grow for days.",
    (0, TOP + 25, 12, 6),
    ("KhealthRestarting", "prober_starved"),
)
DURATION = Told(
    "Duration of an attempt, p50 and p99 of 1 h",
    "Init and cleanup, without the time for which khealth holds the pods. Good is far below the timeout of the"
    " routine (20 s by default), which applies to each of the two.",
    (12, TOP + 25, 12, 6),
    ("KhealthStale", "pod_not_deleted"),
)


def panels() -> Iterator[stat.Panel | timeseries.Panel]:
    """Yield the panels of the row."""
    yield from _states()
    yield _percentiles(UNCERTAINTY, "khealth_measurement_uncertainty_seconds", ask.ROUTINE, None)
    yield _percentiles(LAG, "khealth_watch_lag_seconds", ask.TARGET, WATCH_LAG)
    yield _percentiles(READ, "khealth_watch_read_delay_seconds", ask.TARGET, LOOP_LAG)
    yield _percentiles(BUSY, "khealth_event_loop_busy_seconds", ask.TARGET, LOOP_LAG)
    yield from _counts()
    yield from _requests()
    yield _process()
    yield _percentiles(DURATION, "khealth_attempt_duration_seconds", ask.ROUTINE, None, ask.LONG)


def _states() -> Iterator[stat.Panel]:
    leaders = single("none", (None, RED), (1.0, GREEN), (2.0, RED), none="khealth is not scraped")
    yield finished(
        leaders,
        LEADER,
        now(f"sum by (cluster, namespace) ({once(f'khealth_leader{{{ask.TARGET}}}')})", "{{cluster}} {{namespace}}"),
    )
    version = single("none", (None, "text"), none="none").text_mode(common.BigValueTextMode.NAME)
    yield finished(
        version, VERSION, now(f"count by (version) ({once(f'khealth_build_info{{{ask.TARGET}}}')})", "{{version}}")
    )
    words = mapped({"0": ("Refused", RED), "1": ("Accepted", GREEN)})
    configuration = single("none", (None, RED), (1.0, GREEN)).mappings([words])
    yield finished(
        configuration,
        CONFIGURATION,
        now(ask.configuration(), "last reload"),
    )
    age = single("none", (None, GREEN), (2.0, ORANGE), (5.0, RED), none="no attempt yet", decimals=1)
    by = "max by (cluster, module, routine)"
    last = f"{by} (khealth_last_attempt_timestamp_seconds{{{ask.ROUTINE}}})"
    interval = f"{by} (khealth_interval_seconds{{{ask.ROUTINE}}})"
    yield finished(age, AGE, now(f"max((time() - {last}) / {interval})", "intervals"))
    restarts = single("none", (None, GREEN), (1.0, ORANGE), (4.0, RED))
    changes = ask.own(once(f"process_start_time_seconds{{{ask.TARGET}}}", "changes({}[1h])"))
    yield finished(restarts, RESTARTS, now(f"sum({changes})", "restarts"))
    yield _blind()


def _blind() -> stat.Panel:
    panel = single("percentunit", (None, GREEN), (0.05, ORANGE), (0.1, RED), none="no attempt", decimals=1)
    lost = f'khealth_inconclusive_total{{{ask.ROUTINE},reason!~"{ask.MENTIONED}"}}'
    samples = "khealth_samples_total{" + ask.ROUTINE
    shares = {
        "inconclusive": ask.share([lost], f"khealth_attempts_total{{{ask.ROUTINE}}}"),
        "discarded": ask.share([f'{samples},quality="discarded"}}'], f"{samples}}}"),
        "degraded": ask.share([f'{samples},quality="degraded"}}'], f"{samples}}}"),
    }
    asked = [now(share, name, ref) for ref, (name, share) in zip("ABC", shares.items(), strict=True)]
    return finished(panel, BLIND, *asked)


def _percentiles(
    told: Told, histogram: str, chosen: str, limit: float | None, window: str = "$__rate_interval"
) -> timeseries.Panel:
    panel = lines("s", (None, GREEN), *([] if limit is None else [(limit, RED)]), none="Nothing was measured.")
    panel.override_by_name("p50", [fixed(GREEN)]).override_by_name("p99", [fixed(ORANGE)]).interval("2m")
    if limit is not None:
        panel.axis_soft_max(1.2 * limit)
    return finished(
        panel,
        told,
        query(ask.percentile(0.5, histogram, chosen, window=window), "p50", "A"),
        query(ask.percentile(0.99, histogram, chosen, window=window), "p99", "B"),
    )


def _counts() -> Iterator[timeseries.Panel]:
    quality = bars("short", none="Nothing was measured.").decimals(0)
    colors = {"exact": GREEN, "cold": "blue", "foreign": "purple", "degraded": ORANGE, "discarded": RED}
    for name, color in colors.items():
        quality.override_by_name(name, [fixed(color)])
    counted = ask.increase("khealth_samples_total", ask.ROUTINE, "quality")
    yield finished(quality, QUALITY, query(counted, "{{quality}}"))
    inconclusive = by_reason(bars("short", none="No attempt was inconclusive in this time.").decimals(0))
    counted = f"{ask.increase('khealth_inconclusive_total', ask.ROUTINE, 'reason')} > 0"
    yield finished(inconclusive, INCONCLUSIVE, query(counted, "{{reason}}"))
    objects = lines("short", none="No data: is khealth scraped?", decimals=0).fill_opacity(20)
    there = f"sum by (kind) ({once(f'khealth_objects{{{ask.TARGET}}}')})"
    yield finished(objects, OBJECTS, query(there, "{{kind}}"))


def _requests() -> Iterator[timeseries.Panel]:
    requests = lines("reqps", none="No request was made.").fill_opacity(10).interval("1m")
    rate = once(f"khealth_api_requests_total{{{ask.TARGET}}}", "rate({}[$__rate_interval])")
    yield finished(requests, REQUESTS, query(f"sum by (verb, code) ({rate}) > 0", "{{verb}} {{code}}"))
    cost = lines("s", none="No request was made.").interval("2m")
    waited = ask.mean("khealth_api_request_duration_seconds", f'{ask.TARGET},verb!="watch"', "verb, resource")
    yield finished(cost, COST, query(waited, "{{verb}} {{resource}}"))
    again = bars("short", none="No watch restarted, and nothing was swept.").decimals(0)
    restarts = f"{ask.increase('khealth_watch_restarts_total', ask.TARGET, 'cause')} > 0"
    swept = f"{ask.increase('khealth_swept_objects_total', ask.TARGET, 'kind')} > 0"
    yield finished(again, WATCHES, query(restarts, "watch: {{cause}}", "A"), query(swept, "swept: {{kind}}", "B"))


def _process() -> timeseries.Panel:
    panel = lines("short", none="No data: is khealth scraped?", decimals=3)
    right = [override("unit", "bytes"), override("decimals", 0), override("custom.axisPlacement", "right"), fixed(GRAY)]
    panel.override_by_query("B", right)
    cpu = ask.own(once(f"process_cpu_seconds_total{{{ask.TARGET}}}", "rate({}[$__rate_interval])"))
    memory = ask.own(once(f"process_resident_memory_bytes{{{ask.TARGET}}}"))
    who = "{{cluster}} {{pod}}"
    return finished(panel, PROCESS, query(cpu, f"CPU {who}", "A"), query(memory, f"memory {who}", "B"))
