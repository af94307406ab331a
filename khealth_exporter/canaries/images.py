"""Which image has started on which node: the first start there may have pulled it."""

from collections.abc import Iterable
from dataclasses import replace

from khealth_exporter.canaries.pod_steps import node_of
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Quality

COLD_AFTER = 12 * 3600.0
"""Seconds after which a node may have lost an image that it had."""


class SeenImages:
    """Remembers for 12 hours which image has started on which node."""

    def __init__(self) -> None:
        self._warm: dict[tuple[str, str], tuple[float, float]] = {}
        """By image and node: since when the image has been there for sure, and its last start (monotonic seconds)."""

    def __len__(self) -> int:
        return len(self._warm)

    def note(self, traces: Iterable[Trace[Pod]], image: str) -> None:
        """Take note of the pods that have started, and forget the nodes where none has for 12 hours."""
        started = sorted((t.moments["started"].at, node_of(t) or "") for t in traces if "started" in t.moments)
        for at, node in started:
            since, last = self._warm.get((image, node), (at, at))
            self._warm[image, node] = (at if at - last > COLD_AFTER else since, at)
        if started:
            latest = started[-1][0]
            self._warm = {key: seen for key, seen in self._warm.items() if latest - seen[1] <= COLD_AFTER}

    def graded(self, measured: Measurement, trace: Trace[Pod], image: str) -> Measurement:
        """Call the startup of a pod cold that existed before its image had ever started on its node."""
        node = node_of(trace)
        if not measured.step.sli or measured.censored or not node:
            return measured
        warm = self._warm.get((image, node))
        cold = warm is None or trace.moments["created"].at < warm[0]
        return replace(measured, quality=Quality.COLD) if cold else measured
