"""What the process of a pod has in place of a network of its own; it runs in that process, before its program.

Connections start at the pod's address, and what the cluster's network would lose is lost. Which destinations that
concerns is in a file that the simulator keeps up to date: one byte for each address of the cluster's network
127.x.0.0/16, by its last two bytes; the first one is for every address elsewhere.
"""

import mmap
import os
import random
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import addressof, create_string_buffer
from typing import Any, Final

LOST, UDP_LOST, LOSSY, NARROW = 1, 2, 4, 8
"""What happens on the way to an address: all is lost, datagrams are, some packets are, or those that are long."""
SIZE: Final = 65536
LOSS: Final = 0.1
"""The proportion of packets that is lost on a lossy way."""
LONGEST: Final = 1400
"""Bytes of an IP packet that a narrow way lets through."""
_IP_HEADER, _IP_AND_TCP_HEADERS = 20, 52
_PRIVILEGED, _SHIFT = 1024, 10000
_IP_MINTTL: Final = 21
_TOO_HIGH: Final = 255
"""No packet has so high a time to live on a loopback interface: the kernel drops each answer."""
_SO_ATTACH_FILTER: Final = 26
_LOAD_RANDOM: Final = (0x20, 0, 0, 0xFFFFF038)
_LOAD_LENGTH: Final = (0x80, 0, 0, 0)
_JUMP_IF_LESS: Final = 0x35
_JUMP_IF_GREATER: Final = 0x25
_DROP: Final = (0x06, 0, 0, 0)
_KEEP: Final = (0x06, 0, 0, 0xFFFFFFFF)


def real_port(port: int) -> int:
    """Return the port of this machine for one of the cluster: only root may listen on those below 1024."""
    return port + _SHIFT if 0 < port < _PRIVILEGED else port


class PodSide:
    """Prepares each connection and datagram of the process."""

    def __init__(self, ways: mmap.mmap | bytearray, own: str) -> None:
        """Take the bytes of the file, and the pod's address."""
        self._ways, self._own = ways, own
        self._prefix = own.rpartition(".")[0].rpartition(".")[0] + "."

    def way(self, host: str) -> int:
        """Return what happens on the way to an address."""
        if not host.startswith(self._prefix):
            return self._ways[0]
        third, fourth = host.split(".")[2:]
        return self._ways[int(third) * 256 + int(fourth)]

    def towards(self, sock: socket.socket, address: Any) -> Any:  # noqa: ANN401  # of any family
        """Prepare a socket for an address, and return where that really is."""
        if sock.family != socket.AF_INET or not isinstance(address, tuple):
            return address
        host, port = address
        if host.startswith("127.") and sock.getsockname() == ("0.0.0.0", 0):  # noqa: S104  # it means not yet bound
            sock.bind((self._own, 0))
        way = self.way(host)
        if sock.type == socket.SOCK_DGRAM:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, packed(program(way)))
        else:
            lost = way & LOST or (way & LOSSY and random.random() < LOSS)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _TOO_HIGH if lost else 0)
        return (host, real_port(port)) if host.startswith(self._prefix) else address

    def swallows(self, sock: socket.socket, length: int) -> bool:
        """Tell whether so many bytes on a connection do not pass."""
        if length <= LONGEST - _IP_AND_TCP_HEADERS or sock.type != socket.SOCK_STREAM or sock.family != socket.AF_INET:
            return False
        with suppress(OSError):
            host = sock.getpeername()[0]
            return bool(host.startswith(self._prefix) and self.way(host) & NARROW)
        return False


def program(way: int) -> list[tuple[int, int, int, int]]:
    """Return the filter of the answers to datagrams: the instructions of a classic Berkeley packet filter."""
    if way & (LOST | UDP_LOST):
        return [_DROP]
    lines = []
    if way & LOSSY:
        lines += [_LOAD_RANDOM, (_JUMP_IF_LESS, 1, 0, int(LOSS * 2**32)), _DROP]
    if way & NARROW:
        lines += [_LOAD_LENGTH, (_JUMP_IF_GREATER, 0, 1, LONGEST - _IP_HEADER), _DROP]
    return [*lines, _KEEP]


_kept: list[object] = []


def packed(lines: list[tuple[int, int, int, int]]) -> bytes:
    """Return a filter as setsockopt(2) wants it: a pointer to memory that stays until the next call."""
    raw = create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    _kept[:] = [raw]
    return struct.pack("HP", len(lines), addressof(raw))


def install(path: str, own: str, host: str) -> None:
    """Put all sockets of the process into the pod's network, and give the machine the pod's name."""
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib is a tenth of an agent's memory
        side = PodSide(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), own)
    plain = socket.socket

    class PodSocket(plain):  # type: ignore[valid-type, misc]
        def connect(self, address: Any) -> None:  # noqa: ANN401
            super().connect(side.towards(self, address))

        def connect_ex(self, address: Any) -> int:  # noqa: ANN401
            return int(super().connect_ex(side.towards(self, address)))

        def send(self, data: bytes, *flags: int) -> int:
            return len(data) if side.swallows(self, len(data)) else int(super().send(data, *flags))

        def sendall(self, data: bytes, *flags: int) -> None:
            if not side.swallows(self, len(data)):
                super().sendall(data, *flags)

    socket.socket = PodSocket  # type: ignore[misc]
    _let_in(os.posix_spawn)
    named = os.uname_result((*os.uname()[:1], host, *os.uname()[2:]))
    socket.gethostname = lambda: host
    os.uname = lambda: named


_CHILD: Final = """
import runpy, sys
side, module = sys.argv[1:3]
sys.argv[1:3] = []
exec(compile(open(side).read(), side, "exec"), {"__name__": "__pod__", "__file__": side})
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""A module, as `python -m` runs it, in the pod's network."""


def _let_in(spawn: Callable[..., int]) -> None:
    """Put modules of Python that the process starts into the pod's network too."""

    def spawned(path: str, arguments: Sequence[str], environment: Mapping[str, str], **how: Any) -> int:  # noqa: ANN401
        place = arguments.index("-m")
        inside = [*arguments[:place], "-c", _CHILD, __file__, *arguments[place + 1 :]]
        return spawn(path, inside, environment, **how)

    os.posix_spawn = spawned  # type: ignore[assignment]


if __name__ == "__pod__":
    install(os.environ["SIMULATED_NETWORK"], os.environ["SIMULATED_ADDRESS"], os.environ["HOSTNAME"])
