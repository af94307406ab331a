"""What the kernel says of this process, its container, and its node."""

import contextlib
import os
import resource

CGROUPS = "/sys/fs/cgroup"
_CPU_STATS = ("cpu.stat", "cpu/cpu.stat", "cpu,cpuacct/cpu.stat")
"""Where a container finds its own: cgroup v2, and v1 with its two usual names."""
_STEAL = 8
"""The column of a CPU line of /proc/stat, see proc(5)."""

CLOCK_SECONDS = 1e-6
"""Uncertainty of a duration between two readings of the clock, with the Python code around them."""


class Throttling:
    """How often and for how long a CPU limit has stopped the container since it began."""

    def __init__(self, periods: int, seconds: float) -> None:
        self.periods = periods
        self.seconds = seconds


def throttling(root: str = CGROUPS) -> Throttling | None:
    """Return the throttling of the container's own cgroup; None if the kernel does not tell."""
    for name in _CPU_STATS:
        with contextlib.suppress(OSError, ValueError):
            values = {key: int(value) for key, value in map(str.split, _read(f"{root}/{name}").splitlines())}
            if "nr_throttled" in values:
                seconds = (
                    values["throttled_usec"] / 1e6 if "throttled_usec" in values else values["throttled_time"] / 1e9
                )
                return Throttling(values["nr_throttled"], seconds)
    return None


def stolen(path: str = "/proc/stat") -> float | None:
    """Return the seconds that the hypervisor took from all CPUs of the node together; None if the kernel does not tell.

    It counts in ticks of usually 10 ms.
    """
    with contextlib.suppress(OSError, ValueError, LookupError):
        return int(_read(path).split("\n", 1)[0].split()[_STEAL]) / os.sysconf("SC_CLK_TCK")
    return None


def waited() -> float | None:
    """Return the seconds that this process was ready to run and had no CPU; None if the kernel does not tell.

    The kernel tells it of a thread: of the first one, which in most canaries is the only one that works.
    """
    return _waited("/proc/self/schedstat")


def waited_here() -> float | None:
    """Return what `waited` does, of the thread that calls it."""
    return _waited("/proc/thread-self/schedstat")


def resident() -> int | None:
    """Return the most bytes of memory that this process has had at a time; None if the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError, LookupError):
        return int(_read("/proc/self/status").split("VmHWM:")[1].split()[0]) * 1024
    return None


def cpu() -> float:
    """Return the seconds of CPU that this process has used, in user and in kernel mode."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def preemptions() -> int:
    """Return how often another process took the CPU from this one."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _waited(path: str) -> float | None:
    with contextlib.suppress(OSError, ValueError, LookupError):
        running, waiting = map(int, _read(path).split()[:2])
        return waiting / 1e9 if running else None
    return None


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536).decode("ascii")
    finally:
        os.close(descriptor)
