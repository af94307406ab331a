"""Each series once, however many copies of it a store has: two Prometheus servers may scrape one khealth."""

from collections.abc import Mapping
from types import MappingProxyType

PLACE = "cluster, namespace, job, instance, pod"
"""The labels that identify a process, as in the rules; whatever else Prometheus adds tells copies apart."""
LABELS: Mapping[str, str] = MappingProxyType({
    "khealth_api_request_duration_seconds": "verb, resource",
    "khealth_api_requests_total": "verb, resource, code",
    "khealth_attempt_duration_seconds": "module, routine",
    "khealth_attempts_total": "module, routine",
    "khealth_build_info": "version, python_version",
    "khealth_config_last_reload_success_timestamp_seconds": "",
    "khealth_consecutive_failures": "module, routine",
    "khealth_event_loop_busy_seconds": "",
    "khealth_failures_total": "module, routine, reason",
    "khealth_inconclusive_total": "module, routine, reason",
    "khealth_last_success_timestamp_seconds": "module, routine",
    "khealth_leader": "",
    "khealth_measurement_uncertainty_seconds": "module, routine",
    "khealth_objects": "kind",
    "khealth_pod_startup_duration_seconds": "module, routine",
    "khealth_samples_total": "module, routine, quality",
    "khealth_step_duration_seconds": "module, routine, step",
    "khealth_swept_objects_total": "kind",
    "khealth_watch_lag_seconds": "",
    "khealth_watch_read_delay_seconds": "",
    "khealth_watch_restarts_total": "cause",
    "process_cpu_seconds_total": "",
    "process_resident_memory_bytes": "",
    "process_start_time_seconds": "",
})  # fmt: skip
"""The labels that khealth itself gives to its series."""


def once(series: str, figure: str = "{}") -> str:
    """Return one copy of each of these series, or of a figure of each, such as `rate({}[5m])`.

    Both sides of a join, and whatever is summed, have to be that; comparisons of sets do with copies.
    """
    name = series.partition("{")[0]
    family, _, part = name.rpartition("_")
    known = name if part not in {"bucket", "count", "sum"} else family
    labels = ", ".join(filter(None, (PLACE, LABELS[known], "le" if part == "bucket" else "")))
    return f"max by ({labels}) ({figure.format(series)})"


def increased(series: str, window: str = "$__rate_interval") -> str:
    """Return by how much each of these counters rose within a window, once."""
    return once(series, f"increase({{}}[{window}])")
