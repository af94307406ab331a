"""The volumes of pods: waiting until they can be mounted, and the directories that stand for them."""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from khealth_exporter.simulator import atomic_files, pod_volumes, storage
from khealth_exporter.simulator.controllers.node_agent import NodeAgent
from khealth_exporter.simulator.documents import (
    Document,
    name_of,
    namespace_of,
    node_of,
    phase_of,
    spec_of,
    uid_of,
)
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import CLAIMS, CONFIG_MAPS, PODS, SECRETS, VOLUMES
from khealth_exporter.simulator.store import Commit, Key
from khealth_exporter.simulator.world import World

_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 122.0
_ONE_NODE: Final = {"ReadWriteOnce", "ReadWriteOncePod"}


@dataclass(frozen=True, slots=True)
class _Failure:
    source: str
    reason: str
    message: str


class Mounts(NodeAgent):
    """Attaches and mounts volumes; the pods of canaries get them as directories of this machine."""

    def __init__(self, world: World) -> None:
        """Listen to what is mounted."""
        super().__init__(world)
        self._mounted: dict[str, Document] = {}
        self._projecting: set[str] = set()
        world.store.listen(self._listen)

    def _listen(self, commit: Commit) -> None:
        if commit.resource in {CONFIG_MAPS, SECRETS} and commit.kind != "DELETED":
            for uid, pod in self._mounted.items():
                if uid not in self._projecting and pod_volumes.reads(pod, commit.resource, commit.key):
                    self._projecting.add(uid)
                    self.spawn(self._project, pod)
        elif commit.resource is VOLUMES and commit.kind == "DELETED":
            shutil.rmtree(self._volume_folder(commit.document), ignore_errors=True)

    async def available(self, key: Key, node: str) -> None:
        """Return when every volume of the pod can be mounted; until then, say why not, with a growing back-off."""
        backoff = _FIRST_BACKOFF
        if storage.claim_names(self.pod(key)):
            await self.pause(self.world.settings.delays.attach)
            await self.turn(node)
        while failure := self._failure(self.pod(key), node):
            occurrence = Occurrence("Warning", failure.reason, failure.message)
            source = Source(failure.source, node if failure.source == "kubelet" else "")
            self.world.recorder.record(source, PODS, self.pod(key), occurrence)
            await self.patience(backoff, "volume-not-attached", node)
            await self.turn(node)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    def _failure(self, pod: Document, node: str) -> _Failure | None:
        """Return why a volume of the pod cannot be mounted."""
        for volume in spec_of(pod).get("volumes") or []:
            try:
                pod_volumes.files(self.world.store, namespace_of(pod), volume)
            except pod_volumes.Missing as missing:
                why = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {missing}'
                return _Failure("kubelet", "FailedMount", why)
        for name in storage.claim_names(pod):
            found = self._volume(pod, name)
            if found is None:
                why = f'persistentvolumeclaim "{name}" is not bound'
                return _Failure("kubelet", "FailedMount", f"Unable to attach or mount volumes: {why}")
            if failure := self._attach_failure(pod, name, found, node):
                return failure
        return None

    def _attach_failure(self, pod: Document, claim: str, volume: Document, node: str) -> _Failure | None:
        controller = "attachdetach-controller"
        if self.world.faults.active("volume-not-attached", node):
            why = "rpc error: code = Internal desc = simulated failure"
            message = f'AttachVolume.Attach failed for volume "{name_of(volume)}" : {why}'
            return _Failure(controller, "FailedAttachVolume", message)
        elsewhere = any(
            claim in storage.claim_names(other) and node_of(other) not in {"", node} and not _is_over(other)
            for other in self.world.store.all(PODS, namespace_of(pod))
        )
        if elsewhere and set(spec_of(volume)["accessModes"]) <= _ONE_NODE:
            why = "Volume is already exclusively attached to one node and can't be attached to another"
            message = f'Multi-Attach error for volume "{name_of(volume)}" {why}'
            return _Failure(controller, "FailedAttachVolume", message)
        return None

    def _volume(self, pod: Document, claim: str) -> Document | None:
        found = self.world.store.get(CLAIMS, (namespace_of(pod), claim)) or {}
        return self.world.store.get(VOLUMES, ("", str(spec_of(found).get("volumeName"))))

    def mount(self, pod: Document) -> dict[str, Path]:
        """Return the directory of each volume of the pod by the volume's name. Raises `Missing`."""
        self._mounted[uid_of(pod)] = pod
        return {volume["name"]: self._mount(pod, volume) for volume in spec_of(pod).get("volumes") or []}

    def _mount(self, pod: Document, volume: Document) -> Path:
        folder = self.folder(pod) / "volumes" / str(volume["name"])
        if "persistentVolumeClaim" in volume:
            found = self._volume(pod, volume["persistentVolumeClaim"]["claimName"])
            folder = self._volume_folder(found or {})
        folder.mkdir(parents=True, exist_ok=True)
        if any(kind in volume for kind in ("configMap", "secret", "projected")):
            atomic_files.write(folder, pod_volumes.files(self.world.store, namespace_of(pod), volume))
        if "persistentVolumeClaim" in volume and self.world.faults.active("data-corrupted", node_of(pod)):
            _corrupt(folder)
        return folder

    def unmount(self, pod: Document) -> None:
        """Remove the pod's directories."""
        if self._mounted.pop(uid_of(pod), None) is not None:
            shutil.rmtree(self.folder(pod), ignore_errors=True)

    def folder(self, pod: Document) -> Path:
        """Return the directory of the pod."""
        return self.world.folder / "pods" / uid_of(pod)

    def _volume_folder(self, volume: Document) -> Path:
        return self.world.folder / "volumes" / uid_of(volume)

    async def _project(self, pod: Document) -> None:
        """Bring the pod's ConfigMaps and Secrets up to date; what has gone in the meantime stays as it was."""
        await self.pause(self.world.settings.delays.project)
        await self.unless(node_of(pod), "projection-stopped")
        self._projecting.discard(uid_of(pod))
        if uid_of(pod) not in self._mounted:
            return
        for volume in spec_of(pod).get("volumes") or []:
            if pod_volumes.sources_of(volume):
                folder = self.folder(pod) / "volumes" / str(volume["name"])
                with contextlib.suppress(pod_volumes.Missing):
                    atomic_files.write(folder, pod_volumes.files(self.world.store, namespace_of(pod), volume))


def _is_over(pod: Document) -> bool:
    return phase_of(pod) in {"Succeeded", "Failed"}


def _corrupt(folder: Path) -> None:
    """Flip one bit in the middle of every file."""
    for path in folder.rglob("*"):
        content = bytearray(path.read_bytes()) if path.is_file() else bytearray()
        if content:
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
