"""A cluster in a few lines: what its controllers do with khealth's canaries, as fast or as badly as a test wants."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from documents import Json, accepted, bound, condition, leaving, node, ready, running, sandboxed, status_of
from fakes import FakeApi, Telemetered
from virtual_time import virtual_clock

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import POD, REPLICATION_CONTROLLER, Kind
from khealth_exporter.cluster.ownership import Identity
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

PODS, CONTROLLERS = "pods", "replicationcontrollers"
STAGES: Mapping[str, Callable[[Json, str], Json]] = {
    "created": lambda pod, _node: pod,
    "scheduled": bound,
    "accepted": accepted,
    "sandboxed": sandboxed,
    "started": running,
    "ready": ready,
}
"""A pod's way; every stage is reached a tenth of a second after the one before."""
PACE = 0.1


@dataclass
class SmallCluster:
    """Controllers of an API server in memory: controller manager, scheduler, kubelets, garbage collector."""

    api: FakeApi
    nodes: tuple[str, ...] = ("node-1", "node-2", "node-3")
    stuck: dict[int, str] = field(default_factory=dict)
    """The stage that a pod (by number) gets to, and no further; `none`: it is never created."""
    change: dict[int, Callable[[Json], Json]] = field(default_factory=dict)
    """What becomes of a pod (by number) at the stage where it is stuck."""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds that pods take to get to a stage, other than a tenth."""
    collecting: bool = True
    """Whether the garbage collector works."""
    backlog: float = PACE
    """Seconds until the garbage collector gets to a controller that was deleted."""
    pause: float = 0.0
    """Seconds from a pod that the garbage collector asks to end to the next one."""
    noting: bool = False
    """Whether the controller manager takes note of a controller that was deleted."""
    ending: bool = True
    """Whether kubelets end what is asked to go."""
    looking: bool = True
    """Whether the controller manager looks at new controllers."""
    injected: Json = field(default_factory=dict)
    """What a mutating policy sets in the specification of every pod."""
    refusal: str = ""
    """Why the API server refuses the controller manager's pods."""
    controllers: str = CONTROLLERS
    """The kind of the controllers, by its plural."""
    counting: bool = True
    """Whether the controller manager tells in a controller's status how many pods there are."""

    def __post_init__(self) -> None:
        self.api.created, self.api.deleted = self._created, self._deleted
        for name in self.nodes:
            self.api.put("nodes", node(name))

    def later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Let something happen."""
        asyncio.get_running_loop().call_later(seconds, call, *arguments)

    def pod_names(self) -> list[str]:
        """Return the names of the pods that are there."""
        return sorted(self.api.objects.get(PODS, {}))

    def take(self, number: int, *, asked: bool = True) -> None:
        """Delete a pod, as a stranger would: asked to go first, and gone a tenth of a second later."""
        name = self.pod_names()[number]
        if asked:
            self.api.put(PODS, leaving(self.api.objects[PODS][name]))
        self.later(PACE, self._gone, name)

    @property
    def left(self) -> list[str]:
        """Return the names of whatever khealth has not removed."""
        return sorted(name for kind in (PODS, self.controllers) for name in self.api.objects.get(kind, {}))

    def _created(self, resource: str, item: Json) -> None:
        if resource == PODS:
            item.setdefault("status", {"phase": "Pending"})
            item["spec"].update(self.injected)
        if resource == self.controllers and self.looking:
            self.later(self.delays.get("created", PACE), self._look, item["metadata"]["name"])
        if resource == PODS:
            self.later(0, self._advance, item["metadata"]["name"], 0, list(STAGES))

    def _look(self, name: str) -> None:
        controller = self.api.objects[self.controllers].get(name)
        if controller is None or "deletionTimestamp" in controller["metadata"]:
            return
        failing = [condition("ReplicaFailure", "True", "FailedCreate", self.refusal)] if self.refusal else []
        told = {"replicas": controller["spec"]["replicas"]} if self.counting and not self.refusal else {}
        self.api.put(
            self.controllers, {**controller, "status": {"observedGeneration": 1, "conditions": failing, **told}}
        )
        for number in range(0 if self.refusal else controller["spec"]["replicas"]):
            if self.stuck.get(number) != "none":
                self._make(controller, number)

    def _make(self, controller: Json, number: int) -> None:
        metadata, template = controller["metadata"], controller["spec"]["template"]
        name = f"{metadata['name']}-{number}"
        owner = {"kind": "ReplicationController", "name": metadata["name"], "uid": metadata["uid"]}
        marks = {**template["metadata"], "name": name, "ownerReferences": [owner]}
        spec = {**template["spec"], **self.injected}
        self.api.put(PODS, {"metadata": marks, "spec": spec, "status": {"phase": "Pending"}})
        self._advance(name, number, list(STAGES))

    def _advance(self, name: str, number: int, stages: list[str]) -> None:
        pod = self.api.objects[PODS].get(name)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        stage, *following = stages
        pod = STAGES[stage](pod, pinned_to(pod) or self.nodes[number % len(self.nodes)])
        stuck = self.stuck.get(number) == stage
        pod = self.change[number](pod) if stuck and number in self.change else pod
        if stage != "created" or stuck:
            self.api.put(PODS, pod)
        if following and not stuck:
            self.later(self.delays.get(following[0], PACE), self._advance, name, number, following)

    def _deleted(self, resource: str, item: Json, options: Json) -> bool:
        if resource == self.controllers:
            if options.get("propagationPolicy") == "Foreground" and self._pods_of(item):
                self.later(self.backlog, self._collect, item)
                self.later(PACE, self._note, item["metadata"]["name"])
                return False
            return True
        if resource != PODS:
            return True
        if options.get("gracePeriodSeconds") == 0:
            self.later(0, self._collect_owner, item)
            return True
        self._end(item["metadata"]["name"])
        return False

    def _pods_of(self, controller: Json) -> list[str]:
        uid = controller["metadata"]["uid"]
        found = self.api.objects.get(PODS, {}).items()
        return [name for name, pod in found if uid in owners_of(pod)]

    def _collect(self, controller: Json) -> None:
        if not self.collecting:
            return
        pods = self.api.objects.get(PODS, {})
        waiting = [name for name in self._pods_of(controller) if "deletionTimestamp" not in pods[name]["metadata"]]
        for name in waiting[:1] if self.pause else waiting:
            self.api.put(PODS, leaving(pods[name]))
            self._end(name)
        if self.pause and waiting[1:]:
            self.later(self.pause, self._collect, controller)

    def _note(self, name: str) -> None:
        controller = self.api.objects[self.controllers].get(name)
        if self.noting and controller:
            generation = controller["metadata"]["generation"]
            status = {**controller.get("status", {}), "observedGeneration": generation}
            self.api.put(self.controllers, {**controller, "status": status})

    def _end(self, name: str) -> None:
        if self.ending:
            self.later(PACE, self._gone, name)

    def _gone(self, name: str) -> None:
        pod = self.api.objects[PODS].get(name)
        if pod is not None:
            self.api.remove(PODS, name)
            self._collect_owner(pod)

    def _collect_owner(self, pod: Json) -> None:
        for name, controller in list(self.api.objects.get(self.controllers, {}).items()):
            ours = controller["metadata"]["uid"] in owners_of(pod)
            going = "deletionTimestamp" in controller["metadata"] and self.collecting
            if ours and going and not self._pods_of(controller):
                self.api.remove(self.controllers, name)

    def refuse_pods(self, because: str) -> None:
        """Let the API server refuse every pod."""
        self.refusal = because


def owners_of(pod: Json) -> list[str]:
    """Return the uids of a pod's owners."""
    return [owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])]


def pinned_to(pod: Json) -> str:
    """Return the node that a pod's affinity names; nothing if it names none."""
    affinity = pod.get("spec", {}).get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    names = [value for term in terms for field in term["matchFields"] for value in field["values"]]
    return str(names[0]) if names else ""


@dataclass
class Scene:
    """A small cluster that khealth sees."""

    small: SmallCluster
    api: FakeApi
    cluster: Cluster
    clock: Clock
    figures: Telemetered
    context: Context

    def say(self, number: int, kind: str, status: str = "True") -> None:
        """Change a condition of a pod."""
        pod = self.api.objects[PODS][self.small.pod_names()[number]]
        self.api.put(PODS, status_of(pod, condition(kind, status)))


@asynccontextmanager
async def scene(
    *,
    seed: int = 1,
    kinds: Sequence[Kind[Any]] = (POD, REPLICATION_CONTROLLER),
    small: type[SmallCluster] = SmallCluster,
) -> AsyncIterator[Scene]:
    """Watch a small cluster until the block ends."""
    clock = virtual_clock()
    api, figures = FakeApi(clock), Telemetered(clock)
    chance = random.Random(seed)
    cluster = Cluster(api, Identity("run", "khealth"), clock, figures.metrics, chance)
    async with asyncio.TaskGroup() as group:
        cluster.watches.need(kinds)
        watches = [group.create_task(cluster.watches.run())]
        ringing = group.create_task(bookmarks(api))
        try:
            yield Scene(small(api), api, cluster, clock, figures, Context(cluster, clock))
        finally:
            for task in (*watches, ringing):
                task.cancel()


async def bookmarks(api: FakeApi) -> None:
    """Send bookmarks as the API server does, until cancelled."""
    while True:
        await asyncio.sleep(60.0)
        api.bookmark()


INCONCLUSIVE = {reason for reason in Reason if reason.result == "inconclusive"}
