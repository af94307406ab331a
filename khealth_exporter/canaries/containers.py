"""What a pod's containers say, init containers and sidecars among them. Pure: no I/O, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass

from khealth_exporter.cluster.objects import Container, ContainerStatus, Pod
from khealth_exporter.vocabulary.reason import Reason

PULLING = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
}  # fmt: skip
"""Why a container waits, when its image is what it lacks."""
IN_TURN = {"", "ContainerCreating", "PodInitializing"}
"""Why a container waits, when nothing is wrong with it."""
NEVER_RAN = {"StartError", "ContainerCannotRun"}
"""Why a container has ended, when the runtime could not run its command."""


INIT, SIDECAR, CONTAINER = "init container", "sidecar", "container"
"""A container's roles; a sidecar is an init container that is always restarted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One container of a pod, as its kubelet sees it."""

    role: str
    image: str
    status: ContainerStatus

    @property
    def name(self) -> str:
        """Its role and its name."""
        return f"{self.role} {self.status.name}"

    @property
    def done(self) -> bool:
        """Whether the pod's next container need not wait for it any longer."""
        if self.role == INIT:
            ended = self.status.state.terminated
            return ended is not None and ended.exit_code == 0
        if self.role == SIDECAR:
            return self.status.state.running is not None and self.status.started is not False
        return self.status.has_started

    @property
    def state(self) -> str:
        """Its state in words: why it waits, for which image, or how it ended."""
        waiting, ended = self.status.state.waiting, self.status.state.terminated
        if ended:
            return f"terminated with exit code {ended.exit_code} {ended.reason} {ended.message}".rstrip()
        if self.status.state.running:
            return "running" if self.done or self.role == INIT else "running, its startup probe has not succeeded"
        image = f" image {self.image}" if waiting and waiting.reason in PULLING else ""
        return f"waiting {waiting.reason} {waiting.message}".rstrip() + image if waiting else "waiting"

    @property
    def trouble(self) -> tuple[Reason, str] | None:
        """What is wrong with it, or was before its last restart: the reason, and a note."""
        state, before = self.status.state, self.status.last_state.terminated
        waiting, ended = state.waiting, state.terminated or before
        if waiting and waiting.reason in PULLING:
            return Reason.IMAGE_PULL_FAILED, f"{self.name}: {waiting.reason} of {self.image}: {waiting.message}"
        if ended and ended.reason in NEVER_RAN:
            return Reason.POD_NOT_STARTED, f"{self.name} cannot run: {ended.reason}: {ended.message}"
        if ended and not (self.role == INIT and (self.done or ended.exit_code == 0)):
            return Reason.POD_CRASHED, f"{self.name} exited with code {ended.exit_code} ({ended.reason})"
        if waiting and (waiting.message or waiting.reason not in IN_TURN):
            return Reason.POD_NOT_STARTED, f"{self.name}: {waiting.reason}: {waiting.message}"
        return None


def containers_of(pod: Pod) -> Iterator[Seen]:
    """Yield the containers that the kubelet has reported, in the order in which they start."""
    for specs, statuses, initial in (
        (pod.spec.init_containers, pod.status.init_container_statuses, True),
        (pod.spec.containers, pod.status.container_statuses, False),
    ):
        asked = {spec.name: spec for spec in specs}
        for status in statuses:
            spec = asked.get(status.name, Container())
            role = (SIDECAR if spec.restart_policy == "Always" else INIT) if initial else CONTAINER
            yield Seen(role, status.image or spec.image, status)


def trouble(pod: Pod) -> tuple[Reason, str] | None:
    """Return what is wrong with a container of a pod; what is wrong now comes before what was wrong once."""
    found = [(seen.status.state.running is not None, seen.trouble) for seen in containers_of(pod)]
    return next((told for _, told in sorted(found, key=lambda entry: entry[0]) if told), None)


def awaited(pod: Pod) -> Seen | None:
    """Return the container that the pod waits for: containers start one after the other."""
    return next((seen for seen in containers_of(pod) if not seen.done), None)
