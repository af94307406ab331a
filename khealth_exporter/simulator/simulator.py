"""The simulated cluster: assembly, start, control and stop."""

import asyncio
import base64
import random
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import yaml
from aiohttp import web

from khealth_exporter.simulator import control, storage
from khealth_exporter.simulator.access import ADMIN, Access
from khealth_exporter.simulator.admission import Admission
from khealth_exporter.simulator.controllers.deployments import Deployments
from khealth_exporter.simulator.controllers.endpoints import ApiEndpoints, content
from khealth_exporter.simulator.controllers.garbage import GarbageCollector
from khealth_exporter.simulator.controllers.jobs import Jobs
from khealth_exporter.simulator.controllers.kubelet import Kubelets
from khealth_exporter.simulator.controllers.namespaces import Namespaces
from khealth_exporter.simulator.controllers.nodes import Heartbeats, NodeLifecycle
from khealth_exporter.simulator.controllers.quotas import QuotaStatus
from khealth_exporter.simulator.controllers.registration import Registration
from khealth_exporter.simulator.controllers.replication import REPLICA_SET, REPLICATION_CONTROLLER, Replication
from khealth_exporter.simulator.controllers.scheduler import Scheduler
from khealth_exporter.simulator.controllers.slices import EndpointSlices
from khealth_exporter.simulator.controllers.stateful_sets import StatefulSets
from khealth_exporter.simulator.controllers.volumes import Provisioner, VolumeBinder
from khealth_exporter.simulator.deletion import SYSTEM_NAMESPACES, Deletion
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.door import Door, bound
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.incidents import Incidents
from khealth_exporter.simulator.network.addresses import Addresses
from khealth_exporter.simulator.network.cluster_network import ClusterNetwork
from khealth_exporter.simulator.pod_requests import PodRequests
from khealth_exporter.simulator.recorder import Recorder
from khealth_exporter.simulator.registry import Registry
from khealth_exporter.simulator.request_log import RequestLog, RequestRecord
from khealth_exporter.simulator.resources import NAMESPACES, STORAGE_CLASSES
from khealth_exporter.simulator.server import ApiServer
from khealth_exporter.simulator.settings import ADMIN_TOKEN, Denial, SimulatorSettings
from khealth_exporter.simulator.stale_reads import StaleReads
from khealth_exporter.simulator.store import Store
from khealth_exporter.simulator.truth import PodTruth, TruthLog
from khealth_exporter.simulator.verbs import Verbs
from khealth_exporter.simulator.world import World


class _Stopped(Exception):  # noqa: N818  # it ends the task group and is not an error
    pass


def _stop() -> NoReturn:
    raise _Stopped


class Simulator:
    """A small Kubernetes cluster in this process, as an asynchronous context manager."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        """Take the cluster's settings; the cluster starts when the context is entered."""
        self.settings = settings or SimulatorSettings()
        self._faults = Faults()
        self._store = Store(self.settings.history_limit)
        self._access = Access(self._faults, self._store, time.time, self.settings.tokens, self.settings.denials)
        self._log = RequestLog(self.settings.requests_limit)
        self._truth = TruthLog(lambda: asyncio.get_running_loop().time(), self.settings.truth_limit)
        self._stop = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._registration: Registration | None = None
        self._host, self._port, self._control_port = self.settings.host, self.settings.port, 0

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"{'https' if self.settings.tls else 'http'}://{self._host}:{self._port}"

    @property
    def control_url(self) -> str:
        """The control port's URL; faults do not affect it."""
        return f"http://{self.settings.control_host}:{self._control_port}"

    @property
    def token(self) -> str:
        """The bearer token of the default user, who has every permission."""
        return ADMIN_TOKEN

    @property
    def faults(self) -> tuple[str, ...]:
        """The active faults."""
        return self._faults.current

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests of clients, oldest first."""
        return self._log.records

    @property
    def truth(self) -> Mapping[str, PodTruth]:
        """What really happened to each pod, by uid."""
        return self._truth.pods

    def kubeconfig(self, token: str = ADMIN_TOKEN) -> str:
        """Return a kubeconfig for that token, as YAML."""
        cluster = {"server": self.url}
        if self.settings.certificate_authority:
            encoded = base64.b64encode(self.settings.certificate_authority.encode())
            cluster["certificate-authority-data"] = encoded.decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "simulator", "cluster": cluster}],
            "users": [{"name": ADMIN, "user": {"token": token}}],
            "contexts": [{"name": "simulator", "context": {"cluster": "simulator", "user": ADMIN}}],
            "current-context": "simulator",
        }
        return yaml.safe_dump(document, sort_keys=False)

    def begin(self, fault: str) -> None:
        """Begin a fault, as `NAME` or `NAME:NODE`. Raises `ValueError` with the known faults."""
        self._faults.begin(fault)

    def end(self, fault: str) -> None:
        """End a fault. Raises `ValueError` with the known faults."""
        self._faults.end(fault)

    def deny(self, user: str, verb: str, resource: str) -> None:
        """Deny a user a verb on a resource; `*` stands for all."""
        self._access.deny(Denial(user, verb, resource))

    def allow(self, user: str, verb: str, resource: str) -> None:
        """Remove a denial."""
        self._access.allow(Denial(user, verb, resource))

    def add_node(self, name: str) -> Document:
        """Add a node and return it; it becomes Ready after the delay `join`.

        Raises `ApiError` (409, 422), and `RuntimeError` before the cluster has started.
        """
        if self._registration is None:
            raise RuntimeError("the simulated cluster has not started")
        return self._registration.add(name)

    def forget_requests(self) -> None:
        """Empty the request log."""
        self._log.clear()

    async def __aenter__(self) -> Self:
        """Start the cluster. Raises `OSError` if an address is taken, `ValueError` for bad `endpoint_addresses`."""
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self._run(started), name="simulator")
        await asyncio.wait({started, self._main}, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            await self._main
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the cluster; raise the errors of its components."""
        self._stop.set()
        if self._main is not None:
            await self._main

    async def _run(self, started: asyncio.Future[None]) -> None:
        """Run the cluster in its own task, so that the context can be entered and left in different tasks."""
        given = self.settings
        with (
            Addresses() as addresses,
            tempfile.TemporaryDirectory(prefix="khealth-simulator-", ignore_cleanup_errors=True) as folder,
            bound(given.host, given.port) as api_socket,
            bound(given.control_host, given.control_port) as control_socket,
        ):
            self._host, self._port = api_socket.getsockname()[:2]
            self._control_port = control_socket.getsockname()[1]
            endpoints = content(self._host, self._port, given.endpoint_addresses)
            try:
                async with asyncio.TaskGroup() as tasks:
                    world = self._world(tasks, Path(folder), addresses)
                    network = ClusterNetwork(world, addresses)
                    await self._run_within(world, network, started, endpoints, (api_socket, control_socket))
                    _stop()
            except* _Stopped:
                pass

    async def _run_within(
        self,
        world: World,
        network: ClusterNetwork,
        started: asyncio.Future[None],
        endpoints: Document,
        sockets: tuple[socket.socket, socket.socket],
    ) -> None:
        """Run the cluster with the socket of the API server and that of the control port."""
        verbs_random = random.Random(f"{self.settings.seed} api")
        server = ApiServer(
            world,
            self._access,
            Verbs(world, verbs_random, StaleReads(world.store, world.faults)),
            PodRequests(world, network.fabric),
            self._log,
            verbs_random,
        )
        handler = web.Server(server.handle, handler_cancellation=True, access_log=None)
        door = Door(world, handler, sockets[0])
        runner = web.AppRunner(control.application(self), access_log=None, handle_signals=False)
        try:
            self._populate(world, network, server, door)
            ApiEndpoints(world, endpoints).start()
            await network.start()
            await runner.setup()
            await web.SockSite(runner, sockets[1]).start()
            door.open()
            started.set_result(None)
            await self._stop.wait()
        finally:
            await network.close()
            door.shut()
            await handler.shutdown(0)
            await runner.cleanup()

    def _world(self, tasks: asyncio.TaskGroup, folder: Path, addresses: Addresses) -> World:
        generator = random.Random(self.settings.seed)
        registry = Registry(self._store, Admission(self._store, self._faults), generator, time.time, addresses.services)
        recorder = Recorder(registry, self.settings.events_limit)
        deletion = Deletion(registry)
        return World(self.settings, generator, self._store, self._faults, registry, deletion, recorder, tasks, folder)

    def _populate(self, world: World, network: ClusterNetwork, server: ApiServer, door: Door) -> None:
        world.store.listen(self._truth.listen)
        namespaces, heartbeats, lifecycle = Namespaces(world), Heartbeats(world), NodeLifecycle(world)
        Kubelets(world, network)
        for controller in (
            Replication(world, REPLICATION_CONTROLLER),
            Replication(world, REPLICA_SET),
            Deployments(world),
            StatefulSets(world),
            Jobs(world),
            VolumeBinder(world),
            Provisioner(world),
            GarbageCollector(world),
            Scheduler(world),
            QuotaStatus(world),
            EndpointSlices(world),
            lifecycle,
        ):
            controller.start()
        Incidents(world, server, door, heartbeats, lifecycle)
        for name in (*SYSTEM_NAMESPACES, *self.settings.namespaces):
            world.registry.create(NAMESPACES, "", {"metadata": {"name": name}})
            namespaces.furnish(name)
        for storage_class in storage.CLASSES:
            world.registry.create(STORAGE_CLASSES, "", storage_class)
        self._registration = Registration(world)
        self._registration.populate()
