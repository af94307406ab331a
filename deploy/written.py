"""Writes files that follow from something else, or says how those that are there differ."""

import argparse
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path


def main(generated: Callable[[], Mapping[Path, str]], description: str | None) -> int:
    """Write every file as it should be, and remove those that should be empty; return the exit code.

    With `--check` on the command line nothing is written: it says how they differ, and returns 1 if any does.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something would change")
    check, code = parser.parse_args().check, 0
    for path, wanted in generated().items():
        there = path.read_text() if path.exists() else ""
        if check and there != wanted:
            name = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
            differences = difflib.unified_diff(
                there.splitlines(), wanted.splitlines(), name, f"{name}, by make generate"
            )
            print(*differences, sep="\n")  # noqa: T201 - its purpose
            code = 1
        elif not wanted:
            path.unlink()
        elif there != wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted)
    return code
