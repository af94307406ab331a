"""Receives reports of checks at `/check`, by Kuberhealthy's protocol, from pods that may be anybody.

Rules and their order are those of Kuberhealthy v3: checkReportHandler in cmd/kuberhealthy/webserver.go. As in v2, a
content type may be missing: externalCheckReportHandler in cmd/kuberhealthy/kuberhealthy.go. v2 also recognizes a pod by
its source address; khealth recognizes nobody by it.
"""

import asyncio
import json
from collections.abc import Sequence

from aiohttp import hdrs, web

from khealth_exporter.cluster.errors import clean
from khealth_exporter.core.reports import Expected, Reports
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.http_server import HttpServer, Limits
from khealth_exporter.web.server import plain_text_errors

PATH = "/check"
"""Kuberhealthy's clients insist on it: pkg/checkclient/checkclient.go (v3)."""
MAX_BODY = 64 * 1024
_DRAINED = 16 * MAX_BODY
"""Bytes of a body that is too large which are read, and dropped: a client that still sends does not read the answer."""
_LIMITS = Limits(connections=64, idle=10.0)
_BODY_TIMEOUT = 10.0
"""Seconds that a client has to send the body."""
_ERRORS = 50
"""Errors that are kept of a report."""


class ReportServer:
    """Hands each report to the attempt that awaits it; nothing is kept of any other request."""

    def __init__(self, reports: Reports, *, limits: Limits = _LIMITS, body_timeout: float = _BODY_TIMEOUT) -> None:
        self._reports, self._body_timeout = reports, body_timeout
        connections = limits.limiter
        app = web.Application(middlewares=[connections.track_request, plain_text_errors])
        app.router.add_post(PATH, self._check)
        app.on_response_prepare.append(_without_server)
        self._server = HttpServer(app, connections, limits)

    async def start(self, address: Address) -> Address:
        """Listen, and return the address with its real port; CannotListen if that fails."""
        (bound,) = await self._server.start([address])
        return bound

    async def stop(self) -> None:
        """Stop listening; responses in progress have two seconds to finish."""
        await self._server.stop()

    async def _check(self, request: web.Request) -> web.Response:
        run = request.headers.get("kh-run-uuid", "")
        try:
            _check_type(request)
            self._awaited(run)
            errors = _errors_in(await self._body(request))
            # Once more: the body took its time, and another request with the same identifier may have been faster.
            self._awaited(run).take(errors)
        except _Refused as refused:
            if expected := self._reports.find(run):
                expected.refused = f"HTTP {refused.code}: {refused}"
            response = web.Response(text=f"{refused}\n", status=refused.code)
            if not request.content.is_eof():
                response.force_close()
            return response
        return web.Response()

    def _awaited(self, run: str) -> Expected:
        expected = self._reports.find(run)
        if expected is None:
            problem = "no check that runs has this kh-run-uuid, or it has reported" if run else "no header kh-run-uuid"
            raise _Refused(400, problem)
        if expected.late:
            raise _Refused(410, "the deadline has passed")
        return expected

    async def _body(self, request: web.Request) -> bytes:
        """Return the body; one that is too large or too slow is refused, and never kept."""
        kept, size, most = bytearray(), 0, request.content_length or 0
        try:
            async with asyncio.timeout(self._body_timeout):
                while most <= _DRAINED and (chunk := await request.content.readany()):
                    size += len(chunk)
                    most = max(most, size)
                    if size <= MAX_BODY:
                        kept += chunk
        except (TimeoutError, web.RequestPayloadError, web.HTTPException) as error:
            raise _Refused(400, "the body is incomplete") from error
        if most > MAX_BODY:
            raise _Refused(413, f"the body is larger than {MAX_BODY // 1024} KiB")
        return bytes(kept)


class _Refused(Exception):  # noqa: N818 - internal; clients see its code and its text
    def __init__(self, code: int, problem: str) -> None:
        super().__init__(problem)
        self.code = code


async def _without_server(_: web.Request, response: web.StreamResponse) -> None:
    """Leave out the header that tells the versions of aiohttp and Python."""
    response.headers.pop(hdrs.SERVER, None)


def _check_type(request: web.Request) -> None:
    told = request.headers.get(hdrs.CONTENT_TYPE)
    if told is not None and told.partition(";")[0].strip().lower() != "application/json":
        raise _Refused(415, "Content-Type must be application/json")


def _errors_in(body: bytes) -> Sequence[str]:
    """Return the errors of a report, none if the check succeeded; null counts as absent, as in Go."""
    try:
        ok, errors = _fields(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "the body is no report") from error
    told = [clean(error) or "an error that cannot be printed" for error in errors if error and error.strip()]
    if ok and errors:
        raise _Refused(400, "OK is true, and Errors is not empty")
    if not ok and not told:
        raise _Refused(400, "OK is false, and Errors has no text")
    return told if len(told) <= _ERRORS else [*told[:_ERRORS], f"and {len(told) - _ERRORS} more errors"]


def _fields(body: bytes) -> tuple[bool, Sequence[str | None]]:
    """Return OK and Errors as Go's encoding/json reads them; raise ValueError.

    Keys have any case. Half a character of UTF-16, which Python writes for what is no text, takes nothing away.
    """
    told = json.loads(body.decode(errors="replace"), parse_int=_number, parse_float=_number, parse_constant=_no_number)
    if not isinstance(told, dict):
        raise ValueError("no object")  # noqa: TRY004 - of its kind
    fields = {key.lower(): value for key, value in told.items() if value is not None}
    ok, errors = fields.get("ok", False), fields.get("errors", [])
    if not isinstance(ok, bool) or not isinstance(errors, list):
        raise ValueError("of another type")  # noqa: TRY004
    if not all(error is None or isinstance(error, str) for error in errors):
        raise ValueError("of another type")
    return ok, errors


def _number(_: str) -> int:
    """Return any number: the protocol has none, and one may have more digits than Python takes."""
    return 1


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
