"""What may befall a cluster or khealth itself, each with the one alert that tells of it; and what nobody is told of."""

from collections.abc import Sequence
from dataclasses import dataclass

from histories import WELL, Attempt, Life, failed

from khealth_exporter.canaries.visit import FAILING
from khealth_exporter.core.agents import AgentCount
from khealth_exporter.routines.api import CERTIFICATE
from khealth_exporter.vocabulary.reading import Reading
from khealth_exporter.vocabulary.sample import Quality

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Disease:
    """A history, and what fires in it: (alert, severity, component)."""

    lives: Sequence[Life]
    told: Sequence[tuple[str, str, str]] = ()


def _one(*attempts: Attempt, **life: object) -> list[Life]:
    """Return the history of one routine."""
    return [Life({"rcscheduler": attempts}, **life)]  # type: ignore[arg-type]


def _outage(reason: str, alert: str, component: str, severity: str = "critical") -> Disease:
    """Return ten well attempts, twelve that fail, and health again."""
    return Disease(_one(*WELL * 10, *failed(reason) * 12, *WELL * 40), [(alert, severity, component)])


def _check(severity: str, reasons: Sequence[str], alert: str = "") -> Disease:
    """Return a user's check that fails for these reasons in turn, next to one that is well; and health again."""
    failing = [failed(reason) for _ in range(12 // len(reasons)) for reason in reasons]
    routines = {f"custom-{severity}/shop": [*WELL * 10, *failing, *WELL * 40], "custom-critical/mail": WELL * 60}
    return Disease([Life(routines)], [(alert, severity, "workload")] if alert else [])


def _replica(number: int, *, leader: bool | None = None, **life: object) -> Life:
    """Return the life of one replica of several, of which the first is the leader."""
    leads = number == 0 if leader is None else leader
    routines = {"rcscheduler": WELL * 60} if leads else {}
    return Life(routines, instance=f"10.0.0.{number}:8080", pod=f"khealth-{number}", leader=leads, **life)  # type: ignore[arg-type]


API, POD = "control-plane/api", "workloads/pod"
_FAILING, _NONE_FAILING = Reading(FAILING, 2.0), Reading(FAILING, 0.0)


def _together(*, rcscheduler: Attempt = WELL, api: Attempt = WELL, pod: Attempt = WELL) -> Life:
    """Return the history of three routines that meet one fault: ten successes, twelve such attempts, and health again."""
    healthy = Attempt(readings=(_NONE_FAILING,))
    return Life(
        {
            "rcscheduler": [*WELL * 10, *rcscheduler * 12, *WELL * 40],
            API: [*WELL * 10, *api * 12, *WELL * 40],
            POD: [*healthy * 10, *pod * 12, *healthy * 40],
        }
    )


_TIMEOUT, _UNBOUND, _SILENT = failed("api_timeout"), failed("pod_not_scheduled"), failed("kubelet_silent")
TOGETHER: dict[str, Disease] = {
    # One cause is one page, however many routines meet it, and no routine blames a healthy component.
    "api-server-of-three": Disease(
        [_together(rcscheduler=_TIMEOUT, api=_TIMEOUT, pod=_TIMEOUT)],
        [("KhealthApiServerBroken", "critical", "api_server")],
    ),
    "scheduler-of-two": Disease(
        [_together(rcscheduler=_UNBOUND, pod=_UNBOUND)], [("KhealthSchedulerBroken", "critical", "scheduler")]
    ),
    "kubelets-of-two": Disease(
        [_together(rcscheduler=_SILENT, pod=failed("kubelet_silent", _FAILING))],
        [("KhealthNodesBroken", "critical", "node")],
    ),
    "registry-of-two": Disease(
        [_together(rcscheduler=failed("image_pull_failed"), pod=failed("image_pull_failed"))],
        [("KhealthRegistryBroken", "critical", "registry")],
    ),
    "controller-manager-of-one": Disease(
        [_together(rcscheduler=failed("pod_not_created"))],
        [("KhealthControllerManagerBroken", "critical", "controller_manager")],
    ),
    "stale-reads-of-one": Disease(
        [_together(api=failed("stale_read"))], [("KhealthApiServerBroken", "critical", "api_server")]
    ),
    "one-api-server-of-one": Disease(
        [_together(api=failed("one_api_server"))], [("KhealthOneApiServer", "warning", "api_server")]
    ),
    "one-broken-node": Disease(
        [_together(rcscheduler=failed("one_node"), pod=failed("one_node", Reading(FAILING, 1.0)))],
        [("KhealthOneNode", "warning", "node")],
    ),
    "slow-api-of-three": Disease(
        [Life({"rcscheduler": [*WELL * 10, *Attempt(steps={"accept": 3.0}) * 40], API: WELL * 50, POD: WELL * 50})],
        [("KhealthApiSlow", "warning", "api_server")],
    ),
    # A step `create` that is slow, and measures the controller manager, is no slow write to the API server.
    "slow-controller-manager": Disease(
        [Life({"rcscheduler": [*WELL * 10, *Attempt(steps={"create": 3.0}) * 40], API: WELL * 50})]
    ),
    # The rotation visits healthy nodes between two visits of the broken one, so no two failures are in a row.
    "one-broken-node-between-others": Disease(
        [
            Life(
                {
                    "rcscheduler": WELL * 50,
                    POD: [
                        *Attempt(readings=(_NONE_FAILING,)) * 10,
                        *[failed("one_node", Reading(FAILING, 1.0)), WELL] * 8,
                        *Attempt(readings=(_NONE_FAILING,)) * 24,
                    ],
                }
            )
        ],
        [("KhealthOneNode", "warning", "node")],
    ),
}
"""Of rcscheduler, control-plane/api and workloads/pod side by side; within the hour."""

_PODS = ("rcscheduler/rcscheduler", POD, "workloads/job", "workloads/deployment", "storage/disk", "storage/volume")
_OBJECTS = ("control-plane/controllers", "workloads/collect", "workloads/job", "workloads/deployment")


def _of_many(failing: dict[str, str]) -> Life:
    """Return the history of routines that fail for these reasons, twelve times, and are healthy before and after."""
    return Life({name: [*WELL * 10, *failed(reason) * 12, *WELL * 30] for name, reason in failing.items()})


OF_TEN: dict[str, Disease] = {
    "scheduler-of-all": Disease(
        [_of_many(dict.fromkeys(_PODS, "pod_not_scheduled"))], [("KhealthSchedulerBroken", "critical", "scheduler")]
    ),
    "controller-manager-of-all": Disease(
        [
            _of_many(
                dict(zip(_OBJECTS, ("pod_not_created", "not_collected", "job_failed", "rollout_stalled"), strict=True))
                | {"rcscheduler/rcscheduler": "pod_not_created"}
            )
        ],
        [("KhealthControllerManagerBroken", "critical", "controller_manager")],
    ),
    "storage-of-all": Disease(
        [_of_many({"storage/disk": "disk_failed", "storage/volume": "volume_not_attached"})],
        [("KhealthStorageBroken", "critical", "storage")],
    ),
}
"""Of all routines that a component takes down; within the hour."""

QUICK: dict[str, Disease] = {
    # A component is broken.
    "api-server": _outage("api_unreachable", "KhealthApiServerBroken", "api_server"),
    "refusing": _outage("webhook_failed", "KhealthApiServerRefuses", "api_server"),
    "controller-manager": _outage("pod_not_created", "KhealthControllerManagerBroken", "controller_manager"),
    "scheduler": _outage("pod_not_scheduled", "KhealthSchedulerBroken", "scheduler"),
    "nodes": _outage("kubelet_silent", "KhealthNodesBroken", "node"),
    "registry": _outage("image_pull_failed", "KhealthRegistryBroken", "registry"),
    "dns": _outage("dns_failed", "KhealthDnsBroken", "dns"),
    "network": _outage("network_unreachable", "KhealthNetworkBroken", "network"),
    "storage": _outage("volume_not_provisioned", "KhealthStorageBroken", "storage"),
    "corrupted": _outage("data_corrupted", "KhealthIntegrityViolated", "storage"),
    "corrupted-once": Disease(
        _one(*WELL * 10, failed("wrong_result"), *WELL * 40), [("KhealthIntegrityViolated", "critical", "node")]
    ),
    "starved": Disease(
        _one(*WELL * 10, *failed("cpu_starved") * 30, *WELL * 10), [("KhealthCpuStarved", "warning", "node")]
    ),
    "check-critical": _check("critical", ("check_failed", "check_silent"), "KhealthCheckCritical"),
    "check-warning": _check("warning", ("check_silent",), "KhealthCheckFailed"),
    "check-info": _check("info", ("check_failed",)),
    # What keeps its pod from starting is no failure of the check.
    "check-without-image": Disease(
        [Life({"custom-critical/shop": [*WELL * 10, *failed("image_pull_failed") * 12, *WELL * 40]})],
        [("KhealthRegistryBroken", "critical", "registry")],
    ),
    # One failure is none, whatever comes before and after it.
    "check-failing-now-and-then": Disease(
        [Life({"custom-critical/shop": [*([*WELL * 4, failed("check_failed")] * 10)]})]
    ),
    "no-room": _outage("pod_unschedulable", "KhealthPodUnschedulable", "scheduler", "warning"),
    "one-node": _outage("one_node", "KhealthOneNode", "node", "warning"),
    "stale-read": _outage("stale_read", "KhealthApiServerBroken", "api_server"),
    "one-api-server": _outage("one_api_server", "KhealthOneApiServer", "api_server", "warning"),
    "one-dns-server": _outage("one_dns_server", "KhealthOneDnsServer", "dns", "warning"),
    "certificate": Disease(
        _one(*WELL * 60, readings=(Reading(CERTIFICATE, 13 * 86400.0),)),
        [("KhealthApiCertificateExpires", "warning", "api_server")],
    ),
    "failing-nodes": Disease(
        _one(*WELL * 60, readings=(Reading(FAILING, 2.0),)), [("KhealthOneNode", "warning", "node")]
    ),
    "quota": _outage("quota_exceeded", "KhealthQuotaExceeded", "khealth", "warning"),
    # An objective is missed.
    # Who burns the budget fast also burns it slowly: the ticket outlasts the page, which silences it meanwhile.
    "flapping": Disease(
        _one(*[WELL, failed("sandbox_failed")] * 25, *WELL * 10),
        [("KhealthErrorBudgetBurn", "critical", "node"), ("KhealthErrorBudgetBurnSlow", "warning", "node")],
    ),
    "slow-scheduler": Disease(
        _one(*WELL * 10, *Attempt(steps={"schedule": 7.0}) * 40), [("KhealthPodStartupSlow", "warning", "scheduler")]
    ),
    "slow-nodes": Disease(
        _one(*WELL * 10, *[WELL, Attempt(steps={"start": 7.0})] * 20), [("KhealthPodStartupSlow", "warning", "node")]
    ),
    "slow-api": Disease(
        _one(*WELL * 10, *Attempt(steps={"accept": 3.0}) * 40), [("KhealthApiSlow", "warning", "api_server")]
    ),
    # A share that is slow beside attempts that never came as far as a pod.
    "slow-nodes-beside": Disease(
        _one(*WELL * 10, *[Attempt(steps={"start": 7.0}), WELL, failed("api_timeout"), WELL] * 10),
        [
            ("KhealthPodStartupSlow", "warning", "node"),
            ("KhealthErrorBudgetBurn", "critical", "api_server"),
            ("KhealthErrorBudgetBurnSlow", "warning", "api_server"),
        ],
    ),
    # Both of the nodes' steps together are the longest, though each alone is not.
    "slow-nodes-in-two-steps": Disease(
        _one(*WELL * 10, *Attempt(steps={"schedule": 1.9, "sandbox": 1.8, "start": 1.8}) * 40),
        [("KhealthPodStartupSlow", "warning", "node")],
    ),
    "overloaded": Disease(
        _one(*WELL * 10, *failed("throttled") * 20, *WELL * 20),
        [("KhealthApiServerOverloaded", "critical", "api_server")],
    ),
    # khealth itself.
    "blind": Disease(
        _one(*WELL * 10, *[WELL, failed("watch_interrupted")] * 20), [("KhealthBlind", "warning", "khealth")]
    ),
    "most-nodes-full": Disease(
        _one(*WELL * 2, *[WELL, failed("no_node"), failed("no_node")] * 20), [("KhealthBlind", "warning", "khealth")]
    ),
    "one-node-of-four-full": Disease(_one(*WELL * 10, *[WELL, WELL, WELL, failed("no_node")] * 20), []),
    "forbidden": Disease(_one(*WELL * 10, *failed("forbidden") * 40), [("KhealthBlind", "warning", "khealth")]),
    "degraded": Disease(
        _one(*WELL * 10, *Attempt(quality=Quality.DEGRADED) * 40), [("KhealthBlind", "warning", "khealth")]
    ),
    "discarded": Disease(
        _one(*WELL * 10, *[WELL, Attempt(quality=Quality.DISCARDED)] * 20), [("KhealthBlind", "warning", "khealth")]
    ),
    "stale": Disease(_one(*WELL * 10), [("KhealthStale", "critical", "khealth")]),
    "stale-from-the-start": Disease(_one(), [("KhealthStale", "critical", "khealth")]),
    "absent": Disease(_one(*WELL * 50, end=10 * MINUTE), [("KhealthAbsent", "critical", "khealth")]),
    "restarting": Disease(
        [Life({"rcscheduler": WELL * 20}, begin=number * 300.0, end=number * 300.0 + 270) for number in range(9)]
        + _one(*WELL * 20, begin=9 * 300.0),
        [("KhealthRestarting", "warning", "khealth")],
    ),
    "refused": Disease(_one(*WELL * 60, begin=60.0, refused=700.0), [("KhealthConfigRefused", "warning", "khealth")]),
    "no-leader": Disease(_one(leader=False), [("KhealthNoLeader", "warning", "khealth")]),
    "many-leaders": Disease(
        [*_one(*WELL * 60), *_one(*WELL * 60, instance="10.0.0.2:8080", pod="khealth-2")],
        [("KhealthManyLeaders", "warning", "khealth")],
    ),
    # Nobody is woken, and nobody gets a ticket.
    "throttled-now-and-then": Disease(
        [Life({"a": [*WELL * 10, *[WELL, failed("throttled")] * 15, *WELL * 5], "b": WELL * 45})],
    ),
    "health": Disease(_one(*WELL * 60)),
    "slow-sidecars": Disease(_one(*WELL * 10, *Attempt(steps={"start": 9.0}, quality=Quality.FOREIGN) * 40)),
    "a-slow-sidecar-now-and-then": Disease(
        _one(*WELL * 10, *[Attempt(steps={"start": 9.0}, quality=Quality.FOREIGN), WELL] * 20)
    ),
    "one-failure": Disease(_one(*WELL * 10, failed("pod_not_started"), *WELL * 40)),
    "two-failures-apart": Disease(_one(*WELL * 10, *[failed("api_timeout"), WELL] * 2, *WELL * 40)),
    "two-causes-in-a-row": Disease(_one(*WELL * 10, failed("api_timeout"), failed("sandbox_failed"), *WELL * 40)),
    "restart": Disease([*_one(*WELL * 20, end=1205.0), *_one(*WELL * 30, begin=1212.0)]),
    "counter-reset-after-failures": Disease(
        [*_one(*[WELL, failed("pod_lost")] * 2, *WELL * 10, end=905.0), *_one(*WELL * 40, begin=912.0)]
    ),
    "rolling-update": Disease(
        [
            *_one(*WELL * 60, end=1230.0),
            *_one(*WELL * 30, begin=1200.0, instance="10.0.0.2:8080", pod="khealth-2"),
        ]
    ),
    "missed-scrapes": Disease(_one(*WELL * 60, unseen=(1000.0, 1100.0))),
    "standby": Disease([*_one(*WELL * 60), *_one(leader=False, instance="10.0.0.2:8080", pod="khealth-2")]),
    "agents-missing": Disease(
        _one(*WELL * 60, agents=AgentCount(1, 2)), [("KhealthAgentsMissing", "warning", "khealth")]
    ),
    "one-agent-of-ten-missing": Disease(_one(*WELL * 60, agents=AgentCount(9, 10))),
    "all-agents-there": Disease(_one(*WELL * 60, agents=AgentCount(1, 1))),
    "suspended": Disease(_one(suspended=frozenset({"rcscheduler"}))),
    "rare": Disease(_one(WELL, WELL, failed("pod_not_ready"), WELL, WELL, WELL, interval=600.0)),
    "less-often": Disease(
        _one(WELL, WELL, failed("pod_not_ready"), WELL, WELL, failed("pod_not_ready"), *WELL * 6, interval=300.0)
    ),
}
"""Each within the hour."""

NEW_PODS: dict[str, Disease] = {
    # Every eviction brings a new pod, with an address of its own.
    "evicted-again-and-again": Disease(
        [
            Life(
                {"rcscheduler": WELL * 20},
                begin=number * 300.0,
                end=number * 300.0 + 270,
                instance=f"10.0.0.{number}:8080",
                pod=f"khealth-{number}",
            )
            for number in range(1, 9)
        ],
        [("KhealthRestarting", "warning", "khealth")],
    ),
    # An upgrade of several replicas, and a change of their number, are no restarts.
    "three-replaced-and-a-fourth": Disease(
        [
            *(_replica(number, end=1230.0) for number in range(3)),
            *(_replica(number, begin=1230.0, leader=number == 3) for number in range(3, 7)),
        ]
    ),
}
"""What brings new pods; within the hour."""

FINE: dict[str, Disease] = {
    "leftovers": Disease(_one(*WELL * 80, left=1), [("KhealthLeftovers", "warning", "khealth")]),
    "always-something": Disease(_one(*WELL * 80)),
}
"""In more than an hour, scraped as often as the chart has it."""

SLOW: dict[str, Disease] = {
    "now-and-then": Disease(
        _one(*[*WELL * 24, failed("sandbox_failed")] * 9, interval=300.0),
        [("KhealthErrorBudgetBurnSlow", "warning", "node")],
    ),
    "one-node-of-four-full-rarely": Disease(_one(*[WELL, WELL, WELL, failed("no_node")] * 25, interval=600.0)),
    "most-nodes-full-rarely": Disease(
        _one(*[WELL, failed("no_node"), failed("no_node")] * 33, interval=600.0),
        [("KhealthBlind", "warning", "khealth")],
    ),
    # Neither burn rate wakes anybody again, or leaves a ticket, once the outage is over.
    "paged-for-an-hour": Disease(
        _one(*WELL * 24, *failed("kubelet_silent") * 12, *WELL * 169, interval=300.0),
        [("KhealthNodesBroken", "critical", "node")],
    ),
    "paged-for-seven-hours": Disease(
        _one(*WELL * 24, *failed("pod_not_scheduled") * 7 * 12, *WELL * 97, interval=300.0),
        [("KhealthSchedulerBroken", "critical", "scheduler")],
    ),
}
"""In seventeen hours, with an attempt each five minutes."""

DAY: dict[str, Disease] = {
    "suspended-for-a-day": Disease(
        _one(suspended=frozenset({"rcscheduler"}), interval=300.0), [("KhealthSuspended", "warning", "khealth")]
    ),
    "a-healthy-day": Disease(_one(*WELL * 300, interval=300.0)),
}
"""In twenty-five hours."""

_NEW = {"instance": "10.0.0.2:8080", "pod": "khealth-2"}
MOMENTS: dict[str, Sequence[Life]] = {
    "one-routine": _one(*WELL * 3, *failed("pod_not_scheduled") * 3, *WELL * 20),
    "three-routines": [
        Life(
            {
                "a": [*WELL * 3, *failed("pod_not_scheduled") * 3, *WELL * 20],
                "b": [*WELL * 3, *failed("pod_not_scheduled") * 3, *WELL * 20],
                "c": WELL * 20,
            }
        )
    ],
    "a-lucky-one": _one(
        *WELL * 3, *failed("pod_not_scheduled") * 3, WELL, *failed("pod_not_scheduled") * 3, *WELL * 20
    ),
    "in-pairs": _one(*WELL * 3, *[*failed("sandbox_failed") * 2, WELL, WELL] * 4, *WELL * 20),
    "over-and-then-unseen": _one(
        *WELL * 3, *failed("pod_not_scheduled") * 3, *failed("forbidden") * 20, unseen=(1000.0, 1045.0)
    ),
    "restarted-after-older-failures": [
        *_one(*failed("pod_not_scheduled") * 2, *WELL * 8, *failed("pod_not_scheduled") * 20, end=850.0),
        *_one(*failed("pod_not_scheduled") * 4, *WELL * 20, begin=866.0, unseen=(866.0, 890.0)),
    ],
    "one-is-refused-and-another-finds-dead-nodes": [
        Life(
            {
                "a": [*WELL * 3, *failed("api_rejected") * 3, *WELL * 20],
                "b": [*WELL * 3, *failed("kubelet_silent") * 3, *WELL * 20],
            }
        )
    ],
    "another-one-three-minutes-later": _one(
        *WELL * 3, *failed("pod_not_scheduled") * 3, *WELL * 3, *failed("kubelet_silent") * 3, *WELL * 20
    ),
    "one-that-failed-long-ago": _one(
        failed("kubelet_silent"), WELL, WELL, *failed("pod_not_scheduled") * 3, *WELL * 20
    ),
    "from-one-to-another": _one(*WELL * 3, *failed("pod_not_scheduled") * 3, *failed("api_timeout") * 12, *WELL * 20),
    "then-nothing-can-be-told": _one(*WELL * 3, *failed("pod_not_scheduled") * 3, *failed("forbidden") * 20),
    "restarted-in-the-midst": [
        *_one(*WELL * 3, *failed("pod_not_scheduled") * 20, end=430.0),
        *_one(*failed("pod_not_scheduled") * 4, *WELL * 20, begin=460.0),
    ],
    "replaced-in-the-midst": [
        *_one(*WELL * 3, *failed("pod_not_scheduled") * 20, end=430.0),
        *_one(*failed("pod_not_scheduled") * 4, *WELL * 20, begin=460.0, **_NEW),
    ],
    "replaced-and-well": [
        *_one(*WELL * 3, *failed("pod_not_scheduled") * 20, end=430.0),
        *_one(*WELL * 20, begin=460.0, **_NEW),
    ],
    "gone-in-the-midst": _one(*WELL * 3, *failed("pod_not_scheduled") * 20, end=430.0),
    "over-and-then-gone": _one(*WELL * 3, *failed("pod_not_scheduled") * 3, *WELL * 20, end=460.0),
    "unseen-in-the-midst": _one(*WELL * 3, *failed("pod_not_scheduled") * 8, *WELL * 20, unseen=(400.0, 450.0)),
    "the-server-under-three-modules": [
        Life({name: [*WELL * 3, *failed("api_timeout") * 3, *WELL * 20] for name in ("rcscheduler", API, POD)})
    ],
    "the-server-and-its-dependents": [
        Life(
            {
                "a": [*WELL * 3, *failed("api_timeout") * 3, *WELL * 20],
                "b": [*WELL * 3, *failed("pod_not_created") * 3, *WELL * 20],
            }
        )
    ],
}
"""To the second, in half an hour."""
