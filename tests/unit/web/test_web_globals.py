"""The web server leaves the process alone: the globals of asyncio and aiohttp, and its exit."""

import asyncio
import subprocess
import sys
from asyncio import sslproto
from pathlib import Path

import pytest
from aiohttp import web_response
from serving import PATIENCE, TLS, keys, served, talk

from khealth_exporter.web.server import WebServer


async def test_buffers_of_other_tls_connections_keep_their_size(tmp_path: Path) -> None:
    """TLS on /metrics must not shrink the read buffers of the API client."""
    before, issued = sslproto.SSLProtocol.max_size, keys(tmp_path)
    async with served(issued.write(f"{TLS}}}")) as (server, _), talk(server, issued.client()) as client:
        assert (200, "ready\n") == await client.ask()
        assert before == sslproto.SSLProtocol.max_size


async def test_an_accepted_tls_connection_has_a_small_buffer(tmp_path: Path) -> None:
    """Hundreds of idle connections must not take 256 KiB each."""
    issued = keys(tmp_path)
    async with served(issued.write(f"{TLS}}}")) as (server, _), talk(server, issued.client()) as client:
        assert (200, "ready\n") == await client.ask()
        (connection,) = server._connections._open.values()
        assert connection.transport is not None
        protocol = getattr(connection.transport, "_ssl_protocol", None)
        assert isinstance(protocol, sslproto.SSLProtocol)
        assert 16 * 1024 == len(protocol._ssl_buffer)  # type: ignore[attr-defined]


async def test_the_server_name_of_aiohttp_stays(tmp_path: Path) -> None:
    """Another aiohttp server in the process keeps its name."""
    before = vars(web_response)["SERVER_SOFTWARE"]
    async with served(keys(tmp_path).write(f"{TLS}}}")):
        assert before == vars(web_response)["SERVER_SOFTWARE"]


async def exchange(server: WebServer, request: bytes) -> str:
    """Return everything that the server answers to some bytes."""
    reader, writer = await asyncio.open_connection(server.addresses[0].host, server.addresses[0].port)
    try:
        writer.write(request)
        return (await reader.read()).decode()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("request_line", ["nonsense", "GET / HTTP/9.9", "GET / HTTP/1.1\r\nbroken"])
async def test_the_answer_to_a_malformed_request_has_no_versions(request_line: str) -> None:
    """The library answers it before the application runs."""
    async with served() as (server, _):
        answer = await exchange(server, f"{request_line}\r\n\r\n".encode())
    names = [line.partition(": ")[2] for line in answer.split("\r\n") if line.lower().startswith("server:")]
    assert ("400", ["khealth"]) == (answer.split()[1], names)
    assert [] == [word for word in ("aiohttp", "python") if word in answer.lower()]


def test_a_disk_that_hangs_does_not_keep_khealth_from_exiting(tmp_path: Path) -> None:
    """The check of the web configuration's files may never return."""
    path = tmp_path / "web.yaml"
    path.write_text("rate_limit: {interval: 1s, burst: 5}")
    script = f"""
import asyncio, threading
from pathlib import Path
from khealth_exporter.web.security import active_web_config, file_digests

async def main():
    config = active_web_config.ActiveWebConfig(Path({str(path)!r}))
    hanging = threading.Event()

    def read(*_):
        hanging.set()
        threading.Event().wait()

    file_digests.DigestingReader.read = read
    async with asyncio.TaskGroup() as group:
        task = group.create_task(config.reload_on_change(lambda: None, period=0.0))
        while not hanging.is_set():
            await asyncio.sleep(0.001)
        task.cancel()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, check=False, capture_output=True)  # noqa: S603
    assert (0, b"") == (done.returncode, done.stderr)
