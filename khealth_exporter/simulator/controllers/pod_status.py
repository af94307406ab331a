"""A pod's status, as a kubelet reports it from the first report to the last."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator.documents import Document, metadata, spec_of, status_of, uid_of, with_conditions

_SANDBOX: Final = "PodReadyToStartContainers"
IMAGE_ID: Final = "sha256:159f959962b156f93d5a0e446f0d9df6fa0eaf3daf29efd9fc6fec92a6b2643a"
"""The ID of every image; a pod can use it as an image name."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How containers have ended."""

    code: int = 0
    message: str = ""
    """The termination message."""

    @property
    def phase(self) -> str:
        """The phase of a pod whose containers are not restarted after this."""
        return "Failed" if self.code else "Succeeded"


State = Callable[[Document], Document]
"""Maps a container's status to its next one."""


def accepted(pod: Document, host: str, now: str) -> Document:
    """Return the kubelet's first report: it has accepted the pod, and has started nothing."""
    no_sandbox = _condition(_SANDBOX, "False", "PodSandboxNotReady", "no pod sandbox exists")
    waiting = [_waiting(container, "ContainerCreating") for container in spec_of(pod)["containers"]]
    fresh = {**pod, "status": {**status_of(pod), "containerStatuses": waiting}}
    return {
        "phase": "Pending",
        "observedGeneration": metadata(pod).get("generation", 1),
        "conditions": _conditions(
            fresh, [no_sandbox, _condition("Initialized", "True"), *_readiness(fresh, ready=False)], now
        ),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": now,
        "containerStatuses": waiting,
    }


def sandboxed(pod: Document, address: str, now: str) -> Document:
    """Return the report that the sandbox and its network are ready."""
    conditions = _conditions(pod, [_condition(_SANDBOX, "True")], now)
    return {"conditions": conditions, "podIP": address, "podIPs": [{"ip": address}]}


def waiting(pod: Document, names: Mapping[str, str], reason: str, now: str) -> Document:
    """Return the report that containers wait for a reason: `names` gives each one's message."""

    def state(status: Document) -> Document:
        told = {"reason": reason, "message": names[status["name"]]}
        return {**status, "state": {"waiting": told}, "ready": False, "started": False}

    return _with_containers(pod, names, state, now)


def running(pod: Document, now: str, *, ready: bool) -> Document:
    """Return the report that every container runs."""

    def state(status: Document) -> Document:
        identity = f"containerd://{uid_of(pod).replace('-', '')}{status['restartCount']:032x}"
        image = {"imageID": IMAGE_ID, "containerID": identity}
        return {**status, **image, "state": {"running": {"startedAt": now}}, "ready": ready, "started": True}

    names = [container["name"] for container in spec_of(pod)["containers"]]
    return {**_with_containers(pod, names, state, now), "phase": "Running"}


def became_ready(pod: Document, now: str) -> Document:
    """Return the report that the pod is ready."""
    statuses = [{**status, "ready": True} for status in status_of(pod)["containerStatuses"]]
    return {"containerStatuses": statuses, "conditions": _conditions(pod, _readiness(pod, ready=True), now)}


def became_unready(pod: Document, now: str) -> Document:
    """Return the report that the pod runs and is not ready."""
    statuses = [{**status, "ready": False} for status in status_of(pod)["containerStatuses"]]
    changed = {**pod, "status": {**status_of(pod), "containerStatuses": statuses}}
    return {"containerStatuses": statuses, "conditions": _conditions(pod, _readiness(changed, ready=False), now)}


def ended(pod: Document, ending: Ending, now: str, *, final: bool) -> Document:
    """Return the report that every container has exited; if `final`, they are not restarted and the pod is over."""

    def state(status: Document) -> Document:
        return {**status, "state": {"terminated": _ended(status, ending, now)}, "ready": False, "started": False}

    names = [container["name"] for container in spec_of(pod)["containers"]]
    reported = _with_containers(pod, names, state, now)
    if not final:
        return {**reported, "phase": "Running"}
    return {**reported, "phase": ending.phase, "conditions": _final_conditions(pod, ending, now)}


def backing_off(pod: Document, seconds: int, now: str) -> Document:
    """Return the report that the containers have exited and restart in that many seconds."""
    message = f"back-off {seconds}s restarting failed container"

    def state(status: Document) -> Document:
        told = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        return {**status, "state": told, "lastState": status["state"], "restartCount": status["restartCount"] + 1}

    names = [container["name"] for container in spec_of(pod)["containers"]]
    return _with_containers(pod, names, state, now)


def terminated(pod: Document, ending: Ending, now: str) -> Document:
    """Return the last report of a deleted pod: its containers have exited, its sandbox is gone."""
    statuses = [
        {
            **status,
            "state": {"terminated": _ended(status, ending, now)},
            "ready": False,
            "started": False,
        }
        for status in status_of(pod).get("containerStatuses") or []
    ]
    return {
        "phase": ending.phase,
        "observedGeneration": metadata(pod).get("generation", 1),
        "containerStatuses": statuses,
        "conditions": _final_conditions(pod, ending, now),
    }


def _final_conditions(pod: Document, ending: Ending, now: str) -> list[Document]:
    gone = _condition(_SANDBOX, "False", "PodSandboxNotReady", "pod sandbox is not ready")
    reason = "PodFailed" if ending.code else "PodCompleted"
    over = [_condition(kind, "False", reason) for kind in ("Ready", "ContainersReady")]
    return _conditions(pod, [gone, *over], now)


def simulated_by_kwok(pod: Document, host: str, now: str) -> Document:
    """Return the only report of a pod on a fake node."""
    begun = {**pod, "status": accepted(pod, host, now)}
    status: Document = running({**pod, "status": begun["status"]}, now, ready=True)
    kept = [found for found in begun["status"]["conditions"] if found["type"] not in {_SANDBOX, "PodScheduled"}]
    ready = [{**found, "status": "True"} for found in kept]
    plain = [{key: found[key] for key in ("type", "status", "lastProbeTime", "lastTransitionTime")} for found in ready]
    conditions = with_conditions(pod, plain, now)
    return {**begun["status"], **status, "conditions": conditions, "podIP": host, "podIPs": [{"ip": host}]}


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> Document:
    found: Document = {"type": kind, "status": status, "lastProbeTime": None}
    if reason:
        found["reason"] = reason
    if message:
        found["message"] = message
    return found


def _conditions(pod: Document, changed: list[Document], now: str) -> list[Document]:
    generation = metadata(pod).get("generation", 1)
    return with_conditions(pod, [{**found, "observedGeneration": generation} for found in changed], now)


def _readiness(pod: Document, *, ready: bool) -> list[Document]:
    if ready:
        return [_condition("Ready", "True"), _condition("ContainersReady", "True")]
    statuses = status_of(pod).get("containerStatuses") or []
    unready = " ".join(status["name"] for status in statuses if not status["ready"])
    message = f"containers with unready status: [{unready}]"
    return [_condition(kind, "False", "ContainersNotReady", message) for kind in ("Ready", "ContainersReady")]


def _waiting(container: Document, reason: str) -> Document:
    return {
        "name": container["name"],
        "state": {"waiting": {"reason": reason}},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": container["image"],
        "imageID": "",
        "started": False,
    }


def _ended(status: Document, ending: Ending, now: str) -> Document:
    started = (status["state"].get("running") or {}).get("startedAt", now)
    reason = "Error" if ending.code else "Completed"
    told: Document = {"exitCode": ending.code, "reason": reason, "startedAt": started, "finishedAt": now}
    if ending.message:
        told["message"] = ending.message
    if "containerID" in status:
        told["containerID"] = status["containerID"]
    return told


def _with_containers(pod: Document, names: Mapping[str, str] | list[str], state: State, now: str) -> Document:
    statuses = [state(status) if status["name"] in names else status for status in status_of(pod)["containerStatuses"]]
    changed = {**pod, "status": {**status_of(pod), "containerStatuses": statuses}}
    ready = all(status["ready"] for status in statuses)
    return {"containerStatuses": statuses, "conditions": _conditions(pod, _readiness(changed, ready=ready), now)}
