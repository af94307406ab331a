"""Runs canaries as real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Document = dict[str, Any]


def await_handlers(pid: int) -> None:
    """Wait until a process has handlers of its own, and so has begun its task: Python has one for SIGINT alone."""
    caught = 0
    while not all(caught >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGINT)):
        os.sched_yield()
        caught = int(Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0], 16)


def await_sleep(pid: int) -> None:
    """Wait until a process waits for something in the kernel, where a signal wakes it."""
    while "S" != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
        os.sched_yield()


class Canary:
    """Runs `khealth canary` without third-party packages, as a pod does."""

    def __init__(self, folder: Path) -> None:
        self.report = folder / "termination-log"

    def command(self, *words: object, module: Sequence[str] = ("khealth_exporter.canary",)) -> list[str]:
        """Return the command; `-S` hides what is installed."""
        return [sys.executable, "-S", "-m", *module, *map(str, words), "--report", str(self.report)]

    def start(self, *words: object, **options: Any) -> subprocess.Popen[str]:
        """Start a task."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*words), cwd=ROOT, text=True, stdout=pipe, stderr=pipe, **options)  # noqa: S603

    def run(self, *words: object, preexec: Callable[[], None] | None = None) -> Document:
        """Run a task to its end, and return the document; it must end with 0 and print nothing."""
        ran = subprocess.run(  # noqa: S603
            self.command(*words),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=preexec,
        )
        assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)
        document: Document = json.loads(self.report.read_bytes())
        return document
