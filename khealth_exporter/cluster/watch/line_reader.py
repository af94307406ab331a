"""Reading the lines of a watch."""

import math
from typing import Generic, TypeVar

import msgspec

from khealth_exporter.cluster.decoding import ReadLine, WatchLine, decode, parse
from khealth_exporter.cluster.errors import judge
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.measure.arrival import Arrival

T = TypeVar("T", bound=KubernetesObject)

LONGEST_LINE = 8 << 20
"""Bytes; no object that the API server stores is larger than etcd's 1.5 MiB."""

_CATCHING_UP = 1.0
"""Seconds after a resumed stream's opening in which its lines may be old news."""


class Broken(Exception):  # noqa: N818 - a turn that watches take, no error
    """A stream that is over, with the cause as counted, and whether only a new list can be trusted."""

    def __init__(self, cause: str, *, relist: bool) -> None:
        super().__init__(cause)
        self.cause, self.relist = cause, relist


class LineSplitter:
    """Splits what arrives into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes, arrival: Arrival) -> list[tuple[bytes, float]]:
        """Return each whole line, with how much earlier than the arrival it may have come, in seconds.

        Without a stamp that includes how long the reader waited for a processor, as far as the kernel tells. Raise
        Broken if a line is longer than any object.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise Broken("garbled", relist=True)
        if arrival.stamped:
            # Only the last of what arrived together has the time of the arrival.
            early, last = arrival.spread if arrival.late else min(arrival.spread, arrival.queued), 0.0
        else:
            early = last = arrival.uncertainty + (arrival.queued if math.isfinite(arrival.queued) else 0.0)
        together = len(lines) - (not (self._rest or arrival.more))
        return [(line, early if number < together else last) for number, line in enumerate(lines) if line]


class Continuity:
    """Tells what a watch shows as it happens from what it has missed, and now shows late."""

    def __init__(self, now: float) -> None:
        self.heard = self.opened = now
        """When the watch last showed anything as it happened, and when its stream was opened, in monotonic seconds."""
        self.resuming = False
        """Whether the stream goes on after a gap, which is not over yet."""

    def delay(self, arrival: Arrival) -> tuple[float, bool]:
        """Return how much earlier what arrives may have happened, in seconds, and whether it may be old news."""
        if self.resuming and arrival.at - self.opened < _CATCHING_UP:
            return max(arrival.uncertainty, arrival.at - self.heard), True
        self.resuming, self.heard = False, arrival.at
        return arrival.uncertainty, False


class LineReader(Generic[T]):
    """Decodes lines: at once if they are well formed, else with patience."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._line: type[ReadLine[T]] = ReadLine[kind]  # type: ignore[valid-type]

    def read(self, raw: bytes) -> tuple[str, T]:
        """Return a line's type and object; raise Broken for the server's error, or msgspec's error."""
        try:
            read = parse(self._line, raw)
        except msgspec.DecodeError:
            line = parse(WatchLine, raw)
            if line.type == "ERROR":
                raise _refused(bytes(line.object)) from None
            return line.type, decode(self._kind, line.object)
        if read.type == "ERROR":
            raise _refused(bytes(parse(WatchLine, raw).object))
        return read.type, read.object


def _refused(status: bytes) -> Broken:
    return Broken("expired" if judge(200, status).expired else "error", relist=True)
