"""khealth as it runs, with each Event written to a file as well: what /status rounds is here at full resolution."""

import asyncio
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TextIO

from prometheus_client import CollectorRegistry

from khealth_exporter.app import commands as app
from khealth_exporter.config import Config, load
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.event_loop import measured_loop
from khealth_exporter.vocabulary.event import Event


class RecordingMetrics(Metrics):
    """khealth's metrics, which also write down what they are told."""

    def __init__(self, registry: CollectorRegistry, clock: Clock, out: TextIO) -> None:
        super().__init__(registry, clock)
        self._out = out

    def apply(self, event: Event) -> None:
        """Take in one Event, and write it as a line of JSON."""
        super().apply(event)
        line = asdict(event) | {"evidence": [f"{found.name}: {'; '.join(found.lines)}" for found in event.evidence]}
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def hurried(config: Config, interval: float) -> Config:
    """Return the configuration with attempts so many seconds apart, or at once; a file may not ask for that."""
    routines = (replace(r, settings=r.settings.model_copy(update={"interval": interval})) for r in config.routines)
    return replace(config, routines=tuple(routines))


def record(configuration: Path, interval: float, out: TextIO, kind: str = "rcscheduler") -> int:
    """Run khealth with the routines of a kind in this configuration until SIGTERM, and return its exit code."""
    clock = Clock()
    process = app.Process(clock, RecordingMetrics(CollectorRegistry(), clock, out))
    options = app.Options(hurried(load(configuration, only=(kind,)), interval))
    with asyncio.Runner(loop_factory=lambda: measured_loop(clock, process.metrics.loop_busy)) as runner:
        return runner.run(app.run(options, process=process))


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w", encoding="utf-8") as file:
        sys.exit(record(Path(sys.argv[1]), float(sys.argv[3]) if sys.argv[3:] else 1.0, file, *sys.argv[4:5]))
