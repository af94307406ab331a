"""What each path of the web server answers."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from khealth_exporter.event import Denied
from khealth_exporter.snapshot import About, Snapshot, State
from khealth_exporter.web.guard import same_origin
from khealth_exporter.web.page import favicon, status_page
from khealth_exporter.web.runbook import CONTENT_SECURITY_POLICY as POLICY_OF_THE_RUNBOOK
from khealth_exporter.web.runbook import runbook_page
from khealth_exporter.web.status import as_json, as_line, module_as_json, state_of

_Text = TypeVar("_Text", str, bytes)

_FASTEST = 1
"""gzip's level: a scrape is compressed for each interval anew, and levels above save little of its repetitive text."""
_RENDERINGS = 2
"""So many at once: each holds the interpreter, and with it the event loop whose delay would make figures degraded."""


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
        """Read the configuration anew; return what is wrong with it, line by line, or () once it is in force."""

    def denied(self) -> tuple[Denied, ...]:
        """Return the rights that khealth turned out to lack."""


class Pages:
    """Answers requests from `sources`; renders in threads, for the event loop times the cluster."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._rendering = asyncio.Semaphore(_RENDERINGS)
        self._reloading = asyncio.Lock()
        self._runbook = runbook_page()

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
        known = self._sources.snapshots(), self._sources.denied(), self._sources.about()
        headers = {"Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Encoding"}
        return await self._packed(request, lambda: status_page(*known).encode(), headers)

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

        def render() -> bytes:
            return encode(registry.restricted_registry(names) if names else registry)

        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return await self._packed(request, render, headers)

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
        headers = {"Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Encoding"}
        headers["Content-Security-Policy"] = POLICY_OF_THE_RUNBOOK
        return await self._packed(request, self._runbook.encode, headers)

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
        """Read the configuration anew, one request at a time; 500 with all that is wrong if it is refused."""
        if not same_origin(request):
            return web.Response(text="a page of another site cannot reload khealth\n", status=403)
        async with self._reloading:
            wrong = await self._sources.reload()
        if wrong:
            return web.Response(text="".join(f"{line}\n" for line in wrong), status=500)
        return web.Response(text="reloaded\n")

    async def _packed(
        self, request: web.Request, render: Callable[[], bytes], headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer with what is rendered, compressed for who takes that."""
        if not gzip_accepted(",".join(request.headers.getall("Accept-Encoding", ()))):
            return web.Response(body=await self._rendered(render), headers=headers)
        body = await self._rendered(lambda: gzip.compress(render(), _FASTEST))
        return web.Response(body=body, headers=headers | {"Content-Encoding": "gzip"})

    async def _rendered(self, render: Callable[..., _Text], *arguments: object) -> _Text:
        async with self._rendering:
            return await asyncio.to_thread(render, *arguments)
