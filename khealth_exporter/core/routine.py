"""Routine: what an author writes."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from khealth_exporter.canaries.pod_way import SeenImages
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Lags
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.settings import Duration, MeasurementSettings, Settings
from khealth_exporter.vocabulary.step import Step

LEEWAY = 60.0
"""Seconds beyond an attempt's bounds after which what it made counts as left behind."""


class RoutineSettings(Settings):
    """What every routine can be told."""

    interval: Duration = 60.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 20.0
    """Bounds init, and again cleanup."""
    suspend: bool = False
    """Whether it rests: known and shown, but not run; beside a module's routines this key is for all of them."""

    @property
    def hold(self) -> float:
        """Seconds from the end of init during which the routine is polled; 0: it is not."""
        return 0.0

    @property
    def pause(self) -> float:
        """Seconds between two polls at most."""
        return self.timeout

    @property
    def max_age(self) -> float:
        """Seconds that anything an attempt makes may live by right."""
        return 2 * self.timeout + self.hold + LEEWAY


S_co = TypeVar("S_co", bound=RoutineSettings, covariant=True)


@dataclass(frozen=True, slots=True)
class Context:
    """What a routine works with: the cluster, time, and what the whole process remembers."""

    cluster: Cluster
    clock: Clock
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    images: SeenImages = field(default_factory=SeenImages)
    chance: random.Random = field(default_factory=random.SystemRandom)
    lags: Lags = field(default_factory=Lags)


class Routine(ABC, Generic[S_co]):
    """One exercise of the cluster. To return is success; to raise `Failed(reason, note)` is failure.

    For every attempt the runner makes a new object, calls `init` once, `poll` until the hold is over, and in any case
    `cleanup`; `deadline` is the monotonic time at which the running phase is ended.
    """

    name: ClassVar[str]
    """Its kind: the word in the configuration."""
    steps: ClassVar[tuple[Step, ...]]
    """What it times: bounds the `step` label."""
    reasons: ClassVar[tuple[Reason, ...]]
    """Why it may fail or stay inconclusive: bounds the `reason` label."""
    permissions: ClassVar[tuple[Permission, ...]]
    """What RBAC must grant."""
    Settings: ClassVar[type[RoutineSettings]]

    def __init__(self, label: str, attempt: int, settings: S_co, context: Context) -> None:
        self.label, self.attempt, self.settings, self.context = label, attempt, settings, context
        self.deadline = float("inf")
        self.record: Callable[[Sample | Measurement], None] = lambda _: None
        """Hands a measured object, or a step of the attempt itself, to the running phase."""

    @abstractmethod
    async def init(self) -> None:
        """Begin the exercise, and return once it stands."""

    @abstractmethod
    async def poll(self) -> None:
        """Return if all is still well."""

    @abstractmethod
    async def cleanup(self) -> None:
        """Remove whatever init may have begun, however far it came; it may be called again until it returns."""

    def close(self) -> None:
        """Let go of what the attempt held: it is over, however it went."""

    async def rest(self, seconds: float) -> None:
        """Wait between two polls; one who can see trouble come returns earlier."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class RoutineConfig:
    """One routine that is wanted: its module, its label in metrics, its kind, and what it was told."""

    module: str
    label: str
    kind: type[Routine[Any]]
    settings: RoutineSettings
