"""How faults are made that are not a program's: of storage, of admission, of configuration, and of processes."""

import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import webhooks
from benchmarks.everything import Settings, document, write
from benchmarks.harness import kubectl
from benchmarks.kit import Kit

CLASS = "bench-nobody-provisions"
NOWHERE = "registry.invalid/khealth/none:1"
SMALL = 64 << 10
"""Bytes that fit on a full disk; a page cache's page and the file system's own come off that."""
_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Scene:
    """What faults are made of: the cluster's command, khealth's namespace, and how to tell khealth something else."""

    kit: Kit
    namespace: str
    image: str
    khealth: str
    """Its address."""
    file: Path
    """Its configuration."""
    nodes: Path
    """The folder in which every node has one of its own, with its kubelet's."""
    address: str
    """Where the API server finds a webhook of this machine."""

    def configure(self, changed: Mapping[str, Settings] | None = None, image: str = "") -> None:
        """Give khealth another configuration while it runs; HTTPError where it refuses it."""
        write(self.file, document(self.namespace, image or self.image, changed))
        request = urllib.request.Request(f"{self.khealth}/-/reload", method="POST")  # noqa: S310 - on this machine
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310 - the same


Fault = Callable[[Scene], AbstractContextManager[None]]
"""Makes a fault for a block, and mends it in every case."""


def paused(pattern: str) -> Fault:
    """Stop programs from doing anything, with their connections open (SIGSTOP)."""
    return lambda scene: scene.kit.broken(("pause", "resume"), scene.kit.programs(pattern))


def stopped(pattern: str) -> Fault:
    """End programs."""
    return lambda scene: scene.kit.broken(("stop", "start"), scene.kit.programs(pattern))


def cut(node: str) -> Fault:
    """Take a node off the network."""
    return lambda scene: scene.kit.broken(("cut", "join"), [node])


def without(controller: str) -> Fault:
    """Switch off one of the controller manager's controllers."""
    return lambda scene: scene.kit.without(controller)


def admitted(answer: webhooks.Answer) -> Fault:
    """Let a webhook decide about pods."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        try:
            with webhooks.asked(scene.namespace, scene.address, answer):
                yield
        finally:
            _release(scene.namespace)

    return fault


def configured(changed: Mapping[str, Settings] | None = None, image: str = "") -> Fault:
    """Let khealth make canaries of something that the cluster does not have."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        try:
            scene.configure(changed, image)
            yield
        finally:
            scene.configure()

    return fault


@contextmanager
def no_provisioner(scene: Scene) -> Iterator[None]:
    """Let claims be of a class whose provisioner does not run."""
    made: Mapping[str, Any] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": "nobody.khealth.example/none",
    }
    try:
        create(made)
        with configured({"volume": {"storage_class": CLASS}})(scene):
            yield
    finally:
        kubectl("delete", "storageclass", CLASS, "--ignore-not-found")


@contextmanager
def quota_reached(scene: Scene) -> Iterator[None]:
    """Allow no pods."""
    name = ("quota", "bench-none", "--namespace", scene.namespace)
    try:
        kubectl("create", *name, "--hard=pods=0")
        yield
    finally:
        kubectl("delete", *name, "--ignore-not-found")


@contextmanager
def full_disk(scene: Scene) -> Iterator[None]:
    """Mount a tiny file system over the emptyDir of every canary of disk before its container starts.

    Its writes then end with ENOSPC, as on a full disk. The kubelet unmounts it with the pod.
    """
    volumes, covered = "*/kubelet/pods/*/volumes/kubernetes.io~empty-dir/*disk", set[Path]()

    def cover() -> None:
        for folder in scene.nodes.glob(volumes):
            if folder not in covered:
                covered.add(folder)
                options = f"size={SMALL},mode=0777"
                subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False, timeout=10)

    with _again_and_again(cover):
        yield


def killed(task: str) -> Fault:
    """Kill (-9) every canary's process that does a task, as soon as it runs."""
    mark = f"khealth_exporter.canary\0{task}\0".encode()

    def kill() -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)

    return lambda _: _again_and_again(kill)


@contextmanager
def _again_and_again(work: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(_EVERY):
            work()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def create(made: Mapping[str, Any]) -> None:
    """Make an object, or change it to this."""
    subprocess.run(
        ["kubectl", "apply", "-f", "-"], input=json.dumps(made), text=True, capture_output=True, timeout=60, check=True
    )


def _release(namespace: str) -> None:
    """Take the fault table's own finalizer from every pod."""
    for item in json.loads(kubectl("get", "pods", "--namespace", namespace, "-o", "json"))["items"]:
        finalizers = item["metadata"].get("finalizers", [])
        if webhooks.FINALIZER in finalizers:
            others = [name for name in finalizers if name != webhooks.FINALIZER]
            words = ("--namespace", namespace, "--type=merge", "-p", json.dumps({"metadata": {"finalizers": others}}))
            kubectl("patch", "pod", item["metadata"]["name"], *words, check=False)
