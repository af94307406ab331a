"""Channels: how a question gets to an agent, at its pod's address or through the API server's proxy."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from khealth_exporter.canaries.agents.seal import HEADER
from khealth_exporter.cluster.client.answer import read_at_most
from khealth_exporter.cluster.client.request import Relayed
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused, clean
from khealth_exporter.core.agents import Agent
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

MOST = 262_144
"""Bytes of an answer."""
CONNECTING = 3.0
"""Seconds for a connection to an agent: one lost packet is sent again after one second."""
AT_ONCE = 128
"""Questions that are open at the same time: agents measure at the same time, so a lower bound would make some late."""
_JSON = {"Content-Type": "application/json"}
_UNREACHED = "error trying to reach service"
"""What the API server says when its proxy gets no answer from a pod (kubernetes apimachinery/pkg/util/proxy)."""
_API = frozenset({
    Reason.API_UNREACHABLE, Reason.API_TIMEOUT, Reason.API_ERROR, Reason.FORBIDDEN, Reason.PROXY_ERROR,
    Reason.THROTTLED,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answered, and when the question was sent and the answer was there, in monotonic seconds."""

    status: int
    seal: str
    body: bytes
    sent: float
    answered: float


class NoReply(Exception):  # noqa: N818 - it reads as what happened
    """An agent did not answer; `why` is set where the API server, and not the agent, is what refused."""

    def __init__(self, note: str, why: Refused | None = None) -> None:
        super().__init__(note)
        self.note, self.why = note, why


class Channel(Protocol):
    """A way to the agents."""

    name: str
    """What it is called in notes."""

    async def ask(
        self, agent: Agent, path: str, deadline: float, *, seal: str = "", body: bytes | None = None
    ) -> Reply:
        """Put a question (POST), or GET a path if there is none; raise NoReply, at the deadline at the latest."""

    async def close(self) -> None:
        """Close what it keeps open."""


class PodChannel:
    """Straight to the pod's address, never through a proxy; each question on a connection of its own."""

    name = "at its address"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, agent: Agent, path: str, deadline: float, *, seal: str = "", body: bytes | None = None
    ) -> Reply:
        """Put a question (POST), or GET a path if there is none; raise NoReply, at the deadline at the latest."""
        url = URL.build(scheme="http", host=agent.address, port=agent.port, path=path)
        sent = self._clock.now()
        try:
            async with (
                asyncio.timeout(deadline - sent),
                self._opened().request(
                    "GET" if body is None else "POST", url, data=body, headers=_headers(seal), allow_redirects=False
                ) as response,
            ):
                told = await read_at_most(response, MOST)
                return Reply(response.status, response.headers.get(HEADER, ""), told, sent, self._clock.now())
        except TimeoutError as error:
            words = "no connection in time" if isinstance(error, aiohttp.ServerTimeoutError) else "no answer in time"
            raise NoReply(words) from error
        except (OSError, aiohttp.ClientError) as error:
            raise NoReply(clean(str(error.__cause__ or error) or type(error).__name__)) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECTING),
                trust_env=False,
            )
        return self._session


class ProxyChannel:
    """Through the API server's proxy of pods."""

    name = "through the API server's proxy"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def ask(
        self, agent: Agent, path: str, deadline: float, *, seal: str = "", body: bytes | None = None
    ) -> Reply:
        """Put a question (POST), or GET a path if there is none; raise NoReply, at the deadline at the latest."""
        place = f"/api/v1/namespaces/{self._cluster.identity.namespace}/pods/{agent.name}:{agent.port}/proxy{path}"
        verb = "get" if body is None else "create"
        asked = Relayed(_own, MOST, _headers(seal), body)
        try:
            answer = await self._cluster.client.relay(verb, "pods/proxy", place, asked, deadline)
        except Refused as refused:
            # Where no answer came in time, neither the API server nor the agent is known to be the cause.
            told = refused.refusal
            behind = _UNREACHED in told.note or told.missing or told.late
            why = refused if refused.reason in _API and not behind else None
            raise NoReply(refused.note, why) from refused
        return Reply(answer.code, answer.headers.get(HEADER, ""), answer.body, answer.sent, answer.answered)

    async def close(self) -> None:
        """Leave the client's connections open: they are not its own."""


def _headers(seal: str) -> Mapping[str, str]:
    return _JSON | {HEADER: seal} if seal else {}


def _own(code: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether an agent wrote an answer: it is sealed, or a refusal of an agent's form."""
    if HEADER in headers or code == HTTPStatus.OK:
        return True
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and "error" in told
