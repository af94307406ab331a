"""What the web server leaves alone: the globals of asyncio and aiohttp, which khealth's own client uses too."""

from asyncio import sslproto
from pathlib import Path

from aiohttp import web_response
from serving import TLS, keys, served, talk


async def test_the_buffers_of_other_tls_connections_stay_large(tmp_path: Path) -> None:
    """TLS on /metrics must not shrink what the client of the API server reads at once."""
    before, issued = sslproto.SSLProtocol.max_size, keys(tmp_path)
    async with served(issued.write(f"{TLS}}}")) as (server, _), talk(server, issued.client()) as client:
        assert (200, "ready\n") == await client.ask()
        assert before == sslproto.SSLProtocol.max_size


async def test_aiohttps_name_for_other_servers_stays(tmp_path: Path) -> None:
    """Whoever else runs a server in the process keeps its name."""
    before = vars(web_response)["SERVER_SOFTWARE"]
    async with served(keys(tmp_path).write(f"{TLS}}}")):
        assert before == vars(web_response)["SERVER_SOFTWARE"]


async def test_a_request_that_cannot_be_parsed_learns_no_version(tmp_path: Path) -> None:
    """The library answers it before the application sees it, and would name itself and Python."""
    issued = keys(tmp_path)
    async with served(issued.write(f"{TLS}}}")) as (server, _), talk(server, issued.client()) as client:
        await client.say(b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
        answer = (await client._reader.read(4096)).decode()
        assert ("400", "khealth") == (answer.split()[1], header(answer, "Server"))


def header(answer: str, name: str) -> str:
    """Return a header of an answer."""
    lines = (line.partition(": ") for line in answer.split("\r\n"))
    return next((value for key, _, value in lines if key == name), "")
