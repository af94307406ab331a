"""Stand-ins for what is outside of a unit: an API server in memory, and telemetry that can be read."""

import asyncio
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast
from unittest.mock import Mock

from prometheus_client import CollectorRegistry

from khealth_exporter.cluster.client.client import LEAST_TIME, Answer, Client
from khealth_exporter.cluster.client.denied_permissions import Denials
from khealth_exporter.cluster.client.outage import Outage
from khealth_exporter.cluster.client.request import Relayed, namespace_of
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refusal, Refused, judge
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.cluster.stream.stream import Stream, Take
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.arrival import Arrival
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

Json = dict[str, Any]
T = TypeVar("T")


NOBODY = Identity("test", "khealth")
"""Who works where there is no API server."""


def context_of(clock: Clock) -> Context:
    """Return what a routine works with that asks no API server."""
    client = Mock(spec_set=["outage"], outage=Outage())
    cluster = Mock(spec_set=["identity", "client"], identity=NOBODY, client=client)
    return Context(cast("Cluster", cluster), clock)


def cluster_of(api: "FakeApi", figures: "Telemetered | None" = None) -> Cluster:
    """Return a cluster on an API server in memory."""
    figures = figures or Telemetered(api.clock)
    return Cluster(api, Identity("run", "khealth"), api.clock, figures.metrics, random.Random(1))


class Telemetered:
    """Metrics in a registry of their own, and a way to read them."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, clock)

    def value(self, name: str, **labels: str) -> float | None:
        """Return one series' value, None where it is absent."""
        return self.registry.get_sample_value(name, labels)

    def total(self, name: str) -> float:
        """Return the sum over all series of a name."""
        return sum(s.value for family in self.registry.collect() for s in family.samples if s.name == name)

    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Return the name and the labels of every series."""
        return {(s.name, frozenset(s.labels.items())) for family in self.registry.collect() for s in family.samples}

    def counted(self, name: str, label: str) -> dict[str, float]:
        """Return a counter's values above 0, by one of its labels."""
        samples = [s for family in self.registry.collect() for s in family.samples if s.name == name]
        return {s.labels[label]: s.value for s in samples if s.value}


@dataclass(frozen=True)
class Asked:
    """A request that was sent."""

    verb: str
    resource: str
    path: str
    query: Mapping[str, str]
    body: Json
    at: float

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def refusal(code: int, message: str = "", reason: str = "", *causes: str) -> Refusal:
    """Return what a `Status` of the API server means."""
    status = {
        "kind": "Status",
        "message": message,
        "reason": reason,
        "details": {"causes": [{"reason": cause} for cause in causes]},
    }
    return judge(code, json.dumps(status).encode())


UNREACHABLE = Refusal(Reason.API_UNREACHABLE, "connection refused", retry=True)
TIMEOUT = Refusal(Reason.API_TIMEOUT, "no answer in time", retry=True, late=True)
FORBIDDEN = refusal(403, 'pods is forbidden: User "khealth" cannot list resource "pods"')
GONE = refusal(410, "too old resource version", "Expired")
UNAVAILABLE = refusal(503, "etcdserver: leader changed")

Fault = Callable[[Asked], Awaitable[Refusal | Answer | None]]


class FakeStream(Stream):
    """A watch whose bytes are what a test says."""

    def __init__(self, asked: Asked, clock: Clock) -> None:
        self.asked, self._clock = asked, clock
        self.closed: float | None = None
        self.hushed = False
        """Whether it says nothing more, not even bookmarks, and stays open."""
        self._chunks: asyncio.Queue[bytes | Refusal] = asyncio.Queue()
        self._held: list[bytes] = []
        self._take: Take | None = None

    async def follow(self, take: Take, _patience: float = 0.0) -> None:
        """Hand on what was fed; no kernel stamps it."""
        self._take = take
        self.flush()
        while chunk := await self._chunks.get():
            if isinstance(chunk, Refusal):
                raise Refused(chunk, "watch")
            self._hand_on(chunk)

    def _hand_on(self, *chunks: bytes) -> None:
        assert self._take
        now = self._clock.now()
        self._take([(chunk, Arrival(now, self._clock.delay(now), stamped=False)) for chunk in chunks])

    def flush(self) -> None:
        """Hand on what was held."""
        held, self._held = self._held, []
        if held:
            self._hand_on(*held)

    def hold(self, kind: str, item: Json) -> None:
        """Let one line arrive that is handed on only when it is asked for."""
        self._held.append(line(kind, item))

    def feed(self, *chunks: bytes) -> None:
        """Let bytes arrive, each chunk by itself."""
        for chunk in chunks:
            self._chunks.put_nowait(chunk)

    def say(self, kind: str, item: Json) -> None:
        """Let one line arrive."""
        if not self.hushed:
            self.feed(line(kind, item))

    def end(self, why: Refusal | Literal[b""] = b"") -> None:
        """End the stream, or break its connection."""
        self._chunks.put_nowait(why)

    @property
    def version(self) -> str:
        """The resourceVersion that it was opened from."""
        return self.asked.query["resourceVersion"]


def line(kind: str, item: Json) -> bytes:
    """Return a line of a watch."""
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def stamp(unix: float) -> str:
    """Return a time as the API server writes it."""
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _selects(query: Mapping[str, str], item: Json) -> bool:
    """Tell whether an object is one that a list or a watch asks for, by labels or by its name."""
    labels = item["metadata"].get("labels", {})
    wanted = (part.partition("=") for part in query.get("labelSelector", "").split(",") if part)
    field, _, name = query.get("fieldSelector", "").partition("=")
    named = item.get("involvedObject", {}) if field == "involvedObject.name" else item["metadata"]
    return all(labels.get(key) == value for key, _, value in wanted) and name in ("", named.get("name"))


@dataclass
class FakeApi(Client):
    """An API server in memory: objects by resource and name, a history to watch, and faults on order."""

    clock: Clock
    latency: float = 0.01
    ahead: float = 0.0
    """Seconds that its clock is ahead of ours."""
    page: int = 500
    objects: dict[str, dict[str, Json]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    streams: list[FakeStream] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Each may answer or refuse a request in the server's place, or let it pass."""
    created: Callable[[str, Json], None] = lambda _resource, _item: None
    """What a controller does about a new object."""
    deleted: Callable[[str, Json, Json], bool] = lambda _resource, _item, _options: True
    """What becomes of a deletion: whether the object goes at once."""
    relaying: Callable[[Asked, Relayed], Awaitable[Answer | Refusal]] | None = None
    """What answers behind the API server's proxy."""
    certificate_end: float | None = None
    version: int = 100
    compacted: int = 0
    closed: bool = False
    denials: Denials = field(init=False)
    outage: Outage = field(default_factory=Outage)
    trouble: Refused | None = None
    _history: list[tuple[int, str, str, Json]] = field(default_factory=list)
    _opened: deque[FakeStream] = field(default_factory=deque)
    _new: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.denials = Denials(self.clock)

    # What a test does.

    def put(self, resource: str, item: Json) -> Json:
        """Create or change an object, and let the watches know."""
        known = self.objects.setdefault(resource, {}).get(item["metadata"]["name"])
        self.version += 1
        metadata = {
            "uid": f"uid-{self.version}",
            "creationTimestamp": stamp(self.clock.utc() + self.ahead),
            **(known["metadata"] if known else {}),
            **item["metadata"],
            "resourceVersion": str(self.version),
        }
        item = {**item, "metadata": metadata}
        self.objects[resource][metadata["name"]] = item
        self._tell(resource, "MODIFIED" if known else "ADDED", item)
        return item

    def remove(self, resource: str, name: str) -> None:
        """Remove an object, and let the watches know."""
        item = self.objects[resource].pop(name)
        self.version += 1
        item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        self._tell(resource, "DELETED", item)

    def bookmark(self) -> None:
        """Send a bookmark to every watch that asks for them."""
        for stream in self.open_streams():
            if "allowWatchBookmarks" not in stream.asked.query:
                continue
            stream.say("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def cut(self, why: Refusal | Literal[b""] = b"") -> None:
        """End every watch."""
        for stream in self.open_streams():
            stream.end(why)

    def open_streams(self, resource: str = "") -> list[FakeStream]:
        """Return the watches that are open now."""
        return [s for s in self.streams if s.closed is None and resource in ("", s.asked.resource)]

    def compact(self) -> None:
        """Forget the history: who resumes is told that it is too late."""
        self.compacted = self.version

    def relist(self, why: Refusal | Literal[b""] = b"") -> None:
        """Make every watch list again: forget the history, and end the streams."""
        self.compact()
        self.cut(why)

    async def opened(self) -> FakeStream:
        """Return the next watch that is opened."""
        while not self._opened:
            self._new.clear()
            await self._new.wait()
        return self._opened.popleft()

    def named(self, verb: str, resource: str = "") -> list[Asked]:
        """Return the requests of a verb."""
        return [asked for asked in self.asked if asked.verb == verb and resource in ("", asked.resource)]

    def _tell(self, resource: str, kind: str, item: Json) -> None:
        self._history.append((self.version, resource, kind, item))
        for stream in self.open_streams(resource):
            if _selects(stream.asked.query, item):
                stream.say(kind, item)

    # What khealth does.

    async def request(  # noqa: PLR0913 - as the real one
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        deadline: float,
        try_timeout: float = 10.0,  # noqa: ARG002 - as the real one
        retries: bool = True,  # noqa: ARG002
    ) -> Answer:
        """Answer a request after the latency, unless a fault says otherwise."""
        asked = self._asking(verb, resource, path, deadline, query=dict(query or {}), body=_parsed(body))
        answer = await self._within(deadline, self._answered(asked))
        self.denials.take(verb, resource, namespace_of(path), answer)
        if isinstance(answer, Refusal):
            raise Refused(answer, f"{verb} {resource}")
        return answer

    async def _answered(self, asked: Asked) -> Answer | Refusal:
        for fault in self.faults:
            outcome = await fault(asked)
            if outcome is not None:
                return outcome
        await asyncio.sleep(self.latency)
        result = getattr(self, f"_{asked.verb}")(asked)
        return result if isinstance(result, Refusal) else self.answer(asked, result)

    def answer(self, asked: Asked, body: Json | bytes) -> Answer:
        """Return an answer that arrives now."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        now = self.clock.now()
        return Answer(200, raw, asked.at, now, 0.0, 1, self.clock.utc(now) + self.ahead)

    def _list(self, asked: Asked) -> Json:
        items = [i for i in self.objects.get(asked.resource, {}).values() if _selects(asked.query, i)]
        first = int(asked.query.get("continue", "0"))
        following = {"continue": str(first + self.page)} if first + self.page < len(items) else {}
        return {
            "metadata": {"resourceVersion": str(self.version), **following},
            "items": items[first : first + self.page],
        }

    def _get(self, asked: Asked) -> Json | Refusal:
        return self.objects.get(asked.resource, {}).get(asked.name) or refusal(404, "not found", "NotFound")

    def _create(self, asked: Asked) -> Json | Refusal:
        name = asked.body["metadata"]["name"]
        if name in self.objects.get(asked.resource, {}):
            return refusal(409, "already exists", "AlreadyExists")
        if asked.query.get("dryRun"):
            return asked.body
        item = self.put(asked.resource, {**asked.body, "metadata": {"generation": 1, **asked.body["metadata"]}})
        self.created(asked.resource, item)
        return item

    def _update(self, asked: Asked) -> Json | Refusal:
        known = self.objects.get(asked.resource, {}).get(asked.name)
        if known is None:
            return refusal(404, "not found", "NotFound")
        if asked.body["metadata"].get("resourceVersion") not in (None, known["metadata"]["resourceVersion"]):
            return refusal(409, "the object has been modified", "Conflict")
        return self.put(asked.resource, asked.body)

    def _patch(self, asked: Asked) -> Json | Refusal:
        known = self.objects.get(asked.resource, {}).get(asked.name)
        if known is None:
            return refusal(404, "not found", "NotFound")
        if asked.body.get("metadata", {}).get("resourceVersion") not in (None, known["metadata"]["resourceVersion"]):
            return refusal(409, "the object has been modified", "Conflict")
        merged = _merged(known, asked.body)
        following = known["metadata"].get("generation", 0) + (merged.get("spec") != known.get("spec"))
        return self.put(asked.resource, {**merged, "metadata": {**merged["metadata"], "generation": following}})

    def _delete(self, asked: Asked) -> Json | Refusal:
        item = self.objects.get(asked.resource, {}).get(asked.name)
        if item is None:
            return refusal(404, "not found", "NotFound")
        if asked.body.get("preconditions", {}).get("uid") not in (None, item["metadata"]["uid"]):
            return refusal(409, "the UID in the precondition does not match", "Conflict")
        if self.deleted(asked.resource, item, asked.body):
            self.remove(asked.resource, asked.name)
        elif "deletionTimestamp" not in item["metadata"]:
            when = stamp(self.clock.utc() + self.ahead)
            following = item["metadata"].get("generation", 0) + 1
            marks = {**item["metadata"], "deletionTimestamp": when, "generation": following}
            self.put(asked.resource, {**item, "metadata": marks})
        return {"kind": "Status", "status": "Success"}

    async def connect(self, path: str, deadline: float, *, host: str = "", port: int = 0) -> Answer:
        """Answer on a new connection after the latency, unless a fault says otherwise."""
        asked = self._asking("connect", path.strip("/"), f"{host}:{port}{path}", deadline)
        outcome = await self._within(deadline, self._connected(asked))
        self.denials.take("get", asked.resource, "", outcome)
        if isinstance(outcome, Refusal):
            raise Refused(outcome, f"get {asked.resource}")
        return replace(outcome, certificate_end=outcome.certificate_end or self.certificate_end)

    async def _connected(self, asked: Asked) -> Answer | Refusal:
        for fault in self.faults:
            outcome = await fault(asked)
            if outcome is not None:
                return outcome
        await asyncio.sleep(self.latency)
        return self.answer(asked, b"ok")

    async def relay(self, verb: str, resource: str, path: str, relayed: Relayed, deadline: float) -> Answer:
        """Hand a request on to what is behind the API server."""
        asked = self._asking(verb, resource, path, deadline)
        outcome = await self._within(deadline, self._relayed(asked, relayed), 0.0)
        self.denials.take(verb, resource, namespace_of(path), outcome)
        if isinstance(outcome, Refusal):
            raise Refused(outcome, f"{verb} {resource}")
        return outcome

    async def _relayed(self, asked: Asked, relayed: Relayed) -> Answer | Refusal:
        for fault in self.faults:
            outcome = await fault(asked)
            if outcome is not None:
                return outcome
        await asyncio.sleep(self.latency)
        return await self.relaying(asked, relayed) if self.relaying else refusal(404, "not found", "NotFound")

    def _asking(self, verb: str, resource: str, path: str, deadline: float, **about: Any) -> Asked:
        """Remember what is asked; refuse it where its deadline has passed, as the real client does."""
        if self.clock.now() >= deadline:
            raise Refused(Refusal(Reason.PROBER_STARVED, "its deadline had passed"), verb)
        asked = Asked(verb, resource, path, about.get("query") or {}, about.get("body") or {}, self.clock.now())
        self.asked.append(asked)
        return asked

    async def _within(self, deadline: float, work: Coroutine[Any, Any, T], least: float = LEAST_TIME) -> T | Refusal:
        try:
            async with asyncio.timeout_at(max(deadline, self.clock.now() + least)):
                return await work
        except TimeoutError:
            return TIMEOUT

    @asynccontextmanager
    async def stream(
        self,
        resource: str,
        path: str,
        *,
        query: Mapping[str, str],
        connect_timeout: float,
        retries: bool = False,  # noqa: ARG002 - as the real one
    ) -> AsyncIterator[Stream]:
        """Open a watch that begins with what happened since its resourceVersion."""
        deadline = self.clock.now() + connect_timeout
        asked = self._asking("watch", resource, path, deadline, query=dict(query))
        refused = await self._within(deadline, self._opening(asked))
        self.denials.take("watch", resource, namespace_of(path), refused)
        if refused is not None:
            raise Refused(refused, "watch")
        stream = FakeStream(asked, self.clock)
        self.streams.append(stream)
        self._opened.append(stream)
        self._new.set()
        for version, told, kind, item in self._history:
            if version > int(stream.version) and told == resource and _selects(query, item):
                stream.say(kind, item)
        try:
            yield stream
        finally:
            stream.closed = self.clock.now()

    async def _opening(self, asked: Asked) -> Refusal | None:
        for fault in self.faults:
            outcome = await fault(asked)
            if isinstance(outcome, Refusal):
                return outcome
        await asyncio.sleep(self.latency)
        return GONE if int(asked.query["resourceVersion"]) < self.compacted else None

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def _merged(known: Any, changes: Any) -> Any:
    """Return what a merge patch makes of JSON."""
    if not isinstance(changes, dict):
        return changes
    kept = known if isinstance(known, dict) else {}
    merged = {**kept, **{name: _merged(kept.get(name), value) for name, value in changes.items()}}
    return {name: value for name, value in merged.items() if value is not None}


def _parsed(body: bytes | Mapping[str, Any] | None) -> Json:
    # By way of bytes: what the server keeps is no part of what khealth holds.
    parsed: Json = json.loads(body if isinstance(body, bytes) else json.dumps(body or {}))
    return parsed


def refusing(*verbs: str, resource: str = "", by: Refusal) -> Fault:
    """Return a fault that refuses these verbs."""

    async def fault(asked: Asked) -> Refusal | None:
        refused = asked.verb in verbs and resource in ("", asked.resource)
        return by if refused else None

    return fault


def hanging(*verbs: str, resource: str = "", seconds: float = 1e9) -> Fault:
    """Return a fault that lets these verbs wait."""

    async def fault(asked: Asked) -> None:
        if asked.verb in verbs and resource in ("", asked.resource):
            await asyncio.sleep(seconds)

    return fault


async def garbled(asked: Asked) -> Answer | None:
    """Answer every question with what cannot be decoded."""
    return Answer(200, b"{\xff", 0.0, 0.0, 0.0, 1, None) if asked.verb in ("get", "list") else None
