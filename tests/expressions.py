"""What a PromQL expression refers to, as Prometheus itself parses it, beside what khealth exposes."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

OF_TARGETS = {"cluster", "job", "instance", "namespace", "pod"}
"""Labels that Prometheus adds to what it scrapes."""
OF_PROMETHEUS: Mapping[str, AbstractSet[str]] = MappingProxyType(
    {"up": set(), "ALERTS": {"alertname", "alertstate", "severity", "component"}}
)
"""Series that Prometheus makes itself, and their labels beside those of targets."""
MASKED = re.compile(r" \*$", re.MULTILINE)
"""Values that the golden file leaves out: they differ from run to run."""


CLOSED = {"reason", "component", "step", "quality", "kind", "cause"}
"""Labels of khealth's whose values are all in the golden file."""


@dataclass(frozen=True)
class Known:
    """What there is: the labels of each metric, and the values of each label."""

    metrics: Mapping[str, AbstractSet[str]]
    values: Mapping[str, AbstractSet[str]]
    recorded: frozenset[str] = field(default=frozenset())
    """What rules record."""

    def labels(self, metric: str) -> AbstractSet[str]:
        """Return the labels that a metric may have; KeyError where there is no such metric."""
        if metric in self.recorded:
            return OF_TARGETS | {label for labels in self.metrics.values() for label in labels}
        if metric in OF_PROMETHEUS:
            return OF_TARGETS | OF_PROMETHEUS[metric]
        return OF_TARGETS | self.metrics[metric]


def known(golden: Path, recorded: AbstractSet[str]) -> Known:
    """Read the golden file of what khealth exposes."""
    metrics: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(MASKED.sub(" 0", golden.read_text())):
        for sample in family.samples:
            metrics[sample.name] |= set(sample.labels)
            for label, value in sample.labels.items():
                values[label].add(value)
    return Known(dict(metrics), values, frozenset(recorded))


def nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every node of a parsed expression, as Prometheus's /api/v1/parse_query gives it."""
    if isinstance(tree, Mapping):
        if "type" in tree:
            yield tree
        for part in tree.values():
            yield from nodes(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from nodes(part)


def unknown(tree: Any, there: Known) -> Iterator[str]:
    """Yield what an expression refers to that does not exist: metrics, labels of a metric, and values of khealth's labels."""
    of_khealth = {label for labels in there.metrics.values() for label in labels}
    everything = of_khealth | OF_TARGETS | OF_PROMETHEUS["ALERTS"]
    for node in nodes(tree):
        if node["type"] in ("vectorSelector", "matrixSelector"):
            yield from _selected(node, there)
        matching = node.get("matching") or {}
        for label in (*node.get("grouping", ()), *matching.get("labels", ()), *matching.get("include", ())):
            if label not in everything:
                yield f"label {label}"


def _selected(node: Mapping[str, Any], there: Known) -> Iterator[str]:
    several = [matcher["value"].split("|") for matcher in node["matchers"] if matcher["name"] == "__name__"]
    for metric in {name for names in several for name in names}:
        try:
            yield from _matched(metric, there.labels(metric), node, there)
        except KeyError:
            yield f"metric {metric}"


def _matched(metric: str, labels: AbstractSet[str], node: Mapping[str, Any], there: Known) -> Iterator[str]:
    for matcher in node["matchers"]:
        label, value = matcher["name"], matcher["value"]
        if label != "__name__" and label not in labels:
            yield f"label {label} of {metric}"
        closed = label in CLOSED
        for word in value.split("|") if closed and value.replace("|", "").replace("_", "").isalpha() else ():
            if word not in there.values[label]:
                yield f"{label}={word} of {metric}"
