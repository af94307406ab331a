"""The control port: faults begin and end over HTTP, and the logs can be read, whatever the API server itself does."""

import dataclasses
from typing import TYPE_CHECKING

from aiohttp import web

from khealth_exporter.simulator.faults import FAULTS

if TYPE_CHECKING:
    from khealth_exporter.simulator.simulator import Simulator


def application(simulator: "Simulator") -> web.Application:
    """Return the control port's application."""
    control = _Control(simulator)
    app = web.Application()
    app.add_routes(
        [
            web.get("/faults", control.faults),
            web.post("/faults/{name}", control.begin),
            web.delete("/faults/{name}", control.end),
            web.get("/requests", control.requests),
            web.delete("/requests", control.forget_requests),
            web.get("/truth", control.truth),
        ]
    )
    return app


class _Control:
    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator

    def _active(self) -> web.Response:
        return web.json_response({"active": list(self._simulator.faults), "known": dict(FAULTS)})

    async def faults(self, _request: web.Request) -> web.Response:
        return self._active()

    async def begin(self, request: web.Request) -> web.Response:
        try:
            self._simulator.begin(request.match_info["name"])
        except ValueError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return self._active()

    async def end(self, request: web.Request) -> web.Response:
        try:
            self._simulator.end(request.match_info["name"])
        except ValueError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        return self._active()

    async def requests(self, _request: web.Request) -> web.Response:
        return web.json_response([dataclasses.asdict(record) for record in self._simulator.requests])

    async def forget_requests(self, _request: web.Request) -> web.Response:
        self._simulator.forget_requests()
        return web.json_response([])

    async def truth(self, _request: web.Request) -> web.Response:
        truths = self._simulator.truth.items()
        return web.json_response({uid: dataclasses.asdict(truth) for uid, truth in truths})
