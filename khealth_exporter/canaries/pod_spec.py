"""A canary pod: small, restricted, spread over the nodes, and in no other pod's way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from khealth_exporter.vocabulary.settings import Settings

PAUSE = "registry.k8s.io/pause:3.10.1"
"""The smallest image that every cluster has: a static program that sleeps."""

LINUX = {"kubernetes.io/os": "linux"}
"""Label of the nodes that can run it."""

UNTOUCHED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
    "kuma.io/sidecar-injection": "disabled",
}
"""Annotations: safe to evict, and free of every mesh's sidecar."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The pods' image, and where they may run: nodeSelector, tolerated taints, and one node or any."""

    image: str
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerated: tuple[str, ...] = ()
    node: str = ""

    @property
    def affinity(self) -> Mapping[str, object]:
        """Return the affinity that leaves the scheduler no other node, so that it still binds the pod itself."""
        if not self.node:
            return {}
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [self.node]}]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        return {"affinity": {"nodeAffinity": required}}


class LocalReference(Settings):
    """An object of the same namespace."""

    name: Annotated[str, StringConstraints(min_length=1)]
    """Its name."""


class Toleration(Settings):
    """A taint that the pods tolerate, as in a pod's specification."""

    key: str = ""
    """The taint's key; empty, with operator Exists, for every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the value must be the same, or any will do."""
    value: str = ""
    """The taint's value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty for every effect."""
    tolerationSeconds: int | None = None  # noqa: N815 - Kubernetes' own name
    """Seconds for which NoExecute is tolerated; without limit if not given."""


class PodSettings(Settings):
    """What the canary pods are, in Kubernetes' own words."""

    image: Annotated[str, StringConstraints(min_length=1)] = PAUSE
    """A mirror's or a digest's name where the default cannot be pulled."""
    imagePullSecrets: tuple[LocalReference, ...] = ()  # noqa: N815 - Kubernetes' own name
    """Secrets of the namespace to pull it with."""
    nodeSelector: dict[str, str] = Field(default_factory=dict)  # noqa: N815
    """Labels of the nodes to run on."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that the pods tolerate."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """More annotations of the pods."""
    priorityClassName: str = ""  # noqa: N815
    """Their PriorityClass."""
    runtimeClassName: str = ""  # noqa: N815
    """Their RuntimeClass."""

    @property
    def placement(self) -> Placement:
        """The image, and where the pods may run."""
        tolerated = tuple(toleration.key for toleration in self.tolerations)
        return Placement(self.image, LINUX | self.nodeSelector, tolerated)

    @property
    def marks(self) -> dict[str, str]:
        """All annotations of the pods."""
        return UNTOUCHED | self.annotations


def pod_spec(settings: PodSettings, labels: Mapping[str, str]) -> Mapping[str, object]:
    """Return the specification of a canary with these labels: it passes the *restricted* Pod Security Standard."""
    given = settings.model_dump(include={"imagePullSecrets", "priorityClassName", "runtimeClassName"})
    tolerations = [t.model_dump(exclude_defaults=True) for t in settings.tolerations]
    return {
        # Zero would take the pod away without its kubelet's doing, which is a part of what is measured.
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": settings.placement.selector,
        "tolerations": tolerations,
        # Only a wish: a broken node looks least loaded, and would attract them all.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65535,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "pause",
                "image": settings.image,
                "imagePullPolicy": "IfNotPresent",
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        **{key: value for key, value in given.items() if value},
    }
