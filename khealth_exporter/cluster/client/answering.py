"""For how long a phase has waited for the API server: whether it is to blame that no more time was left."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

LEAST_TIME = 1.0
"""Seconds that a request must have had before its timeout counts: the deadline may have left it less."""


@dataclass(slots=True)
class _Phase:
    begun: float
    waited: float = 0.0
    waiting: int = 0
    """Requests that wait at present, since that time."""
    since: float = 0.0


_current: ContextVar[_Phase | None] = ContextVar("_current", default=None)


@contextmanager
def phase(begun: float) -> Iterator[None]:
    """Count what the requests inside wait, in the tasks that start there too; `begun` is a monotonic time."""
    token = _current.set(_Phase(begun))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def waiting(clock: Clock) -> Iterator[None]:
    """Count the time inside; requests that wait at the same time count once."""
    found = _current.get()
    if found is None:
        yield
        return
    if not found.waiting:
        found.since = clock.now()
    found.waiting += 1
    try:
        yield
    finally:
        found.waiting -= 1
        if not found.waiting:
            found.waited += clock.now() - found.since


def share(now: float) -> float:
    """Return which part of the phase so far was spent waiting; 1 outside of any phase."""
    found = _current.get()
    if found is None or now <= found.begun:
        return 1.0
    return (found.waited + (now - found.since if found.waiting else 0.0)) / (now - found.begun)


def timed(refusal: Refusal, given: float, now: float) -> Refusal:
    """Return what it means that there was no answer in `given` seconds: nothing if others had used up the time."""
    late = refusal.late and refusal.reason is Reason.API_TIMEOUT and given < LEAST_TIME
    if not late or (waited := share(now)) > 1 / 2:
        return refusal
    note = f"{refusal.note}: it had {given:.2f} s, and requests had taken {waited:.0%} of the time"
    return replace(refusal, reason=Reason.NO_SINGLE_CAUSE, note=note)
