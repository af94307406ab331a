"""The web server itself: sockets, limits and headers."""

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

from aiohttp import web, web_response

from khealth_exporter.web.address import Address, CannotListen
from khealth_exporter.web.page import CONTENT_SECURITY_POLICY
from khealth_exporter.web.pages import Pages, Sources

_PATIENCE = 75.0
"""Seconds; longer than usual scrape intervals."""
_STALLED = 30_000
"""Milliseconds after which a client that takes none of its answer is dropped."""
_LINE, _HEADER, _HEADERS = 4096, 8192, 64
_BACKLOG = 128

_HEADERS_OF_ALL = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """Serves what `sources` knows on some addresses, from `start` to `stop`.

    `patience` is for how many seconds a connection may idle, or take to send a request.
    """

    def __init__(self, addresses: Sequence[Address], sources: Sources, *, patience: float = _PATIENCE) -> None:
        self._wanted = tuple(addresses)
        self._runner = web.AppRunner(
            application(sources),
            access_log=None,
            keepalive_timeout=patience,
            lingering_time=1.0,
            max_line_size=_LINE,
            max_field_size=_HEADER,
            max_headers=_HEADERS,
            shutdown_timeout=2.0,
        )
        self.addresses: tuple[Address, ...] = ()
        """Where it does listen, once started."""

    async def start(self) -> None:
        """Listen; CannotListen if an address is taken, not allowed or not this machine's: then on none of them."""
        with ExitStack() as opened:
            sockets = [opened.enter_context(_listening(address)) for address in self._wanted]
            opened.pop_all()
        # What aiohttp answers before a request has been understood would name its version and Python's.
        vars(web_response)["SERVER_SOFTWARE"] = "khealth"
        await self._runner.setup()
        for listening in sockets:
            await web.SockSite(self._runner, listening, backlog=_BACKLOG).start()
        bound = zip(self._wanted, sockets, strict=True)
        self.addresses = tuple(Address(address.host, listening.getsockname()[1]) for address, listening in bound)

    async def stop(self) -> None:
        """Stop listening, and end what is being answered within two seconds."""
        await self._runner.cleanup()
        self.addresses = ()


def application(sources: Sources) -> web.Application:
    """Return the web application, without a socket."""
    app = web.Application(middlewares=[_plain_errors], client_max_size=1024)
    routes = Pages(sources).routes()
    for path, handler in routes.items():
        app.router.add_get(path, handler)
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS_OF_ALL)
    response.headers.pop("Server", None)


@web.middleware
async def _plain_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer what is wrong with a request in plain text."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        known = (route.get_info() for route in request.app.router.resources())
        paths = "\n".join(str(info.get("path") or info.get("formatter")) for info in known)
        return web.Response(text=f"no such path; there are:\n{paths}\n", status=404)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return web.Response(text=f"this path takes {allowed}\n", status=405, headers={"Allow": allowed})


def _listening(address: Address) -> socket.socket:
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
