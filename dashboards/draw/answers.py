"""Asks a Prometheus what Grafana would ask it for a dashboard: the same steps, windows and variables."""

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
_COLUMN = 1888 / 24
"""Pixels: Grafana asks for one point a pixel."""


@dataclass(frozen=True, slots=True)
class Look:
    """When somebody looks at which dashboard, how far back, and with which variables."""

    board: Mapping[str, Any]
    start: float
    end: float
    """Unix seconds."""
    scrape: int
    """Seconds between two scrapes, as the data source is told."""
    chosen: Mapping[str, str]

    def variables(self) -> dict[str, dict[str, str]]:
        """Return what is shown of each variable, and what it puts into texts."""
        told = {}
        for variable in self.board["templating"]["list"]:
            name, fixed = variable["name"], variable["type"] == "textbox"
            plain = variable["query"] if fixed else {"datasource": "Prometheus"}.get(variable["type"], ".*")
            value = self.chosen.get(name, plain)
            shown = "All" if value == ".*" else value.removeprefix("http://")
            told[name] = {"label": variable.get("label") or name, "text": shown, "value": value}
        return told

    def step(self, panel: Mapping[str, Any]) -> int:
        """Return the seconds between two points of a panel: about one a pixel, and not below its least."""
        rough = (self.end - self.start) / (panel["gridPos"]["w"] * _COLUMN)
        least = max(_seconds(panel.get("interval") or "1s"), self.scrape)
        return max(next((step for step in _STEPS if step >= rough), _STEPS[-1]), least)


class Prometheus:
    """A Prometheus that answers queries; RuntimeError with its words where it does not."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    def ask(self, what: str, **words: object) -> list[dict[str, Any]]:
        """Return the series of an answer: `what` is `query` or `query_range`."""
        data = urllib.parse.urlencode(words).encode()
        try:
            with urllib.request.urlopen(f"{self._address}/api/v1/{what}", data, timeout=60) as answer:  # noqa: S310
                return json.load(answer)["data"]["result"]  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{words['query']}: {error.read().decode()}") from error


def answers(prometheus: Prometheus, look: Look) -> dict[str, Any]:
    """Return all that is needed to draw a dashboard."""
    series: dict[str, dict[str, Any]] = {}
    steps: dict[str, int] = {}
    for panel in look.board["panels"]:
        step = steps[str(panel["id"])] = look.step(panel)
        series[str(panel["id"])] = {
            target["refId"]: _asked(prometheus, look, target, step) for target in panel.get("targets", ())
        }
    return {
        "board": look.board,
        "answers": series,
        "steps": steps,
        "variables": look.variables(),
        "range": {"from": look.start, "to": look.end},
        "marks": [*_marks(prometheus, look)],
    }


def _asked(prometheus: Prometheus, look: Look, target: Mapping[str, Any], step: int) -> list[dict[str, Any]]:
    expression = _substituted(target["expr"], look, step)
    if target.get("instant"):
        return prometheus.ask("query", query=expression, time=look.end)
    # Grafana puts points on multiples of the step, so that they stay where they are from one refresh to the next.
    start, end = (math.floor(moment / step) * step for moment in (look.start, look.end))
    return prometheus.ask("query_range", query=expression, start=start, end=end, step=step)


def _marks(prometheus: Prometheus, look: Look) -> Iterator[dict[str, Any]]:
    step = max(look.scrape, math.ceil((look.end - look.start) / 1000))
    for annotation in look.board.get("annotations", {}).get("list", ()):
        query = _substituted(annotation["expr"], look, step)
        for found in prometheus.ask("query_range", query=query, start=look.start, end=look.end, step=step):
            by_value = annotation.get("useValueForTime")
            moments = {float(value) / 1000 for _, value in found["values"]} if by_value else {found["values"][0][0]}
            yield from ({"at": at, "color": annotation["iconColor"]} for at in sorted(moments))


def _substituted(expression: str, look: Look, step: int) -> str:
    values = {
        "__interval": f"{step}s",
        "__rate_interval": f"{max(step + look.scrape, 4 * look.scrape)}s",
        "__range": f"{round(look.end - look.start)}s",
        **{name: told["value"] for name, told in look.variables().items()},
    }
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1]]
