"""The body of an answer that goes on: a watch."""

from collections.abc import Callable

from khealth_exporter.cluster.errors import Refused, no_answer
from khealth_exporter.cluster.stream.opening import Opened
from khealth_exporter.measure.arrival import Arrival

Take = Callable[[bytes, Arrival], None]


class Stream:
    """What a server goes on to tell after the head of its answer."""

    def __init__(self, opened: Opened, request: str) -> None:
        self._opened, self._request = opened, request
        self._rest = opened.rest

    async def follow(self, take: Take) -> None:
        """Hand on the body's bytes as they arrive, until it ends.

        Raise Refused where the connection breaks, and whatever `take` raises. It may be called again after it was
        cancelled: what arrives meanwhile waits in the kernel, which stamps it.
        """
        failed: list[Exception] = []

        def receive(data: bytes, arrival: Arrival) -> bool:
            if told := self._opened.body.feed(data):
                try:
                    take(told, arrival)
                except Exception as error:  # noqa: BLE001 - it is the taker's, no fault of the connection
                    failed.append(error)
                    return True
            return self._opened.body.ended

        try:
            rest, self._rest = self._rest, b""
            if not receive(rest, self._opened.arrival):
                await self._opened.wire.follow(receive)
                if not failed:
                    self._opened.body.close()
        except OSError as error:
            raise Refused(no_answer(error), self._request) from error
        if failed:
            raise failed[0]

    async def read_all(self) -> bytes:
        """Return the whole body; raise Refused."""
        parts: list[bytes] = []
        await self.follow(lambda data, _: parts.append(data))
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection at once."""
        self._opened.wire.close()
