"""DNS messages, also hostile ones."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_network import dns_answer, dns_record

from khealth_exporter.canary.agent import dns_message
from khealth_exporter.canary.agent.dns_message import Malformed, Message, NotOurs, decoded, encoded, wire

NAME = wire("kubernetes.default.svc.cluster.local.")
A, AAAA, CNAME = 1, 28, 5
QUERY = encoded(NAME, A, 7)


def read(message: bytes) -> Message:
    return decoded(message, NAME, A, 7)


def test_a_query_asks_for_one_name_with_recursion() -> None:
    expected = b"\0\x07\x01\0\0\1\0\0\0\0\0\0" + b"\1a\2bc\0" + b"\0\1\0\1"
    assert expected == encoded(wire("A.bc."), A, 7)


@pytest.mark.parametrize("name", ["a..b", ".a", "a" * 64, "a." * 128], ids=["empty", "first", "label", "name"])
def test_a_name_that_dns_cannot_have_is_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        wire(name)


@pytest.mark.parametrize("name", ["", "."])
def test_the_root_has_no_label(name: str) -> None:
    expected = b"\0"
    assert expected == wire(name)


def test_addresses_are_read_in_their_order() -> None:
    message = read(dns_answer(QUERY, dns_record(A, b"\x0a\0\0\2"), dns_record(A, b"\x0a\0\0\1")))
    assert (0, ["10.0.0.2", "10.0.0.1"], False) == (message.code, message.addresses, message.truncated)


def test_ipv6_addresses_are_read() -> None:
    query = encoded(NAME, AAAA, 7)
    message = decoded(dns_answer(query, dns_record(AAAA, bytes(15) + b"\1")), NAME, AAAA, 7)
    assert ["::1"] == message.addresses


def test_the_addresses_of_an_alias_belong_to_the_name() -> None:
    alias = wire("a.b.")
    message = read(dns_answer(QUERY, dns_record(CNAME, alias), dns_record(A, b"\x0a\0\0\1", alias)))
    assert ["10.0.0.1"] == message.addresses


def test_the_addresses_of_other_names_are_not_taken() -> None:
    expected: list[str] = []
    assert expected == read(dns_answer(QUERY, dns_record(A, b"\x0a\0\0\1", wire("evil.")))).addresses


def test_aliases_that_lead_in_a_circle_end() -> None:
    one, other = wire("a."), wire("b.")
    records = [dns_record(CNAME, one), dns_record(CNAME, other, one), dns_record(CNAME, one, other)]
    expected: list[str] = []
    assert expected == read(dns_answer(QUERY, *records)).addresses


def test_a_truncated_answer_tells_what_it_has() -> None:
    message = dns_answer(QUERY, dns_record(A, b"\x0a\0\0\1"), flags=0x8280)
    more = struct.pack("!H", 2)
    found = read(message[:6] + more + message[8:])
    assert (["10.0.0.1"], True) == (found.addresses, found.truncated)


@pytest.mark.parametrize("code", [2, 3, 5])
def test_the_code_is_told(code: int) -> None:
    assert code == read(dns_answer(QUERY, code=code)).code


def test_an_error_may_come_without_the_question() -> None:
    expected = 1
    assert expected == read(struct.pack("!6H", 7, 0x8001, 0, 0, 0, 0)).code


@pytest.mark.parametrize(
    "message",
    [dns_answer(encoded(NAME, A, 8)), dns_answer(encoded(wire("other."), A, 7)), dns_answer(encoded(NAME, AAAA, 7))],
    ids=["identifier", "name", "type"],
)
def test_an_answer_to_another_question_is_not_ours(message: bytes) -> None:
    with pytest.raises(NotOurs):
        read(message)


def test_the_case_of_letters_does_not_matter() -> None:
    expected = 0
    assert expected == read(dns_answer(QUERY).replace(b"default", b"DeFaUlT")).code


def compressed(*names: bytes) -> bytes:
    return dns_answer(QUERY, *(dns_record(A, b"\x0a\0\0\1", name) for name in names))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        QUERY,
        dns_answer(QUERY)[:-1],
        dns_answer(QUERY, dns_record(A, b"\x0a\0\0")),
        dns_answer(QUERY, dns_record(A, b"\x0a\0\0\1"))[:-1],
        compressed(struct.pack("!H", 0xC000 | len(QUERY))),
        compressed(b"\xff\xff"),
        compressed(b"\x80"),
        compressed(b"\x40a"),
        compressed((b"\x3f" + b"a" * 63) * 5 + b"\0"),
        compressed(b"\xc0\x0c", *(struct.pack("!H", 0xC000 | (len(QUERY) + 16 * number)) for number in range(100))),
        dns_answer(QUERY, *[dns_record(A, b"\x0a\0\0\1")] * 257),
    ],
    ids=["empty", "query", "question", "short address", "cut off", "itself", "forward", "0x80", "0x40", "long", "chain", "records"],
)  # fmt: skip
def test_a_hostile_message_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        read(message)


@given(st.binary(max_size=600))
def test_no_bytes_do_harm(message: bytes) -> None:
    for bytes_ in (
        message,
        dns_answer(QUERY) + message,
        QUERY[:2] + b"\x80\0\0\1\xff\xff\0\0\0\0" + QUERY[12:] + message,
    ):
        try:
            found = read(bytes_)
        except Malformed:
            continue
        assert len(found.addresses) <= dns_message.MOST


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=70), st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_no_change_of_a_good_message_does_harm(addresses: list[bytes], place: int, change: bytes) -> None:
    message = bytearray(dns_answer(QUERY, *(dns_record(A, address) for address in addresses)))
    message[place : place + len(change)] = change
    try:
        found = read(bytes(message))
    except Malformed:
        return
    assert all(address.count(".") == 3 for address in found.addresses)
