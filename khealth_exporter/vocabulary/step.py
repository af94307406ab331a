"""What a routine times."""

from dataclasses import dataclass

from khealth_exporter.vocabulary.component import Component

API_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds; one request to the API server. 1 s is the objective of SIG Scalability."""
POD_EDGES = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20, 30, 60, 120, 300,
)  # fmt: skip
"""Seconds; a step of a pod, dense around the objectives of 1 s and 5 s."""
ROUND_TRIP_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""Seconds; one round trip on the network."""
DISK_EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds; one write or read of a disk."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The share of a step's durations, from 0 to 1, that must not exceed `seconds`; `source` is who says so."""

    share: float
    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a routine times, and the component that it measures.

    `edges` are the upper bounds of its histogram's buckets, in seconds. An objective's `seconds` must be one of them:
    ValueError otherwise. A step `per_object` is measured for each sample, any other for the attempt itself. A step
    that is the `sli` goes to the pod-startup histogram instead of the one of the steps. A `teardown` step belongs to
    the removal of an object, and says nothing of how fast the object came up.
    """

    name: str
    component: Component
    meaning: str
    edges: tuple[float, ...] = POD_EDGES
    objective: Objective | None = None
    per_object: bool = False
    sli: bool = False
    teardown: bool = False

    def __post_init__(self) -> None:
        if self.objective and self.objective.seconds not in self.edges:
            raise ValueError(
                f"step {self.name}: {self.objective.seconds:g} s is no bucket edge, so it cannot be judged"
            )
