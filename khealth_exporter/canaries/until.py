"""The agents' task `until`: an address is tried again and again until it answers, or until it no longer does."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec

from khealth_exporter.cluster.errors import clean
from khealth_exporter.core.agents import Agent, Agents, Heard, Silence, Told
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

LONGEST = 60.0
"""Seconds that an agent tries at most for one question."""
_SHORTEST = 1.0
"""Seconds that it has for a question at least."""
TRANSIT = 5.0
"""Seconds for the question and its answer, apart from the agent's own."""
MOST = 50
"""Agents that try at the same time."""
_RATE = 500.0
"""Tries a second of all agents together: what they try is a canary with little CPU."""
_FEWEST = 20
"""Tries in a row that fail before silence counts, also if many agents try less often."""
NO_LOOKUP = "no lookup"
"""How an agent's error begins if DNS does not tell whether a name has addresses."""
NAMED = 3
"""Agents that a note names."""

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


@dataclass(frozen=True, slots=True)
class Check:
    """What an agent tries, and what it waits for: one answer, silence, or no answer by `gone`.

    The address may be a host name, which agents look up for each try.
    It makes a new connection every `every` seconds, on which http asks who answers, and gives up each try after
    `timeout`. Silence, or the absence of `gone`, counts after `calm` tries in a row. Of many agents, each
    tries less often, and fewer tries count, but never less than 20.
    """

    id: str
    address: str
    port: int
    want: Literal["answer", "silence", "not"] = "answer"
    gone: str = ""
    calm: int = 20
    every: float = 0.02
    timeout: float = 0.5
    node: str = ""
    """The node that is asked; empty where it may be any."""
    protocol: Literal["tcp", "http"] = "http"

    def question(self, agents: int) -> Mapping[str, object]:
        """Return it in the agent's words, for so many agents that try at the same time."""
        gone = {"not": self.gone} if self.gone else {}
        every, calm = self._pace(agents)
        return {
            "id": self.id, "protocol": self.protocol, "address": self.address, "port": self.port, "want": self.want,
            **gone, "every": every, "calm": calm, "timeout": self.timeout,
        }  # fmt: skip

    def patience(self, agents: int) -> float:
        """Return the seconds that the tries take which show that nothing answers any more, or that `gone` does not."""
        every, calm = self._pace(agents)
        return every * calm + self.timeout

    def _pace(self, agents: int) -> tuple[float, int]:
        every = max(self.every, agents / _RATE)
        return every, max(_FEWEST, math.ceil(self.calm * self.every / every))


class Outcome(msgspec.Struct, frozen=True):
    """What an agent says of one check: durations in seconds since it had the question, and who answered how often."""

    id: str
    reached: bool
    seconds: _Seconds = 0.0
    uncertainty: _Seconds = 0.0
    tries: _Count = 0
    answers: dict[str, _Count] = {}
    error: str = ""


class _Document(msgspec.Struct, frozen=True):
    results: list[Outcome]
    seconds: _Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one agent saw of one check; `at` is when it was reached, in monotonic seconds of khealth's own clock."""

    agent: Agent
    check: Check
    outcome: Outcome
    at: float
    uncertainty: float

    @property
    def reached(self) -> bool:
        """Whether what was waited for came."""
        return self.outcome.reached

    def after(self, before: "Seen", agents: int) -> "Seen":
        """Return it with the tries of the question before it, of so many agents that try at the same time.

        What was so when this question came may have begun during the last tries of the one before it.
        """
        old, new = before.outcome, self.outcome
        answers = {name: old.answers.get(name, 0) + new.answers.get(name, 0) for name in old.answers | new.answers}
        outcome = msgspec.structs.replace(new, tries=old.tries + new.tries, answers=answers)
        decisive = new.answers.get(self.check.gone) if self.check.want == "not" else new.answers
        if self.check.want == "answer" or decisive or not self.reached:
            return replace(self, outcome=outcome)
        earliest = before.at - before.uncertainty - self.check.patience(agents)
        return replace(self, outcome=outcome, uncertainty=max(self.uncertainty, self.at - earliest))

    @property
    def unlooked(self) -> bool:
        """Whether it was not reached because DNS did not tell where it is."""
        return not self.reached and self.outcome.error.startswith(NO_LOOKUP)

    @property
    def failed(self) -> int:
        """Tries that got no answer."""
        return max(0, self.outcome.tries - sum(self.outcome.answers.values()))


@dataclass(frozen=True, slots=True)
class Observed:
    """What all agents saw that answered, and those that did not."""

    seen: Sequence[Seen]
    silent: Sequence[Silence]

    @property
    def agents(self) -> list[Agent]:
        """Those that answered."""
        return list({one.agent.uid: one.agent for one in self.seen}.values())

    @property
    def failing(self) -> list[Seen]:
        """What was not reached."""
        return [one for one in self.seen if not one.reached]

    def remark(self) -> Remark:
        """Return how many agents took part, and which ones did not answer."""
        told = len(self.agents)
        text = f"{told} of {told + len(self.silent)} answered"
        quiet = "; ".join(f"{one.agent.name} on {one.agent.node}: {one.why.note}" for one in self.silent[:NAMED])
        return Remark("agents", clean(f"{text}; {quiet}" if quiet else text), failing=bool(self.silent))


def _agents_of(context: Context) -> Agents:
    if context.agents is None:
        raise LookupError("the routine does not say that it needs agents")
    return context.agents


async def ready_agents(context: Context, deadline: float) -> Sequence[Agent]:
    """Return the agents that are Ready, others each time if there are too many for one canary; raise Failed."""
    agents = await _agents_of(context).ready(deadline)
    return agents if len(agents) <= MOST else context.chance.sample(agents, MOST)


async def observe(
    context: Context, agents: Sequence[Agent], checks: Callable[[Agent], Iterable[Check]], within: float
) -> Observed:
    """Let each agent try its checks for so many seconds at most; raise Failed if no agent answers.

    An agent tries for a minute at most. It is then asked again for what it has not reached, until the time is over.
    One that falls silent meanwhile is left out if others fail; if none does, its silence is raised.
    """
    clock, due = context.clock, context.clock.now() + within
    asking = _Asking(context, agents, checks)
    for rounds in range(max(1, math.ceil(within / LONGEST)), 0, -1):
        left = due - clock.now()
        if asking.seen and left < _SHORTEST:
            break
        await asking.ask(min(LONGEST, max(_SHORTEST, left / rounds)))
        if not any(asking.pending.values()):
            break
    return asking.observed()


class _Asking:
    """Agents that are asked until they have reached what they try."""

    def __init__(self, context: Context, agents: Sequence[Agent], checks: Callable[[Agent], Iterable[Check]]) -> None:
        self._context, self._agents = context, agents
        self.pending = {agent.uid: {check.id: check for check in checks(agent)} for agent in agents}
        self.seen: dict[tuple[str, str], Seen] = {}
        self._silent: list[Silence] = []
        self._lost: list[Failed] = []

    async def ask(self, within: float) -> None:
        """Let agents try for so many seconds what they have not reached; raise Failed if none has ever answered."""
        asked = [agent for agent in self._agents if self.pending[agent.uid]] if self.seen else self._agents
        number = len(self._agents)

        def question(agent: Agent) -> Mapping[str, object]:
            checks = self.pending[agent.uid].values()
            return {"checks": [check.question(number) for check in checks], "within": round(within, 3)}

        deadline = self._context.clock.now() + within + TRANSIT
        try:
            heard = await _agents_of(self._context).ask(asked, "until", question, deadline)
        except Failed as failed:
            if {one.agent.uid for one in self.seen.values()} <= {agent.uid for agent in asked}:
                raise
            heard = Heard((), [Silence(agent, failed) for agent in asked])
        self._take(heard)

    def _take(self, heard: Heard) -> None:
        for told in heard.told:
            for one in _seen(told, self.pending[told.agent.uid]):
                key = (told.agent.uid, one.check.id)
                self.seen[key] = one.after(self.seen[key], len(self._agents)) if key in self.seen else one
        self._silent += heard.silent
        gone = {silence.agent.uid: silence.why for silence in heard.silent}
        self._lost += [gone[uid] for (uid, _), one in self.seen.items() if uid in gone and not one.reached]
        self.seen = {key: one for key, one in self.seen.items() if key[0] not in gone}
        self.pending = {uid: {} for uid in self.pending}
        for (uid, name), one in self.seen.items():
            if not one.reached:
                self.pending[uid][name] = one.check

    def observed(self) -> Observed:
        """Return what agents saw; raise why one is silent that had not reached what it tried, if nothing else fails.

        What it tried may fail still. An agent that was about to go says nothing.
        """
        found = Observed(list(self.seen.values()), self._silent)
        why = next((why for why in self._lost if why.reason is not Reason.DISRUPTED), None)
        if why and not found.failing:
            raise why
        return found


def _seen(told: Told, asked: Mapping[str, Check]) -> Iterable[Seen]:
    """Yield what an agent saw: it had the question at some time between those that khealth knows of."""
    try:
        document = msgspec.convert(told.document, _Document)
        checks = [(asked[outcome.id], outcome) for outcome in document.results]
    except (msgspec.ValidationError, LookupError) as error:
        note = f"{told.agent.name} on {told.agent.node} answers something else than it was asked: {error}"
        raise Failed(Reason.AGENT_REFUSED, clean(f"{note}; its image may be of another version of khealth")) from error
    half = max(0.0, told.answered - told.sent - document.seconds) / 2
    for check, outcome in checks:
        yield Seen(told.agent, check, outcome, told.sent + half + outcome.seconds, half + outcome.uncertainty)


def measured(step: Step, since: Moment, seen: Sequence[Seen], ruler: Ruler) -> Measurement:
    """Return how long it took until the last agent was there; ValueError if there is none."""
    last = max(seen, key=lambda one: one.at)
    found = ruler.measure(step, since, Moment(last.at), censored=not last.reached)
    return replace(found, uncertainty=max(found.uncertainty, *(one.uncertainty for one in seen)))
