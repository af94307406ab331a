"""egress: agents connect to what the user names outside the cluster, and wait for its answer."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from khealth_exporter.canaries.egress_targets import STEPS, Outcome, Target, judge
from khealth_exporter.core.agents import Agent, Told, answering
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step

_UNFINISHED = "unfinished"
"""The error of a target that the agent had no time for: it says nothing."""
_SPARE = 2.0
"""Seconds for the way of an answer from its agent."""
_GATHER = 3.0
"""Seconds at least until the agents are ready."""


class EgressSettings(RoutineSettings):
    """Settings of egress."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=32)]
    """What agents connect to: each entry has a `url` or an `address`; `status` and `timeout` are optional."""
    interval: Duration = 60.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Annotated[Duration, Field(le=60)] = 30.0
    """Upper bound of init, and again of cleanup; longer than each target's own by at least 5 seconds."""

    @property
    def reserve(self) -> float:
        """Seconds that an agent needs until it knows that a target does not answer."""
        return max(target.timeout for target in self.targets) + _SPARE

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.timeout < (least := self.reserve + _GATHER):
            raise ValueError(f"timeout is below {least:g}s: no agent could tell that a target does not answer")
        return self


class Egress(Routine[EgressSettings]):
    """Connect to URLs and addresses that you name, from every agent."""

    name: ClassVar[str] = "egress"
    steps: ClassVar[tuple[Step, ...]] = STEPS
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.EGRESS_FAILED,
        Reason.ONE_NODE,
        Reason.NO_SINGLE_CAUSE,
    )
    writes: ClassVar[int] = 0
    needs_agents: ClassVar[bool] = True
    Settings: ClassVar[type[EgressSettings]] = EgressSettings

    async def init(self) -> None:
        """Ask every agent to connect to every target."""
        agents = await self.agents.ready(self.deadline - self.settings.reserve)
        targets = self.settings.targets

        def question(_: Agent) -> dict[str, object]:
            within = max(1.0, self.deadline - self.context.clock.now() - _SPARE)
            return {"targets": [target.question(n) for n, target in enumerate(targets)], "within": within}

        heard = await self.agents.ask(agents, "egress", question, self.deadline)
        self.record(answering(len(heard.told), heard.silent))
        outcomes = [outcome for told in heard.told for outcome in _outcomes(told, targets)]
        for step in self.steps:
            if times := [outcome.durations[step] for outcome in outcomes if step in outcome.durations]:
                self.record(Distribution.of(step, times, max(outcome.uncertainty for outcome in outcomes)))
        for target in targets:
            self.record(_remark(target, [outcome for outcome in outcomes if outcome.target is target]))
        if failed := judge(outcomes, targets):
            raise failed

    async def cleanup(self) -> None:
        """Nothing was created."""


def _outcomes(told: Told, targets: Sequence[Target]) -> Iterator[Outcome]:
    found = {result.get("id"): result for result in told.document.get("results", ())}
    for number, target in enumerate(targets):
        result = found.get(str(number), {})
        if result.get("error", _UNFINISHED) != _UNFINISHED:
            yield Outcome.of(told.agent, target, result)


def _remark(target: Target, outcomes: Sequence[Outcome]) -> Remark:
    failing = [outcome for outcome in outcomes if outcome.trouble]
    well = f"{len(outcomes) - len(failing)} of {len(outcomes)} agents are answered"
    return Remark(target.name, f"{well}; {failing[0]}" if failing else well, failing=bool(failing))
