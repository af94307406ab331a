"""The simulator as a process of its own, one for all tests, with what the shared bodies need of a cluster."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from bodies.target import ApiServer, Target, wait_for

SAME = {"scheduler-stopped": "scheduler-stalled", "controller-stopped": "controller-stalled"}
"""Faults that differ on a real cluster alone."""


class SimulatedCluster(Target):
    """The simulator, told what to break by its control address."""

    timeout, crowded, fastest = 3.0, 6.0, 0.1
    patience = 60.0
    image = "khealth:simulated"

    def __init__(self, kubeconfig: Path, folder: Path, control: str) -> None:
        super().__init__(kubeconfig, folder)
        self._control = control

    def _begin(self, fault: str) -> None:
        self._tell("POST", fault)

    def _end(self, fault: str) -> None:
        self._tell("DELETE", fault)

    def _tell(self, method: str, fault: str) -> None:
        url = f"{self._control}/faults/{SAME.get(fault, fault)}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60):  # noqa: S310
            pass

    @contextmanager
    def for_pods(self) -> Iterator[ApiServer]:
        """Return the simulator itself: it speaks TLS, as every API server that pods know does."""
        host, _, port = self.server.rpartition("://")[2].rpartition(":")
        yield ApiServer(host, int(port), (self.kubeconfig.parent / "ca.crt").read_text())


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A running simulator: its kubeconfig and its control address. Clients show tokens over TLS alone."""
    folder = tmp_path_factory.mktemp("simulator")
    kubeconfig, log, authority = folder / "kubeconfig", folder / "stdout", trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    words = [sys.executable, "-m", "khealth_exporter.simulator", "--kubeconfig", str(kubeconfig), "--speed", "2"]
    words += ["--certificate-authority", str(folder / "ca.crt")]
    words += ["--tls-cert-file", str(folder / "server.pem"), "--tls-private-key-file", str(folder / "server.pem")]
    with log.open("wb") as stream:
        process = subprocess.Popen(words, stdout=stream)  # noqa: S603
    try:
        wait_for("the simulator", lambda: kubeconfig.exists() and log.read_text().endswith("\n"))
        yield kubeconfig, json.loads(log.read_text())["control"]
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def target(simulator: tuple[Path, str], tmp_path: Path) -> Iterator[Target]:
    """The simulated cluster, with a namespace of the test's own; everything must be gone afterwards."""
    kubeconfig, control = simulator
    cluster = SimulatedCluster(kubeconfig, tmp_path, control)
    cluster.make_namespace()
    yield cluster
    cluster.close()
