"""What a check runs: the user's own Pod or Job, in Kubernetes' own words, and the manifest that comes of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from khealth_exporter.canaries.pod_spec import (
    ASKED,
    UNTOUCHED,
    UNTOUCHED_LABELS,
    Labels,
    Placement,
)
from khealth_exporter.cluster.kinds import JOB
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.vocabulary.settings import Settings

_Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]

Deadline = Annotated[int, Field(ge=1)]


class _Open(Settings):
    """A part of a Kubernetes object: keys that khealth does not know go to the API server as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True, defer_build=True)

    @property
    def plain(self) -> dict[str, Any]:
        """What the user wrote, as JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)


class CheckContainer(_Open):
    """A container, in Kubernetes' own words."""

    name: _Word
    """Its name."""
    image: Annotated[str, StringConstraints(min_length=1)]
    """Its image."""


def _some(found: tuple[CheckContainer, ...]) -> tuple[CheckContainer, ...]:
    if not found:
        raise ValueError("must not be empty")
    return found


class CheckPod(_Open):
    """A pod's specification, in Kubernetes' own words."""

    containers: Annotated[tuple[CheckContainer, ...], AfterValidator(_some)]
    """The containers: the check is over when all of them have ended, or one with an error."""
    initContainers: tuple[CheckContainer, ...] = ()  # noqa: N815 - Kubernetes' own name
    """Containers that run before."""
    volumes: tuple[dict[str, Any], ...] = ()
    """Volumes to mount."""
    restartPolicy: Literal["Never"] = "Never"  # noqa: N815
    """A check runs once in an attempt."""
    terminationGracePeriodSeconds: Annotated[int, Field(ge=0, le=3600)] | None = None  # noqa: N815
    """Seconds from the pod's deletion until its containers are killed; at most a quarter of `timeout`. By default 1;
    with `protocol: kuberhealthy`, 30 or that quarter."""
    activeDeadlineSeconds: Deadline | None = None  # noqa: N815
    """Seconds from the pod's start until its kubelet ends it; at least `timeout`."""


class CheckMetadata(Settings):
    """Labels and annotations; khealth chooses the name."""

    labels: Labels = Field(default_factory=dict)
    """Labels, without those by which khealth finds its objects."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""


class JobPod(Settings):
    """The template of a Job's pod."""

    metadata: CheckMetadata = CheckMetadata()
    """The pod's labels and annotations."""
    spec: CheckPod
    """The pod's specification."""


class CheckJob(_Open):
    """A Job's specification, in Kubernetes' own words: one pod, once."""

    template: JobPod
    """The Job's pod."""
    completions: Literal[1] = 1
    """One pod has to succeed."""
    parallelism: Literal[1] = 1
    """One pod at a time."""
    backoffLimit: Literal[0] = 0  # noqa: N815
    """A pod that fails is not replaced: the next attempt is the next try."""
    activeDeadlineSeconds: Deadline | None = None  # noqa: N815
    """Seconds until the controller manager ends the Job; at least `timeout`, and by default khealth's own limit."""
    suspend: Literal[False] = False
    """A suspended Job would never run; suspend the routine instead."""


class PodTemplate(Settings):
    """A Pod as a check."""

    kind: Literal["Pod", "Job"] = "Pod"
    """Pod."""
    apiVersion: Literal["v1"] = "v1"  # noqa: N815
    """Its version."""
    metadata: CheckMetadata = CheckMetadata()
    """Its labels and annotations."""
    spec: CheckPod
    """Its specification."""

    @property
    def pod(self) -> CheckPod:
        """The pod's specification."""
        return self.spec

    @property
    def deadlines(self) -> Iterable[int | None]:
        """Seconds after which Kubernetes itself ends the check."""
        return (self.spec.activeDeadlineSeconds,)

    def manifest(
        self, ownership: Ownership, environment: Mapping[str, str], grace: int, _longest: float
    ) -> Mapping[str, object]:
        """Return what is sent to the API server; the pod has `grace` seconds to end."""
        marks = _marks([self.metadata], self.spec, ownership)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": ownership.metadata() | marks,
            "spec": _pod_spec(self.spec, environment, grace),
        }


class JobTemplate(Settings):
    """A Job as a check."""

    kind: Literal["Job"]
    """Job."""
    apiVersion: Literal["batch/v1"] = "batch/v1"  # noqa: N815
    """Its version."""
    metadata: CheckMetadata = CheckMetadata()
    """Its labels and annotations; its pod gets them too."""
    spec: CheckJob
    """Its specification."""

    @property
    def pod(self) -> CheckPod:
        """The pod's specification."""
        return self.spec.template.spec

    @property
    def deadlines(self) -> Iterable[int | None]:
        """Seconds after which Kubernetes itself ends the check."""
        return self.spec.activeDeadlineSeconds, self.pod.activeDeadlineSeconds

    def manifest(
        self, ownership: Ownership, environment: Mapping[str, str], grace: int, longest: float
    ) -> Mapping[str, object]:
        """Return what is sent to the API server: a Job that ends after `longest` seconds at most."""
        own, inner = self.spec, self.spec.template
        template = {
            "metadata": _marks([self.metadata, inner.metadata], inner.spec, ownership),
            "spec": _pod_spec(inner.spec, environment, grace),
        }
        fixed = {"completions": 1, "backoffLimit": 0, "template": template}
        return {
            "apiVersion": JOB.api_version,
            "kind": JOB.name,
            "metadata": ownership.metadata() | _marks([self.metadata], inner.spec, ownership),
            "spec": {"activeDeadlineSeconds": math.ceil(longest), **own.plain, **fixed},
        }


def _kind(value: object) -> str:
    found = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "Pod")
    return "Job" if found == "Job" else "Pod"


Template = Annotated[
    Annotated[PodTemplate, Tag("Pod")] | Annotated[JobTemplate, Tag("Job")],
    Discriminator(_kind),
]
"""A Pod, or a Job, that is a check."""


def containers(template: PodTemplate | JobTemplate) -> frozenset[str]:
    """Return the names of the containers that have to end."""
    return frozenset(container.name for container in template.pod.containers)


def placement(template: PodTemplate | JobTemplate) -> Placement:
    """Return the first container's image, and the nodes that the pod may run on as far as its selector says."""
    selector = template.pod.plain.get("nodeSelector")
    return Placement(template.pod.containers[0].image, selector if isinstance(selector, dict) else {})


def _marks(given: Iterable[CheckMetadata], spec: CheckPod, ownership: Ownership) -> dict[str, object]:
    """Return labels and annotations: meshes stay away unless the user wants them, and khealth's own always win."""
    labels, annotations = dict(UNTOUCHED_LABELS), dict(UNTOUCHED)
    for one in given:
        labels |= one.labels
        annotations |= one.annotations
    asked = [entry.name for entry in (*spec.containers, *spec.initContainers)]
    asked += [str(volume.get("name", "")) for volume in spec.volumes]
    own = {**ownership.annotations, ASKED: ",".join(dict.fromkeys(asked))}
    return {"labels": labels | dict(ownership.labels), "annotations": annotations | own}


def _pod_spec(spec: CheckPod, environment: Mapping[str, str], grace: int) -> Mapping[str, object]:
    grown = {
        key: [_with(container, environment) for container in found]
        for key, found in (("containers", spec.containers), ("initContainers", spec.initContainers))
        if found
    }
    own = {"restartPolicy": spec.restartPolicy, "terminationGracePeriodSeconds": grace}
    return {**spec.plain, **own, **grown}


def _with(container: CheckContainer, environment: Mapping[str, str]) -> Mapping[str, object]:
    """Return a container with these variables; they replace the user's of the same names."""
    plain = container.plain
    given: Sequence[Any] = plain.get("env") or ()
    kept = [entry for entry in given if not (isinstance(entry, dict) and entry.get("name") in environment)]
    env = [*kept, *({"name": name, "value": value} for name, value in environment.items())]
    return {**plain, "env": env} if env else plain
