"""Agents on the loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import Asker, RunningAgent
from agent_process import agent as run_agent
from small_network import agent_in_a_thread


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Asker]:
    """An agent in this process."""
    with agent_in_a_thread(tmp_path) as asker:
        yield asker


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent in a process of its own."""
    with run_agent(tmp_path, "127.0.0.1") as running:
        yield running
