"""The same measurement several times: one lucky run is no result."""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.figures import Goal, table
from benchmarks.load import Load

Found = tuple[dict[str, Any], list[Goal]]
"""Figures, and what they have to reach."""
Measure = Callable[[], Found]
"""Takes the figures, and prints them."""


def parsed(arguments: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what the command line says, with the number of runs."""
    arguments.add_argument("--runs", type=int, default=2, help="how often it is measured")
    given = arguments.parse_args()
    if given.runs < 1:
        arguments.error("--runs must be above 0")
    return given


def repeated(measure: Measure, runs: int) -> Found:
    """Measure so many times, and print how far the runs differ; return all figures, and each goal's worst."""
    figures: list[dict[str, Any]] = []
    goals: list[list[Goal]] = []
    for number in range(1, runs + 1):
        print(f"\n## Run {number} of {runs}")
        with Load() as load:
            found, reached = measure()
        figures.append({"load": load.figures(), **found})
        goals.append(reached)
    heads = ("run", "lowest", "median", "highest", "processors_busy")
    loads = [[number, *run["load"].values()] for number, run in enumerate(figures, 1)]
    table("Load average while it was measured, and the share of processor time in use", heads, loads)
    rows = [[same[0].name, *(goal.figure for goal in same), _spread(same)] for same in zip(*goals, strict=True)]
    table("The runs beside each other", ("goal", *(f"run {n}" for n in range(1, runs + 1)), "spread"), rows)
    return {"runs": figures}, [_worst(same) for same in zip(*goals, strict=True)]


def _spread(goals: Sequence[Goal]) -> float:
    figures = [goal.figure for goal in goals]
    return max(figures) - min(figures)


def _worst(goals: Sequence[Goal]) -> Goal:
    figures = [goal.figure for goal in goals]
    if any(map(math.isnan, figures)):
        return replace(goals[0], figure=math.nan)
    return replace(goals[0], figure=min(figures) if goals[0].at_least else max(figures))
