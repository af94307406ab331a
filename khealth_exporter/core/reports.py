"""Reports: what a check's pod tells khealth over HTTP, by Kuberhealthy's protocol, and the attempts that await it."""

import math
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed


@dataclass(frozen=True, slots=True)
class Report:
    """What a pod found; `errors` are its own words, and `at` is the monotonic time at which they had arrived."""

    errors: Sequence[str]
    at: float

    @property
    def ok(self) -> bool:
        """Whether the check succeeded."""
        return not self.errors


class Expected:
    """A report that an attempt awaits until `deadline`, a monotonic time; the check must send the identifier `run`.

    `environment` is what the pod's containers are told, by the names of Kuberhealthy's internal/envs/envs.go (v3).
    `changed` fires when the report is there.
    """

    def __init__(self, clock: Clock, run: str, deadline: float, url: str, changed: Signal) -> None:
        self.run, self.deadline, self._clock, self._changed = run, deadline, clock, changed
        self.environment: Mapping[str, str] = MappingProxyType(
            {
                "KH_REPORTING_URL": url,
                "KH_RUN_UUID": run,
                "KH_CHECK_RUN_DEADLINE": str(math.floor(clock.utc(deadline))),
            }
        )
        self.report: Report | None = None
        """The first valid one: the identifier works once."""
        self.refused = ""
        """Why the last report that carried the identifier was refused; empty if none was."""

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self._clock.now() >= self.deadline

    def take(self, errors: Sequence[str]) -> None:
        """Keep a report that has just arrived, the first one; no errors mean success."""
        self.report = Report(tuple(errors), self._clock.now())
        self._changed.fire()


class Reports:
    """The reports that attempts await. It holds one entry for each running attempt, no matter who sends what.

    `chance` must not be predictable: a pod is recognized by the identifier that it makes.
    """

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self._clock, self._chance = clock, chance
        self._expected: dict[str, Expected] = {}
        self._url = self._trouble = ""
        self._changed = Signal()

    def served(self, url: str) -> None:
        """Say where pods can report from now on."""
        self._url, self._trouble = url, ""
        self._changed.fire()

    def unserved(self, trouble: str = "") -> None:
        """Say that pods cannot report at present, and why; without a reason, until it is known whether they can."""
        self._url, self._trouble = "", trouble
        self._changed.fire()

    async def expect(self, deadline: float, changed: Signal) -> Expected:
        """Begin to await one report until `deadline`, and fire `changed` when it comes; end that with `forget`.

        Raise Failed, an internal error, if nothing listens for reports: no pod is to blame for that.
        """
        await self._changed.until(lambda: bool(self._url or self._trouble), deadline)
        if not self._url:
            problem = self._trouble or "khealth does not listen for reports yet"
            raise Failed(Reason.INTERNAL_ERROR, f"no pod can report: {problem}")
        run = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        expected = self._expected[run] = Expected(self._clock, run, deadline, self._url, changed)
        return expected

    def find(self, run: str) -> Expected | None:
        """Return what awaits a report with this identifier; None if nothing does, or if it has its report."""
        expected = self._expected.get(run)
        return expected if expected and not expected.report else None

    def forget(self, expected: Expected) -> None:
        """Await it no longer: the attempt is over."""
        self._expected.pop(expected.run, None)
        self._changed.fire()

    async def settled(self) -> None:
        """Return when none of the reports is awaited any more that are awaited now."""
        awaited = set(self._expected)
        await self._changed.until(lambda: awaited.isdisjoint(self._expected))

    def __len__(self) -> int:
        return len(self._expected)
