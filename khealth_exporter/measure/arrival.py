"""When bytes arrived, by the kernel's own time stamp."""

import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from msgspec import Struct

from khealth_exporter.measure.clock import Clock

SO_TIMESTAMPNS: int = getattr(socket, "SO_TIMESTAMPNS", 35)
"""Python lacks the name; 35 is Linux's number on every processor that Python runs on, but for SPARC and PA-RISC."""

_TIMESPEC = struct.Struct("@ll")
ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)
"""Bytes that `recvmsg` needs for the stamp."""

_COARSE = 1e-3
"""Seconds by which the two clocks may differ between two readings; a clock that is set jumps by more."""

_DRIFT = 1e-3
"""Seconds a second by which a clock is slewed at most: twice what the kernel allows NTP."""

_TOGETHER = 50e-6
"""Seconds within which two readings of clocks count as one; in between the kernel may let others run."""


Ancillary = Iterable[tuple[int, int, bytes]]
"""What `recvmsg` returns beside the bytes."""

Reading = tuple[Ancillary, float, float, float, float]
"""What is noted when bytes are read; to make sense of it has time.

Beside the ancillary data, how long khealth may have been too busy to read them; the monotonic time, the machine's UTC
clock, and the monotonic time again; all in seconds.
"""


class Arrival(Struct, frozen=True):
    """When some bytes arrived, in monotonic seconds.

    `stamped`: the kernel told, and `delay` is how much later khealth read them, in seconds; it is not part of `at`.
    Otherwise `at` is when they were read, and `delay` is how much earlier they may have arrived.
    `spread` is how much earlier than the last of them the first may have arrived, in seconds; where they `woke` the
    reader, it is no more than the reader then waited for a processor.
    """

    at: float
    delay: float
    stamped: bool
    spread: float = 0.0
    woke: bool = False

    @property
    def read(self) -> float:
        """When khealth read them, in monotonic seconds."""
        return self.at + self.delay if self.stamped else self.at

    @property
    def uncertainty(self) -> float:
        """How much earlier the last of them may have arrived, in seconds."""
        return 0.0 if self.stamped else self.delay


class ArrivalClock:
    """Reads the stamps of one socket.

    A stamp is of the machine's UTC clock, which may be set at any time. It counts only while that clock keeps pace with
    the monotonic one.
    """

    def __init__(self, clock: Clock) -> None:
        before, utc, after = clock.readings()
        self._read = self._began = (before + after) / 2
        self._offset = utc - self._read
        self._last_at = self._last_read = self._read

    def watch(self, sock: socket.socket) -> None:
        """Ask the kernel to stamp what this socket receives; where it cannot, every arrival is unstamped."""
        if sys.platform == "linux":
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def arrival(self, reading: Reading) -> Arrival:
        """Return the arrival of what was read."""
        ancillary, busy, before, utc, after = reading
        now = (before + after) / 2
        offset = utc - now
        allowed = _COARSE + _DRIFT * (now - self._read) + (after - before) / 2
        jumped = abs(offset - self._offset) > allowed
        if after - before > _TOGETHER and not jumped:
            now, offset = after, self._offset
        else:
            self._read, self._offset = now, offset
        stamp = None if jumped else _stamp(ancillary)
        delay = now + offset - stamp if stamp is not None else -1.0
        if stamped := -_COARSE < delay <= now - self._began:
            delay = max(0.0, delay)
            at = now - delay
        else:
            at, delay = now, busy
        spread, woke = max(0.0, at - self._last_at), at > self._last_read + _COARSE
        self._last_at, self._last_read = at, now
        return Arrival(at, delay, stamped, spread, woke)


def _stamp(ancillary: Ancillary) -> float | None:
    """Return the stamp in Unix seconds."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds) + float(nanoseconds) / 1e9
    return None
