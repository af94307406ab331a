"""What the documentation names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
NAMED = re.compile(r"`((?:unit|integration|e2e|bodies)/[\w/]+\.py)?(?:::(test_\w+))?`")
LINKED = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PAGES = sorted(
    [
        *(page for folder in (".", "docs", "alerts", "dashboards") for page in (ROOT / folder).glob("*.md")),
        *(ROOT / "deploy").rglob("*.md"),
    ]
)


def named(text: str) -> Iterator[tuple[str, str]]:
    """Yield (file, test) of each test that a page names; a test without a file is of the file named before it."""
    file = ""
    for match in NAMED.finditer(text):
        file = match[1] or file
        if match[1] or match[2]:
            yield file, match[2] or ""


def test_every_test_that_the_security_page_names_is_there() -> None:
    """A threat is only stopped as long as something shows it."""
    rows = list(named((ROOT / "docs" / "security.md").read_text()))
    there = {file: (TESTS / file).read_text() if (TESTS / file).is_file() else None for file, _ in rows}
    missing = [
        (file, test) for file, test in rows if f"def {test}" not in (there[file] or "") and (test or not there[file])
    ]
    assert (True, []) == (len(rows) > 50, missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """Nobody is sent nowhere."""
    assert [] == [link for link in LINKED.findall(page.read_text()) if not (page.parent / link).exists()]
