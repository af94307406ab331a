"""What is wrong with a configuration, and where."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One error; `line` and `column` count from 1, and are 0 if the error has no place in the file.

    `path` is the path of the value, such as `modules.rcscheduler.rcscheduler.interval`; it is empty if the error
    concerns the whole file. `file` is the flag or the argument for a value from the command line.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        """Return `file:line:column: path: message`, without the parts that are empty."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration is invalid; `problems` lists every error, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the errors by place, and only the first of several in one place: the others follow from it."""
    first: dict[tuple[str, int, int, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.file, problem.line, problem.column, "" if problem.line else str(problem)), problem)
    return tuple(sorted(first.values(), key=lambda problem: (problem.line, problem.column)))
