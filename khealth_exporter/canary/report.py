"""The document in which a canary reports; it is the termination message of its container."""

import contextlib
import json
import os
import time
from collections.abc import Iterator

from khealth_exporter.canary import kernel

TERMINATION_LOG = "/dev/termination-log"
"""Kubernetes' default terminationMessagePath."""

LIMIT = 4096
"""Bytes. The kubelet cuts off longer messages, and with them the end of the JSON."""

_VERSION = 1
_BYTES_OF_A_CHARACTER = 6
"""The most that JSON needs for an ASCII character: `\\u0000`."""


class Failed(Exception):  # noqa: N818 - it reads as what happened
    """The task measured a failure; `reason` is one of khealth's reasons, the text says what happened."""

    def __init__(self, reason: str, error: str, **facts: float | str) -> None:
        super().__init__(error)
        self.reason = reason
        self.facts = facts


class Report:
    """What a task has found so far; it stays true if the task fails half-way. All times are in seconds."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.durations: dict[str, float] = {}
        self.uncertainty = 0.0
        self.facts: dict[str, float | str] = {}
        self.doing = ""
        """What it is timing, or timed last."""
        self.reason = ""
        self.error = ""

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a duration, and to the uncertainty its part without a CPU."""
        self.doing = name
        waited, began = kernel.waited() or 0.0, time.monotonic()
        try:
            yield
        finally:
            taken = time.monotonic() - began
            self.durations[name] = self.durations.get(name, 0.0) + taken
            self.uncertainty += kernel.CLOCK_SECONDS + (kernel.waited() or 0.0) - waited

    def fail(self, failed: Failed) -> None:
        """Keep why the task failed."""
        self.reason, self.error = failed.reason, str(failed)
        self.facts |= failed.facts

    def document(self) -> bytes:
        """Return the report as one JSON object, in ASCII; a long error loses its end."""
        error = self.error.encode("ascii", "backslashreplace").decode()
        document = self._encoded(error)
        while len(document) > LIMIT and error:
            excess = (len(document) - LIMIT) // _BYTES_OF_A_CHARACTER
            error = error[: -excess - 1]
            document = self._encoded(error)
        return document

    def _encoded(self, error: str) -> bytes:
        fields = {
            "version": _VERSION,
            "task": self.task,
            "ok": not self.reason,
            "reason": self.reason,
            "error": error,
            "durations": {name: round(seconds, 9) for name, seconds in self.durations.items()},
            "uncertainty_seconds": round(self.uncertainty, 9),
            "facts": {name: round(fact, 9) if isinstance(fact, float) else fact for name, fact in self.facts.items()},
        }
        return json.dumps(fields, separators=(",", ":")).encode()


def write(document: bytes, path: str) -> None:
    """Write a document at once; raise OSError.

    A container with a read-only root can write the termination log, but create no file beside it.
    So the file is written in place, and created only where there is none, outside a pod.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, document)
    finally:
        os.close(descriptor)
