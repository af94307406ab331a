"""promtool as an oracle: which alerts fire when, given what Prometheus has scraped."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from histories import Life, scraped
from promql import ALERTS
from tools import needs

RECORDED = ("khealth-components", "khealth-attempts", "khealth-durations")
"""Groups that others build upon."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, order=True)
class Firing:
    """An alert that fired for a while: from when to when, in seconds, as it was looked at."""

    alert: str
    severity: str
    component: str
    begin: float
    end: float


@dataclass(frozen=True)
class Pace:
    """How time passes in a test, in seconds: its whole, between scrapes, and between evaluations of the rules."""

    until: float
    scrape: float
    evaluate: float


@dataclass(frozen=True)
class Store:
    """How what is scraped is stored: by how many Prometheus servers without deduplication, and with which `instance`.

    Each server scrapes one interval later than the one before it.
    """

    servers: int = 1
    instance: str = ""

    def series(self, scraped: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield each series with its values, both in promtool's notation."""
        for name, values in scraped.items():
            named = re.sub(r'instance="[^"]*"', f'instance="{self.instance}"', name) if self.instance else name
            for server in range(self.servers):
                told = named.replace("{", f'{{prometheus_replica="{server}",', 1) if server else named
                yield told, " ".join([*["_"] * server, values])


ONCE = Store()
"""By one server, as it was scraped."""


def ran(document: Mapping[str, Any], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run promtool's unit tests of a document."""
    file = folder / "test.yaml"
    file.write_text(json.dumps(document))
    return subprocess.run(  # noqa: S603 - promtool itself
        [needs("promtool"), "test", "rules", *words, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def document(
    histories: Mapping[str, Sequence[Life]],
    pace: Pace,
    files: Sequence[Path] = (),
    store: Store = ONCE,
    **tests: object,
) -> dict[str, Any]:
    """Return promtool's test file for these histories, each of a cluster of its own."""
    series = [
        {"series": name, "values": values}
        for cluster, lives in histories.items()
        for name, values in store.series(scraped(cluster, lives, pace.scrape, pace.until))
    ]
    paths = files or sorted(ALERTS.glob("*.rules.yaml"))
    groups = [group["name"] for path in paths for group in yaml.safe_load(path.read_text())["groups"]]
    # Without an order promtool takes any, and figures would differ from run to run.
    order = sorted(groups, key=lambda name: not name.startswith(RECORDED))
    return {
        "rule_files": [str(path) for path in paths],
        "group_eval_order": order,
        "evaluation_interval": f"{pace.evaluate:.0f}s",
        "tests": [{"interval": f"{pace.scrape:.0f}s", "input_series": series, **tests}],
    }


@dataclass(frozen=True)
class Told:
    """What promtool told: what fires in each history, and the labels and annotations of alerts at certain times."""

    firing: Mapping[str, Sequence[Firing]]
    details: Mapping[tuple[str, str], tuple[Mapping[str, str], Mapping[str, str]]]
    """By history and alert."""


def told(  # noqa: PLR0913, PLR0917 - what a test can vary
    histories: Mapping[str, Sequence[Life]],
    pace: Pace,
    folder: Path,
    files: Sequence[Path] = (),
    looks: Iterable[tuple[str, float]] = (),
    store: Store = ONCE,
) -> Told:
    """Return what is told of each history; `looks` are alerts with the times, in seconds, at which to look at them.

    The watchdog is left out, which always fires.
    """
    times = [step * pace.evaluate for step in range(int(pace.until // pace.evaluate) + 1)]
    expression = 'ALERTS{alertstate="firing",alertname!="KhealthWatchdog"}'
    # Nothing is expected: promtool then tells whatever there is.
    asked = [{"expr": expression, "eval_time": f"{at:.0f}s", "exp_samples": []} for at in times]
    seen = [{"alertname": name, "eval_time": f"{at:.0f}s", "exp_alerts": []} for name, at in set(looks)]
    done = ran(document(histories, pace, files, store, promql_expr_test=asked, alert_rule_test=seen), folder)
    said = done.stdout + done.stderr
    assert "FAILED" in said or "SUCCESS" in said, said[-3000:]
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for at, labels in _samples(said):
        key = labels.get("cluster", ""), labels["alertname"], labels["severity"], labels["component"]
        found.setdefault(key, []).append(at)
    firing: dict[str, list[Firing]] = {cluster: [] for cluster in histories}
    for (cluster, alert, severity, component), when in found.items():
        for begin, end in _runs(when, pace.evaluate):
            firing.setdefault(cluster, []).append(Firing(alert, severity, component, begin, end))
    details = {(labels.get("cluster", ""), labels["alertname"]): (labels, texts) for labels, texts in _details(said)}
    return Told({cluster: sorted(some) for cluster, some in firing.items()}, details)


def answers(series: Mapping[str, str], expressions: Iterable[str], folder: Path, minutes: int) -> dict[str, list[str]]:
    """Return the samples that each expression has at that minute; series are in promtool's notation, one value a minute.

    An expression that Prometheus cannot evaluate fails the test.
    """
    # Nothing is expected: promtool then tells whatever there is.
    names = list(expressions)
    asked = [{"expr": one, "eval_time": f"{minutes}m", "exp_samples": []} for one in names]
    told = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": told, "promql_expr_test": asked}
    done = ran({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}, folder)
    said = done.stdout + done.stderr
    errors = re.findall(r"expr: .*, err: .*", said)
    assert not errors, errors
    assert "FAILED" in said or "SUCCESS" in said, said[-3000:]
    found = re.findall(r'expr: (".*"), time: .*,\s*exp: nil\s*got: (.*)', said)
    got = {json.loads(one): sorted(re.findall(r"\{.*?\} [^ ,]+", samples)) for one, samples in found}
    return {one: got.get(one, []) for one in names}


def _samples(said: str) -> Iterator[tuple[float, dict[str, str]]]:
    """Yield each time, in seconds, with the labels of each sample that there was."""
    for time, got in re.findall(r"time: (\S+?),\s*exp:[ ]*nil\s*got:[ ]*(.*)", said):
        for one in re.findall(r"\{(.*?)\} ", got):
            yield _seconds(time), dict(_LABEL.findall(one))


def _details(said: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    for labels, texts in re.findall(r"Labels:\{(.*)\}\s*Annotations:\{(.*)\}", said):
        yield dict(_LABEL.findall(labels)), dict(_LABEL.findall(texts))


def _seconds(text: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)(ms|[smhdw])", text))


def _runs(times: Sequence[float], step: float) -> list[tuple[float, float]]:
    """Return the beginning and the end of each run of times without a gap."""
    runs: list[tuple[float, float]] = []
    for at in sorted(times):
        if runs and at - runs[-1][1] <= step:
            runs[-1] = runs[-1][0], at
        else:
            runs.append((at, at))
    return runs
