"""Sockets that are listened on, and the connections that are accepted there."""

import asyncio
import os
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable

import structlog
from aiohttp.web_protocol import RequestHandler

from khealth_exporter.web.address import Address, CannotListen
from khealth_exporter.web.open_connections import Connection, Connections

_STALLED = 30_000
"""Milliseconds after which a client that takes none of its answer is dropped."""
_BACKLOG = 128
_GOODBYE = 2.0
"""Seconds that a client has to end TLS in good order."""
_OUT_OF_FILES = 0.1
"""Seconds until the next try where the system has no room for a connection."""
_BUFFER = 16 * 1024
"""Bytes that asyncio keeps for what comes over each TLS connection: one record of TLS, instead of 256 KiB."""

_log = structlog.get_logger()


class Acceptor:
    """Accepts connections for as long as it runs; with TLS, each with what is in force when it comes.

    aiohttp's own sites cannot do that: they keep one SSLContext, and do not know of a connection before it has said
    hello. `greeting` is for how many seconds a client may be silent, or slow, until TLS is agreed on.
    """

    def __init__(
        self,
        connections: Connections,
        protocol: Callable[[], RequestHandler],
        tls: Callable[[], ssl.SSLContext | None],
        greeting: float,
    ) -> None:
        self._connections, self._protocol, self._tls, self._greeting = connections, protocol, tls, greeting

    async def accept(self, listening: socket.socket, group: asyncio.TaskGroup) -> None:
        """Accept connections on a socket until cancelled; each is opened by a task of the group."""
        refused = False
        while True:
            try:
                opened, _ = await asyncio.get_running_loop().sock_accept(listening)
                refused = False
                inner = self._protocol()
                connection = self._connections.admit(inner)
                connection.opening = group.create_task(self._open(connection, inner, opened))
                # A queue of new connections must not keep the old ones waiting.
                await asyncio.sleep(0)
            except OSError as error:  # no more files, as a rule
                if not refused:
                    _log.error("connection not accepted", error=str(error))
                refused = True
                self._connections.make_room()
                await asyncio.sleep(_OUT_OF_FILES)

    async def _open(self, connection: Connection, inner: RequestHandler, opened: socket.socket) -> None:
        try:
            if tls := self._tls():
                await self._secure(connection, opened, tls)
            else:
                await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, opened)
        except OSError as error:  # no TLS, a wrong certificate, too late, or gone: the client's problem
            _log.debug("connection not opened", error=str(error))
            self._connections.forget(inner)
        except asyncio.CancelledError:
            self._connections.forget(inner)
            raise
        except Exception as error:  # noqa: BLE001 - no connection may end the others
            _log.error("internal error", exc_info=error)
            self._connections.forget(inner)

    async def _secure(self, connection: Connection, opened: socket.socket, tls: ssl.SSLContext) -> None:
        """Agree on TLS; OSError if the client does not."""
        loop = asyncio.get_running_loop()
        agreed: asyncio.Future[None] = loop.create_future()
        secured = _SmallBuffers(
            loop,
            connection,
            tls,
            agreed,
            server_side=True,
            ssl_handshake_timeout=self._greeting,  # type: ignore[arg-type] # it takes fractions of a second
            ssl_shutdown_timeout=_GOODBYE,
        )
        transport, _ = await loop.connect_accepted_socket(lambda: secured, opened)
        try:
            await agreed
        except BaseException:
            transport.abort()
            raise


class _SmallBuffers(sslproto.SSLProtocol):
    """TLS of one accepted connection. The API client's connections keep asyncio's own, large buffers."""

    max_size = _BUFFER


def listen(address: Address) -> socket.socket:
    """Return a socket that listens; CannotListen if the address is taken, not allowed or not this machine's."""
    try:
        opened = _bound(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number and not isinstance(error, socket.gaierror) else str(error)
        raise CannotListen(f"cannot listen on {address}: {reason[:1].lower()}{reason[1:]}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED)
    opened.setblocking(False)  # noqa: FBT003 - the standard library's own way
    return opened


def _bound(address: Address) -> socket.socket:
    if address.host in {"", "::"}:
        return _bound_everywhere(address.port)
    family, *_, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(where[:2], family=family, backlog=_BACKLOG)


def _bound_everywhere(port: int) -> socket.socket:
    """Listen with IPv4 and IPv6 on one socket; with IPv4 alone where the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=_BACKLOG)
