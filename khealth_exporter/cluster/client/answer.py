"""What came of a request that was answered as hoped for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp


@dataclass(frozen=True, slots=True)
class Answer:
    """A request was answered as hoped for.

    `sent` and `answered` are monotonic times of the last try, in seconds: just before the request was written, and
    when the last byte of the answer had been read. `delay` is how long, in seconds, that byte may have waited for
    khealth's own event loop. `date` is the server's clock in Unix seconds (whole ones), if it told. `certificate_end`
    is when the certificate of the server ends, in Unix seconds, if there is one and it was verified. `headers` are the
    answer's own.
    """

    code: int
    body: bytes
    sent: float
    answered: float
    delay: float
    tries: int
    date: float | None
    certificate_end: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def date_of(response: aiohttp.ClientResponse) -> float | None:
    """Return what the server's clock said, in Unix seconds."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


async def read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body of an answer; raise ClientPayloadError if it has more than so many bytes."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise aiohttp.ClientPayloadError(f"the answer has more than {most} bytes")
    return b"".join(chunks)
