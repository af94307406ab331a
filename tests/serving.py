"""A backend, certificates, and byte-level clients for tests of the web server."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trustme
from prometheus_client import CollectorRegistry, Counter, Gauge

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE
from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import About, Attempt, RoutineStatus, Snapshot, State
from khealth_exporter.core.supervisor import NotBegun
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.verdict import Evidence, Verdict
from khealth_exporter.web.http_server import Limits
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.server import WebServer

BEGAN = 1795444200.5
WELL = Attempt(
    1,
    BEGAN,
    Phase.CLEANUP,
    1.5,
    Verdict(Result.SUCCESS),
    BEGAN + 1,
    BEGAN + 1,
    BEGAN + 2,
    (Measurement(ACCEPT, 0.25, 0.001),),
    (Sample("khealth-a-x", "uid", "node-1", (Measurement(CREATE, 0.5, 0.001),), {"created": BEGAN}),),
    steps=(Measurement(ACCEPT, 0.25, 0.001), Measurement(CREATE, 0.5, 0.001)),
    qualities=(1, 0, 0, 0, 0),
)
BROKEN = replace(
    WELL,
    number=2,
    verdict=Verdict(Result.FAILURE, Reason.POD_CRASHED, "<script>exit 1</script>", Component.NODE),
    evidence=(Evidence("Pod", "khealth-a-x", ("<b>CrashLoopBackOff</b>",)),),
)
STATUS = RoutineStatus("rcscheduler", "pool-a", 60.0, RcScheduler.steps, State.WELL, BEGAN, 0, BEGAN, None, (WELL,))
FAILING = replace(STATUS, state=State.FAILING, consecutive_failures=1, last_failure=BROKEN, attempts=(WELL, BROKEN))
WAITING = RoutineStatus("rcscheduler", "pool-a", 60.0, RcScheduler.steps)


class Known:
    """A backend with settable data."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.statuses: tuple[RoutineStatus, ...] = (STATUS,)
        self.stuck: tuple[str, ...] = ()
        self.begun = True
        self.lacking: tuple[Denied, ...] = ()
        self.left_out: tuple[Off, ...] = ()
        self.wrong: tuple[str, ...] = ()
        self.reloads = 0
        self.begun_attempts: list[str] = []
        self.not_begun: NotBegun | None = None
        self.now = BEGAN + 30
        Counter("things", "Things.", registry=self.registry).inc(3)
        Gauge("others", "Others.", registry=self.registry).set(1)

    def snapshots(self) -> tuple[Snapshot, ...]:
        by_module = itertools.groupby(self.statuses, key=lambda status: status.module)
        return tuple(Snapshot(module, tuple(statuses)) for module, statuses in by_module)

    def off(self) -> tuple[Off, ...]:
        return self.left_out

    def about(self) -> About:
        return About("1.2.3", "3.13.0", "https://cluster.example:6443", self.now)

    def configuration(self) -> str:
        return "namespace: khealth\n"

    def silent(self) -> tuple[str, ...]:
        return self.stuck

    def ready(self) -> bool:
        return self.begun

    async def reload(self) -> tuple[str, ...]:
        self.reloads += 1
        return self.wrong

    def begin(self, module: str, routine: str) -> int:
        if self.not_begun:
            raise self.not_begun
        self.begun_attempts.append(f"{module}/{routine}")
        return 7

    def denied(self) -> tuple[Denied, ...]:
        return self.lacking


HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds that a test waits at most."""
ANNA = "$2b$04$KinhsQaUKyTOJ4uRkVxgW.HZvU3QZkvoZykvvaaIHRLboZ6FJ4ZBO"
"""The bcrypt hash of `right`, at the lowest cost."""
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key"
"""The beginning of a configuration with TLS; what follows closes the brace."""


@dataclass
class Keys:
    """A folder with an authority's certificate, and a server's certificate and key."""

    folder: Path
    authority: trustme.CA

    def issue(self, name: str = "server", *identities: str) -> None:
        """Write NAME.pem and NAME.key."""
        issued = self.authority.issue_cert(*(identities or ("localhost", HOST, "::1")), common_name=name)
        (self.folder / f"{name}.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        (self.folder / f"{name}.key").write_bytes(issued.private_key_pem.bytes())

    def write(self, text: str, name: str = "web.yaml") -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def client(self, name: str = "", **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """Return the TLS context of a client that trusts the authority, with the named client certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        for key, version in versions.items():
            setattr(context, key, version)
        return context


def keys(folder: Path) -> Keys:
    """Return a folder with an authority, and a server's certificate."""
    made = Keys(folder, trustme.CA())
    made.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    made.issue()
    return made


@asynccontextmanager
async def served(
    path: Path | None = None, known: Known | None = None, host: str = HOST, **bounds: float
) -> AsyncIterator[tuple[WebServer, ActiveWebConfig]]:
    """Run a web server with a web configuration until the block ends, or PATIENCE is over.

    Only the test checks the configuration's files: a check of the server's own might come between.
    """
    web_config = ActiveWebConfig(path)
    unchecked = partial(web_config.reload_on_change, period=1e6)
    web_config.reload_on_change = unchecked  # type: ignore[method-assign]
    limits = replace(Limits(connections=512, idle=75.0), **bounds)  # type: ignore[arg-type]
    server = WebServer([Address(host, 0)], known or Known(), web_config, limits=limits)
    async with asyncio.timeout(PATIENCE):
        await server.start()
        try:
            yield server, web_config
        finally:
            await server.stop()


class Talk:
    """One client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, path: str = "/-/ready", *headers: str, method: str = "GET") -> tuple[int, str]:
        """Send a request; return the code and the body of the response."""
        lines = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: localhost", *headers))
        await self.say(f"{lines}\r\n".encode())
        return await self.answer()

    async def answer(self) -> tuple[int, str]:
        """Return the code and the body of the next response."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length")]
        body = await self._reader.readexactly(int(lengths[0]) if lengths else 0)
        return int(head.split()[1]), body.decode()

    async def say(self, content: bytes) -> None:
        """Send something."""
        self.writer.write(content)
        await self.writer.drain()

    async def ended(self) -> bool:
        """Wait until the server closes the connection."""
        try:
            return not await self._reader.read()
        except ConnectionError:
            return True

    def deafen(self) -> None:
        """Stop reading."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    def certificate(self) -> bytes:
        """Return the server's certificate."""
        shown = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(shown, bytes)
        return shown


@asynccontextmanager
async def talk(server: WebServer, context: ssl.SSLContext | None = None, host: str = HOST) -> AsyncIterator[Talk]:
    """Open a connection, with TLS if there is a context for it."""
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection(host, server.addresses[0].port, ssl=context, server_hostname=name)
    try:
        yield Talk(reader, writer)
    finally:
        writer.transport.abort()


def talk_without_end(port: int, begin: bytes, more: bytes) -> bytes:
    """Send something, and more of it until the server disconnects; return the beginning of its answer.

    An event loop would not tell it: it reads no more once it cannot write, though the answer has come by then.
    """
    with socket.create_connection((HOST, port), timeout=PATIENCE) as client:
        with suppress(ConnectionError):
            client.sendall(begin)
            for _ in range((64 << 20) // len(more)):
                client.sendall(more)
        return client.recv(1000)
