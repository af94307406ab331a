"""As much of HTTP/1.1 as an agent needs: one request on a connection, and one answer."""

import re

MOST_HEAD = 16_384
MOST_BODY = 65_536
_MOST_HEADERS = 100
_LINE = re.compile(r"([A-Z]{1,20}) (/[!-~]{0,2000}) HTTP/1\.[01]")
# One class each: adjacent quantifiers that match the same characters would let a stranger's head take hours.
_NAME = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


HELD = "Khealth-Held"
"""The header that tells the nanoseconds from the arrival of a request to its answer."""


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """A request that is not answered with 200; the text says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Head:
    """The head of a request; `headers` by name in lower case."""

    __slots__ = ("headers", "length", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.length = 0
        """Bytes of the body that are read."""


def head(raw: bytes) -> Head:
    """Decode a head, without the empty line at its end; raise Refused."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    found = _LINE.fullmatch(first)
    if not found:
        raise Refused(400, "no HTTP/1.1 request")
    if len(lines) > _MOST_HEADERS:
        raise Refused(431, "too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, value = _header(line)
        if headers.setdefault(name, value) != value:
            raise Refused(400, "two headers that differ")
    return Head(found[1], found[2].partition("?")[0], headers)


def _header(line: str) -> tuple[str, str]:
    """Return a header's name in lower case, and its value without the space around it; raise Refused."""
    name, colon, value = line.partition(":")
    if not (colon and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
        raise Refused(400, "malformed header")
    return name.lower(), value.strip(" \t")


def length(headers: dict[str, str]) -> int:
    """Return the length of a body of JSON; raise Refused."""
    text = headers.get("content-length", "")
    if "transfer-encoding" in headers or not text:
        raise Refused(411, "no Content-Length")
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, "malformed Content-Length")
    if len(text) > 10 or int(text) > MOST_BODY:  # noqa: PLR2004 - more digits need no conversion
        raise Refused(413, f"more than {MOST_BODY} bytes")
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "the body is not application/json")
    return int(text)


def answer(
    status: int, body: bytes, kind: str = "application/json", headers: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Return an answer; the connection ends with it."""
    lines = (
        f"HTTP/1.1 {status} {_PHRASES[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body
