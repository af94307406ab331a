"""Exporter: everything of one run, wired; also what the web server shows."""

import asyncio
import platform
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from khealth_exporter import __version__
from khealth_exporter.app.receiver import Receiver
from khealth_exporter.app.reload import Aside, Load, Reloader
from khealth_exporter.canaries.agents.fleet import Fleet
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.config import Bound, Config, Off, off_routines
from khealth_exporter.core.collector import Collector, Snapshot
from khealth_exporter.core.heavy import spread
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.reports import Reports
from khealth_exporter.core.routine import Context, Memory, Routine, RoutineConfig
from khealth_exporter.core.snapshot import About
from khealth_exporter.core.supervisor import NotBegun, Pace, UnknownRoutine
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.daemon_thread import in_daemon_thread
from khealth_exporter.measure.keep_running import keep_running
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

SILENT = 300.0
"""Seconds without progress after which a loop counts as stuck."""


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has one of: time, metrics, a word for its run, chance, and a place for what takes its time."""

    clock: Clock
    metrics: Metrics
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    chance: random.Random = field(default_factory=random.SystemRandom)
    aside: Aside = in_daemon_thread


class Exporter:
    """Everything of one run, wired; also what the web server shows.

    It runs what `config` says until `load` gives another; `chosen` is the namespace where none is configured, `server`
    the API server's address, and `inside` tells whether khealth runs in the cluster itself.
    """

    def __init__(  # noqa: PLR0913 - it has these parts
        self, config: Config, load: Load | None, process: Process, cluster: Cluster, chosen: str, *,
        server: str, inside: bool = False,
    ) -> None:  # fmt: skip
        self._server = server
        self.cluster, self.denied, self._process = cluster, cluster.denied, process
        self.registry = process.metrics.registry
        self.sweeper = Sweeper(cluster)
        self.fleet = Fleet(cluster, inside=inside)
        process.metrics.agents.count = self.fleet.count
        self._reports = Reports(process.clock, process.chance)
        self._receiver = Receiver(self._reports, server)
        bound = Bound(cluster.identity.namespace, chosen)
        self.reloader = Reloader(config, load, bound, self._adopt, process.metrics, process.aside)
        self._collectors: dict[str, Collector] = {}
        self._context: Context | None = None
        self._start: Callable[[Collector], None] | None = None
        """Starts one more Collector while the others run."""
        self._waiting: asyncio.Timeout | None = None
        self._terminated = False
        self._why: Failed | None = None
        self._unsettled: Failed | None = None
        """Why the namespace could not be used when the work began."""

    async def settled(self, deadline: float) -> None:
        """Wait until the namespace can be used or the API server does not say, or until asked to stop."""
        try:
            async with asyncio.timeout(None) as self._waiting:
                await self.cluster.namespace.settled(deadline)
        except Failed as failed:
            # What the API server refuses here need not matter to an attempt.
            self._unsettled = failed if failed.reason is Reason.INTERRUPTED else None
        except TimeoutError:
            pass  # It was asked to stop.
        self._waiting = None

    async def work(self, *, once: bool = False, jitter: float = 0.0) -> None:
        """Run every routine, until asked to stop or after one attempt of each; return when all have cleaned up.

        `jitter`, from 0 to 1, shifts the routines' grids by that share of an interval.
        """
        memory, clock = Memory(lasting=not once), self._process.clock
        self._context = Context(self.cluster, clock, memory=memory, chance=self._process.chance, reports=self._reports)
        self._adopt(self.reloader.config)
        self._process.metrics.loaded(well=True)
        # A process that makes one attempt does not sweep: the objects of others are none of its business.
        lasting = () if once else (self.sweeper.run, self.reloader.run)
        async with background(self.cluster.watches.run, self._receiver.run, *lasting):
            await self._lead(Pace(jitter, once=once))

    async def _lead(self, pace: Pace) -> None:
        """Run the Collectors until asked to stop; it can be called again, for a replica that becomes leader again."""
        self._process.metrics.leading(leads=True)
        try:
            async with self.fleet.tended(once=pace.once), asyncio.TaskGroup() as group:

                def start(collector: Collector) -> None:
                    group.create_task(collector.start(jitter=pace.jitter, once=pace.once))

                self._start = start
                for collector in self._collectors.values():
                    start(collector)
                if self._terminated:
                    self.terminate(self._why)
        finally:
            self._start = None
            self._process.metrics.leading(leads=False)

    def _adopt(self, config: Config) -> None:
        """Run exactly what a configuration says; what it does not change is not disturbed."""
        if self._context is None:
            return  # Nothing runs yet: it will begin with the configuration that is active then.
        needed = any(routine.kind.needs_agents for routine in config.routines)
        hosts = any(routine.kind.compares_hosts for routine in config.routines)
        self.fleet.want(config.agents, config.canary.image, needed=needed, hosts=hosts)
        self._context = replace(
            self._context,
            measurement=config.measurement,
            canary_image=config.canary.image,
            agents=self.fleet if needed else None,
        )
        wanted: dict[str, list[RoutineConfig]] = {}
        for routine in spread(config.routines):
            self.cluster.know(routine.kind.all_permissions())
            wanted.setdefault(routine.module, []).append(routine)
        reporting = any(routine.kind.needs_reports(routine.settings) for routine in config.routines)
        self._receiver.want(config.kuberhealthy if reporting else None)
        self.cover([(r.kind, r.kind.watched(r.settings)) for r in config.routines])
        new = [
            Collector(module, self._process.metrics, self._process.clock)
            for module in wanted
            if module not in self._collectors
        ]
        self._collectors |= {collector.module: collector for collector in new}
        for module, collector in self._collectors.items():
            collector.want(wanted.get(module, ()), self._context)
        if self._start:
            for collector in new:
                self._start(collector)

    def cover(self, routines: Iterable[tuple[type[Routine[Any]], Iterable[Kind[Any]]]]) -> None:
        """Sweep what these routines create; watch the kinds that are named with each."""
        wanted = [(routine, tuple(kinds)) for routine, kinds in routines]
        self.cluster.watches.need([*(kind for _, kinds in wanted for kind in kinds), *self.fleet.watches])
        self.sweeper.cover([*(kind for routine, _ in wanted for kind in routine.sweeps()), *self.fleet.sweeps])

    async def reload(self) -> tuple[str, ...]:
        """Read the configuration again; return what is wrong with it, in lines, or () once it is active.

        Routines that it stops may still be cleaning up then; a bad configuration changes nothing.
        """
        return await self.reloader.reload("request")

    def begin(self, module: str, routine: str) -> int:
        """Begin an attempt of a routine at once, and return its number; raise NotBegun."""
        collector = self._collectors.get(module)
        if collector is None and self._context:
            raise UnknownRoutine("unknown module")
        if collector is None or self._start is None:
            raise NotBegun("khealth makes no attempts at present")
        return collector.begin(routine)

    def expire(self, limit: str) -> None:
        """Begin nothing more, and clean up, as the time is up: what this cuts short tells its last refusal."""
        self.terminate(self._unsettled or Failed(Reason.INTERRUPTED, f"not finished within {limit}"))

    def terminate(self, why: Failed | None = None) -> None:
        """Begin nothing more, and clean up; an init that this cuts short failed with `why`, if that is given."""
        self._terminated, self._why = True, why
        self.reloader.close()
        if self._waiting:
            self._waiting.reschedule(0)
        for collector in self._collectors.values():
            collector.terminate(why)

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return what every module knows now; one without routines is none."""
        snapshots = (collector.status() for collector in self._collectors.values())
        return tuple(snapshot for snapshot in snapshots if snapshot.routines)

    def off(self) -> tuple[Off, ...]:
        """Return the routines that the active configuration leaves out, and why."""
        return tuple(off_routines(self.reloader.config))

    def about(self) -> About:
        """Return who looks at which cluster, and what time it is."""
        return About(__version__, platform.python_version(), self._server, self._process.clock.utc())

    def configuration(self) -> str:
        """Return the active configuration."""
        return self.reloader.config.as_yaml()

    def silent(self) -> tuple[str, ...]:
        """Return the loops that have made no progress for five minutes."""
        now = self._process.clock.now()
        watches = [f"watch of {w.resource}" for w in self.cluster.watches.all() if now - w.progressed > SILENT]
        routines = [name for collector in self._collectors.values() for name in collector.silent(SILENT)]
        return (*watches, *routines)

    def ready(self) -> bool:
        """Tell whether the configuration is loaded and the metrics can be scraped: as soon as this is served."""
        return self._context is not None


@asynccontextmanager
async def background(*loops: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run loops until the block ends."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keep_running(loop, loop.__qualname__)) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
