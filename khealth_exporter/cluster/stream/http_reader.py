"""Reading one HTTP/1.1 answer, byte by byte as it comes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

_LONGEST_HEAD = 64 << 10
"""Bytes of a status line and headers."""

_LONGEST_LINE = 4 << 10
"""Bytes of a chunk's size with its extensions, and of a trailer's line."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?")


class GarbledAnswerError(OSError):
    """What came is no HTTP answer, or ended before its end."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status and headers; their names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def named(self) -> Mapping[str, str]:
        """The headers with the names that HTTP's standard writes."""
        return {name.title(): value for name, value in self.headers.items()}


class HeadReader:
    """Collects an answer's head; interim answers (1xx) are left out."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Take bytes; return the head and what follows it once it is whole. Raise GarbledAnswerError."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head, self._data = _head(self._data[:end]), self._data[end + 4 :]
            if head.status >= HTTPStatus.OK:
                return head, self._data
        if len(self._data) > _LONGEST_HEAD:
            raise GarbledAnswerError(f"an HTTP head of more than {_LONGEST_HEAD} bytes")
        return None


class Body:
    """Decodes an answer's body: chunked, of a known length, or up to the connection's end."""

    def __init__(self, head: Head) -> None:
        if (coding := head.headers.get("content-encoding", "identity").lower()) != "identity":
            raise GarbledAnswerError(f"the answer is encoded as {coding}, which was not asked for")
        self._chunks = _Chunks() if _is_chunked(head.headers) else None
        self._left = _length(head)
        """Bytes until the end of a body of a known length; -1 if the connection's end is its end."""

    @property
    def ended(self) -> bool:
        """Whether all of it has come."""
        return self._chunks.ended if self._chunks else self._left == 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes, and return those of the body. Raise GarbledAnswerError."""
        if self._chunks:
            return self._chunks.feed(data)
        if self._left >= 0:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def close(self) -> None:
        """Take the connection's end; raise GarbledAnswerError where it is not the body's."""
        if not self.ended and (self._chunks or self._left >= 0):
            raise GarbledAnswerError("the connection ended in the middle of an answer")


class _Chunks:
    """Decodes chunks: a line with the size, so many bytes, an empty line; after a size of 0 the trailer's lines."""

    def __init__(self) -> None:
        self.ended = False
        self._take: Callable[[bytes], None] = self._take_size
        """What takes the next line."""
        self._left = 0
        """Bytes until the end of this chunk."""
        self._line = b""
        """The beginning of a line."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes, and return those of the body."""
        parts: list[bytes] = []
        data, self._line = self._line + data, b""
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                parts.append(data[at : at + self._left])
                at += len(parts[-1])
                self._left -= len(parts[-1])
            elif (end := data.find(b"\n", at)) >= 0:
                self._take(data[at:end].removesuffix(b"\r"))
                at = end + 1
            else:
                self._line = data[at:]
                break
        if len(self._line) > _LONGEST_LINE:
            raise GarbledAnswerError("a chunk without a size")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_size(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if not found:
            raise GarbledAnswerError(f"no chunk begins with {line[:40]!r}")
        self._left = int(found[1], 16)
        self._take = self._take_break if self._left else self._take_trailer

    def _take_break(self, line: bytes) -> None:
        if line:
            raise GarbledAnswerError(f"no chunk ends with {line[:40]!r}")
        self._take = self._take_size

    def _take_trailer(self, line: bytes) -> None:
        self.ended = not line


def _head(data: bytes) -> Head:
    first, *lines = data.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if not found:
        raise GarbledAnswerError(f"no HTTP answer begins with {first[:40]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise GarbledAnswerError(f"no HTTP header is {line[:40]!r}")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(int(found[1]), headers)


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip() == "chunked"


def _length(head: Head) -> int:
    if head.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return 0
    told = head.headers.get("content-length")
    if told is None:
        return -1
    if not re.fullmatch(r"[0-9]{1,15}", told):
        raise GarbledAnswerError(f"no Content-Length is {told[:40]!r}")
    return int(told)
