"""Runs a blocking call beside the event loop, in a thread that does not keep the process from exiting."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def in_daemon_thread(call: Callable[[], T], /) -> asyncio.Future[T]:
    """Run `call` in a daemon thread of its own; the future takes its result, or the exception that it raises.

    The loop's default executor joins its threads at exit: one read from a disk that hangs would keep khealth alive.
    Cancelling the future drops the result.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001 - whoever waits for it gets it
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nothing waits for it any more
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=run, name="khealth-blocking-call", daemon=True).start()
    return future
