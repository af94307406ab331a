"""Kuberhealthy's own Go clients, v2's and v3's, report to khealth as they stand."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tools import needs

from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.reports import Expected, Reports
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.web.check_reports import ReportServer

pytestmark = pytest.mark.timeout(1200)
"""Seconds: the first test may have to compile the clients."""
BOTH = pytest.mark.parametrize("version", ["v2", "v3"])
PATIENCE = 60.0
HOST = "127.0.0.1"


@pytest.fixture(scope="session")
def clients() -> Path:
    """Return the folder with a check for each version."""
    needs("go")
    build = Path(__file__).parents[1] / "kuberhealthy" / "build"
    told = subprocess.run([build], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    return Path(told.stdout.strip())


@dataclass
class Scene:
    """A server that awaits one report, and checks that send it."""

    clients: Path
    expected: Expected

    @property
    def told(self) -> Sequence[str] | None:
        """The errors of the report that was accepted; None if none was."""
        return self.expected.report.errors if self.expected.report else None

    @asynccontextmanager
    async def check(self, version: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a check; stop it at the end of the block."""
        process = await asyncio.create_subprocess_exec(
            self.clients / f"report-{version}",
            *arguments,
            env={**os.environ, **self.expected.environment, "KH_POD_NAMESPACE": "khealth"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def report(self, version: str, *arguments: str) -> tuple[int | None, str]:
        """Run a check to its end, and return its exit code and what it printed."""
        async with self.check(version, *arguments) as process:
            printed, _ = await process.communicate()
            return process.returncode, printed.decode()

    async def refused(self, version: str, code: int, *arguments: str) -> bool:
        """Run a check until its client logs this code: it tries again for half a minute."""
        async with self.check(version, *arguments) as process:
            assert process.stderr
            async for line in process.stderr:
                if b"bad status code" in line and str(code).encode() in line:
                    return True
        return False


@asynccontextmanager
async def receiving(clients: Path, seconds: float = 60.0) -> AsyncIterator[Scene]:
    """Await one report for some seconds until the block ends."""
    clock = Clock()
    reports = Reports(clock, random.Random(1))
    server = ReportServer(reports)
    async with asyncio.timeout(PATIENCE):
        bound = await server.start(Address(HOST, 0))
        try:
            reports.served(f"http://{bound}/check")
            yield Scene(clients, await reports.expect(clock.now() + seconds, Signal()))
        finally:
            await server.stop()


@BOTH
async def test_a_success_is_accepted(clients: Path, version: str) -> None:
    """The check knows the deadline, and has waited until khealth answers."""
    async with receiving(clients) as here:
        deadline = here.expected.environment["KH_CHECK_RUN_DEADLINE"]
        assert (0, f"{deadline}\n") == await here.report(version, "-wait")
        assert () == here.told


@BOTH
async def test_a_failure_is_accepted(clients: Path, version: str) -> None:
    """With all its errors."""
    async with receiving(clients) as here:
        assert (0, "") == await here.report(version, "no route to host", "no such name: über")
        assert ("no route to host", "no such name: über") == here.told


@pytest.mark.parametrize(("version", "told"), [("v2", ()), ("v3", None)])
async def test_a_failure_without_errors(clients: Path, version: str, told: Sequence[str] | None) -> None:
    """v2's client turns it into a success, v3's sends it, and takes the 400 for final."""
    async with receiving(clients) as here:
        assert (0, "") == await here.report(version, "-failed")
        assert told == here.told


@BOTH
async def test_a_failure_with_a_blank_error_is_refused(clients: Path, version: str) -> None:
    """The client takes the 400 for final."""
    async with receiving(clients) as here:
        assert (0, "") == await here.report(version, "")
        assert (None, True) == (here.told, here.expected.refused.startswith("HTTP 400: "))


@BOTH
async def test_a_second_report_changes_nothing(clients: Path, version: str) -> None:
    """The client takes the 400 for final."""
    async with receiving(clients) as here:
        assert [(0, ""), (0, "")] == [await here.report(version), await here.report(version, "late news")]
        assert () == here.told


@BOTH
async def test_a_report_after_the_deadline_is_gone(clients: Path, version: str) -> None:
    """With 410."""
    async with receiving(clients, 0.0) as here:
        assert (True, None) == (await here.refused(version, 410), here.told)


@BOTH
async def test_a_report_of_many_errors_is_too_large(clients: Path, version: str) -> None:
    """With 413, which the client reads, although it may still be sending."""
    async with receiving(clients) as here:
        errors = [f"pod: web-{number} in namespace: shop is in pod status phase Pending " for number in range(2000)]
        assert (True, None) == (await here.refused(version, 413, *errors), here.told)


@BOTH
async def test_pod_status_check(clients: Path, version: str) -> None:
    """What the image kuberhealthy/pod-status-check sends: its errors end with a blank (cmd/pod-status-check/main.go)."""
    async with receiving(clients) as here:
        errors = [f"pod: web-{number} in namespace: shop is in pod status phase Pending " for number in range(2)]
        assert (0, "") == await here.report(version, *errors)
        assert tuple(error.strip() for error in errors) == here.told


@BOTH
async def test_http_content_check(clients: Path, version: str) -> None:
    """What the image kuberhealthy/http-content-check does: it waits first (cmd/http-content-check/main.go).

    In v3, it waits until a GET is answered, whatever the answer is, and leaves that connection open.
    """
    async with receiving(clients) as here:
        assert 0 == (await here.report(version, "-wait", "could not find string in content"))[0]
        assert ("could not find string in content",) == here.told
