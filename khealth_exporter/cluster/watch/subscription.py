"""What a watch says of objects, line by line, and who hears of it."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from khealth_exporter.cluster.objects import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)


@dataclass(frozen=True, slots=True)
class Line(Generic[T]):
    """What a watch said of an object.

    `at` is the monotonic time when its bytes were read; it may have been true up to `delay` seconds earlier for
    khealth's own doing: a busy event loop or, for a `recovered` line, a stream that was broken.
    """

    type: str
    object: T
    at: float
    delay: float
    recovered: bool


class Subscription(Generic[T]):
    """The lines of some objects, in the order of their arrival, until they are taken."""

    def __init__(self, wanted: Callable[[T], bool]) -> None:
        self._wanted, self._lines = wanted, deque[Line[T]]()

    def take(self, line: Line[T]) -> None:
        """Keep a line if it is wanted."""
        if self._wanted(line.object):
            self._lines.append(line)

    def close(self) -> None:
        """Want nothing more: it holds on to whoever asks, and would else live until Python looks for such circles."""
        self._wanted = lambda _: False
        self._lines.clear()

    def drain(self) -> Iterator[Line[T]]:
        """Yield what has arrived since the last time."""
        while self._lines:
            yield self._lines.popleft()


class Signal:
    """Lets others wait until something holds, looking again each time that something has changed."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def fire(self) -> None:
        """Look again, on behalf of all who wait: to wake each of them for that would cost a turn of the event loop."""
        for future, true in tuple(self._waiting.items()):
            if not future.done():
                try:
                    if true():
                        future.set_result(None)
                except Exception as error:  # noqa: BLE001 - it is the waiting one's bug, not the firing one's
                    future.set_exception(error)

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once something holds; raise what it raises."""
        if true():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = true
        try:
            await future
        finally:
            del self._waiting[future]
