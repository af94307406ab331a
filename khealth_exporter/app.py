"""Wires configuration → cluster → collectors → web; signals."""

import asyncio
import contextlib
import gc
import os
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    disable_created_metrics,
)

from khealth_exporter.clock import Clock, measured_loop
from khealth_exporter.cluster.access import Cluster
from khealth_exporter.cluster.auth import Credentials, CredentialsError, load_credentials
from khealth_exporter.cluster.client import Client
from khealth_exporter.cluster.ownership import Identity, Owner
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.collector import Collector, Snapshot
from khealth_exporter.config import Config
from khealth_exporter.event import Failed
from khealth_exporter.metrics import Metrics
from khealth_exporter.pods import SeenImages
from khealth_exporter.routine import Context
from khealth_exporter.signals import ended_by_signals
from khealth_exporter.web.address import Address, CannotListen
from khealth_exporter.web.server import WebServer

NAMESPACE = "khealth"
"""Where khealth works, unless it is told otherwise or runs in a Pod."""
SILENT = 300.0
"""Seconds without progress after which a loop counts as stuck."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class CannotStart(Exception):  # noqa: N818 - it reads as what happened
    """Nothing can begin: its text is a sentence for an administrator (exit code 2)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; `timeout` in seconds bounds `once` and `sweep`."""

    config: Config
    client_mode: Literal["auto", "in-cluster", "kubeconfig"] = "auto"
    kubeconfig: Path | None = None
    context: str | None = None
    listen: tuple[Address, ...] = ()
    timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class OnceResult:
    """What one attempt of each routine found; `answered` tells whether the API server ever said a word."""

    snapshots: tuple[Snapshot, ...]
    cluster: str
    answered: bool


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep deleted or would delete, what of it is left, how much may still live, what kept it from its work."""

    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    kept: int = 0
    namespace: str = ""
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has one of: time, metrics, a word for its run, chance."""

    clock: Clock
    metrics: Metrics
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    chance: random.Random = field(default_factory=random.SystemRandom)


def start(main: Callable[..., Coroutine[Any, Any, _T]], *arguments: object, **keywords: object) -> _T:
    """Run a coroutine function to its end, with `process=` added, in an event loop whose busy time is measured."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    # What was imported stays: to look through it for garbage again and again would make the event loop busy for long.
    gc.collect()
    gc.freeze()
    clock = Clock()
    registry = CollectorRegistry(auto_describe=True)
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    process = Process(clock, Metrics(registry, clock))
    with asyncio.Runner(loop_factory=lambda: measured_loop(clock, process.metrics.loop_busy)) as runner:
        return runner.run(main(*arguments, process=process, **keywords))


async def run(
    options: Options,
    *,
    process: Process,
    credentials: Credentials | None = None,
    announce: Callable[[tuple[Address, ...]], None] = lambda _: None,
) -> int:
    """Exercise the cluster until asked to stop, and serve what is found; return the exit code.

    `announce` is told the addresses as soon as they are served.

    Raise CannotStart where credentials or addresses cannot be used.
    """
    async with _exporter(options, process, credentials) as exporter:
        server = WebServer(options.listen, exporter)
        try:
            await server.start()
        except CannotListen as error:
            raise CannotStart(str(error)) from error
        announce(server.addresses)
        _log.info("khealth serves", addresses=[str(address) for address in server.addresses])
        try:
            with ended_by_signals(exporter.terminate):
                await exporter.work(jitter=process.chance.random())
        finally:
            await server.stop()
    return 0


async def once(options: Options, *, process: Process, credentials: Credentials | None = None) -> OnceResult:
    """Make one attempt of each routine; raise CannotStart where credentials cannot be used."""
    async with _exporter(options, process, credentials) as exporter:
        deadline = process.clock.now() + options.timeout
        with ended_by_signals(exporter.terminate):
            await exporter.settled(deadline)
            loop = asyncio.get_running_loop()
            ending = loop.call_at(deadline, exporter.terminate)
            await exporter.work(once=True)
            ending.cancel()
        bound = max((routine.settings.timeout for routine in options.config.routines), default=0.0)
        if not await exporter.cluster.namespace.remove(process.clock.now() + bound):
            _log.warning("the namespace that was made is still there", namespace=exporter.cluster.identity.namespace)
        return OnceResult(exporter.snapshots(), exporter.credentials.server, process.metrics.answered)


async def sweep(
    options: Options,
    *,
    dry_run: bool,
    everything: bool,
    process: Process,
    credentials: Credentials | None = None,
) -> SweepResult:
    """Delete what dead runs left, and wait until it is gone; raise CannotStart where credentials cannot be used."""
    async with _exporter(options, process, credentials) as exporter, _background(exporter.cluster):
        deadline, namespace = process.clock.now() + options.timeout, exporter.cluster.identity.namespace
        try:
            await exporter.cluster.see(deadline)
            found = exporter.sweeper.found(everything=everything)
            all_of_it = len(exporter.sweeper.found(everything=True))
            left = () if dry_run else await exporter.sweeper.clear(found, deadline)
        except Failed as failed:
            return SweepResult(namespace=namespace, failed=failed)
        gone = found if dry_run else [item for item in found if item not in left]
        return SweepResult(
            tuple(str(item) for item in gone), tuple(str(item) for item in left), all_of_it - len(found), namespace
        )


class Exporter:
    """Everything of one run, wired; also what the web server shows."""

    def __init__(self, options: Options, process: Process, credentials: Credentials, cluster: Cluster) -> None:
        self._options, self._process = options, process
        self.credentials, self.cluster = credentials, cluster
        self.registry = process.metrics.registry
        self.sweeper = Sweeper(cluster)
        self._collectors: dict[str, Collector] = {}
        self._waiting: asyncio.Timeout | None = None
        self._terminated = False

    async def settled(self, deadline: float) -> None:
        """Wait until the namespace can be used, as far as that can be told, or until asked to stop."""
        with contextlib.suppress(Failed, TimeoutError):
            async with asyncio.timeout(None) as self._waiting:
                await self.cluster.namespace.settled(deadline)
        self._waiting = None

    def _fill(self, *, once: bool) -> None:
        context = Context(
            self.cluster,
            self._process.clock,
            self._options.config.measurement,
            SeenImages(remember=not once),
            self._process.chance,
        )
        for routine in self._options.config.routines:
            collector = self._collectors.setdefault(
                routine.module, Collector(routine.module, self._process.metrics, self._process.clock)
            )
            collector.add(routine.label, routine.kind, routine.settings, context)

    async def work(self, *, once: bool = False, jitter: float = 0.0) -> None:
        """Run every routine, until asked to stop or after one attempt of each; return when all have cleaned up."""
        self._fill(once=once)
        self._process.metrics.begin()
        async with _background(self.cluster, self.sweeper), asyncio.TaskGroup() as group:
            for collector in self._collectors.values():
                group.create_task(collector.start(jitter=jitter, once=once))
            if self._terminated:
                self.terminate()

    def terminate(self) -> None:
        """Begin nothing more, and clean up."""
        self._terminated = True
        if self._waiting:
            self._waiting.reschedule(0)
        for collector in self._collectors.values():
            collector.terminate()

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return what every module knows now."""
        return tuple(collector.status() for collector in self._collectors.values())

    def configuration(self) -> str:
        """Return the configuration in force."""
        return self._options.config.as_yaml()

    def silent(self) -> tuple[str, ...]:
        """Return the loops that have made no progress for five minutes."""
        now = self._process.clock.now()
        watches = [f"watch of {w.resource}" for w in self.cluster.watches if now - w.progressed > SILENT]
        routines = [name for collector in self._collectors.values() for name in collector.silent(SILENT)]
        return (*watches, *routines)

    def ready(self) -> bool:
        """Tell whether the configuration is loaded and the metrics can be scraped: as soon as this is served."""
        return bool(self._collectors)


@asynccontextmanager
async def _exporter(options: Options, process: Process, credentials: Credentials | None) -> AsyncIterator[Exporter]:
    if credentials is None:
        try:
            credentials = load_credentials(options.client_mode, options.kubeconfig, options.context)
        except CredentialsError as error:
            raise CannotStart(str(error)) from error
    client = Client(credentials, process.clock, process.metrics, process.chance)
    identity = _identity(options, process, credentials)
    cluster = Cluster(client, identity, process.clock, process.metrics, process.chance)
    try:
        yield Exporter(options, process, credentials, cluster)
    finally:
        await client.close()


def _identity(options: Options, process: Process, credentials: Credentials) -> Identity:
    """Return who this run is: in a Pod of its own namespace it owns what it makes (names by the downward API)."""
    home = credentials.namespace if credentials.in_cluster else None
    namespace = options.config.namespace or home or NAMESPACE
    name, uid = os.environ.get("POD_NAME"), os.environ.get("POD_UID")
    owner = Owner(name, uid) if name and uid and namespace == home else None
    return Identity(process.run, namespace, owner)


@asynccontextmanager
async def _background(cluster: Cluster, sweeper: Sweeper | None = None) -> AsyncIterator[None]:
    """Keep the watches live, and the namespace swept, until the block ends."""
    loops: list[Callable[[], Awaitable[None]]] = [watch.run for watch in cluster.watches]
    if sweeper:
        loops.append(sweeper.run)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_for_ever(loop)) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _for_ever(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until cancelled; a bug in it is told loudly, and does not end the others."""
    while True:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("khealth itself is at fault", loop=loop.__qualname__, exc_info=error)
        await asyncio.sleep(1)
