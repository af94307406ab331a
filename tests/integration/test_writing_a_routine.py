"""docs/writing-a-routine.md: what the page says, done in a copy of the project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bodies.target import Target

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "writing-a-routine.md"
FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
EDIT = re.compile(r"<!-- edit: (\S+) -->\n```diff\n(.*?)```", re.DOTALL)
COPIED = ("khealth_exporter", "tests", "deploy", "docs", "dashboards", "alerts", "pyproject.toml", "README.md")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which the page's steps were done."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, folder / name)
    text = PAGE.read_text()
    for name, content in FILE.findall(text):
        (folder / name).write_text(content)
    for name, change in EDIT.findall(text):
        edit(folder / name, change)
    return folder


def edit(file: Path, change: str) -> None:
    """Replace lines as a diff says; a diff that only adds an import adds it before the first import of a routine."""
    lines = file.read_text().splitlines(keepends=True)
    removed = [line[1:] for line in change.splitlines(keepends=True) if line.startswith("-")]
    added = [line[1:] for line in change.splitlines(keepends=True) if line.startswith("+")]
    if removed:
        at = lines.index(removed[0])
        lines[at : at + len(removed)] = added
    else:
        at = next(number for number, line in enumerate(lines) if line > added[0] and line.startswith("from"))
        lines[at:at] = added
    file.write_text("".join(lines))


def ran(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module of the copy."""
    return subprocess.run(  # noqa: S603 - what the page tells people to run
        [sys.executable, *words],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(project), "HOME": str(project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_pages_example_passes_its_own_test(project: Path) -> None:
    """As step 5 says."""
    done = ran(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/routines/test_lookup.py")
    assert (0, True) == (done.returncode, "3 passed" in done.stdout), done.stdout + done.stderr


def test_khealth_lists_the_new_routine(project: Path) -> None:
    """With its steps, settings and rights, which nobody had to write down a second time."""
    done = ran(project, "-m", "khealth_exporter", "routines")
    assert 0 == done.returncode, done.stderr
    assert all(word in done.stdout for word in ("lookup", "Create a ConfigMap, and read it back", "value"))


def test_what_follows_can_be_generated(project: Path) -> None:
    """As step 4 says: pages, and the chart's rights."""
    for script in ("docs/generate.py", "deploy/generate.py"):
        done = ran(project, "-m", script.removesuffix(".py").replace("/", "."))
        assert 0 == done.returncode, done.stdout + done.stderr
    assert "control-plane/lookup" in (project / "docs" / "routines.md").read_text()


def test_the_example_succeeds_on_a_cluster(project: Path, target: Target) -> None:
    """One attempt of it, by its full name."""
    given = ("--kubeconfig", str(target.kubeconfig), "--namespace", target.namespace)
    done = ran(project, "-m", "khealth_exporter", "once", "control-plane/lookup", *given)
    assert (0, []) == (done.returncode, target.objects()), done.stdout + done.stderr


def test_the_example_has_nothing_to_complain_of(project: Path) -> None:
    """The linter of `make check` passes it."""
    done = ran(
        project, "-m", "ruff", "check", "khealth_exporter/routines/lookup.py", "tests/unit/routines/test_lookup.py"
    )
    assert 0 == done.returncode, done.stdout
