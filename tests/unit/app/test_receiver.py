"""khealth listens for reports while a routine needs them."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
from aiohttp import ClientError, ClientSession
from structlog.testing import capture_logs

from khealth_exporter.app.receiver import Receiver
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.reports import Reports
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.settings import KuberhealthySettings
from khealth_exporter.vocabulary.verdict import Failed

HOST = "127.0.0.1"
PATIENCE = 20.0


@asynccontextmanager
async def receiving(
    settings: KuberhealthySettings | None, server: str = f"https://{HOST}:6443"
) -> AsyncIterator[tuple[Receiver, Reports]]:
    """Let a receiver want this until the block ends."""
    reports = Reports(Clock(), random.Random(1))
    receiver = Receiver(reports, server)
    receiver.want(settings)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        running = group.create_task(receiver.run())
        try:
            yield receiver, reports
        finally:
            running.cancel()


async def url(reports: Reports, seconds: float = PATIENCE) -> str:
    """Return what a pod is told; raise Failed if nobody listens."""
    expected = await reports.expect(asyncio.get_running_loop().time() + seconds, Signal())
    reports.forget(expected)
    return expected.environment["KH_REPORTING_URL"]


async def refusal(reports: Reports) -> str:
    """Return why no pod can report, as soon as none can."""
    while True:
        try:
            await url(reports, 0.01)
        except Failed as failed:
            return failed.note
        await asyncio.sleep(0.001)


async def told_of(reports: Reports, beginning: str) -> None:
    """Return when pods are told a URL that begins like this."""
    while True:
        if (await url(reports)).startswith(beginning):
            return
        await asyncio.sleep(0.001)


async def test_pods_are_told_the_address_that_faces_the_api_server() -> None:
    """With the port that is really open."""
    async with receiving(KuberhealthySettings(listen=":0")) as (_, reports), ClientSession() as client:
        told = await url(reports)
        assert (told.startswith(f"http://{HOST}:"), told.endswith("/check")) == (True, True)
        async with client.post(told, json={}) as answer:
            assert (400, False) == (answer.status, "Server" in answer.headers)


async def test_pods_are_told_the_address_that_is_listened_on() -> None:
    """It need not face the API server."""
    async with receiving(KuberhealthySettings(listen="127.0.0.2:0"), "https://[::1]:6443") as (_, reports):
        assert (await url(reports)).startswith("http://127.0.0.2:")


async def test_pods_are_told_the_configured_url() -> None:
    """As it stands."""
    configured = "https://khealth.example.com/check"
    async with receiving(KuberhealthySettings(listen=f"{HOST}:0", url=configured)) as (_, reports):
        assert configured == await url(reports)


async def test_nobody_listens_unless_a_routine_needs_it() -> None:
    """Nor once none needs it any more."""
    wanted = KuberhealthySettings(listen=f"{HOST}:0")
    async with receiving(None) as (receiver, reports), ClientSession() as client:
        with pytest.raises(Failed, match="does not listen for reports yet"):
            await url(reports, 0.05)
        receiver.want(wanted)
        told = await url(reports)
        receiver.want(None)
        assert "does not listen for reports yet" in await refusal(reports)
        with pytest.raises(OSError, match="Cannot connect"):
            await client.post(told)


async def test_pods_that_run_can_report_after_another_address_is_configured() -> None:
    """The old one is closed when their attempts are over."""
    async with receiving(KuberhealthySettings(listen=f"{HOST}:0")) as (receiver, reports), ClientSession() as client:
        expected = await reports.expect(asyncio.get_running_loop().time() + PATIENCE, Signal())
        told, headers = expected.environment["KH_REPORTING_URL"], {"kh-run-uuid": expected.run}
        receiver.want(KuberhealthySettings(listen="127.0.0.2:0"))
        await told_of(reports, "http://127.0.0.2:")
        async with client.post(told, json={"OK": True}, headers=headers) as answer:
            assert 200 == answer.status
        reports.forget(expected)
        with pytest.raises(ClientError):
            await refused(client, told)


async def refused(client: ClientSession, told: str) -> None:
    """Ask until an error says that nobody listens."""
    while True:
        async with client.post(told, json={}) as answer:
            await answer.read()
        await asyncio.sleep(0.001)


async def test_another_url_needs_no_other_port() -> None:
    """Only what new pods are told changes."""
    async with receiving(KuberhealthySettings(listen=f"{HOST}:0")) as (receiver, reports):
        before = await url(reports)
        receiver.want(KuberhealthySettings(listen=f"{HOST}:0", url="http://other.example/check"))
        await told_of(reports, "http://other.example/check")
        receiver.want(KuberhealthySettings(listen=f"{HOST}:0"))
        await told_of(reports, before)


async def test_an_address_in_use_is_told_once_and_another_one_is_taken_up() -> None:
    """A reload helps at once."""
    with closing(socket.create_server((HOST, 0))) as taken, capture_logs() as logged:
        port = taken.getsockname()[1]
        async with receiving(KuberhealthySettings(listen=f"{HOST}:{port}")) as (receiver, reports):
            with pytest.raises(Failed, match=f"no pod can report: cannot listen on {HOST}:{port}: address already in"):
                await url(reports)
            receiver.want(KuberhealthySettings(listen=f"{HOST}:0"))
            while True:
                try:
                    assert f":{port}/" not in await url(reports)
                    break
                except Failed:
                    await asyncio.sleep(0)
    assert 1 == len([entry for entry in logged if entry["log_level"] == "error"])


async def test_an_api_server_whose_address_is_not_known_needs_a_url() -> None:
    """The text says so."""
    async with receiving(KuberhealthySettings(listen=":0"), "https://no..where") as (_, reports):
        with pytest.raises(Failed, match=r"set kuberhealthy\.url"):
            await url(reports)
