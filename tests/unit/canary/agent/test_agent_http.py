"""The head of a request, which comes from anybody."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canary.agent import http
from khealth_exporter.canary.agent.http import Head, Refused

TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
ROOM = http.MOST_HEAD - 100
"""Bytes of a head that one header may fill."""


def head(*lines: str) -> Head:
    return http.head("\r\n".join(("GET /ready HTTP/1.1", *lines)).encode("latin-1"))


def value(line: str) -> str:
    """Return the value of the one header of a head."""
    (found,) = head(line).headers.values()
    return found


@given(
    st.text(TOKEN, min_size=1, max_size=20),
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=50),
    st.text(" \t", max_size=5),
)
def test_every_header_that_http_allows_is_understood(name: str, text: str, space: str) -> None:
    expected = {name.lower(): text.strip(" ")}
    assert expected == head(f"{name}:{space}{text}{space}").headers


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_are_refused(raw: bytes) -> None:
    try:
        found = http.head(b"GET / HTTP/1.1\r\n" + raw)
    except Refused as refused:
        assert refused.status in {400, 431}
    else:
        assert "GET" == found.method


@pytest.mark.parametrize("line", ["no colon", "", ": a", " a: b", "a : b", "a\t: b", "\xe4: b", "a(): b"])
def test_what_has_no_name_is_no_header(line: str) -> None:
    with pytest.raises(Refused, match="malformed"):
        head(line)


@pytest.mark.parametrize("control", [chr(code) for code in (*range(9), *range(10, 32), 127)], ids=repr)
@pytest.mark.parametrize("place", ["{}", "{}a", "a{}", "a{}b"])
def test_a_value_with_a_control_character_is_refused(place: str, control: str) -> None:
    with pytest.raises(Refused, match="malformed"):
        head(f"X: {place.format(control)}")


@pytest.mark.parametrize("fill", [" ", "\t", " \t", "a", " a", "a ", ":", "; "])
@pytest.mark.parametrize("end", ["", "a", "\n", "\0"], ids=repr)
def test_the_largest_header_is_read_whatever_fills_it(fill: str, end: str) -> None:
    """One that ends in a character that makes it malformed is refused just as soon; else this test does not end."""
    text = fill * (ROOM // len(fill)) + end
    if end in {"\n", "\0"}:
        with pytest.raises(Refused, match="malformed"):
            head(f"X:{text}")
    else:
        expected = text.strip()
        assert expected == value(f"X:{text}")


@pytest.mark.parametrize("character", ["a", "-", " ", "/", ":"])
def test_the_largest_head_without_headers_is_read_whatever_fills_it(character: str) -> None:
    for line in (character * ROOM, f"GET /{character * ROOM}", f"GET / HTTP/1.1{character * ROOM}"):
        with pytest.raises(Refused, match="no HTTP"):
            http.head(line.encode())


def test_the_largest_name_is_read() -> None:
    with pytest.raises(Refused, match="malformed"):
        head("a" * ROOM)
    expected = {"a" * ROOM: ""}
    assert expected == head(f"{'a' * ROOM}:").headers


def test_a_header_may_be_repeated_but_not_differ() -> None:
    expected = {"x": "1"}
    assert expected == head("X: 1", "x:1 ").headers
    with pytest.raises(Refused, match="differ"):
        head("X: 1", "X: 2")
