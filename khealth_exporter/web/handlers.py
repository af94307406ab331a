"""What each path of the web server answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from khealth_exporter.core.snapshot import About, Snapshot, State
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.web.page import favicon, status_page
from khealth_exporter.web.rendering import Packed, Shared, compressed
from khealth_exporter.web.runbook import CONTENT_SECURITY_POLICY as POLICY_OF_THE_RUNBOOK
from khealth_exporter.web.runbook import runbook_page
from khealth_exporter.web.security.access_control import same_origin
from khealth_exporter.web.status import as_json, as_line, module_as_json, state_of

_HTML = "text/html; charset=utf-8"
_FRESH = 2.0
"""Seconds; a page that is asked for within them after another one is that one."""


class Sources(Protocol):
    """Where the web server takes what it shows; every method but `reload` returns at once."""

    registry: CollectorRegistry

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return what each Collector knows now."""

    def about(self) -> About:
        """Return who looks at which cluster, and what time it is."""

    def configuration(self) -> str:
        """Return the configuration in force as YAML, secrets masked."""

    def silent(self) -> tuple[str, ...]:
        """Return the names of the loops that have made no progress for five minutes."""

    def ready(self) -> bool:
        """Return whether the configuration is loaded and the metrics stand."""

    async def reload(self) -> tuple[str, ...]:
        """Read the configuration again; return what is wrong with it, line by line, or () once it is in force."""

    def denied(self) -> tuple[Denied, ...]:
        """Return the rights that khealth turned out to lack."""


class Pages:
    """Answers requests from `sources`; renders in threads, for the event loop times the cluster.

    What renders holds the interpreter, and with it the event loop, whose delay makes figures degraded: so one scrape at
    a time, and one page. A scrape never waits for a page. `clock` returns seconds that only grow.
    """

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._scraping, self._looking, self._reloading = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._page = Shared(self._known, self._looking, clock, _FRESH)
        self._runbook = Packed.of(runbook_page().encode())

    def routes(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """Return who answers which path; none of these changes anything."""
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
        """Answer with the status page; its code is 200 whatever the state: a browser is to show it."""
        return _chosen(request, await self._page.latest(), {"Content-Type": _HTML})

    async def favicon(self, request: web.Request) -> web.StreamResponse:
        """Answer with the picture of a state."""
        if request.match_info["state"] not in set(State):
            return web.Response(text=f"no such state; there are: {', '.join(State)}\n", status=404)
        return web.Response(text=favicon(State(request.match_info["state"])), content_type="image/svg+xml")

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Answer a scrape in the format and compression that it asks for, cut to the names that it asks for."""
        encode, content_type = choose_encoder(",".join(request.headers.getall("Accept", ())))
        names = request.query.getall("name[]", ())
        registry = self._sources.registry

        packs = _takes_gzip(request)

        def render() -> bytes:
            text = encode(registry.restricted_registry(names) if names else registry)
            return compressed(text) if packs else text

        async with self._scraping:
            body = await asyncio.to_thread(render)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return web.Response(body=body, headers=headers | ({"Content-Encoding": "gzip"} if packs else {}))

    async def status(self, _: web.Request) -> web.StreamResponse:
        """Answer with every module's state; the code is the worst one's."""
        snapshots = self._sources.snapshots()
        text = await self._rendered(as_json, snapshots, self._sources.denied())
        return web.Response(text=text, content_type="application/json", status=state_of(snapshots).http_code)

    async def module(self, request: web.Request) -> web.StreamResponse:
        """Answer with one module's state."""
        snapshots = {snapshot.module: snapshot for snapshot in self._sources.snapshots()}
        found = snapshots.get(request.match_info["module"])
        if found is None:
            return web.Response(text=f"no such module; there are: {', '.join(snapshots)}\n", status=404)
        text = await self._rendered(module_as_json, found)
        return web.Response(text=text, content_type="application/json", status=found.state.http_code)

    async def health(self, _: web.Request) -> web.StreamResponse:
        """Answer with every module's state in one line."""
        snapshots = self._sources.snapshots()
        return web.Response(text=as_line(snapshots) + "\n", status=state_of(snapshots).http_code)

    async def config(self, _: web.Request) -> web.StreamResponse:
        """Answer with the configuration in force."""
        return web.Response(text=self._sources.configuration())

    async def runbook(self, request: web.Request) -> web.StreamResponse:
        """Answer with what each alert and each reason means, and what to do."""
        headers = {"Content-Type": _HTML, "Content-Security-Policy": POLICY_OF_THE_RUNBOOK}
        return _chosen(request, self._runbook, headers)

    async def healthy(self, _: web.Request) -> web.StreamResponse:
        """Answer whether every loop makes progress."""
        if silent := self._sources.silent():
            return web.Response(text=f"no progress for 5 minutes: {', '.join(silent)}\n", status=503)
        return web.Response(text="healthy\n")

    async def ready(self, _: web.Request) -> web.StreamResponse:
        """Answer whether khealth can be scraped."""
        ready = self._sources.ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def reload(self, request: web.Request) -> web.StreamResponse:
        """Read the configuration again, one request at a time; 500 with every error if it is refused."""
        if not same_origin(request):
            return web.Response(text="a page of another site cannot reload khealth\n", status=403)
        async with self._reloading:
            wrong = await self._sources.reload()
        if wrong:
            return web.Response(text="".join(f"{line}\n" for line in wrong), status=500)
        return web.Response(text="reloaded\n")

    def _known(self) -> Callable[[], bytes]:
        """Return what renders the status page of this moment."""
        known = self._sources.snapshots(), self._sources.denied(), self._sources.about()
        return lambda: status_page(*known).encode()

    async def _rendered(self, render: Callable[..., str], *arguments: object) -> str:
        async with self._looking:
            return await asyncio.to_thread(render, *arguments)


def _takes_gzip(request: web.Request) -> bool:
    return gzip_accepted(",".join(request.headers.getall("Accept-Encoding", ())))


def _chosen(request: web.Request, body: Packed, headers: dict[str, str]) -> web.Response:
    """Answer with the body in the encoding that the client takes."""
    headers = headers | {"Vary": "Accept-Encoding"}
    if not _takes_gzip(request):
        return web.Response(body=body.plain, headers=headers)
    return web.Response(body=body.gzip, headers=headers | {"Content-Encoding": "gzip"})
