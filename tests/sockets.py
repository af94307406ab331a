"""Connected sockets, and which addresses this machine has."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from khealth_exporter.measure.arrival import ANCILLARY, SO_TIMESTAMPNS

PATIENCE = 60.0


def has_ipv6() -> bool:
    """Return whether this machine has the loopback address of IPv6: a kernel that knows IPv6 may have no address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Provide two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with far:
            yield near, far


@contextmanager
def stamps() -> Iterator[None]:
    """Let the kernel stamp what comes: it begins a while after the first socket on the machine asks for it."""
    with pair() as (near, far):
        near.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        until = time.monotonic() + PATIENCE
        stamped = False
        while not stamped:
            assert time.monotonic() < until, "the kernel does not stamp"
            far.sendall(b".")
            stamped = bool(near.recvmsg(1, ANCILLARY)[1])
        yield


class Slow(socket.socket):
    """A socket whose process has no CPU for a while before it sends, and after."""

    WAITS = 0.05

    @classmethod
    def of(cls, sock: socket.socket) -> "Slow":
        """Take over another socket."""
        return cls(fileno=sock.detach())

    def send(self, *data: object) -> int:
        """Send slowly."""
        time.sleep(self.WAITS)
        sent = super().send(*data)  # type: ignore[arg-type]
        time.sleep(self.WAITS)
        return sent
