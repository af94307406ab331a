"""How the latest request was refused: kept apart for each attempt, as one's trouble need not be another's."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from khealth_exporter.cluster.client.request import Call
from khealth_exporter.cluster.errors import Refused


@dataclass(slots=True)
class _Latest:
    asked: bool = False
    refused: Refused | None = None


_of_attempt: ContextVar[_Latest | None] = ContextVar("_of_attempt", default=None)


@contextmanager
def own_trouble() -> Iterator[None]:
    """Keep apart what becomes of the requests inside, in the tasks that start there too."""
    token = _of_attempt.set(_Latest())
    try:
        yield
    finally:
        _of_attempt.reset(token)


class Troubles:
    """How the latest request of each attempt ended, and the latest one outside of any, such as a watch's."""

    def __init__(self) -> None:
        self._shared = _Latest()

    def take(self, call: Call, refused: Refused | None) -> None:
        """Take in what became of a request: None if the API server has answered it and accepts the credentials."""
        if call.server_name:
            return  # One of several API servers may be away: the others do what is asked.
        latest = _of_attempt.get() or self._shared
        latest.asked, latest.refused = True, refused

    def now(self) -> Refused | None:
        """Return the latest refusal that an answer has not followed; the shared one before the attempt has asked."""
        own = _of_attempt.get()
        return own.refused if own and own.asked else self._shared.refused
