"""What a PromQL expression refers to, as Prometheus itself parses it, beside what khealth exposes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

OTHERS = {
    "up": "Prometheus's own word on each target",
    "process_start_time_seconds": "the Prometheus client's own; golden files leave out what differs from run to run",
    "process_cpu_seconds_total": "the same",
    "process_resident_memory_bytes": "the same",
}
"""Series that are used and are not khealth's, and why that is so."""
OF_TARGETS = {"cluster", "job", "instance", "namespace", "pod"}
"""Labels that Prometheus adds to what it scrapes."""
OF_ALERTS = {"alertname", "alertstate", "severity", "component"}
"""Labels of the series ALERTS, which Prometheus makes itself."""


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
        if metric in OTHERS or metric == "ALERTS":
            return OF_TARGETS | (OF_ALERTS if metric == "ALERTS" else set())
        return OF_TARGETS | self.metrics[metric]


def known(golden: Path, recorded: AbstractSet[str]) -> Known:
    """Read the golden file of what khealth exposes."""
    metrics: dict[str, set[str]] = defaultdict(set)
    values: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(golden.read_text()):
        for sample in family.samples:
            metrics[sample.name] |= set(sample.labels)
            for label, value in sample.labels.items():
                values[label].add(value)
    return Known(metrics, values, frozenset(recorded))


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
    everything = {label for labels in there.metrics.values() for label in labels} | OF_TARGETS | OF_ALERTS
    for node in nodes(tree):
        if node["type"] in ("vectorSelector", "matrixSelector"):
            yield from _selected(node, there)
        matching = node.get("matching") or {}
        for label in (*node.get("grouping", ()), *matching.get("labels", ()), *matching.get("include", ())):
            if label not in everything:
                yield f"label {label}"


def _selected(node: Mapping[str, Any], there: Known) -> Iterator[str]:
    metric = node["name"]
    try:
        labels = there.labels(metric)
    except KeyError:
        yield f"metric {metric}"
        return
    for matcher in node["matchers"]:
        label, value = matcher["name"], matcher["value"]
        if label != "__name__" and label not in labels:
            yield f"label {label} of {metric}"
        closed = label in ("reason", "component", "step", "quality", "kind", "cause")
        for word in value.split("|") if closed and value.replace("|", "").replace("_", "").isalpha() else ():
            if word not in there.values[label]:
                yield f"{label}={word} of {metric}"
