"""The row about single routines: what each module's routines time, certificates, and failing nodes."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, timeseries

from dashboards import queries as ask
from dashboards.parts import GREEN, HOURLY, RED, Query, Told, finished, lines, now, query, single
from dashboards.queries import STEPS

TOP = 57
"""The first line of the row on the grid, below its title."""
API = Told(
    "control-plane: steps, p50 and p99 of 1 h",
    "The duration of each request of control-plane/api, of dry runs, and of what the controller manager does. Good:"
    " create, update and delete of api stay below the dashed line, 1 s. With fewer than 5 samples there is no value.",
    (0, TOP, 12, 8),
    ("KhealthApiSlow", "stale_read"),
)
STORAGE = Told(
    "storage: steps, p99 of 1 h",
    "The duration of writes, syncs and reads on nodes' disks, of each step of a volume's life, and of a change until a"
    " mounted ConfigMap shows it (up to 90 s is normal). Good is what your storage usually does, without a trend.",
    (0, TOP + 8, 24, 8),
    ("KhealthStorageBroken", "disk_failed", "volume_not_provisioned"),
)
CERTIFICATE = Told(
    "control-plane/api: certificate expires in",
    "The time until the serving certificate of the API server expires, from khealth's TLS handshakes. Good is"
    " more than 14 days.",
    (0, TOP + 16, 4, 5),
    ("KhealthApiCertificateExpires",),
)
NODES = Told(
    "workloads/pod: nodes failing",
    "The number of nodes on which the last canary pod failed. Good is 0. The status page of khealth names the"
    " nodes, and shows how long a full round over all nodes takes.",
    (4, TOP + 16, 20, 5),
    ("KhealthOneNode", "one_node"),
)
POD = Told(
    "workloads: steps, p99 of 1 h",
    "The duration of each step of canary pods, Jobs, Deployments and collected objects, over all nodes that khealth"
    " visited in the last hour. Good, for a pod's schedule, sandbox and start together, is far below the dashed line,"
    " 5 s. The step in which a pod was stuck counts with the time waited. With fewer than 5 samples there is no value.",
    (12, TOP, 12, 8),
    ("KhealthPodStartupSlow", "kubelet_silent", "sandbox_failed"),
)


def panels() -> Iterator[stat.Panel | timeseries.Panel]:
    """Yield the panels of the row about single routines."""
    yield _api()
    yield _pod()
    yield _storage()
    yield _certificate()
    yield _nodes()


def _api() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (1.0, RED), none="Fewer than 5 samples in an hour.").interval(HOURLY)
    return finished(panel, API, *(of_module("control-plane", share, ref) for share, ref in ((0.5, "A"), (0.99, "B"))))


def _pod() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), (5.0, RED), none="Fewer than 5 samples in an hour.").interval(HOURLY)
    return finished(panel, POD, of_module("workloads", 0.99, "A"))


def _storage() -> timeseries.Panel:
    panel = lines("s", (None, GREEN), none="Module storage does not run.").interval(HOURLY)
    return finished(panel, STORAGE, of_module("storage", 0.99, "A"))


def of_module(module: str, share: float, ref: str, more: str = "") -> Query:
    """Return a percentile of each step of a module's routines, or of some of them: `more` are further matchers."""
    by, chosen = "routine, step", f'{ask.ROUTINE},module="{module}"{more}'
    figure = ask.enough(ask.percentile(share, STEPS, chosen, by), f"{STEPS}_count{{{chosen}}}", by)
    return query(figure, f"{{{{routine}}}} {{{{step}}}} p{share * 100:.0f}", ref)


def _certificate() -> stat.Panel:
    # The base colors the text for no value; an expired certificate has a negative one.
    panel = single("s", (None, "text"), (-1e9, RED), (14 * 86400.0, GREEN), none="not known")
    expression = f"min(khealth_api_certificate_expiry_timestamp_seconds{{{ask.ROUTINE}}}) - time()"
    return finished(panel, CERTIFICATE, now(expression, "left"))


def _nodes() -> timeseries.Panel:
    panel = lines("short", (None, GREEN), (1.0, RED), none="workloads/pod does not run.").decimals(0)
    expression = f"max by (cluster, module, routine) (khealth_nodes_failing{{{ask.ROUTINE}}})"
    return finished(panel, NODES, query(expression, "{{cluster}} {{module}}/{{routine}}"))
