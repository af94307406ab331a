"""Decoding answers, listing page by page, and getting one object that may not exist."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Raw

from khealth_exporter.cluster.client.client import Answer, Client
from khealth_exporter.cluster.decoding import RawList, decode, decode_page, number_of
from khealth_exporter.cluster.errors import Refused, undecodable
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject

T = TypeVar("T", bound=KubernetesObject)
A = TypeVar("A")

PAGE = 500
"""Objects in one page of a list."""


def decoded(kind: Kind[T], answer: Answer) -> T:
    """Return the object of an answer; raise as `identified` does."""
    return identified(kind, answer.body, "answer")


def identified(kind: Kind[T], raw: bytes | Raw, what: str) -> T:
    """Return an object that has a uid and a resourceVersion, as all have that the API server stores.

    Raise Failed(api_error) for anything else, such as `{}`, and Refused(proxy_error) for what no API server writes.
    """
    try:
        found = decode(kind.type, raw)
    except msgspec.MsgspecError as error:
        raise undecodable(what, bytes(raw), str(error)) from error
    lacks = [
        name
        for name, there in (("uid", found.uid), ("resourceVersion", number_of(found.metadata.resource_version)))
        if not there
    ]
    if lacks:
        raise undecodable(what, bytes(raw), f"{kind.name} without {' and '.join(lacks)}")
    return found


def decoded_page(kind: Kind[T], answer: Answer) -> tuple[RawList, list[T]]:
    """Return one page of a list, and its objects; raise as `identified` does if it cannot be decoded."""
    try:
        page, items = decode_page(kind.type, answer.body)
    except msgspec.MsgspecError as error:
        raise undecodable(f"list of {kind.plural}", answer.body, str(error)) from error
    if not page.metadata.resource_version:
        raise undecodable(f"list of {kind.plural}", answer.body, "no resourceVersion")
    return page, items


async def paged(
    kind: Kind[T], labels: str, ask: Callable[[Mapping[str, str]], Awaitable[Answer]], *, most: int = sys.maxsize
) -> AsyncIterator[tuple[Answer, RawList, list[T]]]:
    """Yield at most so many pages of the objects with these labels; `ask` sends the query of each.

    Raise as `identified` does for a page that cannot be decoded.
    """
    query = {**({"labelSelector": labels} if labels else {}), "limit": str(PAGE)}
    for _ in range(most):
        answer = await ask(dict(query))
        page, items = decoded_page(kind, answer)
        yield answer, page, items
        if not page.metadata.continue_:
            return
        query["continue"] = page.metadata.continue_


async def permitted(work: Awaitable[A]) -> A | None:
    """Return what the API server answers; None where khealth lacks the permission."""
    try:
        return await work
    except Refused as refused:
        if refused.refusal.denied:
            return None
        raise


async def get_or_none(client: Client, kind: Kind[T], path: str, deadline: float) -> T | None:
    """Ask for the object at a path; None if there is none; raise Refused, or Failed if the answer cannot be decoded."""
    try:
        return decoded(kind, await client.request("get", kind.plural, path, deadline=deadline))
    except Refused as refused:
        if refused.refusal.missing:
            return None
        raise
