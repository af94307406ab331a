"""Requests that go on to a pod: the subresources `proxy` and `log`."""

import asyncio
import os
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.documents import Document, name_of, spec_of, status_of, uid_of
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.network.fabric import Fabric
from khealth_exporter.simulator.network.pod_side import LOST, real_port
from khealth_exporter.simulator.request_info import RequestInfo
from khealth_exporter.simulator.resources import PODS
from khealth_exporter.simulator.world import World

PROXY: Final = "proxy"
LOG: Final = "log"
_DIAL: Final = 30.0
"""Seconds in which the API server must be connected to the pod."""
_LONGEST: Final = 300.0
"""Seconds, and bytes, of an answer at most; the real API server has no such limits."""
_MOST: Final = 1 << 20
_NOT_FORWARDED: Final = frozenset(
    {"authorization", "connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class PodRequests:
    """Asks pods on behalf of clients."""

    world: World
    fabric: Fabric

    async def answer(self, info: RequestInfo, request: web.BaseRequest, body: bytes) -> Answer:
        """Answer a request for one of the two subresources. Raises `ApiError`."""
        return self._log(info) if info.subresource == LOG else await self._proxy(info, request, body)

    async def _proxy(self, info: RequestInfo, request: web.BaseRequest, body: bytes) -> Answer:
        name, port = _target(info.name)
        pod = self.world.registry.get(PODS, info.namespace, name)
        if not info.rest:
            location = {"Location": f"{request.path}/"}
            return Answer(HTTPStatus.MOVED_PERMANENTLY, b"", "text/plain; charset=utf-8", location)
        ports = [found["containerPort"] for one in spec_of(pod)["containers"] for found in one.get("ports") or []]
        place = (str(status_of(pod).get("podIP") or ""), port or (ports or [80])[0])
        if self.fabric.way("", place[0]) & LOST:
            await asyncio.sleep(_DIAL)
            raise _unreachable(place, "i/o timeout")
        query = f"?{request.query_string}" if request.query_string else ""
        url = f"http://{place[0]}:{real_port(place[1])}{info.rest}{query}"
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_FORWARDED}
        try:
            return await _ask(request.method, url, headers, body)
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(place, f"connect: {os.strerror(error.os_error.errno or 0).lower()}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _failed(f"error trying to reach service: {error or 'EOF'}") from error

    def _log(self, info: RequestInfo) -> Answer:
        pod = self.world.registry.get(PODS, info.namespace, info.name)
        names = [container["name"] for container in spec_of(pod)["containers"]]
        name = info.query.get("container") or names[0]
        if name not in names:
            raise errors.bad_request(f"container {name} is not valid for pod {info.name}")
        if waits := _waiting(pod, name):
            raise errors.bad_request(f'container "{name}" in pod "{name_of(pod)}" is waiting to start: {waits}')
        path = self.world.folder / "pods" / uid_of(pod) / "log"
        return Answer(HTTPStatus.OK, _chosen(_read(path), info), "text/plain")


async def _ask(method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
    timeout = aiohttp.ClientTimeout(total=_LONGEST, sock_connect=_DIAL)
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as found,
    ):
        content = await found.content.read(_MOST)
        while len(content) < _MOST and not found.content.at_eof():
            content += await found.content.read(_MOST - len(content))
        kept = {key: value for key, value in found.headers.items() if key.lower() not in _NOT_FORWARDED}
        kind = kept.pop("Content-Type", "application/octet-stream")
        return Answer(found.status, content, kind, kept)


def _target(text: str) -> tuple[str, int]:
    """Return the pod's name, and the port, 0 if none is given, of `NAME`, `NAME:PORT` or `http:NAME:PORT`."""
    name, _, port = text.removeprefix("http:").partition(":")
    if port and not port.isdigit():
        raise errors.bad_request(f'invalid pod request "{text}"')
    return name, int(port or 0)


def _unreachable(place: tuple[str, int], why: str) -> ApiError:
    return _failed(f"error trying to reach service: dial tcp {place[0]}:{place[1]}: {why}")


def _failed(message: str) -> ApiError:
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message)


def _waiting(pod: Document, name: str) -> str:
    """Return why the container has not started, or an empty string."""
    statuses = {found["name"]: found for found in status_of(pod).get("containerStatuses") or []}
    found = statuses.get(name, {"state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {}})
    return "" if found["lastState"] else str((found["state"].get("waiting") or {}).get("reason", ""))


def _chosen(content: bytes, info: RequestInfo) -> bytes:
    tail, limit = info.query.get("tailLines", ""), info.query.get("limitBytes", "")
    if tail.isdigit():
        lines = content.splitlines(keepends=True)
        content = b"".join(lines[max(0, len(lines) - int(tail)) :])
    return content[: int(limit)] if limit.isdigit() else content


def _read(path: Path) -> bytes:
    return path.read_bytes()[-_MOST:] if path.is_file() else b""
