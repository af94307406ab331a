"""Which nodes start pods: what one routine sees of them tells another whether a failure is one node's alone."""

import math
from collections.abc import Callable, Iterable

from khealth_exporter.canaries.pod_steps import node_of
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace

_KEPT = 600.0
"""Seconds for which a node is remembered."""


class ActingNodes:
    """When a canary of any routine last started on each node. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def note(self, traces: Iterable[Trace[Pod]], now: float) -> None:
        """Take note of the pods that have started."""
        for trace in traces:
            if (node := node_of(trace)) and (started := trace.moments.get("started")):
                self._started[node] = max(started.at, self._started.get(node, started.at))
        self._started = {node: at for node, at in self._started.items() if now - at < _KEPT}

    def since(self, traces: Iterable[Trace[Pod]]) -> Callable[[str], bool]:
        """Return what tells whether a canary has started on another node than this one since the last of these pods."""
        last = max((trace.moments["created"].at for trace in traces if "created" in trace.moments), default=math.inf)
        return lambda node: any(at >= last for other, at in self._started.items() if other != node)
