"""Faults that only a simulator has on order: each is named as what it is."""

from collections.abc import Collection

import pytest
from bodies.attempts import SPOILED, repeated_async
from bodies.begun import holding_pods
from bodies.everything import everything
from bodies.run import counted, holding
from bodies.target import Running, Target, wait_for
from prometheus_client import CollectorRegistry

from khealth_exporter.app import commands as app
from khealth_exporter.canaries import backlog
from khealth_exporter.cluster.credentials.credentials import plain_credentials
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.measure.clock import Clock
from khealth_exporter.modules import MODULES
from khealth_exporter.routines import service
from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Verdict

PACE = {"pod_ttl": 0.5, "poll_interval": 0.1, "projected_within": 1.0}
"""Seconds; everything but the routines' time-outs is short."""
SENSITIVE = {"slow-cpu": {"starved_factor": 10.0, "starved_seconds": 1.0}}
"""Settings by fault: by these, a canary is starved that has one twentieth of a CPU, and so is one on a busy machine."""
REACHED = 20.0
"""Seconds within which agents must reach a pod that is Ready: the process of a canary may have no CPU for a while."""
TIMEOUT = 15.0
"""Seconds that bound the attempt of a routine that waits in vain, which it does to the end."""
LONGER = {"canary-crashes": 30.0}
"""Where ten routines wait in vain."""
CANARIES = ("job", "disk", "volume", "config", "service", "policy")
AGENTS = ("dns", "latency", "egress")
"""Routines that have no canaries but agents."""
CHECK = {"check": ("workload", "check_failed")}
"""What the demo's check says of every fault that breaks canaries: nobody but its user knows what it means."""


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("sandbox-fails", (1, "failure", "sandbox_failed")),
        ("sandbox-fails:node-2", (1, "failure", "one_node")),
        ("image-missing", (1, "failure", "image_pull_failed")),
        ("never-ready", (1, "failure", "pod_not_ready")),
        ("nodes-not-ready", (1, "failure", "nodes_not_ready")),
        ("deletion-stuck", (1, "failure", "kubelet_silent")),
        ("webhook-down", (1, "failure", "webhook_failed")),
        ("quota", (3, "inconclusive", "quota_exceeded")),
        ("api-429", (3, "inconclusive", "throttled")),
        ("api-500", (1, "failure", "api_error")),
        ("api-503", (1, "failure", "api_error")),
    ],
)
def test_a_fault_is_named(target: Target, fault: str, verdict: tuple[int, str, str]) -> None:
    """Exit code, result and reason say what was broken."""
    found = target.under(fault, target.quick(), "rcscheduler")
    assert verdict == found.verdict, found.attempt["note"]


def test_an_api_server_that_is_only_slow_is_no_failure(target: Target) -> None:
    """A second for each answer is measured, not blamed."""
    found = target.under("api-slow", target.quick(timeout="60s", interval="5m"), "rcscheduler")
    assert ((0, "success", None), True) == (found.verdict, found.attempt["steps"]["accept"] >= 1)


def test_containers_that_start_and_crash_are_found_in_the_hold(target: Target) -> None:
    """For a moment they were Ready: one look does not find them, the hold does."""
    with target.broken("container-crashes"), target.running(holding(target, pod_ttl="5s", interval="15s")) as running:
        wait_for("the verdict", counted(running, "failures", "pod_crashed"))
        running.stop()


@pytest.mark.parametrize(
    ("fault", "counter", "reason"),
    [
        ("pods-lost", "failures", "pod_lost"),
        ("pods-evicted", "inconclusive", "disrupted"),
        ("node-drained", "inconclusive", "disrupted"),
        ("node-gone", "inconclusive", "disrupted"),
    ],
)
def test_a_disturbance_in_the_hold_is_told_apart(target: Target, fault: str, counter: str, reason: str) -> None:
    """A pod that vanishes unexplained is a failure, one that is drained away is none."""
    with holding_pods(target, holding(target)) as running:
        with target.broken(fault):
            wait_for("the verdict", counted(running, counter, reason))
        running.stop()


def test_a_watch_that_is_cut_in_the_hold_changes_nothing(target: Target) -> None:
    """It is resumed where it was: the attempt succeeds, and the restart is counted."""
    with holding_pods(target, holding(target, pod_ttl="4s")) as running:
        target.begin("watch-cut")
        wait_for("the verdict", lambda: running.metric("khealth_attempts_total"))
        wait_for("the restart", lambda: restarts(running))
        state = running.state()
        running.stop()
    assert 200 == state


def restarts(running: Running) -> float:
    """Return how often a watch had to begin again."""
    causes = ("ended", "api_unreachable")
    return sum(running.metric("khealth_watch_restarts_total", cause=cause) or 0 for cause in causes)


async def judged(fault: str, waiting: Collection[str] = ()) -> dict[str, Verdict]:
    """Return the verdict of every routine that there is on a cluster with a fault; some are `waiting` for what it stops.

    What a busy machine has spoiled is tried again.
    """
    return await repeated_async(
        lambda: attempted(fault, waiting),
        lambda verdicts: any(found.reason in SPOILED for found in verdicts.values()),
    )


async def attempted(fault: str, waiting: Collection[str]) -> dict[str, Verdict]:
    """Return the verdicts of one attempt of each routine."""
    async with Simulator(SimulatorSettings(speed=10.0)) as simulator:
        if fault:
            simulator.begin(fault)
        credentials = plain_credentials(simulator.url, token=simulator.token, namespace="khealth")
        process = app.Process(clock := Clock(), Metrics(CollectorRegistry(), clock))
        settings = PACE | SENSITIVE.get(fault, {})
        options = app.Options(everything(waiting, LONGER.get(fault, TIMEOUT), **settings))
        found = await app.once(options, process=process, credentials=credentials)
    statuses = (status for snapshot in found.snapshots for status in snapshot.routines)
    return {status.routine: attempt.verdict for status in statuses for attempt in status.attempts if attempt.verdict}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give canaries that have just started time for their first answer."""
    monkeypatch.setattr(service, "BASELINE", REACHED)


def blamed(verdicts: dict[str, Verdict]) -> dict[str, tuple[str | None, str]]:
    """Return component and reason of each routine that found a failure."""
    failed = {name: verdict for name, verdict in verdicts.items() if verdict.result is Result.FAILURE}
    return {name: (found.component, found.reason or "") for name, found in failed.items()}


async def test_every_routine_of_the_demo_succeeds() -> None:
    """Canaries included: they are processes of this machine."""
    verdicts = await judged("")
    assert dict.fromkeys(verdicts, Result.SUCCESS) == {name: found.result for name, found in verdicts.items()}
    assert {kind.name for module in MODULES for kind in module.routines} == set(verdicts)


@pytest.mark.parametrize(
    ("fault", "component", "reasons"),
    [
        ("deployment-controller-off", "controller_manager", {"deployment": "status_not_observed"}),
        ("job-controller-off", "controller_manager", {"job": "pod_not_created"}),
        ("rollout-stalled", "registry", {"deployment": "image_pull_failed"}),
        ("admission-bypassed", "api_server", {"admission": "admission_bypassed"}),
        ("provisioner-off", "storage", {"volume": "volume_not_provisioned"}),
        ("volume-not-attached", "storage", {"volume": "volume_not_attached"}),
        ("volume-not-deleted", "storage", {"volume": "volume_not_deleted"}),
        ("disk-full", "storage", {"disk": "disk_failed"}),
        ("data-corrupted", "storage", {"volume": "data_corrupted"}),
        ("projection-stopped", "node", {"config": "not_projected"}),
        ("slow-cpu", "node", {"job": "cpu_starved"}),
        ("canary-crashes", "node", dict.fromkeys(CANARIES + AGENTS, "canary_failed")),
    ],
)
async def test_a_component_is_blamed_by_its_routines_alone(fault: str, component: str, reasons: dict[str, str]) -> None:
    """No other routine finds a failure."""
    more = CHECK if fault == "canary-crashes" else {}
    verdicts = await judged(fault, reasons | more)
    told = [f"{name}: {verdict.reason}: {verdict.note}" for name, verdict in verdicts.items() if verdict.reason]
    # Of an agent, which is to stay, it is a crash; some routines have canaries and agents.
    said = {
        name: (found, why.replace("pod_crashed", "canary_failed")) for name, (found, why) in blamed(verdicts).items()
    }
    assert {name: (component, reason) for name, reason in reasons.items()} | more == said, told


async def test_a_garbage_collector_that_is_off_for_long_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By all that wait for it; for five minutes it may be busy, where other controllers work."""
    monkeypatch.setattr(backlog, "BUSY", 0.0)
    waiting = dict.fromkeys(("rcscheduler", "controllers", "job", "deployment"), "pod_not_deleted")
    expected = {
        name: ("controller_manager", reason) for name, reason in {**waiting, "collect": "not_collected"}.items()
    }
    assert expected == blamed(await judged("garbage-collector-off", expected))


async def test_a_webhook_that_does_not_support_dry_run_is_no_failure() -> None:
    """It is named, and nobody is blamed."""
    verdicts = await judged("webhook-no-dry-run")
    admission = verdicts["admission"]
    assert ({}, Reason.DRY_RUN_UNSUPPORTED) == (blamed(verdicts), admission.reason)
    assert "pods.simulated.example" in admission.note
