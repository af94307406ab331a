"""When the API server's certificate ends, taken from the connection of an answer."""

import asyncio
import ssl

import aiohttp
from aiohttp.connector import Connection


class CertifiedResponse(aiohttp.ClientResponse):
    """An answer that knows when the certificate of its server ends."""

    certificate_end: float | None = None
    """In Unix seconds; None without TLS, and where the certificate is not verified: Python does not decode it then."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Begin to read the answer; its connection may be closed once that is done."""
        self.certificate_end = certificate_end(connection.transport)
        return await super().start(connection)


def certificate_end(transport: asyncio.BaseTransport | None) -> float | None:
    """Return when the certificate that the other side has shown ends, in Unix seconds, if that is known."""
    certificate = transport.get_extra_info("peercert") if transport else None
    end = (certificate or {}).get("notAfter")
    return float(ssl.cert_time_to_seconds(end)) if isinstance(end, str) else None
