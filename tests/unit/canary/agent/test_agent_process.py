"""The process of an agent: what it costs, how it ends, and what a hostile client does to it."""

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from agent_process import RunningAgent
from agent_process import agent as run_agent
from canary_process import ROOT
from sockets import has_ipv6

MEBIBYTE = 1 << 20
PROTOCOLS = ("tcp", "udp", "http")


def probes(agent: RunningAgent, count: int = 20) -> list[dict[str, object]]:
    place = {"address": agent.address, "port": agent.port, "count": count, "spacing": 0.001}
    return [{"id": protocol, "protocol": protocol, **place} for protocol in PROTOCOLS]


def questions(agent: RunningAgent) -> dict[str, dict[str, object]]:
    """Return one of each kind, as large as khealth's are."""
    place = {"address": agent.address, "port": agent.port}
    return {
        "dns": {"questions": [{"name": f"{number}.", "server": agent.address, "port": agent.port, "timeout": 0.05} for number in range(32)]},
        "egress": {"targets": [{"id": str(number), "address": f"{agent.address}:{agent.port}"} for number in range(8)]},
        "round_trips": {"probes": probes(agent) * 20, "edges": [0.001, 1]},
        "until": {"within": 0.5, "checks": [{"id": protocol, "protocol": protocol, "want": "silence", **place} for protocol in PROTOCOLS]},
    }  # fmt: skip


def test_it_needs_less_than_20_mib_whatever_it_is_asked(process: RunningAgent) -> None:
    """One runs on many of users' nodes, without an end."""
    for task, question in questions(process).items():
        process.ask(task, question)
    assert 5 * MEBIBYTE < process.resident() < 20 * MEBIBYTE


def test_what_it_needs_does_not_grow(process: RunningAgent) -> None:
    for _ in range(3):
        process.ask("round_trips", {"probes": probes(process), "edges": [1]})
    before = process.resident("VmRSS")
    for _ in range(20):
        process.ask("round_trips", {"probes": probes(process), "edges": [1]})
    assert process.resident("VmRSS") < before + MEBIBYTE


def test_neither_openssl_nor_asyncio_is_loaded() -> None:
    program = """
import sys
import khealth_exporter.canary.__main__, khealth_exporter.canary.agent.agent
print(sorted({"_hashlib", "asyncio", "dataclasses", "hashlib", "ssl", "subprocess", "typing"} & sys.modules.keys()))
"""
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-S", "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = "[]\n"
    assert expected == ran.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(process: RunningAgent, number: signal.Signals) -> None:
    process.process.send_signal(number)
    expected = 0
    assert expected == process.process.wait(60)


def test_it_goes_on_answering_after_a_signal_for_as_long_as_it_is_told(tmp_path: Path) -> None:
    """A Service may lead to it until every node knows that it ends."""
    with run_agent(tmp_path, "127.0.0.1", "--linger", 60) as lingering:
        lingering.process.send_signal(signal.SIGTERM)
        assert b"agent-127.0.0.1\n" == lingering.request("GET", "/ping").body
        assert lingering.process.poll() is None


def test_after_that_it_ends(tmp_path: Path) -> None:
    with run_agent(tmp_path, "127.0.0.1", "--linger", 0.05) as lingering:
        lingering.process.send_signal(signal.SIGTERM)
        assert 0 == lingering.process.wait(60)


def test_an_address_that_is_taken_is_told(process: RunningAgent) -> None:
    command = [sys.executable, "-S", "-m", "khealth_exporter.canary", "agent", "--address", "127.0.0.1", "--port"]
    ran = subprocess.run(  # noqa: S603
        [*command, str(process.port)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (1, "khealth canary: cannot listen on 127.0.0.1: Address already in use\n") == (ran.returncode, ran.stderr)


@pytest.mark.parametrize("address", ["127.0.0.1", *(["::1"] if has_ipv6() else [])])
def test_it_serves_and_measures_both_families(tmp_path: Path, address: str) -> None:
    with run_agent(tmp_path, address) as agent:
        asked = [{**probe, "timeout": 30} for probe in probes(agent)]
        found = agent.ask("round_trips", {"probes": asked, "edges": [1], "within": 60})["results"]
    assert [(protocol, 20, 0, "") for protocol in PROTOCOLS] == [
        (one["id"], one["sent"], one["lost"], one["error"]) for one in found
    ]


def test_many_silent_connections_keep_nobody_out(process: RunningAgent) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection((process.address, process.port)))
        assert 200 == process.request("GET", "/ready").status
        assert len(list(Path(f"/proc/{process.process.pid}/fd").iterdir())) < 100


def test_unfinished_bodies_do_not_fill_the_memory(process: RunningAgent) -> None:
    head = b"POST /v1/dns HTTP/1.1\r\nContent-Length: 65536\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection((process.address, process.port)))
            with contextlib.suppress(ConnectionError):
                connection.sendall(head + b"." * 65_000)
        assert 200 == process.request("GET", "/ready").status
        assert process.resident() < 20 * MEBIBYTE


def test_nonces_do_not_fill_the_memory(process: RunningAgent) -> None:
    """Only who knows the secret can have them remembered, and not without a limit."""
    from khealth_exporter.canary.agent.auth import Guard  # noqa: PLC0415 - where it is in memory, not in a process

    guard = Guard(str(process.secret_file))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(30_000):
        guard._remember(number.to_bytes(16, "big"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 8 * 1024
    assert 10_000 == len(guard._nonces) == len(guard._order)


def test_a_datagram_that_is_no_question_is_not_answered(process: RunningAgent) -> None:
    """Else two agents, told that each is the other's client, would answer each other without an end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.connect((process.address, process.port))
        question = b"khealth?" + b"12345678" + bytes(8) + b"to be returned"
        client.send(question)
        echo = client.recv(65536)
        for other in (echo, b"", b"khealth?", b"hello" * 100):
            client.send(other)
        client.send(question[:8] + b"the last" + question[16:])
        last = client.recv(65536)
    assert (b"khealth!12345678", b"to be returned") == (echo[:16], echo[24:])
    assert b"khealth!the last" == last[:16]


def test_whatever_a_client_sends_the_next_one_is_served(process: RunningAgent) -> None:
    junk = [
        b"",
        b"\0" * 70_000,
        b"GET " + b"/" * 70_000,
        json.dumps({"a": 1}).encode(),
        b"\r\n" * 1000,
        bytes(range(256)) * 300,
    ]
    for bytes_ in junk * 5:
        with socket.create_connection((process.address, process.port)) as connection, contextlib.suppress(OSError):
            connection.sendall(bytes_)
    process.ask("round_trips", {"probes": probes(process), "edges": [1]})
    assert process.resident() < 20 * MEBIBYTE
