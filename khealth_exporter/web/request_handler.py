"""Answers requests that the application never sees, such as malformed ones, and repeats nothing of them."""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

_log = structlog.get_logger()


class ReticentRequestHandler(RequestHandler):
    """Parses one connection's requests, with fixed texts for its errors, which may hold a password of the client.

    `headers` returns the headers of every response. No answer has the versions of aiohttp and Python.
    """

    __slots__ = ("_headers",)

    def __init__(
        self,
        server: web.Server,
        headers: Callable[[], Mapping[str, str]],
        **limits: Any,  # noqa: ANN401 - aiohttp's own, of several types
    ) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._headers = headers

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it contains what the client sent
    ) -> web.StreamResponse:
        """Return the response to a request that failed before or outside of the application."""
        error = type(exc).__name__
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            # Without the message: it may contain what the client sent.
            frames = "".join(traceback.format_tb(exc.__traceback__)) if exc else ""
            _log.error("internal error", error=error, traceback=frames)
        else:
            _log.debug("request rejected", error=error, code=status)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response has been sent")
        response = _rejection(status)
        response.headers.update(self._headers())
        response.headers["Server"] = "khealth"  # Without this header, aiohttp adds its own.
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; one that aiohttp made, as to an unknown Expect header, without its text."""
        if isinstance(resp, web.HTTPException):
            resp = _rejection(resp.status)
        return await super().finish_response(request, resp, start_time)


def _rejection(status: int) -> web.Response:
    response = web.Response(text=f"{HTTPStatus(status).phrase.lower()}\n", status=status)
    response.force_close()
    return response
