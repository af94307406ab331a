"""One list-and-watch stream: stamps lines on arrival, then decodes."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Generic, Never, TypeVar

import msgspec
import structlog

from khealth_exporter.cluster.client.client import Answer, Client
from khealth_exporter.cluster.client.lookup import paged
from khealth_exporter.cluster.decoding import number_of
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.cluster.ownership import passing
from khealth_exporter.cluster.stream.socket_reader import Piece
from khealth_exporter.cluster.stream.stream import Stream
from khealth_exporter.cluster.watch.groups import first_in
from khealth_exporter.cluster.watch.line_reader import Broken, Continuity, LineReader, LineSplitter
from khealth_exporter.cluster.watch.subscription import Key, Line, Signal, Subscription, Subscriptions
from khealth_exporter.measure.arrival import Arrival
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.telemetry import Telemetry
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)

LIFETIME = (240.0, 300.0)
"""Seconds for which the server is asked to keep a stream; drawn for each one, so that they do not end together."""
SUCCESSION = 10.0
"""Seconds before a stream's end at which its successor is opened."""
SILENCE = 75.0
"""Seconds without a byte after which a watch is dead: bookmarks come 60 s apart."""
TRY_TIMEOUT = 10.0
"""Seconds for one page of a list, or for a stream's headers."""
CAUSES = (
    "ended", "silent", "expired", "garbled", "error",
    "api_unreachable", "api_timeout", "api_error", "api_rejected", "proxy_error", "throttled", "forbidden",
    "prober_starved",
)  # fmt: skip
"""Why a watch is opened again, as counted; a refusal is counted under its reason."""
PATIENCE = 0.4
"""Seconds that a line waits to be handed on together with others. Its time is that of its arrival."""
_BACKOFF = (0.1, 5.0)
"""Seconds of the first and of the longest pause before trying again; each is jittered by half."""
_LIVED = 5.0
"""Seconds after which a stream that breaks was a good one."""

_log = structlog.get_logger()


class Watch(Generic[T]):
    """The live set of one kind of objects in a namespace, and every change of it as it arrives.

    `changed` fires when the watch goes live, or stops being live; subscriptions have signals of their own for lines.
    """

    def __init__(  # noqa: PLR0913 - it has these parts
        self,
        kind: Kind[T],
        namespace: str,
        selector: str,
        *,
        client: Client,
        clock: Clock,
        telemetry: Telemetry,
        random: random.Random,
        key_of: Callable[[KubernetesObject], Key],
        changed: Signal,
    ) -> None:
        self.kind, self.path, self.selector = kind, kind.path(namespace), selector
        self.resource = kind.plural
        self._client, self._clock, self._telemetry, self._random = client, clock, telemetry, random
        self._key_of, self._changed = key_of, changed
        self._counted: set[str] = set()
        self.objects: dict[str, T] = {}
        """What exists, by uid."""
        self.live = False
        """Whether a stream is open."""
        self.gaps = 0
        """How often a new list had to be taken, so that changes may have gone unseen."""
        self.trouble: Refused | None = None
        """Why it is not live, where the API server said so."""
        self.server_epoch = clock.utc() - clock.now()
        """What the API server's clock says, in Unix seconds, at monotonic zero: our own clock may be set meanwhile."""
        self.progressed = clock.now()
        """When it last did anything, in monotonic seconds: waiting for a server that is away is progress."""
        self._version = ""
        self._splitter = LineSplitter()
        self._continuity = Continuity(clock.now())
        self._subscriptions = Subscriptions[T](self._flush)
        self._followed: Stream | None = None
        self._reader = LineReader(kind.type)

    def subscribe(self, key: Key | None, changed: Signal) -> Subscription[T]:
        """Collect the lines of the objects with this key (None: of all), and fire the signal after new ones.

        The signal fires too whenever the watch goes live or stops being live. The subscription must be closed.
        """
        return self._subscriptions.add(key, changed)

    @property
    def followed(self) -> bool:
        """Whether any subscription is open."""
        return bool(self._subscriptions)

    async def run(self) -> Never:
        """Keep the set live until cancelled; whatever the server does, it tries again."""
        listed, failures = False, 0
        # Where an earlier call has crashed, changes may have gone unseen.
        self.live, self._continuity.resuming = False, bool(self._version)
        while True:
            began = self._clock.now()
            try:
                if not listed:
                    await self._list()
                    listed = True
                await self._follow()
            except* Broken as group:
                broken = first_in(group, Broken)
                listed = not broken.relist
                self._restarting(broken.cause)
            except* Refused as group:
                refused = first_in(group, Refused)
                # A version that is rejected, or too old, stays so.
                listed = listed and not refused.refusal.expired and refused.reason is not Reason.API_REJECTED
                self._restarting("expired" if refused.refusal.expired else str(refused.reason), refused)
            # One that had lived is opened again at once: an API server that restarts, or a balancer that cuts.
            lived = self._continuity.opened >= began and self._clock.now() - self._continuity.opened > _LIVED
            failures = 0 if lived else failures + 1
            if failures:
                longest = min(_BACKOFF[1], _BACKOFF[0] * 2.0 ** min(failures, 16))
                await asyncio.sleep(longest * self._random.uniform(0.5, 1))

    def _restarting(self, cause: str, trouble: Refused | None = None) -> None:
        self.live, self._continuity.resuming = False, True
        self.trouble = trouble or self.trouble
        self.progressed = self._clock.now()
        self._telemetry.watch_restarted(cause)
        if not (trouble and trouble.refusal.denied):  # That is told once, where all such refusals are.
            _log.info("watch restarts", resource=self.resource, cause=cause, note=trouble.note if trouble else "")
        self._announce()

    def _announce(self) -> None:
        """Fire every signal: whether the watch is live has changed."""
        self._changed.fire()
        self._subscriptions.fire_all()

    async def _list(self) -> None:
        """List the whole set, page by page, and hand on what changed since the last list."""
        found: dict[str, T] = {}
        try:
            async for answer, page, items in paged(self.kind, self.selector, self._ask):
                if answer.date is not None:
                    self.server_epoch = answer.date - answer.answered
                found.update({item.uid: item for item in items})
                version = page.metadata.resource_version
        except Refused:
            raise
        except Failed as error:
            raise Broken("garbled", relist=True) from error
        self._version = version
        self._replace(found)

    async def _ask(self, query: Mapping[str, str]) -> Answer:
        deadline = self._clock.now() + TRY_TIMEOUT
        return await self._client.request(
            "list", self.resource, self.path, query=query, deadline=deadline, retries=False
        )

    def _replace(self, found: dict[str, T]) -> None:
        now = self._clock.now()
        delay, self._continuity.heard = now - self._continuity.heard, now
        self.gaps += self._continuity.resuming
        for uid, item in list(self.objects.items()):
            if uid not in found:
                self._tell(Line("DELETED", item, now, delay, recovered=True))
        for uid, item in found.items():
            known = self.objects.get(uid)
            if known is None or known.metadata.resource_version != item.metadata.resource_version:
                self._tell(Line("MODIFIED" if known else "ADDED", item, now, delay, recovered=True))
        self._count()
        self._subscriptions.fire()

    async def _follow(self) -> Never:
        """Read one stream after the other; a successor is opened before its predecessor ends."""
        async with AsyncExitStack() as last:
            stream, lifetime = await self._open(last)
            while True:
                self._splitter = LineSplitter()
                await self._read(stream, lifetime - SUCCESSION)
                async with AsyncExitStack() as opening:
                    async with asyncio.TaskGroup() as group:
                        reading = group.create_task(self._read(stream, SUCCESSION + SILENCE))
                        try:
                            following, lifetime = await self._open(opening)
                        except Refused:
                            await reading  # It is good until it ends.
                            raise Broken("ended", relist=False) from None
                        stream.flush()  # What waits has its time; the successor would tell it with a later one.
                        reading.cancel()
                    stream, successor = following, opening.pop_all()
                await last.aclose()
                last.push_async_exit(successor)

    async def _open(self, stack: AsyncExitStack) -> tuple[Stream, float]:
        lifetime = self._random.uniform(*LIFETIME)
        query = {
            "watch": "1",
            "labelSelector": self.selector,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": f"{lifetime:.0f}",
        }
        stream = await stack.enter_async_context(
            self._client.stream(self.resource, self.path, query=query, connect_timeout=TRY_TIMEOUT)
        )
        self._continuity.opened = self.progressed = self._clock.now()
        self.live, self.trouble = True, None
        self._announce()
        return stream, lifetime

    async def _read(self, stream: Stream, seconds: float) -> None:
        """Take what a stream says for so many seconds; Broken when it ends before, or falls silent."""
        heard = self._clock.now()
        end = heard + seconds
        self._followed = stream

        def take(pieces: Sequence[Piece]) -> None:
            nonlocal heard
            for data, arrival in pieces:
                heard = arrival.at
                self._take(data, arrival)
            self._subscriptions.fire()

        limit = looked = heard
        while looked < limit or limit < min(end, heard + SILENCE):
            # One timer for many chunks, set again only when it expires: one for each would cost as much as its lines.
            limit, looked = min(end, heard + SILENCE), self._clock.now()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(limit):
                    await stream.follow(take, PATIENCE)  # At first it takes what is there.
                    raise Broken("ended", relist=False)
        if self._clock.now() < end:
            raise Broken("silent", relist=True)

    def _flush(self) -> None:
        if self._followed:
            self._followed.flush()

    def _take(self, data: bytes, arrival: Arrival) -> None:
        """Tell every whole line of what arrived."""
        if arrival.stamped and arrival.delay is not None:
            self._telemetry.watch_read_delay(arrival.delay)
        delay, recovered = self._continuity.delay(arrival)
        self.progressed = arrival.at
        for line, early in self._splitter.split(data, arrival):
            self._take_line(line, arrival.at, max(delay, early), recovered)

    def _take_line(self, raw: bytes, at: float, delay: float, recovered: bool) -> None:
        try:
            said, item = self._reader.read(raw)
        except msgspec.MsgspecError as error:
            _log.warning("cannot decode watch event", resource=self.resource, error=str(error))
            raise Broken("garbled", relist=True) from error
        version = item.metadata.resource_version
        if 0 < number_of(version) <= number_of(self._version):
            return  # A stream and its successor both said it.
        self._version = version or self._version
        # An object that was never seen is new to every subscriber, whatever the server calls it.
        kind = "ADDED" if said == "MODIFIED" and item.uid not in self.objects else said
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            self._tell(Line(kind, item, at, delay, recovered))

    def _tell(self, line: Line[T]) -> None:
        uid, known = line.object.uid, len(self._counted)
        if line.type == "DELETED":
            self.objects.pop(uid, None)
            self._counted.discard(uid)
        else:
            self.objects[uid] = line.object
            if passing(line.object):
                self._counted.add(uid)
        if len(self._counted) != known:
            self._count()
        self._subscriptions.take(line, self._key_of(line.object))

    def _count(self) -> None:
        if self.selector:  # Otherwise they are not khealth's own: the cluster's nodes, for example.
            self._telemetry.objects(self.kind.name, len(self._counted))
