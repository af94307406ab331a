"""The command, and the control port."""

import asyncio
import base64
import json
import pathlib
import signal
import ssl
import sys

import aiohttp
import pytest
import trustme
import yaml
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, is_ready, pod

from khealth_exporter.simulator import Simulator, SimulatorSettings


async def test_command_runs_until_sigterm(tmp_path: pathlib.Path) -> None:
    """One line of JSON when ready, a kubeconfig that works, exit code 0."""
    kubeconfig = tmp_path / "kubeconfig"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "khealth_exporter.simulator",
        *("--kubeconfig", str(kubeconfig), "--nodes", "1", "--speed", "20", "--fault", "scheduler-stalled"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(BOUND):
            told = json.loads(await process.stdout.readline())
        config = yaml.safe_load(await asyncio.to_thread(kubeconfig.read_text))
        assert config["clusters"][0]["cluster"]["server"] == told["url"]
        headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            client = Client(session, told["url"])
            assert len((await client.get("/api/v1/nodes")).body["items"]) == 1
            async with session.get(told["control"] + "/faults") as response:
                assert (await response.json())["active"] == ["scheduler-stalled"]
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND):
            code = await process.wait()
    assert code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--fault nope", "unknown fault 'nope'; known faults:\n  scheduler-stalled "),
        ("--endpoint-address here", "'here' does not appear to be an IPv4 or IPv6 address"),
        ("--endpoint-address ::1", "an EndpointSlice cannot mix IPv4 and IPv6: 127.0.0.1, ::1"),
        (
            "--tls-cert-file none",
            "--tls-cert-file, --tls-private-key-file and --certificate-authority need each other",
        ),
        (
            "--tls-cert-file none --tls-private-key-file none --certificate-authority /dev/null",
            "cannot load none and none: [Errno 2] No such file or directory",
        ),
    ],
)
async def test_command_refuses_bad_options(tmp_path: pathlib.Path, options: str, message: str) -> None:
    """Exit code 2, and what is wrong."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "khealth_exporter.simulator", "--kubeconfig", str(tmp_path / "k"), *options.split()),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND):
        _, told = await process.communicate()
    assert (2, True) == (process.returncode, message in told.decode())


async def test_command_serves_tls(tmp_path: pathlib.Path) -> None:
    """The kubeconfig is enough to verify the server."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = f"--tls-cert-file {tmp_path}/server.pem --tls-private-key-file {tmp_path}/server.pem"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "khealth_exporter.simulator", "--kubeconfig", str(tmp_path / "k"), *options.split()),
        *("--certificate-authority", str(tmp_path / "ca.pem")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(BOUND):
            await process.stdout.readline()
        cluster = yaml.safe_load(await asyncio.to_thread((tmp_path / "k").read_text))["clusters"][0]["cluster"]
        trusting = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            assert "ok" == (await Client(session, cluster["server"]).get("/readyz")).body
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND):
            await process.wait()


async def test_control_port_orders_faults(client: Client, simulator: Simulator) -> None:
    """POST begins, DELETE ends, GET lists; an unknown one is 404."""
    faults = simulator.control_url + "/faults"
    async with client.session.post(f"{faults}/api-503") as response:
        assert (await response.json())["active"] == ["api-503"]
    assert (await client.get(PODS)).code == 503
    async with client.session.delete(f"{faults}/api-503") as response:
        assert response.status == 200
    assert (await client.get(PODS)).code == 200
    async with client.session.post(f"{faults}/nope") as response:
        assert (response.status, "unknown fault 'nope'" in await response.text()) == (404, True)
    async with client.session.delete(f"{faults}/nope") as response:
        assert response.status == 404


async def test_control_port_tells_requests_and_truth(client: Client, simulator: Simulator) -> None:
    """The logs as JSON, and the request log can be emptied."""
    uid = (await client.post(PODS, pod("a"))).body["metadata"]["uid"]
    await client.reaches(PODS, is_ready)
    async with client.session.get(simulator.control_url + "/requests") as response:
        told = (await response.json())[0]
    assert (told["verb"], told["resource"], told["namespace"], told["code"]) == ("create", "pods", NAMESPACE, 201)
    async with client.session.get(simulator.control_url + "/truth") as response:
        truth = (await response.json())[uid]
    assert truth["created"] < truth["bound"] < truth["sandboxed"] < truth["started"] <= truth["ready"]
    async with client.session.delete(simulator.control_url + "/requests") as response:
        assert response.status == 200
    assert simulator.requests == ()


async def test_taken_port_is_an_error(simulator: Simulator) -> None:
    """Two clusters cannot have one address."""
    port = int(simulator.url.rpartition(":")[2])
    second = Simulator(SimulatorSettings(port=port))
    with pytest.raises(OSError, match="Address already in use"):
        await second.__aenter__()
