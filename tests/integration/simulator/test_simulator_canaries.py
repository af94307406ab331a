"""Canaries as real processes: their volumes, their reports, and what is left of them."""

import asyncio
import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bodies.target import wait_for
from integration.simulator.canary_pods import (
    CLAIMS,
    JOBS,
    canary,
    claim,
    claimed,
    conditions,
    ending,
    is_over,
    job,
)
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, is_ready

from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.simulator.settings import ADMIN_TOKEN

MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
EMPTY: dict[str, Any] = {"emptyDir": {}}


async def report(client: Client, made: dict[str, Any]) -> Any:
    """Create a canary, and return its document when it has ended well."""
    await client.post(PODS, made)
    pod = await client.reaches(PODS, is_over, fieldSelector=f"metadata.name={made['metadata']['name']}")
    assert ending(pod)["exitCode"] == 0, ending(pod)
    return json.loads(ending(pod)["message"])


def writer(name: str, task: str) -> dict[str, Any]:
    """Return a canary that writes to a claim, or verifies what is there."""
    arguments = ("volume", task, "--path", "/data", "--bytes", "65536", "--seed", "s")
    return canary(name, *arguments, volumes={"/data": claimed("c")})


async def test_job_computes(client: Client) -> None:
    """The number is right, and in the termination message of its pod."""
    await client.post(JOBS, job("j", "compute", "--n", "90"))
    await client.reaches(JOBS, lambda found: "Complete" in conditions(found))
    [pod] = (await client.get(PODS)).body["items"]
    document = json.loads(ending(pod)["message"])
    assert (True, "2880067194370816120") == (document["ok"], document["facts"]["result"])


async def test_disk_is_written_and_read(client: Client) -> None:
    """In an emptyDir, which is a directory of this machine."""
    document = await report(client, canary("a", "disk", "--path", "/tmp", volumes={"/tmp": EMPTY}))  # noqa: S108
    assert (True, {"write", "fsync", "read"}) == (document["ok"], set(document["durations"]))


async def test_full_disk_leaves_canaries_without_volumes_alone(client: Client, simulator: Simulator) -> None:
    """They write to none."""
    simulator.begin("disk-full")
    assert (await report(client, canary("a", "compute")))["ok"]


async def test_full_disk_is_reported(client: Client, simulator: Simulator) -> None:
    """As the kernel does: no space left on device."""
    simulator.begin("disk-full")
    document = await report(client, canary("a", "disk", "--path", "/tmp", volumes={"/tmp": EMPTY}))  # noqa: S108
    assert (False, "disk_failed", True) == (document["ok"], document["reason"], "ENOSPC" in document["error"])


async def test_volume_keeps_its_content_from_pod_to_pod(client: Client) -> None:
    """The second one verifies what the first one has written."""
    await client.post(CLAIMS, claim("c"))
    assert [True, True] == [(await report(client, writer(task, task)))["ok"] for task in ("write", "verify")]


async def test_corrupted_volume_is_detected(client: Client, simulator: Simulator) -> None:
    """One wrong bit is enough."""
    await client.post(CLAIMS, claim("c"))
    await report(client, writer("write", "write"))
    simulator.begin("data-corrupted")
    assert (await report(client, writer("verify", "verify")))["reason"] == "data_corrupted"


async def configured(client: Client) -> None:
    """Run a canary that waits for the value `new` in a ConfigMap and a Secret."""
    await client.post(MAPS, {"metadata": {"name": "m"}, "data": {"value": "old"}})
    await client.post(SECRETS, {"metadata": {"name": "s"}, "stringData": {"value": "old"}})
    volumes = {"/m": {"configMap": {"name": "m"}}, "/s": {"secret": {"secretName": "s"}}}
    paths = ("--path", "/m", "--path", "/s")
    await client.post(PODS, canary("a", "config", *paths, "--value", "new", volumes=volumes))
    await client.reaches(PODS, is_ready)


async def change(client: Client) -> None:
    """Give both the value `new`."""
    await client.patch(f"{MAPS}/m", {"data": {"value": "new"}})
    await client.patch(f"{SECRETS}/s", {"data": {"value": base64.b64encode(b"new").decode()}})


async def test_config_reaches_a_running_canary(client: Client) -> None:
    """The ConfigMap and the Secret."""
    await configured(client)
    await change(client)
    document = json.loads(ending(await client.reaches(PODS, is_over))["message"])
    # It knows the paths of its container alone.
    assert (True, {"/m", "/s", "between"}) == (document["ok"], set(document["durations"]))


async def test_config_that_is_not_projected_does_not_reach_it(client: Client, simulator: Simulator) -> None:
    """Until the fault ends; a canary that starts meanwhile has the present values."""
    simulator.begin("projection-stopped")
    await configured(client)
    await change(client)
    volumes = {"/m": {"projected": {"sources": [{"configMap": {"name": "m"}}]}}}
    assert (await report(client, canary("b", "config", "--path", "/m", "--value", "new", volumes=volumes)))["ok"]
    assert not is_over((await client.get(f"{PODS}/a")).body)
    simulator.end("projection-stopped")
    await client.reaches(PODS, is_over, fieldSelector="metadata.name=a")


async def test_slow_cpu_stretches_the_wall_time(client: Client, simulator: Simulator) -> None:
    """The CPU time stays what it is."""
    simulator.begin("slow-cpu")
    facts = (await report(client, canary("a", "compute", "--cpu-seconds", "0.2")))["facts"]
    assert facts["wall_seconds"] > 10 * facts["cpu_seconds"]


async def test_canary_with_wrong_arguments_fails(client: Client) -> None:
    """A usage error, and the log tells which if the pod asks for that."""
    made = canary("a", "compute", "--nonsense")
    made["spec"]["containers"][0]["terminationMessagePolicy"] = "FallbackToLogsOnError"
    await client.post(PODS, made)
    told = ending(await client.reaches(PODS, is_over))
    assert (2, True) == (told["exitCode"], "--nonsense" in told["message"])


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the simulator makes its directories."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def of_volumes(folder: Path) -> set[str]:
    """Return the directories of PersistentVolumes."""
    return {path.name for path in folder.glob("*/volumes/*")}


def of_pods(folder: Path) -> set[str]:
    """Return the directories of pods."""
    return {path.name for path in folder.glob("*/pods/*")}


async def test_directories_go_with_their_objects(temporary: Path, client: Client) -> None:
    """A pod's at its deletion, a volume's with its PersistentVolume."""
    await client.post(CLAIMS, claim("c"))
    await report(client, writer("a", "write"))
    uid = (await client.get(f"{PODS}/a")).body["metadata"]["uid"]
    assert ({uid}, 1) == (of_pods(temporary), len(of_volumes(temporary)))
    await client.delete(f"{PODS}/a")
    await client.delete(f"{CLAIMS}/c")
    await client.becomes("/api/v1/persistentvolumes", lambda volumes: not volumes)
    assert (set(), set()) == (of_pods(temporary), of_volumes(temporary))


def bearer(simulator: Simulator) -> dict[str, str]:
    """Return the headers of the default user."""
    return {"Authorization": f"Bearer {simulator.token}"}


async def test_nothing_is_left_of_a_cluster_that_stops(temporary: Path) -> None:
    """No process and no directory, also while a canary runs."""
    settings = SimulatorSettings(namespaces=(NAMESPACE,), speed=20.0)
    async with Simulator(settings) as running, aiohttp.ClientSession(headers=bearer(running)) as session:
        await configured(Client(session, running.url))
        processes = processes_of(temporary)
    assert (1, [], []) == (len(processes), files_in(temporary), processes_of(temporary))


def files_in(folder: Path) -> list[Path]:
    """Return what is in the directory."""
    return [*folder.iterdir()]


def processes_of(folder: Path) -> list[int]:
    """Return the processes that work in this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = (entry / "cwd").readlink()
            except OSError:
                continue
            if where.is_relative_to(folder):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("faults", [(), ("--fault", "slow-cpu")], ids=["running", "slow"])
async def test_canaries_end_with_a_simulator_that_is_killed(tmp_path: Path, faults: tuple[str, ...]) -> None:
    """Nobody else ends them: also one that a slow CPU keeps waiting."""
    kubeconfig = tmp_path / "kubeconfig"
    words = ("-m", "khealth_exporter.simulator", "--kubeconfig", str(kubeconfig), "--speed", "20", *faults)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        url = json.loads(await process.stdout.readline())["url"]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as session:
            client = Client(session, url)
            await client.post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            await client.post(PODS, canary("a", "config", "--path", "/", "--value", "v"))
            await client.reaches(PODS, is_ready)
        before = len(processes_of(tmp_path))
    finally:
        process.kill()
        await process.wait()
    await asyncio.to_thread(wait_for, "the end of its canary", lambda: not processes_of(tmp_path), BOUND)
    assert before == 1
