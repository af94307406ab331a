"""The processes of canaries on this machine."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

MODULE: Final = "khealth_exporter.canary"
_PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2): which signal a process gets when its parent ends."""

_WITH_FAULTS: Final = f"""
import atexit, errno, os, runpy, signal, sys, time
side = sys.argv.pop(1)
if side:
    exec(compile(open(side).read(), side, "exec"), {{"__name__": "__pod__", "__file__": side}})
full = tuple(filter(None, sys.argv.pop(1).split(os.pathsep)))
turn, rest = float(sys.argv.pop(1)), float(sys.argv.pop(1))
def refuse(event, details):
    if event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR) and os.fsdecode(details[0]).startswith(full):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), details[0])
if full:
    sys.addaudithook(refuse)
if rest:
    signal.signal(signal.SIGPROF, lambda *_: time.sleep(rest))
    signal.setitimer(signal.ITIMER_PROF, turn, turn)
    atexit.register(signal.setitimer, signal.ITIMER_PROF, 0)
runpy.run_module("{MODULE}", run_name="__main__", alter_sys=True)
"""
"""A canary that is in a pod's network if its first argument is not empty, the program that puts it there.

It cannot open a file for writing in the directories that its second argument lists. The other two are seconds: after so
much CPU time, which the kernel counts, it rests for so long.
"""
_POD_SIDE: Final = str(Path(__file__).with_name("network") / "pod_side.py")
_TURN, _REST = 0.01, 0.19
"""Seconds of CPU time, and of a rest, of a canary with one twentieth of a CPU."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    """Its working directory."""
    log: Path
    """Where its output goes."""


class Program(Protocol):
    """A running process."""

    async def wait(self) -> int:
        """Return its exit code when it has ended; the negative number of a signal that has ended it."""

    def send_signal(self, signal: int, /) -> None:
        """Send it a signal. Raises `ProcessLookupError` if it has ended."""


Runner = Callable[[Launch], Awaitable[Program]]
"""Starts a process. Raises `OSError`."""


async def run(launch: Launch) -> Program:
    """Start a process of the operating system, outside the terminal's process group.

    On Linux it ends when this process ends, however that ends.
    """
    with launch.log.open("ab") as log:
        started = await asyncio.create_subprocess_exec(
            *launch.arguments,
            cwd=launch.folder,
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Before it is another program: it can be stopped from its first moment on.
            preexec_fn=_dying_with(os.getpid()) if sys.platform == "linux" else None,
        )
    return _Process(started)


class _Process:
    """A process of the operating system."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def wait(self) -> int:
        return await self._process.wait()

    def send_signal(self, signal: int, /) -> None:
        # asyncio's own method polls, and so takes the exit code from the task that waits for it.
        if self._process.returncode is not None:
            raise ProcessLookupError
        os.kill(self._process.pid, signal)


def _dying_with(parent: int) -> Callable[[], None]:
    """Return what lets a new process be killed when its parent ends."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before that
            os._exit(1)

    return prepare


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What differs between a canary's surroundings and this machine."""

    full: tuple[Path, ...] = ()
    """The directories into which nothing can be written."""
    slow: bool = False
    """It gets only a part of a CPU."""
    network: bool = False
    """It has a network of its own, which its environment describes."""


def canary(arguments: tuple[str, ...], around: Surroundings) -> tuple[str, ...]:
    """Return the command of a canary."""
    if around == Surroundings():
        return (sys.executable, "-m", MODULE, *arguments)
    folders = os.pathsep.join(f"{folder}/" for folder in around.full)
    side = _POD_SIDE if around.network else ""
    return (sys.executable, "-c", _WITH_FAULTS, side, folders, f"{_TURN}", f"{_REST * around.slow}", *arguments)
