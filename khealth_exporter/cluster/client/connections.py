"""Connections: kept alive between requests, and given up together once one of them has gone dead."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from khealth_exporter.cluster.client.certificate import CertifiedResponse
from khealth_exporter.measure.clock import Clock

KEEP_ALIVE = 30.0
"""Seconds: no request goes out on a connection that was idle for longer: a firewall may have dropped it."""

_LIMIT = 256
"""Connections at once; far above what any routine needs, and below the file descriptors of a small container."""


class LostConnectionError(aiohttp.ClientError):
    """A connection broke before its request was answered."""


@dataclass(slots=True)
class Stamps:
    """When one try began, and when it was written; monotonic, in seconds."""

    began: float
    sent: float | None = None

    @property
    def start(self) -> float:
        """From when on it may be blamed on the API server: since it was sent, if it was."""
        return self.began if self.sent is None else self.sent

    def note(self, clock: Clock) -> None:
        """Take note that it is being written now."""
        self.sent = clock.now()


class Connections:
    """The connections to one API server.

    A request takes a connection that was kept alive, or a new one. After a failure none of the idle ones is used again
    (behind a load balancer that drops packets all of them are dead), while the requests in progress keep theirs.
    """

    def __init__(self, clock: Clock, headers: Mapping[str, str]) -> None:
        self._clock = clock
        self._headers = headers
        self._kept = self._session(aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE, limit=_LIMIT))
        self._single = self._session(aiohttp.TCPConnector(force_close=True, limit=0))
        self._users: Counter[aiohttp.ClientSession] = Counter()
        self.closed = False

    @property
    def single(self) -> aiohttp.ClientSession:
        """What makes a new connection for every request, and uses it for no other: for watches."""
        return self._single

    @asynccontextmanager
    async def lease(self, *, fresh: bool = False) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend what takes an idle connection if there is one, or with `fresh` always a new one.

        After a failure inside, none of the idle connections is used again.
        """
        if fresh:
            yield self._single
            return
        session = self._kept
        self._users[session] += 1
        try:
            yield session
        except BaseException:
            self.distrust(session)
            raise
        finally:
            self._users[session] -= 1
            await self._close_unused()

    def distrust(self, session: aiohttp.ClientSession) -> None:
        """Use none of its idle connections again."""
        if session is self._kept and not self.closed:
            self._kept = self._session(aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE, limit=_LIMIT))

    async def _close_unused(self) -> None:
        for session in [session for session, users in self._users.items() if not users and session is not self._kept]:
            del self._users[session]
            await session.close()

    async def close(self) -> None:
        """Close all of them for good, those in use too."""
        self.closed = True
        for session in {self._kept, self._single, *self._users}:
            await session.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[_stamping(self._clock)],
            middlewares=(_once,),
            response_class=CertifiedResponse,
        )


async def _once(
    request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    """Send a request once; aiohttp itself would repeat some of them after a disconnect, uncounted and unseen."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise LostConnectionError(str(error)) from error


def _stamping(clock: Clock) -> aiohttp.TraceConfig:
    """Return what takes the time just before a request is written: its headers, or both, as they leave together."""

    async def stamp(_session: aiohttp.ClientSession, context: SimpleNamespace, _written: object) -> None:
        context.trace_request_ctx.note(clock)

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(stamp)
    trace.on_request_chunk_sent.append(stamp)
    return trace
