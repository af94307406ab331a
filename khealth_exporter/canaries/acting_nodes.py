"""Which nodes start pods, and which do not: what one routine sees of them tells another who is to blame."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.pod_steps import node_of
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason

_KEPT = 600.0
"""Seconds for which a node is remembered."""


class ActingNodes:
    """When a canary of any routine last started on each node, and when a kubelet was last blamed for its silence.

    All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._silent: dict[str, float] = {}

    def note(self, traces: Iterable[Trace[Pod]], now: float) -> None:
        """Take note of the pods that have started."""
        for trace in traces:
            if (node := node_of(trace)) and (started := trace.moments.get("started")):
                self._started[node] = max(started.at, self._started.get(node, started.at))
        self._started = {node: at for node, at in self._started.items() if now - at < _KEPT}
        self._silent = {node: at for node, at in self._silent.items() if now - at < _KEPT}

    def since(self, traces: Iterable[Trace[Pod]]) -> Callable[[str], bool]:
        """Return what tells whether a canary has started on another node than this one since the last of these pods."""
        last = max((trace.moments["created"].at for trace in traces if "created" in trace.moments), default=math.inf)
        return lambda node: any(at >= last for other, at in self._started.items() if other != node)

    def explained(self, findings: Iterable[Finding], traces: Iterable[Trace[Pod]], now: float) -> list[Finding]:
        """Return what was found of these pods; that one still runs need not be true if its kubelet is silent.

        It is silent if it was blamed for that since a canary last started on the node.
        """
        self.note(traces, now)
        found = [self._of_its_kubelet(finding) if finding.runs else finding for finding in findings]
        self._silent |= {one.node: now for one in found if one.node and one.reason is Reason.KUBELET_SILENT}
        return found

    def _of_its_kubelet(self, finding: Finding) -> Finding:
        node = finding.node or ""
        if self._silent.get(node, -math.inf) <= self._started.get(node, -math.inf):
            return finding
        note = f"{finding.note}, as far as the kubelet on {node} has told, which does not act for other pods either"
        return replace(finding, reason=Reason.KUBELET_SILENT, note=note)
