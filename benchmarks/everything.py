"""Every routine that khealth has, at short intervals: what the fault table, the soak and the kills run."""

import argparse
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.harness import kubectl, namespace
from khealth_exporter.modules import MODULES

IMAGE = "docker.io/library/khealth:0.1.0"
HOST_PATH = Path("/tmp/hostpath_pv")  # noqa: S108 - where the controller manager's own provisioner makes volumes
OUTSIDE = "198.18.0.1", 18088
"""Where the test cluster's pods reach a server of this machine, which is outside of the cluster."""
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
"""Without it, admission has nothing to test."""

Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a routine runs, how long it may take, and what else is short; attempts must not overlap."""

    interval: float
    timeout: float
    more: Settings = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return {"interval": f"{self.interval:g}s", "timeout": f"{self.timeout:g}s", **self.more}


PACES: Mapping[str, Pace] = {
    "rcscheduler": Pace(30, 14, {"pod_ttl": "500ms", "poll_interval": "500ms", "replicas": 2}),
    "api": Pace(8, 4),
    "admission": Pace(8, 4),
    "controllers": Pace(20, 10),
    "pod": Pace(20, 10),
    "job": Pace(40, 20),
    "deployment": Pace(60, 30),
    "collect": Pace(20, 10),
    "disk": Pace(30, 15),
    "volume": Pace(60, 30),
    "config": Pace(240, 120),  # kubelets take up to 90 s
    "check": Pace(60, 30),
    "dns": Pace(60, 30),
    "service": Pace(90, 45),
    "latency": Pace(48, 24),
    "policy": Pace(90, 45),
    "egress": Pace(40, 20),
}
"""By kind. Together more than 2,000 attempts an hour, which two processors can carry beside a cluster."""


def given(kind: str, image: str) -> dict[str, Any]:
    """Return the settings without which a kind does not run: a check is a canary that computes."""
    if kind == "egress":
        return {"targets": [{"url": f"http://{OUTSIDE[0]}:{OUTSIDE[1]}/"}]}
    if kind != "check":
        return {}
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    command = ["python3", "-m", "khealth_exporter.canary", "compute", "--n", "90", "--cpu-seconds", "0.1"]
    container = {"name": "check", "image": image, "command": command, "securityContext": locked}
    user = {"runAsNonRoot": True, "runAsUser": 65535, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"template": {"kind": "Pod", "spec": {"securityContext": user, "containers": [container]}}}


def pace(kind: str) -> Pace:
    """Return how often a kind runs; one that has been added since runs by its own bounds."""
    known = next(routine for module in MODULES for routine in module.routines if routine.name == kind)
    bounds = (known.Settings.model_fields[name].default for name in ("interval", "timeout"))
    return PACES.get(kind, Pace(*bounds))


def named(routine: str) -> Pace:
    """Return how often a routine runs, named as MODULE/ROUTINE."""
    return pace(routine.rpartition("/")[2])


def routines() -> tuple[str, ...]:
    """Return all routines as MODULE/ROUTINE."""
    return tuple(f"{module.name}/{routine.name}" for module in MODULES for routine in module.routines)


def attempts_an_hour() -> float:
    """Return how many attempts all routines begin in an hour."""
    return sum(3600 / named(routine).interval for routine in routines())


def document(where: str, image: str, changed: Mapping[str, Settings] | None = None) -> dict[str, Any]:
    """Return a configuration of every routine; `changed` are further settings by kind."""
    more = changed or {}
    modules = {
        module.name: {
            kind.name: {**pace(kind.name).settings, **given(kind.name, image), **more.get(kind.name, {})}
            for kind in module.routines
        }
        for module in MODULES
    }
    return {"namespace": where, "canary": {"image": image}, "modules": modules}


def write(file: Path, configuration: Mapping[str, Any]) -> Path:
    """Write a configuration; JSON is YAML too."""
    file.write_text(json.dumps(configuration), encoding="utf-8")
    return file


def with_canaries(arguments: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let a benchmark be told what canaries need of a cluster."""
    arguments.add_argument("--image", default=IMAGE, help="of canaries; the nodes must have it")
    told = "where the controller manager itself makes volumes on this machine; everybody may write to them"
    arguments.add_argument("--host-path", type=Path, default=HOST_PATH, help=told)
    return arguments


@contextmanager
def restricted(name: str) -> Iterator[str]:
    """Make a namespace that enforces *restricted*, and delete it in the end."""
    with namespace(name):
        kubectl("label", "namespace", name, RESTRICTED)
        yield name


@contextmanager
def outside() -> Iterator[None]:
    """Answer what agents ask outside of the cluster, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("", OUTSIDE[1]), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Let everybody write to the volumes in a folder of this machine, if there is such a folder.

    The controller manager's own provisioner, which is for tests, makes them for root alone; kubelets leave them so.
    """
    over = threading.Event()
    thread = threading.Thread(target=_open_up, args=(folder, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _open_up(folder: Path, over: threading.Event) -> None:
    while not over.wait(0.1):
        with suppress(FileNotFoundError):  # one went meanwhile
            for volume in folder.glob("*"):
                volume.chmod(0o777)
