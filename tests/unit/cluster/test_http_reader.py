"""Reading HTTP/1.1 answers: however the network cuts them, what comes out is the same."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.cluster.stream.http_reader import Body, GarbledAnswerError, Head, HeadReader

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = Head(200, {"transfer-encoding": "chunked"})


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Return the data in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def chunked(parts: Sequence[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """Return a chunked body."""
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return chunks + b"0\r\n" + trailer + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 1000), max_size=12))
def test_chunks_are_joined_wherever_they_are_cut(parts: list[bytes], places: list[int]) -> None:
    """With extensions and a trailer, too."""
    body = Body(CHUNKED)
    data = chunked(parts, b";a=b", b"X-Checksum: 1\r\n")
    assert b"".join(parts) == b"".join(body.feed(piece) for piece in cut(data, places))
    assert body.ended
    body.close()


@given(st.lists(st.integers(0, 1000), max_size=12))
def test_a_head_is_whole_wherever_it_is_cut(places: list[int]) -> None:
    """What follows it is handed back."""
    data = OK + b"Date: now\r\nX-Two: a\r\nx-two: b\r\n\r\nrest"
    reader, rest = HeadReader(), b""
    head = None
    for piece in cut(data, places):
        if head:
            rest += piece
        elif found := reader.feed(piece):
            head, rest = found
    assert (Head(200, {"date": "now", "x-two": "a, b"}), b"rest") == (head, rest)


def test_interim_answers_are_left_out() -> None:
    """A 100 or 103 before the answer is none."""
    assert (Head(200, {}), b"") == HeadReader().feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b" folded: x\r\n\r\n",
        OK + b": x\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_head_is_garbled(head: bytes) -> None:
    """And it is known before the memory is full."""
    with pytest.raises(GarbledAnswerError):
        HeadReader().feed(head)


@pytest.mark.parametrize("data", [b"zz\r\n", b"\r\n", b"-1\r\n", b"1\r\nab\r\n", b"fffffffff\r\n", b"1" * 5000])
def test_what_is_no_chunk_is_garbled(data: bytes) -> None:
    """A size of more than eight digits is none."""
    with pytest.raises(GarbledAnswerError):
        Body(CHUNKED).feed(data)


def test_a_body_of_known_length_ends_there() -> None:
    """What comes after it is not its own."""
    body = Body(Head(200, {"content-length": "5"}))
    assert (b"abc", False) == (body.feed(b"abc"), body.ended)
    assert (b"de", True) == (body.feed(b"defg"), body.ended)
    assert b"" == body.feed(b"h")


def test_a_body_of_unknown_length_ends_with_the_connection() -> None:
    """HTTP/1.0 proxies send such."""
    body = Body(Head(200, {}))
    assert b"abc" == body.feed(b"abc")
    body.close()


@pytest.mark.parametrize("head", [CHUNKED, Head(200, {"content-length": "5"})])
def test_a_connection_that_ends_too_early_is_garbled(head: Head) -> None:
    """It broke."""
    body = Body(head)
    body.feed(b"2\r\n")
    with pytest.raises(GarbledAnswerError):
        body.close()


def test_an_answer_without_a_body_has_ended() -> None:
    """204 has none, whatever its headers say."""
    assert Body(Head(204, {})).ended


@pytest.mark.parametrize("headers", [{"content-encoding": "gzip"}, {"content-length": "-5"}, {"content-length": "1_0"}])
def test_a_body_that_cannot_be_read_is_garbled(headers: dict[str, str]) -> None:
    """Before any of it is read."""
    with pytest.raises(GarbledAnswerError):
        Body(Head(200, headers))
