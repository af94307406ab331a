"""What a process uses, as the kernel accounts it."""

import re
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Use:
    """A process at one moment: processor time in seconds, resident memory and its highest mark in MiB."""

    cpu: float
    resident: float
    highest: float


def use(pid: int) -> Use:
    """Return what a process has used so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    memory = {name: int(kib) / 1024 for name, kib in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status)}
    return Use(time.clock_gettime(_clock_of(pid)), memory["VmRSS"], memory["VmHWM"])


def _clock_of(pid: int) -> int:
    """Return the clock of a process's processor time (clock_getcpuclockid); /proc/PID/stat knows hundredths alone."""
    return (~pid << 3) | 2
