"""A browser, and a web server in a thread of its own for it to look at."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright
from serving import HOST, Known
from tools import needs

from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.server import WebServer

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-lcd-text",
)  # fmt: skip

PATIENCE = 60.0
"""Seconds for a page to become what is expected of it."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser; skip the test where there is none."""
    path = needs("chromium")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*_FLAGS])
        try:
            yield started
        finally:
            started.close()


class Served:
    """A web server that can be stopped, and started again where it was."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: WebServer | None = None
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._port}/"

    def start(self) -> None:
        """Listen."""
        # The browser's clock is not the server's: each look comes ten seconds after the one before.
        clock = itertools.count(step=10.0).__next__
        self._server = WebServer([Address(HOST, self._port)], self.known, clock=clock)
        self._run(self._server.start())
        self._port = self._server.addresses[0].port

    def stop(self) -> None:
        """Listen no more."""
        if self._server:
            self._run(self._server.stop())
        self._server = None

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)  # type: ignore[arg-type]


@contextmanager
def served(known: Known) -> Iterator[Served]:
    """Serve until the block ends."""
    server = Served(known)
    try:
        server.start()
        yield server
    finally:
        server.close()
