"""The control port: begin and end faults, add nodes and read logs over HTTP, even if the API server is down."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.faults import FAULTS
from khealth_exporter.simulator.request_log import RequestRecord
from khealth_exporter.simulator.truth import PodTruth


class Controlled(Protocol):
    """The simulated cluster, as the control port sees it."""

    @property
    def faults(self) -> tuple[str, ...]:
        """The active faults."""

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests of clients, oldest first."""

    @property
    def truth(self) -> Mapping[str, PodTruth]:
        """What really happened to each pod, by uid."""

    def begin(self, fault: str) -> None:
        """Begin a fault. Raises `ValueError`."""

    def end(self, fault: str) -> None:
        """End a fault. Raises `ValueError`."""

    def add_node(self, name: str) -> Document:
        """Add a node. Raises `ApiError` (409, 422)."""

    def forget_requests(self) -> None:
        """Empty the request log."""


def application(cluster: Controlled) -> web.Application:
    """Return the control port's application."""
    control = _Control(cluster)
    app = web.Application()
    app.add_routes(
        [
            web.get("/faults", control.faults),
            web.post("/faults/{name}", control.begin),
            web.delete("/faults/{name}", control.end),
            web.post("/nodes/{name}", control.add_node),
            web.get("/requests", control.requests),
            web.delete("/requests", control.forget_requests),
            web.get("/truth", control.truth),
        ]
    )
    return app


class _Control:
    def __init__(self, cluster: Controlled) -> None:
        self._cluster = cluster

    def _active(self) -> web.Response:
        return web.json_response({"active": list(self._cluster.faults), "known": dict(FAULTS)})

    async def faults(self, _request: web.Request) -> web.Response:
        return self._active()

    async def begin(self, request: web.Request) -> web.Response:
        try:
            self._cluster.begin(request.match_info["name"])
        except ValueError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return self._active()

    async def end(self, request: web.Request) -> web.Response:
        try:
            self._cluster.end(request.match_info["name"])
        except ValueError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return self._active()

    async def add_node(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self._cluster.add_node(request.match_info["name"]), status=201)
        except ApiError as error:
            return web.json_response(error.status(), status=error.code)

    async def requests(self, _request: web.Request) -> web.Response:
        return web.json_response([dataclasses.asdict(record) for record in self._cluster.requests])

    async def forget_requests(self, _request: web.Request) -> web.Response:
        self._cluster.forget_requests()
        return web.json_response([])

    async def truth(self, _request: web.Request) -> web.Response:
        truths = self._cluster.truth.items()
        return web.json_response({uid: dataclasses.asdict(truth) for uid, truth in truths})
