"""Listens for reports of checks, while a routine needs them."""

import asyncio
import socket
from urllib.parse import urlsplit

import structlog

from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.reports import Reports
from khealth_exporter.vocabulary.address import Address, CannotListen
from khealth_exporter.vocabulary.settings import KuberhealthySettings
from khealth_exporter.web.check_reports import PATH, ReportServer

RETRY = 5.0
"""Seconds until the next attempt to listen on an address that is in use."""
_ANYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - it compares
_HTTPS = 443

_log = structlog.get_logger()


class Receiver:
    """Listens where the configuration says, and tells `reports` how pods reach that; `server` is the API server's URL.

    Pods are told khealth's own address: behind a Service there may be replicas that await nothing.
    """

    def __init__(self, reports: Reports, server: str) -> None:
        self._reports, self._server = reports, server
        self._wanted: KuberhealthySettings | None = None
        self._changed = Signal()

    def want(self, settings: KuberhealthySettings | None) -> None:
        """Listen as these settings say from now on; None for not at all."""
        self._wanted = settings
        self._changed.fire()

    async def run(self) -> None:
        """Do so until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.until(lambda: self._wanted is not None)
                if wanted := self._wanted:
                    await self._serve(wanted, group)

    async def _serve(self, wanted: KuberhealthySettings, group: asyncio.TaskGroup) -> None:
        """Listen on an address until another one is wanted; if that is impossible, say so, and return after a while."""
        server = ReportServer(self._reports)
        try:
            bound = await server.start(Address.parse(wanted.listen))
        except CannotListen as error:
            await self._fail(wanted, str(error))
            return
        stopping = False
        try:
            while (now := self._wanted) and now.listen == wanted.listen:
                await self._tell(now, bound)
            # Pods that run have been told this address.
            group.create_task(self._retire(server))
            stopping = True
        finally:
            self._reports.unserved()
            if not stopping:
                await server.stop()

    async def _tell(self, wanted: KuberhealthySettings, bound: Address) -> None:
        """Tell pods the address until something else is wanted."""
        try:
            url = wanted.url or f"http://{await self._reached(bound)}{PATH}"
        except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name.
            await self._fail(wanted, f"cannot tell khealth's own address, set kuberhealthy.url: {error}")
            return
        _log.info("listening for reports of checks", address=str(bound), url=url)
        self._reports.served(url)
        await self._changed.until(lambda: self._wanted != wanted)

    async def _retire(self, server: ReportServer) -> None:
        """Stop a server when no attempt awaits a report at its address."""
        try:
            await self._reports.settled()
        finally:
            await server.stop()

    async def _fail(self, wanted: KuberhealthySettings, trouble: str) -> None:
        _log.error("cannot listen for reports of checks", error=trouble)
        self._reports.unserved(trouble)
        await self._changed.until(lambda: self._wanted != wanted, asyncio.get_running_loop().time() + RETRY)

    async def _reached(self, bound: Address) -> Address:
        """Return the address at which pods reach khealth; OSError if it is not known."""
        if bound.host not in _ANYWHERE:
            return bound
        parts, loop = urlsplit(self._server), asyncio.get_running_loop()
        found = await loop.getaddrinfo(parts.hostname, parts.port or _HTTPS, type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect(address)  # It sends nothing: the kernel chooses the source address.
            return Address(asking.getsockname()[0], bound.port)
