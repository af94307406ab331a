"""Runs a blocking call in a daemon thread, so that it does not keep the process from exiting."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def in_daemon_thread(call: Callable[[], T], /) -> asyncio.Future[T]:
    """Run `call` in its own daemon thread; the future receives its result or exception.

    Canceling the future drops the result. asyncio joins the threads of its default executor at exit: with it, one read
    from a disk that hangs would keep the process running.
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
        except BaseException as raised:  # noqa: BLE001 - the future passes it on
            error = raised
        with suppress(RuntimeError):  # The loop is closed.
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=run, name="khealth-blocking-call", daemon=True).start()
    return future
