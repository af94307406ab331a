"""What answers of DNS blame: every row of the table in docs/blame.md that concerns it."""

from collections.abc import Iterator, Mapping

import pytest
from fake_agents import agent

from khealth_exporter.canaries.dns.judgement import Judgement
from khealth_exporter.canaries.dns.questions import (
    EXTERNAL,
    IPV6,
    MISSING,
    PROPAGATE,
    RESOLVE,
    SERVER,
    SERVICE,
    STEPS,
    TCP,
    Answer,
    Expected,
    Question,
)
from khealth_exporter.canaries.dns.servers import Server, Servers
from khealth_exporter.core.agents import Silence
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

A, B = Server("coredns-a", "10.0.1.2", "node-1"), Server("coredns-b", "10.0.2.2", "node-2")
SERVERS = Servers(("10.96.0.1",), ("10.96.0.10",), (A, B))
OWN = Expected(frozenset({"10.96.0.1"}))
AGENTS = [agent(number) for number in (1, 2, 3)]

Said = str | tuple[str, ...]
"""An outcome, or the addresses that were answered."""
Case = Mapping[tuple[str, ...], Said]
"""What was answered, by words of the agent's name, the step or the server; all else is right."""


def right(question: Question) -> Said:
    if not question.expected.exists:
        return "nxdomain"
    return tuple(question.expected.addresses or ()) or "nodata"


def questions() -> Iterator[Question]:
    yield Question(RESOLVE, "kubernetes.default.svc", OWN)
    yield Question(SERVICE, "own.", OWN, "10.96.0.10")
    yield Question(TCP, "own.", OWN, transport="tcp")
    yield Question(IPV6, "own.", Expected(frozenset()), type="AAAA")
    yield Question(MISSING, "none.", Expected(frozenset(), exists=False))
    yield Question(PROPAGATE, "new.", Expected(frozenset({"192.0.2.7"})))
    for server in (A, B):
        yield Question(SERVER, "own.", OWN, server.address)
        yield Question(PROPAGATE, "new.", Expected(frozenset({"192.0.2.7"})), server.address)


def answers(case: Case, agents: int = 3) -> Iterator[Answer]:
    """Yield what agents were answered."""
    for one in AGENTS[:agents]:
        for question in questions():
            marks = {one.name, question.step.name, question.server, "direct" if question.direct else "way"}
            said = next((said for words, said in case.items() if set(words) <= marks), right(question))
            outcome, addresses = (said, ()) if isinstance(said, str) else ("answered", said)
            yield Answer(one, question, outcome, addresses, seconds=0.001)


def judged(case: Case, servers: Servers = SERVERS, agents: int = 3) -> Failed | None:
    return Judgement(tuple(answers(case, agents)), servers).failure()


def reason(case: Case, servers: Servers = SERVERS, agents: int = 3) -> Reason | None:
    found = judged(case, servers, agents)
    return found.reason if found else None


WRONG = ("10.9.9.9",)


def test_answers_that_are_all_right_blame_nobody() -> None:
    """And nothing is failing on the status page."""
    judgement = Judgement(tuple(answers({})), SERVERS)
    assert (None, False) == (judgement.failure(), judgement.remark().failing)


@pytest.mark.parametrize("outcome", ["servfail", "refused", "timeout", "unreachable", "malformed", "nxdomain"])
def test_no_server_that_answers_is_the_dns(outcome: str) -> None:
    """The note quotes what came."""
    words = {"servfail": "SERVFAIL", "refused": "REFUSED", "nxdomain": "NXDOMAIN"}
    own: Case = {("resolve",): outcome, ("service",): outcome, ("tcp",): outcome, ("server",): outcome}
    found = judged(own)
    assert found
    assert Reason.DNS_FAILED is found.reason
    assert found.note.endswith(words.get(outcome, outcome))


def test_a_service_without_endpoints_is_the_dns() -> None:
    """Scaled to zero: nothing is wrong on the way."""
    dead = Servers(("10.96.0.1",), ("10.96.0.10",), (), unready=(A, B))
    found = Judgement(tuple(a for a in answers({("way",): "unreachable"}) if not a.question.direct), dead).failure()
    assert found
    assert (Reason.DNS_FAILED, True) == (found.reason, "no endpoints; 2 are not ready" in found.note)


def test_wrong_addresses_everywhere_are_a_wrong_answer() -> None:
    """The evidence has them."""
    found = judged({("resolve",): WRONG, ("service",): WRONG, ("tcp",): WRONG, ("server",): WRONG})
    assert found
    assert (Reason.DNS_WRONG_ANSWER, True) == (found.reason, "10.9.9.9" in found.evidence[0].lines[0])


def test_a_name_that_must_not_exist_and_does_is_a_wrong_answer() -> None:
    """A wildcard, for example."""
    assert Reason.DNS_WRONG_ANSWER is reason({("missing",): WRONG})


@pytest.mark.parametrize("said", ["timeout", "servfail", WRONG])
def test_one_server_that_fails_alone_is_a_ticket(said: Said) -> None:
    """Whether it is silent, ill or wrong; the note names it."""
    found = judged({(B.address,): said})
    assert found
    assert (Reason.ONE_DNS_SERVER, True) == (found.reason, "coredns-b (10.0.2.2) on node-2" in found.note)


def test_one_server_that_does_not_learn_new_names_is_a_ticket() -> None:
    """It has lost its watch of the API server, and answers what it knew."""
    assert Reason.ONE_DNS_SERVER is reason({(B.address, "propagate"): "nxdomain"})


def test_questions_that_the_service_leads_to_the_bad_server_do_not_make_it_more() -> None:
    """Some agents meet it, and some do not."""
    case: Case = {(B.address,): "timeout", ("agent-1", "resolve"): "timeout", ("agent-3", "tcp"): "timeout"}
    assert Reason.ONE_DNS_SERVER is reason(case)


def test_a_server_that_only_its_own_node_reaches_is_well_and_its_node_is_not() -> None:
    """What lies between that node and the others is the node's, while the others reach each other."""
    case: Case = {("agent-1", B.address): "timeout", ("agent-3", B.address): "timeout"}
    assert Reason.ONE_NODE is reason(case)


def test_with_two_nodes_the_way_between_them_is_the_network() -> None:
    """Nobody knows which one it is; agents on the server's own node are answered."""
    assert Reason.NETWORK_UNREACHABLE is reason({("agent-1", B.address): "timeout"}, agents=2)


def test_where_each_node_reaches_its_own_server_alone_it_is_the_network() -> None:
    """Even though the Service leads some agents to a server that they do not reach."""
    case: Case = {
        ("agent-1", B.address): "timeout", ("agent-2", A.address): "timeout", ("agent-1", "resolve"): "timeout",
    }  # fmt: skip
    assert Reason.NETWORK_UNREACHABLE is reason(case, agents=2)


def test_a_server_that_its_own_node_does_not_reach_either_is_a_ticket() -> None:
    """Nothing lies between them."""
    assert Reason.ONE_DNS_SERVER is reason({(B.address,): "timeout"}, agents=2)


def test_a_server_that_answers_other_nodes_wrongly_is_a_ticket() -> None:
    """It is reached."""
    assert Reason.ONE_DNS_SERVER is reason({("agent-1", B.address): WRONG}, agents=2)


def test_why_the_agent_beside_a_silent_server_is_silent_says_why_the_server_is() -> None:
    """A node that is cut off, for example."""
    there = [one for one in answers({(B.address,): "timeout"}) if one.agent.node != B.node]
    silence = Silence(AGENTS[1], Failed(Reason.KUBELET_SILENT))
    found = Judgement(there, SERVERS, [silence]).failure()
    assert found
    assert Reason.KUBELET_SILENT is found.reason


def test_a_silent_service_whose_pods_answer_is_the_networks() -> None:
    """No rule leads to them."""
    found = judged({("way",): "timeout"})
    assert found
    assert (Reason.SERVICE_NOT_PROGRAMMED, Component.NETWORK) == (found.reason, found.component)


def test_a_service_that_answers_with_errors_while_its_pods_are_well_is_the_dns() -> None:
    """Something in between answers: a node's cache."""
    assert Reason.DNS_FAILED is reason({("way",): "servfail"})


def test_the_agents_of_one_node_that_fail_alone_are_that_node() -> None:
    """The note has the reason that it would be elsewhere."""
    found = judged({("agent-2", "way"): "timeout"})
    assert found
    assert Reason.ONE_NODE is found.reason
    assert found.note.startswith("service_not_programmed on node-2")


def test_a_node_that_reaches_nothing_is_that_node() -> None:
    """Its direct questions fail too, and blame no server."""
    assert Reason.ONE_NODE is reason({("agent-3",): "timeout"})


def test_a_service_that_some_nodes_do_not_reach_is_the_networks() -> None:
    """More than one node: it is no node's own fault."""
    case: Case = {("agent-1", "way"): "timeout", ("agent-2", "way"): "timeout"}
    assert Reason.SERVICE_NOT_PROGRAMMED is reason(case)


def test_a_single_agent_is_no_single_node() -> None:
    """Nobody can tell that others are well."""
    assert Reason.SERVICE_NOT_PROGRAMMED is reason({("way",): "timeout"}, agents=1)


def test_servers_that_no_agent_reaches_directly_are_no_failure() -> None:
    """A policy may want that; the page says so."""
    judgement = Judgement(tuple(answers({("direct",): "timeout"})), SERVERS)
    assert judgement.failure() is None
    assert "NetworkPolicy" in judgement.remark().text
    assert not judgement.remark().failing


def test_servers_that_all_answer_wrongly_are_a_failure_even_if_the_service_is_well() -> None:
    """A cache hides them, for a while."""
    assert Reason.DNS_WRONG_ANSWER is reason({("direct",): WRONG})


def test_nothing_that_is_known_of_the_servers_leaves_the_dns_to_blame() -> None:
    """Without the permission to list EndpointSlices, no pod was asked by itself."""
    found = [answer for answer in answers({("way",): "timeout"}) if not answer.question.direct]
    failed = Judgement(tuple(found), Servers()).failure()
    assert failed
    assert Reason.DNS_FAILED is failed.reason


def test_tcp_alone_that_fails_is_the_dns() -> None:
    """The note says that it was TCP."""
    found = judged({("tcp",): "timeout"})
    assert found
    assert (Reason.DNS_FAILED, True) == (found.reason, "3 of 3 agents fail (tcp)" in found.note)


def test_a_new_name_that_nobody_learns_is_the_dns() -> None:
    """Every server has lost its watch of the API server."""
    found = judged({("propagate",): "nxdomain"})
    assert found
    assert (Reason.DNS_FAILED, PROPAGATE) == (found.reason, found.step)


def test_an_external_name_that_fails_alone_is_the_dns() -> None:
    """Its upstream servers."""
    found = [*answers({}), *(Answer(one, Question(EXTERNAL, "example.", Expected()), "servfail") for one in AGENTS)]
    failed = Judgement(tuple(found), SERVERS).failure()
    assert failed
    assert (Reason.DNS_FAILED, EXTERNAL) == (failed.reason, failed.step)


def test_addresses_of_the_family_that_the_cluster_lacks_are_wrong() -> None:
    """No data is the right answer on a single-stack cluster."""
    assert Reason.DNS_WRONG_ANSWER is reason({("ipv6",): ("2001:db8::1",)})


def test_no_data_for_a_family_that_a_name_has_is_an_error() -> None:
    """On a dual-stack cluster, both families must be right."""
    both = Expected.of(["10.96.0.1", "fd00::1"], "AAAA")
    assert ("right", "error", "wrong") == (
        both.grade("answered", ["fd00:0::1"]),
        both.grade("nodata", []),
        both.grade("answered", ["fd00::2"]),
    )


def test_agents_that_had_no_time_blame_nobody() -> None:
    """Nothing was found out."""
    assert Reason.PROBER_STARVED is reason({("way",): "unfinished", ("direct",): "unfinished"})


def test_an_agent_without_a_cpu_cannot_tell_that_nobody_answered() -> None:
    """The answer may have come."""
    question = Question(RESOLVE, "own.", OWN)
    told = {"outcome": "timeout", "seconds": 3.0}
    starved = [Answer.of(AGENTS[0], question, told, starved=True), *answers({})]
    assert Judgement(tuple(starved), SERVERS).failure() is None


def test_the_earliest_step_that_failed_is_named() -> None:
    """In the order in which the routine declares them."""
    found = judged({("missing",): WRONG, ("tcp",): "timeout"})
    assert found
    assert min(TCP, MISSING, key=STEPS.index) is found.step


def test_each_dns_pod_has_its_figures_and_those_that_fail_come_first() -> None:
    """On the status page, at most eight of them."""
    found = Judgement(tuple(answers({("server", "10.0.2.2"): "timeout"})), SERVERS).by_server()
    first, second = found.text.split("; ")
    assert first == "coredns-b (10.0.2.2) on node-2: 0 of 3 answers are right"
    assert second == "coredns-a (10.0.1.2) on node-1: 3 of 3 answers are right, median 1.00 ms"
    many = tuple(Server(f"coredns-{n}", f"10.0.1.{n}", "node-1") for n in range(1, 11))
    asked = [Answer(AGENTS[0], Question(SERVER, "own.", OWN, s.address), "answered", ("10.96.0.1",)) for s in many]
    assert Judgement(asked, Servers(("10.96.0.1",), None, many)).by_server().text.endswith("; and 2 more")
    assert Judgement((), Servers()).by_server().text == "none was asked at its own address"


@pytest.mark.parametrize(
    ("case", "mute", "expected"),
    [
        ({(): "timeout"}, True, Reason.NETWORK_UNREACHABLE),
        ({("agent-1", "direct"): "servfail", (): "timeout"}, False, Reason.DNS_FAILED),
        ({("way",): "timeout"}, False, Reason.SERVICE_NOT_PROGRAMMED),
    ],
)
def test_dns_pods_that_nobody_can_connect_to_are_the_networks(case: Case, mute: bool, expected: Reason) -> None:
    """Only if none of them has said anything: otherwise packets arrive."""
    found = Judgement(tuple(answers(case)), SERVERS, unreached=True)
    assert mute is found.mute
    assert expected is reason_of(found)


def reason_of(found: Judgement) -> Reason | None:
    failed = found.failure()
    return failed.reason if failed else None


def test_dns_pods_that_accept_connections_and_say_nothing_are_the_dns() -> None:
    """Their processes hang."""
    assert Reason.DNS_FAILED is reason({(): "timeout"})
    none = Servers(("10.96.0.1",), ("10.96.0.10",), ())
    assert not Judgement(tuple(answers({(): "timeout"})), none).mute
