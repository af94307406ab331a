"""A thread that only reads one socket: of what arrives, it knows when."""

import errno
import math
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from khealth_exporter.cluster.stream.segments import SIZE, Segments, SingleReads
from khealth_exporter.measure.arrival import Arrival, ArrivalClock
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.run_queue import RunQueue

_MOST = 1024
"""Reads that wait for the event loop at most; then the kernel keeps what comes."""

_REFUSED = (errno.ENOSYS, errno.EPERM)
"""How a sandbox refuses a system call that it does not know."""

_REST = 64 << 10
"""Bytes that are read at once after an error."""

_ATTENTION = 0.7
"""Seconds for which a thread is attentive after bytes came, or somebody looked for some."""

_TIMEVAL = struct.Struct("@ll")

Piece = tuple[bytes, Arrival]
"""Bytes that were read at once, and when they arrived."""


class SocketReader:
    """Reads a socket in a thread of its own, and tells the event loop of what has come.

    With `patience`, in seconds, what comes within that time is told of at once: to wake up costs more than a line.

    A thread that wakes up to read may have to wait for Python, and what comes meanwhile gets one stamp. So while more
    is expected it is attentive: it waits in the very call that reads, for `patience` at a time.
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
        self._attentive = -math.inf
        """Until when it is attentive, in monotonic seconds."""
        self._polls = False
        """Whether it may wait for bytes outside of that call."""
        self._kick: int | None = None
        """What wakes the thread up to become attentive; the lock is held while it is used."""
        self._room = threading.Event()
        self._queue: RunQueue | None = None
        self._queued = self._limit = 0.0
        self._told = self._closed = False
        sock.settimeout(None)
        threading.Thread(target=self._run, name="khealth-watch-reader", daemon=True).start()

    def take(self) -> list[Piece]:
        """Return what has come; no bytes are the end."""
        if not self._told:
            self._attend()
        self._told = False
        self._collect()
        with self._lock:
            read, self._read = self._read, []
        self._room.set()
        return read

    def _attend(self) -> None:
        """Make the thread attentive: somebody looks for bytes of which it has not told."""
        self._attentive = self._clock.now() + _ATTENTION
        if self._polls and self.patience:
            with self._lock:
                if self._kick is not None:
                    os.eventfd_write(self._kick, 1)

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
            if self._stamped:
                self._kick = os.eventfd(0, os.EFD_CLOEXEC)
            self._read_all()
        except OSError as error:
            self._read_rest()
            self.failed = error
        finally:
            self._queue.close()
            self._socket.close()
            with self._lock:
                kick, self._kick = self._kick, None
            if kick is not None:
                os.close(kick)
            self._tell()

    def _read_all(self) -> None:
        poll = select.poll()
        for source in (self._socket, self._kick):
            if source is not None:
                poll.register(source, select.POLLIN)
        while not self._closed:
            if not self._come(poll):
                continue
            patience = self._held_back
            self._bound(patience)
            # Most waits of an attentive thread are in vain: they cost little more than the system call.
            if not self._receive(patience):
                continue
            if self._collect():
                return
            if self._read:
                self._hand_on()

    @property
    def _held_back(self) -> float:
        """How long, in seconds, what comes may wait for more: without stamps it would lose its time."""
        return self.patience if self._stamped else 0.0

    def _come(self, poll: select.poll) -> bool:
        """Wait for bytes, unless they are to be waited for while reading; tell whether to read."""
        self._polls, asked, woke = True, self._clock.now(), None
        self._since_then()
        if not self._held_back or asked >= self._attentive:
            sources = {source for source, _ in poll.poll()}
            if self._kick in sources:
                os.eventfd_read(self._kick)
            if self._socket.fileno() not in sources:
                return False
            woke = self._clock.now()
        self._polls, self._asked, self._woke = False, asked, woke
        return True

    def _hand_on(self) -> None:
        """Tell the event loop of what has come, and wait if it takes nothing."""
        self._attentive = self._clock.now() + _ATTENTION
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

    def _receive(self, patience: float) -> bool:
        try:
            return self._segments.receive(patience)
        except OSError as error:
            if error.errno not in _REFUSED or isinstance(self._segments, SingleReads):
                raise
        self._segments = SingleReads(self._socket)
        return False

    def _collect(self) -> bool:
        """Take over what the kernel has read, and tell whether the end is among it."""
        with self._lock:
            if segments := list(self._segments.take()):
                self._arrivals.look()
                queued = self._since_then()
            for data, stamp in segments:
                arrival = self._arrivals.arrival(stamp, self._asked, self._woke, full=len(data) == SIZE, queued=queued)
                self._woke = None
                # The kernel begins to stamp a moment after the first socket has asked for it.
                self._stamped = stamp is not None or not data
                self._read.append((data, arrival))
                if not data:
                    return True
        return False

    def _since_then(self) -> float:
        """Return how long, in seconds, the thread has waited for a processor since this was called last."""
        if not self._queue or not self._queue.known:
            return math.inf
        before, self._queued = self._queued, self._queue.waited()
        return self._queued - before

    def _bound(self, seconds: float) -> None:
        """Let a read wait for so long for its first byte; 0 is without a limit."""
        if seconds != self._limit:
            self._limit = seconds
            limit = _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
