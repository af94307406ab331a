"""Reading a socket in a thread: every segment with the kernel's time, handed on in time."""

import asyncio
import ctypes
import errno
import itertools
import math
import select
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from sockets import pair

from khealth_exporter.cluster.stream import segments, socket_reader
from khealth_exporter.cluster.stream.segments import Segments, SingleReads
from khealth_exporter.cluster.stream.socket_reader import Piece, SocketReader
from khealth_exporter.measure.arrival import SO_TIMESTAMPNS, ArrivalClock
from khealth_exporter.measure.clock import Clock

PATIENCE = 60.0
"""Seconds after which a test has failed that waits for something."""


@dataclass
class Reading:
    """A reader, the other end of its socket, and what it has told of."""

    reader: SocketReader
    far: socket.socket
    clock: Clock
    pieces: list[Piece] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def said(self) -> bytes:
        """All that has been taken."""
        return b"".join(data for data, _ in self.pieces)

    def take(self) -> bytes:
        """Take what has come, though nobody may have told of it, and return all that has been taken."""
        self.pieces += self.reader.take()
        return self.said

    async def until(self, true: Callable[[], bool]) -> None:
        """Take what is told of until something holds."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                await self.told.wait()
                self.told.clear()
                self.take()


@asynccontextmanager
async def reading(patience: float = 0.0) -> AsyncIterator[Reading]:
    """Read a socket."""
    loop, clock = asyncio.get_running_loop(), Clock()
    with pair() as (near, far):
        told = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(told.set)

        # Its thread closes it: closed from here, its number might be another socket's before the thread notices.
        reader = SocketReader(near.dup(), clock, tell)
        reader.patience = patience
        try:
            yield Reading(reader, far, clock, told=told)
        finally:
            reader.close()


async def stamped(read: Reading) -> None:
    """Return once the kernel stamps: it begins a moment after the first socket has asked for it."""
    while not (read.pieces and read.pieces[-1][1].stamped):
        count = len(read.pieces)
        read.far.sendall(b".")
        await read.until(lambda: len(read.pieces) > count)  # noqa: B023 - it is called at once
    read.pieces.clear()


async def test_segments_are_handed_on_together_each_with_its_own_time() -> None:
    """However late, by the kernel's own time."""
    async with reading() as read:
        await stamped(read)
        read.reader.patience = 0.2
        sent = []
        for part in b"abc":
            before = read.clock.now()
            read.far.sendall(bytes([part]))
            sent.append((before, read.clock.now()))
            await met(lambda: read.reader._collect() or len(read.reader._read) == len(sent))
        await read.until(lambda: len(read.said) == 3)
        assert [b"a", b"b", b"c"] == [data for data, _ in read.pieces]
        assert all(arrival.stamped for _, arrival in read.pieces)
        for (_, arrival), (before, after) in zip(read.pieces, sent, strict=True):
            assert before - 0.001 <= arrival.at <= after + 0.02


async def test_what_has_come_can_be_taken_before_patience_ends() -> None:
    """Though the thread is still in its system call."""
    async with reading(3600.0) as read:
        read.far.sendall(b"a")
        await met(lambda: read.take() == b"a")
        read.far.sendall(b"b")
        await met(lambda: read.take() == b"ab")


SENDING = """
import fcntl, os, socket, struct, sys, termios, time
near, far = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
def left(sock, request):
    return struct.unpack("@i", fcntl.ioctl(sock, request, bytes(4)))[0]
os.write(1, b".")
os.read(0, 1)
far.sendall(b"a")
until = time.monotonic() + 30
while (left(far, termios.TIOCOUTQ) or left(near, termios.FIONREAD)) and time.monotonic() < until:
    time.sleep(0.001)
time.sleep(0.1)
far.sendall(b"b")
os.write(1, b".")
"""
"""A program that sends a segment once it is told to, another one when that has come and been read, and then says so."""


@pytest.mark.parametrize("again", [False, True], ids=["first look", "next look"])
async def test_who_looks_for_bytes_makes_the_thread_independent_of_python(
    monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """What comes while nothing of Python can run has a stamp for each segment."""
    monkeypatch.setattr(socket_reader, "_ATTENTION", 60.0)
    receive, begun = Segments.receive, list[float]()

    def beginning(read: Segments, seconds: float) -> bool:
        begun.append(seconds)
        return receive(read, seconds)

    async with reading() as read:
        await stamped(read)
        await met(lambda: read.reader._polls)
        read.reader._attentive = -math.inf
        monkeypatch.setattr(Segments, "receive", beginning)
        with sending(read) as send:
            for patience in [*[0.05] * again, PATIENCE]:
                read.reader.patience = patience
                assert not read.reader.take()
                await met(lambda: patience in begun)  # noqa: B023 - it is called at once
            await met(lambda: in_recvmmsg(read))
            send()
            await met(lambda: read.take() == b"ab")
    first, second = read.pieces
    assert 0.05 < second[1].at - first[1].at


@contextmanager
def sending(read: Reading) -> Iterator[Callable[[], None]]:
    """Start the program that sends, and provide what lets it, and keeps Python's lock until it has."""
    sockets = [read.reader._socket.fileno(), read.far.fileno()]
    command = [sys.executable, "-c", SENDING, *map(str, sockets)]
    with Popen(command, stdin=PIPE, stdout=PIPE, bufsize=0, pass_fds=sockets) as process:  # noqa: S603 - it is ours
        assert process.stdin
        assert process.stdout
        said, descriptor = ctypes.create_string_buffer(1), process.stdout.fileno()
        locked = ctypes.PyDLL(None).read
        assert process.stdout.read(1)

        def send() -> None:
            assert process.stdin
            process.stdin.write(b".")
            assert locked(descriptor, said, 1) == 1

        yield send


async def met(true: Callable[[], bool]) -> None:
    """Return once something holds that nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


def in_recvmmsg(read: Reading) -> bool:
    """Tell whether the reader's thread is in the system call that reads, and not about to make it."""
    thread = [thread for thread in threading.enumerate() if thread.name == "khealth-watch-reader"][-1]
    # The number of the call, another one on each architecture, and its arguments; one word if the thread is running.
    call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text(encoding="utf-8").split()
    arguments = [int(word, 16) for word in call[1:4]]
    return arguments[::2] == [read.reader._socket.fileno(), segments._READS]


class Noted:
    """A poll object, and how often it was waited for without a limit."""

    def __init__(self) -> None:
        self.waits = 0
        self._poll = select.poll()
        self.register = self._poll.register

    def poll(self) -> list[tuple[int, int]]:
        """Wait."""
        self.waits += 1
        return self._poll.poll()


async def test_the_thread_is_attentive_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle watch does not wake up."""
    noted, receive, calls, now = Noted(), Segments.receive, list[float](), time.monotonic()

    def counting(read: Segments, seconds: float) -> bool:
        calls.append(seconds)
        return receive(read, seconds)

    monkeypatch.setattr(select, "poll", lambda: noted)
    async with reading() as read:
        await stamped(read)
        await met(lambda: read.reader._polls)
        read.reader._attentive = -math.inf
        monkeypatch.setattr(Segments, "receive", counting)
        monkeypatch.setattr(read.clock, "monotonic", lambda: now)
        read.reader.patience = 0.05
        assert not read.reader.take()
        await met(lambda: len(calls) >= 2)
        waits = noted.waits
        now += socket_reader._ATTENTION
        await met(lambda: noted.waits > waits)
        read.far.sendall(b"a")
        await read.until(lambda: read.said == b"a")


@pytest.mark.parametrize("patience", [0.0, 0.05])
async def test_much_more_than_the_buffers_hold_arrives_whole(patience: float) -> None:
    """In order, up to the end."""
    data = bytes(range(256)) * 20_000
    async with reading(patience) as read:
        sending = asyncio.to_thread(read.far.sendall, data)
        await asyncio.gather(sending, read.until(lambda: len(read.said) == len(data)))
        assert data == read.said
        read.far.shutdown(socket.SHUT_WR)
        await read.until(lambda: not read.pieces[-1][0])


async def test_a_reader_waits_for_a_loop_that_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps what comes, and in the end the server waits: no memory fills up."""
    monkeypatch.setattr(socket_reader, "_MOST", 4)
    async with reading() as read:
        for part in b"abcdefgh":
            read.far.sendall(bytes([part]))
            await asyncio.sleep(0.01)
        assert len(read.reader.take()) <= 5
        read.far.sendall(b"z")
        await read.until(lambda: read.said.endswith(b"z"))


async def test_a_connection_that_breaks_is_told() -> None:
    """By its error, after what had come."""
    async with reading() as read:
        read.far.sendall(b"last")
        read.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        read.far.close()
        await read.until(lambda: read.reader.failed is not None)
        assert isinstance(read.reader.failed, ConnectionResetError)
        assert b"last" == read.said + b"".join(data for data, _ in read.reader.take())


async def test_without_stamps_each_read_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that gives none: nothing is held back, and the arrival says so."""
    monkeypatch.setattr(ArrivalClock, "watch", lambda *_: False)
    async with reading(3600.0) as read:
        before = read.clock.now()
        read.far.sendall(b"a")
        await read.until(lambda: read.said == b"a")
        arrival = read.pieces[0][1]
        assert not arrival.stamped
        assert before <= arrival.at <= read.clock.now()


async def test_a_system_without_the_call_reads_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""

    def missing(_: socket.socket) -> Segments:
        raise AttributeError("recvmmsg")

    monkeypatch.setattr(socket_reader, "Segments", missing)
    async with reading() as read:
        read.far.sendall(b"a")
        await read.until(lambda: read.said == b"a")
        assert not read.pieces[0][1].stamped
        read.far.shutdown(socket.SHUT_WR)
        await read.until(lambda: not read.pieces[-1][0])


def test_a_stamp_of_another_kind_is_none() -> None:
    """What the kernel did not say is not made up."""
    with pair() as (near, far):
        read = Segments(near)
        far.sendall(b"a")
        read.receive(0.0)
        assert [(b"a", None)] == list(read.take())
        near.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        far.close()
        read.receive(0.0)
        assert [(b"", None)] == list(read.take())
        assert not list(read.take())


def test_an_error_of_the_call_is_raised() -> None:
    """With its number."""
    with pair() as (near, _):
        read, single = Segments(near), SingleReads(near)
        near.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            read.receive(0.0)
        with pytest.raises(OSError, match="Bad file descriptor"):
            single.receive(0.0)


async def test_a_call_that_a_signal_ends_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost."""
    receive, interruptions = Segments.receive, [errno.EINTR, errno.EAGAIN]

    def fail(*_: object) -> int:
        ctypes.set_errno(interruptions.pop())
        return -1

    def interrupted(read: Segments, seconds: float) -> bool:
        if not interruptions:
            return receive(read, seconds)
        with monkeypatch.context() as patched:
            patched.setattr(read, "_receive", fail)
            return receive(read, seconds)

    monkeypatch.setattr(Segments, "receive", interrupted)
    async with reading() as read:
        read.far.sendall(b"a")
        await read.until(lambda: read.said == b"a")
    assert not interruptions


async def test_a_kernel_that_begins_to_stamp_late_is_trusted_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes are handed on one by one, later ones together."""
    stamp, unstamped = Segments._stamp, [1, 2]

    def late(read: Segments, number: int) -> float | None:
        return None if unstamped and unstamped.pop() else stamp(read, number)

    monkeypatch.setattr(Segments, "_stamp", late)
    async with reading() as read:
        for count in range(1, 3):
            read.far.sendall(b".")
            await read.until(lambda: len(read.pieces) == count)  # noqa: B023 - it is called at once
        await stamped(read)


async def test_a_sandbox_that_refuses_the_call_is_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may know the name, and not permit it."""

    def refuse(_: Segments, _seconds: float) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(Segments, "receive", refuse)
    async with reading() as read:
        read.far.sendall(b"a")
        await read.until(lambda: read.said == b"a")
        assert not read.pieces[0][1].stamped


class Waits:
    """The wait of a thread that has lasted for a quarter of a second more at each look."""

    def __init__(self) -> None:
        self.known = True
        self._each = itertools.count(0.25, 0.25)

    def waited(self) -> float:
        """Return the seconds so far."""
        return next(self._each)

    def close(self) -> None:
        """Take no notice."""


async def test_what_was_read_at_once_knows_how_long_its_reader_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of it; what it does not know is without a limit."""
    waits = Waits()
    monkeypatch.setattr(socket_reader, "RunQueue", lambda: waits)
    async with reading() as read:
        read.far.sendall(b"a")
        await read.until(lambda: read.said == b"a")
        waits.known = False
        read.far.sendall(b"b")
        await read.until(lambda: read.said == b"ab")
    assert [0.25, math.inf] == [arrival.queued for _, arrival in read.pieces]
