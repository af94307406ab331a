"""Keeps a loop running after a bug in it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

PAUSE = 1.0
"""Seconds after which a loop that ended starts again."""

_log = structlog.get_logger()


async def keep_running(loop: Callable[[], Awaitable[None]], name: str) -> None:
    """Run a loop again and again until canceled; a bug in it is logged under its name, and ends no other loop."""
    while True:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("internal error", loop=name, exc_info=error)
        await asyncio.sleep(PAUSE)
