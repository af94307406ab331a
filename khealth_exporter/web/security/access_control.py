"""What every request has to pass before it is answered."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import hdrs, web

from khealth_exporter.web.open_connections import Connections
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import Passwords, TooManyGuesses
from khealth_exporter.web.security.web_config import Rate, WebConfig, name_of

BODY = 1024
"""Bytes; no request here needs a body at all, and a larger one is refused unread."""
_PATIENCE = 5.0
"""Seconds that a body may take to come."""
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="khealth", charset="UTF-8"'}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AccessControl:
    """Lets pass what may: of a bearable size and rate, from a client with an allowed certificate and a password."""

    def __init__(self, protection: ActiveWebConfig, passwords: Passwords, connections: Connections) -> None:
        self._protection, self._passwords, self._connections = protection, passwords, connections
        self._bucket = Bucket(protection.config.rate)

    @property
    def config(self) -> WebConfig:
        """What is in force."""
        return self._protection.config

    @web.middleware
    async def watched(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, and close its connection afterwards if it is not to serve another one."""
        self._connections.begin(request.protocol)
        try:
            response = await handler(request)
        finally:
            again = self._connections.end(request.protocol)
        if not again:
            response.force_close()
        return response

    @web.middleware
    async def passed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request if it may come, and say why not otherwise."""
        config = self.config
        if self._bucket.rate != config.rate:
            self._bucket = Bucket(config.rate)
        if not self._bucket.take(asyncio.get_running_loop().time()):
            return _refusal(429, "too many requests\n", {"Retry-After": "1"})
        if config.client_names and not _named(request, config):
            return _refusal(403, "the client certificate has none of the allowed names\n", close=True)
        if config.users and (refusal := await self._stranger(request, config)):
            return refusal
        return await _bodiless(request) or await handler(request)

    async def _stranger(self, request: web.Request, config: WebConfig) -> web.Response | None:
        try:
            user, password = _told(request.headers.get(hdrs.AUTHORIZATION, ""))
        except ValueError:
            return _refusal(401, "a user and a password are needed\n", _CHALLENGE)
        try:
            if await self._passwords.right(config.users, user, password, request.remote or ""):
                return None
        except TooManyGuesses:
            return _refusal(429, "too many passwords wait to be checked\n", {"Retry-After": "1"})
        return _refusal(401, "the user or the password is wrong\n", _CHALLENGE)


class Bucket:
    """Holds the requests that may still come now."""

    def __init__(self, rate: Rate | None) -> None:
        self.rate = rate
        self._left = float(rate.burst) if rate else 0.0
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Tell whether a request may come at this time, in seconds, and count it if so."""
        if self.rate is None:
            return True
        gained = (now - self._at) / self.rate.interval if self._at is not None else 0.0
        self._left, self._at = min(self.rate.burst, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def same_origin(request: web.Request) -> bool:
    """Tell whether a request is none that a browser makes for another site's page.

    Browsers say so themselves, in Sec-Fetch-Site or at least in Origin; what is no browser says neither.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or origin.partition("://")[2] == request.host


def _told(header: str) -> tuple[str, str]:
    """Return the user and the password of a header (RFC 7617); ValueError if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise ValueError(f"not basic authentication: {scheme}")
    user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    if not colon:
        raise ValueError("no colon")
    return user, password


async def _bodiless(request: web.Request) -> web.Response | None:
    """Return what to answer a request with a body that is too large or does not come; None if it is well."""
    length = request.content_length
    if request.body_exists and (length is None or length > BODY):
        return _refusal(413, "no request here needs a body\n", close=True)
    try:
        async with asyncio.timeout(_PATIENCE):
            await request.read()
    except (TimeoutError, web.RequestPayloadError, web.HTTPException):
        return _refusal(400, "the body did not come\n", close=True)
    return None


def _named(request: web.Request, config: WebConfig) -> bool:
    """Tell whether the client's certificate carries an allowed name; where none was shown, it need not."""
    shown = request.get_extra_info("peercert")
    return not shown or not config.client_names.isdisjoint(_names(shown.get("subjectAltName", ())))


def _names(subject: tuple[tuple[str, str], ...]) -> Iterator[str]:
    return (name_of(value) for _, value in subject)


def _refusal(code: int, text: str, headers: dict[str, str] | None = None, *, close: bool = False) -> web.Response:
    response = web.Response(text=text, status=code, headers=headers)
    if close:
        response.force_close()
    return response
