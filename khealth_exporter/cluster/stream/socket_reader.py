"""A thread that only reads one socket: of what arrives, it knows when."""

import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from khealth_exporter.measure.arrival import ANCILLARY, Arrival, ArrivalClock, Reading
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.run_queue import RunQueue

Piece = tuple[bytes, Arrival]
"""Bytes that were read at once, and when they arrived."""

_READ = 64 << 10
"""Bytes that are read at once: a busy watch's line is a few KiB."""

_MANY, _MOST = 64, 1024
"""Reads of which the event loop is told at once; reads at which the thread waits for the loop, and the kernel keeps
what comes."""


class SocketReader:
    """Reads a socket in a thread of its own, and tells the event loop of what has come.

    A thread that waits in recvmsg is the cheapest way to read each segment as it arrives. It does nothing but note
    the time: all else is cheaper done at once for many.
    """

    def __init__(self, sock: socket.socket, clock: Clock, tell: Callable[[], None]) -> None:
        """Begin to read; `tell` is called in the thread where something has come and nobody is told yet."""
        self.failed: OSError | None = None
        """Why nothing more comes, where that is no end."""
        self._socket, self._tell, self._clock = sock, tell, clock
        self._arrivals = ArrivalClock(clock)
        self._arrivals.watch(sock)
        self._read: deque[tuple[bytes, Reading]] = deque()
        self._room = threading.Event()
        self._queue: RunQueue | None = None
        self._queued = 0.0
        self._told = self._closed = self._ended = self._full = False
        sock.settimeout(None)
        threading.Thread(target=self._run, name="khealth-watch-reader", daemon=True).start()

    def take(self) -> list[Piece]:
        """Return what has come; no bytes are the end."""
        pieces = []
        while self._read:
            data, reading = self._read.popleft()
            pieces.append((data, self._arrivals.arrival(reading)))
        if self._full:
            self._room.set()
        return pieces

    def queued(self) -> float:
        """Return how long, in seconds, the thread has waited for a processor since this was asked last."""
        before, self._queued = self._queued, self._queue.waited() if self._queue else 0.0
        return self._queued - before

    @property
    def urgent(self) -> bool:
        """Whether what has come should be taken at once: it is much, or all."""
        return len(self._read) >= _MANY or self._ended

    def ask(self) -> bool:
        """Ask to be told of what comes; False if something is there already."""
        self._told = False
        return not self._read

    def close(self) -> None:
        """End the thread, which closes the socket."""
        self._closed = True
        self._room.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        self._queue = RunQueue()
        try:
            self._read_all()
        except OSError as error:
            self.failed = error
        finally:
            self._queue.close()
            self._socket.close()
            self._ended = True
            self._tell()

    def _read_all(self) -> None:
        receive, note, delay = self._socket.recvmsg, self._read.append, self._clock.delay
        monotonic, utc = self._clock.monotonic, self._clock.utc_now
        while not self._closed:
            data, ancillary, _, _ = receive(_READ, ANCILLARY)
            before = monotonic()
            note((data, (ancillary, 0.0 if ancillary else delay(before), before, utc(), monotonic())))
            if not self._told or not len(self._read) % _MANY:
                self._told = True
                self._tell()
            if not data:
                return
            if len(self._read) >= _MOST:
                self._wait_for_room()

    def _wait_for_room(self) -> None:
        self._room.clear()
        self._full = True
        if len(self._read) >= _MOST and not self._closed:
            self._room.wait()
        self._full = False
