"""The DNS servers of the simulated cluster, asked at their addresses over UDP and TCP."""

import asyncio
import socket
import struct

import pytest
from integration.simulator.simulator_client import BOUND, Client

from khealth_exporter.simulator import Simulator
from khealth_exporter.simulator.network.pod_side import real_port

SERVERS = "/api/v1/namespaces/kube-system/pods"
SERVICE = "/api/v1/namespaces/kube-system/services/kube-dns"
NAME = "kubernetes.default.svc.cluster.local"
SERVFAIL, NXDOMAIN = 2, 3


def question(name: str) -> bytes:
    """Return a question for the IPv4 addresses of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def told(answer: bytes) -> tuple[int, str]:
    """Return the code of an answer, and the address in its only record, if it has one."""
    address = socket.inet_ntoa(answer[-4:]) if answer[6:8] == b"\0\1" else ""
    return answer[3] & 0xF, address


def ask(address: str, name: str) -> tuple[int, str] | None:
    """Ask a server over UDP; None if it does not answer soon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((address, real_port(53)))
        sock.send(question(name))
        try:
            return told(sock.recv(512))
        except TimeoutError:
            return None


def ask_over_tcp(address: str) -> tuple[int, str]:
    """Ask a server over TCP."""
    with socket.create_connection((address, real_port(53)), BOUND) as sock, sock.makefile("rb") as answer:
        sock.sendall(len(question(NAME)).to_bytes(2, "big") + question(NAME))
        return told(answer.read(int.from_bytes(answer.read(2), "big")))


async def asked(client: Client, name: str = NAME) -> list[tuple[int, str] | None]:
    """Ask the Service and then each server, once."""
    pods = (await client.get(SERVERS)).body["items"]
    addresses = [(await client.get(SERVICE)).body["spec"]["clusterIP"], *(pod["status"]["podIP"] for pod in pods)]
    return [await asyncio.to_thread(ask, address, name) for address in addresses]


async def answered(client: Client, name: str = NAME) -> list[tuple[int, str] | None]:
    """Ask all of them again, as a resolver does, until each has answered."""
    async with asyncio.timeout(BOUND):
        while None in (answers := await asked(client, name)):
            pass
    return answers


async def own(client: Client) -> str:
    """Return the address of the API server's Service."""
    return str((await client.get("/api/v1/namespaces/default/services/kubernetes")).body["spec"]["clusterIP"])


async def test_cluster_starts_with_its_dns(client: Client) -> None:
    """Its Service answers as each of the two servers does, over UDP and TCP."""
    right = (0, await own(client))
    assert [right, right, right] == await answered(client)
    address = (await client.get(SERVICE)).body["spec"]["clusterIP"]
    assert right == await asyncio.to_thread(ask_over_tcp, address)


async def test_unknown_name_does_not_exist(client: Client) -> None:
    """Every server says so."""
    assert [(NXDOMAIN, "")] * 3 == await answered(client, "none.default.svc.cluster.local")


async def test_dns_down(client: Client, simulator: Simulator) -> None:
    """Nobody answers, until the fault ends."""
    simulator.begin("dns-down")
    assert [None, None, None] == await asked(client)
    simulator.end("dns-down")
    assert None not in await answered(client)


async def test_one_dns_server_down(client: Client, simulator: Simulator) -> None:
    """The other one answers."""
    simulator.begin("dns-one-down")
    async with asyncio.timeout(BOUND):
        while (answers := (await asked(client))[1:]) == [None, None]:
            pass
    assert {None, (0, await own(client))} == {*answers}


@pytest.mark.parametrize(("fault", "expected"), [("dns-servfail", (SERVFAIL, "")), ("dns-wrong", (0, "192.0.2.66"))])
async def test_dns_that_answers_in_vain(
    client: Client, simulator: Simulator, fault: str, expected: tuple[int, str]
) -> None:
    """Every server alike."""
    simulator.begin(fault)
    assert [expected] * 3 == await answered(client)
