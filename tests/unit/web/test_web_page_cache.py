"""The page cache: many clients cost no more than one, and do not delay scrapes."""

import asyncio
import gzip
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from serving import FAILING, PATIENCE, Known

from khealth_exporter.web import handlers as pages
from khealth_exporter.web.connection_limit import ConnectionLimiter
from khealth_exporter.web.page_cache import EncodedBody, PageCache
from khealth_exporter.web.security.access_control import AccessControl
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import PasswordVerifier
from khealth_exporter.web.server import application

Client = TestClient[Request, Application]


class Scene:
    """A cache of a rendered number, its clock, and a record of the events."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.now, self.shown = 100.0, 0
        self.happened: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.cache = PageCache(self.take, asyncio.Lock(), clock or (lambda: self.now), 2.0)

    def take(self) -> Callable[[], bytes]:
        taken = self.shown
        self.happened.append("taken")

        def render() -> bytes:
            self.open.wait(PATIENCE)
            self.happened.append("rendered")
            return b"%d" % taken

        return render

    async def look(self, seconds: float = 0.0) -> bytes:
        """Return the page after some seconds."""
        self.now += seconds
        return (await self.cache.get()).plain


async def test_concurrent_requests_share_one_rendering() -> None:
    """The second request waits for the first one's rendering."""
    scene = Scene()
    assert [b"0", b"0"] == list(await asyncio.gather(scene.look(), scene.look()))
    assert ["taken", "rendered"] == scene.happened


async def test_a_request_within_two_seconds_gets_the_cached_page() -> None:
    """The cost does not depend on the number of open tabs."""
    scene = Scene()
    first = await scene.look()
    scene.shown = 1
    assert (first, ["taken", "rendered"]) == (await scene.look(1.99), scene.happened)


async def test_a_change_is_shown_after_two_seconds() -> None:
    """The page is never older."""
    scene = Scene()
    await scene.look()
    scene.shown = 1
    assert b"1" == await scene.look(2.0)


async def test_renderings_do_not_overlap() -> None:
    """Concurrent renderings would block the event loop longer."""
    scene = Scene(itertools.count(step=10.0).__next__)
    scene.open.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(scene.look())
        await asyncio.sleep(0)  # both have asked, and got as far as they can
        scene.open.set()
    assert ["taken", "rendered"] * 2 == scene.happened


async def test_a_failed_rendering_is_not_cached() -> None:
    """The next request renders again."""
    results = iter([b"", b"whole"])

    def render() -> bytes:
        return next(results) or bytes(-1)

    cache = PageCache(lambda: render, asyncio.Lock(), lambda: 0.0, 2.0)
    with pytest.raises(ValueError, match="negative count"):
        await cache.get()
    assert b"whole" == (await cache.get()).plain


async def test_both_encodings_are_of_one_rendering() -> None:
    """With the same content."""
    scene = Scene()
    packed = await scene.cache.get()
    assert (b"0", b"0", 1) == (packed.plain, gzip.decompress(packed.gzip), scene.happened.count("rendered"))


def test_the_compressed_body_is_complete() -> None:
    """It equals the plain body."""
    assert b"page" * 9 == gzip.decompress(EncodedBody.of(b"page" * 9).gzip)


@asynccontextmanager
async def asked(known: Known, clock: Callable[[], float]) -> AsyncIterator[Client]:
    """Yield a client of the application, with a clock for its cache."""
    app = application(known, AccessControl(ActiveWebConfig(), PasswordVerifier()), ConnectionLimiter(9), clock)
    async with asyncio.timeout(PATIENCE), TestClient(TestServer(app)) as client:
        yield client


async def shows_failing(client: Client, encoding: str = "identity") -> bool:
    """Return whether the status page shows a failure."""
    answer = await client.get("/", headers={"Accept-Encoding": encoding})
    return "✗ failing" in await answer.text()


async def test_the_status_page_is_cached_for_two_seconds() -> None:
    """In both encodings."""
    known, now = Known(), [0.0]
    seen = []
    async with asked(known, lambda: now[0]) as client:
        for seconds in (0.0, 1.9, 2.0):
            now[0] = seconds
            seen += [await shows_failing(client), await shows_failing(client, "gzip")]
            known.statuses = (FAILING,)
    assert [False, False, False, False, True, True] == seen


async def test_no_scrape_waits_for_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if many pages are requested, and each takes long."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        begun.set()
        return str(go_on.wait(PATIENCE))

    monkeypatch.setattr(pages, "status_page", slow)
    async with asked(Known(), itertools.count(step=10.0).__next__) as client, asyncio.TaskGroup() as group:
        looking = [group.create_task(client.get("/")) for _ in range(3)]
        await asyncio.to_thread(begun.wait, PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE / 2):
                scraped = (await client.get("/metrics")).status
        finally:
            go_on.set()
    assert ([200, 200, 200], 200) == ([task.result().status for task in looking], scraped)
