"""Listening sockets, and the connections that they accept."""

import asyncio
import errno
import os
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable

import structlog
from aiohttp.web_protocol import RequestHandler

from khealth_exporter.vocabulary.address import Address, CannotListen
from khealth_exporter.web.connection_limit import ConnectionLimiter, TrackedConnection

_SEND_TIMEOUT = 30_000
"""Milliseconds without acknowledgment of sent data after which the kernel closes a connection."""
_BACKLOG = 128
_SHUTDOWN_TIMEOUT = 2.0
"""Seconds that a client has to complete the TLS shutdown."""
_RETRY_DELAY = 0.1
"""Seconds until the next attempt after the system refused a connection."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of accept that closing another connection cures, as in asyncio's own servers."""
_TLS_BUFFER = 16 * 1024
"""Size in bytes of the read buffer of each TLS connection: one TLS record, instead of asyncio's 256 KiB."""

_log = structlog.get_logger()


class Acceptor:
    """Accepts connections, each with the TLS configuration that is active at that time.

    aiohttp's own sites keep one SSLContext, and do not know of a connection before the end of its handshake.
    `handshake_timeout` is the number of seconds that a client has to complete the TLS handshake.
    """

    def __init__(
        self,
        connections: ConnectionLimiter,
        new_handler: Callable[[], RequestHandler],
        tls: Callable[[], ssl.SSLContext | None],
        handshake_timeout: float,
    ) -> None:
        self._connections, self._new_handler = connections, new_handler
        self._tls, self._handshake_timeout = tls, handshake_timeout

    async def accept(self, listening: socket.socket, group: asyncio.TaskGroup) -> None:
        """Accept connections on a socket until canceled; a task in the group opens each of them."""
        failed = False
        while True:
            try:
                accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
                failed = False
                handler = self._new_handler()
                connection = self._connections.admit(handler)
                connection.opening = group.create_task(self._open(connection, handler, accepted))
                # A queue of new connections must not delay the open ones.
                await asyncio.sleep(0)
            except ConnectionAbortedError as error:  # The client disconnected.
                _log.debug("connection not opened", error=str(error))
                await asyncio.sleep(0)
            except OSError as error:
                if not failed:
                    _log.error("connection not accepted", error=str(error))
                failed = True
                if error.errno in _EXHAUSTED:
                    self._connections.evict()
                await asyncio.sleep(_RETRY_DELAY)

    async def _open(self, connection: TrackedConnection, handler: RequestHandler, accepted: socket.socket) -> None:
        try:
            if tls := self._tls():
                await self._start_tls(connection, accepted, tls)
            else:
                await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:  # The client failed the TLS handshake, was too slow, or disconnected.
            _log.debug("connection not opened", error=str(error))
            self._connections.discard(handler)
        except asyncio.CancelledError:
            self._connections.discard(handler)
            raise
        except Exception as error:  # noqa: BLE001 - one connection must not end the others
            _log.error("internal error", exc_info=error)
            self._connections.discard(handler)

    async def _start_tls(self, connection: TrackedConnection, accepted: socket.socket, tls: ssl.SSLContext) -> None:
        """Perform the TLS handshake; OSError if it fails."""
        loop = asyncio.get_running_loop()
        handshake: asyncio.Future[None] = loop.create_future()
        protocol = _ServerTlsProtocol(
            loop,
            connection,
            tls,
            handshake,
            server_side=True,
            ssl_handshake_timeout=self._handshake_timeout,  # type: ignore[arg-type] # fractions are accepted
            ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
        try:
            await handshake
        except BaseException:
            transport.abort()
            raise


class _ServerTlsProtocol(sslproto.SSLProtocol):
    """TLS of one accepted connection, with a small buffer; the API client keeps asyncio's large buffers."""

    max_size = _TLS_BUFFER


def listen(address: Address) -> socket.socket:
    """Return a listening socket; CannotListen if the address is in use, not permitted, or not local."""
    try:
        listening = _bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name.
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number and not isinstance(error, socket.gaierror) else str(error)
        raise CannotListen(f"cannot listen on {address}: {reason[:1].lower()}{reason[1:]}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SEND_TIMEOUT)
    listening.setblocking(False)  # noqa: FBT003 - the standard library has no keyword for it
    return listening


def _bind(address: Address) -> socket.socket:
    if address.host in {"", "::"}:
        return _bind_all_interfaces(address.port)
    family, *_, sockaddr = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(sockaddr[:2], family=family, backlog=_BACKLOG)


def _bind_all_interfaces(port: int) -> socket.socket:
    """Listen for IPv4 and IPv6 on one socket; for IPv4 only on a machine without IPv6."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=_BACKLOG)
