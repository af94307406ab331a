"""When bytes arrived, by the kernel's own time stamp."""

import socket
import struct
import sys
from contextlib import suppress

from msgspec import Struct

from khealth_exporter.measure.clock import Clock

SO_TIMESTAMPNS: int = getattr(socket, "SO_TIMESTAMPNS", 35)
"""Python lacks the name; 35 is Linux's number on every processor that Python runs on, but for SPARC and PA-RISC."""

ANCILLARY = socket.CMSG_SPACE(2 * struct.calcsize("@l"))
"""Bytes that a read needs for the stamp."""

_COARSE = 1e-3
"""Seconds by which the two clocks may differ between two readings; a clock that is set jumps by more."""

_DRIFT = 1e-3
"""Seconds a second by which a clock is slewed at most: twice what the kernel allows NTP."""

_TOGETHER = 50e-6
"""Seconds within which two readings of clocks count as one; in between the kernel may let others run."""


class Arrival(Struct, frozen=True):
    """When some bytes arrived, in monotonic seconds.

    `stamped`: the kernel told, and `delay` is how much later khealth was there to read them, in seconds, if that is
    known. Otherwise `at` is when they were read, and `delay` is how much earlier they may have arrived.
    `spread` is how much earlier than the last of them the first may have arrived, in seconds; no earlier than a
    processor was free to read it, unless khealth was `late` to ask for it. `more` came along that cannot be read yet.
    `queued` is how long, in seconds, the reader waited for a processor meanwhile; infinite where that is unknown.
    """

    at: float
    delay: float | None
    stamped: bool
    spread: float = 0.0
    late: bool = False
    more: bool = False
    queued: float = 0.0

    @property
    def uncertainty(self) -> float:
        """How much earlier the last of them may have arrived, in seconds."""
        return 0.0 if self.stamped else self.delay or 0.0


class ArrivalClock:
    """Makes sense of the stamps of one socket.

    A stamp is of the machine's UTC clock, which may be set at any time. It counts only while that clock keeps pace with
    the monotonic one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        before, utc, after = clock.readings()
        self._now = self._began = self._last = self._known = (before + after) / 2
        self._offset = utc - self._now
        self._jumped = False

    def watch(self, sock: socket.socket) -> bool:
        """Ask the kernel to stamp what this socket receives, and tell whether it may do so."""
        if sys.platform == "linux":
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                return True
        return False

    def look(self) -> None:
        """Read the clocks: what is asked for next has been read by now."""
        before, utc, after = self._clock.readings()
        now = (before + after) / 2
        offset = utc - now
        allowed = _COARSE + _DRIFT * (now - self._now) + (after - before) / 2
        self._jumped = abs(offset - self._offset) > allowed
        if after - before > _TOGETHER and not self._jumped:
            offset = self._offset
        self._now, self._offset = now, offset

    def arrival(
        self, stamp: float | None, asked: float | None, woke: float | None, *, full: bool = False, queued: float = 0.0
    ) -> Arrival:
        """Return when bytes with this stamp (Unix seconds) arrived.

        `asked` is when khealth asked for them, and `woke` when it had them, where it was not the kernel that read them
        on its behalf. A `full` read may have left behind what came before its stamp.
        """
        at = self._now if stamp is None else stamp - self._offset
        stamped = stamp is not None and not self._jumped and self._began <= at < self._now + _COARSE
        if stamped:
            delay = None if woke is None else max(0.0, woke - at)
        elif woke is not None:
            at, delay = woke, self._now - woke + self._clock.delay(self._now)
        else:
            # The kernel has read them at some time since the last bytes of which it is known when they came.
            at, delay = self._now, self._now - self._known
        if stamped or woke is not None:
            self._known = at
        spread, self._last = max(0.0, at - self._last), self._last if full else at
        return Arrival(at, delay, stamped, spread, asked is not None and at <= asked, queued=queued)
