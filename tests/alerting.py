"""The whole way to a page: khealth → Prometheus with the shipped rules → Alertmanager with the shipped routes."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import yaml
from bodies.target import Running, Target, wait_for
from deployment import alertmanager, asked, prometheus, told
from promql import ALERTS
from promql import rules as every_rule
from webhook import Notification, Webhook, webhook

from benchmarks.faster import faster

INTERVAL = 10.0
"""Seconds between attempts: as often as a machine of two cores can begin, start, hold and remove pods."""
FACTOR = 60 / INTERVAL
"""How much faster than by default everything goes."""
BOUNDS = {"interval": f"{INTERVAL:g}s", "timeout": "4s"}
ROUTINE = {**BOUNDS, "pod_ttl": "1s", "poll_interval": "500ms", "replicas": 2}
"""One pod on each node. An attempt that fails everywhere, with five seconds for pods to end, still fits the interval."""
SETTINGS = {
    # Two cores carry the cluster too: how late khealth itself is, is not what is shown here.
    "measurement": {"loop_lag": "1s", "watch_lag": "1s"},
    "modules": {
        "rcscheduler": {"rcscheduler": ROUTINE},
        "control-plane": {"api": BOUNDS},
        "workloads": {"pod": BOUNDS},
    },
}
PAGES, TICKETS, HEARTBEAT = "khealth-pages", "khealth-tickets", "khealth-heartbeat"
BEGINNING = 120.0
"""Seconds for all four to start."""
PAGING = 180.0
"""Seconds within which a fault makes a page, and its end a resolution, or never."""


def rule_files() -> list[Path]:
    """Return the shipped rule files."""
    return sorted(ALERTS.glob("*.rules.yaml"))


def rules(path: Path) -> list[Mapping[str, Any]]:
    """Return the rules of a file."""
    return [rule for file, rule in every_rule() if file == path]


def addressed(settings: Mapping[str, Any], address: str) -> Mapping[str, Any]:
    """Return Alertmanager's configuration with every webhook's URL replaced by one that ends with its receiver's name."""
    return {**settings, "receivers": [_addressed(receiver, address) for receiver in settings["receivers"]]}


def _addressed(receiver: Mapping[str, Any], address: str) -> Mapping[str, Any]:
    url = f"{address}/{receiver['name']}"
    hooks = [{**hook, "url": url} for hook in receiver.get("webhook_configs", ())]
    return {**receiver, "webhook_configs": hooks} if hooks else receiver


@dataclass(frozen=True)
class Way:
    """The four of them at work, and what came out at the end."""

    target: Target
    khealth: Running
    prometheus: str
    alertmanager: str
    hook: Webhook

    def ask(self, query: str) -> Sequence[Mapping[str, Any]]:
        """Return the answer to an instant query."""
        return asked(self.prometheus, query)

    def tell(self, what: str, **parameters: str) -> Any:
        """Return what another page of Prometheus' API says."""
        return told(f"{self.prometheus}/api/v1/{what}", **parameters)["data"]

    def refuses(self, query: str) -> bool:
        """Tell whether Prometheus takes a query for an error."""
        try:
            self.ask(query)
        except HTTPError:
            return True
        return False

    def names(self, query: str) -> set[str]:
        """Return the names of the series that an expression selects, as Prometheus parses it."""
        return set(_names(self.tell("parse_query", query=query)))

    def has_section(self, runbook_url: str) -> bool:
        """Tell whether the runbook that khealth itself serves has what a page links to."""
        url = urlsplit(runbook_url)
        code, text = self.khealth.get(url.path)
        return code == HTTPStatus.OK and f'id="{url.fragment}"' in text

    def pages(self, since: float = 0.0) -> list[Notification]:
        """Return the notifications that wake somebody."""
        return self.hook.came(PAGES, since)

    def tickets(self, since: float = 0.0) -> list[Notification]:
        """Return the notifications that make tickets."""
        return self.hook.came(TICKETS, since)

    def firing(self, severity: str = "critical") -> list[str]:
        """Return the alerts that are about to fire, fire, or are still told to be firing."""
        here = [found["metric"]["alertname"] for found in self.ask(f'ALERTS{{severity="{severity}"}}')]
        sent = [found["labels"] for found in told(f"{self.alertmanager}/api/v2/alerts")]
        return here + [labels["alertname"] for labels in sent if labels["severity"] == severity]

    def well(self) -> bool:
        """Tell whether khealth reports nothing, no page is open, and every page was resolved."""
        open_pages = [page for page in self.pages()[-1:] if page.status == "firing"]
        return self.khealth.state() == 200 and not self.firing() and not open_pages

    def wait_until_well(self) -> None:
        """Return when all is over."""
        wait_for("an end of all alerts", self.well, PAGING)

    def attempts(self) -> float:
        """Return how many attempts have been made so far, as khealth itself counts."""
        return self._number("sum(khealth_attempts_total)")

    def failures(self) -> float:
        """Return how many of them have failed."""
        return self._number("sum(khealth_failures_total) or 0 * sum(khealth_attempts_total)")

    def _number(self, query: str) -> float:
        """Return the answer to a query that has one, but for a moment after a scrape that took too long."""
        (found,) = wait_for("a scrape in time", lambda: self.ask(query), BEGINNING)
        return float(found["value"][1])

    def unanswered(self, queries: Mapping[str, str], expected: Collection[str] = ()) -> set[str]:
        """Return the names of the queries without an answer.

        If these are more than expected, look again: for a moment after a scrape that took too long there is no answer.
        """
        end = time.monotonic() + BEGINNING
        while True:
            found = {name for name, query in queries.items() if not self.ask(query)}
            if found <= set(expected) or time.monotonic() > end:
                return found
            time.sleep(1)


@contextmanager
def way(target: Target, folder: Path) -> Iterator[Way]:
    """Let all four run until the block ends; it begins when all is well."""
    settings = folder / "khealth.yaml"
    settings.write_text(yaml.safe_dump(SETTINGS))
    with target.running(settings, "rcscheduler", "control-plane", "workloads") as khealth, webhook() as hook:
        routes = addressed(yaml.safe_load((ALERTS / "alertmanager.yaml").read_text()), hook.address)
        with (
            alertmanager(folder, faster(routes, FACTOR)) as told_by,
            prometheus(folder, _scrapes(khealth), rule_files=_rules(folder), alerting=_alerting(told_by)) as asked_at,
        ):
            made = Way(target, khealth, asked_at, told_by, hook)
            wait_for("Alertmanager", lambda: _ready(told_by), BEGINNING)
            wait_for("a success that Prometheus knows", lambda: made.ask("khealth_success == 1"), BEGINNING)
            made.wait_until_well()
            yield made
            khealth.stop()


def _names(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        for matcher in tree.get("matchers", ()):
            if matcher["name"] == "__name__":
                yield from matcher["value"].split("|")
    for part in tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ():
        yield from _names(part)


def _scrapes(khealth: Running) -> Mapping[str, Any]:
    where = {"targets": [khealth.address], "labels": {"namespace": "khealth", "pod": "khealth-0"}}
    return {"job_name": "khealth", "static_configs": [where]}


def _alerting(address: str) -> Mapping[str, Any]:
    return {"alertmanagers": [{"static_configs": [{"targets": [address.removeprefix("http://")]}]}]}


def _rules(folder: Path) -> list[str]:
    written = []
    for path in rule_files():
        copy = folder / path.name
        copy.write_text(yaml.safe_dump(faster(yaml.safe_load(path.read_text()), FACTOR), sort_keys=False))
        written.append(str(copy))
    return written


def _ready(address: str) -> bool:
    try:
        return bool(told(f"{address}/api/v2/status")["config"])
    except OSError:
        return False
