"""The machine's load while something is measured: what the load average at the end says comes too late."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.figures import percentile

_EVERY = 2.0
"""Seconds between two looks."""


class Load:
    """Looks at the machine's load again and again, until the block ends."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._averages: list[float] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._before = self._after = _processor_time()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._after = _processor_time()

    def _look(self) -> None:
        while not self._over.is_set():
            self._averages.append(os.getloadavg()[0])
            self._over.wait(_EVERY)

    def figures(self) -> dict[str, Any]:
        """Return the load average of one minute, as it was throughout, and the share of processor time in use."""
        busy, total = (after - before for before, after in zip(self._before, self._after, strict=True))
        return {
            "lowest": min(self._averages),
            "median": percentile(self._averages, 0.5),
            "highest": max(self._averages),
            "processors_busy": busy / total if total else float("nan"),
        }


def _processor_time() -> tuple[int, int]:
    """Return the processors' busy time and all of it, in ticks."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    ticks = [int(field) for field in first.split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
