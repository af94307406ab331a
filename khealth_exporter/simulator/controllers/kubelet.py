"""The kubelets: start pods, stop them and report their status, as real ones do."""

import asyncio
from typing import Final

from khealth_exporter.simulator.controllers import pod_status
from khealth_exporter.simulator.controllers.canaries import Canaries
from khealth_exporter.simulator.controllers.images import Images, container_field
from khealth_exporter.simulator.controllers.launches import is_agent, is_canary
from khealth_exporter.simulator.controllers.mounts import Mounts
from khealth_exporter.simulator.controllers.node_agent import NodeAgent
from khealth_exporter.simulator.controllers.pod_status import Ending
from khealth_exporter.simulator.controllers.probes import Probes
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    is_active,
    is_deleting,
    metadata,
    name_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.network.cluster_network import ClusterNetwork
from khealth_exporter.simulator.recorder import Occurrence
from khealth_exporter.simulator.resources import NODES, PODS
from khealth_exporter.simulator.store import Commit, Key
from khealth_exporter.simulator.world import World

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


class Kubelets(NodeAgent):
    """The kubelets of all nodes; one task starts a pod, and another one stops it."""

    def __init__(self, world: World, network: ClusterNetwork) -> None:
        """Listen to pods and nodes, and connect the pods to this network."""
        super().__init__(world)
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._network, self._probes = network, Probes(world)
        self._mounts, self._images = Mounts(world), Images(world)
        self._canaries = Canaries(world, self._mounts, network)
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
            self._canaries.forget(pod)
        elif node is None or not has_kubelet(node):
            return
        elif is_deleting(pod):
            before = commit.before or {}
            if _grace(before) != _grace(pod):
                self._end_life(uid)
                if _grace(pod) > 0:
                    self._lives[uid] = self.spawn(self._take_down, commit.key, pod)
                else:
                    self._canaries.forget(pod)
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
        await self.unless(node, "runtime-stalled")
        self.report(key, pod_status.accepted(self.pod(key), self._host(node), self.world.now()))
        if (seconds := spec_of(pod).get("activeDeadlineSeconds")) is not None:
            self.spawn(self._expire, key, pod, seconds)
        await self._mounts.available(key, node)
        await self._make_sandbox(key, pod)
        await self._images.available(key, node)
        await self.pause(delays.start)
        if self.world.faults.active("slow-start", node):
            await asyncio.sleep(self.world.scaled(_SLOW_START))
        await self.turn(node)
        await self._run(key, node)

    async def _make_sandbox(self, key: Key, pod: Document) -> None:
        node = node_of(pod)
        await self.pause(self.world.settings.delays.sandbox)
        await self.turn(node)
        while self.world.faults.active("sandbox-fails", node):
            self.say(key, node, Occurrence("Warning", "FailedCreatePodSandBox", _NO_SANDBOX))
            await self.patience(_SANDBOX_RETRY, "sandbox-fails", node)
            await self.turn(node)
        taken, addresses = self._network.fabric.pods, self._network.addresses
        address = addresses.of_host(node) if spec_of(pod).get("hostNetwork") else addresses.of_pod(node, taken)
        self.report(key, pod_status.sandboxed(self.pod(key), address, self.world.now()))

    async def _run(self, key: Key, node: str) -> None:
        """Run the containers; start them again when they have ended, with a growing back-off, if the pod wants it."""
        backoff = _FIRST_BACKOFF
        while (ending := await self._run_once(key, node)) is not None:
            await self.turn(node)
            policy = spec_of(self.pod(key)).get("restartPolicy")
            final = policy == "Never" or (policy == "OnFailure" and not ending.code)
            self.report(key, pod_status.ended(self.pod(key), ending, self.world.now(), final=final))
            if final:
                return
            await self.pause(self.world.settings.delays.crash)
            await self.turn(node)
            self.report(key, pod_status.backing_off(self.pod(key), backoff, self.world.now()))
            message = f"Back-off restarting failed container in pod {key[1]}_{key[0]}"
            self.say(key, node, Occurrence("Warning", "BackOff", message, container_field(self.pod(key))))
            await asyncio.sleep(self.world.scaled(backoff))
            await self.turn(node)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    async def _run_once(self, key: Key, node: str) -> Ending | None:
        """Start the containers, and return how they have ended; None if they run on until they are stopped."""
        pod = self.pod(key)
        canary, active = is_canary(pod), self.world.faults.active
        if active("container-crashes", node) or (canary and active("canary-crashes", node)):
            self.report(key, pod_status.running(pod, self.world.now(), ready=True))
            await self.pause(self.world.settings.delays.crash)
            return Ending(1)
        if canary:
            await self._canaries.start(pod)
            await self.turn(node)
        field = container_field(pod)
        self.say(key, node, Occurrence("Normal", "Created", "Container created", field))
        self.say(key, node, Occurrence("Normal", "Started", "Container started", field))
        ready = not active("never-ready", node) and not _probed(pod)
        self.report(key, pod_status.running(self.pod(key), self.world.now(), ready=ready))
        if not canary:
            if not ready:
                await self._become_ready(key, pod, node)
            return None
        probes = self._probes.follow if is_agent(pod) and _probed(pod) else self._become_ready
        becoming = None if ready else self.spawn(probes, key, pod, node)
        try:
            return await self._canaries.end(pod)
        finally:
            if becoming is not None:
                becoming.cancel()

    async def _become_ready(self, key: Key, pod: Document, node: str) -> None:
        probes = [container.get("readinessProbe") or {} for container in spec_of(pod)["containers"]]
        await asyncio.sleep(self.world.scaled(max(probe.get("initialDelaySeconds", 0) for probe in probes)))
        await self.pause(self.world.settings.delays.accept)
        await self.unless(node, "never-ready")
        self.report(key, pod_status.became_ready(self.pod(key), self.world.now()))

    async def _expire(self, key: Key, pod: Document, seconds: float) -> None:
        """End the pod if it is active after that many seconds."""
        await asyncio.sleep(seconds)
        await self.turn(node_of(pod))
        found = self.pod(key)
        if uid_of(found) != uid_of(pod) or not is_active(found):
            return
        self._end_life(uid_of(pod))
        self._lives[uid_of(pod)] = self.spawn(self._fail, key, found)

    async def _fail(self, key: Key, pod: Document) -> None:
        ending = await self._canaries.stop(pod, spec_of(pod)["terminationGracePeriodSeconds"])
        await self.turn(node_of(pod))
        message = "Pod was active on the node longer than the specified deadline"
        told = {"phase": "Failed", "reason": "DeadlineExceeded", "message": message}
        self.report(key, pod_status.terminated(self.pod(key), ending, self.world.now()) | told)

    async def _take_down(self, key: Key, pod: Document) -> None:
        node, delays = node_of(pod), self.world.settings.delays
        await self.turn(node)
        if has_condition(pod, "Initialized"):
            for container in spec_of(pod)["containers"]:
                message = f"Stopping container {container['name']}"
                self.say(key, node, Occurrence("Normal", "Killing", message, container_field(pod)))
        ending = Ending()
        if is_canary(pod):
            ending = await self._canaries.stop(pod, _grace(pod))
        elif phase_of(pod) == "Running":
            await asyncio.sleep(self.world.scaled(min(delays.exit.draw(self.world.random), _grace(pod))))
        await self.unless(node, "deletion-stuck")
        self.report(key, pod_status.terminated(self.pod(key), ending, self.world.now()))
        await self.pause(delays.tear_down)
        await self.unless(node, "deletion-stuck")
        self.world.deletion.delete(PODS, key, DeleteOptions(grace=0, uid=uid_of(pod)))

    async def _pretend(self, key: Key, pod: Document) -> None:
        await self.pause(self.world.settings.delays.accept)
        await self.turn(node_of(pod))
        status = pod_status.simulated_by_kwok(self.pod(key), self._host(node_of(pod)), self.world.now())
        self.report(key, status)

    async def _report_again(self, node: str) -> None:
        """Report every running pod as ready again, after the control plane set it to not ready."""
        await self.pause(self.world.settings.delays.accept)
        await self.turn(node)
        for pod in self.world.store.all(PODS):
            statuses = status_of(pod).get("containerStatuses") or []
            running = node_of(pod) == node and bool(statuses) and all(status["ready"] for status in statuses)
            if running and not has_condition(pod, "Ready"):
                key = (metadata(pod)["namespace"], name_of(pod))
                self.report(key, pod_status.became_ready(pod, self.world.now()))

    def _host(self, node: str) -> str:
        found = self.world.store.get(NODES, ("", node)) or {}
        addresses = status_of(found).get("addresses") or [{"address": "10.0.0.1"}]
        return str(addresses[0]["address"])


def has_kubelet(node: Document) -> bool:
    """Tell whether the node has a simulated kubelet, or is a fake node as KWOK makes them."""
    annotations = metadata(node).get("annotations") or {}
    return FAKE_NODE in annotations or "simulator/kubelet" in annotations


def _grace(pod: Document) -> float:
    grace = metadata(pod).get("deletionGracePeriodSeconds")
    return -1.0 if grace is None else float(grace)


def _probed(pod: Document) -> bool:
    return any("readinessProbe" in container for container in spec_of(pod)["containers"])
