"""The body of an answer that goes on: a watch."""

from collections.abc import Callable, Sequence

from khealth_exporter.cluster.errors import Refused, no_answer
from khealth_exporter.cluster.stream.opening import Opened
from khealth_exporter.cluster.stream.socket_reader import Piece

Take = Callable[[Sequence[Piece]], None]


class Stream:
    """What a server goes on to tell after the head of its answer."""

    def __init__(self, opened: Opened, request: str) -> None:
        self._opened, self._request = opened, request
        self._rest = opened.rest
        self._failed: Exception | None = None
        """What a taker raised; it is told though who followed was cancelled meanwhile."""

    async def follow(self, take: Take, patience: float = 0.0) -> None:
        """Hand on the body's bytes as they arrive, until it ends; each may wait `patience` seconds for others.

        Raise Refused where the connection breaks, and whatever `take` raises. It may be called again after it was
        cancelled: what arrives meanwhile is kept, with its time.
        """
        body = self._opened.body

        def receive(pieces: Sequence[Piece]) -> bool:
            told: list[Piece] = []
            try:
                for data, arrival in pieces:
                    if part := body.feed(data):
                        told.append((part, arrival))
            finally:
                try:
                    if told:
                        take(told)
                except Exception as error:  # noqa: BLE001 - it is the taker's, no fault of the connection
                    self._failed = error
            return self._failed is not None or body.ended

        try:
            rest, self._rest = self._rest, ()
            if not receive(rest):
                await self._opened.wire.follow(receive, patience)
                if not self._failed:
                    body.close()
        except OSError as error:
            raise Refused(no_answer(error), self._request) from error
        if self._failed:
            raise self._failed

    def flush(self) -> None:
        """Hand on what has arrived, without patience."""
        self._opened.wire.flush()

    async def read_all(self) -> bytes:
        """Return the whole body; raise Refused."""
        parts: list[bytes] = []
        await self.follow(lambda pieces: parts.extend(data for data, _ in pieces))
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection at once."""
        self._opened.wire.close()
