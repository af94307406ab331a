"""How a check is asked to begin, and how it says what it found."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from khealth_exporter.canaries.checks.endings import over
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.core.routine import AttemptId, Context
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a check: its attempt, the containers that its template asks for, and the steps that it may report."""

    attempt: AttemptId
    context: Context
    containers: frozenset[str]
    steps: frozenset[str]


@dataclass(frozen=True, slots=True)
class Said:
    """What a check said: `reason` is None if it is well, `note` is the rest in one line.

    `durations` maps the names of steps to seconds, on the check's own clock; names that are not declared are allowed.
    """

    reason: Reason | None = None
    note: str = ""
    durations: Mapping[str, float] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()


class Protocol(ABC):
    """How one run of a check is asked to begin, and how it says what it found."""

    def __init__(self, run: Run) -> None:
        self.run = run

    async def begin(self, deadline: float) -> Mapping[str, str]:
        """Return the environment of every container, init containers too; the run must end by then (monotonic).

        Raise Failed if khealth could not hear what the check says.
        """
        del deadline
        return {}

    async def heard(self) -> None:
        """Return when the check has said what it found, while it still runs; by default never: its end says it."""
        await asyncio.Event().wait()

    def over(self, trace: Trace[Pod]) -> bool:
        """Tell whether the check has ended: all its containers have, or one with an error."""
        return over(trace, self.run.containers)

    @property
    def spoke(self) -> bool:
        """Whether the check has said what it found: then that counts, whatever became of its pod afterwards."""
        return False

    @property
    def refused(self) -> str:
        """Why the last thing that the check said was not accepted, for a check that stays silent; empty if none was."""
        return ""

    @abstractmethod
    async def said(self, trace: Trace[Pod], deadline: float) -> Said:
        """Return what the check said: it was heard, or its containers have ended, or one of them with an error.

        What khealth cannot ask for in time, in monotonic seconds, is left out.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Listen no more: the attempt is over."""
