"""When bytes arrived, by the kernel's own time stamp."""

import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

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

Ancillary = Iterable[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Arrival:
    """When some bytes arrived, in monotonic seconds.

    `stamped`: the kernel told, and `delay` is how much later khealth read them, in seconds; it is not part of `at`.
    Otherwise `at` is when they were read, and `delay` is how much earlier they may have arrived.
    """

    at: float
    delay: float
    stamped: bool

    @property
    def read(self) -> float:
        """When khealth read them, in monotonic seconds."""
        return self.at + self.delay if self.stamped else self.at

    @property
    def uncertainty(self) -> float:
        """How much earlier they may have arrived, in seconds."""
        return 0.0 if self.stamped else self.delay


class ArrivalClock:
    """Reads the stamps of one socket.

    A stamp is of the machine's UTC clock, which may be set at any time. It counts only while that clock keeps pace with
    the monotonic one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read, utc = clock.both()
        self._offset = utc - self._read
        self._began = self._read

    def watch(self, sock: socket.socket) -> None:
        """Ask the kernel to stamp what this socket receives; where it cannot, every arrival is unstamped."""
        if sys.platform == "linux":
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def arrival(self, ancillary: Ancillary) -> Arrival:
        """Return the arrival of what was just read, by what `recvmsg` returned beside it."""
        now, utc = self._clock.both()
        jumped = abs(utc - now - self._offset) > _COARSE + _DRIFT * (now - self._read)
        self._read, self._offset = now, utc - now
        stamp = _stamp(ancillary)
        if stamp is not None and not jumped:
            delay = utc - stamp
            if -_COARSE < delay <= now - self._began:
                delay = max(0.0, delay)
                return Arrival(now - delay, delay, stamped=True)
        return Arrival(now, self._clock.delay(now), stamped=False)


def _stamp(ancillary: Ancillary) -> float | None:
    """Return the stamp in Unix seconds."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds) + float(nanoseconds) / 1e9
    return None
