"""Writes the dashboards, as Grafana imports them."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import AnnotationQueryPlacement, GridPos

from dashboards import board, clusters, itself, network, overview, routines
from deploy import written

FOLDER = Path(__file__).parent


def khealth() -> dashboard.Dashboard:
    """Return the dashboard of one cluster."""
    about = "Whether the cluster is healthy, since when, which component is broken, and how slow pods are."
    whole = board.framed(dashboard.Dashboard("khealth"), "khealth", about)
    whole.variables([board.datasource(), board.cluster(), *_routines(), board.runbook()])
    whole.annotations([*board.annotations()])
    whole.links([board.other("All clusters", "khealth-clusters"), board.runbook_link()])
    for panel in overview.panels():
        whole.with_panel(panel)
    for title, row in (
        ("khealth itself: certainty and cost", itself),
        ("Single routines", routines),
        ("Network", network),
    ):
        whole.with_row(dashboard.Row(title).grid_pos(GridPos(x=0, y=row.TOP - 1, w=24, h=1)))
        for below in row.panels():
            whole.with_panel(below)
    return whole


def _routines() -> list[dashboard.QueryVariable]:
    within = 'cluster=~"$cluster"'
    namespace = f'{within},namespace=~"$namespace"'
    module = f'{namespace},module=~"$module"'
    return [
        board.chosen(
            "namespace",
            "Namespace",
            f"label_values(khealth_build_info{{{within}}}, namespace)",
            "The namespace of khealth.",
        ),
        board.chosen(
            "module", "Module", f"label_values(khealth_interval_seconds{{{namespace}}}, module)", "Modules of khealth."
        ),
        board.chosen(
            "routine",
            "Routine",
            f"label_values(khealth_interval_seconds{{{module}}}, routine)",
            "Routines of the module.",
        ),
    ]


def khealth_clusters() -> dashboard.Dashboard:
    """Return the dashboard of many clusters."""
    about = "A row for each cluster: its state, what fails and since when, and how slow pods are."
    whole = board.framed(dashboard.Dashboard("khealth: clusters"), "khealth-clusters", about)
    whole.variables([board.datasource(), board.cluster(), board.runbook()])
    whole.links([board.other("One cluster", "khealth"), board.runbook_link()])
    for panel in clusters.panels():
        whole.with_panel(panel)
    return whole


def text(whole: dashboard.Dashboard) -> str:
    """Return a dashboard as JSON; its panels are numbered in their order, the rows too."""
    built = whole.build()
    for number, panel in enumerate(built.panels or (), 1):
        panel.id_val = number
    plain = _in_sight(json.loads(json.dumps(built, cls=JSONEncoder)))
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _in_sight(part: Any) -> Any:  # noqa: ANN401 - whatever a dashboard is made of
    """Return a part of a dashboard without the SDK's default for links and annotations: hidden in a menu."""
    if isinstance(part, list):
        return [_in_sight(inner) for inner in part]
    if isinstance(part, dict):
        hidden = ("placement", AnnotationQueryPlacement.IN_CONTROLS_MENU)
        return {key: _in_sight(value) for key, value in part.items() if (key, value) != hidden}
    return part


def generated() -> Mapping[Path, str]:
    """Return every file as it should be."""
    return {
        FOLDER / "khealth.json": text(khealth()),
        FOLDER / "khealth-clusters.json": text(khealth_clusters()),
    }


if __name__ == "__main__":
    sys.exit(written.main(generated, __doc__))
