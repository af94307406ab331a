"""Signals: the first asks for a clean end, the second ends at once; SIGHUP may ask for the configuration instead."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import structlog

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end khealth; a terminal that closes must not leave canaries behind, unless SIGHUP means a reload."""

_log = structlog.get_logger()


@contextlib.contextmanager
def ended_by_signals(terminate: Callable[[], None], reload: Callable[[], None] | None = None) -> Iterator[None]:
    """Stop cleanly at the first signal that asks for it, at once at the second; with `reload`, SIGHUP asks for that."""
    loop, asked = asyncio.get_running_loop(), False

    def stop(number: signal.Signals) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        _log.info("stopping: cleaning up; a second signal ends at once", signal=number.name)
        terminate()

    for number in _ENDING:
        loop.add_signal_handler(number, stop, number)
    if reload:
        loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
