"""A blocking call runs beside the event loop, and does not keep the process from exiting."""

import asyncio
import subprocess
import sys
import threading

import pytest

from khealth_exporter.measure.daemon_thread import in_daemon_thread

PATIENCE = 20.0
"""Seconds that a test waits at most."""


async def test_the_result_of_the_call_is_returned() -> None:
    async with asyncio.timeout(PATIENCE):
        assert 3 == await in_daemon_thread(lambda: 3)


async def test_an_exception_of_the_call_is_raised() -> None:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ValueError, match="invalid literal"):
            await in_daemon_thread(lambda: int("x"))


async def test_the_event_loop_continues_during_the_call() -> None:
    released = threading.Event()
    future = in_daemon_thread(lambda: released.wait(PATIENCE))
    await asyncio.sleep(0)
    assert not future.done()
    released.set()
    async with asyncio.timeout(PATIENCE):
        assert await future


async def test_two_calls_run_at_the_same_time() -> None:
    """A call that hangs does not delay others."""
    both = threading.Barrier(2, timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        assert {0, 1} == set(await asyncio.gather(in_daemon_thread(both.wait), in_daemon_thread(both.wait)))


async def test_a_canceled_call_has_no_effect() -> None:
    """Its result is dropped without an error in the loop."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    released, begun = threading.Event(), threading.Event()

    def call() -> threading.Thread:
        begun.set()
        released.wait(PATIENCE)
        return threading.current_thread()

    threads = set(threading.enumerate())
    future = in_daemon_thread(call)
    assert begun.wait(PATIENCE)
    (thread,) = set(threading.enumerate()) - threads
    future.cancel()
    released.set()
    thread.join(PATIENCE)
    await asyncio.sleep(0)
    assert (False, True, []) == (thread.is_alive(), future.cancelled(), errors)


@pytest.mark.parametrize("ending", ["", "call.cancel()"], ids=["running", "canceled"])
def test_a_call_that_hangs_does_not_keep_the_process_from_exiting(ending: str) -> None:
    """As a read from a disk that hangs."""
    script = f"""
import asyncio, threading
from khealth_exporter.measure.daemon_thread import in_daemon_thread

async def main():
    call = in_daemon_thread(threading.Event().wait)
    {ending}

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=PATIENCE, check=False)  # noqa: S603
    assert (0, b"") == (done.returncode, done.stderr)


def test_a_call_that_outlives_its_loop_is_no_error() -> None:
    """There is no loop left to deliver its result to."""
    released = threading.Event()
    errors: list[threading.ExceptHookArgs] = []
    threads = set(threading.enumerate())

    async def begin() -> None:
        in_daemon_thread(lambda: released.wait(PATIENCE))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", errors.append)
        asyncio.run(begin())
        (thread,) = set(threading.enumerate()) - threads
        released.set()
        thread.join(PATIENCE)
    assert (False, []) == (thread.is_alive(), errors)
