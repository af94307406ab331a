"""The settings of a check that say what it runs and what it reports."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from khealth_exporter.canaries.checks.template import Template
from khealth_exporter.core.routine import RoutineSettings
from khealth_exporter.vocabulary.alerting import Severity
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.settings import Duration, Settings
from khealth_exporter.vocabulary.step import POD_EDGES

STEPS = 20
"""Steps that a check may declare: each is a histogram."""
EDGES = 30
"""Edges that a step may have."""
_CLEANING = 30
"""Seconds that a pod has to end by default: terminationGracePeriodSeconds of Kubernetes' PodSpec."""
_POD_STEPS = frozenset({
    "accept", "create", "schedule", "sandbox", "start", "ready", "startup", "check", "complete", "delete",
})  # fmt: skip
_NAME = re.compile("[a-z][a-z0-9_]{0,29}")


def _ascending(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(left >= right for left, right in zip((0.0, *edges), edges, strict=False)):
        raise ValueError("must be greater than 0, and in ascending order")
    return edges


def _free(steps: dict[str, "CheckStep"]) -> dict[str, "CheckStep"]:
    for name in steps:
        if name in _POD_STEPS:
            raise ValueError(f"step {name} is one of khealth's own")
        if not _NAME.fullmatch(name):
            raise ValueError(f"step {name!r}: a name has at most 30 lowercase letters, digits and _")
    return steps


class CheckStep(Settings):
    """A step that a check reports."""

    meaning: Annotated[str, StringConstraints(max_length=200)] = "what the check says that it took"
    """What it times, for `/status` and the status page."""
    edges: Annotated[tuple[float, ...], AfterValidator(_ascending), Field(min_length=1, max_length=EDGES)] = POD_EDGES
    """Upper bounds of its histogram's buckets, in seconds."""


class CheckSettings(RoutineSettings):
    """Settings of check."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 120.0
    """Upper bound of a run, from the pod's creation until the check has said what it found; and again of cleanup."""
    template: Template
    """The Pod or the Job that is the check, in Kubernetes' own words."""
    protocol: Literal["exit", "kuberhealthy"] = "exit"
    """How the check says what it found. `exit`: by its exit code, its termination message and its output.
    `kuberhealthy`: by a report over HTTP, as checks made for Kuberhealthy do."""
    component: Component = Component.WORKLOAD
    """What a failure of the check is about."""
    severity: Severity = Severity.WARNING
    """What a failure of the check means: `critical` pages, `warning` opens a ticket, `info` only shows it."""
    steps: Annotated[dict[str, CheckStep], AfterValidator(_free), Field(max_length=STEPS)] = Field(default_factory=dict)
    """The steps that the check may report, by name. khealth then reads its output."""

    @property
    def grace(self) -> int:
        """Seconds from the pod's deletion until its containers are killed.

        A check has said what it found by then, unless it is silent. Those made for Kuberhealthy remove what they have
        made when they are asked to end, and expect Kubernetes' own 30 s for that.
        """
        told = self.template.pod.terminationGracePeriodSeconds
        if told is not None:
            return told
        return min(_CLEANING, int(self.timeout / 4)) if self.protocol == "kuberhealthy" else 1

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if (self.template.pod.terminationGracePeriodSeconds or 0) > self.timeout / 4:
            raise ValueError(
                "terminationGracePeriodSeconds exceeds a quarter of timeout: the pod would not end in time"
            )
        if any(seconds is not None and seconds < self.timeout for seconds in self.template.deadlines):
            raise ValueError("activeDeadlineSeconds is below timeout: khealth could not tell why the check has ended")
        return self
