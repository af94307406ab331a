"""The handlers of the web server's paths."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.registry import Collector

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import About, Snapshot, State
from khealth_exporter.core.supervisor import NotBegun, UnknownRoutine
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.web.accept import gzip_accepted, preferred
from khealth_exporter.web.page import favicon, status_page
from khealth_exporter.web.page_cache import EncodedBody, PageCache, gzipped
from khealth_exporter.web.runbook import CONTENT_SECURITY_POLICY as RUNBOOK_POLICY
from khealth_exporter.web.runbook import runbook_page
from khealth_exporter.web.security.access_control import same_origin
from khealth_exporter.web.status import as_json, as_line, module_as_json, state_of

_HTML = "text/html; charset=utf-8"
_MAX_AGE = 2.0
"""Seconds for which requests share one rendered status page."""


_OPENMETRICS = "application/openmetrics-text"
_PLAIN = frozenset({"text/plain", "text/*", "*/*"})
_Encode = Callable[[Collector], bytes]


class Backend(Protocol):
    """What the web server shows, reloads and begins; no method except `reload` blocks or waits."""

    registry: CollectorRegistry

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the current snapshot of each module."""

    def off(self) -> tuple[Off, ...]:
        """Return the routines that do not run, and why."""

    def about(self) -> About:
        """Return the versions, the cluster, and the current time."""

    def configuration(self) -> str:
        """Return the active configuration as YAML, with secrets masked."""

    def silent(self) -> tuple[str, ...]:
        """Return the names of the loops without progress for five minutes."""

    def ready(self) -> bool:
        """Return whether the configuration is loaded and the metrics are available."""

    async def reload(self) -> tuple[str, ...]:
        """Reload the configuration; return its errors, one per line, or () if it is now active."""

    def begin(self, module: str, routine: str) -> int:
        """Begin an attempt of a routine at once, and return its number; raise NotBegun."""

    def denied(self) -> tuple[Denied, ...]:
        """Return the missing permissions that the API server has reported."""


class Handlers:
    """Answers requests with the data of `backend`; renders in threads, because the event loop times the cluster.

    Rendering holds the interpreter lock, which delays the event loop and makes measurements degraded. So at most one
    scrape and one page render at a time, and no scrape waits for a page. `clock` is a monotonic clock in seconds.
    """

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._scrape_lock, self._page_lock, self._reload_lock = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._status_page = PageCache(self._page_renderer, self._page_lock, clock, _MAX_AGE)
        self._runbook = PageCache(lambda: lambda: runbook_page().encode(), self._page_lock, clock, math.inf)

    def routes(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """Return the handler of each GET path; none of them changes anything."""
        return {
            "/": self.page,
            "/favicon/{state}.svg": self.favicon,
            "/metrics": self.metrics,
            "/status": self.status,
            "/status/{module}": self.module,
            "/health": self.health,
            "/config": self.config,
            "/runbook": self.runbook,
            "/-/healthy": self.healthy,
            "/-/ready": self.ready,
        }

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Return the status page; always with code 200, so that browsers show it."""
        return _encoded_response(request, await self._status_page.get(), {"Content-Type": _HTML})

    async def favicon(self, request: web.Request) -> web.StreamResponse:
        """Return the icon of a state."""
        if request.match_info["state"] not in set(State):
            return web.Response(text=f"unknown state; known states: {', '.join(State)}\n", status=404)
        return web.Response(text=favicon(State(request.match_info["state"])), content_type="image/svg+xml")

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Return the metrics in the requested format and encoding, limited to the requested names."""
        encode, content_type = _encoder(",".join(request.headers.getall("Accept", ())))
        names = request.query.getall("name[]", ())
        registry = self._backend.registry
        compress = _accepts_gzip(request)

        def render() -> bytes:
            text = encode(registry.restricted_registry(names) if names else registry)
            return gzipped(text) if compress else text

        async with self._scrape_lock:
            body = await asyncio.to_thread(render)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return web.Response(body=body, headers=headers | ({"Content-Encoding": "gzip"} if compress else {}))

    async def status(self, _: web.Request) -> web.StreamResponse:
        """Return the state of every module as JSON; the worst state determines the code."""
        snapshots = self._backend.snapshots()
        text = await self._rendered(as_json, snapshots, self._backend.denied())
        return web.Response(text=text, content_type="application/json", status=state_of(snapshots).http_code)

    async def module(self, request: web.Request) -> web.StreamResponse:
        """Return the state of one module as JSON."""
        snapshots = {snapshot.module: snapshot for snapshot in self._backend.snapshots()}
        found = snapshots.get(request.match_info["module"])
        if found is None:
            return web.Response(text=f"unknown module; known modules: {', '.join(snapshots)}\n", status=404)
        text = await self._rendered(module_as_json, found)
        return web.Response(text=text, content_type="application/json", status=found.state.http_code)

    async def health(self, _: web.Request) -> web.StreamResponse:
        """Return the state of every module as one line of text."""
        snapshots = self._backend.snapshots()
        return web.Response(text=as_line(snapshots) + "\n", status=state_of(snapshots).http_code)

    async def config(self, _: web.Request) -> web.StreamResponse:
        """Return the active configuration."""
        return web.Response(text=self._backend.configuration())

    async def runbook(self, request: web.Request) -> web.StreamResponse:
        """Return the runbook: the meaning of each alert and reason, and what to do."""
        headers = {"Content-Type": _HTML, "Content-Security-Policy": RUNBOOK_POLICY}
        return _encoded_response(request, await self._runbook.get(), headers)

    async def healthy(self, _: web.Request) -> web.StreamResponse:
        """Return 200 if every loop makes progress, 503 otherwise."""
        if stalled := self._backend.silent():
            return web.Response(text=f"no progress for 5 minutes: {', '.join(stalled)}\n", status=503)
        return web.Response(text="healthy\n")

    async def ready(self, _: web.Request) -> web.StreamResponse:
        """Return 200 if khealth is ready to be scraped, 503 otherwise."""
        ready = self._backend.ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def reload(self, request: web.Request) -> web.StreamResponse:
        """Reload the configuration, one request at a time; return 500 with all errors if it is invalid."""
        if not same_origin(request):
            return web.Response(text="cross-site request rejected\n", status=403)
        async with self._reload_lock:
            errors = await self._backend.reload()
        if errors:
            return web.Response(text="".join(f"{line}\n" for line in errors), status=500)
        return web.Response(text="reloaded\n")

    async def run_now(self, request: web.Request) -> web.StreamResponse:
        """Begin an attempt of a routine at once: 202 with its number, 404 for an unknown routine, 409 if it cannot."""
        if not same_origin(request):
            return web.Response(text="cross-site request rejected\n", status=403)
        name = f"{request.match_info['module']}/{request.match_info['routine']}"
        try:
            number = self._backend.begin(request.match_info["module"], request.match_info["routine"])
        except UnknownRoutine as error:
            known = (f"{status.module}/{status.routine}" for s in self._backend.snapshots() for status in s.routines)
            return web.Response(text=f"{error}; known routines: {', '.join(known)}\n", status=404)
        except NotBegun as error:
            return web.Response(text=f"{name}: no attempt begun: {error}\n", status=409)
        return web.Response(text=f"{name}: attempt {number} begun\n", status=202)

    def _page_renderer(self) -> Callable[[], bytes]:
        """Return a function that renders the status page with the current data."""
        data = self._backend.snapshots(), self._backend.denied(), self._backend.about(), self._backend.off()
        return lambda: status_page(*data).encode()

    async def _rendered(self, render: Callable[..., str], *arguments: object) -> str:
        async with self._page_lock:
            return await asyncio.to_thread(render, *arguments)


def _encoder(accept: str) -> tuple[_Encode, str]:
    """Return the function that encodes the metrics as a client accepts them, and its content type.

    khealth's names need no escaping. For OpenMetrics, prometheus_client looks at each character of each sample's name
    nevertheless, in a third of a scrape's time, unless UTF-8 is allowed. The text is the same.
    """
    encode, content_type = _chosen(accept)
    if not content_type.startswith(_OPENMETRICS) or not isinstance(encode, partial):
        return encode, content_type
    if encode.keywords.get("escaping") != UNDERSCORES:
        return encode, content_type
    return partial(encode.func, **{**encode.keywords, "escaping": ALLOWUTF8}), content_type


def _chosen(accept: str) -> tuple[_Encode, str]:
    """Return the encoder of the media type with the highest weight; that of the plain text if there is none.

    prometheus_client does not read weights, and fails on a version that is no number.
    """
    plain = choose_encoder("")
    for media_types in preferred(accept):
        for media in media_types:
            try:
                encode, content_type = choose_encoder(media)
            except (TypeError, ValueError):
                continue
            if content_type != plain[1]:
                return encode, content_type
        if any(media.partition(";")[0].strip() in _PLAIN for media in media_types):
            return plain
    return plain


def _accepts_gzip(request: web.Request) -> bool:
    return gzip_accepted(",".join(request.headers.getall("Accept-Encoding", ())))


def _encoded_response(request: web.Request, body: EncodedBody, headers: dict[str, str]) -> web.Response:
    """Return the body in an encoding that the client accepts."""
    headers = headers | {"Vary": "Accept-Encoding"}
    if not _accepts_gzip(request):
        return web.Response(body=body.plain, headers=headers)
    return web.Response(body=body.gzip, headers=headers | {"Content-Encoding": "gzip"})
