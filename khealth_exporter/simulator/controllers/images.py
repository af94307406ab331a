"""The images of pods: present on the node, or pulled in vain."""

from typing import Final

from khealth_exporter.simulator.controllers import pod_status, rollout, workload
from khealth_exporter.simulator.controllers.node_agent import NodeAgent
from khealth_exporter.simulator.documents import Document, spec_of
from khealth_exporter.simulator.recorder import Occurrence
from khealth_exporter.simulator.resources import REPLICA_SETS
from khealth_exporter.simulator.store import Key

_FIRST_BACKOFF: Final = 10
_LONGEST_BACKOFF: Final = 300


class Images(NodeAgent):
    """The images on the nodes."""

    async def available(self, key: Key, node: str) -> None:
        """Return when every image is present; until then, fail to pull the missing ones, with a growing back-off."""
        backoff = _FIRST_BACKOFF
        while missing := self._missing(key, node):
            field = container_field(self.pod(key))
            for image in sorted(set(missing.values())):
                self.say(key, node, Occurrence("Normal", "Pulling", f'Pulling image "{image}"', field))
            await self.pause(self.world.settings.delays.pull)
            await self.turn(node)
            failures = {name: _pull_failure(image) for name, image in missing.items()}
            for failure in sorted(set(failures.values())):
                self.say(key, node, Occurrence("Warning", "Failed", failure, field))
            self.report(key, pod_status.waiting(self.pod(key), failures, "ErrImagePull", self.world.now()))
            self.say(key, node, Occurrence("Warning", "Failed", "Error: ErrImagePull", field))
            await self.pause(self.world.settings.delays.pull)
            await self.turn(node)
            waits = {
                name: f'Back-off pulling image "{image}": ErrImagePull: {_pull_failure(image)}'
                for name, image in missing.items()
            }
            self.report(key, pod_status.waiting(self.pod(key), waits, "ImagePullBackOff", self.world.now()))
            self.say(key, node, Occurrence("Warning", "Failed", "Error: ImagePullBackOff", field))
            fault = "rollout-stalled" if self._stalls(self.pod(key)) else "image-missing"
            await self.patience(backoff, fault, node)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)
        for container in spec_of(self.pod(key))["containers"]:
            message = (
                f'Container image "{container["image"]}" already present on machine and can be accessed by the pod'
            )
            self.say(key, node, Occurrence("Normal", "Pulled", message, container_field(self.pod(key))))

    def _missing(self, key: Key, node: str) -> dict[str, str]:
        pod = self.pod(key)
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


def container_field(pod: Document) -> str:
    """Return the field of the pod's first container, as Events name it."""
    return f"spec.containers{{{spec_of(pod)['containers'][0]['name']}}}"


def _pull_failure(image: str) -> str:
    return (
        f'Failed to pull image "{image}": failed to pull and unpack image "{image}": failed to resolve reference '
        f'"{image}": not found'
    )
