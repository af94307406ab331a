"""Options that every test run understands."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tools
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add khealth's own options."""
    parser.addoption("--write-golden", action="store_true", help="regenerate the golden files")
    parser.addoption("--no-skips", action="store_true", help="fail if any test was skipped")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say in the last line what was skipped for want of which tool; with `--no-skips`, fail such a run."""
    reporter: TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", ()) if reporter else ()
    if skipped and session.config.getoption("--no-skips"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    line = tools.missing(report.longrepr[2] for report in skipped)
    if reporter and line:
        reporter.write_line(line, yellow=True)


@pytest.fixture
def write_golden(request: pytest.FixtureRequest) -> bool:
    """Whether to regenerate the golden files."""
    return bool(request.config.getoption("--write-golden"))


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Where golden files are."""
    return Path(__file__).parent / "unit" / "golden"
