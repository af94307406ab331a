"""What CONTRIBUTING promises and no linter checks: short files, no private address, no archaic word in a comment."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST_FILE = 300
LONGEST_FUNCTION = 40
PRIVATE = re.compile(r"(?<![\w.])/(?:work|root|home)/\w+|--(?:extra-)?index-url|files\.pythonhosted|registry\.npmjs")
"""Paths of one machine, and addresses of package registries."""
ARCHAIC = re.compile(
    r"\b(?:anew|whom|for ever|lest|of late|whichever|who(?:so)?ever|by where|seldom|[wt]?hence)\b", re.IGNORECASE
)
"""Words that no comment and no docstring has; `prose.py` checks the text that users read, with a longer list."""
PATTERNS = {"tests/conventions.py", "tests/prose.py", "tests/unit/test_prose.py", "LICENSE"}
"""Files that have them for a reason."""


def tracked() -> list[Path]:
    """Return every file that git keeps or would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := Path(line)).is_file()]


def too_long(path: Path) -> Iterator[str]:
    """Yield what of a Python file needs more than a glance."""
    text = path.read_text()
    lines = text.count("\n")
    if path.parts[0] != "khealth_exporter":
        return
    if lines > LONGEST_FILE:
        yield f"{path}: {lines} lines, more than {LONGEST_FILE}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, more than {LONGEST_FUNCTION}"


def forbidden(path: Path) -> Iterator[str]:
    """Yield the lines that name a private path or registry, or have an archaic word."""
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if PRIVATE.search(line) or ARCHAIC.search(line):
            yield f"{path}:{number}: {line.strip()[:100]}"


def main() -> int:
    """Check every file; print what is wrong."""
    wrong: list[str] = []
    for path in tracked():
        if path.suffix == ".py":
            wrong += too_long(path)
        if str(path) not in PATTERNS:
            wrong += forbidden(path)
    print(*wrong, sep="\n" if wrong else "")  # noqa: T201 - its purpose
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
