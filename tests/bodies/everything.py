"""All routines that there are, as in the demo, with time-outs that a busy machine does not use up."""

from collections.abc import Collection
from dataclasses import replace

from khealth_exporter.cli.demo import configuration
from khealth_exporter.config import Config

ENOUGH = 60.0
"""Seconds for routines that end when they have succeeded: on a busy machine, twenty of them take a while."""


def everything(waiting: Collection[str] = (), bound: float = ENOUGH, **settings: object) -> Config:
    """Return the configuration; routines that are `waiting` in vain do so for `bound` seconds, or for the least they may.

    The settings apply to each routine that has such a setting.
    """
    known, routines = configuration(), []
    for routine in known.routines:
        timeout = max(bound, routine.settings.timeout) if routine.kind.name in waiting else ENOUGH
        routines.append(replace(routine, settings=routine.settings.with_known({**settings, "timeout": timeout})))
    return replace(known, routines=tuple(routines))
