"""Asks a running khealth to begin an attempt at once."""

import base64
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import SplitResult, quote, urlsplit

_TIMEOUT = 10.0
"""Seconds to connect, and again to wait for the answer."""
_LONGEST = 4096
"""Bytes of an answer that are read."""
_EXIT_CODES: Mapping[int, int] = MappingProxyType(
    {HTTPStatus.ACCEPTED: 0, HTTPStatus.CONFLICT: 1, HTTPStatus.TOO_MANY_REQUESTS: 3}
)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a running khealth answers; `headers` may hold a password."""

    url: SplitResult
    tls: ssl.SSLContext | None
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, url: str, ca_file: Path | None, user_file: Path | None) -> Self:
        """Return the door at a URL; ValueError, in one sentence without secrets, for what cannot be used."""
        parts = _split(url)
        tls = None
        if parts.scheme == "https":
            try:
                tls = ssl.create_default_context(cafile=ca_file)
            except OSError as error:  # An error of TLS is one, too.
                raise ValueError(f"--ca-file {ca_file}: cannot be used: {error.strerror or error}") from error
        elif ca_file:
            raise ValueError("--ca-file needs a URL that begins with https://")
        return cls(parts, tls, {"Content-Length": "0", **(_authorization(user_file) if user_file else {})})

    def ask(self, module: str, routine: str) -> "Answer":
        """Ask for an attempt; OSError or HTTPException where there is no answer."""
        host, port = self.url.hostname or "", self.url.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=self.tls)
            if self.tls
            else http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        )
        try:
            # The path may be that of a proxy, such as kubectl's.
            path = f"{self.url.path.rstrip('/')}/-/run/{quote(module, safe='')}/{quote(routine, safe='')}"
            connection.request("POST", path, headers=dict(self.headers))
            response = connection.getresponse()
            text = response.read(_LONGEST).decode(errors="replace")
            return Answer(response.status, text if response.headers.get_content_type() == "text/plain" else "")
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: the code of HTTP, and a text if it has one for people."""

    code: int
    text: str

    @property
    def exit_code(self) -> int:
        """Return 0 if an attempt has begun, 1 if none can now, 2 for a wrong request, 3 where nothing is known."""
        wrong = HTTPStatus.BAD_REQUEST <= self.code < HTTPStatus.INTERNAL_SERVER_ERROR
        return _EXIT_CODES.get(self.code, 2 if wrong else 3)

    @property
    def lines(self) -> str:
        """Return the text without characters that could control a terminal; the code where there is no text."""
        plain = "".join(c for c in self.text.strip() if c.isprintable() or c == "\n")
        return plain or f"the answer was HTTP {self.code}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # It is read now, so that a wrong one is an error here.
    except ValueError as error:
        raise ValueError(f"--url is not a URL: {error}") from error
    if "@" in parts.netloc:
        raise ValueError("--url must not contain credentials, which other users could see: use --user-file")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"--url {url} is not one of khealth: write http://127.0.0.1:8080 or https://khealth.example")
    return parts


def _authorization(user_file: Path) -> Mapping[str, str]:
    try:
        user = user_file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--user-file {user_file}: cannot be read: {getattr(error, 'strerror', 'no UTF-8')}"
        ) from error
    if ":" not in user or "\n" in user:
        raise ValueError(f"--user-file {user_file}: must hold one line, USER:PASSWORD")
    return {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
