"""The whole vocabulary: what routines say, runners pass on and collectors count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, Self


class Component(StrEnum):
    """A part of the cluster that can be to blame."""

    API_SERVER = "api_server"
    CONTROLLER_MANAGER = "controller_manager"
    SCHEDULER = "scheduler"
    NODE = "node"
    REGISTRY = "registry"
    DNS = "dns"
    NETWORK = "network"
    STORAGE = "storage"
    KHEALTH = "khealth"


class Result(StrEnum):
    """How a phase or an attempt ended; inconclusive says nothing of the cluster."""

    SUCCESS = "success"
    FAILURE = "failure"
    INCONCLUSIVE = "inconclusive"


class Reason(StrEnum):
    """Where the way broke: a closed list, each with the component to look at and whether the cluster failed."""

    component: Component
    result: Result

    def __new__(cls, value: str, component: Component, result: Result = Result.FAILURE) -> Self:
        """Make one reason that carries its component and the result that it stands for."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.component = component
        member.result = result
        return member

    API_UNREACHABLE = "api_unreachable", Component.API_SERVER
    API_TIMEOUT = "api_timeout", Component.API_SERVER
    API_ERROR = "api_error", Component.API_SERVER
    API_REJECTED = "api_rejected", Component.API_SERVER
    WEBHOOK_FAILED = "webhook_failed", Component.API_SERVER
    POD_NOT_CREATED = "pod_not_created", Component.CONTROLLER_MANAGER
    POD_NOT_DELETED = "pod_not_deleted", Component.CONTROLLER_MANAGER
    POD_NOT_SCHEDULED = "pod_not_scheduled", Component.SCHEDULER
    POD_UNSCHEDULABLE = "pod_unschedulable", Component.SCHEDULER
    NODES_NOT_READY = "nodes_not_ready", Component.NODE
    ONE_NODE = "one_node", Component.NODE
    KUBELET_SILENT = "kubelet_silent", Component.NODE
    SANDBOX_FAILED = "sandbox_failed", Component.NODE
    POD_NOT_STARTED = "pod_not_started", Component.NODE
    POD_CRASHED = "pod_crashed", Component.NODE
    POD_NOT_READY = "pod_not_ready", Component.NODE
    POD_LOST = "pod_lost", Component.NODE
    IMAGE_PULL_FAILED = "image_pull_failed", Component.REGISTRY
    DNS_FAILED = "dns_failed", Component.DNS
    DNS_WRONG_ANSWER = "dns_wrong_answer", Component.DNS
    NETWORK_UNREACHABLE = "network_unreachable", Component.NETWORK
    NETWORK_SLOW = "network_slow", Component.NETWORK
    SERVICE_NOT_PROGRAMMED = "service_not_programmed", Component.NETWORK
    VOLUME_NOT_PROVISIONED = "volume_not_provisioned", Component.STORAGE
    DISK_FAILED = "disk_failed", Component.STORAGE
    DATA_CORRUPTED = "data_corrupted", Component.STORAGE
    JOB_FAILED = "job_failed", Component.CONTROLLER_MANAGER
    SLOW = "slow", Component.NODE

    FORBIDDEN = "forbidden", Component.KHEALTH, Result.INCONCLUSIVE
    THROTTLED = "throttled", Component.API_SERVER, Result.INCONCLUSIVE
    QUOTA_EXCEEDED = "quota_exceeded", Component.KHEALTH, Result.INCONCLUSIVE
    WATCH_INTERRUPTED = "watch_interrupted", Component.KHEALTH, Result.INCONCLUSIVE
    PROBER_STARVED = "prober_starved", Component.KHEALTH, Result.INCONCLUSIVE
    DISRUPTED = "disrupted", Component.NODE, Result.INCONCLUSIVE
    NO_NODE = "no_node", Component.NODE, Result.INCONCLUSIVE
    INTERRUPTED = "interrupted", Component.KHEALTH, Result.INCONCLUSIVE
    INTERNAL_ERROR = "internal_error", Component.KHEALTH, Result.INCONCLUSIVE


class Quality(StrEnum):
    """How far a measured step can be trusted, from best to worst; a sample's is the worst of its steps'."""

    EXACT = "exact"
    COLD = "cold"
    DEGRADED = "degraded"
    DISCARDED = "discarded"

    @property
    def rank(self) -> int:
        """The place in the order from best (0) to worst."""
        return list(Quality).index(self)


class Phase(StrEnum):
    """A part of an attempt; each that began makes one Event."""

    INIT = "init"
    POLL = "poll"
    CLEANUP = "cleanup"


@dataclass(frozen=True, slots=True)
class Step:
    """A leg of the way that is timed, and the component that it measures."""

    name: str
    component: Component
    meaning: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One step's duration in seconds, and how sure of it khealth is.

    `uncertainty` is in seconds: the truth lies within `seconds` ± `uncertainty`. A `censored` one had not ended when
    its deadline came: `seconds` is then the time waited.
    """

    step: str
    seconds: float
    uncertainty: float
    quality: Quality = Quality.EXACT
    censored: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured of one object; `observed` maps a milestone to its time in Unix seconds, None if not reached.

    Samples of one uid that different phases of an attempt record are parts of one.
    """

    object: str
    uid: str
    node: str | None
    measurements: tuple[Measurement, ...]
    observed: Mapping[str, float | None]

    @property
    def quality(self) -> Quality:
        """The worst quality of its measurements."""
        return max((m.quality for m in self.measurements), key=lambda quality: quality.rank, default=Quality.EXACT)

    @property
    def uncertainty(self) -> float:
        """The largest uncertainty of its measurements, in seconds."""
        return max((m.uncertainty for m in self.measurements), default=0.0)

    def joined(self, later: "Sample") -> "Sample":
        """Return one sample with what both say of the same object; a milestone that was reached stays reached."""
        known = {name: time for name, time in later.observed.items() if time is not None}
        return Sample(
            self.object,
            self.uid,
            later.node or self.node,
            self.measurements + later.measurements,
            {**self.observed, **known},
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an object looked like when an attempt failed, in lines for people."""

    kind: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt says of the cluster; an attempt has exactly one."""

    result: Result
    reason: Reason | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One phase of one attempt has ended.

    `verdict` is set on exactly one Event of an attempt: the first that did not succeed, or else cleanup's. `began` is
    the attempt's beginning and `ended` the phase's end, both in Unix seconds; `duration` is the phase's, in seconds.
    """

    module: str
    routine: str
    attempt: int
    phase: Phase
    result: Result
    began: float
    ended: float
    duration: float
    reason: Reason | None = None
    note: str = ""
    verdict: Verdict | None = None
    measurements: tuple[Measurement, ...] = ()
    samples: tuple[Sample, ...] = ()
    evidence: tuple[Evidence, ...] = ()


class Failed(Exception):  # noqa: N818 - it reads as what happened: `raise Failed(reason, note)`
    """What a routine raises to say that, and why, its exercise did not succeed.

    A cleanup that raises it is tried again, unless the failure is `settled`: all is gone, but not as it should have.
    """

    def __init__(
        self, reason: Reason, note: str = "", evidence: tuple[Evidence, ...] = (), *, settled: bool = False
    ) -> None:
        super().__init__(f"{reason}: {note}" if note else str(reason))
        self.reason, self.note, self.evidence, self.settled = reason, note, evidence, settled


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """A right that khealth needs, in RBAC's words; an optional one only sharpens a verdict or makes a convenience.

    One that is `outside` serves a khealth that runs beside the cluster; in a pod of it nobody has to grant it.
    """

    verb: str
    resource: str
    group: str = ""
    scope: Literal["namespace", "cluster"] = "namespace"
    optional: bool = field(default=False, compare=False)
    outside: bool = field(default=False, compare=False)
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Denied:
    """A right that khealth lacks: the API server refused a request for want of it, and has not granted one since.

    `namespace` is empty for what belongs to none. `since` and `last` are when it was refused for the first and for the
    last time, in Unix seconds; `why` is what the right is for, `note` what the API server said. An `optional` one only
    makes verdicts less sharp.
    """

    verb: str
    resource: str
    namespace: str
    since: float
    last: float
    optional: bool = False
    why: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"khealth may not {right(self.verb, self.resource, self.namespace)}"


def right(verb: str, resource: str, namespace: str) -> str:
    """Name a right in RBAC's words; without a namespace it is one of the whole cluster."""
    return f"{verb} {resource} {f'in namespace {namespace}' if namespace else 'at the cluster scope'}"


class Telemetry(Protocol):
    """Where khealth's figures about itself go; times in seconds."""

    def request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count a request; `code` is the HTTP status, or `none` where no answer came."""

    def watch_restarted(self, cause: str) -> None:
        """Count a watch that had to be opened again, or its list taken again."""

    def watch_lag(self, seconds: float) -> None:
        """Take a bound of how late the watch shows what was written."""

    def loop_busy(self, seconds: float) -> None:
        """Take how long one iteration kept the event loop busy."""

    def swept(self, kind: str) -> None:
        """Count an object of a dead run that was deleted."""

    def objects(self, kind: str, count: int) -> None:
        """Set how many objects of a kind khealth knows to exist in its namespace."""
