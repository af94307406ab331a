"""The cluster that KUBECONFIG names; what breaks its components needs KHEALTH_CLUSTER, the command of the test kit."""

import base64
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from _pytest.terminal import TerminalReporter
from bodies.target import ApiServer, Target
from kubernetes import client
from tools import needs_variable

from benchmarks.everything import writable

BREAKS = {
    "scheduler-stalled": (("pause", "resume"), ("kube-scheduler",)),
    "scheduler-stopped": (("stop", "start"), ("kube-scheduler",)),
    "controller-stalled": (("pause", "resume"), ("kube-controller-manager",)),
    "controller-stopped": (("stop", "start"), ("kube-controller-manager",)),
    "kubelet-stalled": (("pause", "resume"), ("kubelet@node-1", "kubelet@node-2")),
    "kubelet-stalled:node-2": (("pause", "resume"), ("kubelet@node-2",)),
    "runtime-stalled": (("pause", "resume"), ("containerd@node-1", "containerd@node-2")),
    "api-paused": (("pause", "resume"), ("kube-apiserver",)),
    "api-down": (("stop", "start"), ("kube-apiserver",)),
    "etcd-stalled": (("pause", "resume"), ("etcd",)),
}
"""What the kit is told to break and to mend, by the simulator's name of the fault."""


RENEWED = timedelta(seconds=6)
"""A lease is renewed every two seconds; one that is older has no holder at work."""


class RealCluster(Target):
    """A real Kubernetes; `alone` is whether the test has it for itself."""

    def __init__(self, kubeconfig: Path, folder: Path, *, alone: bool) -> None:
        super().__init__(kubeconfig, folder)
        self._alone = alone

    image = os.environ.get("KHEALTH_IMAGE", "")

    def _begin(self, fault: str) -> None:
        assert self._alone, "a test that breaks a component needs the mark `alone`"
        (verb, _), programs = BREAKS[fault]
        self._tell(verb, programs)

    def _end(self, fault: str) -> None:
        (_, verb), programs = BREAKS[fault]
        self._tell(verb, programs)

    def storage(self, **settings: Any) -> Path:
        """Return the same, if the nodes have khealth's image."""
        needs_variable("KHEALTH_IMAGE")
        return super().storage(**settings)

    def network(self, **settings: Any) -> Path:
        """Return the same, if the nodes have khealth's image."""
        needs_variable("KHEALTH_IMAGE")
        return super().network(**settings)

    @contextmanager
    def volumes(self) -> Iterator[None]:
        """Let pods write where the test kit's provisioner makes volumes, which it makes for root alone."""
        folder = os.environ.get("KHEALTH_HOST_PATH")
        with writable(Path(folder)) if folder else nullcontext():
            yield

    def healthy(self) -> bool:
        """Tell the same, and whether scheduler and controller manager are at work: an outage can cost them their lease."""
        return super().healthy() and all(map(self._leads, ("kube-scheduler", "kube-controller-manager")))

    def _leads(self, program: str) -> bool:
        leases: Any = client.CoordinationV1Api(self.api)
        try:
            renewed = leases.read_namespaced_lease(program, "kube-system", _request_timeout=5).spec.renew_time
        except client.ApiException as error:
            return bool(error.status == HTTPStatus.NOT_FOUND)  # A provider may hide its control plane.
        except Exception:  # noqa: BLE001 - whatever it is, it is not healthy yet
            return False
        return bool(renewed) and datetime.now(UTC) - renewed < RENEWED

    def _tell(self, verb: str, programs: tuple[str, ...]) -> None:
        kit = needs_variable("KHEALTH_CLUSTER")
        for program in programs:
            subprocess.run([*shlex.split(kit), verb, program], check=True, timeout=60)  # noqa: S603

    @contextmanager
    def for_pods(self) -> Iterator[ApiServer]:
        """Its own address, as far as its certificate is good for that."""
        (found,) = yaml.safe_load(self.kubeconfig.read_text())["clusters"]
        url = urlsplit(found["cluster"]["server"])
        encoded = found["cluster"].get("certificate-authority-data")
        named = found["cluster"].get("certificate-authority", "")
        authority = base64.b64decode(encoded).decode() if encoded else (self.kubeconfig.parent / named).read_text()
        yield ApiServer(str(url.hostname), url.port or 443, authority)


@contextmanager
def real_cluster(folder: Path, request: pytest.FixtureRequest) -> Iterator[Target]:
    """Yield the real cluster, with a namespace of its own; everything is mended, and must be gone, afterwards."""
    named = os.environ.get("KUBECONFIG")
    if not named:
        pytest.fail("make e2e needs KUBECONFIG")
    cluster = RealCluster(Path(named), folder, alone=request.node.get_closest_marker("alone") is not None)
    try:
        cluster.make_namespace()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Target]:
    """The real cluster, for one test."""
    with real_cluster(tmp_path, request) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lasting_target(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Target]:
    """The same for all tests of a file."""
    with real_cluster(tmp_path_factory.mktemp("target"), request) as cluster:
        yield cluster


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what tests have measured, which they keep by `record_property`."""
    reports = terminalreporter.getreports("passed")
    measured = [
        (report.nodeid, *said) for report in reports if report.when == "call" for said in report.user_properties
    ]
    if measured:
        terminalreporter.section("measured")
    for test, name, value in measured:
        terminalreporter.write_line(f"{test}: {name}: {value}")
