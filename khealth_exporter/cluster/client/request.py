"""One request, and the results of its tries."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import msgspec
from multidict import CIMultiDict
from yarl import URL

from khealth_exporter.cluster.errors import Refusal, Refused
from khealth_exporter.vocabulary.permission import right

_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}


@dataclass(slots=True)
class Tries:
    """What became of one request's tries so far."""

    count: int = 0
    unanswered: bool = False
    renewed: bool = False
    last: Refusal | None = None

    def add(self, refusal: Refusal, *, cut_short: bool) -> Refusal:
        """Take in one more, and return the last one that counts.

        A timeout of a try that the deadline cut short says less than an earlier refusal.
        """
        self.count += 1
        self.unanswered = self.unanswered or refusal.undecided
        if self.last is None or not (cut_short and refusal.late):
            self.last = refusal
        return self.last


def _well(code: int, _headers: Mapping[str, str], _body: bytes) -> bool:
    return HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class Relayed:
    """What is asked of something behind the API server, which has answers of its own, of at most so many bytes.

    `own` tells by code, headers and body whether it has written an answer itself; the API server and proxies on the way
    to it write some too.
    """

    own: Callable[[int, Mapping[str, str], bytes], bool]
    most: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for: a verb and a resource in RBAC's words, and how HTTP says it."""

    verb: str
    resource: str
    namespace: str
    """Where the resource is; empty for what belongs to no namespace."""
    url: URL
    body: bytes | None
    headers: Mapping[str, str]
    server_name: str = ""
    """Whose certificate the server must have, where the URL names an address."""
    takes: Callable[[int, Mapping[str, str], bytes], bool] = _well
    """Tells by code, headers and body whether an answer is what was hoped for."""
    most: int = sys.maxsize
    """Bytes that an answer may have."""

    @classmethod
    def of(  # noqa: PLR0913, PLR0917 - each is part of what is asked
        cls,
        server: str,
        verb: str,
        resource: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
    ) -> "Call":
        """Return the call; the namespace is the path's."""
        headers = {}
        if verb == "watch":
            headers["Accept-Encoding"] = "identity"
        elif body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if verb == "patch" else "application/json"
        encoded = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        url = URL(server + path, encoded=True).with_query(query)
        return cls(verb, resource, namespace_of(path), url, encoded, headers)

    def through(self, relayed: Relayed) -> "Call":
        """Return the call for something behind the API server."""
        return replace(self, headers={**self.headers, **relayed.headers}, takes=relayed.own, most=relayed.most)

    @property
    def method(self) -> str:
        """How HTTP calls the verb."""
        return _METHODS[self.verb]

    def refused(self, refusal: Refusal, tries: Tries) -> Refused:
        """Return what is raised once it has failed."""
        words = f"khealth may not {right(self.verb, self.resource, self.namespace)}" if refusal.denied else str(self)
        return Refused(refusal, words, tries=tries.count, unanswered=tries.unanswered)

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def namespace_of(path: str) -> str:
    """Return the namespace that a path leads into; empty where it leads into none."""
    found = re.match(r"/api(?:s/[^/]+)?/[^/]+/namespaces/([^/]+)/", path)
    return found.group(1) if found else ""


def joined(headers: Mapping[str, str], authorization: Mapping[str, str]) -> CIMultiDict[str]:
    """Return all headers; some of the authorization, such as Impersonate-Group, may occur several times."""
    return CIMultiDict([*headers.items(), *authorization.items()])
