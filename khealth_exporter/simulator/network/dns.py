"""Messages of the Domain Name System (RFC 1035): reading a question, writing its answer."""

import socket
import struct
from dataclasses import dataclass
from typing import Final

A, CNAME, SOA, AAAA, SRV = 1, 5, 6, 28, 33
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
_IN: Final = 1
_HEADER: Final = struct.Struct("!6H")
_ANSWER, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x0400, 0x0200
_RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x0100, 0x0080
_OPCODE: Final = 0x7800
_TO_THE_QUESTION: Final = 0xC000 | _HEADER.size
_LONGEST_LABEL: Final = 63
LONGEST_DATAGRAM: Final = 512


@dataclass(frozen=True, slots=True)
class Question:
    """A question, with what its answer repeats."""

    identity: int
    flags: int
    name: str
    """In lower case, with a dot at its end."""
    kind: int
    raw: bytes
    """As it is in the message."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known about a name."""

    code: int = NO_ERROR
    records: tuple[tuple[int, bytes], ...] = ()
    """The type and the data of each record."""
    ttl: int = 30


def parse(message: bytes) -> Question:
    """Return the only question of a message. Raises `ValueError`."""
    if len(message) < _HEADER.size:
        raise ValueError("shorter than a header")
    identity, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & _ANSWER or flags & _OPCODE or questions != 1:
        raise ValueError("not one question")
    labels, place = list[str](), _HEADER.size
    while True:
        if place >= len(message):
            raise ValueError("the name does not end")
        length = message[place]
        place += 1
        if not length:
            break
        if length > _LONGEST_LABEL:
            raise ValueError("a label is too long")
        labels.append(message[place : place + length].decode("ascii").lower())
        place += length
    if len(message) < place + 4:
        raise ValueError("no type")
    kind, _ = struct.unpack_from("!2H", message, place)
    return Question(identity, flags, ".".join([*labels, ""]), kind, message[_HEADER.size : place + 4])


def build(question: Question, result: Result, *, longest: int = LONGEST_DATAGRAM) -> bytes:
    """Return the answer; if it is longer than allowed, one that says so and has no records."""
    flags = _ANSWER | _AUTHORITATIVE | _RECURSION_AVAILABLE | question.flags & _RECURSION_DESIRED | result.code
    records = [(_TO_THE_QUESTION, *record) for record in result.records]
    body = b"".join(
        struct.pack("!3HIH", place, kind, _IN, result.ttl, len(data)) + data for place, kind, data in records
    )
    authority = b"" if records or result.code not in {NO_ERROR, NO_SUCH_NAME} else _start_of_authority(result.ttl)
    counts = (1, len(records), 1 if authority else 0, 0)
    if _HEADER.size + len(question.raw) + len(body) + len(authority) > longest:
        return _HEADER.pack(question.identity, flags | _TRUNCATED, 1, 0, 0, 0) + question.raw
    return _HEADER.pack(question.identity, flags, *counts) + question.raw + body + authority


def malformed(message: bytes) -> bytes:
    """Return the answer to what is no question."""
    identity = message[:2].ljust(2, b"\0")
    return identity + struct.pack("!5H", _ANSWER | FORMAT_ERROR, 0, 0, 0, 0)


def address(text: str) -> tuple[int, bytes]:
    """Return the record of an address."""
    if ":" in text:
        return AAAA, socket.inet_pton(socket.AF_INET6, text)
    return A, socket.inet_aton(text)


def encoded(name: str) -> bytes:
    """Return a name in a message."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _start_of_authority(ttl: int) -> bytes:
    """Return the record by which clients know how long they may remember that there is nothing."""
    zone = encoded("cluster.local.")
    data = encoded("ns.dns.cluster.local.") + encoded("hostmaster.cluster.local.")
    data += struct.pack("!5I", 1, 7200, 1800, 86400, ttl)
    return zone + struct.pack("!2HIH", SOA, _IN, ttl, len(data)) + data
