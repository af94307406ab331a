"""Names to addresses, as the pod's resolv.conf says, and with the time that each exchange took."""

import errno
import math
import os
import socket
import time

from khealth_exporter.canary.agent import dns_message
from khealth_exporter.canary.agent.dns_message import Malformed, NotOurs
from khealth_exporter.canary.agent.question import is_address
from khealth_exporter.canary.agent.stamps import Sent, Trip, connect, family, stamp, told

PORT = 53
_PREFIX = 2
"""Bytes of the length before a message on a connection."""
_MOST_NAMESERVERS, _MOST_SEARCHED, _MOST_DOTS = 3, 32, 15
_LARGEST_FILE = 16_384
_OUTCOMES = {dns_message.NXDOMAIN: "nxdomain", dns_message.SERVFAIL: "servfail", dns_message.REFUSED: "refused"}
_SILENT = frozenset({"timeout", "unreachable", "malformed", "unfinished"})
"""Outcomes after which another try may bring more."""
_FAILED = frozenset({"servfail", "refused"})
"""Outcomes of a server that cannot or will not answer: another one may, and so may it if it is asked for another name.

As in glibc (res_nsend, res_nsearch) and Go, so one stale domain of a search list takes no other name away.
"""
MISSING = frozenset({"nxdomain", "nodata"})
"""Outcomes that tell that a name has no address."""
_LONGEST_ERROR = 200
_TRY_SECONDS = 1.0


class Settings:
    """What resolv.conf says."""

    __slots__ = ("dots", "nameservers", "search")

    def __init__(self, text: str = "") -> None:
        self.nameservers: list[str] = []
        self.search: list[str] = []
        self.dots = 1
        for line in text.splitlines():
            keyword, *words = line.split() or [""]
            if keyword == "nameserver" and words and is_address(words[0]):
                self.nameservers.append(words[0])
            elif keyword in {"search", "domain"}:
                self.search = [word for word in words if word.isascii()][:_MOST_SEARCHED]
            elif keyword == "options":
                dots = [word.removeprefix("ndots:") for word in words if word.startswith("ndots:")]
                self.dots = min(int(dots[-1][:4]), _MOST_DOTS) if dots and dots[-1][:4].isdecimal() else self.dots
        del self.nameservers[_MOST_NAMESERVERS:]

    def names(self, name: str) -> list[str]:
        """Return the full names that a name may mean, in the order in which they are asked for.

        The domain "." adds nothing. A domain that makes a name too long is left out.
        """
        if name.endswith("."):
            return [name]
        own = f"{name}."
        searched = [own if domain == "." else f"{own}{domain.removesuffix('.')}." for domain in self.search]
        found = dict.fromkeys([own, *searched] if name.count(".") >= self.dots else [*searched, own])
        return [one for one in found if one == own or dns_message.possible(one)]


class Asking:
    """A question for a name's addresses. No `servers` means those of the settings."""

    __slots__ = ("kind", "name", "port", "servers", "timeout", "transport", "tries", "until")

    def __init__(self, name: str, kind: str, timeout: float) -> None:
        self.name = name
        self.kind = kind
        self.timeout = timeout
        """Seconds for each try."""
        self.until = math.inf
        """The monotonic time at which the last one ends at the latest."""
        self.tries = 1
        self.transport = "udp"
        self.servers: list[str] = []
        self.port = PORT


class Answer:
    """What came of a question: an outcome, and the seconds ± uncertainty that it took with all its exchanges."""

    __slots__ = ("addresses", "error", "outcome", "seconds", "server", "uncertainty")

    def __init__(self, outcome: str = "unfinished", error: str = "") -> None:
        self.outcome = outcome
        self.addresses: list[str] = []
        self.server = ""
        self.seconds = 0.0
        self.uncertainty = 0.0
        self.error = error


def settings() -> Settings:
    """Return what resolv.conf says at this moment; nothing if there is none."""
    try:
        with open(
            os.environ.get("KHEALTH_RESOLV_CONF") or "/etc/resolv.conf", encoding="utf-8", errors="replace"
        ) as file:
            return Settings(file.read(_LARGEST_FILE))
    except OSError:
        return Settings()


async def look_up(name: str, until: float, settings: Settings, tries: int = 1) -> Answer:
    """Ask for a name's IPv4 addresses, and for its IPv6 addresses if it has none, until a monotonic time at the latest.

    Each try of a question takes its share of the time, and at most 1 s: of several servers, one may be silent.
    If there is no address, the outcome is that of a question that was not answered, if there is one. The error tells of
    both questions.
    """
    answers: list[Answer] = []
    for kind in dns_message.TYPES:
        asking = Asking(name, kind, max(0.001, min(_TRY_SECONDS, (until - time.monotonic()) / tries)))
        asking.tries, asking.until = tries, until
        answers.append(await resolve(asking, settings))
        if answers[-1].addresses:
            break
    times = _sums(answers)
    found = answers[-1]
    if not found.addresses:
        errors = [
            f"{kind}: {one.outcome} {one.error}".strip() for kind, one in zip(dns_message.TYPES, answers, strict=True)
        ]
        found = next((one for one in answers if one.outcome not in MISSING), found)
        found.error = "; ".join(errors)
    found.seconds, found.uncertainty = times
    return found


async def resolve(asking: Asking, settings: Settings) -> Answer:
    """Ask for each name that a name may mean, until one has addresses, or all servers are silent.

    If none has, the first failure of a server is what came of it: it leaves open whether that name exists, and must not
    pass for a name that does not, nor for silence. The error then tells of every name that was not answered.
    """
    answers: list[tuple[str, Answer]] = []
    for name in settings.names(asking.name):
        answer = await _ask_servers(asking, name, asking.servers or settings.nameservers)
        answers.append((name, answer))
        if answer.outcome not in MISSING | _FAILED:
            break
    times, answer = _sums([one for _, one in answers]), answers[-1][1]
    failed = next((one for _, one in answers if one.outcome in _FAILED), None)
    if failed and answer.outcome != "answered":
        answer = failed
        if len(answers) > 1:
            said = (_said(name, one) for name, one in answers if one.outcome not in MISSING)
            answer.error = "; ".join(said)[:_LONGEST_ERROR]
    answer.seconds, answer.uncertainty = times
    return answer


def _sums(answers: list[Answer]) -> tuple[float, float]:
    """Return the seconds of all answers, and their uncertainty."""
    return sum(one.seconds for one in answers), sum(one.uncertainty for one in answers)


def _said(name: str, answer: Answer) -> str:
    return f"{name} {answer.outcome} {answer.error}".rstrip()


async def _ask_servers(asking: Asking, name: str, servers: list[str]) -> Answer:
    """Ask servers until one says what it knows of a name; a failure of one counts for more than another's silence."""
    best, seconds, uncertainty = Answer("unreachable", "no nameserver"), 0.0, 0.0
    for server in servers:
        for _ in range(asking.tries):
            answer = await _ask(asking, name, server)
            seconds, uncertainty = seconds + answer.seconds, uncertainty + answer.uncertainty
            if best.outcome not in _FAILED or answer.outcome not in _SILENT | _FAILED:
                best = answer
            if answer.outcome not in _SILENT:
                break
        if best.outcome not in _SILENT | _FAILED:
            break
    best.seconds, best.uncertainty = seconds, uncertainty
    return best


async def _ask(asking: Asking, name: str, server: str) -> Answer:
    """Ask a server once."""
    answer, trip, began = Answer("malformed"), Trip(), time.monotonic()
    answer.server = server
    kind = socket.SOCK_STREAM if asking.transport == "tcp" else socket.SOCK_DGRAM
    try:
        with socket.socket(family(server), kind) as sock:
            sock.settimeout(0)
            stamp(sock)
            exchange = _Exchange(sock, dns_message.wire(name), dns_message.TYPES[asking.kind])
            over = exchange.over_tcp if asking.transport == "tcp" else exchange.over_udp
            _judge(answer, await over((server, asking.port), min(began + asking.timeout, asking.until), trip))
            answer.seconds, answer.uncertainty = trip.seconds, trip.uncertainty
            return answer
    except Malformed as malformed:
        answer.error = str(malformed)
    except TimeoutError as error:
        answer.outcome, answer.error = "timeout", told(error)
    except OSError as error:
        answer.outcome, answer.error = "unreachable", told(error)
    answer.seconds = time.monotonic() - began
    return answer


def _judge(answer: Answer, message: dns_message.Message) -> None:
    answer.addresses = message.addresses
    if message.code:
        answer.outcome = _OUTCOMES.get(message.code, "servfail")
        answer.error = "" if message.code in _OUTCOMES else f"code {message.code}"
    else:
        answer.outcome = "answered" if message.addresses else "nodata"
    if message.truncated:
        answer.error = "truncated"


class _Exchange:
    """One question to one server, and the answer that belongs to it."""

    def __init__(self, sock: socket.socket, name: bytes, kind: int) -> None:
        self._sock = sock
        self._question = (name, kind, int.from_bytes(os.urandom(2)))
        self._encoded = dns_message.encoded(*self._question)

    async def over_udp(self, server: tuple[str, int], until: float, trip: Trip) -> dns_message.Message:
        """Wait for the answer, past what is not; raise Malformed and OSError."""
        self._sock.connect(server)
        sent = Sent(self._sock, self._encoded)
        malformed: Malformed | None = None
        while True:
            try:
                came = await sent.next_arrival(until, dns_message.MOST)
                message = dns_message.decoded(came.data, *self._question)
            except NotOurs as other:
                malformed = malformed or other  # Anybody may send what is not ours: the answer may still come.
            except TimeoutError:
                if malformed:
                    raise malformed from None
                raise
            else:
                sent.answered(came, 0.0, trip)
                return message

    async def over_tcp(self, server: tuple[str, int], until: float, trip: Trip) -> dns_message.Message:
        """Connect and ask; raise Malformed and OSError."""
        trip.add(*await connect(self._sock, server, until))
        sent = Sent(self._sock, len(self._encoded).to_bytes(_PREFIX) + self._encoded)
        data = b""
        while len(data) < _PREFIX or len(data) < _PREFIX + int.from_bytes(data[:_PREFIX]):
            came = await sent.next_arrival(until, _PREFIX + dns_message.MOST)
            data += came.data
            if not came.data:
                raise Malformed("the server closed the connection before its answer") from OSError(errno.ECONNRESET)
        sent.answered(came, 0.0, trip)
        return dns_message.decoded(data[_PREFIX : _PREFIX + int.from_bytes(data[:_PREFIX])], *self._question)
