"""Figures and remarks of a routine that are no durations."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A gauge of a routine: `name` is the metric's without `khealth_`, with its unit; `meaning` is its help text.

    ValueError if the name has other characters than lowercase letters, digits and `_`.
    """

    name: str
    meaning: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"figure {self.name!r}: a name has lowercase letters, digits and _, as in nodes_failing")


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure's present value, in the unit that its name ends in."""

    figure: Figure
    value: float


@dataclass(frozen=True, slots=True)
class Remark:
    """A line about a routine's state, for `once`, `/status` and the status page; a later one of its name replaces it.

    `failing` tells that something in it still fails, whatever the result of the last attempt.
    """

    name: str
    text: str
    failing: bool = False
