"""What all unit tests share."""

from collections.abc import Iterator

import pytest
import structlog
from sockets import stamps


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep logs out of the tests' output; rendering a trace with its locals takes longer than most tests."""
    structlog.configure(processors=[_dropped])
    yield
    structlog.reset_defaults()


def _dropped(_logger: object, _method: str, _event: object) -> str:
    raise structlog.DropEvent


@pytest.fixture
def stamping() -> Iterator[None]:
    """Make sure that the kernel stamps what arrives."""
    with stamps():
        yield
