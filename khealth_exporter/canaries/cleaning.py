"""Removing several objects of one attempt: what keeps one of them does not keep the others."""

from collections.abc import Awaitable, Callable

from khealth_exporter.vocabulary.verdict import Failed


async def one_after_the_other(*removals: Callable[[], Awaitable[object]]) -> None:
    """Await all of these in order; then raise ExceptionGroup of what failed."""
    failures: list[Exception] = []
    for remove in removals:
        try:
            await remove()
        except (Failed, ExceptionGroup) as failed:
            failures.append(failed)
    if failures:
        raise ExceptionGroup("not everything was removed", failures)
