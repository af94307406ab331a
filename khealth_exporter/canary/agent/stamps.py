"""How long an exchange took by the kernel's clock, so that no delay of Python's is in it."""

import contextlib
import errno
import os
import socket
import struct
import time

from khealth_exporter.canary import kernel
from khealth_exporter.canary.agent.loop import readable, writable

_TIMESTAMPNS = 35
"""SO_TIMESTAMPNS on Linux, whose name Python lacks."""
_TIMESTAMPING = 37
"""SO_TIMESTAMPING on Linux, see Documentation/networking/timestamping.rst."""
_DEPARTURES = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 11
"""When a packet leaves, by software; numbered, and without the packet itself."""
_ERROR_QUEUE = 0x2000
"""MSG_ERRQUEUE: where the times of departure are read."""
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY = 256
"""Bytes: enough for the control messages with times."""
_OLDEST = 60.0
"""Seconds. No packet waits longer to be read; a larger difference means that the clock was set."""
_TCP_INFO = struct.Struct("@8x24I")
"""The beginning of struct tcp_info, see linux/tcp.h."""
_RTT, _RETRANSMITTED = 15, 23
_MICROSECOND = 1e-6
_LOOKS = 3
"""How often to look at both clocks. A process that has no CPU for a while between them must not shift a time."""


class Arrival:
    """Bytes that came, from where, and the monotonic time of their arrival, with the seconds of its uncertainty.

    The uncertainty is None if the kernel did not tell when they came. Then it is the time of reading.
    """

    __slots__ = ("address", "at", "data", "uncertainty")

    def __init__(self, data: bytes, at: float, uncertainty: float | None, address: tuple[str, int]) -> None:
        self.data = data
        self.at = at
        self.uncertainty = uncertainty
        self.address = address


class Busy:
    """The most by which this process itself can have delayed what it did since: its CPU time, and its time without."""

    __slots__ = ("_cpu", "_waited")

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._waited = kernel.waited_here() or 0.0

    def seconds(self) -> float:
        """Return the seconds so far."""
        return kernel.CLOCK_SECONDS + time.process_time() - self._cpu + (kernel.waited_here() or 0.0) - self._waited


class Trip:
    """What came of a round trip: its `seconds` ± `uncertainty`; when the answer came, and who gave it.

    `error` says why there was none.
    """

    __slots__ = ("at", "error", "name", "seconds", "uncertainty")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.uncertainty = 0.0
        self.error = ""
        self.name = ""
        self.at = 0.0

    def add(self, seconds: float, uncertainty: float) -> None:
        """Add a part of the way."""
        self.seconds += seconds
        self.uncertainty += uncertainty


def stamp(sock: socket.socket) -> None:
    """Ask the kernel for the times of arrival; where it has none, the times of reading stay."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)


def receive(sock: socket.socket, most: int) -> Arrival:
    """Read from a stamped socket; of a stream, the time is the last segment's. Raise OSError."""
    data, ancillary, _, address = sock.recvmsg(most, _ANCILLARY)
    now = time.monotonic()
    at, uncertainty = _told(ancillary, _TIMESTAMPNS) or (now, None)
    return Arrival(data, at, uncertainty, address)


def _told(ancillary: list[tuple[int, int, bytes]], wanted: int) -> tuple[float, float] | None:
    """Return the monotonic time that the kernel tells, and the seconds of its uncertainty; None if it tells none."""
    for _, kind, value in ancillary:
        if kind == wanted and len(value) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            apart, now, real = min(_both_clocks() for _ in range(_LOOKS))
            ago = (real - seconds * 1_000_000_000 - nanoseconds) / 1e9
            return (now - ago, apart) if -apart <= ago < _OLDEST else None
    return None


def _both_clocks() -> tuple[float, float, int]:
    """Return the monotonic time and the real one, in nanoseconds, after the seconds by which they may be apart."""
    before, real, after = time.monotonic(), time.time_ns(), time.monotonic()
    return (after - before) / 2, (before + after) / 2, real


def family(address: str) -> int:
    """Return the family of an IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def connect(sock: socket.socket, address: tuple[str, int], until: float) -> tuple[float, float]:
    """Connect; return the seconds of the handshake, and their uncertainty. Raise OSError, TimeoutError among them.

    The kernel's own measurement of the first round trip counts, unless a packet had to be sent again.
    """
    busy, began = Busy(), time.monotonic()
    sock.settimeout(0)
    number = sock.connect_ex(address)
    if number == errno.EINPROGRESS:
        if not await writable(sock, until):
            raise TimeoutError(errno.ETIMEDOUT, "no connection in time")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    seconds = time.monotonic() - began
    with contextlib.suppress(OSError, struct.error):
        info = _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
        measured = info[_RTT] * _MICROSECOND
        if 0 < measured <= seconds and not info[_RETRANSMITTED]:
            return measured, kernel.CLOCK_SECONDS
    if began + seconds > until:
        raise TimeoutError(errno.ETIMEDOUT, "connected too late, by a packet that was sent again")
    return seconds, busy.seconds()


class Sent:
    """Bytes that were sent at once to a connected and stamped socket; raises OSError."""

    def __init__(self, sock: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPING, _DEPARTURES)
        self._sock = sock
        self._busy = Busy()
        self._at = time.monotonic()
        """When the bytes left, or else when they were given to the kernel."""
        sock.send(data)
        self._doubt = time.monotonic() - self._at
        """Seconds by which they may have left later."""
        self._known = False
        self._departed()

    async def next_arrival(self, until: float, most: int) -> Arrival:
        """Wait for bytes that come back; raise OSError, TimeoutError among them."""
        while True:
            if not await readable(self._sock, until):
                raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
            try:
                return receive(self._sock, most)
            except BlockingIOError:
                self._departed()

    def answered(self, answer: Arrival, held: float, trip: Trip) -> None:
        """Add the way there and back, without the time for which the other side held the answer."""
        seconds = max(0.0, answer.at - self._at)
        doubt = min(self._doubt, seconds)
        reading = self._busy.seconds() if answer.uncertainty is None else answer.uncertainty
        uncertainty = max(doubt + reading, kernel.CLOCK_SECONDS)
        trip.at = answer.at
        trip.add(seconds - held if 0 <= held <= seconds else seconds, uncertainty)

    def _departed(self) -> None:
        """Learn when the first packet left, if the network device tells; some tell a little later."""
        with contextlib.suppress(OSError):
            told = _told(self._sock.recvmsg(0, _ANCILLARY, _ERROR_QUEUE)[1], _TIMESTAMPING)
            if told and not self._known and told[0] + told[1] >= self._at:
                self._at, self._doubt = told
                self._known = True


def told(error: OSError) -> str:
    """Return an error in words, with the name of its number."""
    kind = type(error)
    if kind.__module__ != "builtins":
        return f"{kind.__name__}: {error}"[:200]
    return f"{errno.errorcode.get(error.errno or 0, kind.__name__)}: {error.strerror or error}"[:200]
