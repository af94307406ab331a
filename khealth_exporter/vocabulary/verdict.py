"""What an attempt says of the cluster, and on what evidence."""

from dataclasses import dataclass

from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.step import Step


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an object looked like when an attempt failed, in lines for people."""

    kind: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt says of the cluster; an attempt has exactly one.

    `component` is the part of the cluster to look at; None for a success.
    """

    result: Result
    reason: Reason | None = None
    note: str = ""
    component: Component | None = None


class Failed(Exception):  # noqa: N818 - it reads as what happened: `raise Failed(reason, note)`
    """What a routine raises when its exercise does not succeed.

    `step` is the step that the finding concerns: it decides between several failures of one phase (the earliest step
    wins), and names the component where the reason alone does not: ValueError if neither does. The runner retries a
    cleanup that raises Failed, unless the failure is `settled`: everything is gone, but not in the way that it should
    have gone.
    """

    def __init__(
        self,
        reason: Reason,
        note: str = "",
        evidence: tuple[Evidence, ...] = (),
        *,
        step: Step | None = None,
        settled: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {note}" if note else str(reason))
        component = reason.component or (step.component if step else None)
        if component is None:
            raise ValueError(f"{reason} has no component of its own: name the step that failed")
        self.component: Component = component
        """The component to look at: the reason's; where several can cause it, the step's."""
        self.reason, self.note, self.evidence, self.step, self.settled = reason, note, evidence, step, settled
