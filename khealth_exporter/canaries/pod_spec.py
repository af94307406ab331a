"""A canary pod: small, restricted, spread over the nodes, and in no other pod's way."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from khealth_exporter.cluster import scheduling
from khealth_exporter.cluster.objects import Node, Pod, PodSpec
from khealth_exporter.cluster.scheduling import CORDON, Taint
from khealth_exporter.vocabulary.quantity import Quantity, amount
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

UNTOUCHED_LABELS = {
    "sidecar.istio.io/inject": "false",
    "istio.io/dataplane-mode": "none",
    "kuma.io/sidecar-injection": "disabled",
}
"""Labels of the same purpose, for the meshes that decide by label."""
# Istio: the webhook's objectSelector reads the label, and the label overrides the annotation (istio/istio,
#   manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml and pkg/kube/inject/inject.go);
#   ambient mode has a label of its own (istio.io/latest/docs/ambient/usage/add-workloads).
# Kuma: a label; older releases read the annotation (kumahq/kuma pkg/plugins/runtime/k8s/metadata/annotations.go).
# Linkerd: an annotation (linkerd.io/2/features/proxy-injection).
# Consul: an annotation (developer.hashicorp.com/consul/docs/k8s/annotations-and-labels).

CONTAINER, CANARY = "pause", "canary"
"""The only container that khealth asks for: one that sleeps, or one that measures."""
OURS = frozenset({CONTAINER, CANARY})
ASKED = "khealth.io/asked"
"""Annotation of a pod that a user's template describes: the names of its containers and volumes."""
OWN_VOLUME = "khealth-"
"""How the names of the volumes begin that khealth asks for."""

READY_PATH = "/ready"
"""Where a canary that others ask tells its kubelet that it answers."""

USER = 65535
"""The user of the default image."""

_LABEL = "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_PREFIX = r"([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?"
_RESERVED = r"^(app\.kubernetes\.io/managed-by|khealth\.io(/.*)?)$"
"""Labels by which khealth finds its objects."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The pods' image, and where they may run: nodeSelector, required node affinity, tolerations, one node or any."""

    image: str
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[scheduling.Toleration, ...] = ()
    node: str = ""
    terms: tuple[scheduling.NodeSelectorTerm, ...] | None = None
    """The terms of the required node affinity, but for the one that names `node`."""

    def seen(self, spec: PodSpec) -> "Placement":
        """Return where a pod may run that was created: admission may have added to what was asked for.

        A RuntimeClass adds tolerations and a selector; admission plug-ins, policies and webhooks may add anything.
        """
        terms = spec.affinity.terms
        if self.node and terms is not None:
            plain = any(not term.match_expressions for term in terms)
            terms = None if plain else tuple(msgspec.structs.replace(term, match_fields=()) for term in terms)
        return replace(self, selector=spec.node_selector, tolerations=tuple(spec.tolerations), terms=terms)

    def matches(self, node: Node) -> bool:
        """Tell whether selector and affinity allow a node."""
        labels = node.metadata.labels
        selected = self.selector.items() <= labels.items()
        return selected and (self.terms is None or any(term.holds(node.name, labels) for term in self.terms))

    def tolerates(self, taint: Taint) -> bool:
        """Tell whether the pods tolerate a taint."""
        return any(toleration.covers(taint) for toleration in self.tolerations)

    def repelled(self, node: Node) -> tuple[Taint, ...]:
        """Return the taints of a node that keep the pods away."""
        return tuple(taint for taint in node.spec.taints if taint.repels and not self.tolerates(taint))

    def closed(self, node: Node) -> bool:
        """Tell whether a node is out of service for the pods: a cordon can be tolerated, a removal cannot."""
        return node.going or (node.unschedulable and not self.tolerates(CORDON))

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
    operator: Literal["Equal", "Exists", "Lt", "Gt"] = "Equal"
    """Whether the value must be the same, or any will do; Lt and Gt compare integers, if the cluster supports it."""
    value: str = ""
    """The taint's value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty for every effect."""
    tolerationSeconds: int | None = None  # noqa: N815 - Kubernetes' own name
    """Seconds for which NoExecute is tolerated; without limit if not given."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.key and self.operator != "Exists":
            raise ValueError("a toleration without a key needs operator Exists")
        if self.operator == "Exists" and self.value:
            raise ValueError("a toleration with operator Exists has no value")
        if self.operator in ("Lt", "Gt") and not scheduling.is_integer(self.value):
            raise ValueError(f"a toleration with operator {self.operator} needs an integer as its value")
        if self.tolerationSeconds is not None and self.effect != "NoExecute":
            raise ValueError("tolerationSeconds needs effect NoExecute")
        return self


def _free(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if re.search(_RESERVED, key):
            raise ValueError(f"khealth itself sets the label {key}")
    return labels


def _without_reserved(schema: dict[str, Any]) -> None:
    schema["patternProperties"][_RESERVED] = False


Labels = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=f"^{_PREFIX}{_LABEL}$")],
        Annotated[str, StringConstraints(pattern=f"^({_LABEL})?$")],
    ],
    AfterValidator(_free),
    Field(json_schema_extra=_without_reserved),
]
"""Labels as Kubernetes allows them, without those by which khealth finds its objects."""


class Resources(Settings):
    """What the container requests, and what it may use at most."""

    requests: dict[str, Quantity] = Field(default_factory=lambda: {"cpu": "1m", "memory": "8Mi"})
    """Requests, by resource; a default request is lowered to a limit below it."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """Limits, by resource; by default none."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        for name, limit in self.limits.items():
            request = self.requests.get(name)
            if request is None or amount(request) <= amount(limit):
                continue
            if "requests" in self.model_fields_set:
                raise ValueError(f"the request of {name} ({request}) exceeds its limit ({limit})")
            self.requests[name] = limit
        return self


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
    labels: Labels = Field(default_factory=dict)
    """More labels of the pods, and of the object that creates them."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """More annotations of the pods."""
    resources: Resources = Resources()
    """The container's resources."""
    runAsUser: int | None = Field(default=USER, ge=1, le=2**31 - 1)  # noqa: N815
    """The user of the container; null leaves it to the image, or to OpenShift."""
    priorityClassName: str = ""  # noqa: N815
    """Their PriorityClass."""
    runtimeClassName: str = ""  # noqa: N815
    """Their RuntimeClass."""

    @property
    def placement(self) -> Placement:
        """The image, and where the pods may run."""
        tolerations = (scheduling.Toleration(t.key, t.operator, t.value, t.effect) for t in self.tolerations)
        return Placement(self.image, LINUX | self.nodeSelector, tuple(tolerations))

    @property
    def marks(self) -> dict[str, str]:
        """All annotations of the pods."""
        return UNTOUCHED | self.annotations

    def labelled(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return all labels of the pods; `own` are those by which khealth finds them."""
        return UNTOUCHED_LABELS | self.labels | dict(own)


def asked(pod: Pod) -> frozenset[str]:
    """Return the names of what khealth asked for in a pod: containers, and volumes of a user's template."""
    told = pod.metadata.annotations.get(ASKED)
    return frozenset(told.split(",")) if told else OURS


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
            **({} if settings.runAsUser is None else {"runAsUser": settings.runAsUser}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "imagePullPolicy": "IfNotPresent",
                "resources": {key: value for key, value in settings.resources.model_dump().items() if value},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        **{key: value for key, value in given.items() if value},
    }
