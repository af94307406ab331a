"""A watch that one attempt opens for one object of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import msgspec

from khealth_exporter.cluster.client.client import Stream
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.decoding import WatchLine, decode, number_of, parse
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)


class OwnWatch(Generic[T]):
    """The versions that one open watch has shown, each with its arrival."""

    def __init__(self, kind: Kind[T], stream: Stream, clock: Clock) -> None:
        self._kind, self._stream, self._clock = kind, stream, clock
        self._arrivals: list[tuple[int, Moment]] = []
        self._failed: Failed | None = None
        self._changed = Signal()

    async def read(self) -> None:
        """Take in lines as they arrive, until the watch ends: one that waits to be read would count as late."""
        try:
            await self._read()
        except Failed as failed:
            self._failed = failed
        except msgspec.MsgspecError as error:
            self._failed = Failed(Reason.API_ERROR, f"cannot decode watch event: {error}")
        self._changed.fire()

    async def _read(self) -> None:
        rest = b""
        while chunk := await self._stream.read():
            at = self._clock.now()
            *lines, rest = (rest + chunk).split(b"\n")
            moment = Moment(at, self._clock.delay(at))
            self._arrivals += [(self._version(line), moment) for line in lines if line]
            self._changed.fire()
        raise Failed(Reason.WATCH_INTERRUPTED, "the watch ended before it showed the write")

    def _version(self, raw: bytes) -> int:
        line = parse(WatchLine, raw)
        if line.type == "ERROR":
            raise Failed(Reason.API_ERROR, f"the watch ended with an error: {bytes(line.object)[:200]!r}")
        return number_of(decode(self._kind.type, line.object).metadata.resource_version)

    async def shows(self, written: T, deadline: float) -> Moment:
        """Return when the watch showed a version at least as new as `written`; raise Failed if it does not."""
        newest = number_of(written.metadata.resource_version)

        def found() -> Moment | None:
            return next((moment for version, moment in self._arrivals if version >= newest), None)

        await self._changed.until(lambda: found() is not None or self._failed is not None, deadline)
        if moment := found():
            return moment
        note = "the watch does not show a write that the API server has acknowledged"
        raise self._failed or Failed(Reason.API_TIMEOUT, note)


@asynccontextmanager
async def changed_on_watch(cluster: Cluster, kind: Kind[T], since: T, deadline: float) -> AsyncIterator[OwnWatch[T]]:
    """Open a watch of one object from the version that it has, and read it meanwhile; raise Refused."""
    left = deadline - cluster.clock.now()
    query = {
        "watch": "1",
        "fieldSelector": f"metadata.name={since.name}",
        "resourceVersion": since.metadata.resource_version,
        "timeoutSeconds": f"{max(1.0, left):.0f}",
    }
    async with (
        cluster.client.stream(kind.plural, cluster.path(kind), query=query, connect_timeout=left) as stream,
        asyncio.TaskGroup() as group,
    ):
        watch = OwnWatch(kind, stream, cluster.clock)
        reading = group.create_task(watch.read())
        try:
            yield watch
        finally:
            reading.cancel()
