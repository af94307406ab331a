"""A watch: the lines for one watcher, from the history that all watchers share."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.documents import decode, encode
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.resources import PODS, Resource
from khealth_exporter.simulator.selection import Selector
from khealth_exporter.simulator.store import Change, Compacted, Kind, Store

_LAST_BOOKMARK: Final = 2.0
"""A watch sends its last bookmark this many seconds before its end, or late; a shorter watch sends none."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The parameters of a watch."""

    resource: Resource
    selector: Selector
    revision: int | None
    """The watch sends changes after this one; None and 0 begin with the present state."""
    bookmarks: bool
    initial_events: bool
    """A bookmark marks the end of the present state."""
    timeout: float
    """Seconds until the watch ends."""


@dataclass(slots=True)
class WatchStream:
    """The lines of one watch; they are made as they are read, so that a slow reader needs no buffer."""

    request: WatchRequest
    store: Store
    faults: Faults
    bookmark_interval: float
    dead: bool = False
    """The watch sends nothing more, without an error."""
    _position: int = field(init=False, default=0)
    _after: int = field(init=False, default=0)

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines until the watch ends; what is due before its end is sent, however late it is."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.request.timeout
        last_bookmark = end - _LAST_BOOKMARK if self.request.timeout > _LAST_BOOKMARK else math.inf
        bookmark = min(loop.time() + self.bookmark_interval, last_bookmark)
        history = self.store.history(self.request.resource)
        try:
            for line in self._beginning():
                yield line
            while True:
                await self._silence()
                now = loop.time()
                changes = history.since(self._position)
                for change in changes:
                    self._position += 1
                    translated = self._translate(change)
                    if translated is not None:
                        yield translated
                if changes and not end <= now < bookmark:
                    continue
                if now >= bookmark:
                    bookmark = min(now + self.bookmark_interval, last_bookmark) if now < last_bookmark else math.inf
                    if self.request.bookmarks and self.store.revision >= self._after:
                        yield self._bookmark()
                    continue
                if now >= end:
                    return
                await self._change_or(min(bookmark, end))
        except Compacted:
            yield self._gone()

    async def _silence(self) -> None:
        """Wait while a fault keeps the watch silent."""
        while self.dead or self.faults.active("api-paused") or self.faults.active("etcd-stalled"):
            await self.faults.bell.wait()

    async def _change_or(self, moment: float) -> None:
        try:
            async with asyncio.timeout_at(moment):
                await self.store.history(self.request.resource).bell.wait()
        except TimeoutError:
            return

    def _beginning(self) -> list[bytes]:
        """Return the present state, unless the watch resumes from a revision. Raises `Compacted`."""
        history = self.store.history(self.request.resource)
        if self.request.revision and not self.request.initial_events:
            self._after = self.request.revision
            self._position = history.position(self.request.revision)
            return []
        records = self.store.records(self.request.resource, self.request.selector)
        lines = [self._line("ADDED", record.raw) for _, record in records]
        self._position = history.end
        if self.request.initial_events and self.request.bookmarks:
            lines.append(self._bookmark(initial=True))
        return lines

    def _translate(self, change: Change) -> bytes | None:
        """Return the event for this watcher: ADDED and DELETED if the object enters and leaves the selection."""
        if change.revision <= self._after:
            return None
        selector = self.request.selector
        wanted = change.kind != "DELETED" and selector.matches(change.traits)
        was_wanted = change.traits_before is not None and selector.matches(change.traits_before)
        if wanted:
            return self._line("MODIFIED" if was_wanted else "ADDED", change.raw)
        if not was_wanted or change.raw_before is None:
            return None
        if change.kind == "DELETED":
            return self._line("DELETED", change.raw)
        last = decode(change.raw_before)
        last["metadata"]["resourceVersion"] = str(change.revision)
        return self._line("DELETED", encode(last))

    def _line(self, kind: Kind, raw: bytes) -> bytes:
        return f'{{"type":"{kind}","object":'.encode() + self.request.resource.envelope(raw) + b"}\n"

    def _bookmark(self, *, initial: bool = False) -> bytes:
        about: dict[str, object] = {"resourceVersion": str(self.store.revision)}
        if initial:
            about["annotations"] = {"k8s.io/initial-events-end": "true"}
        empty: dict[str, object] = {"metadata": about}
        if self.request.resource is PODS:
            empty |= {"spec": {"containers": None}, "status": {}}
        raw = self.request.resource.envelope(encode(empty))
        return b'{"type":"BOOKMARK","object":' + raw + b"}\n"

    def _gone(self) -> bytes:
        message = f"too old resource version: {self._after} ({self.store.compacted or self.store.revision})"
        status = errors.ApiError(HTTPStatus.GONE, "Expired", message).status()
        return encode({"type": "ERROR", "object": status}) + b"\n"
