"""Why an attempt fails or stays inconclusive: one closed list."""

from enum import StrEnum
from typing import Self

from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.result import Result


class Reason(StrEnum):
    """Why an attempt does not succeed: a closed list.

    Each reason has the component to look at, and whether the cluster failed. `component` is None where several
    components can cause it: the step that failed then tells which one.
    """

    component: Component | None
    result: Result

    def __new__(cls, value: str, component: Component | None, result: Result = Result.FAILURE) -> Self:
        """Return a reason with its component and its result."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.component = component
        member.result = result
        return member

    API_UNREACHABLE = "api_unreachable", Component.API_SERVER
    API_TIMEOUT = "api_timeout", Component.API_SERVER
    API_ERROR = "api_error", Component.API_SERVER
    API_REJECTED = "api_rejected", Component.API_SERVER
    STALE_READ = "stale_read", Component.API_SERVER
    ONE_API_SERVER = "one_api_server", Component.API_SERVER
    WEBHOOK_FAILED = "webhook_failed", Component.API_SERVER
    ADMISSION_BYPASSED = "admission_bypassed", Component.API_SERVER
    POD_NOT_CREATED = "pod_not_created", Component.CONTROLLER_MANAGER
    POD_NOT_DELETED = "pod_not_deleted", Component.CONTROLLER_MANAGER
    STATUS_NOT_OBSERVED = "status_not_observed", Component.CONTROLLER_MANAGER
    ROLLOUT_STALLED = "rollout_stalled", Component.CONTROLLER_MANAGER
    ROLLOUT_UNAVAILABLE = "rollout_unavailable", Component.CONTROLLER_MANAGER
    JOB_FAILED = "job_failed", Component.CONTROLLER_MANAGER
    NOT_COLLECTED = "not_collected", Component.CONTROLLER_MANAGER
    WRONGLY_COLLECTED = "wrongly_collected", Component.CONTROLLER_MANAGER
    ENDPOINTS_NOT_PUBLISHED = "endpoints_not_published", Component.CONTROLLER_MANAGER
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
    CANARY_FAILED = "canary_failed", Component.NODE
    WRONG_RESULT = "wrong_result", Component.NODE
    CPU_STARVED = "cpu_starved", Component.NODE
    NOT_PROJECTED = "not_projected", Component.NODE
    IMAGE_PULL_FAILED = "image_pull_failed", Component.REGISTRY
    DNS_FAILED = "dns_failed", Component.DNS
    DNS_WRONG_ANSWER = "dns_wrong_answer", Component.DNS
    ONE_DNS_SERVER = "one_dns_server", Component.DNS
    NETWORK_UNREACHABLE = "network_unreachable", Component.NETWORK
    NETWORK_SLOW = "network_slow", Component.NETWORK
    MTU_BLACK_HOLE = "mtu_black_hole", Component.NETWORK
    SERVICE_NOT_PROGRAMMED = "service_not_programmed", Component.NETWORK
    POLICY_NOT_ENFORCED = "policy_not_enforced", Component.NETWORK
    POLICY_OVERBLOCKS = "policy_overblocks", Component.NETWORK
    EGRESS_FAILED = "egress_failed", Component.NETWORK
    VOLUME_NOT_PROVISIONED = "volume_not_provisioned", Component.STORAGE
    VOLUME_NOT_ATTACHED = "volume_not_attached", Component.STORAGE
    VOLUME_NOT_DELETED = "volume_not_deleted", Component.STORAGE
    DISK_FAILED = "disk_failed", Component.STORAGE
    DATA_CORRUPTED = "data_corrupted", Component.STORAGE
    CHECK_FAILED = "check_failed", None
    CHECK_SILENT = "check_silent", None
    SLOW = "slow", None

    FORBIDDEN = "forbidden", Component.KHEALTH, Result.INCONCLUSIVE
    PROXY_ERROR = "proxy_error", Component.KHEALTH, Result.INCONCLUSIVE
    THROTTLED = "throttled", Component.API_SERVER, Result.INCONCLUSIVE
    QUOTA_EXCEEDED = "quota_exceeded", Component.KHEALTH, Result.INCONCLUSIVE
    WATCH_INTERRUPTED = "watch_interrupted", Component.KHEALTH, Result.INCONCLUSIVE
    PROBER_STARVED = "prober_starved", Component.KHEALTH, Result.INCONCLUSIVE
    DISRUPTED = "disrupted", Component.NODE, Result.INCONCLUSIVE
    NO_NODE = "no_node", Component.NODE, Result.INCONCLUSIVE
    NO_SINGLE_CAUSE = "no_single_cause", Component.KHEALTH, Result.INCONCLUSIVE
    POD_GATED = "pod_gated", Component.KHEALTH, Result.INCONCLUSIVE
    DRY_RUN_UNSUPPORTED = "dry_run_unsupported", Component.KHEALTH, Result.INCONCLUSIVE
    NO_STORAGE_CLASS = "no_storage_class", Component.KHEALTH, Result.INCONCLUSIVE
    AGENTS_NOT_READY = "agents_not_ready", Component.KHEALTH, Result.INCONCLUSIVE
    AGENT_UNREACHABLE = "agent_unreachable", Component.KHEALTH, Result.INCONCLUSIVE
    AGENT_REFUSED = "agent_refused", Component.KHEALTH, Result.INCONCLUSIVE
    RECOVERING = "recovering", Component.API_SERVER, Result.INCONCLUSIVE
    INTERRUPTED = "interrupted", Component.KHEALTH, Result.INCONCLUSIVE
    UNKNOWN = "unknown", Component.KHEALTH, Result.INCONCLUSIVE
    INTERNAL_ERROR = "internal_error", Component.KHEALTH, Result.INCONCLUSIVE


COMMON_REASONS = (
    Reason.API_UNREACHABLE,
    Reason.API_TIMEOUT,
    Reason.API_ERROR,
    Reason.API_REJECTED,
    Reason.WEBHOOK_FAILED,
    Reason.FORBIDDEN,
    Reason.PROXY_ERROR,
    Reason.THROTTLED,
    Reason.QUOTA_EXCEEDED,
    Reason.WATCH_INTERRUPTED,
    Reason.PROBER_STARVED,
    Reason.RECOVERING,
    Reason.INTERRUPTED,
    Reason.INTERNAL_ERROR,
)
"""Reasons that every routine can meet, because each one talks to the API server."""

CLIENTS_SILENT = frozenset(
    {
        Reason.POD_NOT_CREATED,
        Reason.POD_NOT_DELETED,
        Reason.STATUS_NOT_OBSERVED,
        Reason.ROLLOUT_STALLED,
        Reason.ROLLOUT_UNAVAILABLE,
        Reason.NOT_COLLECTED,
        Reason.POD_NOT_SCHEDULED,
        Reason.POD_UNSCHEDULABLE,
        Reason.NODES_NOT_READY,
        Reason.ONE_NODE,
        Reason.KUBELET_SILENT,
        Reason.POD_NOT_STARTED,
        Reason.POD_NOT_READY,
        Reason.NOT_PROJECTED,
        Reason.ENDPOINTS_NOT_PUBLISHED,
        Reason.SERVICE_NOT_PROGRAMMED,
        Reason.VOLUME_NOT_PROVISIONED,
        Reason.VOLUME_NOT_ATTACHED,
        Reason.VOLUME_NOT_DELETED,
    }
)
"""Reasons that say that a client of the API server has not acted in time: it may not know yet that it is back."""
