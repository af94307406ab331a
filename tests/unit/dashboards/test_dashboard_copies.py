"""The dashboards show the same where a store has each series several times, and where `instance` says nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_queries import dashboards, expressions
from promql import GOLDEN, golden
from promtool import answers

from dashboards.series import LABELS

MINUTES = 40
PODS = ("khealth-1", "khealth-2")
ASKED = [one for path in dashboards() for one in expressions(path) if not one.panel.startswith("variable ")]
"""A variable's values are a set, whatever there are copies of."""
NOTHING = {f"khealth: clusters: {tile} A" for tile in ("Healthy clusters", "Broken", "Unknown")} | {
    f"khealth: {panel}"
    for panel in (
        "storage: steps, p99 of 1 h A",
        "network/dns: each way to a DNS server, p50 and p99 of 1 h A",
        "network/dns: each way to a DNS server, p50 and p99 of 1 h B",
        "network: other steps, p99 of 1 h A",
        "network: other steps, p99 of 1 h B",
        "network/latency: worst pair of nodes A",
        "network/latency: worst pair of nodes B",
        "network/latency: lost round trips A",
        "network: DNS pods and pairs failing A",
        "network: DNS pods and pairs failing B",
    )
}
"""The one cluster is failing, and tests neither storage nor the network."""
RECORDED = {
    'routine:khealth_error_budget_left:ratio_30d{cluster="oslo",module="rcscheduler",routine="rcscheduler"}': "0.5x50",
    'khealth:objective:ratio{cluster="oslo"}': "0.99x50",
    'ALERTS{cluster="oslo",alertname="KhealthBlind",severity="warning",alertstate="firing"}': "1x50",
}


def scraped(pod: str, instance: str) -> Iterator[tuple[str, str]]:
    """Yield what a pod exposes, in promtool's notation: gauges stay, and counters rise each minute, but for reasons that do not fail."""
    place = f'cluster="oslo",namespace="khealth",job="khealth",pod="{pod}",instance="{instance}"'
    for name, labels, value in re.findall(r"(?m)^([a-z]\w*)(?:\{(.*)\})? (\S+)$", GOLDEN.read_text()):
        if 'routine="new"' in labels:
            continue  # It has found nothing yet, and promtool takes only so many samples.
        number = 1.0 if value == "*" else float(value)
        least = float(name != "khealth_failures_total")
        rises = number + least if name.endswith(("_total", "_bucket", "_count", "_sum")) else 0.0
        yield f"{name}{{{labels}{',' if labels else ''}{place}}}", f"{number}+{rises}x50"


def stored(instance: str, copies: int) -> dict[str, str]:
    """Return the series of two pods, in so many copies; `instance` is the same for both, or empty for their own."""
    once = RECORDED | {name: values for pod in PODS for name, values in scraped(pod, instance or pod)}
    return {
        name.replace("{", f'{{prometheus_replica="{copy}",', 1): values
        for name, values in once.items()
        for copy in range(copies)
    }


@pytest.mark.parametrize("instance", ["", "khealth"], ids=["own-instance", "one-instance"])
def test_copies_of_series_change_nothing(instance: str, tmp_path: Path) -> None:
    """Every query of every panel and annotation is answered, and with the same figures as without copies."""
    asked = {f"{one.board}: {one.panel} {one.ref}": one.substituted for one in ASKED}
    single = answers(stored(instance, 1), asked.values(), tmp_path, MINUTES)
    twice = answers(stored(instance, 2), asked.values(), tmp_path, MINUTES)
    assert {name for name, text in asked.items() if not single[text]} == NOTHING
    assert {name: single[text] for name, text in asked.items()} == {name: twice[text] for name, text in asked.items()}


def test_labels_of_series_are_those_that_khealth_gives_them() -> None:
    """A label that is forgotten would make one series of several."""
    known = {re.sub(r"_(bucket|count)$", "", name): labels.keys() - {"le"} for name, labels in golden().items()}
    assert {name: known[name] for name in LABELS} == {name: set(re.findall(r"\w+", of)) for name, of in LABELS.items()}
