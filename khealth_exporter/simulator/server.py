"""The API server: answers HTTP requests, and applies the faults."""

import asyncio
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import web

from khealth_exporter.simulator import discovery, errors
from khealth_exporter.simulator.access import Access
from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.documents import encode
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.pod_requests import LOG, PROXY, PodRequests
from khealth_exporter.simulator.request_info import REVIEWS, RequestInfo, parse
from khealth_exporter.simulator.request_log import RequestLog, RequestRecord
from khealth_exporter.simulator.settings import Delay
from khealth_exporter.simulator.verbs import Verbs
from khealth_exporter.simulator.watching import WatchStream
from khealth_exporter.simulator.world import World

_SLOW: Final = 1.0
_REFUSALS: Final[dict[str, Callable[[], ApiError]]] = {
    "api-429": errors.too_many_requests,
    "api-500": lambda: errors.internal_error("simulated failure"),
    "api-503": errors.service_unavailable,
}


@dataclass(slots=True, eq=False)
class OpenWatch:
    """A watch that a client has open."""

    stream: WatchStream
    request: web.BaseRequest

    def cut(self) -> None:
        """Break the connection without ending the watch."""
        if self.request.transport is not None:
            self.request.transport.abort()


@dataclass(slots=True)
class ApiServer:
    """Answers requests; `handle` is aiohttp's handler."""

    world: World
    access: Access
    verbs: Verbs
    pods: PodRequests
    log: RequestLog
    random: random.Random
    watches: set[OpenWatch] = field(default_factory=set)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a write completes even if its client disconnects."""
        arrived = asyncio.get_running_loop().time()
        body = await request.read()
        if request.method in {"GET", "HEAD"}:
            return await self._serve(request, body, arrived)
        return await asyncio.shield(self.world.tasks.create_task(self._serve(request, body, arrived)))

    async def _serve(self, request: web.BaseRequest, body: bytes, arrived: float) -> web.StreamResponse:
        info: RequestInfo | None = None
        try:
            await self.world.faults.clear("api-paused")
            info = parse(request.method, request.path, request.query)
            user = self.access.user(request.headers, secure=request.secure)
            self._refuse()
            if info is None:
                answer = self._outside(request, user, body)
            else:
                self.access.check(user, info)
                if info.verb == "watch":
                    return await self._watch(request, info, arrived)
                answer = await self._answer(info, request, body)
        except ApiError as error:
            answer = _refused(error)
        return await self._respond(request, info, arrived, answer)

    def _refuse(self) -> None:
        for name, refusal in _REFUSALS.items():
            if self.world.faults.active(name):
                raise refusal()

    def _outside(self, request: web.BaseRequest, user: str, body: bytes) -> Answer:
        if request.method == "POST" and request.path.startswith(REVIEWS):
            return self.access.review(user, request.path, body)
        self.access.check_path(user, request.method, request.path)
        return discovery.answer(request.path, healthy=not self.world.faults.active("etcd-stalled"))

    async def _answer(self, info: RequestInfo, request: web.BaseRequest, body: bytes) -> Answer:
        delays = self.world.settings.delays
        await self._take(delays.write if info.is_write else delays.read)
        await self._storage(info)
        if info.subresource in {PROXY, LOG}:
            return await self.pods.answer(info, request, body)
        if not info.is_write:
            return await self.verbs.read(info)
        if self.world.faults.active("api-down"):
            raise errors.service_unavailable()
        try:
            answer = self.verbs.write(info, body, request.content_type)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise errors.bad_request(f"{info.resource.kind} in version v1 cannot be handled: {error}") from error
        await self._take(delays.answer)
        return answer

    async def _take(self, delay: Delay) -> None:
        await asyncio.sleep(self.world.scaled(delay.draw(self.random)))

    async def _storage(self, info: RequestInfo) -> None:
        """Wait for etcd if the request needs it. Raises `ApiError` (500)."""
        if not self.world.faults.active("etcd-stalled"):
            return
        if info.verb == "list" and info.query.get("resourceVersion") == "0":
            return
        try:
            async with asyncio.timeout(self.world.settings.storage_timeout):
                await self.world.faults.clear("etcd-stalled")
        except TimeoutError:
            raise errors.storage_error() from None

    async def _respond(
        self, request: web.BaseRequest, info: RequestInfo | None, arrived: float, answer: Answer
    ) -> web.StreamResponse:
        if self.world.faults.active("api-slow"):
            await asyncio.sleep(_SLOW)
        await self.world.faults.clear("api-paused")
        self._log(request, info, arrived, answer.code)
        return web.Response(
            status=answer.code,
            body=answer.body,
            headers={**self._headers(), **answer.headers, "Content-Type": answer.kind},
        )

    async def _watch(self, request: web.BaseRequest, info: RequestInfo, arrived: float) -> web.StreamResponse:
        stream = self.verbs.watch(info)
        stream.dead = self.world.faults.active("watch-silent")
        response = web.StreamResponse(headers={**self._headers(), "Content-Type": "application/json"})
        response.enable_chunked_encoding()
        self._log(request, info, arrived, HTTPStatus.OK)
        await response.prepare(request)
        watch = OpenWatch(stream, request)
        self.watches.add(watch)
        try:
            async for line in stream.lines():
                await response.write(line)
            await response.write_eof()
        except ConnectionResetError:
            pass
        finally:
            self.watches.discard(watch)
        return response

    def _headers(self) -> dict[str, str]:
        return {
            "Audit-Id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
            "Cache-Control": "no-cache, private",
            "Date": formatdate(self.world.registry.now(), usegmt=True),
        }

    def _log(self, request: web.BaseRequest, info: RequestInfo | None, arrived: float, code: int) -> None:
        if info is None:
            return
        agent = request.headers.get("User-Agent", "")
        record = RequestRecord(
            arrived, info.verb, info.resource.plural, info.subresource, info.namespace, info.name, agent, int(code)
        )
        self.log.add(record)


def _refused(error: ApiError) -> Answer:
    if error.plain:
        return Answer(error.code, f"{error.message}\n".encode(), "text/plain; charset=utf-8", dict(error.headers()))
    return Answer(error.code, encode(error.status()), headers=dict(error.headers()))
