"""Requests to the API server: timeouts, retries, counting, and when exactly each was sent and answered."""

import asyncio
import math
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from khealth_exporter import __version__
from khealth_exporter.cluster.client.answer import Answer, date_of, read_at_most
from khealth_exporter.cluster.client.authorized import authorized
from khealth_exporter.cluster.client.certificate import CertifiedResponse
from khealth_exporter.cluster.client.connections import Connections, Stamps
from khealth_exporter.cluster.client.denied_permissions import Denials
from khealth_exporter.cluster.client.outage import Outage
from khealth_exporter.cluster.client.request import Call, Relayed, Tries, joined
from khealth_exporter.cluster.client.route import Route
from khealth_exporter.cluster.client.trouble import Troubles
from khealth_exporter.cluster.credentials.credentials import Credentials, CredentialsError
from khealth_exporter.cluster.errors import Refusal, Refused, no_credentials
from khealth_exporter.cluster.stream.opening import Way, ask, system_tls
from khealth_exporter.cluster.stream.stream import Stream
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.telemetry import Telemetry

_FIRST_PAUSE = 0.1
"""Seconds before a second try; each further pause is twice as long. An API server that restarts is missed by little."""
_LONGEST_PAUSE = 2.0
"""Seconds between two tries at most, so that the end of an outage is seen soon."""
_TRY = 10.0
"""Seconds for one try."""
LEAST_TIME = 1.0
"""Seconds that a request has at least: that there was no answer by a deadline says nothing if it was just ahead."""
_HEADERS = {"User-Agent": f"khealth/{__version__} ({sys.platform})", "Accept": "application/json"}

__all__ = ["Answer", "Client"]

_NO_ANSWER = (TimeoutError, OSError, aiohttp.ClientError)

T = TypeVar("T")


class Client:
    """Asks one API server, and measures its answers; to be made inside the running event loop."""

    def __init__(self, credentials: Credentials, clock: Clock, telemetry: Telemetry, random: random.Random) -> None:
        self._credentials = credentials
        self.clock = clock
        self._telemetry = telemetry
        self._random = random
        self.denials = Denials(clock)
        """The permissions that khealth turned out to lack."""
        self.throttled_at = -math.inf
        """When the API server last answered that it throttles, in monotonic seconds."""
        self.outage, self._troubles = Outage(), Troubles()
        self._connections = Connections(clock, _HEADERS)
        self._streams: set[Stream] = set()

    @property
    def trouble(self) -> Refused | None:
        """How this attempt's latest request was refused, the watches' if it has made none; None if it was answered."""
        return self._troubles.now()

    async def request(  # noqa: PLR0913 - each is part of what is asked
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        deadline: float,
        try_timeout: float = _TRY,
        retries: bool = True,
    ) -> Answer:
        """Ask until there is an answer, or until `deadline`, a monotonic time; each try has its own timeout, in s.

        No answer, 429, 502, 503 and 504 are tried again, on a new connection, as late as the server asks for. A 401
        is tried once more after reading the credentials again. Raise Refused for any other refusal at once, at the
        deadline with the last refusal's reason, and where the server asks to wait for longer than that. A request that
        begins before the deadline has a second at least, even beyond it. Without `retries` the first answer stands.
        """
        call = Call.of(self._credentials.server, verb, resource, path, query, body)
        once, deadline = partial(self._try, call), self._extended(deadline)
        answer, tries = await self._repeated(call, once, deadline, try_timeout=try_timeout, retries=retries)
        return replace(answer, tries=tries)

    async def connect(self, path: str, deadline: float, *, host: str = "", port: int = 0) -> Answer:
        """Get a path, each try on a new connection; raise Refused as `request` does.

        The answer's `sent` is when the last try's connection was begun. `host`, an IP address, and `port` replace the
        server's own; its certificate must still have the server's name.
        """
        call = Call.of(self._credentials.server, "get", path.strip("/"), path)
        if host:
            name = self._credentials.server_hostname or call.url.host or ""
            call = replace(call, url=call.url.with_host(host).with_port(port), server_name=name)
        answer, tries = await self._repeated(call, partial(self._try, call, fresh=True), self._extended(deadline))
        return replace(answer, tries=tries)

    async def relay(self, verb: str, resource: str, path: str, relayed: Relayed, deadline: float) -> Answer:
        """Ask something behind the API server, once, and return its own answer, whatever its code; raise Refused.

        Refused is what the API server itself answers, or something else on the way to it.
        """
        call = Call.of(self._credentials.server, verb, resource, path, body=relayed.body).through(relayed)
        once = partial(self._try, call)
        answer, _ = await self._repeated(call, once, deadline, try_timeout=math.inf, retries=False)
        return answer

    @asynccontextmanager
    async def stream(
        self, resource: str, path: str, *, query: Mapping[str, str], connect_timeout: float, retries: bool = False
    ) -> AsyncIterator[Stream]:
        """Open a watch on a connection of its own, and close it in the end.

        It may take `connect_timeout` seconds until the headers of the answer are there, and any time after that.
        Raise Refused if there is no answer or one other than 200, with `retries` only as `request` does; try once
        more in any case if new credentials may help.
        """
        call = Call.of(self._credentials.server, "watch", resource, path, query)
        deadline = self._extended(self.clock.now() + connect_timeout)
        stream, _ = await self._repeated(call, partial(self._open, call), deadline, retries=retries)
        self._streams.add(stream)
        if self._connections.closed:
            stream.close()  # It was being opened when all was closed.
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            stream.close()

    async def close(self) -> None:
        """Close every connection; requests in progress fail, and are not tried again."""
        for stream in self._streams:
            stream.close()
        await self._connections.close()

    async def _repeated(
        self,
        call: Call,
        once: Callable[[Mapping[str, str], float], Awaitable[T | Refusal]],
        deadline: float,
        *,
        try_timeout: float = _TRY,
        retries: bool = True,
    ) -> tuple[T, int]:
        """Try until one is not refused; return what it gave and the number of tries; raise Refused.

        Every way of asking goes through here: the same retries, the same renewal, one record of denied permissions.
        """
        tries = Tries()
        while (remaining := deadline - self.clock.now()) > 0 and not self._connections.closed:
            authorization = await authorized(self._credentials, self.clock, remaining)
            if isinstance(authorization, Refusal):
                outcome: T | Refusal = authorization
            else:
                sent = self.clock.now()
                outcome = await once(authorization, min(try_timeout, deadline - sent))
                self.outage.take(call, outcome, sent, self.clock.now())
            self.denials.take(call.verb, call.resource, call.namespace, outcome)
            if not isinstance(outcome, Refusal):
                self._troubles.take(call, None)
                self.denials.authenticate(outcome)
                return outcome, tries.count + 1
            if outcome.reason is Reason.THROTTLED:
                self.throttled_at = self.clock.now()
            last = tries.add(outcome, cut_short=remaining < try_timeout)
            self._troubles.take(call, None if outcome.authenticated else call.refused(last, tries))
            if await self._renewed(outcome, tries, deadline):
                continue
            if not (retries and outcome.retry) or not await self._waited(outcome, tries.count, deadline):
                break
        last = tries.last or Refusal(Reason.PROBER_STARVED, "its deadline had passed before it could be sent")
        self.denials.authenticate(last)
        raise call.refused(last, tries)

    def _extended(self, deadline: float) -> float:
        """Return the deadline, or a later one if it leaves too little time; one that has passed stays."""
        now = self.clock.now()
        return max(deadline, now + LEAST_TIME) if now < deadline else deadline

    async def _try(
        self, call: Call, authorization: Mapping[str, str], seconds: float, *, fresh: bool = False
    ) -> Answer | Refusal:
        """Ask once, on a `fresh` connection or a kept one, with so many seconds for the answer."""
        stamps, code, route = Stamps(self.clock.now()), "none", self._route(call, authorization)
        queued = self.clock.queued()
        try:
            async with (
                asyncio.timeout(seconds),
                self._connections.lease(fresh=fresh) as session,
                await self._ask(session, call, route, stamps) as response,
            ):
                body = await read_at_most(response, call.most)
                answered = self.clock.now()
                delay = self.clock.delay(answered) + self.clock.queued() - queued
                code = str(response.status)
                done = call.takes(response.status, response.headers, body)
                refusal = None if done else route.judge(response.status, body, response.headers)
                if refusal and refusal.retry:
                    self._connections.distrust(session)
        except _NO_ANSWER as error:
            return route.no_answer(error, sent=stamps.sent is not None)
        finally:
            self._telemetry.request(call.verb, call.resource, code, self.clock.now() - stamps.start)
        sent = stamps.began if fresh else stamps.start
        if refusal:
            return refusal
        end = response.certificate_end if isinstance(response, CertifiedResponse) else None
        return Answer(response.status, body, sent, answered, delay, 1, date_of(response), end, response.headers)

    async def _open(self, call: Call, authorization: Mapping[str, str], seconds: float) -> Stream | Refusal:
        """Ask once for an answer without an end; return it as soon as its headers are there."""
        stamps, code, route = Stamps(self.clock.now()), "none", self._route(call, authorization)
        headers = joined({**_HEADERS, **call.headers}, authorization)  # The way adds those for the proxy.
        try:
            async with asyncio.timeout(seconds):
                opened = await ask(self._way(call), headers, self.clock, partial(stamps.note, self.clock))
                code = str(opened.head.status)
                stream = Stream(opened, str(call))
                if opened.head.status == HTTPStatus.OK:
                    return stream
                with closing(stream):
                    return route.judge(opened.head.status, await stream.read_all(), opened.head.named)
        except Refused as refused:
            return refused.refusal
        except (TimeoutError, OSError) as error:
            return route.no_answer(error, sent=stamps.sent is not None)
        finally:
            self._telemetry.request(call.verb, call.resource, code, self.clock.now() - stamps.began)

    def _way(self, call: Call) -> Way:
        credentials = self._credentials
        name = call.server_name or credentials.server_hostname or call.url.host or ""
        return Way(call.url, credentials.tls, name, credentials.proxy)

    def _route(self, call: Call, authorization: Mapping[str, str]) -> Route:
        return Route(call.url, self._credentials.proxy, authorization)

    async def _ask(
        self, session: aiohttp.ClientSession, call: Call, route: Route, stamps: Stamps
    ) -> aiohttp.ClientResponse:
        return await session.request(
            call.method,
            call.url,
            data=call.body,
            headers=joined(call.headers, route.headers),
            ssl=self._credentials.tls or (system_tls() if route.proxy and route.proxy.url.scheme == "https" else True),
            server_hostname=call.server_name or self._credentials.server_hostname,
            proxy=route.proxy.url if route.proxy else None,
            proxy_headers=route.connect_headers,
            allow_redirects=False,
            trace_request_ctx=stamps,
        )

    async def _renewed(self, refusal: Refusal, tries: Tries, deadline: float) -> bool:
        """Read the credentials again, once a request, where that may help; tell whether to ask again at once."""
        if not refusal.renew or tries.renewed:
            return False
        tries.renewed = True
        try:
            async with asyncio.timeout(deadline - self.clock.now()):
                await self._credentials.renew()
        except (CredentialsError, TimeoutError) as error:
            tries.last = refusal if refusal.retry else no_credentials(error)
            return False
        return True

    async def _waited(self, refusal: Refusal, tries: int, deadline: float) -> bool:
        """Wait until it is time for another try; tell whether there is any before the deadline."""
        remaining = deadline - self.clock.now()
        if refusal.retry_after is not None:
            pause = refusal.retry_after
        else:
            backoff = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries - 1, 10)) * self._random.uniform(0.5, 1)
            # The last try comes late enough to see the cluster recovered, and early enough to be answered.
            pause = max(min(backoff, remaining / 2), _FIRST_PAUSE / 2)
        if pause >= remaining:
            return False
        await asyncio.sleep(pause)
        return True
