"""Coroutines that wait for sockets, side by side in one thread: a few lines of what asyncio does, in less memory."""

import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable, Coroutine, Generator, Iterable

MOST = 128
"""Coroutines at a time, and so sockets."""


class _Wait:
    """What a coroutine waits for: an event of a socket, or a time."""

    __slots__ = ("events", "sock", "until")

    def __init__(self, sock: socket.socket | None, events: int, until: float) -> None:
        self.sock = sock
        self.events = events
        self.until = until

    def __await__(self) -> "Generator[_Wait, bool, bool]":
        return (yield self)


Waiting = Coroutine[_Wait, bool, None]
"""A coroutine that awaits only what this module offers. It keeps its own result."""


async def readable(sock: socket.socket, until: float) -> bool:
    """Wait until the socket can be read; return False if it cannot at that monotonic time."""
    return await _Wait(sock, selectors.EVENT_READ, until)


async def writable(sock: socket.socket, until: float) -> bool:
    """Wait until the socket can be written, or is connected; return False if it cannot at that monotonic time."""
    return await _Wait(sock, selectors.EVENT_WRITE, until)


async def pause(until: float) -> None:
    """Wait for a monotonic time."""
    await _Wait(None, 0, until)


def run(
    coroutines: Iterable[Waiting], until: float, most: int = MOST, enough: Callable[[], bool] = lambda: False
) -> None:
    """Run coroutines side by side, at most so many at a time, until all have ended or the monotonic time has come.

    It ends earlier once there is `enough`. Those that are under way at the end are closed, and those that have not
    begun are not asked for.
    """
    waiting, loop = iter(coroutines), _Loop()
    try:
        while time.monotonic() < until and not enough():
            begun = list(itertools.islice(waiting, most - loop.active))
            for coroutine in begun:
                loop.start(coroutine)
            if loop.active:
                loop.turn(until)
            elif not begun:
                break
    finally:
        loop.close()


class _Running:
    """A coroutine, what it waits for, and how often it has been resumed."""

    __slots__ = ("coroutine", "resumed", "wait")

    def __init__(self, coroutine: Waiting) -> None:
        self.coroutine = coroutine
        self.resumed = 0
        self.wait: _Wait | None = None


class _Loop:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._running: set[_Running] = set()
        self._timers: list[tuple[float, int, int, _Running]] = []
        self._numbers = itertools.count()

    @property
    def active(self) -> int:
        return len(self._running)

    def start(self, coroutine: Waiting) -> None:
        running = _Running(coroutine)
        self._running.add(running)
        self._resume(running, None)

    def turn(self, until: float) -> None:
        first = min(until, self._timers[0][0])
        for key, _ in self._selector.select(max(0.0, first - time.monotonic())):
            self._resume(key.data, True)  # noqa: FBT003 - the socket is ready
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, resumed, running = heapq.heappop(self._timers)
            if resumed == running.resumed:
                self._resume(running, False)  # noqa: FBT003 - the time has come

    def close(self) -> None:
        for running in self._running:
            running.coroutine.close()
        self._selector.close()

    def _resume(self, running: _Running, value: bool | None) -> None:
        """Let a coroutine go on to its next wait; its timer for the last one counts no more."""
        if running.wait is not None and running.wait.sock is not None:
            self._selector.unregister(running.wait.sock)
        running.wait = None
        running.resumed += 1
        try:
            wait = running.coroutine.send(value)  # type: ignore[arg-type]  # None starts it.
        except StopIteration:
            self._running.discard(running)
            return
        running.wait = wait
        if wait.sock is not None:
            self._selector.register(wait.sock, wait.events, running)
        heapq.heappush(self._timers, (wait.until, next(self._numbers), running.resumed, running))
