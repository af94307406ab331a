"""When the API server's certificate ends, as a connection shows it."""

import asyncio
import ssl
from datetime import UTC, datetime

import trustme

from khealth_exporter.cluster.client.certificate import certificate_end

ENDS = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)


async def end_seen(context: ssl.SSLContext | None, authority: trustme.CA) -> float | None:
    """Make one connection with this context, and return the end of the certificate that it shows."""
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", not_after=ENDS).configure_cert(served)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=served if context else None) as server:
        host, port = server.sockets[0].getsockname()
        name = "localhost" if context else None
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        try:
            return certificate_end(writer.transport)
        finally:
            writer.close()


async def test_the_end_of_a_verified_certificate_is_seen() -> None:
    """In Unix seconds."""
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    assert ENDS.timestamp() == await end_seen(context, authority)


async def test_a_certificate_that_is_not_verified_is_not_known() -> None:
    """Python does not decode it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    assert None is await end_seen(context, trustme.CA())


async def test_without_tls_there_is_no_certificate() -> None:
    """Nor on a connection that is gone."""
    assert (None, None) == (await end_seen(None, trustme.CA()), certificate_end(None))
