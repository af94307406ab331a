"""The job controller: creates pods, counts how they end, and finishes Jobs."""

import asyncio
from typing import Final

from khealth_exporter.simulator.batch import JOB_NAME, TRACKING
from khealth_exporter.simulator.controllers import workload
from khealth_exporter.simulator.controllers.controller import Controller
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    controller_uid,
    epoch,
    has_condition,
    is_active,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
    with_conditions,
)
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import JOBS, PODS
from khealth_exporter.simulator.store import Commit, Key, key_of
from khealth_exporter.simulator.world import World

_SOURCE: Final = Source("job-controller")
_FIRST_BACKOFF: Final = 10.0
_LONGEST_BACKOFF: Final = 600.0
_REACHED: Final = ("CompletionsReached", "Reached expected number of succeeded pods")
_LIMIT: Final = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
_DEADLINE: Final = ("DeadlineExceeded", "Job was active longer than specified deadline")


class Jobs(Controller):
    """Runs the pods of Jobs until enough have succeeded, or too many have failed."""

    holding = ("controller-stalled", "job-controller-off")

    def __init__(self, world: World) -> None:
        """Listen to pods and Jobs."""
        super().__init__(world)
        self._patient: dict[str, float] = {}

    def _listen(self, commit: Commit) -> None:
        if commit.resource is JOBS:
            self._queue.add(commit.key)
        elif commit.resource is PODS and JOB_NAME in labels_of(commit.document):
            self._queue.add((commit.key[0], labels_of(commit.document)[JOB_NAME]))

    async def _sync(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.replicate)
        await self.turn()
        job = self.world.store.get(JOBS, key)
        self._release_orphans(key, job)
        if job is None:
            self._queue.forget(key)
        elif _is_finished(job):
            self._patient.pop(uid_of(job), None)
            self._expire(job)
        else:
            self._advance(key, self._count(job))

    def _release_orphans(self, key: Key, job: Document | None) -> None:
        """Remove the finalizer of pods that a Job of this name has left behind."""
        for pod in self.world.store.all(PODS, key[0]):
            if labels_of(pod).get(JOB_NAME) == key[1] and (job is None or controller_uid(pod) != uid_of(job)):
                self._release(pod)

    def _release(self, pod: Document) -> None:
        finalizers = metadata(pod).get("finalizers") or []
        if TRACKING in finalizers:
            left = [name for name in finalizers if name != TRACKING]
            self.world.registry.patch(PODS, key_of(pod), {"metadata": {"finalizers": left or None}})

    def _count(self, job: Document) -> Document:
        """Count the pods that have ended since the last time, let them go, and return the Job's status."""
        pods, status = workload.owned(self.world, job, PODS), dict(status_of(job))
        status.setdefault("startTime", self.world.now())
        for pod in pods:
            outcome = _outcome(pod)
            if outcome and TRACKING in (metadata(pod).get("finalizers") or []):
                status[outcome] = status.get(outcome, 0) + 1
                if outcome == "failed":
                    wait = min(_FIRST_BACKOFF * 2.0 ** (status["failed"] - 1), _LONGEST_BACKOFF)
                    self._patient[uid_of(job)] = asyncio.get_running_loop().time() + self.world.scaled(wait)
        return self._with_present_counts(status, pods)

    def _with_present_counts(self, status: Document, pods: list[Document]) -> Document:
        active = [pod for pod in pods if is_active(pod)]
        present = {key: value for key, value in status.items() if key != "active"}
        if active:
            present["active"] = len(active)
        present["ready"] = sum(has_condition(pod, "Ready") for pod in active)
        present["terminating"] = sum(is_deleting(pod) and not _is_over(pod) for pod in pods)
        return {**present, "uncountedTerminatedPods": {}}

    def _advance(self, key: Key, status: Document) -> None:
        """Create missing pods, or end the Job if its time has come, and report its status."""
        job = self.world.registry.get(JOBS, *key)
        counted = [pod for pod in workload.owned(self.world, job, PODS) if _outcome(pod)]
        refusal: ApiError | None = None
        if not is_deleting(job):
            changed = self._conditions({**job, "status": status})
            if changed:
                status["conditions"] = with_conditions(job, changed, self.world.now())
            elif status.get("conditions"):
                self._end_pods(job)
            elif not spec_of(job)["suspend"]:
                refusal = self._fill_up(job, status)
        if has_condition({"status": status}, "Complete"):
            status["completionTime"] = self.world.now()
        status = self._with_present_counts(status, workload.owned(self.world, job, PODS))
        self.world.registry.patch(JOBS, key, lambda found: {**found, "status": status}, subresource="status")
        for pod in counted:
            self._release(self.world.store.get(PODS, key_of(pod)) or pod)
        self._announce({**job, "status": status}, job)
        if refusal is None:
            self._queue.forget(key)
        else:
            self._queue.add_failed(key)

    def _conditions(self, job: Document) -> list[Document]:
        """Return the conditions that are due: first the reason for the end, and then the end, without any pod left."""
        status = status_of(job)
        left = status.get("active", 0) + status["terminating"]
        for target, last in (("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")):
            found = next((known for known in status.get("conditions") or [] if known["type"] == target), None)
            if found is not None:
                return [] if left else [{**found, "type": last}]
        if status.get("succeeded", 0) >= spec_of(job)["completions"]:
            return [self._condition("SuccessCriteriaMet", *_REACHED)]
        if status.get("failed", 0) > spec_of(job)["backoffLimit"] or self._restarted_too_often(job):
            return [self._condition("FailureTarget", *_LIMIT)]
        if self._is_late(job):
            return [self._condition("FailureTarget", *_DEADLINE)]
        return []

    def _condition(self, kind: str, reason: str, message: str) -> Document:
        told = {"reason": reason, "message": message}
        return {"type": kind, "status": "True", "lastProbeTime": self.world.now(), **told}

    def _restarted_too_often(self, job: Document) -> bool:
        statuses = [
            found
            for pod in workload.owned(self.world, job, PODS)
            for found in status_of(pod).get("containerStatuses") or []
        ]
        restarts = sum(int(found["restartCount"]) for found in statuses)
        return restarts > 0 and restarts >= spec_of(job)["backoffLimit"]

    def _is_late(self, job: Document) -> bool:
        deadline = spec_of(job).get("activeDeadlineSeconds")
        if deadline is None:
            return False
        left = epoch(status_of(job)["startTime"]) + float(deadline) - self.world.registry.now()
        if left > 0:
            self._queue.add_after((namespace_of(job), name_of(job)), left * self.world.settings.speed)
        return left <= 0

    def _fill_up(self, job: Document, status: Document) -> ApiError | None:
        """Create missing pods, unless a pod has failed just now; return the first refusal."""
        spec, active = spec_of(job), status.get("active", 0)
        missing = min(spec["parallelism"], spec["completions"] - status.get("succeeded", 0)) - active
        wait = self._patient.get(uid_of(job), 0.0) - asyncio.get_running_loop().time()
        if missing > 0 and wait > 0:
            self._queue.add_after(key_of(job), wait * self.world.settings.speed)
            return None
        for _ in range(missing):
            refusal = self._create_pod(job)
            if refusal is not None:
                return refusal
        return None

    def _create_pod(self, job: Document) -> ApiError | None:
        about = {"generateName": f"{name_of(job)}-", "finalizers": [TRACKING]}
        pod = workload.pod_of(JOBS, job, spec_of(job)["template"], **about)
        try:
            created = self.world.registry.create(PODS, namespace_of(job), pod)
        except ApiError as refusal:
            self._say(job, Occurrence("Warning", "FailedCreate", f"Error creating: {refusal.message}"))
            return refusal
        self._say(job, Occurrence("Normal", "SuccessfulCreate", f"Created pod: {name_of(created)}"))
        return None

    def _end_pods(self, job: Document) -> None:
        for pod in workload.owned(self.world, job, PODS):
            if is_active(pod):
                self.world.deletion.delete(PODS, key_of(pod), DeleteOptions(uid=uid_of(pod)))
                self._say(job, Occurrence("Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))

    def _announce(self, job: Document, before: Document) -> None:
        for kind, event in (("Complete", "Completed"), ("Failed", "")):
            found = next((known for known in status_of(job).get("conditions") or [] if known["type"] == kind), None)
            if found is not None and not has_condition(before, kind):
                completed = Occurrence("Normal", event, "Job completed")
                self._say(job, completed if event else Occurrence("Warning", found["reason"], found["message"]))

    def _expire(self, job: Document) -> None:
        """Delete a finished Job when its time to live is over."""
        lifetime = spec_of(job).get("ttlSecondsAfterFinished")
        if lifetime is None or is_deleting(job):
            return
        ended = max(epoch(found["lastTransitionTime"]) for found in status_of(job)["conditions"])
        left = ended + self.world.scaled(lifetime) - self.world.registry.now()
        if left > 0:
            self._queue.add_after(key_of(job), left * self.world.settings.speed)
        else:
            self.world.deletion.delete(JOBS, key_of(job), DeleteOptions(uid=uid_of(job), policy="Foreground"))

    def _say(self, job: Document, occurrence: Occurrence) -> None:
        self.world.recorder.record(_SOURCE, JOBS, job, occurrence)


def _is_finished(job: Document) -> bool:
    return has_condition(job, "Complete") or has_condition(job, "Failed")


def _is_over(pod: Document) -> bool:
    return phase_of(pod) in {"Succeeded", "Failed"}


def _outcome(pod: Document) -> str:
    """Return the count of the Job's status that the pod belongs to once it has ended, or is being deleted."""
    if phase_of(pod) == "Succeeded":
        return "succeeded"
    return "failed" if phase_of(pod) == "Failed" or is_deleting(pod) else ""
