"""The way to a pod's address, with a real agent on loopback."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from sockets import has_ipv6

from khealth_exporter.canaries.agents.blame import Outcome
from khealth_exporter.canaries.agents.channel import MOST, NoReply, PodChannel
from khealth_exporter.canaries.agents.dialogue import Dialogue
from khealth_exporter.canaries.agents.inquiry import Unheard
from khealth_exporter.canaries.agents.seal import Seal
from khealth_exporter.core.agents import Agent, Told
from khealth_exporter.measure.clock import Clock

SECRET = b"0f1e2d3c"
CLOCK = Clock()
TRIP = {"edges": [0.001, 1.0], "within": 30.0}
PATIENCE = 60.0
"""Seconds for what happens at once, unless a process has no CPU."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a connection take longer than it should in a cluster."""
    monkeypatch.setattr("khealth_exporter.canaries.agents.channel.CONNECTING", PATIENCE)


def at(port: int, address: str = "127.0.0.1") -> Agent:
    """Return an agent of this machine."""
    return Agent("agent", "uid", "node-1", "", address, port)


@asynccontextmanager
async def running(folder: Path, address: str = "127.0.0.1", secret: bytes = SECRET) -> AsyncIterator[Agent]:
    """Run an agent until the block ends."""
    file = folder / "secret"
    file.write_bytes(secret)
    flags = ("--address", address, "--port", "0", "--secret-file", str(file), "--name", "agent")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "khealth_exporter.canary", "agent", *flags, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        told = await process.stdout.readline()
        yield at(int(told.split()[-1]), address)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def straight() -> AsyncIterator[PodChannel]:
    """Open the way, and close it."""
    channel = PodChannel(CLOCK)
    try:
        yield channel
    finally:
        await channel.close()


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[Agent]:
    """Serve these bytes to each client."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        yield at(server.sockets[0].getsockname()[1])


def dialogue(channel: PodChannel, *keys: bytes) -> Dialogue:
    """Return a dialogue of a khealth that has these secrets, one after the other."""
    return Dialogue(CLOCK, Mock(key=AsyncMock(side_effect=[*keys, *keys[-1:] * 9])), channel)


async def trips(talk: Dialogue, agent: Agent) -> Told | Unheard:
    """Let an agent measure the way to itself."""
    probe = {"id": "self", "protocol": "tcp", "address": agent.address, "port": agent.port, "count": 1, "timeout": 30}
    return await talk.ask(agent, "round_trips", {**TRIP, "probes": [probe]}, CLOCK.now() + PATIENCE)


@pytest.mark.parametrize("address", ["127.0.0.1", *(["::1"] if has_ipv6() else [])])
async def test_an_agent_answers_what_is_sealed_with_its_secret(tmp_path: Path, address: str) -> None:
    """Both sides compute the same seals; the first refusal tells how the agent's process is called."""
    async with running(tmp_path, address) as agent, straight() as channel:
        told = await trips(dialogue(channel, SECRET), agent)

        assert isinstance(told, Told)
        assert ["agent", 1, 0] == [told.document["name"], *(told.document["results"][0][k] for k in ("sent", "lost"))]
        assert told.sent < told.answered


async def test_an_agent_that_has_another_secret_refuses(tmp_path: Path) -> None:
    """It is told apart from one that does not answer."""
    async with running(tmp_path) as agent, straight() as channel:
        unheard = await trips(dialogue(channel, b"another"), agent)

        assert isinstance(unheard, Unheard)
        assert (Outcome.REFUSED, "HTTP 401: the agent has another secret") == (unheard.outcome, unheard.note)


async def test_a_secret_that_changed_is_taken_up_within_one_question(tmp_path: Path) -> None:
    """Reading it again gives the one that the agent has."""
    async with running(tmp_path) as agent, straight() as channel:
        assert isinstance(await trips(dialogue(channel, b"old", SECRET), agent), Told)


async def test_an_agent_without_a_secret_refuses(tmp_path: Path) -> None:
    """A new Secret reaches its file later than the pod starts."""
    async with running(tmp_path, secret=b"\n") as agent, straight() as channel:
        unheard = await trips(dialogue(channel, SECRET), agent)

        assert isinstance(unheard, Unheard)
        assert "has no secret" in unheard.note


async def test_an_agent_that_does_not_know_the_task_refuses(tmp_path: Path) -> None:
    """Its image may be of an older version."""
    async with running(tmp_path) as agent, straight() as channel:
        unheard = await dialogue(channel, SECRET).ask(agent, "unheard_of", {}, CLOCK.now() + PATIENCE)

        assert isinstance(unheard, Unheard)
        assert (Outcome.REFUSED, "HTTP 404: unknown task") == (unheard.outcome, unheard.note)


async def test_a_question_that_the_agent_cannot_read_is_refused_with_its_words(tmp_path: Path) -> None:
    """That is a bug, and its note says where."""
    async with running(tmp_path) as agent, straight() as channel:
        unheard = await dialogue(channel, SECRET).ask(agent, "round_trips", {"probes": 7}, CLOCK.now() + PATIENCE)

        assert isinstance(unheard, Unheard)
        assert "HTTP 400: probes: " in unheard.note


async def test_whoever_asks_may_ping(tmp_path: Path) -> None:
    """A GET of the name needs no seal."""
    async with running(tmp_path) as agent, straight() as channel:
        assert b"agent\n" == (await channel.ask(agent, "/ping", CLOCK.now() + PATIENCE)).body


async def test_a_proxy_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not know the pods' addresses."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with running(tmp_path) as agent, straight() as channel:
        assert 200 == (await channel.ask(agent, "/ping", CLOCK.now() + PATIENCE)).status


async def test_a_connection_that_is_refused_is_no_reply() -> None:
    """Nothing listens where the agent was."""
    async with straight() as channel:
        with pytest.raises(NoReply, match="Connect call failed"):
            await channel.ask(at(9), "/ping", CLOCK.now() + PATIENCE)


async def test_an_answer_that_is_too_long_is_no_reply() -> None:
    """A stranger at the agent's address must not fill khealth's memory."""
    length = MOST + 1
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    async with answering(head + b"x" * length) as agent, straight() as channel:
        with pytest.raises(NoReply, match=f"more than {MOST} bytes"):
            await channel.ask(agent, "/ping", CLOCK.now() + PATIENCE)


async def test_what_is_no_http_is_no_reply() -> None:
    """Whatever listens there, khealth goes on."""
    async with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as agent, straight() as channel:
        with pytest.raises(NoReply):
            await channel.ask(agent, "/ping", CLOCK.now() + PATIENCE)


async def test_a_redirect_is_not_followed() -> None:
    """A stranger must not send khealth elsewhere."""
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with answering(head) as agent, straight() as channel:
        assert 302 == (await channel.ask(agent, "/ping", CLOCK.now() + PATIENCE)).status


def test_a_seal_does_not_tell_the_secret() -> None:
    """It may get into a log."""
    assert "0f1e2d3c" not in repr(Seal.fresh(SECRET, "b0"))
