"""`api` against the simulator: answers to writes get lost, reads lag, and other clients interfere."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web
from fakes import Telemetered

from khealth_exporter.cluster.client.client import Client
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.credentials.credentials import plain_credentials
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import Context, RoutineConfig
from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.api import Api, ApiSettings
from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Quality

NAMESPACE = "khealth"
PATIENCE = 10.0


@dataclass
class Way:
    """Carries requests to the simulator, and loses the answer to the first write of each method that it shall lose."""

    server: str
    losing: set[str] = field(default_factory=set)
    between: list[tuple[str, str, object]] = field(default_factory=list)
    """Requests that another client sends right after the lost answer: method, path, body."""
    deleting: str = ""
    """What another client deletes before the first get of a ConfigMap: `object` or `namespace`."""

    async def carry(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on."""
        body = await request.read()
        url = f"{self.server}{request.raw_path}"
        kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        if self.deleting and request.method == "GET" and request.path.rpartition("/")[0].endswith("/configmaps"):
            gone = request.path if self.deleting == "object" else f"/api/v1/namespaces/{NAMESPACE}"
            self.deleting = ""
            async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
                await session.delete(f"{self.server}{gone}")
                while (  # noqa: ASYNC110 - the simulator has no event for a client
                    await session.get(f"{self.server}{request.path}")
                ).status != HTTPStatus.NOT_FOUND:
                    await asyncio.sleep(0.01)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=body, headers=kept) as answer,
        ):
            if request.method not in self.losing:
                return await _passed_on(request, answer)
            self.losing.discard(request.method)
            await answer.read()
            for method, path, sent in self.between:
                await session.request(method, f"{self.server}{path}", json=sent)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()


async def _passed_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Pass the answer on as it comes in: a watch never ends."""
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except ConnectionError:
        pass
    return response


@dataclass
class Scene:
    """A simulator, a way to it, and a cluster as khealth sees it."""

    simulator: Simulator
    way: Way
    cluster: Cluster
    clock: Clock
    figures: Telemetered

    async def attempt(self) -> Attempt:
        """Return what one attempt of `api` came to."""
        collector = Collector("control-plane", self.figures.metrics, self.clock)
        context = Context(self.cluster, self.clock)
        collector.want([RoutineConfig("control-plane", "api", Api, ApiSettings())], context)
        await collector.start(once=True)
        (status,) = collector.status().routines
        return status.attempts[-1]


@pytest.fixture
async def here() -> AsyncIterator[Scene]:
    """Return a simulator and the way to it."""
    clock = Clock()
    figures = Telemetered(clock)
    async with Simulator(SimulatorSettings(namespaces=(NAMESPACE,), speed=20.0)) as simulator:
        way = Way(simulator.url)
        async with served(way) as url:
            client = Client(plain_credentials(url, token=simulator.token), clock, figures.metrics, random.Random(1))
            cluster = Cluster(client, Identity("run", NAMESPACE), clock, figures.metrics, random.Random(1))
            try:
                yield Scene(simulator, way, cluster, clock, figures)
            finally:
                await client.close()


@asynccontextmanager
async def served(way: Way) -> AsyncIterator[str]:
    """Open the way, and return the URL of its beginning."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", way.carry)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("method", "step"), [("POST", "create"), ("PUT", "update"), ("DELETE", "delete")])
async def test_a_write_whose_answer_is_lost_is_a_success_measured_from_the_first_try(
    here: Scene, method: str, step: str
) -> None:
    """The second try finds what the first one has done; that it was repeated is seen in its quality."""
    here.way.losing = {method}
    attempt = await here.attempt()
    measured = {found.step.name: found for found in attempt.measurements}
    assert attempt.verdict
    assert (None, set()) == (attempt.verdict.reason, here.way.losing), attempt.verdict
    assert {known.name for known in Api.steps} == set(measured)
    assert Quality.EXACT is not measured[step].quality
    # Whenever it was done: the error bar reaches back to the first try.
    assert measured[step].uncertainty >= measured[step].seconds > 0
    if step == "update":  # The watch shows the same write.
        assert measured["watch"].uncertainty >= measured["update"].uncertainty


async def written(here: Scene, name: str = "a") -> str:
    """Create a ConfigMap, and return its resourceVersion."""
    manifest = {"metadata": {"name": name}, "data": {"value": "1"}}
    await here.cluster.create(CONFIG_MAP, manifest, here.clock.now() + PATIENCE)
    found = await here.cluster.get(CONFIG_MAP, name, here.clock.now() + PATIENCE)
    assert found
    return found.metadata.resource_version


async def test_a_patch_whose_answer_is_lost_is_a_success(here: Scene) -> None:
    """One that names a version conflicts with its own first try."""
    version = await written(here)
    here.way.losing = {"PATCH"}
    changes = {"metadata": {"resourceVersion": version, "labels": {"a": None}}, "data": {"value": "2"}}
    answer = await here.cluster.patch(CONFIG_MAP, "a", changes, here.clock.now() + PATIENCE)
    assert (2, set()) == (answer.tries, here.way.losing)


async def test_a_conflict_with_another_clients_change_stands(here: Scene) -> None:
    """The first try was lost, but the object holds another value now."""
    version = await written(here)
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/a"
    here.way.losing = {"PUT"}
    here.way.between = [("PUT", path, {"metadata": {"name": "a"}, "data": {"value": "another"}})]
    manifest = {"metadata": {"name": "a", "resourceVersion": version}, "data": {"value": "2"}}
    with pytest.raises(Refused) as caught:
        await here.cluster.update(CONFIG_MAP, "a", manifest, here.clock.now() + PATIENCE)
    assert (True, True) == (caught.value.refusal.conflict, caught.value.unanswered)


async def test_a_conflict_of_an_answered_write_stands(here: Scene) -> None:
    """Though the object holds the value: khealth did not write it."""
    await written(here)
    manifest = {"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"value": "1"}}
    with pytest.raises(Refused) as caught:
        await here.cluster.update(CONFIG_MAP, "a", manifest, here.clock.now() + PATIENCE)
    assert caught.value.refusal.conflict


@pytest.mark.parametrize("fault", ["stale-reads", "stale-creates"])
async def test_reads_that_lag_behind_a_write_are_stale(here: Scene, fault: str) -> None:
    """The API server has acknowledged the write: the attempt fails, and nothing is left."""
    here.simulator.begin(fault)
    attempt = await here.attempt()
    here.simulator.end(fault)
    assert attempt.verdict
    left = await here.cluster.list(
        CONFIG_MAP, here.clock.now() + PATIENCE, labels="app.kubernetes.io/managed-by=khealth"
    )
    assert (Reason.STALE_READ, []) == (attempt.verdict.reason, left), attempt.verdict


@pytest.mark.parametrize("what", ["object", "namespace"])
async def test_what_another_client_deletes_is_no_fault_of_the_api_server(here: Scene, what: str) -> None:
    """The attempt says what was deleted, and is inconclusive."""
    here.way.deleting = what
    attempt = await here.attempt()
    assert attempt.verdict
    said = what == "object" or "namespace" in attempt.verdict.note
    assert (Reason.INTERRUPTED, True) == (attempt.verdict.reason, said), attempt.verdict
