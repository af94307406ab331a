"""Canary pods, Jobs of them, and claims, and processes that only seem to run."""

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.simulator.simulator_client import NAMESPACE, RESTRICTED, Client

from khealth_exporter.simulator.programs import Launch

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
IMAGE = "khealth:simulated"


def canary(name: str, *arguments: str, volumes: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a canary pod; each volume is given by its mount path, as its source."""
    given = volumes or {}
    names = {path: f"v{number}" for number, path in enumerate(given)}
    container = {
        "name": "canary",
        "image": IMAGE,
        "command": ["python3", "-m", "khealth_exporter.canary", *arguments],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": names[path], "mountPath": path} for path in given],
    }
    basics = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
        "volumes": [{"name": names[path], **source} for path, source in given.items()],
    }
    return {"metadata": {"name": name}, "spec": basics | spec}


def job(name: str, *arguments: str, **spec: Any) -> dict[str, Any]:
    """Return a Job of such a pod."""
    return {"metadata": {"name": name}, "spec": {"template": {"spec": canary(name, *arguments)["spec"]}, **spec}}


def claim(name: str, **spec: Any) -> dict[str, Any]:
    """Return a claim of 4 MiB."""
    basics = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Mi"}}}
    return {"metadata": {"name": name}, "spec": basics | spec}


def claimed(name: str) -> dict[str, Any]:
    """Return the volume of a claim."""
    return {"persistentVolumeClaim": {"claimName": name}}


def is_over(pod: Any) -> bool:
    """Tell whether the pod has ended."""
    return pod["status"]["phase"] in {"Succeeded", "Failed"}


def ending(pod: Any) -> Any:
    """Return how the pod's container has ended."""
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def conditions(document: Any) -> dict[str, str]:
    """Return the reason of each condition that is True."""
    found = document["status"].get("conditions") or []
    return {known["type"]: known.get("reason", "") for known in found if known["status"] == "True"}


async def until_event(client: Client, reason: str) -> str:
    """Wait for an Event with that reason, and return its message."""
    return str((await client.reaches(EVENTS, lambda event: event["reason"] == reason))["message"])


class SeemingProgram:
    """A process that runs until it is told to end."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.signals: list[int] = []
        self.obeys = True
        self._code = 0
        self._ended = asyncio.Event()

    def end(self, code: int, message: str = "") -> None:
        """End it, with this report."""
        report = self.launch.arguments[self.launch.arguments.index("--report") + 1]
        Path(report).write_text(message)
        self._code = code
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        return self._code

    def send_signal(self, number: int, /) -> None:
        if self._ended.is_set():
            raise ProcessLookupError
        self.signals.append(number)
        if number == signal.SIGKILL or (number == signal.SIGTERM and self.obeys):
            self._code = -number
            self._ended.set()


@dataclass
class SeemingRunner:
    """Starts processes that only seem to run; each ends at once with the next of `endings`, if one is left."""

    endings: list[tuple[int, str]] = field(default_factory=list)
    obeys: bool = True
    """Whether they end after SIGTERM."""
    programs: list[SeemingProgram] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, launch: Launch) -> SeemingProgram:
        program = SeemingProgram(launch)
        program.obeys = self.obeys
        self.programs.append(program)
        self.started.set()
        if self.endings:
            program.end(*self.endings.pop(0))
        return program
