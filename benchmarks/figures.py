"""Figures: percentiles, tables, goals, and the machine that they come from."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

OUT = Path(__file__).parent / "out"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure beside what it has to reach."""

    name: str
    figure: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure reaches it."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share (0 to 1) of the values lies, interpolated; nan where there is none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def machine() -> Mapping[str, str]:
    """Return where and when the figures were taken."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": str(os.cpu_count()),
        "processor": _processor(),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as Markdown."""
    texts = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in texts), 3) for i, head in enumerate(heads)]
    print(f"\n{title}\n")
    for cells in (list(heads), ["-" * width for width in widths], *texts):
        aligned = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        print(f"| {' | '.join(aligned)} |")


def conclude(name: str, figures: Mapping[str, object], goals: Sequence[Goal], *, insist: bool) -> int:
    """Print the goals, write all to out/NAME.json, and return the exit code.

    It is 1 where `insist` is set and a goal is missed.
    """
    signs = {True: "≥", False: "≤"}
    rows = [(goal.name, goal.figure, f"{signs[goal.at_least]} {goal.bound:g}", _word(goal)) for goal in goals]
    table("Goals", ("goal", "figure", "bound", "met"), rows)
    where = machine()
    print("\n" + "; ".join(f"{key} {value}" for key, value in where.items()))
    OUT.mkdir(exist_ok=True)
    document = {"machine": where, "figures": figures, "goals": [asdict(goal) | {"met": goal.met} for goal in goals]}
    (OUT / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(insist and not all(goal.met for goal in goals))


def _word(goal: Goal) -> str:
    return "yes" if goal.met else "no"


def plain_parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with what even a benchmark understands that has its own bounds."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--assert", dest="insist", action="store_true", help="exit with 1 if a goal is missed")
    return made


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with what most benchmarks understand."""
    made = plain_parser(text)
    made.add_argument("--audit-log", type=Path, default=os.environ.get("KHEALTH_AUDIT_LOG"), help="JSON lines")
    made.add_argument("--seconds", type=float, default=540.0, help="stop after so long at the latest")
    return made


def needed(path: Path | None) -> Path:
    """Return the audit log's path, or end with what is missing."""
    if path is None:
        sys.exit("no audit log: give --audit-log FILE or set KHEALTH_AUDIT_LOG")
    return path
