"""Routine: what an author writes."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.agents import AGENT_PERMISSIONS, AGENT_REASONS, Agents
from khealth_exporter.core.reports import Reports
from khealth_exporter.core.stop import Stop
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Lags
from khealth_exporter.vocabulary.alerting import Alerting
from khealth_exporter.vocabulary.matrix import Matrix
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading, Remark
from khealth_exporter.vocabulary.reason import COMMON_REASONS, Reason
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Sample
from khealth_exporter.vocabulary.settings import NEVER, Duration, MeasurementSettings, Moment, Settings
from khealth_exporter.vocabulary.step import Step

LEEWAY = 60.0
"""Seconds beyond an attempt's bounds after which its objects count as left behind."""


class RoutineSettings(Settings):
    """Settings that every routine has."""

    interval: Duration = 60.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 20.0
    """Upper bound of init, and again of cleanup."""
    suspend: bool = False
    """Whether the routine is suspended: shown, but not run. Next to a module's routines, this key suspends them all."""
    suspend_until: Moment = NEVER
    """Until when the routine is suspended, as in 2026-12-24T06:00:00Z: a maintenance window that ends by itself."""

    def with_known(self, values: Mapping[str, object]) -> Self:
        """Return them with those of these values, valid ones, that there is a setting for."""
        known = type(self).model_fields
        return self.model_copy(update={key: value for key, value in values.items() if key in known})

    def suspended_at(self, now: float) -> bool:
        """Tell whether the routine is suspended at this time, in Unix seconds."""
        return self.suspend or now < self.suspend_until

    @property
    def hold(self) -> float:
        """Seconds from the end of init during which the runner polls the routine; 0 for none."""
        return 0.0

    @property
    def pause(self) -> float:
        """Longest time between two polls, in seconds."""
        return self.timeout

    @property
    def max_age(self) -> float:
        """Longest rightful life of what an attempt creates, in seconds."""
        return 2 * self.timeout + self.hold + LEEWAY


Recorded = Sample | Measurement | Distribution | Reading | Remark | Matrix
S_co = TypeVar("S_co", bound=RoutineSettings, covariant=True)
M = TypeVar("M")


class Memory:
    """What outlives an attempt: one object of each class, for the whole process or for one routine.

    `lasting` is False for a process that makes one attempt and ends.
    """

    def __init__(self, *, lasting: bool = True) -> None:
        self.lasting = lasting
        self._kept: dict[tuple[object, ...], Any] = {}

    def of(self, make: Callable[[], M], *scope: str) -> M:
        """Return the object that `make` made for this scope, and make it the first time."""
        key = (make, *scope)
        if key not in self._kept:
            self._kept[key] = make()
        found: M = self._kept[key]
        return found


@dataclass(frozen=True, slots=True)
class Context:
    """What a routine works with: the cluster, time, randomness, and what the process remembers."""

    cluster: Cluster
    clock: Clock
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    memory: Memory = field(default_factory=Memory)
    chance: random.Random = field(default_factory=random.SystemRandom)
    canary_image: str = ""
    """The image of canaries that measure something: khealth's own; empty if it is not known."""
    lags: Lags = field(default_factory=Lags)
    agents: Agents | None = None
    """Agents on the nodes; None unless an enabled routine needs them."""
    reports: Reports | None = None
    """What pods report over HTTP; nobody listens unless an enabled routine needs it."""


@dataclass(frozen=True, slots=True)
class AttemptId:
    """One attempt of one routine; `routine` is its name in the configuration."""

    module: str
    routine: str
    number: int


class Routine(ABC, Generic[S_co]):
    """One exercise of the cluster. Returning is success; raising `Failed(reason, note)` is failure.

    For every attempt the runner creates a new object, calls `init` once, `poll` until the hold is over, and `cleanup`
    in every case; `deadline` is the monotonic time at which the running phase ends.
    """

    name: ClassVar[str]
    """The word in the configuration."""
    steps: ClassVar[tuple[Step, ...]]
    """What it times, in order: of several failures, the one of the earliest step counts."""
    reasons: ClassVar[tuple[Reason, ...]] = ()
    """Why it can fail or stay inconclusive, in addition to COMMON_REASONS."""
    makes: ClassVar[tuple[Kind[Any], ...]] = ()
    """Kinds that it creates and deletes; sweeping covers them."""
    watches: ClassVar[tuple[Kind[Any], ...]] = ()
    """Kinds that it follows on the shared watches."""
    reads: ClassVar[tuple[Kind[Any], ...]] = ()
    """Kinds that it lists or gets; verdicts are less precise without."""
    heavy: ClassVar[bool] = False
    """Whether it costs the cluster much: such routines begin at different moments, and pause while it throttles."""
    writes: ClassVar[int]
    """API writes of one attempt that succeeds."""
    needs_canary: ClassVar[bool] = False
    """Whether its canaries measure something: then it cannot run unless `canary.image` is set."""
    needs_agents: ClassVar[bool] = False
    """Whether it asks agents: then it cannot run unless `canary.image` is set, or the chart runs agents."""
    compares_hosts: ClassVar[bool] = False
    """Whether it asks agents in the networks of nodes too, where they run."""
    figures: ClassVar[tuple[Figure, ...]] = ()
    """Gauges of its own."""
    permissions: ClassVar[tuple[Permission, ...]] = ()
    """Rights that do not follow from the kinds."""
    Settings: ClassVar[type[RoutineSettings]]

    def __init__(self, attempt: AttemptId, settings: S_co, context: Context) -> None:
        self.attempt, self.settings, self.context = attempt, settings, context
        self.ownership: Ownership = context.cluster.identity.of_attempt(
            attempt.module, attempt.routine, attempt.number, settings.max_age
        )
        """Names and labels of what the attempt creates."""
        self.changed = Signal()
        """Fires when a watch shows a change of the attempt's objects."""
        self.stop = Stop()
        """Asked for when the attempt is to end early: cleanup goes on, and need not wait for what could wait."""
        self.deadline = float("inf")
        self.record: Callable[[Recorded], None] = lambda _: None
        """Hands a finding to the running phase: a sample, a step of the attempt itself, or many durations of it; a
        reading, a remark, or a matrix."""

    @classmethod
    def all_reasons(cls) -> tuple[Reason, ...]:
        """Return every reason that it can give, failures first: bounds the `reason` label."""
        found = dict.fromkeys((*COMMON_REASONS, *cls.reasons, *(AGENT_REASONS if cls.needs_agents else ())))
        return tuple(sorted(found, key=list(Reason).index))

    @classmethod
    def watched(cls, settings: S_co) -> tuple[Kind[Any], ...]:  # type: ignore[misc] # it only reads the settings
        """Return the kinds that it follows with these settings."""
        del settings
        return cls.watches

    @classmethod
    def needs_reports(cls, settings: S_co) -> bool:  # type: ignore[misc] # it only reads the settings
        """Tell whether its pods report over HTTP with these settings: then khealth listens for reports."""
        del settings
        return False

    @classmethod
    def steps_of(cls, settings: S_co) -> tuple[Step, ...]:  # type: ignore[misc] # it only reads the settings
        """Return what it times with these settings, in order; by default `steps`."""
        del settings
        return cls.steps

    @classmethod
    def alerting(cls, settings: S_co) -> Alerting | None:  # type: ignore[misc] # it only reads the settings
        """Return how the failures of a user's check reach alerts; None where a component's alert tells of them."""
        del settings
        return None

    @classmethod
    async def early(cls, wanted: "RoutineConfig", context: Context) -> None:
        """Return when an attempt should begin before its turn on the grid; by default never."""
        del wanted, context
        await asyncio.Event().wait()

    @classmethod
    def sweeps(cls) -> tuple[Kind[Any], ...]:
        """Return the kinds of which an attempt may leave an object: what it creates, and what comes of that."""
        return tuple(dict.fromkeys((*cls.makes, *(kind for kind in cls.watches if kind.namespaced))))

    @classmethod
    def all_permissions(cls) -> tuple[Permission, ...]:
        """Return every right that it needs, in RBAC's words."""
        made = (p for kind in cls.makes for p in kind.to_make(watched=kind in cls.watches))
        watched = (p for kind in cls.watches for p in kind.to_watch())
        read = (p for kind in cls.reads for p in kind.to_read())
        asked = AGENT_PERMISSIONS if cls.needs_agents else ()
        return tuple(dict.fromkeys((*made, *watched, *read, *cls.permissions, *asked)))

    @property
    def agents(self) -> Agents:
        """The agents of the cluster; LookupError in a routine that does not say that it needs them."""
        if self.context.agents is None:
            raise LookupError(f"{type(self).__name__} does not say that it needs agents")
        return self.context.agents

    @abstractmethod
    async def init(self) -> None:
        """Begin the exercise, and return when it stands."""

    async def poll(self) -> None:
        """Return if nothing has failed."""

    @abstractmethod
    async def cleanup(self) -> None:
        """Remove whatever init may have begun, however far it came; the runner calls it again until it returns."""

    def close(self) -> None:
        """Release what the attempt held: it is over, whatever its result."""

    async def rest(self, seconds: float) -> None:
        """Wait between two polls; return earlier if there is a reason to poll."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class RoutineConfig:
    """One configured routine: its module, its name in the configuration and in metrics, its class, and its settings.

    `share`, from 0 to 1, is the share of an interval by which the grid of a heavy routine is shifted against others.
    """

    module: str
    label: str
    kind: type[Routine[Any]]
    settings: RoutineSettings
    share: float = field(default=0.0, compare=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it times, in order."""
        return self.kind.steps_of(self.settings)
