"""What the dashboards ask of Prometheus: every expression of a file, with Grafana's variables put in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

FOLDER = Path(__file__).parent.parent / "dashboards"
VALUES: Mapping[str, str] = MappingProxyType(
    {
        "__rate_interval": "2m15s",
        "__interval": "15s",
        "__range": "1h",
        "cluster": ".*",
        "namespace": ".*",
        "module": ".*",
        "routine": ".*",
    }
)
"""What Grafana puts in at the defaults: All everywhere, the last hour, a scrape every 15 s."""
ON_OCCASION = frozenset(
    {
        "Since",
        "What is wrong now",
        "Failures by reason",
        "Inconclusive attempts by reason",
        "Watch restarts and sweeps",
        "storage: steps, p99 of 1 h",
        "network/dns: each way to a DNS server, p50 and p99 of 1 h",
        "network: other steps, p99 of 1 h",
        "network/latency: worst pair of nodes",
        "network/latency: lost round trips",
        "network: DNS pods and pairs failing",
        "network: agents",
        "Alerts",
        "New configurations",
        "variable cluster",
        "variable namespace",
        "khealth: clusters: Failing",
        "khealth: clusters: Broken",
        "khealth: clusters: Unknown",
        "khealth: clusters: Clusters B",
        "khealth: clusters: Clusters C",
    }
)
"""Panels (or panels of one dashboard, or queries of a panel) that are rightly empty, in health or where Prometheus adds no label."""
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One expression of a dashboard."""

    board: str
    panel: str
    """The panel's title; an annotation's name; `variable NAME`."""
    ref: str
    expression: str
    """As the dashboard has it."""
    substituted: str
    """As Prometheus gets it."""
    may_be_empty: bool


def dashboards() -> list[Path]:
    """Return every dashboard's file."""
    return sorted(FOLDER.glob("*.json"))


def loaded(path: Path) -> Mapping[str, Any]:
    """Return a dashboard."""
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def panels(board: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return every panel of a dashboard that shows something, those in rows too."""
    every = [inner for panel in board["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in every if panel["type"] != "row"]


def expressions(path: Path, values: Mapping[str, str] = VALUES) -> list[Asked]:
    """Return every expression of a dashboard: of panels, annotations and variables."""
    board = loaded(path)
    return [_asked(board["title"], panel, ref, text, values) for panel, ref, text in _texts(board)]


def _texts(board: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["refId"], target["expr"]
    for annotation in board.get("annotations", {}).get("list", ()):
        yield annotation["name"], "A", annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert found, variable["query"]
            yield f"variable {variable['name']}", "A", f"count by ({found[2]}) ({found[1]})"


def _asked(board: str, panel: str, ref: str, expression: str, values: Mapping[str, str]) -> Asked:
    names = {panel, f"{panel} {ref}", f"{board}: {panel}", f"{board}: {panel} {ref}"}
    return Asked(board, panel, ref, expression, substituted(expression, values), not names.isdisjoint(ON_OCCASION))


def substituted(expression: str, values: Mapping[str, str]) -> str:
    """Return an expression with its variables' values; KeyError for a variable that has none."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)
