"""What agents see, and who is to blame for it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_cluster import scene
from small_services import SmallNetwork
from virtual_time import virtual

from khealth_exporter.canaries import until
from khealth_exporter.canaries.unseen import blamed
from khealth_exporter.canaries.until import (
    MOST,
    Check,
    Observed,
    Outcome,
    Seen,
    measured,
    observe,
    ready_agents,
)
from khealth_exporter.canary.agent import trips
from khealth_exporter.core.agents import Agent, Heard, Silence, Told
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import MeasurementSettings
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

STEP = Step("program", Component.NETWORK, "one → the other")
REASON = Reason.SERVICE_NOT_PROGRAMMED


def agent(node: str, number: int = 1) -> Agent:
    return Agent(f"{node}-{number}", f"uid-{node}-{number}", node, "", "10.244.0.1", 8079)


def seen(source: str, target: str = "", *, reached: bool, at: float = 1.0) -> Seen:
    check = Check("service", "10.96.0.7", 8079, node=target)
    return Seen(agent(source), check, Outcome("service", reached, tries=3), at, 0.01)


def reason(*pairs: Seen) -> Reason:
    return blamed(Observed(pairs, ()), REASON, STEP, "it does not answer").reason


@pytest.mark.parametrize(
    ("agents", "calm", "tries", "every"), [(1, 60, 60, 0.05), (25, 60, 60, 0.05), (50, 60, 30, 0.1), (50, 20, 20, 0.1)]
)
def test_silence_takes_no_longer_with_many_agents(agents: int, calm: int, tries: int, every: float) -> None:
    """They try less often; each needs some tries all the same."""
    check = Check("a", "10.0.0.1", 1, "silence", calm=calm, every=0.05)
    asked = check.question(agents)
    assert (tries, every) == (asked["calm"], asked["every"])


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a", "", False), ("b", "", True), ("c", "", True)], Reason.ONE_NODE),
        ([("a", "", False), ("b", "", False), ("c", "", True)], REASON),
        ([("a", "", False), ("b", "", False)], REASON),
        ([("a", "", False)], REASON),
        # An agent of the same node is well.
        ([("a", "", False), ("a", "", True), ("b", "", True)], REASON),
        # Nothing on node c is reached from outside, and nothing outside from there.
        ([("a", "c", False), ("c", "a", False), ("a", "b", True), ("c", "c", True)], Reason.ONE_NODE),
        # Of two nodes, neither is more to blame than the other.
        ([("a", "b", False), ("b", "a", False), ("a", "a", True), ("b", "b", True)], REASON),
        # Only one way is closed: node b answers others.
        ([("a", "b", False), ("c", "b", True), ("a", "c", True)], REASON),
    ],
)
def test_one_node_is_to_blame_if_others_are_well_and_it_never_is(
    pairs: Sequence[tuple[str, str, bool]], expected: Reason
) -> None:
    """Otherwise it is what connects them."""
    assert expected == reason(*(seen(source, target, reached=reached) for source, target, reached in pairs))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "a", "b", "c"]), st.booleans()), min_size=1))
def test_a_node_that_reaches_others_is_never_the_one(pairs: list[tuple[str, str, bool]]) -> None:
    """Whatever else failed."""
    found = [seen(source, target, reached=reached) for source, target, reached in (*pairs, ("a", "b", False))]
    failed = blamed(Observed(found, ()), REASON, STEP, "it does not answer")
    if failed.reason is Reason.ONE_NODE:
        (node,) = {name for name in "abc" if failed.note.startswith(f"{REASON} on {name} only")}
        assert [] == [one for one in found if one.reached and node in (one.agent.node, one.check.node)
                      and one.agent.node != one.check.node]  # fmt: skip


def test_where_nothing_is_blamed_no_node_is() -> None:
    """A node whose agent cannot look up a name is for network/dns to judge."""
    pairs = [seen("a", reached=False), seen("b", reached=True)]
    found = blamed(Observed(pairs, ()), Reason.NO_SINGLE_CAUSE, STEP, "note")
    assert Reason.NO_SINGLE_CAUSE is found.reason


def test_what_agents_say_of_a_name_that_they_cannot_look_up_is_understood() -> None:
    """Their module is not imported by khealth's own."""
    expected = trips.NO_LOOKUP
    assert expected == until.NO_LOOKUP


def test_the_last_agent_counts() -> None:
    """A Service is of use once it answers everywhere."""
    ruler = Ruler(MeasurementSettings())
    found = measured(STEP, Moment(10.0), [seen("a", reached=True, at=10.5), seen("b", reached=True, at=12.0)], ruler)
    assert (2.0, 0.01, False) == (found.seconds, found.uncertainty, found.censored)


class Scripted:
    """Agents that answer as they are told to, half a second after the question, of which they used a tenth."""

    def __init__(self, clock: Any, document: Mapping[str, Any], count: int = 1) -> None:
        self.clock, self.document = clock, document
        self.agents = [agent(f"node-{number}") for number in range(count)]
        self.questions: list[Mapping[str, Any]] = []

    async def ready(self, deadline: float, *, least: int = 1) -> Sequence[Agent]:
        """Return all of them."""
        del deadline, least
        return self.agents

    async def hosts(self, _deadline: float) -> Sequence[Agent]:
        """Return none: none are in the networks of nodes."""
        return ()

    async def ask(self, agents: Sequence[Agent], task: str, question: Any, deadline: float) -> Heard:
        """Answer the same for each."""
        del task, deadline
        now = self.clock.now()
        self.questions += [question(one) for one in agents]
        return Heard([Told(one, self.document, now, now + 0.5) for one in agents], ())


def results(**fields: Any) -> Mapping[str, Any]:
    return {"seconds": 0.1, "results": [{"id": "x", "reached": True, "seconds": 0.05, "uncertainty": 0.02, **fields}]}


@virtual
async def test_what_an_agent_tells_is_placed_between_question_and_answer() -> None:
    """It had the question 0.2 s after khealth sent it, give or take 0.2 s."""
    async with scene() as here:
        SmallNetwork(here)
        agents = Scripted(here.clock, results())
        context = replace(here.context, agents=agents)
        began = here.clock.now()
        (one,) = (await observe(context, agents.agents, lambda _: [Check("x", "10.0.0.1", 80)], 5.0)).seen
        assert [began + 0.25, 0.22] == pytest.approx([one.at, one.uncertainty])


@pytest.mark.parametrize(
    "document", [{}, {"results": 3}, results(id="y"), results(seconds=-1.0), results(answers={"a": "many"})]
)
@virtual
async def test_an_agent_that_answers_something_else_is_refused(document: Mapping[str, Any]) -> None:
    """Its image is of another version, perhaps."""
    async with scene() as here:
        agents = Scripted(here.clock, document)
        context = replace(here.context, agents=agents)
        with pytest.raises(Failed) as failed:
            await observe(context, agents.agents, lambda _: [Check("x", "10.0.0.1", 80)], 5.0)
        assert Reason.AGENT_REFUSED is failed.value.reason


@pytest.mark.parametrize(("count", "every"), [(1, 0.02), (10, 0.02), (50, 0.1)])
@virtual
async def test_many_agents_try_less_often(count: int, every: float) -> None:
    """What they try is one canary."""
    async with scene() as here:
        agents = Scripted(here.clock, results(), count)
        context = replace(here.context, agents=agents)
        await observe(context, agents.agents, lambda _: [Check("x", "10.0.0.1", 80)], 50.0)
        assert {(every, 50.0)} == {(one["checks"][0]["every"], one["within"]) for one in agents.questions}


class Rounds(Scripted):
    """Agents that answer each question with the next of their documents, after the time that they have for it.

    None is one that does not answer.
    """

    def __init__(self, clock: Any, *rounds: Sequence[Mapping[str, Any] | None]) -> None:
        super().__init__(clock, {}, len(rounds[0]))
        self.rounds = iter(rounds)
        self.early = 0.0
        self.why = Failed(Reason.AGENT_UNREACHABLE, "no answer")
        self.asked: list[list[str]] = []

    async def ask(self, agents: Sequence[Agent], task: str, question: Any, deadline: float) -> Heard:
        """Answer as one round says; raise Failed if no agent does."""
        del task, deadline
        self.asked.append([one.node for one in agents])
        self.questions += (asked := [question(one) for one in agents])
        sent, documents = self.clock.now(), next(self.rounds)
        await asyncio.sleep(asked[0]["within"] - self.early)
        said, why = list(zip(agents, documents, strict=True)), self.why
        if not any(document for _, document in said):
            raise why
        told = [Told(one, document, sent, self.clock.now()) for one, document in said if document]
        return Heard(told, [Silence(one, why) for one, document in said if not document])


def took(seconds: float, *, reached: bool, **fields: Any) -> Mapping[str, Any]:
    """Return what an agent says that took a whole minute."""
    return {**results(seconds=seconds, reached=reached, **fields), "seconds": 60.0}


NOT_YET = took(60.0, reached=False, tries=100, answers={"b": 1}, error="ETIMEDOUT")


async def after(here: Any, agents: Rounds, check: Check, within: float) -> Observed:
    return await observe(replace(here.context, agents=agents), agents.agents, lambda _: [check], within)


CHECK = Check("x", "10.0.0.1", 80)


@virtual
async def test_agents_are_asked_again_for_what_they_have_not_reached() -> None:
    """They try for a minute at most."""
    async with scene() as here:
        begun = here.clock.now()
        agents = Rounds(here.clock, [NOT_YET, took(5.0, reached=True)], [NOT_YET], [took(7.0, reached=True, tries=9)])
        found = await after(here, agents, CHECK, 180.0)
        slow = next(one for one in found.seen if one.agent.node == "node-0")
        assert [["node-0", "node-1"], ["node-0"], ["node-0"]] == agents.asked
        assert ([], 209, {"b": 2}) == (found.failing, slow.outcome.tries, slow.outcome.answers)
        assert begun + 127.0 == pytest.approx(slow.at)


@pytest.mark.parametrize("within", [5.0, 59.9, 60.0, 60.1, 90.0, 121.0, 180.0])
@virtual
async def test_agents_try_for_all_of_the_time(within: float) -> None:
    """Each question has an equal part of it."""
    async with scene() as here:
        begun = here.clock.now()
        agents = Rounds(here.clock, *[[NOT_YET]] * 4)
        assert 1 == len((await after(here, agents, CHECK, within)).failing)
        parts = [one["within"] for one in agents.questions]
        assert [within, 0.0] == pytest.approx([here.clock.now() - begun, max(parts) - min(parts)], abs=0.01)
        assert max(parts) <= 60.0


@virtual
async def test_no_question_is_longer_than_agents_take() -> None:
    """Although an earlier one took a little less than it should have: clocks differ."""
    async with scene() as here:
        agents = Rounds(here.clock, *[[NOT_YET]] * 5)
        agents.early = 0.01
        await after(here, agents, CHECK, 240.0)
        assert 60.0 == max(one["within"] for one in agents.questions)


@pytest.mark.parametrize(
    ("others", "reason"),
    [([NOT_YET], Reason.AGENT_UNREACHABLE), ([], Reason.DISRUPTED)],
    ids=["others fail", "it goes"],
)
@virtual
async def test_an_agent_that_falls_silent_later_is_silent(others: list[Mapping[str, Any]], reason: Reason) -> None:
    """It says no more what it sees."""
    async with scene() as here:
        agents = Rounds(here.clock, [NOT_YET, *others, took(5.0, reached=True)], [None, *others])
        agents.why = Failed(reason, "no answer")
        found = await after(here, agents, CHECK, 120.0)
        silent = [one.agent.node for one in found.silent]
        assert (["node-0"], len(others)) == (silent, len(found.failing))


@virtual
async def test_an_agent_that_falls_silent_before_it_was_well_is_no_success() -> None:
    """It has tried for a minute: the other one alone does not tell that all is well."""
    async with scene() as here:
        with pytest.raises(Failed, match="no answer"):
            await after(here, Rounds(here.clock, [NOT_YET, took(5.0, reached=True)], [None]), CHECK, 120.0)


@virtual
async def test_agents_that_all_fall_silent_later_are_a_failure_of_theirs() -> None:
    """As if they had been silent from the beginning."""
    async with scene() as here:
        with pytest.raises(Failed) as failed:
            await after(here, Rounds(here.clock, [NOT_YET], [None]), CHECK, 120.0)
        assert Reason.AGENT_UNREACHABLE is failed.value.reason


@pytest.mark.parametrize(
    ("want", "answers", "least"),
    [("silence", {}, 3.0), ("not", {"b": 5}, 3.0), ("silence", {"b": 1}, 0.0), ("not", {"a": 1, "b": 5}, 0.0)],
)
@virtual
async def test_what_was_so_at_the_second_question_may_have_begun_during_the_first(
    want: Any, answers: dict[str, int], least: float
) -> None:
    """Its last tries were too few to be sure. An answer after the second question leaves no such doubt."""
    async with scene() as here:
        check = Check("x", "10.0.0.1", 80, want, gone="a" if want == "not" else "", calm=50, every=0.05, timeout=0.5)
        last = took(0.0, reached=True, answers=answers)
        found = await after(here, Rounds(here.clock, [NOT_YET], [last]), check, 120.0)
        (one,) = found.seen
        assert least == pytest.approx(one.uncertainty, abs=0.1)


@virtual
async def test_of_many_agents_some_are_asked() -> None:
    """Others the next time."""
    async with scene() as here:
        agents = Scripted(here.clock, results(), 4 * MOST)
        context = replace(here.context, agents=agents)
        first, second = [{one.uid for one in await ready_agents(context, 0.0)} for _ in range(2)]
        assert (MOST, MOST, True) == (len(first), len(second), first != second)
