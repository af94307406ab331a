"""What the server answers to requests that it cannot handle: fixed texts, and nothing of the request in the log."""

import asyncio
import logging
from pathlib import Path
from typing import NoReturn

import pytest
from aiohttp import ClientSession
from serving import PATIENCE, Known, served, talk
from structlog.testing import capture_logs

from khealth_exporter.web.server import WebServer

BEGIN = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /-/reload HTTP/1.1\r\nHost: a\r\n"
LONG = b"hunter2" + b"x" * 9000
MALFORMED = {
    "header too long": BEGIN + b"Authorization: Bearer " + LONG + b"\r\n\r\n",
    "URL too long": b"GET /?token=" + LONG + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "too many headers": BEGIN + b"A: hunter2\r\n" * 100 + b"\r\n",
    "NUL in a header": BEGIN + b"A: hunter2\0\r\n\r\n",
    "NUL in the URL": b"GET /hunter2\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "PROXY line": b"PROXY TCP4 192.0.2.7 192.0.2.8 56324 80\r\n" + BEGIN + b"\r\n",
    "PROXY version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0chunter2",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00hunter2",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown version": b"GET /hunter2 HTTP/9.9\r\nHost: a\r\n\r\n",
    "method that is no word": b"hunter2{} / HTTP/1.1\r\nHost: a\r\n\r\n",
    "header without a colon": BEGIN + b"hunter2\r\n\r\n",
    "folded header": BEGIN + b"A: b\r\n hunter2\r\n\r\n",
    "no Host": b"GET /hunter2 HTTP/1.1\r\n\r\n",
    "two Hosts": BEGIN + b"Host: hunter2\r\n\r\n",
    "URL with half an IPv6 address": b"GET http://[hunter2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "URL with a port that is no number": b"GET http://a:hunter2/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "URL in UTF-8": "GET /hunter2é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "length that is no number": POST + b"Content-Length: hunter2\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhunter2",
    "length and chunks": POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unknown transfer encoding": POST + b"Transfer-Encoding: hunter2\r\n\r\n",
    "chunk without a size": POST + b"Transfer-Encoding: chunked\r\n\r\nhunter2\r\n",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Type": "text/plain; charset=utf-8",
}


async def exchange(server: WebServer, request: bytes) -> tuple[str, dict[str, str], str]:
    """Return the status, the headers, and the text that the server answers to some bytes before it disconnects."""
    async with talk(server) as client:
        client.writer.write(request)
        head, _, text = (await client._reader.read()).decode().partition("\r\n\r\n")
        status, *lines = head.split("\r\n")
        return status.partition(" ")[2], dict(line.split(": ", 1) for line in lines), text


def logged_by_libraries(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what they log of requests, at every level."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("aiohttp")]


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_request_is_answered_with_a_fixed_text(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not repeated, the usual headers are there, and the log has one debug line without its content."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logged:
        async with served() as (server, _):
            status, headers, text = await exchange(server, request_bytes)
    expected = ("400 Bad Request", HEADERS, "bad request\n")
    assert expected == (status, {name: headers.get(name) for name in HEADERS}, text)
    lines = [(entry["log_level"], entry["event"]) for entry in logged]
    assert ([], [("debug", "request rejected")], False) == (
        logged_by_libraries(caplog),
        lines,
        "hunter2" in str((logged, headers)),
    )


async def test_a_malformed_request_after_a_declined_upgrade_is_not_repeated() -> None:
    """The library parses it later, after the answer to the first one."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nhunter2 nonsense\r\n\r\n"
    with capture_logs() as logged:
        async with served() as (server, _):
            status, _, text = await exchange(server, BEGIN + upgrade)
    assert ("200 OK", True, False) == (status, text.endswith("\r\n\r\nbad request\n"), "hunter2" in f"{text}{logged}")


async def test_a_malformed_request_gets_the_headers_of_the_web_configuration(tmp_path: Path) -> None:
    """They are the server's, not the application's."""
    path = tmp_path / "web.yaml"
    path.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}")
    async with served(path) as (server, _):
        _, headers, _ = await exchange(server, MALFORMED["no Host"])
    expected = "sameorigin"
    assert expected == headers["X-Frame-Options"]


@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_an_unknown_expectation_is_not_repeated(path: str) -> None:
    """The library answers it before the application runs."""
    async with served() as (server, _):
        answer = await exchange(server, f"GET {path} HTTP/1.1\r\nHost: a\r\nExpect: hunter2\r\n\r\n".encode())
    expected = ("417 Expectation Failed", "expectation failed\n")
    assert expected == (answer[0], answer[2])


async def test_an_internal_error_tells_nothing_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    """An exception's message can contain what the client sent; where it comes from is in the log."""
    secret = "hunter2"

    def broken() -> NoReturn:
        raise ValueError(secret)

    known = Known()
    known.configuration = broken  # type: ignore[method-assign]
    with capture_logs() as logged:
        async with served(known=known) as (server, _):
            status, headers, text = await exchange(server, b"GET /config HTTP/1.1\r\nHost: a\r\n\r\n")
    expected = ("500 Internal Server Error", HEADERS, "internal server error\n")
    assert expected == (status, {name: headers.get(name) for name in HEADERS}, text)
    (entry,) = (entry for entry in logged if entry["log_level"] == "error")
    assert ("ValueError", True, False, []) == (
        entry["error"],
        "in broken" in entry["traceback"],
        "hunter2" in str(logged),
        logged_by_libraries(caplog),
    )


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
@pytest.mark.parametrize("version", ["hunter2", "1.x", "1.0.0\thunter2", "\u0661", "", "-1", "9" * 3000])
async def test_a_version_that_is_no_number_is_no_internal_error(kind: str, version: str) -> None:
    """Prometheus' client library fails on it."""
    async with served() as (server, _), ClientSession() as session, asyncio.timeout(PATIENCE):
        answer = await session.get(
            f"http://{server.addresses[0]}/metrics", headers={"Accept": f"{kind};version={version}"}
        )
        assert 200 == answer.status
