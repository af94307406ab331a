"""Wires configuration → cluster → collectors → web; signals."""

import asyncio
import gc
import linecache
import os
from collections.abc import AsyncIterator, Callable, Coroutine
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

from khealth_exporter.app.exporter import Exporter, Process, background
from khealth_exporter.app.reload import Load
from khealth_exporter.app.signals import ended_by_signals
from khealth_exporter.cluster.client.client import Client
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.credentials.credentials import Credentials, CredentialsError, load_credentials
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.ownership import Identity, Owner, process_start
from khealth_exporter.cluster.redaction import redacted
from khealth_exporter.config import Config
from khealth_exporter.core.collector import Snapshot
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.event_loop import measured_loop
from khealth_exporter.modules import MODULES
from khealth_exporter.vocabulary.address import Address, CannotListen
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.settings import format_duration
from khealth_exporter.vocabulary.verdict import Failed
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.server import WebServer

__all__ = [
    "CannotStart",
    "Exporter",
    "OnceResult",
    "Options",
    "Process",
    "SweepResult",
    "once",
    "run",
    "start",
    "sweep",
]

NAMESPACE = "khealth"
"""The default namespace outside of a Pod."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class CannotStart(Exception):  # noqa: N818 - it reads as what happened
    """Nothing can begin: its text is a sentence for an administrator (exit code 2)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; `timeout` in seconds bounds `once` and `sweep`.

    `load` reads the configuration again while `run` works; where it is None, SIGHUP is an end as SIGTERM is.
    """

    config: Config
    client_mode: Literal["auto", "in-cluster", "kubeconfig"] = "auto"
    kubeconfig: Path | None = None
    context: str | None = None
    listen: tuple[Address, ...] = ()
    web_config: Path | None = None
    timeout: float = 300.0
    load: Load | None = field(default=None, compare=False)


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


def start(main: Callable[..., Coroutine[Any, Any, _T]], *arguments: object, **keywords: object) -> _T:
    """Run a coroutine function to its end, with `process=` added, in an event loop whose busy time is measured."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    # It holds the source of all settings, from which they take the meaning of their keys.
    linecache.clearcache()
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

    `announce` gets the addresses as soon as they are served. CannotStart where credentials or addresses cannot be
    used, ConfigError where the web configuration cannot.
    """
    protection = ActiveWebConfig(options.web_config)
    async with _exporter(options, process, credentials) as exporter:
        server = WebServer(options.listen, exporter, protection)
        try:
            await server.start()
        except CannotListen as error:
            raise CannotStart(str(error)) from error
        try:
            # Before anyone is told that it serves: a signal that comes at once must not kill it.
            with ended_by_signals(exporter.terminate, exporter.reloader.ask if options.load else None):
                announce(server.addresses)
                _log.info("serving", addresses=[str(address) for address in server.addresses])
                await exporter.work(jitter=process.chance.random())
        finally:
            await server.stop()
    return 0


async def once(options: Options, *, process: Process, credentials: Credentials | None = None) -> OnceResult:
    """Make one attempt of each routine; raise CannotStart where credentials cannot be used."""
    credentials = credentials or _credentials(options)
    async with _exporter(options, process, credentials) as exporter:
        deadline = process.clock.now() + options.timeout
        with ended_by_signals(exporter.terminate):
            await exporter.settled(deadline)
            loop = asyncio.get_running_loop()
            ending = loop.call_at(deadline, exporter.expire, f"--timeout {format_duration(options.timeout)}")
            await exporter.work(once=True)
            ending.cancel()
        bound = max((routine.settings.timeout for routine in options.config.routines), default=0.0)
        if not await exporter.cluster.namespace.remove(process.clock.now() + bound):
            _log.warning("namespace not deleted", namespace=exporter.cluster.identity.namespace)
        return OnceResult(exporter.snapshots(), redacted(credentials.server), process.metrics.answered)


async def sweep(
    options: Options,
    *,
    dry_run: bool,
    everything: bool,
    process: Process,
    credentials: Credentials | None = None,
) -> SweepResult:
    """Delete what dead runs left, and wait until it is gone; raise CannotStart where credentials cannot be used."""
    async with _exporter(options, process, credentials) as exporter, background(exporter.cluster.watches.run):
        deadline, namespace = process.clock.now() + options.timeout, exporter.cluster.identity.namespace
        try:
            await exporter.sweeper.look(deadline, _swept(exporter, options.config))
            found = exporter.sweeper.found(everything=everything)
            all_of_it = len(exporter.sweeper.found(everything=True))
            left = () if dry_run else await exporter.sweeper.clear(found, deadline)
        except Failed as failed:
            return SweepResult(namespace=namespace, failed=failed)
        gone = found if dry_run else [item for item in found if item not in left]
        return SweepResult(
            tuple(str(item) for item in gone), tuple(str(item) for item in left), all_of_it - len(found), namespace
        )


def _swept(exporter: Exporter, config: Config) -> frozenset[Kind[Any]]:
    """Have the leftovers of all routines swept, and return the kinds of those that the configuration enables.

    The rights of a khealth in a cluster are those of its routines: what others may have left is looked for only where
    that is permitted.
    """
    enabled = {routine.kind for routine in config.routines}
    routines = [kind for module in (*MODULES, *config.installed) for kind in module.routines]
    exporter.cover(
        (routine, [kind for kind in routine.watches if kind.namespaced and routine in enabled]) for routine in routines
    )
    needed = frozenset(kind for routine in enabled for kind in routine.sweeps())
    exporter.cluster.know(
        Permission("list", kind.plural, kind.group, optional=True, why="find what routines left that are off")
        for routine in routines
        for kind in routine.sweeps()
        if kind not in needed
    )
    return needed


@asynccontextmanager
async def _exporter(options: Options, process: Process, credentials: Credentials | None) -> AsyncIterator[Exporter]:
    credentials = credentials or _credentials(options)
    home = credentials.namespace if credentials.in_cluster else None
    client = Client(credentials, process.clock, process.metrics, process.chance)
    server = redacted(credentials.server)
    identity = _identity(process.run, options.config.namespace or home or NAMESPACE, home)
    cluster = Cluster(client, identity, process.clock, process.metrics, process.chance)
    try:
        yield Exporter(
            options.config, options.load, process, cluster, home or NAMESPACE,
            server=server, inside=credentials.in_cluster,
        )  # fmt: skip
    finally:
        await client.close()


def _credentials(options: Options) -> Credentials:
    try:
        return load_credentials(options.client_mode, options.kubeconfig, options.context)
    except CredentialsError as error:
        raise CannotStart(redacted(str(error))) from error


def _identity(run: str, namespace: str, home: str | None) -> Identity:
    """Return who this run is: in a Pod of its own namespace it owns what it makes (names by the downward API)."""
    name, uid = os.environ.get("POD_NAME"), os.environ.get("POD_UID")
    owner = Owner(name, uid) if name and uid and namespace == home else None
    return Identity(run, namespace, owner, process_start())
