"""All routines that there are, as in the demo, with time-outs that a busy machine does not use up."""

from collections.abc import Collection
from dataclasses import replace

from khealth_exporter.cli.demo import configuration
from khealth_exporter.config import Config

ENOUGH = 60.0
"""Seconds for routines that end when they have succeeded: on a busy machine, twenty of them take a while."""
PATIENT = {
    "answer_timeout": 4.0,
    "lost_after": 4.0,
    "slow": 3.0,
    "spacing": 0.005,
    "starved_factor": 1000.0,
}
"""Settings by which an answer within seconds is one, and no canary that waits for a CPU is starved."""


def everything(waiting: Collection[str] = (), bound: float = ENOUGH, **settings: object) -> Config:
    """Return the configuration; routines that are `waiting` in vain do so for `bound` seconds, or for the least they may.

    The settings apply to each routine that has such a setting, and so do those of `PATIENT` otherwise.
    """
    known, routines = configuration(), []
    for routine in known.routines:
        timeout = max(bound, routine.settings.timeout) if routine.kind.name in waiting else ENOUGH
        routines.append(
            replace(routine, settings=routine.settings.with_known({**PATIENT, **settings, "timeout": timeout}))
        )
    return replace(known, routines=tuple(routines))
