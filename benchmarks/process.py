"""What a process uses, as the kernel accounts it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Use:
    """A process at one moment: processor time in seconds, resident memory and its highest mark in MiB."""

    cpu: float
    resident: float
    highest: float


def use(pid: int) -> Use:
    """Return what a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    memory = {name: int(kib) / 1024 for name, kib in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status)}
    return Use((int(fields[11]) + int(fields[12])) / _TICKS, memory["VmRSS"], memory["VmHWM"])
