"""A watch that one attempt opens for one object of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec

from khealth_exporter.cluster.client.lookup import identified
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.decoding import WatchLine, number_of, parse
from khealth_exporter.cluster.errors import Refused, judge, undecodable
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.cluster.stream.socket_reader import Piece
from khealth_exporter.cluster.stream.stream import Stream
from khealth_exporter.cluster.watch.line_reader import Broken, Continuity, LineSplitter
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)

_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
"""Seconds before a watch that has ended is opened again; twice as long each time, up to the longest."""
_ENDINGS = 4
"""Watches that end before they show a write, from which on that is no coincidence."""


class OwnWatch(Generic[T]):
    """The versions of one object that a watch has shown, each with its arrival.

    A watch that ends or breaks is opened again from the same version, so that it misses nothing.
    """

    def __init__(self, cluster: Cluster, kind: Kind[T], since: T, deadline: float) -> None:
        self._cluster, self._kind, self._since, self._deadline = cluster, kind, since, deadline
        self._clock = cluster.clock
        self._arrivals: list[tuple[int, Moment]] = []
        self._removed: Moment | None = None
        self._failed: Failed | None = None
        self._changed = Signal()
        self._open, self._endings = False, 0
        self._continuity = Continuity(self._clock.now())

    def stream(self) -> AbstractAsyncContextManager[Stream]:
        """Open the watch; Refused is raised on entering."""
        left = self._deadline - self._clock.now()
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={self._since.name}",
            "resourceVersion": self._since.metadata.resource_version,
            "timeoutSeconds": f"{max(1.0, left):.0f}",
        }
        path = self._cluster.path(self._kind)
        return self._cluster.client.stream(self._kind.plural, path, query=query, connect_timeout=left, retries=True)

    async def follow(self, first: Stream) -> None:
        """Take in lines as they arrive, until cancelled: one that waits to be read would count as late."""
        try:
            await self._read(first, again=False)
            while True:
                await asyncio.sleep(min(_LONGEST_PAUSE, _PAUSE * 2 ** min(self._endings, 10)))
                async with self.stream() as stream:
                    await self._read(stream, again=True)
        except Failed as failed:
            self._failed = failed
            self._changed.fire()

    async def _read(self, stream: Stream, *, again: bool) -> None:
        """Read one stream until it ends or breaks; raise Failed for what opening it again does not mend."""
        self._open, self._continuity.opened, self._continuity.resuming = True, self._clock.now(), again
        splitter = LineSplitter()

        def take(pieces: Sequence[Piece]) -> None:
            try:
                for data, arrival in pieces:
                    delay, recovered = self._continuity.delay(arrival)
                    for line, early in splitter.split(data, arrival):
                        self._note(line, Moment(arrival.at, max(delay, early), recovered))
            finally:
                self._changed.fire()

        try:
            await stream.follow(take)
        except Broken as broken:
            raise Failed(Reason.API_ERROR, "a watch event is longer than any object") from broken
        except Refused as refused:
            if not refused.refusal.retry:
                raise
        finally:
            self._open, self._endings = False, self._endings + 1

    def _note(self, raw: bytes, moment: Moment) -> None:
        try:
            line = parse(WatchLine, raw)
        except msgspec.MsgspecError as error:
            raise undecodable("watch event", raw, str(error)) from error
        if not line.type:
            raise undecodable("watch event", raw, "no type")
        if line.type == "ERROR":
            raise Refused(judge(HTTPStatus.OK, bytes(line.object)), f"watch {self._kind.plural}")
        found = identified(self._kind, line.object, "watch event")
        self._arrivals.append((number_of(found.metadata.resource_version), moment))
        if line.type == "DELETED" and found.uid == self._since.uid:
            self._removed = self._removed or moment

    async def shows(self, written: T, deadline: float) -> Moment:
        """Return when the watch showed a version at least as new as `written`; raise Failed if it does not."""
        newest = number_of(written.metadata.resource_version)

        def found() -> Moment | None:
            return next((moment for version, moment in self._arrivals if version >= newest), None)

        await self._changed.until(lambda: found() is not None or self._failed is not None, deadline)
        if moment := found():
            return moment
        if self._failed:
            raise self._failed
        if self._endings >= _ENDINGS:
            note = f"{self._endings} watches ended before they showed a write that the API server has acknowledged"
            raise Failed(Reason.API_ERROR, note)
        if not self._open:
            raise Failed(Reason.WATCH_INTERRUPTED, "the watch ended before it showed the write")
        note = "the watch does not show a write that the API server has acknowledged"
        raise Failed(Reason.API_TIMEOUT, note)

    async def shows_removal(self, deadline: float) -> Moment | None:
        """Return when the watch showed that the object is gone; None if it has not by the deadline, or has failed."""
        await self._changed.until(lambda: self._removed is not None or self._failed is not None, deadline)
        return self._removed


@asynccontextmanager
async def changed_on_watch(cluster: Cluster, kind: Kind[T], since: T, deadline: float) -> AsyncIterator[OwnWatch[T]]:
    """Watch one object from the version that it has; raise Refused if the watch cannot be opened."""
    watch = OwnWatch(cluster, kind, since, deadline)
    async with watch.stream() as first, asyncio.TaskGroup() as group:
        following = group.create_task(watch.follow(first))
        try:
            yield watch
        finally:
            following.cancel()
