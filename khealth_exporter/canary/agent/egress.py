"""The question `egress`: whether places outside the cluster answer, and how long each step of the way takes.

It runs in a process of its own, see `apart`.
"""

import contextlib
import errno
import json
import math
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator

from khealth_exporter.canary import kernel
from khealth_exporter.canary.agent import dns_message
from khealth_exporter.canary.agent.loop import readable, writable
from khealth_exporter.canary.agent.loop import run as run_side_by_side
from khealth_exporter.canary.agent.question import BadQuestion, Document, Question, decoded, is_address
from khealth_exporter.canary.agent.resolver import Asking, look_up, resolve, settings
from khealth_exporter.canary.agent.stamps import Busy, connect, family, told

_Done = bytes | int | None
_MOST_TARGETS = 64
_AT_A_TIME = 8
_LONGEST_URL = 2_000
_HOST = r"(?P<host>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
_URL = re.compile(rf"(?P<scheme>https?)://{_HOST}(?::(?P<port>\d{{1,5}}))?(?P<path>[/?][!-~]*)?")
_ADDRESS = re.compile(rf"{_HOST}:(?P<port>\d{{1,5}})")
_PORTS = {"http": 80, "https": 443}
_LARGEST_PORT = 65_535
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})")
_LONGEST_STATUS = 12
_SERVER_ERROR = 500
_RESOLVE_SECONDS, _TRIES = 1.0, 3
"""Seconds for one try of a lookup of the cluster's own name, and the tries of each lookup."""
_OWN_NAME = "kubernetes.default"
"""Every cluster's DNS knows it below its own domain, whether or not it reaches other servers."""
_MOST_ADDRESSES = 4
_CHUNK = 4_096


def targets(question: Question) -> "list[Target]":
    """Return what a question asks for; raise BadQuestion."""
    return [Target(target) for target in question.several("targets", _MOST_TARGETS)]


def answer(question: Question) -> Document:
    """Return what came of each target by the monotonic time `until`; raise BadQuestion."""
    until, asked, waited = question.number("until", None, 0, math.inf), targets(question), kernel.waited_here()
    way = _Way()
    run_side_by_side((target.reach(way) for target in asked), until, _AT_A_TIME)
    waiting = (kernel.waited_here() or 0.0) - (waited or 0.0)
    return {"results": [target.result() for target in asked], "waiting_seconds": waiting}


def main() -> None:
    """Answer the question from standard input on standard output."""
    question = decoded(sys.stdin.buffer.read(), time.monotonic())
    sys.stdout.write(json.dumps(answer(question)))


class _Way:
    """What all targets share."""

    def __init__(self) -> None:
        import ssl  # noqa: PLC0415 - the agent's own process, which knows only the questions, does without

        self.settings = settings()
        self.context = ssl.create_default_context()
        self._dns = ""

    async def dns(self) -> str:
        """Return what came of the cluster's own name; it is asked for once."""
        if not self._dns:
            # The full name: a search would go on to servers outside of the cluster where it has no IPv4 address.
            domain = next((one for one in self.settings.search if one.startswith("svc.")), "svc.cluster.local")
            asking = Asking(f"{_OWN_NAME}.{domain.rstrip('.')}.", "A", _RESOLVE_SECONDS)
            asking.tries = _TRIES
            self._dns = (await resolve(asking, self.settings)).outcome
        return self._dns


class Target:
    """A URL, or a host and a port, and what has come of it so far."""

    def __init__(self, question: Question) -> None:
        self._id = question.text("id")
        url, address = question.text("url", "", _LONGEST_URL), question.text("address", "", _LONGEST_URL)
        found = _URL.fullmatch(url) or _ADDRESS.fullmatch(address)
        if not found or bool(url) == bool(address):
            raise BadQuestion(f"target {self._id}: needs a url with http or https, or an address with host and port")
        parts = found.groupdict()
        self._scheme = parts.get("scheme", "")
        self._path = parts.get("path") or "/"
        self._authority = found["host"] + (f":{parts['port']}" if parts["port"] else "")
        self._host = found["host"].strip("[]")
        self._port = int(parts["port"] or _PORTS[self._scheme])
        if not 0 < self._port <= _LARGEST_PORT:
            raise BadQuestion(f"target {self._id}: port {self._port}")
        self._timeout = question.number("timeout", 5.0, 0.01, 60)
        self._doing = "resolve"
        self._durations: dict[str, float] = {}
        self._uncertainty = 0.0
        self._status = 0
        self._dns = ""
        self._error = "unfinished"

    async def reach(self, way: "_Way") -> None:
        """Go all steps of the way, as far as it leads."""
        until = time.monotonic() + self._timeout
        try:
            with self._step("resolve"):
                addresses = await self._resolve(way, until)
            with self._step("connect"):
                sock = await self._connect(addresses, until)
            with contextlib.ExitStack() as stack:
                stack.callback(sock.close)
                if self._scheme == "https":
                    with self._step("tls"):
                        sock = await self._secure(way, sock, until)
                        stack.callback(sock.close)
                if self._scheme:
                    with self._step("respond"):
                        await self._ask(sock, until)
            self._doing = self._error = ""
        except (OSError, dns_message.Malformed, ValueError) as error:  # ValueError: a host that TLS cannot name.
            self._error = told(error) if isinstance(error, OSError) else str(error)[:200]

    def result(self) -> Document:
        """Return how far it came, and the seconds of each step, the failed one included.

        If the name did not resolve, `dns` is what came of the cluster's own name.
        """
        return {
            "id": self._id,
            "ok": not self._error,
            "failed": self._doing if self._error else "",
            "durations": self._durations,
            "status": self._status,
            "dns": self._dns,
            "error": self._error,
            "uncertainty": round(self._uncertainty, 9),
        }

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Time a step, unless it knows better itself."""
        self._doing, busy, began = name, Busy(), time.monotonic()
        try:
            yield
        finally:
            if name not in self._durations:
                self._took(time.monotonic() - began, busy.seconds())

    def _took(self, seconds: float, uncertainty: float) -> None:
        self._durations[self._doing] = round(seconds, 9)
        self._uncertainty = max(self._uncertainty, uncertainty)

    async def _resolve(self, way: "_Way", until: float) -> list[str]:
        if is_address(self._host):
            self._took(0.0, 0.0)
            return [self._host]
        answer = await look_up(self._host, until, way.settings, _TRIES)
        self._took(answer.seconds, answer.uncertainty)
        if answer.addresses:
            return answer.addresses[:_MOST_ADDRESSES]
        # Known from here on, whatever becomes of the other question, which is none of this step.
        self._error = answer.error
        self._dns = await way.dns()
        raise dns_message.Malformed(self._error)

    async def _connect(self, addresses: list[str], until: float) -> socket.socket:
        """Connect to the first address that lets it, each with its share of the time."""
        began = time.monotonic()
        for left in range(len(addresses), 0, -1):
            address, now = addresses[-left], time.monotonic()
            sock = socket.socket(family(address), socket.SOCK_STREAM)
            try:
                seconds, uncertainty = await connect(sock, (address, self._port), now + (until - now) / left)
            except BaseException as error:
                sock.close()
                if left == 1 or not isinstance(error, OSError):
                    raise
            else:
                self._took(now - began + seconds, uncertainty)
                return sock
        raise OSError(errno.EADDRNOTAVAIL, "no address")

    async def _secure(self, way: "_Way", sock: socket.socket, until: float) -> socket.socket:
        secured = way.context.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            await _patiently(secured, until, secured.do_handshake)
        except BaseException:
            secured.close()
            raise
        return secured

    async def _ask(self, sock: socket.socket, until: float) -> None:
        request = (
            f"GET {self._path} HTTP/1.1\r\nHost: {self._authority}\r\nUser-Agent: khealth\r\nConnection: close\r\n\r\n"
        )
        await _patiently(sock, until, lambda: sock.send(request.encode()))
        answer = b""
        while len(answer) < _LONGEST_STATUS:
            more = await _patiently(sock, until, lambda: sock.recv(_CHUNK))
            if not isinstance(more, bytes) or not more:
                break
            answer += more
        status = _STATUS.match(answer)
        if not status:
            raise OSError(errno.EPROTO, "no HTTP answer")
        self._status = int(status[1])
        if self._status >= _SERVER_ERROR:
            raise OSError(errno.EPROTO, f"status {self._status}")


async def _patiently(
    sock: socket.socket, until: float, operation: Callable[[], bytes | int | None]
) -> bytes | int | None:
    """Do what a socket, perhaps one with TLS, cannot do at once; raise OSError."""
    while True:
        try:
            return operation()
        except OSError as error:
            kind = type(error).__name__  # The types are in the module that only TLS imports.
            if kind == "SSLWantWriteError":
                ready = await writable(sock, until)
            elif kind in {"SSLWantReadError", "BlockingIOError"}:
                ready = await readable(sock, until)
            else:
                raise
            if not ready:
                raise TimeoutError(errno.ETIMEDOUT, "no answer in time") from None


if __name__ == "__main__":
    main()
