"""Heavy routines: they begin at different moments, and pause while the API server throttles."""

from collections.abc import Iterable
from dataclasses import replace

from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.turns import Grid

PAUSE = 60.0
"""Seconds after a 429 of the API server during which no heavy routine begins an attempt."""


def spread(routines: Iterable[RoutineConfig]) -> tuple[RoutineConfig, ...]:
    """Return the routines, the heavy ones with shares that divide an interval evenly, in the order of their names."""
    found = tuple(routines)
    heavy = sorted((routine.module, routine.label) for routine in found if routine.kind.heavy)
    shares = {name: index / len(heavy) for index, name in enumerate(heavy)}
    return tuple(replace(routine, share=shares.get((routine.module, routine.label), 0.0)) for routine in found)


def grid(wanted: RoutineConfig, now: float, offset: float) -> Grid:
    """Return the grid of a routine that begins `now`, in monotonic seconds, shifted by `offset` seconds.

    Grids of heavy routines start from the clock's own zero, so that those of one interval keep their distances
    when a reload replaces one of them.
    """
    interval = wanted.settings.interval
    if not wanted.kind.heavy:
        return Grid(now + offset, interval)
    return Grid((offset + wanted.share * interval) % interval, interval)


def throttled(wanted: RoutineConfig, context: Context) -> bool:
    """Tell whether a routine must not begin an attempt now, because it is heavy and the API server throttles."""
    return wanted.kind.heavy and context.clock.now() - context.cluster.client.throttled_at < PAUSE
