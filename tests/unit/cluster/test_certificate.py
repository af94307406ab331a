"""When the API server's certificate ends, as a handshake shows it."""

import asyncio
import ssl
from datetime import UTC, datetime

import trustme

from khealth_exporter.cluster.client.certificate import observe

ENDS = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)


async def connected(context: ssl.SSLContext, authority: trustme.CA) -> None:
    """Make one TLS connection with this context."""
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", not_after=ENDS).configure_cert(served)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=served) as server:
        host, port = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        writer.close()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_the_end_of_a_verified_certificate_is_seen() -> None:
    """In Unix seconds."""
    authority, seen = trustme.CA(), list[float]()
    context = trusting(authority)
    observe(context, seen.append)
    await connected(context, authority)
    assert [ENDS.timestamp()] == seen


async def test_observing_twice_reports_once() -> None:
    """Every request asks for it."""
    authority, seen = trustme.CA(), list[float]()
    context = trusting(authority)
    for _ in range(2):
        observe(context, seen.append)
    await connected(context, authority)
    assert 1 == len(seen)


async def test_a_certificate_that_is_not_verified_is_not_known() -> None:
    """Python does not decode it."""
    authority, seen = trustme.CA(), list[float]()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    observe(context, seen.append)
    await connected(context, authority)
    assert [] == seen
