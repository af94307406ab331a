"""The kubelets: start pods, stop them and report their status, as real ones do."""

import asyncio
import contextlib
from typing import Final

from khealth_exporter.simulator.controllers import pod_status, rollout, workload
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    is_deleting,
    metadata,
    name_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.faults import API_OUTAGES
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import NODES, PODS, REPLICA_SETS
from khealth_exporter.simulator.store import Commit, Key
from khealth_exporter.simulator.world import Component, World

FAKE_NODE: Final = "kwok.x-k8s.io/node"
"""The annotation of a node without a kubelet."""

_SLOW_START: Final = 10.0
_SANDBOX_RETRY: Final = 10.0
_FIRST_BACKOFF: Final = 10
_LONGEST_BACKOFF: Final = 300
_NO_SANDBOX: Final = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: "
    'plugin type="bridge" failed (add): simulated failure'
)


class Kubelets(Component):
    """The kubelets of all nodes; one task starts a pod, and another one stops it."""

    holding = ("kubelet-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to pods and nodes."""
        super().__init__(world)
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._addresses = 1
        world.store.listen(self._listen)

    def _listen(self, commit: Commit) -> None:
        if commit.resource is PODS:
            self._follow(commit)
        elif commit.resource is NODES and commit.before is not None and commit.kind == "MODIFIED":
            before, after = has_condition(commit.before, "Ready"), has_condition(commit.document, "Ready")
            if after and not before:
                self.spawn(self._report_again, name_of(commit.document))

    def _follow(self, commit: Commit) -> None:
        pod = commit.document
        uid, node = uid_of(pod), self.world.store.get(NODES, ("", node_of(pod)))
        if commit.kind == "DELETED":
            self._end_life(uid)
        elif node is None or not has_kubelet(node):
            return
        elif is_deleting(pod):
            before = commit.before or {}
            if _grace(before) != _grace(pod):
                self._end_life(uid)
                if _grace(pod) > 0:
                    self._lives[uid] = self.spawn(self._take_down, commit.key, pod)
        elif uid not in self._lives:
            fake = FAKE_NODE in (metadata(node).get("annotations") or {})
            self._lives[uid] = self.spawn(self._pretend if fake else self._bring_up, commit.key, pod)

    def _end_life(self, uid: str) -> None:
        life = self._lives.pop(uid, None)
        if life is not None:
            life.cancel()

    async def _bring_up(self, key: Key, pod: Document) -> None:
        node, delays = node_of(pod), self.world.settings.delays
        await self.pause(delays.accept)
        await self._unless(node, "runtime-stalled")
        self._report(key, pod_status.accepted(self._pod(key), self._host(node), self.world.now()))
        await self._make_sandbox(key, node)
        await self._have_images(key, node)
        await self.pause(delays.start)
        if self.world.faults.active("slow-start", node):
            await asyncio.sleep(self.world.scaled(_SLOW_START))
        await self.turn(node)
        await self._crash(key, node)
        if phase_of(self._pod(key)) == "Failed":
            return
        ready = not self.world.faults.active("never-ready", node) and not _probed(pod)
        self._say(key, node, Occurrence("Normal", "Created", "Container created", _field(pod)))
        self._say(key, node, Occurrence("Normal", "Started", "Container started", _field(pod)))
        self._report(key, pod_status.running(self._pod(key), self.world.now(), ready=ready))
        if not ready:
            await self._become_ready(key, pod, node)

    async def _make_sandbox(self, key: Key, node: str) -> None:
        await self.pause(self.world.settings.delays.sandbox)
        await self.turn(node)
        while self.world.faults.active("sandbox-fails", node):
            self._say(key, node, Occurrence("Warning", "FailedCreatePodSandBox", _NO_SANDBOX))
            await self._patience(_SANDBOX_RETRY, "sandbox-fails", node)
            await self.turn(node)
        self._addresses += 1
        address = f"10.244.{self._addresses // 250 % 250}.{self._addresses % 250 + 2}"
        self._report(key, pod_status.sandboxed(self._pod(key), address, self.world.now()))

    async def _have_images(self, key: Key, node: str) -> None:
        """Return when every image is present; until then, fail to pull the missing ones, with a growing back-off."""
        backoff = _FIRST_BACKOFF
        while missing := self._missing_images(key, node):
            field = _field(self._pod(key))
            for image in sorted(set(missing.values())):
                self._say(key, node, Occurrence("Normal", "Pulling", f'Pulling image "{image}"', field))
            await self.pause(self.world.settings.delays.pull)
            await self.turn(node)
            failures = {name: _pull_failure(image) for name, image in missing.items()}
            for failure in sorted(set(failures.values())):
                self._say(key, node, Occurrence("Warning", "Failed", failure, field))
            self._report(key, pod_status.waiting(self._pod(key), failures, "ErrImagePull", self.world.now()))
            self._say(key, node, Occurrence("Warning", "Failed", "Error: ErrImagePull", field))
            await self.pause(self.world.settings.delays.pull)
            await self.turn(node)
            waits = {
                name: f'Back-off pulling image "{image}": ErrImagePull: {_pull_failure(image)}'
                for name, image in missing.items()
            }
            self._report(key, pod_status.waiting(self._pod(key), waits, "ImagePullBackOff", self.world.now()))
            self._say(key, node, Occurrence("Warning", "Failed", "Error: ImagePullBackOff", field))
            fault = "rollout-stalled" if self._stalls(self._pod(key)) else "image-missing"
            await self._patience(backoff, fault, node)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)
        for container in spec_of(self._pod(key))["containers"]:
            message = (
                f'Container image "{container["image"]}" already present on machine and can be accessed by the pod'
            )
            self._say(key, node, Occurrence("Normal", "Pulled", message, _field(self._pod(key))))

    def _missing_images(self, key: Key, node: str) -> dict[str, str]:
        pod = self._pod(key)
        missing = self.world.faults.active("image-missing", node) or self._stalls(pod)
        present = {*self.world.settings.images, pod_status.IMAGE_ID}
        return {
            container["name"]: container["image"]
            for container in spec_of(pod)["containers"]
            if missing or container["image"] not in present
        }

    def _stalls(self, pod: Document) -> bool:
        """Tell whether the pod belongs to an updated Deployment whose image is missing."""
        if not self.world.faults.active("rollout-stalled"):
            return False
        owner = workload.owner_of(self.world, REPLICA_SETS, pod)
        return owner is not None and rollout.revision(owner) > 1

    async def _crash(self, key: Key, node: str) -> None:
        """Let the containers start and exit as long as the fault is active."""
        backoff = _FIRST_BACKOFF
        while self.world.faults.active("container-crashes", node):
            final = spec_of(self._pod(key)).get("restartPolicy") == "Never"
            self._report(key, pod_status.running(self._pod(key), self.world.now(), ready=True))
            await self.pause(self.world.settings.delays.crash)
            await self.turn(node)
            self._report(key, pod_status.crashed(self._pod(key), self.world.now(), final=final))
            if final:
                return
            await self.pause(self.world.settings.delays.crash)
            await self.turn(node)
            self._report(key, pod_status.backing_off(self._pod(key), backoff, self.world.now()))
            message = f"Back-off restarting failed container in pod {key[1]}_{key[0]}"
            self._say(key, node, Occurrence("Warning", "BackOff", message, _field(self._pod(key))))
            await asyncio.sleep(self.world.scaled(backoff))
            await self.turn(node)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    async def _become_ready(self, key: Key, pod: Document, node: str) -> None:
        probes = [container.get("readinessProbe") or {} for container in spec_of(pod)["containers"]]
        await asyncio.sleep(self.world.scaled(max(probe.get("initialDelaySeconds", 0) for probe in probes)))
        await self.pause(self.world.settings.delays.accept)
        await self._unless(node, "never-ready")
        self._report(key, pod_status.became_ready(self._pod(key), self.world.now()))

    async def _take_down(self, key: Key, pod: Document) -> None:
        node, delays = node_of(pod), self.world.settings.delays
        await self.turn(node)
        if has_condition(pod, "Initialized"):
            for container in spec_of(pod)["containers"]:
                message = f"Stopping container {container['name']}"
                self._say(key, node, Occurrence("Normal", "Killing", message, _field(pod)))
        if phase_of(pod) == "Running":
            await asyncio.sleep(self.world.scaled(min(delays.exit.draw(self.world.random), _grace(pod))))
        await self._unless(node, "deletion-stuck")
        self._report(key, pod_status.terminated(self._pod(key), self.world.now()))
        await self.pause(delays.tear_down)
        await self._unless(node, "deletion-stuck")
        self.world.deletion.delete(PODS, key, DeleteOptions(grace=0, uid=uid_of(pod)))

    async def _pretend(self, key: Key, pod: Document) -> None:
        await self.pause(self.world.settings.delays.accept)
        await self.turn(node_of(pod))
        status = pod_status.simulated_by_kwok(self._pod(key), self._host(node_of(pod)), self.world.now())
        self._report(key, status)

    async def _report_again(self, node: str) -> None:
        """Report every running pod as ready again, after the control plane set it to not ready."""
        await self.pause(self.world.settings.delays.accept)
        await self.turn(node)
        for pod in self.world.store.all(PODS):
            statuses = status_of(pod).get("containerStatuses") or []
            running = node_of(pod) == node and bool(statuses) and all(status["ready"] for status in statuses)
            if running and not has_condition(pod, "Ready"):
                key = (metadata(pod)["namespace"], name_of(pod))
                self._report(key, pod_status.became_ready(pod, self.world.now()))

    async def _unless(self, node: str, fault: str) -> None:
        await self.world.faults.clear(fault, *self.holding, *API_OUTAGES, node=node)

    async def _patience(self, seconds: float, fault: str, node: str) -> None:
        """Wait that many seconds; if the fault is active, return as soon as it ends."""
        if not self.world.faults.active(fault, node):
            await asyncio.sleep(self.world.scaled(seconds))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.world.scaled(seconds)):
                await self.world.faults.clear(fault, node=node)

    def _pod(self, key: Key) -> Document:
        return self.world.registry.get(PODS, *key)

    def _report(self, key: Key, status: Document) -> None:
        self.world.registry.patch(PODS, key, {"status": status}, subresource="status")

    def _host(self, node: str) -> str:
        found = self.world.store.get(NODES, ("", node)) or {}
        addresses = status_of(found).get("addresses") or [{"address": "10.0.0.1"}]
        return str(addresses[0]["address"])

    def _say(self, key: Key, node: str, occurrence: Occurrence) -> None:
        self.world.recorder.record(Source("kubelet", node), PODS, self._pod(key), occurrence)


def has_kubelet(node: Document) -> bool:
    """Tell whether the node has a simulated kubelet, or is a fake node as KWOK makes them."""
    annotations = metadata(node).get("annotations") or {}
    return FAKE_NODE in annotations or "simulator/kubelet" in annotations


def _grace(pod: Document) -> float:
    grace = metadata(pod).get("deletionGracePeriodSeconds")
    return -1.0 if grace is None else float(grace)


def _probed(pod: Document) -> bool:
    return any("readinessProbe" in container for container in spec_of(pod)["containers"])


def _field(pod: Document) -> str:
    return f"spec.containers{{{spec_of(pod)['containers'][0]['name']}}}"


def _pull_failure(image: str) -> str:
    return (
        f'Failed to pull image "{image}": failed to pull and unpack image "{image}": failed to resolve reference '
        f'"{image}": not found'
    )
