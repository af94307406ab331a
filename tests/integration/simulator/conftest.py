"""A simulated cluster, and a client of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from integration.simulator.canary_pods import SeemingRunner
from integration.simulator.simulator_client import NAMESPACE, Client

from khealth_exporter.simulator import Simulator, SimulatorSettings


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Run a cluster twenty times as fast as a real one."""
    settings = SimulatorSettings(
        namespaces=(NAMESPACE,), speed=20.0, storage_timeout=0.3, revision_timeout=0.2, tokens=(("joes", "joe"),)
    )
    async with Simulator(settings) as running:
        yield running


@pytest.fixture
def runner() -> SeemingRunner:
    """Start processes that only seem to run."""
    return SeemingRunner()


@pytest.fixture
async def seeming(runner: SeemingRunner) -> AsyncIterator[Simulator]:
    """Run a cluster whose canaries only seem to run."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=100.0, runner=runner, canaries=2)
    async with Simulator(settings) as running:
        yield running


@pytest.fixture
async def admin(seeming: Simulator) -> AsyncIterator[Client]:
    """Speak to that cluster as its default user."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {seeming.token}"}) as session:
        yield Client(session, seeming.url)


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Client]:
    """Speak to the cluster as its default user."""
    headers = {"Authorization": f"Bearer {simulator.token}", "User-Agent": "khealth/test"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield Client(session, simulator.url)
