"""The tables of docs/alerts.md, from the rules themselves."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BEGIN = "<!-- {}: written by `make generate` -->"
END = "<!-- end of {} -->"
INTERVALS = ("30s", "60s", "5m", "10m")
"""Attempts begin this often, in the table of burn rates."""
LEAST = 5
"""Conclusive attempts that a window needs, and failures that the long one needs."""
_PAIR = re.compile(
    r"ratio_increase(?P<long>\w+) > (?P<factor>[0-9.]+) \*.*?ratio_increase(?P<short>\w+) > (?P=factor) \*", re.DOTALL
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def alerts(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield every alert, in the order of the files."""
    for path in sorted(folder.glob("*.rules.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


def alert_table(folder: Path) -> list[str]:
    """Return the table of all alerts."""
    lines = ["| alert | severity | component | `for` | `keep_firing_for` | summary |", "|---|---|---|---|---|---|"]
    for rule in alerts(folder):
        labels = rule["labels"]
        cells = (
            f"`{rule['alert']}`",
            labels["severity"],
            labels.get("component", "which burns, is slow, or is what a check is about"),
            rule.get("for", ""),
            rule.get("keep_firing_for", ""),
            rule["annotations"]["summary"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows, in Prometheus' words, in both of which the budget has to burn so many times too fast."""

    alert: str
    factor: float
    long: str
    short: str


def pairs(folder: Path) -> list[Pair]:
    """Return the windows of the burn rates, as the rules have them."""
    return [
        Pair(rule["alert"], float(match["factor"]), match["long"], match["short"])
        for rule in alerts(folder)
        if "Burn" in rule["alert"]
        for match in _PAIR.finditer(rule["expr"])
    ]


def seconds(duration: str) -> int:
    """Return the seconds of a duration of one unit."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def failures(window: str, interval: str, ratio: float, least: int = 1) -> tuple[int, int] | None:
    """Return how many failures of how many attempts lie above a ratio; None where the window has too few attempts."""
    attempts = seconds(window) // seconds(interval)
    needed = max(least, math.floor(round(attempts * ratio, 9)) + 1)
    return (needed, attempts) if attempts >= LEAST and needed <= attempts else None


def burn_table(folder: Path, objective: float) -> list[str]:
    """Return how many failures trip each pair of windows."""
    lines = [
        "| alert | burn rate | windows | " + " | ".join(INTERVALS) + " |",
        "|---|---|---|" + "---|" * len(INTERVALS),
    ]
    for pair in pairs(folder):
        ratio = pair.factor * (1 - objective)
        cells = []
        for interval in INTERVALS:
            long, short = failures(pair.long, interval, ratio, LEAST), failures(pair.short, interval, ratio)
            told = f"{long[0]} of {long[1]} and {short[0]} of {short[1]}" if long and short else "never"
            cells.append(told)
        head = f"`{pair.alert}`", f"{pair.factor:g}", f"{pair.long} and {pair.short}"
        lines.append(f"| {' | '.join((*head, *cells))} |")
    return lines


def page(text: str, folder: Path) -> str:
    """Return docs/alerts.md with its tables between their marks."""
    (objective,) = re.findall(r"expr: vector\((0\.\d+)\)", (folder / "objectives.rules.yaml").read_text())
    for name, lines in (("alerts", alert_table(folder)), ("burn rates", burn_table(folder, float(objective)))):
        before, _, rest = text.partition(BEGIN.format(name))
        _, _, after = rest.partition(END.format(name))
        text = "\n".join((f"{before}{BEGIN.format(name)}", *lines, f"{END.format(name)}{after}"))
    return text
