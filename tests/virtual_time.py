"""An event loop in which time passes only while everyone waits, and then at once."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from khealth_exporter.measure.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Unix time at which every scenario begins."""
BEGINNING = 1000.0
"""Monotonic time at which every scenario begins."""
_FORBEARANCE = 10_000
"""Turns of the loop in a row that may pass without time passing."""


class Deadlock(Exception):  # noqa: N818 - it reads as what happened
    """Everyone waits for something, and no timer will ever end it."""


class Livelock(Exception):  # noqa: N818 - it reads as what happened
    """Something goes on and on without ever waiting for time to pass."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, that jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.now = BEGINNING
        super().__init__(_Jumping(self))
        self.errors: list[Exception] = []
        """What callbacks have raised: nothing awaits a callback, so the loop would only log it."""
        self.set_exception_handler(self._keep)

    def _keep(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "handle" in context and isinstance(error, Exception):
            self.errors.append(error)
        else:
            loop.default_exception_handler(context)

    def time(self) -> float:
        """Return the virtual monotonic time, in seconds."""
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass as it does while something computes: nobody is run meanwhile."""
        self.now += seconds

    def next_timer(self) -> float:
        """Return when the next timer is due."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0].when()


class _Jumping(selectors.DefaultSelector):
    """A selector that lets virtual time pass instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; where nothing is, let time pass until the next timer."""
        ready = super().select(0)
        self._turns = 0 if timeout else self._turns + 1
        if self._turns > _FORBEARANCE:
            self._turns = 0
            raise Livelock
        if not ready and timeout is None:
            raise Deadlock
        if not ready and timeout:
            # Exactly then: a sum of floats may fall short of it.
            self._loop.now = max(self._loop.now, self._loop.next_timer())
        return ready


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a scenario from the beginning of virtual time to its end; raise what its callbacks have raised."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main)
        finally:
            if loop.errors:
                raise ExceptionGroup("callbacks failed", loop.errors)


def virtual(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a test of a coroutine function that runs in virtual time."""

    @functools.wraps(test)
    def in_virtual_time(*arguments: P.args, **keywords: P.kwargs) -> T:
        return run(test(*arguments, **keywords))

    return in_virtual_time


def virtual_loop() -> VirtualLoop:
    """Return the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def virtual_clock() -> Clock:
    """Return a clock of the running virtual loop."""
    loop = virtual_loop()
    return Clock(monotonic=loop.time, utc=lambda: EPOCH + loop.time() - BEGINNING)


def aside(call: Callable[[], T], /) -> asyncio.Future[T]:
    """Stand in for a thread: what it calls is done a twentieth of a second of virtual time later."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's
            future.set_exception(error)

    asyncio.get_running_loop().call_later(0.05, done)
    return future
