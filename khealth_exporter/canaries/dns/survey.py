"""Asks agents what DNS answers them, and keeps the last answer to each question."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat

from khealth_exporter.canaries.dns.questions import PROPAGATE, STEPS, TRIES, Answer, Grade, Question
from khealth_exporter.core.agents import Agent, Agents, Heard, Silence, Told, answering
from khealth_exporter.core.routine import Recorded
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.verdict import Failed

_LONGEST = 60.0
"""Seconds that an agent takes for one question at most."""
_NAMESERVERS, _SPARE = 3, 2.0
"""The name servers that a pod has at most, and seconds beyond what all tries of a question at each of them take."""

Findings = list[tuple[Told, list[Answer]]]
Asking = Callable[[Agent], Sequence[Question]]
Record = Callable[[Recorded], None]


class Survey:
    """What agents have been answered; `members` are those that answer khealth.

    `timeout` is the time-out of each try of a question, in seconds.
    """

    def __init__(self, agents: Agents, clock: Clock, timeout: float) -> None:
        self._agents, self._clock, self._timeout = agents, clock, timeout
        self.members: Sequence[Agent] = ()
        self._answers: dict[tuple[str, Question], Answer] = {}
        self.silent: list[Silence] = []
        """Those that do not, and why."""

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The last answer to each question."""
        return tuple(self._answers.values())

    def unanswered(self, agent: Agent, questions: Iterable[Question]) -> list[Question]:
        """Return those questions to which the agent has not had the right answer."""
        found = ((question, self._answers.get((agent.uid, question))) for question in questions)
        return [question for question, answer in found if answer is None or answer.grade is not Grade.RIGHT]

    async def ask(self, agents: Sequence[Agent], questions: Asking, deadline: float, record: Record) -> Findings:
        """Put questions to agents, record durations, and return what they told; a silent one is no member any more.

        Raise Failed if all members are silent.
        """
        asked = {agent.uid: questions(agent) for agent in agents}
        longest = min(_LONGEST, TRIES * self._timeout * _NAMESERVERS + _SPARE)
        within = max(1.0, min(longest, (deadline - self._clock.now()) / 2))

        def document(agent: Agent) -> dict[str, object]:
            return {"questions": [one.document(self._timeout) for one in asked[agent.uid]], "within": within}

        try:
            heard = await self._agents.ask(agents, "dns", document, deadline)
        except Failed as failed:
            if len(agents) == len(self.members):
                raise
            heard = Heard((), [Silence(agent, failed) for agent in agents])
        gone = {silence.agent.uid for silence in heard.silent}
        self.members = [agent for agent in self.members if agent.uid not in gone]
        self.silent += heard.silent
        record(answering(len(self.members), self.silent))
        found = [(told, _answers(told, asked[told.agent.uid])) for told in heard.told]
        answers = [answer for _, some in found for answer in some]
        self._answers |= {(answer.agent.uid, answer.question): answer for answer in answers}
        _measure(answers, record)
        return found


def _answers(told: Told, questions: Sequence[Question]) -> list[Answer]:
    document = told.document
    starved = document.get("waiting_seconds", 0.0) > document.get("seconds", 0.0) / 2
    said = zip(questions, chain(document.get("answers", ()), repeat({})), strict=False)
    return [Answer.of(told.agent, question, answer, starved=starved) for question, answer in said]


def _measure(answers: Sequence[Answer], record: Record) -> None:
    """Record how long answers took; a question without an answer counts for as long as its agent has waited."""
    for step in STEPS:
        found = [a for a in answers if a.question.step is step and a.grade in {Grade.RIGHT, Grade.SILENT}]
        if found and step is not PROPAGATE:
            times = [answer.seconds for answer in found]
            record(Distribution.of(step, times, max(answer.uncertainty for answer in found)))
