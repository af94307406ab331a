"""Checks that every request passes before a handler answers it."""

import asyncio
import base64
from collections.abc import Iterator

from aiohttp import hdrs, web

from khealth_exporter.web.connection_limit import Handler
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import PasswordVerifier, TooManyChecks
from khealth_exporter.web.security.web_config import RateLimit, WebConfig, canonical_name

MAX_BODY = 1024
"""Bytes. No request needs a body; a larger one is rejected unread."""
_BODY_TIMEOUT = 5.0
"""Seconds that a client has to send the body."""
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="khealth", charset="UTF-8"'}


class AccessControl:
    """Checks the rate of requests, client certificates, passwords, and the size of request bodies."""

    def __init__(self, web_config: ActiveWebConfig, passwords: PasswordVerifier) -> None:
        self._web_config, self._passwords = web_config, passwords
        self._bucket = TokenBucket(web_config.config.rate_limit)

    @property
    def config(self) -> WebConfig:
        """The active web configuration."""
        return self._web_config.config

    @web.middleware
    async def check_access(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request that passes all checks; reject any other with the reason."""
        config = self.config
        if self._bucket.limit != config.rate_limit:
            self._bucket = TokenBucket(config.rate_limit)
        if not self._bucket.take(asyncio.get_running_loop().time()):
            return _rejection(429, "too many requests\n", {"Retry-After": "1"})
        if config.allowed_sans and not _certificate_allowed(request, config):
            return _rejection(403, "client certificate has no allowed subject alternative name\n", close=True)
        if config.users and (rejection := await self._authenticate(request, config)):
            return rejection
        return await _check_body(request) or await handler(request)

    async def _authenticate(self, request: web.Request, config: WebConfig) -> web.Response | None:
        try:
            user, password = _basic_credentials(request.headers.get(hdrs.AUTHORIZATION, ""))
        except ValueError:
            return _rejection(401, "authentication required: send a user name and a password\n", _CHALLENGE)
        try:
            if await self._passwords.verify(config.users, user, password, request.remote or ""):
                return None
        except TooManyChecks:
            return _rejection(429, "too many password checks are waiting\n", {"Retry-After": "1"})
        return _rejection(401, "wrong user name or password\n", _CHALLENGE)


class TokenBucket:
    """Counts requests against a rate limit."""

    def __init__(self, limit: RateLimit | None) -> None:
        self.limit = limit
        self._tokens = float(limit.burst) if limit else 0.0
        self._updated: float | None = None

    def take(self, now: float) -> bool:
        """Take a token for a request at this time, in seconds; return False if there is none."""
        if self.limit is None:
            return True
        gained = (now - self._updated) / self.limit.interval if self._updated is not None else 0.0
        self._tokens, self._updated = min(self.limit.burst, self._tokens + gained), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def same_origin(request: web.Request) -> bool:
    """Return False if a browser sent the request from the page of another site.

    Browsers send Sec-Fetch-Site, or at least Origin. Other clients send neither.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or origin.partition("://")[2] == request.host


def _basic_credentials(header: str) -> tuple[str, str]:
    """Return the user and the password in an Authorization header (RFC 7617); ValueError if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise ValueError(f"not basic authentication: {scheme}")
    user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    if not colon:
        raise ValueError("no colon")
    return user, password


async def _check_body(request: web.Request) -> web.Response | None:
    """Return the rejection of a body that is too large or arrives too slowly; None if there is no objection."""
    length = request.content_length
    if request.body_exists and (length is None or length > MAX_BODY):
        return _rejection(413, "request body too large: no request needs one\n", close=True)
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            await request.read()
    except (TimeoutError, web.RequestPayloadError, web.HTTPException):
        return _rejection(400, "request body incomplete\n", close=True)
    return None


def _certificate_allowed(request: web.Request, config: WebConfig) -> bool:
    """Return whether the client's certificate has an allowed name; a client without a certificate needs none."""
    certificate = request.get_extra_info("peercert")
    return not certificate or not config.allowed_sans.isdisjoint(_names(certificate.get("subjectAltName", ())))


def _names(alternative_names: tuple[tuple[str, str], ...]) -> Iterator[str]:
    return (canonical_name(value) for _, value in alternative_names)


def _rejection(code: int, text: str, headers: dict[str, str] | None = None, *, close: bool = False) -> web.Response:
    response = web.Response(text=text, status=code, headers=headers)
    if close:
        response.force_close()
    return response
