"""The question `dns`, against name servers that do what they like."""

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_network import ADDRESS, PATIENCE, NameServer, dns_answer, dns_record, waits

from khealth_exporter.canary.agent import dns
from khealth_exporter.canary.agent.question import BadQuestion, Question
from khealth_exporter.canary.agent.resolver import Settings

A = 1
TEN = dns_record(A, b"\x0a\0\0\1")
Answers = Callable[[bytes], list[bytes]]


def ask(port: int, *questions: dict[str, object], within: float = 2 * PATIENCE) -> list[dict[str, Any]]:
    place = {"port": port, "timeout": 30.0}
    now = time.monotonic()
    document: Any = dns.run(Question({"questions": [place | asked for asked in questions]}, now), now + within)
    answers: list[dict[str, Any]] = document["answers"]
    return answers


def asked(answers: Answers, **question: object) -> dict[str, Any]:
    """Ask a server for a name."""
    with NameServer(answers).running() as server:
        return ask(server.port, {"name": "a.b.", "server": ADDRESS} | question)[0]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_an_answer_has_its_addresses_and_how_long_it_took(transport: str) -> None:
    began = time.monotonic()
    answer = asked(lambda query: [dns_answer(query, TEN)], transport=transport)
    took = time.monotonic() - began
    assert ("answered", ["10.0.0.1"], ADDRESS, "") == tuple(
        answer[key] for key in ("outcome", "addresses", "server", "error")
    )
    assert 0 < answer["seconds"] < took
    assert answer["uncertainty"] > 0


def test_ipv6_addresses_are_asked_for() -> None:
    answer = asked(lambda query: [dns_answer(query, dns_record(28, bytes(15) + b"\1"))], type="AAAA")
    assert ["::1"] == answer["addresses"]


@pytest.mark.parametrize(
    ("code", "outcome", "error"),
    [(0, "nodata", ""), (3, "nxdomain", ""), (2, "servfail", ""), (5, "refused", ""), (4, "servfail", "code 4")],
)
def test_what_the_server_says_without_addresses_is_the_outcome(code: int, outcome: str, error: str) -> None:
    answer = asked(lambda query: [dns_answer(query, code=code)])
    assert (outcome, error) == (answer["outcome"], answer["error"])


def test_a_truncated_answer_is_told_as_such() -> None:
    answer = asked(lambda query: [dns_answer(query, TEN, flags=0x8280)])
    assert ("answered", "truncated") == (answer["outcome"], answer["error"])


def test_a_server_that_says_nothing_runs_into_the_timeout_of_each_try() -> None:
    with NameServer(lambda _: []).running() as server:
        answer = ask(server.port, {"name": "a.b.", "server": ADDRESS, "timeout": 0.05, "tries": 3})[0]
    assert 3 == len(server.asked)
    assert "timeout" == answer["outcome"]
    assert answer["seconds"] >= 0.15


def test_a_lost_datagram_is_made_up_for_by_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, 0.1)
    seen: list[bytes] = []

    def second(query: bytes) -> list[bytes]:
        seen.append(query)
        return [dns_answer(query, TEN)] if len(seen) > 1 else []

    answer = asked(second, tries=2)
    assert "answered" == answer["outcome"]
    assert answer["seconds"] >= 0.1


def test_every_question_has_an_identifier_of_its_own() -> None:
    with NameServer(lambda query: [dns_answer(query, TEN)]).running() as server:
        question: dict[str, object] = {"name": "a.b.", "server": ADDRESS}
        ask(server.port, *[question] * 16)
        assert len({query[:2] for query in server.asked}) > 12


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_where_nothing_listens_it_is_unreachable(transport: str) -> None:
    answer = ask(1, {"name": "a.b.", "server": ADDRESS, "transport": transport})[0]
    assert ("unreachable", "ECONNREFUSED: Connection refused") == (answer["outcome"], answer["error"])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_hostile_answer_is_malformed(transport: str) -> None:
    answer = asked(lambda query: [dns_answer(query, TEN)[:-1]], transport=transport)
    assert ("malformed", "a record is cut off") == (answer["outcome"], answer["error"])


def test_a_server_that_closes_the_connection_is_malformed() -> None:
    answer = asked(lambda _: [], transport="tcp")
    assert "malformed" == answer["outcome"]


def forged(query: bytes) -> list[bytes]:
    (identifier,) = struct.unpack_from("!H", query)
    other = struct.pack("!H", identifier ^ 1)
    return [other + dns_answer(query, dns_record(A, b"\x06\6\6\6"))[2:]]


def test_a_forged_answer_does_not_hide_the_true_one() -> None:
    answer = asked(lambda query: [*forged(query), dns_answer(query, TEN)])
    assert ["10.0.0.1"] == answer["addresses"]


def test_forged_answers_alone_are_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, PATIENCE, 0.05)
    answer = asked(forged)
    assert ("malformed", "another identifier") == (answer["outcome"], answer["error"])


def test_what_is_not_answered_in_time_is_unfinished() -> None:
    with NameServer(lambda _: []).running() as server:
        found = ask(server.port, *[{"name": "a.", "server": ADDRESS, "timeout": 30}] * 20, within=0.05)
    assert {"unfinished"} == {answer["outcome"] for answer in found}


def test_what_is_under_way_has_taken_its_time_so_far() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ADDRESS, 0))
        place = {"name": "a.", "server": ADDRESS, "port": silent.getsockname()[1]}
        one = dns._Asked(Question(place, time.monotonic()))
        asking = one.ask(Settings())
        asking.send(None)
        assert silent.recv(512)
        asking.close()
    document: Any = one.document()
    assert "unfinished" == document["outcome"]
    assert document["seconds"] > 0


@pytest.mark.parametrize(
    "question",
    [{"name": "a..b"}, {"name": 5}, {"name": "a", "type": "MX"}, {"name": "a", "server": "x"}, {"name": "a", "timeout": 0},
     {"name": "a", "transport": "tls"}, {"name": "a", "tries": 11}, {"name": "ä"}, {}],
    ids=str,
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(question: dict[str, object]) -> None:
    with pytest.raises(BadQuestion):
        ask(53, question)


@pytest.fixture
def resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "resolv.conf"
    monkeypatch.setenv("KHEALTH_RESOLV_CONF", str(path))
    return path


def test_names_are_asked_for_as_resolv_conf_says(resolv_conf: Path) -> None:
    """A name with fewer dots than ndots goes through the search list first, as in every pod."""
    resolv_conf.write_text(f"nameserver {ADDRESS}\nsearch one.local two.local\noptions ndots:2 timeout:1\n")

    def answers(query: bytes) -> list[bytes]:
        return [dns_answer(query, TEN) if b"\3two" in query else dns_answer(query, code=3)]

    with NameServer(answers).running() as server:
        found = ask(server.port, {"name": "a"})[0]
        assert ("answered", ADDRESS) == (found["outcome"], found["server"])
        assert [True, False] == [b"\3one" in query for query in server.asked]


def test_a_name_that_none_of_the_search_list_knows_does_not_exist(resolv_conf: Path) -> None:
    resolv_conf.write_text(f"nameserver {ADDRESS}\nsearch one.local\n")
    with NameServer(lambda query: [dns_answer(query, code=3)]).running() as server:
        assert "nxdomain" == ask(server.port, {"name": "a"})[0]["outcome"]
        assert 2 == len(server.asked)


def test_the_next_nameserver_is_asked_if_the_first_is_silent(resolv_conf: Path) -> None:
    resolv_conf.write_text(f"nameserver 127.9.9.9\nnameserver {ADDRESS}\n")
    with NameServer(lambda query: [dns_answer(query, TEN)]).running() as server:
        assert ADDRESS == ask(server.port, {"name": "a."})[0]["server"]


@pytest.mark.parametrize(("code", "outcome"), [(2, "servfail"), (5, "refused"), (4, "servfail")])
def test_a_search_domain_whose_servers_fail_takes_no_name_away(resolv_conf: Path, code: int, outcome: str) -> None:
    """Of a domain that is given up, servers may be left that refuse; pods go on to the next name."""
    resolv_conf.write_text(f"nameserver {ADDRESS}\nsearch stale.local gone.local\noptions ndots:5\n")

    def answers(query: bytes) -> list[bytes]:
        own = b"\1b\0" in query
        return [dns_answer(query, TEN) if own else dns_answer(query, code=code if b"\5stale" in query else 3)]

    with NameServer(answers).running() as server:
        found = ask(server.port, {"name": "a.b"})[0]
        assert ("answered", ["10.0.0.1"], "") == (found["outcome"], found["addresses"], found["error"])
        assert [True, False, False] == [b"\5stale" in query for query in server.asked]
        # Nothing else tells why, where no name has an address.
        found = ask(server.port, {"name": "a.c"})[0]
        assert (outcome, True) == (found["outcome"], found["error"].startswith(f"a.c.stale.local. {outcome}"))


@pytest.mark.parametrize(
    ("codes", "outcome", "error"),
    [
        ((3, 2, 0, 3), "servfail", "a.two.local. servfail"),
        ((2, 5, 3, 3), "servfail", "a.one.local. servfail; a.two.local. refused"),
        ((3, 3, 3, 5), "refused", "a. refused"),
        ((2, None), "servfail", "a.one.local. servfail; a.two.local. timeout ETIMEDOUT: no answer in time"),
        ((3, None), "timeout", "ETIMEDOUT: no answer in time"),
        ((3, 0, 3, 3), "nxdomain", ""),
        ((3, 3, 3, 0), "nodata", ""),
    ],
)
def test_a_failure_says_more_than_a_name_that_does_not_exist(
    resolv_conf: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int | None, ...], outcome: str, error: str
) -> None:
    """It leaves open whether that name exists. After silence, no other name is asked for."""
    resolv_conf.write_text(f"nameserver {ADDRESS}\nsearch one.local two.local three.local\n")
    waits(monkeypatch, *(0.1 if code is None else PATIENCE for code in codes))
    said = iter(codes)

    def answers(query: bytes) -> list[bytes]:
        code = next(said)
        return [] if code is None else [dns_answer(query, code=code)]

    with NameServer(answers).running() as server:
        found = ask(server.port, {"name": "a"})[0]
    assert (outcome, error, None) == (found["outcome"], found["error"], next(said, None))


@pytest.mark.parametrize("code", [2, 5])
def test_the_next_nameserver_is_asked_if_the_first_fails(resolv_conf: Path, code: int) -> None:
    """Once: a failure is an answer, and no datagram was lost. Both servers are the same one here."""
    resolv_conf.write_text(f"nameserver {ADDRESS}\nnameserver {ADDRESS}\n")
    said = iter([code, 0])
    with NameServer(lambda query: [dns_answer(query, TEN, code=next(said))]).running() as server:
        assert "answered" == ask(server.port, {"name": "a.", "tries": 3})[0]["outcome"]
        assert 2 == len(server.asked)


@pytest.mark.parametrize("silent_first", [False, True])
def test_a_failure_counts_for_more_than_the_silence_of_another_server(resolv_conf: Path, silent_first: bool) -> None:
    servers = ["127.9.9.9", ADDRESS] if silent_first else [ADDRESS, "127.9.9.9"]
    resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers))
    with NameServer(lambda query: [dns_answer(query, code=2)]).running() as server:
        found = ask(server.port, {"name": "a."})[0]
    assert ("servfail", ADDRESS) == (found["outcome"], found["server"])


def test_without_a_nameserver_nothing_is_reachable(resolv_conf: Path) -> None:
    assert not resolv_conf.exists()
    answer = ask(53, {"name": "a."})[0]
    assert ("unreachable", "no nameserver") == (answer["outcome"], answer["error"])


def test_the_settings_are_told(resolv_conf: Path) -> None:
    resolv_conf.write_text("nameserver 10.0.0.10\nnameserver nonsense\nsearch one.local\n")
    now = time.monotonic()
    document = dns.run(Question({"questions": []}, now), now + 1)
    assert (["one.local"], ["10.0.0.10"]) == (document["search"], document["nameservers"])


def test_settings_take_what_they_understand() -> None:
    settings = Settings(
        "# nameserver 1.1.1.1\n\nnameserver\nnameserver fd00::a\noptions ndots:x ndots:9999x\ndomain d.\n"
    )
    assert (["fd00::a"], ["d."], 15) == (settings.nameservers, settings.search, settings.dots)


def test_a_name_with_enough_dots_is_first_asked_for_as_it_is() -> None:
    settings = Settings("search s.\noptions ndots:1\n")
    assert ["a.b.", "a.b.s."] == settings.names("a.b")


@pytest.mark.parametrize("domain", [".", "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 60, "x..y", "e" * 64])
@pytest.mark.parametrize("dots", [1, 5])
def test_a_search_domain_that_makes_no_name_takes_none_away(domain: str, dots: int) -> None:
    """systemd-resolved writes `search .`, and pods get it from their node."""
    settings = Settings(f"search {domain} s.local\noptions ndots:{dots}\n")
    expected = {"a.b.", "a.b.s.local."}
    assert (expected, 2) == (set(settings.names("a.b")), len(settings.names("a.b")))


def test_a_name_that_is_none_is_left_as_it_is() -> None:
    """What asks for it says what is wrong with it."""
    expected = ["a..b."]
    assert expected == Settings("search s\n").names("a..b")
