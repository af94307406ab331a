"""A canary pod that runs `khealth canary` once, with what it mounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field

from khealth_exporter.canaries.pod_spec import CANARY, OWN_VOLUME, PodSettings, Resources, pod_spec


class CanarySettings(PodSettings):
    """What the canary pods are that measure something, in Kubernetes' own words."""

    image: str = ""
    """Another image than `canary.image`; it must be of the same version of khealth."""
    resources: Resources = Field(
        default_factory=lambda: Resources(requests={"cpu": "10m", "memory": "32Mi"})  # what CPython needs
    )
    """The container's resources."""

    def with_image(self, image: str) -> Self:
        """Return the settings with the image of canaries, unless they name another."""
        return self if self.image else self.model_copy(update={"image": image})


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of a canary, and where the container finds it."""

    name: str
    path: str
    volume: Mapping[str, object]
    """What it is: `{"emptyDir": {}}`, for instance."""


def canary_spec(
    settings: CanarySettings,
    labels: Mapping[str, str],
    task: Sequence[str],
    mounts: Sequence[Mount] = (),
    more: Mapping[str, object] | None = None,
) -> Mapping[str, object]:
    """Return the specification of a canary that runs `khealth canary` with these arguments, once.

    `more` are further fields of its container.
    """
    spec: dict[str, Any] = {**pod_spec(settings, labels)}
    (container,) = spec["containers"]
    command = {"name": CANARY, "command": ["python3", "-m", "khealth_exporter.canary", *task]}
    places = [{"name": f"{OWN_VOLUME}{mount.name}", "mountPath": mount.path} for mount in mounts]
    mounted = {"volumeMounts": places} if places else {}
    spec["containers"] = [{**container, **command, **mounted, **(more or {})}]
    volumes = [{"name": f"{OWN_VOLUME}{mount.name}", **mount.volume} for mount in mounts]
    # Its group may write what is mounted. Without a user of our own, OpenShift chooses the group too.
    group = {"fsGroup": settings.runAsUser} if mounts and settings.runAsUser else {}
    own = {"securityContext": {**spec["securityContext"], **group}}
    return {**spec, "restartPolicy": "Never", **own, **({"volumes": volumes} if volumes else {})}
