"""Canaries in temporary directories."""

from pathlib import Path

import pytest
from canary_process import Canary


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    """A canary, whose report is not in the directory `disk`."""
    return Canary(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The directory where a disk is mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    return path
