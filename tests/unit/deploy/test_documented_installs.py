"""What the pages tell to install can be installed."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import charts
import pytest
from deployment import CHART, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "dashboards" / "README.md"]
COMMAND = re.compile(r"^helm (?:install|upgrade)\b(?:.*\\\n)*.*$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the commands of a page that install a release of the chart."""
    return [found.replace("\\\n", " ") for found in COMMAND.findall(page.read_text()) if "deploy/chart" in found]


COMMANDS = [pytest.param(command, id=f"{page.name}: {command[:40]}") for page in PAGES for command in commands(page)]


def test_pages_tell_how_to_install() -> None:
    """The README does, and the page of alerts."""
    assert {"README.md", "alerts.md"} <= {page.name for page in PAGES if commands(page)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_installs_is_taken(helm: charts.Helm, command: str) -> None:
    """Its values are those that there are: the chart's schema refuses any other."""
    words = shlex.split(command, comments=True)
    values = [f"--set={word}" for before, word in pairwise(words) if before == "--set"]
    said = helm.run("template", "khealth", str(CHART), "--namespace=khealth", *values)
    assert (0, "") == (said.returncode, said.stderr)
