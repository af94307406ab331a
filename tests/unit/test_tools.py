"""What a test run says of tests that it skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tools
from deployment import ROOT


def test_each_missing_tool_is_counted_and_explained() -> None:
    """The most wanted first, each with its purpose and where to get it."""
    reasons = ["Skipped: needs helm", *2 * ["Skipped: needs promtool"]]
    expected = (
        "tests skipped: 3, because these are missing: "
        "promtool (2; checks metrics, rules and queries; in Prometheus's archive, prometheus.io/download), "
        "helm (1; renders and installs the chart; helm.sh/docs/intro/install)"
    )
    assert expected == tools.missing(reasons)


def test_another_reason_is_told_as_it_is() -> None:
    """A skip that names no tool is counted too."""
    assert "tests skipped: 1, because these are missing: a second CPU (1)" == tools.missing(["Skipped: a second CPU"])


def test_nothing_is_said_when_nothing_was_skipped() -> None:
    """No line."""
    assert "" == tools.missing([])


def test_a_tool_that_the_table_lacks_is_an_error() -> None:
    """Else the line could not say where to get it."""
    with pytest.raises(KeyError, match="unknown-tool is not in"):
        tools.needs("unknown-tool")


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--no-skips",), 1)], ids=["allowed", "no-skips"])
@pytest.mark.parametrize("processes", [0, 1])
def test_a_run_ends_with_the_missing_tools(tmp_path: Path, words: tuple[str, ...], code: int, processes: int) -> None:
    """The last line, with one process and with several; `--no-skips` makes it a failure."""
    test = "tests/unit/core/test_golden.py::test_promtool_finds_nothing_wrong"
    options = ("-q", "-p", "no:cacheprovider", f"--numprocesses={processes}", *words)
    done = subprocess.run(  # noqa: S603 - pytest itself
        [sys.executable, "-m", "pytest", test, *options],
        cwd=ROOT,
        env={**os.environ, "PATH": "", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (code, tools.missing(["Skipped: needs promtool"])) == (done.returncode, done.stdout.splitlines()[-1])
