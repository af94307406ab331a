"""The log of client requests."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, as in an audit log."""

    time: float
    """When it arrived, in seconds of the event loop's clock."""
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user_agent: str
    code: int
    """The answer's HTTP code; 0 if the connection was closed without an answer."""


class RequestLog:
    """The latest requests, in the order in which they were answered; a watch is logged when it begins."""

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` requests."""
        self._records: deque[RequestRecord] = deque(maxlen=limit)

    @property
    def records(self) -> tuple[RequestRecord, ...]:
        """The requests, oldest first."""
        return tuple(self._records)

    def add(self, record: RequestRecord) -> None:
        """Add a request."""
        self._records.append(record)

    def clear(self) -> None:
        """Empty the log."""
        self._records.clear()
