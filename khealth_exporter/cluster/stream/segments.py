"""Many reads of one socket in one system call, each with the kernel's time stamp (recvmmsg)."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from khealth_exporter.measure.arrival import ANCILLARY, SO_TIMESTAMPNS

_READS = 32
"""Reads of one call."""

SIZE = 8 << 10
"""Bytes of one read: most lines of a watch are shorter."""

_UNREAD = 0xFFFFFFFF
"""Marks a read that the kernel has not done."""

_NOTHING = (errno.EAGAIN, errno.EINTR)
"""What a read fails with where nothing has come."""

_HEADER = struct.Struct("@Nii")
_TIMESPEC = struct.Struct("@ll")

Segment = tuple[bytes, float | None]
"""What one read returned (no bytes are the end), and its stamp in Unix seconds."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("size", ctypes.c_uint32))


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Segments:
    """Buffers that the kernel fills one after the other, and what has not been taken of them.

    The system call reads again and again without returning to Python: no thread of Python that is busy keeps what
    arrives waiting until it has one stamp with what follows. Another thread may take what is there meanwhile.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Raise AttributeError where the system has no recvmmsg."""
        self._descriptor = sock.fileno()
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._data = (ctypes.c_char * SIZE * _READS)()
        self._control = (ctypes.c_char * ANCILLARY * _READS)()
        self._vectors = (_Vector * _READS)()
        self._messages = (_Message * _READS)()
        for number, message in enumerate(self._messages):
            self._vectors[number] = _Vector(ctypes.addressof(self._data[number]), SIZE)
            message.header.vectors, message.header.vector_count = ctypes.addressof(self._vectors[number]), 1
            message.header.control = ctypes.addressof(self._control[number])
        self._taken = _READS
        self._prepare()

    def _prepare(self) -> None:
        for message in self._messages[: self._taken]:
            message.size, message.header.control_length = _UNREAD, ANCILLARY
        self._taken = 0

    def receive(self, seconds: float) -> bool:
        """Read until the socket's own time limit passes without a byte, the buffers are full, or time is up.

        With 0 seconds, read once. All that was read before must have been taken. Return False if nothing came; raise
        OSError.
        """
        self._prepare()
        limit = ctypes.byref(_Timespec(int(seconds), int(seconds % 1 * 1e9))) if seconds else None
        if self._receive(self._descriptor, self._messages, _READS if seconds else 1, 0, limit) >= 0:
            return True
        if (error := ctypes.get_errno()) in _NOTHING:
            return False
        raise OSError(error, os.strerror(error))

    def take(self) -> Iterator[Segment]:
        """Yield what has been read and not been taken."""
        while self._taken < _READS and (size := self._messages[self._taken].size) != _UNREAD:
            number = self._taken
            self._taken += 1
            yield ctypes.string_at(ctypes.addressof(self._data[number]), size), self._stamp(number)

    def _stamp(self, number: int) -> float | None:
        length = self._messages[number].header.control_length
        if length < _HEADER.size + _TIMESPEC.size:
            return None
        control = ctypes.string_at(ctypes.addressof(self._control[number]), length)
        _, level, kind = _HEADER.unpack_from(control)
        if (level, kind) != (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            return None
        seconds, nanoseconds = _TIMESPEC.unpack_from(control, _HEADER.size)
        return float(seconds) + float(nanoseconds) / 1e9


class SingleReads:
    """The same where the system has no recvmmsg: one read at a time, without a stamp."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._read: list[Segment] = []

    def receive(self, _seconds: float) -> bool:
        """Read once; return False if nothing came, and raise OSError."""
        with suppress(BlockingIOError):
            self._read.append((self._socket.recv(SIZE), None))
        return bool(self._read)

    def take(self) -> Iterator[Segment]:
        """Yield what has been read and not been taken."""
        while self._read:
            yield self._read.pop(0)
