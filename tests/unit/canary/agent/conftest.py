"""Agents on the loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_process import Asker, RunningAgent
from agent_process import agent as run_agent
from small_network import PATIENCE, agent_in_a_thread

from khealth_exporter.canary.agent import server


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asker]:
    """An agent in this process, which has patience with a slow client."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", PATIENCE)
    monkeypatch.setattr(server, "_DRAIN_SECONDS", PATIENCE)
    with agent_in_a_thread(tmp_path) as asker:
        yield asker


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent in a process of its own."""
    with run_agent(tmp_path, "127.0.0.1") as running:
        yield running
