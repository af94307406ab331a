"""Datagrams that are sent back, with the time for which the agent held them.

An echo differs from what it answers in its first bytes, so two agents never answer each other's echoes, and it is never
longer.
"""

import socket
import struct
import time

from khealth_exporter.canary.agent.stamps import receive

LEAST = 24
MOST = 65_000
"""Bytes of a datagram."""
TOKEN = 8
"""Random bytes by which an echo is known."""
_ASK, _ECHO = b"khealth?", b"khealth!"
_FORM = struct.Struct("!8s8sQ")
_AT_A_TIME = 64


def asking(token: bytes, size: int) -> bytes:
    """Return a datagram of a size that an agent sends back."""
    return _FORM.pack(_ASK, token, 0).ljust(size, b".")


def held(datagram: bytes, token: bytes, size: int) -> float | None:
    """Return the seconds for which an agent held a datagram; None if this is not its echo."""
    if len(datagram) != size:
        return None
    kind, found, nanoseconds = _FORM.unpack_from(datagram)
    return nanoseconds / 1e9 if (kind, found) == (_ECHO, token) else None


def send_back(sock: socket.socket) -> None:
    """Send back what has come to a stamped socket that does not block."""
    for _ in range(_AT_A_TIME):
        try:
            came = receive(sock, MOST)
            if len(came.data) < LEAST or not came.data.startswith(_ASK):
                continue
            token = came.data[len(_ASK) : len(_ASK) + TOKEN]
            held_for = max(0, round((time.monotonic() - came.at) * 1e9))
            sock.sendto(_FORM.pack(_ECHO, token, held_for) + came.data[_FORM.size :], came.address)
        except BlockingIOError:
            return
        except OSError:
            continue  # An ICMP error for an earlier echo, or no route back.
