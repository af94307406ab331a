"""The dashboards: generated, complete, in one screen, and asking for what there is."""

import itertools
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboard_queries import ON_OCCASION, Asked, dashboards, expressions, loaded, panels
from deployment import ROOT
from promql import wrong
from tools import needs

from dashboards.board import RUNBOOK_URL
from dashboards.generate import generated

BOARDS = dashboards()
NAMES = [path.stem for path in BOARDS]
PANELS = [pytest.param(panel, id=f"{path.stem}: {panel['title']}") for path in BOARDS for panel in panels(loaded(path))]
ASKED = [pytest.param(a, id=f"{a.board}: {a.panel} {a.ref}") for path in BOARDS for a in expressions(path)]
OWN = {"__rate_interval", "__interval", "__range", "__value", "__url_time_range"}
"""Grafana's own variables."""
SCREEN = 24
"""Rows of the grid, 38 px each, that fit below Grafana's head on 1080 px."""
RUNBOOK = ROOT / "alerts" / "runbook.md"


def test_generated_files_are_up_to_date() -> None:
    """`make generate` would change nothing."""
    assert {path.name: text for path, text in generated().items()} == {path.name: path.read_text() for path in BOARDS}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_means(panel: Mapping[str, Any]) -> None:
    """Title, unit, what there is in the place of nothing, thresholds; a description that says what good looks like."""
    defaults = panel["fieldConfig"]["defaults"]
    told = {key: bool(defaults.get(key)) for key in ("unit", "noValue", "thresholds")}
    assert {"unit": True, "noValue": True, "thresholds": True} == told
    assert panel["title"]
    assert re.fullmatch(r"[A-Z0-9].{40,}\.", panel["description"])
    assert re.search(r"\b[Gg]ood\b", panel["description"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_the_chosen_data_source(panel: Mapping[str, Any]) -> None:
    """No panel and no query is bound to one installation's data source."""
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert [{"type": "prometheus", "uid": "${datasource}"}] * len(sources) == sources


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_names_its_queries_apart(panel: Mapping[str, Any]) -> None:
    """Two queries of one name would hide one another."""
    names = [target["refId"] for target in panel["targets"]]
    assert sorted(set(names)) == names


def anchors(part: Any) -> set[str]:
    """Return the sections of the runbook that something leads to."""
    return set(re.findall(r"\$\{runbook:raw\}#([^\"$]+)", str(part).replace("'", '"')))


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_leads_into_the_runbook(panel: Mapping[str, Any]) -> None:
    """Every panel has a link to a section."""
    assert anchors(panel["links"])


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_links_lead_to_sections_that_there_are(path: Path) -> None:
    """An anchor is a heading of the runbook, as GitHub spells it."""
    there = {
        line.lstrip("# ").lower().replace(" ", "-") for line in RUNBOOK.read_text().splitlines() if line[:1] == "#"
    }
    assert set() == anchors(loaded(path)) - there


def test_queries_that_may_be_empty_exist() -> None:
    """A renamed panel must not drop out of the list that the end-to-end tests use."""
    asked = [asked for path in BOARDS for asked in expressions(path)]
    titles = {f"{board}{a.panel}{ref}" for a in asked for board in ("", f"{a.board}: ") for ref in ("", f" {a.ref}")}
    assert set() == ON_OCCASION - titles


def test_dashboards_have_names_of_their_own() -> None:
    """A uid is what links and imports know a dashboard by, so it stays."""
    assert {"khealth": "khealth", "khealth-clusters": "khealth-clusters"} == {
        path.stem: loaded(path)["uid"] for path in BOARDS
    }


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_links_between_dashboards_lead_somewhere(path: Path) -> None:
    """`/d/UID` names one of the two."""
    assert set(re.findall(r"/d/([\w-]+)", path.read_text())) <= {loaded(other)["uid"] for other in BOARDS}


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_panels_have_ids_of_their_own(path: Path) -> None:
    """Rows too."""
    ids = [panel["id"] for panel in loaded(path)["panels"]]
    assert list(range(1, len(ids) + 1)) == ids


def cells(panel: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Return the cells of the grid on which a panel lies."""
    x, y, w, h = (panel["gridPos"][key] for key in "xywh")
    return set(itertools.product(range(x, x + w), range(y, y + h)))


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_panels_fill_the_grid_and_none_lies_on_another(path: Path) -> None:
    """24 columns, no gap, no overlap."""
    every = loaded(path)["panels"]
    covered = set().union(*(cells(panel) for panel in every))
    bottom = 1 + max(y for _, y in covered)
    assert set(itertools.product(range(24), range(bottom))) == covered
    assert 24 * bottom == sum(len(cells(panel)) for panel in every)


def test_what_matters_is_on_one_screen() -> None:
    """Above the row about khealth itself nothing has to be scrolled to."""
    every = loaded(ROOT / "dashboards" / "khealth.json")["panels"]
    row = next(panel for panel in every if panel["type"] == "row")
    assert SCREEN == row["gridPos"]["y"]


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_variables_choose_all_where_prometheus_adds_no_label(path: Path) -> None:
    """All is `.*`, which an absent label matches: it is what is chosen at first, whatever the values are."""
    chosen = [v for v in loaded(path)["templating"]["list"] if v["type"] == "query"]
    assert [(".*", True, True, "$__all")] * len(chosen) == [
        (v["allValue"], v["includeAll"], v["multi"], v["current"]["value"]) for v in chosen
    ]


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_a_variable_that_is_used_is_there(path: Path) -> None:
    """In queries, links and descriptions."""
    board = loaded(path)
    used = {one or other for one, other in re.findall(r"\$\{(\w+)[^}]*\}|\$(\w+)", path.read_text())}
    assert set() == used - OWN - {"__all", "__auto"} - {variable["name"] for variable in board["templating"]["list"]}


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_the_runbook_s_address_is_a_variable(path: Path) -> None:
    """Its default is khealth's own Service, and nothing else of the dashboard is an address."""
    board = loaded(path)
    addresses = re.findall(r"\w+://[^\"]*", path.read_text())
    assert {RUNBOOK_URL} == set(addresses)
    assert RUNBOOK_URL == next(v["query"] for v in board["templating"]["list"] if v["name"] == "runbook")


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_a_dashboard_keeps_itself_up_to_date(path: Path) -> None:
    """What an administrator leaves open on a wall."""
    board = loaded(path)
    assert ("30s", "browser", ["khealth", "kubernetes"]) == (board["refresh"], board["timezone"], board["tags"])


@pytest.mark.parametrize("path", BOARDS, ids=NAMES)
def test_every_expression_parses(path: Path, tmp_path: Path) -> None:
    """With Grafana's variables put in, promtool takes each."""
    rules = [
        {"record": f"expression:number_{number}:asked", "expr": asked.substituted}
        for number, asked in enumerate(expressions(path))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": path.stem, "rules": rules}]}))
    done = subprocess.run(  # noqa: S603 - Prometheus' own tool
        [needs("promtool"), "check", "rules", "--lint=none", str(file)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


@pytest.mark.parametrize("asked", ASKED)
def test_an_expression_asks_for_what_there_is(asked: Asked) -> None:
    """Each metric and label is in the golden file, or is a recording rule's."""
    assert [] == wrong(asked.expression)
