"""Each verb of the API, from a request to its answer."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import msgspec

from khealth_exporter.simulator import dry_run, errors, json_patch, listing, scales, selection, service_accounts
from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.deletion import DeleteOptions, parse_options
from khealth_exporter.simulator.documents import Document, decode, encode, merged, metadata, name_of, uid_of
from khealth_exporter.simulator.request_info import RequestInfo
from khealth_exporter.simulator.selection import Selector
from khealth_exporter.simulator.stale_reads import StaleReads
from khealth_exporter.simulator.watching import WatchRequest, WatchStream
from khealth_exporter.simulator.world import World

_SHORTEST_WATCH: Final = 1800.0
"""Seconds; a watch without a timeout lasts up to twice as long."""
_SUCCESS: Final[Document] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
_MERGE: Final = "application/merge-patch+json"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_JSON: Final = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Verbs:
    """Answers requests for resources."""

    world: World
    random: random.Random
    stale: StaleReads

    async def read(self, info: RequestInfo) -> Answer:
        """Get or list. Raises `ApiError`."""
        lags = self.stale.affects(info.resource)
        if info.verb == "get":
            shown = self.stale.get(info.key) if lags else self.world.store.get(info.resource, info.key)
            if shown is None:
                raise errors.not_found(info.resource, info.name)
            return Answer(HTTPStatus.OK, encode(scales.of(shown))) if _scales(info) else _object(info, shown)
        await self._reach(listing.asked_revision(info.query.get("resourceVersion", "")))
        view: listing.View = self.stale if lags else self.world.store
        return Answer(HTTPStatus.OK, listing.render(view, info, _selector(info)))

    async def _reach(self, revision: int | None) -> None:
        """Wait for a resourceVersion in the future. Raises `ApiError` (504)."""
        wait = self.world.settings.revision_timeout
        while revision is not None and revision > self.world.store.revision:
            if wait <= 0.0:
                raise errors.too_large_revision(revision, self.world.store.revision)
            await asyncio.sleep(min(wait, 0.1))
            wait -= 0.1

    def watch(self, info: RequestInfo) -> WatchStream:
        """Begin a watch. Raises `ApiError`."""
        revision = listing.asked_revision(info.query.get("resourceVersion", ""))
        bookmarks = info.flag("allowWatchBookmarks")
        timeout = info.query.get("timeoutSeconds", "")
        request = WatchRequest(
            info.resource,
            _selector(info),
            revision,
            bookmarks,
            info.flag("sendInitialEvents") or (bookmarks and not revision),
            float(timeout) if timeout.isdigit() and int(timeout) else self._watch_timeout(),
        )
        return WatchStream(request, self.world.store, self.world.faults, self.world.settings.bookmark_interval)

    def _watch_timeout(self) -> float:
        return self.random.uniform(_SHORTEST_WATCH, 2 * _SHORTEST_WATCH)

    def write(self, info: RequestInfo, body: bytes, content_type: str) -> Answer:
        """Create, update, patch or delete, atomically. Raises `ApiError`."""
        if "protobuf" in content_type or "cbor" in content_type:
            raise errors.unsupported_media_type()
        given = _decoded(body)
        if _scales(info):
            return self._scale(info, given, content_type)
        match info.verb:
            case "create":
                return self._create(info, given)
            case "update":
                done = self.world.registry.update(
                    info.resource, info.key, _object_of(given), subresource=info.subresource, dry_run=_dry_run(info)
                )
                return _object(info, done)
            case "patch":
                return self._patch(info, given, content_type)
            case "delete":
                return self._delete(info, given)
            case _:
                return self._delete_collection(info, given)

    def _create(self, info: RequestInfo, given: object) -> Answer:
        document = _object_of(given)
        if info.subresource == "eviction":
            options = parse_options(document.get("deleteOptions") or {}, {})
            self.world.deletion.evict(info.key, replace(options, dry_run=options.dry_run or _dry_run(info)))
            return Answer(HTTPStatus.CREATED, encode({**_SUCCESS, "code": 201}))
        if info.subresource == "binding":
            if name_of(document) != info.name:
                raise errors.bad_request("name in URL does not match name in Binding object")
            self.world.deletion.bind(info.key, str((document.get("target") or {}).get("name")))
            return Answer(HTTPStatus.CREATED, encode({**_SUCCESS, "code": 201}))
        if info.subresource == "token":
            now = self.world.registry.now()
            made = service_accounts.issue(self.world.store, info.namespace, info.name, document, now)
            named = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
            return Answer(HTTPStatus.CREATED, encode({**named, **made}))
        kind = str(document.get("kind") or info.resource.kind)
        if kind != info.resource.kind:
            raise errors.bad_request(
                f'{kind} in version "{document.get("apiVersion")}" cannot be handled as a {info.resource.kind}'
            )
        namespace = info.namespace if info.resource.namespaced else ""
        created = self.world.registry.create(info.resource, namespace, document, dry_run=_dry_run(info))
        return _object(info, created, HTTPStatus.CREATED)

    def _patch(self, info: RequestInfo, given: object, content_type: str) -> Answer:
        done = self.world.registry.patch(
            info.resource,
            info.key,
            _changed_by(given, content_type),
            subresource=info.subresource,
            dry_run=_dry_run(info),
        )
        return _object(info, done)

    def _scale(self, info: RequestInfo, given: object, content_type: str) -> Answer:
        change = _changed_by(given, content_type) if info.verb == "patch" else lambda _: _object_of(given)
        done = self.world.registry.patch(
            info.resource,
            info.key,
            lambda workload: scales.scaled(workload, change(scales.of(workload))),
            dry_run=_dry_run(info),
        )
        return Answer(HTTPStatus.OK, encode(scales.of(done)))

    def _delete(self, info: RequestInfo, given: object) -> Answer:
        last, gone = self.world.deletion.delete(info.resource, info.key, _delete_options(info, given))
        if info.resource.returns_deleted or not gone:
            return _object(info, last)
        details: Document = {"name": info.name, "kind": info.resource.plural, "uid": uid_of(last)}
        if info.resource.group:
            details["group"] = info.resource.group
        return Answer(HTTPStatus.OK, encode({**_SUCCESS, "details": details}))

    def _delete_collection(self, info: RequestInfo, given: object) -> Answer:
        options = _delete_options(info, given)
        deleted = self.world.deletion.delete_collection(info.resource, _selector(info), options)
        kind = {"kind": f"{info.resource.kind}List", "apiVersion": info.resource.api_version}
        about = {"resourceVersion": str(self.world.store.revision)}
        return Answer(HTTPStatus.OK, encode({**kind, "metadata": about, "items": deleted}))


def _scales(info: RequestInfo) -> bool:
    return info.subresource == "scale"


def _changed_by(patch: object, content_type: str) -> Callable[[Document], Document]:
    """Return what a patch of this type does to an object. Raises `ApiError` (415)."""
    if content_type not in {_MERGE, _STRATEGIC, _JSON}:
        raise errors.unsupported_media_type()
    if content_type == _JSON:
        return lambda document: json_patch.apply(document, patch)
    return lambda document: merged(document, _object_of(patch), strategic=content_type == _STRATEGIC)


def _selector(info: RequestInfo) -> Selector:
    namespace = info.namespace if info.resource.namespaced else ""
    labels, fields = info.query.get("labelSelector", ""), info.query.get("fieldSelector", "")
    return selection.parse(info.resource, namespace, labels, fields)


def _decoded(body: bytes) -> object:
    if not body:
        return {}
    try:
        found: object = decode(body)
    except msgspec.DecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    return found


def _object_of(given: object) -> Document:
    if not isinstance(given, dict) or not isinstance(metadata(given), dict):
        raise errors.bad_request("the object provided is unrecognized (must be of type object)")
    return given


def _delete_options(info: RequestInfo, given: object) -> DeleteOptions:
    query: Document = dict(info.query)
    if "dryRun" in query:
        query["dryRun"] = [query["dryRun"]]
    return parse_options(_object_of(given), query)


def _dry_run(info: RequestInfo) -> bool:
    given = info.query.get("dryRun")
    return dry_run.asked([] if given is None else [given], f"{info.verb.capitalize()}Options")


def _object(info: RequestInfo, document: Document, code: int = HTTPStatus.OK) -> Answer:
    return Answer(code, info.resource.envelope(encode(document)))
