"""DNS messages of RFC 1035: questions for addresses, and answers from servers that may be hostile."""

import socket
import struct

TYPES = {"A": 1, "AAAA": 28}
MOST = 65_535
"""Bytes of a message."""
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
_CNAME, _INTERNET = 5, 1
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_ANSWER, _TRUNCATED, _RECURSION_DESIRED = 0x8000, 0x0200, 0x0100
_OPCODE, _RCODE = 0x7800, 0x000F
_POINTER = 0xC0
_LONGEST_LABEL, _LONGEST_NAME = 63, 255
_MOST_POINTERS, _MOST_RECORDS, _MOST_ADDRESSES = 32, 256, 64
_SIZES = {1: 4, 28: 16}


class Malformed(Exception):  # noqa: N818 - it reads as what happened
    """A message that cannot be decoded, or a name that cannot be encoded."""


class NotOurs(Malformed):
    """The message is no answer to this question: another identifier, or another question."""


class Message:
    """What matters of an answer: its code, its addresses, and whether it is cut off."""

    __slots__ = ("addresses", "code", "truncated")

    def __init__(self, code: int, addresses: list[str], truncated: bool) -> None:
        self.code = code
        self.addresses = addresses
        self.truncated = truncated


def wire(name: str) -> bytes:
    """Return a name as messages have it, in lower case; raise Malformed."""
    labels = name.lower().removesuffix(".").encode("ascii").split(b".") if name not in {"", "."} else []
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise Malformed(f"a label of {name[:80]!r} has no 1 to {_LONGEST_LABEL} characters")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(encoded) > _LONGEST_NAME:
        raise Malformed(f"{name[:80]!r} is too long")
    return encoded


def possible(name: str) -> bool:
    """Return whether a name can be asked for."""
    try:
        wire(name)
    except Malformed:
        return False
    return True


def encoded(name: bytes, kind: int, identifier: int) -> bytes:
    """Return a question for the addresses of a name, given as `wire` does."""
    return _HEADER.pack(identifier, _RECURSION_DESIRED, 1, 0, 0, 0) + name + _QUESTION.pack(kind, _INTERNET)


def decoded(message: bytes, name: bytes, kind: int, identifier: int) -> Message:
    """Return the answer to such a question; raise Malformed or NotOurs, and nothing else, whatever the bytes."""
    try:
        return _decoded(message, name, kind, identifier)
    except (struct.error, IndexError) as error:
        raise Malformed("the message is cut off") from error


def _decoded(message: bytes, name: bytes, kind: int, identifier: int) -> Message:
    found, flags, questions, records, _, _ = _HEADER.unpack_from(message)
    if found != identifier:
        raise NotOurs("another identifier")
    if not flags & _ANSWER or flags & _OPCODE:
        raise Malformed("no answer to a query")
    code = flags & _RCODE
    if questions == 0 and code:
        return Message(
            code, [], bool(flags & _TRUNCATED)
        )  # A server that could not read the question may leave it out.
    asked, offset = _name(message, _HEADER.size)
    if questions != 1 or asked != name or _QUESTION.unpack_from(message, offset) != (kind, _INTERNET):
        raise NotOurs("another question")
    if records > _MOST_RECORDS:
        raise Malformed(f"more than {_MOST_RECORDS} records")
    truncated = bool(flags & _TRUNCATED)
    return Message(code, _addresses(message, offset + _QUESTION.size, records, (name, kind), truncated), truncated)


def _addresses(message: bytes, offset: int, records: int, question: tuple[bytes, int], truncated: bool) -> list[str]:
    """Return the addresses of the name, and of those that it is an alias of, in the message's order."""
    name, kind = question
    aliases: dict[bytes, bytes] = {}
    found: list[tuple[bytes, str]] = []
    for _ in range(records):
        if truncated and offset >= len(message):
            break
        owner, offset = _name(message, offset)
        type_, class_, _, size = _RECORD.unpack_from(message, offset)
        offset += _RECORD.size
        content = message[offset : offset + size]
        if len(content) != size:
            raise Malformed("a record is cut off")
        if (type_, class_) == (kind, _INTERNET):
            if size != _SIZES[kind]:
                raise Malformed(f"an address of {size} bytes")
            found.append((owner, socket.inet_ntop(socket.AF_INET if kind == TYPES["A"] else socket.AF_INET6, content)))
        elif (type_, class_) == (_CNAME, _INTERNET):
            aliases.setdefault(owner, _name(message, offset)[0])
        offset += size
    names = {name}
    while (name := aliases.get(name, name)) not in names:
        names.add(name)
    return [address for owner, address in found if owner in names][:_MOST_ADDRESSES]


def _name(message: bytes, offset: int) -> tuple[bytes, int]:
    """Decompress a name; return it and what follows it. Pointers lead only back, and not too often."""
    parts: list[bytes] = []
    length, pointers, first, following = 1, 0, offset, 0
    while size := message[offset]:
        if size >= _POINTER:
            following = following or offset + 2
            target = (size & ~_POINTER) << 8 | message[offset + 1]
            pointers += 1
            if target >= first or pointers > _MOST_POINTERS:
                raise Malformed("a compressed name leads forward, or too far")
            first = offset = target
            continue
        if size > _LONGEST_LABEL:
            raise Malformed("a label of an unknown kind")
        length += size + 1
        label = message[offset : offset + size + 1]
        if length > _LONGEST_NAME or len(label) <= size:
            raise Malformed("a name that is too long")
        parts.append(label)
        offset += size + 1
    return b"".join(parts).lower() + b"\0", following or offset + 1
