"""THE TABLE OF CONTENTS: every module and the routines that it is made of."""

from dataclasses import dataclass
from typing import Any

from khealth_exporter.core.routine import Routine
from khealth_exporter.routines.rcscheduler import RcScheduler


@dataclass(frozen=True, slots=True)
class Module:
    """A named set of routines, which run under the names of their kinds unless the configuration lists others."""

    name: str
    meaning: str
    routines: tuple[type[Routine[Any]], ...]


MODULES: tuple[Module, ...] = (
    Module(
        name="rcscheduler",
        meaning="pods of a ReplicationController are created, scheduled, started, kept and deleted",
        routines=(RcScheduler,),
    ),
)
