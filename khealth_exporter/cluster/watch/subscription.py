"""Lines of a watch, and who receives them."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from msgspec import Struct

from khealth_exporter.cluster.objects import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)
Key = tuple[str, ...]
"""Values of khealth's own labels: which attempt an object belongs to."""


class Line(Struct, Generic[T], frozen=True):
    """What a watch said of an object.

    `at` is the monotonic time when its bytes arrived; it may have been true up to `delay` seconds earlier for
    khealth's own doing: a reader that came late or, for a `recovered` line, a stream that was broken.
    """

    type: str
    object: T
    at: float
    delay: float
    recovered: bool


class Subscription(Generic[T]):
    """The lines of some objects, in the order of their arrival, until they are taken.

    `key` selects the objects whose labels hold the same values of khealth's own labels; None selects all objects.
    """

    def __init__(self, key: Key | None, changed: "Signal", source: "Subscriptions[T]") -> None:
        self.key, self.changed, self._source = key, changed, source
        self._lines: deque[Line[T]] = deque()

    def take(self, line: Line[T]) -> None:
        """Keep a line."""
        self._lines.append(line)

    def close(self) -> None:
        """Take no more lines."""
        self._source.forget(self)
        self._lines.clear()

    def clear(self) -> None:
        """Drop what has arrived."""
        self._lines.clear()

    def drain(self) -> Iterator[Line[T]]:
        """Yield what has arrived since the last call."""
        while self._lines:
            yield self._lines.popleft()


class Signal:
    """Lets others wait until a condition holds, and evaluates it again at each change."""

    def __init__(self) -> None:
        self.sources: set[Callable[[], None]] = set()
        """What makes each watch that fires it take in what has arrived and waits for more."""
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def fire(self) -> None:
        """Evaluate the conditions on behalf of all waiters: waking each of them would cost a turn of the event loop."""
        for future, true in tuple(self._waiting.items()):
            if not future.done():
                try:
                    if true():
                        future.set_result(None)
                except Exception as error:  # noqa: BLE001 - it is the waiter's bug, not the caller's
                    future.set_exception(error)

    def flush(self) -> None:
        """Let everything count that has arrived: before a decision, not in a condition, as it fires the signal."""
        for flush in tuple(self.sources):
            flush()

    async def until(self, true: Callable[[], bool], deadline: float = math.inf) -> bool:
        """Wait until a condition holds, and tell whether it does; at the deadline, a monotonic time, at the latest."""
        self.flush()
        if true():
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = true
        try:
            async with asyncio.timeout_at(None if math.isinf(deadline) else deadline):
                await future
        except TimeoutError:
            self.flush()
            return true()
        finally:
            del self._waiting[future]
        return True


class Subscriptions(Generic[T]):
    """The subscriptions of one watch, by key: what a line costs does not grow with their number.

    `flush` makes the watch take in what has arrived and waits for more.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self.flush = flush
        self._open: dict[Key | None, set[Subscription[T]]] = {}
        self._told: set[Subscription[T]] = set()
        """Those that have new lines since their signal was last fired."""

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, key: Key | None, changed: Signal) -> Subscription[T]:
        """Return a new subscription."""
        subscription = Subscription(key, changed, self)
        changed.sources.add(self.flush)
        self._open.setdefault(key, set()).add(subscription)
        return subscription

    def forget(self, subscription: Subscription[T]) -> None:
        """Hand it no more lines."""
        found = self._open.get(subscription.key, set())
        found.discard(subscription)
        if not found:
            self._open.pop(subscription.key, None)

    def take(self, line: Line[T], key: Key) -> None:
        """Hand a line to the subscriptions of its object's key, and to those of all objects."""
        for wanted in (key, None):
            for subscription in self._open.get(wanted, ()):
                subscription.take(line)
                self._told.add(subscription)

    def fire(self) -> None:
        """Fire the signals of those who have new lines, however many others there are."""
        told, self._told = self._told, set()
        for signal in {subscription.changed for subscription in told}:
            signal.fire()

    def fire_all(self) -> None:
        """Fire every signal."""
        for signal in {subscription.changed for found in self._open.values() for subscription in found}:
            signal.fire()
