"""The log of the requests that clients made."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, as the audit log would tell it."""

    time: float
    """When it arrived, in seconds of the event loop's clock."""
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user_agent: str
    code: int
    """The answer's HTTP code; 0 where the client went away, or was sent away, without one."""


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
        """Forget every request."""
        self._records.clear()
