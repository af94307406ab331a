"""What every benchmark needs around it: a namespace of its own, programs that surely end, a configuration."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from prometheus_client.parser import text_string_to_metric_families

from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.cluster.decoding import decode
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.modules import MODULES
from khealth_exporter.vocabulary.event import Phase

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds that a program has to end after SIGTERM; khealth cleans up first."""


def kubectl(*arguments: str, check: bool = True) -> str:
    """Run kubectl, and return what it says."""
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=180, check=check)
    return done.stdout


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make a namespace, and delete it in the end."""
    kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", check=False)


@contextmanager
def program(
    *command: object, out: IO[bytes] | int = subprocess.DEVNULL, apart: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of this Python until the block ends; its log goes to standard error.

    One that is `apart` has a session of its own: Linux shares processors between sessions first, as between pods.
    """
    words = [sys.executable, *map(str, command)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=out, env=os.environ, start_new_session=apart)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server((host, 0)) as free:
        port: int = free.getsockname()[1]
    return port


def scraped(url: str) -> Iterator[Any]:
    """Yield the samples of a page of metrics."""
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - an address that the caller gave
        yield from parsed(answer.read().decode())


def parsed(text: str) -> Iterator[Any]:
    """Yield the samples of a text of metrics."""
    for family in text_string_to_metric_families(text):
        yield from family.samples


def configuration(
    file: Path, namespace: str, routines: Mapping[str, Mapping[str, object]], kind: str = "rcscheduler"
) -> Path:
    """Write a configuration of routines of one kind; JSON is YAML too."""
    known = {name: {"kind": kind, **settings} for name, settings in routines.items()}
    file.write_text(json.dumps({"namespace": namespace, "modules": {module_of(kind): known}}), encoding="utf-8")
    return file


def module_of(kind: str) -> str:
    """Return the module that has a kind of routine."""
    return next(module.name for module in MODULES if any(routine.name == kind for routine in module.routines))


def events(file: Path) -> list[dict[str, Any]]:
    """Return what the recorder has written so far."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def samples(recorded: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by pod what was recorded of it: the parts that init and cleanup made, joined."""
    found: dict[str, dict[str, Any]] = {}
    for event in recorded:
        for part in event["samples"]:
            known = found.setdefault(part["object"], {"observed": {}, "measurements": {}})
            known["observed"] |= {name: at for name, at in part["observed"].items() if at is not None}
            known["measurements"] |= {measured["step"]["name"]: measured for measured in part["measurements"]}
    return found


def attempts(recorded: Sequence[Mapping[str, Any]]) -> int:
    """Return how many attempts have ended."""
    return sum(event["phase"] == Phase.CLEANUP for event in recorded)


def watched(file: Path) -> dict[str, dict[str, float]]:
    """Return by pod and milestone when a bare watcher saw it, in Unix seconds."""
    found: dict[str, dict[str, float]] = {}
    for line in file.read_bytes().split(b"\n")[1:-1]:
        stamp, _, said = line.partition(b" ")
        event = json.loads(said)
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            continue
        pod = decode(Pod, json.dumps(event["object"]).encode())
        seen = found.setdefault(pod.name, {})
        for milestone in {WAY.removed} if event["type"] == "DELETED" else set(WAY.reached(pod)):
            seen.setdefault(milestone, float(stamp))
    return found


def wait_for_watcher(file: Path, seconds: float = 20.0) -> None:
    """Return once a bare watcher's stream is open."""
    end = time.monotonic() + seconds
    while not file.read_bytes().startswith(b"200 watching"):
        if time.monotonic() > end:
            sys.exit("a bare watcher could not open its stream")
        time.sleep(0.1)
