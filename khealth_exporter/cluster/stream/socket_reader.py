"""A thread that only reads one socket: of what arrives, it knows when."""

import errno
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from khealth_exporter.cluster.stream.segments import Segments, SingleReads
from khealth_exporter.measure.arrival import Arrival, ArrivalClock
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.run_queue import RunQueue

_MOST = 1024
"""Reads that wait for the event loop at most; then the kernel keeps what comes."""

_REFUSED = (errno.ENOSYS, errno.EPERM)
"""How a sandbox refuses a system call that it does not know."""

_REST = 64 << 10
"""Bytes that are read at once after an error."""

_TIMEVAL = struct.Struct("@ll")

Piece = tuple[bytes, Arrival]
"""Bytes that were read at once, and when they arrived."""


class SocketReader:
    """Reads a socket in a thread of its own, and tells the event loop of what has come.

    With `patience`, in seconds, what comes within that time is told of at once: to wake up costs more than a line.
    """

    def __init__(self, sock: socket.socket, clock: Clock, tell: Callable[[], None]) -> None:
        """Begin to read; `tell` is called in the thread where something has come and nobody is told yet.

        The socket is the reader's from now on: only its thread may close it, which knows it by its number.
        """
        self.patience = 0.0
        self.failed: OSError | None = None
        """Why nothing more comes, where that is no end."""
        self._socket, self._tell, self._clock = sock, tell, clock
        self._arrivals = ArrivalClock(clock)
        self._stamped = self._arrivals.watch(sock)
        try:
            self._segments: Segments | SingleReads = Segments(sock)
        except AttributeError:
            self._segments = SingleReads(sock)
        self._lock = threading.Lock()
        """Held by who takes from the segments."""
        self._read: list[Piece] = []
        self._asked: float | None = None
        self._woke: float | None = None
        """When the thread asked for the first bytes of those that come now, and woke up to read them."""
        self._room = threading.Event()
        self._queue: RunQueue | None = None
        self._queued = self._limit = 0.0
        self._wait: float | None = None
        """How long it waited for a processor before what was taken last, once that was asked."""
        self._told = self._closed = False
        sock.settimeout(None)
        threading.Thread(target=self._run, name="khealth-watch-reader", daemon=True).start()

    def take(self) -> list[Piece]:
        """Return what has come; no bytes are the end."""
        self._told = False
        self._wait = None
        self._collect()
        with self._lock:
            read, self._read = self._read, []
        self._room.set()
        return read

    def queued(self) -> float:
        """Return how long, in seconds, the thread has waited for a processor up to what was taken last.

        It counts from the last time that this was asked for earlier bytes.
        """
        if self._wait is None:
            before, self._queued = self._queued, self._queue.waited() if self._queue else 0.0
            self._wait = self._queued - before
        return self._wait

    def close(self) -> None:
        """End the thread, which closes the socket."""
        self._closed = True
        self._room.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        # A signal would end a system call that has a time limit; the main thread takes it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._queue = RunQueue()
        try:
            self._read_all()
        except OSError as error:
            self._read_rest()
            self.failed = error
        finally:
            self._queue.close()
            self._socket.close()
            self._tell()

    def _read_all(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not self._closed:
            asked = self._clock.now()
            poll.poll()
            self._asked, self._woke = asked, self._clock.now()
            patience = self.patience if self._stamped else 0.0
            self._bound(patience)
            with suppress(BlockingIOError, InterruptedError):
                self._receive(patience)
            if self._collect():
                return
            if not self._told:
                self._told = True
                self._tell()
            if len(self._read) >= _MOST:
                self._room.clear()
                if len(self._read) >= _MOST and not self._closed:
                    self._room.wait()

    def _read_rest(self) -> None:
        """Read what had come before the connection broke: recvmmsg tells of the error first."""
        with suppress(OSError), self._lock:
            while data := self._socket.recv(_REST, socket.MSG_DONTWAIT):
                self._arrivals.look()
                self._read.append((data, self._arrivals.arrival(None, None, None)))

    def _receive(self, patience: float) -> None:
        try:
            self._segments.receive(patience)
        except OSError as error:
            if error.errno not in _REFUSED or isinstance(self._segments, SingleReads):
                raise
            self._segments = SingleReads(self._socket)

    def _collect(self) -> bool:
        """Take over what the kernel has read, and tell whether the end is among it."""
        with self._lock:
            if segments := list(self._segments.take()):
                self._arrivals.look()
            for data, stamp in segments:
                arrival = self._arrivals.arrival(stamp, self._asked, self._woke)
                self._asked = self._woke = None
                # The kernel begins to stamp a moment after the first socket has asked for it.
                self._stamped = stamp is not None or not data
                self._read.append((data, arrival))
                if not data:
                    return True
        return False

    def _bound(self, seconds: float) -> None:
        """Let a read wait for so long for its first byte; 0 is without a limit."""
        if seconds != self._limit:
            self._limit = seconds
            limit = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
