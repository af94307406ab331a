"""The task `compute`: a Fibonacci number, again and again until it has taken a measurable time of CPU."""

import argparse
import time

from khealth_exporter.canary import kernel, limits
from khealth_exporter.canary.report import Failed, Report

MEANING = "compute a Fibonacci number repeatedly, and measure wall time, CPU time, throttling and steal"
LARGEST = 10_000
"""Its number has 2,090 digits and fits into the report."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task's flags."""
    parser.add_argument(
        "--n", type=limits.integer(0, LARGEST), default=90, help="which Fibonacci number, from 0 to 10000; default 90"
    )
    parser.add_argument(
        "--cpu-seconds",
        type=limits.seconds,
        default=0.1,
        metavar="SECONDS",
        help="CPU time to use, at least; default 0.1",
    )


def run(options: argparse.Namespace, report: Report) -> None:
    """Report the number as `result`, and how the node let the task run."""
    before = _counters()
    cpu, began = kernel.cpu(), time.monotonic()
    result, rounds = fibonacci(options.n), 1
    while kernel.cpu() - cpu < options.cpu_seconds:
        if (again := fibonacci(options.n)) != result:
            raise Failed("wrong_result", f"repetition {rounds} differs: {again}", result=str(result))
        rounds += 1
    report.durations["compute"] = wall = time.monotonic() - began
    report.uncertainty = kernel.CLOCK_SECONDS
    report.facts |= {"result": str(result), "rounds": rounds, "wall_seconds": wall, "cpu_seconds": kernel.cpu() - cpu}
    report.facts |= {name: now - before[name] for name, now in _counters().items() if name in before}


def fibonacci(n: int) -> int:
    """Return the Fibonacci number `n` of the sequence 0, 1, 1, 2, ..., by `n` additions."""
    number, following = 0, 1
    for _ in range(n):
        number, following = following, number + following
    return number


def _counters() -> dict[str, float]:
    """Return the kernel's counters at this moment; what it does not tell is not there."""
    throttling = kernel.throttling()
    counters = {
        "preemptions": kernel.preemptions(),
        "throttled_seconds": throttling.seconds if throttling else None,
        "throttled_periods": throttling.periods if throttling else None,
        "steal_seconds": kernel.stolen(),
        "waiting_seconds": kernel.waited(),
    }
    return {name: value for name, value in counters.items() if value is not None}
