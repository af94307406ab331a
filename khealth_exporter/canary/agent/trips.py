"""One round trip: a TCP handshake, a datagram and its echo, or an HTTP request on a new connection."""

import errno
import os
import re
import socket
import struct
import time

from khealth_exporter.canary.agent import echo, http
from khealth_exporter.canary.agent.question import Question, is_address
from khealth_exporter.canary.agent.resolver import MISSING, Settings, look_up
from khealth_exporter.canary.agent.stamps import Sent, Trip, connect, family, stamp, told

PROTOCOLS = ("tcp", "udp", "http")
_LARGEST_HEADER = 8_000
_MTU_DISCOVER = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, whose names Python lacks, see ip(7) and ipv6(7)."""
_NEVER_FRAGMENT, _MAY_FRAGMENT = 2, 0
_CHUNK = 4_096
_MOST_ANSWER = 16_384
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,5})\r\n", re.IGNORECASE)
_HELD = re.compile(rb"\r\n%s: *(\d{1,12})\r\n" % http.HELD.encode(), re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing of the network: the agent itself has no more of something."""
_NAME = 253
"""Characters of the name in an answer that count."""
NO_NAME, NO_LOOKUP = "no address", "no lookup"
"""How the error begins of a round trip to a name that has no address, or of which DNS does not tell."""
_LONGEST_ERROR = 200


class Unknown(Exception):  # noqa: N818 - it reads as what happened
    """The name of a target has no address, or DNS does not tell."""


class Target:
    """Where a round trip goes, and with how many bytes; BadQuestion if the question does not say.

    With the pod's DNS `settings`, `host` may be a name, which each round trip looks up as it stands.
    """

    def __init__(self, question: Question, timeout: float = 1.0, settings: Settings | None = None) -> None:
        self.protocol = question.choice("protocol", None, *PROTOCOLS)
        self.host = question.host("address") if settings else question.address("address")
        self.port = question.integer("port", 8079, 1, 65_535)
        self.size = question.integer("size", 64, 0, echo.MOST)
        self.fragment = question.flag("fragment")
        self.timeout = question.number("timeout", timeout, 0.001, 30)
        self._settings = settings
        self._trips = 0

    async def found(self, until: float) -> tuple[str, int]:
        """Return where it is at this moment; of several addresses each in its turn. Raise Unknown."""
        if not self._settings or is_address(self.host):
            return self.host, self.port
        answer = await look_up(f"{self.host.removesuffix('.')}.", until, self._settings)
        if not answer.addresses:
            raise Unknown(f"{NO_NAME if answer.outcome in MISSING else NO_LOOKUP}: {answer.error}")
        self._trips += 1
        return answer.addresses[(self._trips - 1) % len(answer.addresses)], self.port


async def go(target: Target) -> Trip:
    """Make one round trip. It ends at the target's timeout at the latest; OSError if the agent itself is unable."""
    trip, until = Trip(), time.monotonic() + target.timeout
    kind = socket.SOCK_DGRAM if target.protocol == "udp" else socket.SOCK_STREAM
    try:
        address = await target.found(until)
        with socket.socket(family(address[0]), kind) as sock:
            sock.settimeout(0)
            stamp(sock)
            if target.protocol == "udp":
                sock.connect(address)
                await _datagram(sock, target, trip, until)
            else:
                # A reset instead of an orderly end: thousands of connections would wait for late packets.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                trip.add(*await connect(sock, address, until))
                trip.at = time.monotonic()
                if target.protocol == "http":
                    await _request(sock, target, trip, until)
    except OSError as error:
        if error.errno in _OWN:
            raise
        trip.error = told(error)
    except Unknown as unknown:
        trip.error = str(unknown)[:_LONGEST_ERROR]
    return trip


async def _datagram(sock: socket.socket, target: Target, trip: Trip, until: float) -> None:
    if target.fragment is not None:
        level, option = _MTU_DISCOVER[sock.family]
        sock.setsockopt(level, option, _MAY_FRAGMENT if target.fragment else _NEVER_FRAGMENT)
    token, size = os.urandom(echo.TOKEN), max(target.size, echo.LEAST)
    sent = Sent(sock, echo.asking(token, size))
    while True:
        came = await sent.next_arrival(until, size + 1)
        held = echo.held(came.data, token, size)
        if held is not None:
            sent.answered(came, held, trip)
            return


async def _request(sock: socket.socket, target: Target, trip: Trip, until: float) -> None:
    """Ask for /ping; OSError if the answer is not one with the status 200."""
    host = target.host
    request = f"GET /ping HTTP/1.1\r\nHost: {f'[{host}]' if ':' in host else host}\r\nConnection: close\r\n"
    if target.size > (room := len(request) + len("Khealth-Padding: \r\n\r\n")):
        request += f"Khealth-Padding: {'.' * min(target.size - room, _LARGEST_HEADER)}\r\n"
    sent, answer = Sent(sock, f"{request}\r\n".encode()), b""
    while True:
        came = await sent.next_arrival(until, _CHUNK)
        answer += came.data
        head, found, body = answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not came.data or (found and length and len(body) >= int(length[1])) or len(answer) > _MOST_ANSWER:
            break
    status = _STATUS.match(answer)
    if not status or status[1] != b"200":
        raise OSError(errno.EPROTO, f"status {status[1].decode()}" if status else "no HTTP answer")
    held = _HELD.search(head + b"\r\n")
    sent.answered(came, int(held[1]) / 1e9 if held else 0.0, trip)
    name = body.decode("ascii", "replace").strip()[:_NAME]
    trip.name = name if name.isprintable() else ""
