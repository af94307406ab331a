"""egress, with agents that reach what a test says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fake_agents import FakeAgents, agent
from fakes import Json
from pydantic import ValidationError
from small_cluster import Scene, scene
from virtual_time import virtual

from khealth_exporter.config import missing_in
from khealth_exporter.core.agents import Agent
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.routines.egress import Egress, EgressSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

URL, ADDRESS = "https://example.com/health?deep=1", "db.example.com:5432"
SHOWN = "https://example.com/health"
"""The query is nobody's to read: it may hold a token."""
WELL = {
    "ok": True,
    "failed": "",
    "durations": {"resolve": 0.001, "connect": 0.002, "tls": 0.01, "respond": 0.02},
    "status": 200,
    "error": "",
    "uncertainty": 0.0001,
}
Cases = Mapping[tuple[str, str], Json]
"""What becomes of a target at an agent; all else is well."""


def failed(step: str, error: str = "", **more: Any) -> Json:
    """Return the result of a target that was not reached."""
    return {"ok": False, "failed": step, "durations": {}, "status": 0, "error": error, "uncertainty": 0.0, **more}


def agents_of(here: Scene, cases: Cases) -> FakeAgents:
    """Return two agents on two nodes."""
    agents = FakeAgents(here.clock, [agent(1), agent(2)])

    def answer(one: Agent, document: Mapping[str, Any]) -> Json:
        targets = document["targets"]
        found = [cases.get((one.name, target.get("url") or target["address"]), WELL) for target in targets]
        return {"results": [{"id": target["id"], **result} for target, result in zip(targets, found, strict=True)]}

    agents.answers("egress", answer)
    return agents


async def attempted(here: Scene, agents: FakeAgents, **first: Any) -> RoutineStatus:
    """Return what is known after one attempt with a URL and an address."""
    settings = EgressSettings.model_validate({"targets": ({"url": URL, **first}, {"address": ADDRESS})})
    collector = Collector("network", here.figures.metrics, here.clock)
    context = replace(here.context, agents=agents)
    collector.want([RoutineConfig("network", "egress", Egress, settings)], context)
    await collector.start(once=True)
    (status,) = collector.status().routines
    return status


async def judged(cases: Cases, **first: Any) -> tuple[Reason | None, str]:
    """Return the reason and the note of one attempt."""
    async with scene() as here:
        verdict = (await attempted(here, agents_of(here, cases), **first)).attempts[-1].verdict
        assert verdict
        return verdict.reason, verdict.note


@virtual
async def test_every_step_is_measured_at_every_agent() -> None:
    """Two agents, two targets."""
    async with scene() as here:
        status = await attempted(here, agents_of(here, {}))
        attempt = status.attempts[-1]
        assert attempt.verdict
        assert attempt.verdict.reason is None
        assert {"resolve": 4, "connect": 4, "tls": 4, "respond": 4} == {
            d.step.name: d.count for d in attempt.distributions
        }
        well = "2 of 2 agents are answered"
        assert {"agents": "2 of 2 answer", SHOWN: well, ADDRESS: well} == {r.name: r.text for r in status.remarks}


@virtual
async def test_a_target_that_no_agent_reaches_is_the_networks() -> None:
    """The note has the step and the error."""
    bad = failed("connect", "timed out")
    reason, note = await judged({("agent-1", ADDRESS): bad, ("agent-2", ADDRESS): bad})
    assert Reason.EGRESS_FAILED is reason
    assert Component.NETWORK is Reason.EGRESS_FAILED.component
    assert note == f"2 of 2 agents fail: agent-1 on node-1: {ADDRESS}: connect: timed out"


@virtual
async def test_a_target_that_one_node_does_not_reach_is_that_node() -> None:
    """The agents on others do."""
    reason, note = await judged({("agent-2", URL): failed("resolve", "A: timeout", dns="timeout")})
    assert Reason.ONE_NODE is reason
    assert note.startswith("egress_failed on node-2")


@pytest.mark.parametrize(
    ("dns", "expected"),
    [
        ({"dns": "answered"}, Reason.EGRESS_FAILED),
        ({"dns": "nodata"}, Reason.EGRESS_FAILED),
        ({"dns": "timeout"}, Reason.NO_SINGLE_CAUSE),
        ({"dns": "servfail"}, Reason.NO_SINGLE_CAUSE),
        ({"dns": "nxdomain"}, Reason.NO_SINGLE_CAUSE),
        ({"dns": "unfinished"}, Reason.NO_SINGLE_CAUSE),
        ({}, Reason.NO_SINGLE_CAUSE),  # an agent of an older version
    ],
)
@virtual
async def test_names_that_do_not_resolve_are_the_networks_only_if_dns_works(dns: Json, expected: Reason) -> None:
    """It knows the cluster's own name then; otherwise network/dns tells what is wrong."""
    bad = failed("resolve", "A: servfail", **dns)
    reason, _ = await judged({("agent-1", URL): bad, ("agent-2", URL): bad})
    assert expected is reason


@virtual
async def test_a_target_that_fails_otherwise_is_judged_while_dns_fails() -> None:
    """It is what egress is for, and the evidence begins with it."""
    lost, cut = failed("resolve", "A: timeout", dns="timeout"), failed("connect", "timed out")
    cases = {(f"agent-{number}", target): bad for number in (1, 2) for target, bad in ((URL, lost), (ADDRESS, cut))}
    async with scene() as here:
        attempt = (await attempted(here, agents_of(here, cases))).attempts[-1]
    assert attempt.verdict
    assert Reason.EGRESS_FAILED is attempt.verdict.reason
    assert "connect: timed out" in attempt.evidence[0].lines[0]


@virtual
async def test_a_node_is_not_to_blame_for_a_target_that_another_does_not_reach_either() -> None:
    """Whatever keeps the other one from it."""
    lost, cut = failed("resolve", "A: timeout", dns="timeout"), failed("connect", "timed out")
    reason, _ = await judged({("agent-1", URL): cut, ("agent-2", URL): lost})
    assert Reason.EGRESS_FAILED is reason


@virtual
async def test_a_target_that_is_down_hides_behind_no_node() -> None:
    """A node whose agent reaches neither target is not to blame for the one that is down everywhere."""
    cases = {(f"agent-{number}", URL): failed("connect", "refused") for number in (1, 2)}
    reason, _ = await judged({**cases, ("agent-2", ADDRESS): failed("connect", "refused")})
    assert Reason.EGRESS_FAILED is reason


@pytest.mark.parametrize(
    ("status", "accepted", "expected"),
    [
        (204, (), None),
        (404, (), Reason.EGRESS_FAILED),
        (404, (404,), None),
        (200, (404,), Reason.EGRESS_FAILED),
        (503, (), Reason.EGRESS_FAILED),
        (503, (503,), None),
    ],
)
@virtual
async def test_the_user_says_which_status_is_well(
    status: int, accepted: tuple[int, ...], expected: Reason | None
) -> None:
    """By default, any below 400. An agent calls those from 500 on failed."""
    told = failed("respond", f"status {status}", status=status) if status >= 500 else {**WELL, "status": status}
    reason, _ = await judged({("agent-1", URL): told, ("agent-2", URL): told}, status=accepted)
    assert expected is reason


@virtual
async def test_the_page_tells_which_target_fails() -> None:
    """With the first agent that does not reach it."""
    async with scene() as here:
        agents = agents_of(here, {("agent-2", URL): failed("tls", "certificate has expired")})
        status = await attempted(here, agents)
        remark = next(remark for remark in status.remarks if remark.name == SHOWN)
        assert remark.failing
        assert remark.text == f"1 of 2 agents are answered; agent-2 on node-2: {SHOWN}: tls: certificate has expired"


@virtual
async def test_what_an_agent_had_no_time_for_says_nothing() -> None:
    """And where there is nothing else, nothing was found out."""
    unfinished = failed("connect", "unfinished")
    some = await judged({("agent-1", URL): unfinished})
    everything = {(f"agent-{number}", target): unfinished for number in (1, 2) for target in (URL, ADDRESS)}
    assert (None, Reason.PROBER_STARVED) == (some[0], (await judged(everything))[0])


@virtual
async def test_a_target_that_no_agent_had_the_time_for_is_no_success() -> None:
    """Although another one is well."""
    unfinished = failed("connect", "unfinished")
    found = await judged({(f"agent-{number}", ADDRESS): unfinished for number in (1, 2)})
    assert (Reason.PROBER_STARVED, f"no agent had the time for {ADDRESS}") == found[:2]


@pytest.mark.parametrize(
    ("timeout", "target", "well"),
    [("10s", "5s", True), ("9s", "5s", False), ("30s", "25s", True), ("29s", "25s", False)],
)
def test_a_target_that_does_not_answer_must_fail_in_time(timeout: str, target: str, well: bool) -> None:
    """Before khealth stops to wait for the agent; it would look as if nobody had tried."""
    document = {"timeout": timeout, "targets": ({"url": URL}, {"address": ADDRESS, "timeout": target})}
    if well:
        assert EgressSettings.model_validate(document)
        return
    with pytest.raises(ValidationError, match=r"timeout is below (10|30)s: no agent could tell"):
        EgressSettings.model_validate(document)


@virtual
async def test_a_silent_agent_is_a_remark() -> None:
    """The others answer."""
    async with scene() as here:
        agents = agents_of(here, {})
        agents.silent("egress", Failed(Reason.AGENT_UNREACHABLE, "agent-2 does not answer"), "agent-2")
        status = await attempted(here, agents)
        remarks = {remark.name: remark.text for remark in status.remarks}
        assert ("1 of 2 answer; agent-2 does not answer", "1 of 1 agents are answered") == (
            remarks["agents"],
            remarks[SHOWN],
        )


@virtual
async def test_nothing_is_written() -> None:
    """As the documentation says."""
    async with scene() as here:
        await attempted(here, agents_of(here, {}))
        assert Egress.writes == sum(asked.verb not in {"list", "watch"} for asked in here.api.asked)


def test_without_targets_it_does_not_run() -> None:
    """Nobody but the user knows what is outside."""
    assert ("targets",) == missing_in(EgressSettings)


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"url": URL, "address": ADDRESS},
        {"url": "ftp://example.com/"},
        {"url": "https://user:password@example.com/"},
        {"url": "https://"},
        {"url": "https://example.com:99999/"},
        {"url": "https://example.com/a b"},
        {"address": "db.example.com"},
        {"address": "db.example.com:99999"},
        {"address": "db.example.com:5432/"},
        {"url": URL, "status": (99,)},
    ],
)
def test_a_target_that_makes_no_sense_is_refused(target: dict[str, object]) -> None:
    """Before anything runs."""
    with pytest.raises(ValidationError):
        EgressSettings.model_validate({"targets": (target,)})


@pytest.mark.parametrize(
    "target", [{"url": "http://[fd00::1]:8080/"}, {"address": "[fd00::1]:53"}, {"url": "https://a"}]
)
def test_addresses_of_both_families_are_targets(target: dict[str, object]) -> None:
    """And names without a dot."""
    assert EgressSettings.model_validate({"targets": (target,)}).targets
