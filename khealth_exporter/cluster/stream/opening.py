"""Opening a stream: connection, proxy, TLS, request, and the answer's head."""

import functools
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from yarl import URL

from khealth_exporter.cluster.credentials.proxy import Proxy
from khealth_exporter.cluster.errors import ProxyRefusedError
from khealth_exporter.cluster.stream.http_reader import Body, GarbledAnswerError, Head, HeadReader
from khealth_exporter.cluster.stream.socket_reader import Piece
from khealth_exporter.cluster.stream.wire import Wire
from khealth_exporter.measure.clock import Clock


@functools.cache
def system_tls() -> ssl.SSLContext:
    """Return how to talk TLS to a proxy where the server itself does not: it trusts the machine's own authorities."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach a server."""

    url: URL
    tls: ssl.SSLContext | None
    """How to talk TLS; None for http://."""
    server_name: str
    """The name that the server's certificate must bear."""
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose head has come; `rest` is what came of its body with it."""

    wire: Wire
    head: Head
    body: Body
    rest: Sequence[Piece]


async def ask(way: Way, headers: Mapping[str, str], clock: Clock, sent: Callable[[], None] = lambda: None) -> Opened:
    """Send a GET on a connection of its own, and return its answer once the head has come; raise OSError.

    `sent` is called when the request goes out: until then it is the proxy, if any, that leads nowhere.
    """
    first = way.proxy.url if way.proxy else way.url
    wire = await Wire.connect(_host(first), _port(first), clock)
    try:
        through_proxy = await _reach(wire, way)
        told = [("Host", _authority(way.url)), *headers.items()]
        if way.proxy and through_proxy:
            told += way.proxy.headers.items()
        where = str(way.url.with_user(None)) if through_proxy else way.url.raw_path_qs
        sent()
        wire.send(_request("GET", where, told))
        return await _answer(wire)
    except BaseException:
        wire.close()
        raise


async def _reach(wire: Wire, way: Way) -> bool:
    """Begin TLS, with the proxy and then with the server; tell whether the proxy itself reads what is sent next."""
    if way.proxy and way.proxy.url.scheme == "https":
        try:
            await wire.start_tls(way.tls or system_tls(), _host(way.proxy.url))
        except ssl.SSLError as error:
            raise ConnectionError(f"TLS: {error}") from error  # The server's own TLS errors stay what they are.
    if way.tls is None:
        return way.proxy is not None
    if way.proxy:
        server = f"{_bracketed(way.url)}:{_port(way.url)}"
        wire.send(_request("CONNECT", server, [("Host", server), *way.proxy.headers.items()]))
        opened = await _answer(wire)
        if opened.head.status != HTTPStatus.OK:
            raise ProxyRefusedError(opened.head.status)
        if opened.rest:
            raise GarbledAnswerError("the proxy sends more than an answer to CONNECT")
    await wire.start_tls(way.tls, way.server_name)
    return False


async def _answer(wire: Wire) -> Opened:
    reader = HeadReader()
    while pieces := await wire.receive():
        for number, (data, arrival) in enumerate(pieces, 1):
            if found := reader.feed(data):
                head, rest = found
                return Opened(wire, head, Body(head), [(rest, arrival)] * bool(rest) + pieces[number:])
    raise GarbledAnswerError("the connection ended before an answer")


def _request(method: str, where: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"{method} {where} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header with a line break")
    return "\r\n".join([*lines, "", ""]).encode()


def _host(url: URL) -> str:
    return url.host or ""


def _port(url: URL) -> int:
    return url.port or 0


def _bracketed(url: URL) -> str:
    return f"[{url.raw_host}]" if ":" in (url.raw_host or "") else url.raw_host or ""


def _authority(url: URL) -> str:
    return _bracketed(url) if url.is_default_port() else f"{_bracketed(url)}:{url.port}"
