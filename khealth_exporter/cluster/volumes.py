"""The few fields that khealth reads of claims, volumes and storage classes."""

from msgspec import field

from khealth_exporter.cluster.objects import Condition, KubernetesObject, Lenient

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
"""Annotation of the class that claims without a class get."""


class ClaimSpec(Lenient, frozen=True):
    """What a claim was asked to be."""

    storage_class_name: str = ""
    volume_name: str = ""
    access_modes: list[str] = field(default_factory=list)


class ClaimStatus(Lenient, frozen=True):
    """How far a claim has come."""

    phase: str = ""
    conditions: list[Condition] = field(default_factory=list)


class PersistentVolumeClaim(KubernetesObject, frozen=True):
    """A PersistentVolumeClaim."""

    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def bound(self) -> bool:
        """Whether it has a volume."""
        return self.status.phase == "Bound" and bool(self.spec.volume_name)


class VolumeSpec(Lenient, frozen=True):
    """What becomes of a volume once it is released."""

    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""


class VolumeStatus(Lenient, frozen=True):
    """How a volume is."""

    phase: str = ""
    reason: str = ""
    message: str = ""


class PersistentVolume(KubernetesObject, frozen=True):
    """A PersistentVolume."""

    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


class StorageClass(KubernetesObject, frozen=True):
    """A StorageClass."""

    provisioner: str = ""
    reclaim_policy: str = ""
    volume_binding_mode: str = ""

    @property
    def default(self) -> bool:
        """Whether claims without a class get this one."""
        return self.metadata.annotations.get(DEFAULT_CLASS) == "true"

    @property
    def waits(self) -> bool:
        """Whether a volume is provisioned only once a pod that uses the claim has a node."""
        return self.volume_binding_mode == "WaitForFirstConsumer"
