"""What is wrong with a configuration, and where."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `line` and `column` count from 1, and are 0 where the file has no such place.

    `path` leads to the value as in `modules.rcscheduler.rcscheduler.interval`; it is empty where the whole file is
    meant. For a value that came from the command line `file` is the flag.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        """Return `file:line:column: path: message`, without the parts that it does not have."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds everything that is wrong with it, in the file's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return them by place, and of several in one place the first: the others follow from it."""
    first: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.file, problem.line, problem.column, "" if problem.line else str(problem)), problem)
    return tuple(sorted(first.values(), key=lambda problem: (problem.line, problem.column)))
