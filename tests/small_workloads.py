"""Deployments and Jobs on a small cluster: what their controllers do, as well or as badly as a test wants."""

import json
from dataclasses import dataclass, field

from documents import Json, condition, container, leaving, status_of, terminated
from small_cluster import PACE, PODS, SmallCluster, owners_of

DEPLOYMENTS, REPLICA_SETS, JOBS = "deployments", "replicasets", "jobs"
TRACKING = "batch.kubernetes.io/job-tracking"
TICK = 0.05
"""Seconds between two looks of a controller."""


@dataclass
class SmallDeployments(SmallCluster):
    """The Deployment and ReplicaSet controllers; pods are numbered in the order of their creation."""

    acting: bool = True
    """Whether the Deployment controller does anything."""
    telling: bool = True
    """Whether it tells how many pods there are."""
    rude: bool = False
    """Whether an update removes all old pods at once."""
    numbered: int = 0

    @property
    def left(self) -> list[str]:
        """Return the names of whatever khealth has not removed."""
        kinds = (PODS, DEPLOYMENTS, REPLICA_SETS)
        return sorted(name for kind in kinds for name in self.api.objects.get(kind, {}))

    def _created(self, resource: str, item: Json) -> None:
        if resource == DEPLOYMENTS:
            self.later(PACE, self._look_again, item["metadata"]["name"])

    def _look_again(self, name: str) -> None:
        deployment = self.api.objects[DEPLOYMENTS].get(name)
        if deployment is None:
            self._keep()
            return
        if "deletionTimestamp" in deployment["metadata"]:
            self._keep()
        elif self.acting:
            self._act(deployment)
        self.later(TICK, self._look_again, name)

    def _keep(self) -> None:
        """Replace what a ReplicaSet that nobody has deleted lacks."""
        for replica_set in self.api.objects.get(REPLICA_SETS, {}).values():
            while len(self._going_on(replica_set)) < replica_set["spec"]["replicas"]:
                self.number(replica_set)

    def _act(self, deployment: Json) -> None:
        metadata, spec = deployment["metadata"], deployment["spec"]
        mark = spec["template"]["metadata"]["annotations"]["khealth.io/template"]
        name = f"{metadata['name']}-{mark}"
        if name not in self.api.objects.get(REPLICA_SETS, {}):
            labels = spec["template"]["metadata"]["labels"]
            owner = {"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
            made = {"name": name, "labels": labels, "ownerReferences": [owner]}
            wanted = {"replicas": 0, "template": spec["template"]}
            self.api.put(REPLICA_SETS, {"metadata": made, "spec": wanted})
        sets = self.api.objects[REPLICA_SETS]
        self._scale(sets[name], [old for key, old in sets.items() if key != name], spec["replicas"])
        self._tell(deployment, sets[name], list(sets.values()))

    def _scale(self, new: Json, old: list[Json], replicas: int) -> None:
        olds = [(one, pod) for one in old for pod in self._going_on(one)]
        room = replicas + (1 if olds else 0) - len(olds)
        for _ in range(0 if self.refusal else min(replicas, room) - len(self._going_on(new))):
            self.number(new)
        ready = len(self._ready([new, *old]))
        for owner, pod in olds[: len(olds) if self.rude else max(0, ready - replicas)]:
            owner["spec"]["replicas"] -= 1
            self.api.put(PODS, leaving(self.api.objects[PODS][pod]))
            self._end(pod)
        new["spec"]["replicas"] = len(self._going_on(new))

    def _tell(self, deployment: Json, new: Json, sets: list[Json]) -> None:
        failing = [condition("ReplicaFailure", "True", "FailedCreate", self.refusal)] if self.refusal else []
        counts = {
            "replicas": sum(len(self._going_on(one)) for one in sets),
            "updatedReplicas": len(self._going_on(new)),
            "availableReplicas": len(self._ready(sets)),
        }
        generation = deployment["metadata"]["generation"]
        told = {**(counts if self.telling else {}), "observedGeneration": generation, "conditions": failing}
        if deployment.get("status") != told:
            self.api.put(DEPLOYMENTS, {**deployment, "status": told})

    def number(self, replica_set: Json) -> None:
        """Create one more pod of a ReplicaSet."""
        number, self.numbered = self.numbered, self.numbered + 1
        self._make(replica_set, number)

    def _going_on(self, owner: Json) -> list[str]:
        pods = self.api.objects.get(PODS, {})
        return [name for name in self._pods_of(owner) if "deletionTimestamp" not in pods[name]["metadata"]]

    def _ready(self, owners: list[Json]) -> list[str]:
        pods = (name for owner in owners for name in self._going_on(owner))
        return [
            name
            for name in pods
            if any(
                said["type"] == "Ready" and said["status"] == "True"
                for said in self.api.objects[PODS][name]["status"].get("conditions", [])
            )
        ]

    def _deleted(self, resource: str, item: Json, options: Json) -> bool:
        if resource != DEPLOYMENTS:
            return super()._deleted(resource, item, options)
        foreground = "Foreground" == options["propagationPolicy"]
        if foreground:
            self.later(self.backlog, self._collect, item)
        return not foreground

    def _collect(self, controller: Json) -> None:
        if not self.collecting:
            return
        self.api.objects.get(REPLICA_SETS, {}).clear()
        for name, pod in list(self.api.objects.get(PODS, {}).items()):
            self.api.put(PODS, leaving(pod))
            self._end(name)
        self.later(PACE, self._collect_owner, controller)

    def _collect_owner(self, _item: Json) -> None:
        for name, deployment in list(self.api.objects[DEPLOYMENTS].items()):
            going = "deletionTimestamp" in deployment["metadata"] and self.collecting
            if going and not self.api.objects.get(PODS):
                self.api.remove(DEPLOYMENTS, name)


@dataclass
class SmallJobs(SmallCluster):
    """The Job controller, and nodes that run canaries."""

    document: Json | None = field(default_factory=dict)
    """What the canary says; None if it says nothing."""
    code: int = 0
    """The canary's exit code."""
    runs_on: bool = False
    """Whether the canary never ends."""
    finalizers: list[str] = field(default_factory=list)
    """What pods that have ended are left with."""
    completing: bool = True
    """Whether the controller sees that the pod has ended."""

    @property
    def left(self) -> list[str]:
        """Return the names of whatever khealth has not removed."""
        return sorted(name for kind in (PODS, JOBS) for name in self.api.objects.get(kind, {}))

    def _created(self, resource: str, item: Json) -> None:
        if resource == JOBS and self.looking:
            self.later(self.delays.get("created", PACE), self._begin, item["metadata"]["name"])

    def _begin(self, name: str) -> None:
        job = self.api.objects[JOBS].get(name)
        if job and self.stuck.get(0) != "none":
            self._make(job, 0)

    def _advance(self, name: str, number: int, stages: list[str]) -> None:
        super()._advance(name, number, stages)
        if stages[0] == "started" and self.stuck.get(number) != "started" and not self.runs_on:
            self.later(self.delays.get("ended", PACE), self._finish, name)

    def _finish(self, name: str) -> None:
        pod = self.api.objects[PODS].get(name)
        if pod is None:
            return
        end = terminated(self.code, "Completed" if self.code == 0 else "Error")
        end["terminated"]["message"] = "" if self.document is None else json.dumps(self.document)
        phase = "Failed" if self.code else "Succeeded"
        pod = {**pod, "metadata": {**pod["metadata"], "finalizers": self.finalizers}}
        self.api.put(PODS, status_of(pod, phase=phase, containerStatuses=[{**container(end), "name": "canary"}]))
        if self.completing:
            self.later(PACE, self.settle, "Failed" if self.code else "Complete")

    def settle(self, said: str) -> None:
        """Set a condition of the Job."""
        for job in list(self.api.objects[JOBS].values()):
            self.api.put(JOBS, {**job, "status": {"conditions": [condition(said, "True", "said")]}})

    def _deleted(self, resource: str, item: Json, options: Json) -> bool:
        if resource == PODS and item["metadata"].get("finalizers"):
            return False
        if resource != JOBS:
            return super()._deleted(resource, item, options)
        pods = self._pods_of(item)
        if pods and options["propagationPolicy"] == "Foreground":
            self.later(self.backlog, self._collect, item)
            return False
        return True

    def _end(self, name: str) -> None:
        if not self.api.objects[PODS][name]["metadata"].get("finalizers"):
            super()._end(name)

    def _collect_owner(self, pod: Json) -> None:
        for name, job in list(self.api.objects[JOBS].items()):
            going = "deletionTimestamp" in job["metadata"] and self.collecting
            if job["metadata"]["uid"] in owners_of(pod) and going and not self._pods_of(job):
                self.api.remove(JOBS, name)
