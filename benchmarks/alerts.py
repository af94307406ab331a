"""The shipped alerts over a khealth that runs: Prometheus and Alertmanager, faster than what is shipped."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.faster import faster
from benchmarks.harness import ROOT, free_port
from benchmarks.pager import Told, ended, found, routed

FACTOR = 3.0
"""How much faster than by default everything goes: the routines' intervals are about so much shorter."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """A Prometheus with the shipped rules, and what came out behind it."""

    address: str
    told: Told

    def ask(self, query: str) -> list[Mapping[str, str]]:
        """Return the labels of what a query finds; nothing while Prometheus does not answer."""
        url = f"{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - on this machine
                return [one["metric"] for one in json.load(answer)["data"]["result"]]
        except OSError:
            return []

    def knows(self, routines: int) -> bool:
        """Tell whether it knows so many routines to be well, evaluates the rules, and has no alert about to fire."""
        # What is recorded of successes is what later failures are counted from.
        recorded = self.ask("group by (module, routine) (target_reason:khealth_failures:at_success)")
        well = self.ask("khealth_success == 1")
        return len(well) == len(recorded) == routines and not self.ask('ALERTS{severity="critical"}')

    def pages(self) -> frozenset[str]:
        """Return the names of the alerts that have woken somebody."""
        return self.told.of("critical")

    def tickets(self) -> frozenset[str]:
        """Return the names of the alerts that fire and make tickets; notifications about them come much later."""
        firing = self.ask('ALERTS{alertstate="firing",severity="warning"}')
        return frozenset(alert["alertname"] for alert in firing)


@contextmanager
def evaluated(folder: Path, khealth: str) -> Iterator[Alerts]:
    """Let a new Prometheus scrape a khealth every second, and evaluate the alerts, until the block ends."""
    folder.mkdir(parents=True)
    address, file = f"127.0.0.1:{free_port()}", folder / "prometheus.yaml"
    with routed(folder, FACTOR) as (alertmanager, told):
        file.write_text(yaml.safe_dump(_settings(folder, khealth, alertmanager)), encoding="utf-8")
        words = (f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}")
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen([found("prometheus"), *words], stdout=log, stderr=log)
        with ended(process):
            yield Alerts(f"http://{address}", told)


def _settings(folder: Path, khealth: str, alertmanager: str) -> Mapping[str, Any]:
    target = {"targets": [khealth.removeprefix("http://")], "labels": {"namespace": "khealth", "pod": "khealth-0"}}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "khealth", "static_configs": [target]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "rule_files": _rules(folder),
    }


def _rules(folder: Path) -> list[str]:
    written = []
    for path in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        copy, shipped = folder / path.name, yaml.safe_load(path.read_text(encoding="utf-8"))
        copy.write_text(yaml.safe_dump(faster(shipped, FACTOR), sort_keys=False), encoding="utf-8")
        written.append(str(copy))
    return written
