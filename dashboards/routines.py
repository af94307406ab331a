"""The row about single routines: the API server as control-plane/api sees it, and every node."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, timeseries

from dashboards import queries as ask
from dashboards.parts import GREEN, HOURLY, RED, Query, Told, finished, lines, now, query, single
from dashboards.queries import STEPS

TOP = 57
"""Where the row about single routines begins, below the one about khealth itself."""
API = Told(
    "control-plane/api: steps, p50 and p99 of 1 h",
    "How long the API server takes for each request of control-plane/api, and for a new connection. Good: create,"
    " update and delete stay below the dashed line, 1 s. Fewer than 5 samples: no figure.",
    (0, TOP, 8, 6),
    ("KhealthApiSlow", "stale_read"),
)
CERTIFICATE = Told(
    "control-plane/api: certificate expires in",
    "The time until the API server's serving certificate expires, as khealth's TLS handshakes show it. Good is more"
    " than 14 days.",
    (8, TOP, 3, 6),
    ("KhealthApiCertificateExpires",),
)
NODES = Told(
    "workloads/pod: nodes failing",
    "The number of nodes on which the last canary pod failed. Good is 0. khealth's status page names the nodes, and"
    " says how long a full round over all nodes takes.",
    (11, TOP, 5, 6),
    ("KhealthOneNode", "one_node"),
)
POD = Told(
    "workloads/pod: steps, p99 of 1 h",
    "How long each step of a canary pod takes, over all nodes that were visited in the last hour. Good: schedule,"
    " sandbox and start together stay below the dashed line, 5 s. A pod that was stuck counts with the time waited."
    " Fewer than 5 samples: no figure.",
    (16, TOP, 8, 6),
    ("KhealthPodStartupSlow", "kubelet_silent", "sandbox_failed"),
)


def panels() -> Iterator[stat.Panel | timeseries.Panel]:
    """Yield the panels of the row about single routines."""
    yield _api()
    yield _certificate()
    yield _nodes()
    yield _pod()


def _api() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (1.0, RED), none="Fewer than 5 samples in an hour.").interval(HOURLY)
    return finished(panel, API, *(_of_module("control-plane", share, ref) for share, ref in ((0.5, "A"), (0.99, "B"))))


def _pod() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (5.0, RED), none="Fewer than 5 samples in an hour.").interval(HOURLY)
    return finished(panel, POD, _of_module("workloads", 0.99, "A"))


def _of_module(module: str, share: float, ref: str) -> Query:
    """Return a percentile of each step of a module's routines."""
    by, chosen = "routine, step", f'{ask.ROUTINE},module="{module}"'
    figure = ask.enough(ask.percentile(share, STEPS, chosen, by), f"{STEPS}_count{{{chosen}}}", by)
    return query(figure, f"{{{{routine}}}} {{{{step}}}} p{share * 100:.0f}", ref)


def _certificate() -> stat.Panel:
    panel = single("s", (None, RED), (14 * 86400.0, GREEN), none="not known")
    expression = f"min(khealth_api_certificate_expiry_timestamp_seconds{{{ask.ROUTINE}}}) - time()"
    return finished(panel, CERTIFICATE, now(expression, "left"))


def _nodes() -> timeseries.Panel:
    panel = lines("short", (None, GREEN), (1.0, RED), none="workloads/pod does not run.").decimals(0)
    expression = f"max by (cluster, module, routine) (khealth_nodes_failing{{{ask.ROUTINE}}})"
    return finished(panel, NODES, query(expression, "{{cluster}} {{module}}/{{routine}}"))
