"""What `khealth run` shows while it runs, and what is left when it ends, however it ends."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bodies.attempts import repeated
from bodies.begun import all_held, holding_pods, succeeding
from bodies.target import Running, Target, wait_for
from khealth_exporter.cli.main import main

BACKLOG = {"khealth-test": "backlog"}
"""Labels of what the garbage collector has to delete besides the canaries."""
PATIENT = 30.0
"""Seconds that bound an attempt which nothing but a busy machine keeps from its end."""


def holding(target: Target, **settings: Any) -> Any:
    """Return a configuration whose pods are held long enough to break something meanwhile."""
    bounds = {"interval": "90s", "timeout": f"{target.timeout:g}s", "pod_ttl": "60s", "poll_interval": "1s"}
    return target.configure(**bounds | settings)


def short(target: Target) -> Any:
    """Return a configuration whose attempts follow each other quickly."""
    bounds = {"timeout": f"{target.timeout:g}s", "pod_ttl": "1s", "poll_interval": "500ms"}
    return target.configure(interval=f"{2 * target.timeout + 1:g}s", **bounds)


def on_request(target: Target, **settings: Any) -> Any:
    """Return a configuration with one attempt, which has all the time that it needs, and others that are asked for."""
    bounds = {"interval": "1h", "timeout": f"{PATIENT:g}s", "pod_ttl": "1s", "poll_interval": "500ms"}
    return target.configure(**bounds | settings)


def asking(running: Running, true: Callable[[], Any]) -> Callable[[], Any]:
    """Return a condition: that this one is true; as long as it is not, one attempt after another is asked for."""
    return lambda: true() or (running.post("/-/run/rcscheduler/rcscheduler") and None)


def shows(running: Running, state: int, **metrics: float) -> Callable[[], bool]:
    """Return a condition: that /status has this code, and metrics without labels these values."""
    return lambda: running.state() == state and metrics == {name: running.metric(f"khealth_{name}") for name in metrics}


def counted(running: Running, counter: str, reason: str) -> Callable[[], bool]:
    """Return a condition: that this reason has been counted."""
    return lambda: bool(running.metric(f"khealth_{counter}_total", reason=reason))


def test_nothing_is_known_before_the_first_verdict(target: Target) -> None:
    """503, and the gauges that need a verdict are absent, not 0; counters stand at 0."""

    def look() -> tuple[tuple[int, float | None], float | None]:
        with target.running(holding(target)) as running:
            shown = running.state(), running.metric("khealth_success")
            attempts = running.metric("khealth_attempts_total")
            running.stop()
        return shown, attempts

    # Where there is a verdict, this came too late to look.
    assert ((503, None), 0.0) == repeated(look, lambda found: bool(found[1]))


@dataclass(frozen=True)
class Asked:
    """Two requests for an attempt: the first one's number, the exit codes, and what was said."""

    number: int
    codes: list[int]
    said: tuple[str, str]
    late: bool
    """Whether the first attempt was over when the second one was asked for."""


def ask_twice(target: Target, running: Running, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Ask for an attempt, and while it runs for another one; return when all is over."""
    known = int(running.metric("khealth_attempts_total") or 0)
    words = ["run-now", "rcscheduler/rcscheduler", "--url", f"http://{running.address}"]
    codes = [main(words) for _ in range(2)]
    late = running.metric("khealth_attempts_total") != known
    after = known + codes.count(0)
    wait_for("the success", lambda: running.metric("khealth_attempts_total") == after, target.patience)
    wait_for("its end", lambda: not target.objects(), target.patience)
    return Asked(known + 1, codes, capsys.readouterr(), late)


def test_an_attempt_begins_when_it_is_asked_for(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """Long before its turn, by `khealth run-now`; it is made like any other, and a second request is refused."""
    settings = on_request(target, pod_ttl="3s")
    with target.running(settings) as running:
        wait_for("the first success", lambda: running.metric("khealth_attempts_total") == 1, target.patience)
        wait_for("its end", lambda: not target.objects(), target.patience)
        found = repeated(lambda: ask_twice(target, running, capsys), lambda asked: asked.late)
        unknown = running.post("/-/run/rcscheduler/other")[0]
        running.stop()
    said = (
        f"rcscheduler/rcscheduler: attempt {found.number} begun\n",
        "rcscheduler/rcscheduler: no attempt begun: an attempt is running\n",
    )
    assert ([0, 1], said, 404) == (found.codes, found.said, unknown)


def test_a_pod_that_is_evicted_in_the_hold_is_a_disruption(target: Target) -> None:
    """A drain is no failure of the cluster."""
    with holding_pods(target, holding(target)) as running:
        name = target.pods()[0].metadata.name
        eviction = {"metadata": {"name": name, "namespace": target.namespace}}
        target.core.create_namespaced_pod_eviction(name, target.namespace, eviction)
        wait_for("the verdict", counted(running, "inconclusive", "disrupted"))
        shown = running.state(), running.metric("khealth_consecutive_failures")
        running.stop()
    assert (503, 0.0) == shown


def test_a_pod_that_a_stranger_deletes_in_the_hold_is_lost(target: Target) -> None:
    """Its controller stays: a component that deletes what it should not would look the same."""
    with holding_pods(target, holding(target)) as running:
        target.core.delete_namespaced_pod(target.pods()[0].metadata.name, target.namespace)
        wait_for("the verdict", counted(running, "failures", "pod_lost"))
        shown = running.state(), running.metric("khealth_consecutive_failures")
        running.stop()
    assert (500, 1.0) == shown


def delete_controller(target: Target) -> None:
    """Delete the attempt's controller, as `kubectl delete` does."""
    (found,) = target.core.list_namespaced_replication_controller(target.namespace).items
    target.core.delete_namespaced_replication_controller(
        found.metadata.name, target.namespace, propagation_policy="Background"
    )


def sweep(target: Target) -> None:
    """Delete what all khealths have created."""
    swept = target.run("sweep", "--all", "--timeout", "60s")
    assert swept.returncode == 0, swept.stderr


def delete_namespace(target: Target) -> None:
    """Delete the namespace."""
    target.core.delete_namespace(target.namespace)


@pytest.mark.parametrize("delete", [delete_controller, sweep, delete_namespace])
def test_what_another_client_deletes_in_the_hold_is_an_interruption(
    target: Target, delete: Callable[[Target], None]
) -> None:
    """No component is blamed for what people do."""
    with holding_pods(target, holding(target)) as running:
        delete(target)
        wait_for("the verdict", counted(running, "inconclusive", "interrupted"))
        failures = running.metric("khealth_consecutive_failures")
        running.stop()
    if delete is delete_namespace:
        wait_for("its end", lambda: target.namespace not in target.namespaces(), target.patience)
        target.make_namespace()
    assert 0.0 == failures


@pytest.mark.alone
def test_a_fault_shows_and_its_end_shows(target: Target) -> None:
    """A scheduler that stalls in a hold fails the next attempt; the one after mending succeeds."""
    bound = target.patience + 4 * target.timeout
    with succeeding(target, short(target)) as running:
        with target.broken("scheduler-stalled"):
            wait_for("the failure", counted(running, "failures", "pod_not_scheduled"), bound)
            wait_for("its signs", shows(running, 500, success=0.0), bound)
        wait_for("recovery", shows(running, 200, success=1.0, consecutive_failures=0.0), bound)
        running.stop()


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("api-down", {"api_unreachable"}),
        ("api-paused", {"api_timeout", "api_unreachable"}),
        ("kubelet-stalled", {"kubelet_silent", "nodes_not_ready"}),
        ("controller-stalled", {"pod_not_deleted", "pod_not_created"}),
    ],
)
def test_a_fault_that_begins_in_the_hold_shows_within_the_next_attempt(
    target: Target, fault: str, reasons: set[str]
) -> None:
    """Whatever breaks while the pods are held, the verdict names it soon, and mending it makes khealth well again."""
    settings = holding(target, pod_ttl="10s", interval=f"{2 * target.timeout + 10:g}s")
    with holding_pods(target, settings) as running:
        with target.broken(fault):
            wait_for("a failure", lambda: running.state() == 500, 60 + 2 * target.timeout)
            status = running.get("/status")[1]
        wait_for("recovery", lambda: running.state() == 200, 90 + 2 * target.timeout)
        running.stop()
    assert any(f'"{reason}"' in status for reason in reasons), status


@pytest.mark.alone
def test_a_garbage_collector_that_is_busy_elsewhere_is_no_failure(target: Target) -> None:
    """It has to delete 300 objects of others first: it is slow, not broken, and nothing is left."""
    others = {"namespace": "default"}
    with holding_pods(target, holding(target)) as running:
        owner = target.core.create_namespaced_config_map(body={"metadata": {"generateName": "owner-"}}, **others)
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid}
        owned = {"metadata": {"generateName": "owned-", "labels": BACKLOG, "ownerReferences": [reference]}}
        selector = ",".join(f"{name}={value}" for name, value in BACKLOG.items())
        try:
            for _ in range(300):
                target.core.create_namespaced_config_map(body=owned, **others)
            target.core.delete_namespaced_config_map(owner.metadata.name, propagation_policy="Background", **others)
            code, left = running.stop(), target.objects()
        finally:
            target.core.delete_collection_namespaced_config_map(label_selector=selector, **others)
        log = running.log
    assert (0, [], False) == (code, left, "pod_not_deleted" in log), log


def test_sigterm_cleans_up_and_ends_with_0(target: Target) -> None:
    """In the midst of an attempt, nothing is left."""
    with holding_pods(target, holding(target)) as running:
        code = running.stop()
    assert (0, []) == (code, target.objects())


@pytest.mark.alone
@pytest.mark.parametrize("fault", ["controller-stalled", "kubelet-stalled"])
def test_nothing_is_left_by_a_cleanup_that_nobody_helps(target: Target, fault: str) -> None:
    """Neither a dead controller manager nor dead kubelets keep it from ending, with nothing left."""
    with holding_pods(target, holding(target)) as running, target.broken(fault):
        code, left = running.stop(), target.objects()
    assert (0, []) == (code, left)


@pytest.mark.alone
def test_a_second_signal_ends_at_once(target: Target) -> None:
    """With 128 + its number, although the cleanup cannot end."""
    with holding_pods(target, holding(target)) as running, target.broken("controller-stalled"):
        running.process.send_signal(signal.SIGTERM)
        wait_for("stopping", lambda: "a second signal ends at once" in running.log)
        running.process.send_signal(signal.SIGINT)
        code = running.process.wait(60)
    assert 128 + signal.SIGINT == code


@pytest.mark.parametrize("moment", ["created", "held"])
def test_what_a_killed_run_left_is_swept(target: Target, moment: str) -> None:
    """Kill -9 at any moment: the next sweep takes all of it, though not before it is older than it may become."""
    settings = target.configure(interval="10s", timeout="2s", pod_ttl="1s", poll_interval="500ms", replicas=2)
    with target.running(settings) as running:
        wait_for(moment, lambda: target.objects() if moment == "created" else target.pod_is_ready())
        running.process.kill()
        running.process.wait()
    early = target.run("sweep", "--dry-run")
    late = target.run("sweep", "--all", "--timeout", "60s")
    assert (0, "nothing to delete") == (early.returncode, early.stdout[:17]), early.stdout
    assert (0, []) == (late.returncode, target.objects())


def test_a_living_neighbour_is_left_alone(target: Target) -> None:
    """A sweep without --all touches nothing that may rightfully live."""
    with holding_pods(target, holding(target)) as running:
        swept = target.run("sweep")
        kept = all_held(target)
        running.stop()
    assert (0, True) == (swept.returncode, kept)


def test_dead_objects_are_swept_by_the_next_run(target: Target) -> None:
    """What is older than its max-age goes, without anyone asking for it."""
    labels = {
        "app.kubernetes.io/managed-by": "khealth",
        "khealth.io/routine": "rcscheduler",
        "khealth.io/run": "dead0000",
        "khealth.io/attempt": "1",
    }
    controller = {
        "metadata": {"name": "khealth-dead", "labels": labels, "annotations": {"khealth.io/max-age": "1"}},
        "spec": {"replicas": 0, "selector": labels, "template": {"metadata": {"labels": labels}, "spec": _nothing()}},
    }
    target.core.create_namespaced_replication_controller(target.namespace, controller)
    with target.running(holding(target)) as running:
        wait_for("the sweep", lambda: "khealth-dead" not in target.objects())
        kind = {"kind": "ReplicationController"}
        wait_for("its count", lambda: running.metric("khealth_swept_objects_total", **kind) == 1)
        running.stop()


def _nothing() -> dict[str, Any]:
    return {"containers": [{"name": "none", "image": "registry.k8s.io/pause:3.10.1"}]}


def test_every_page_answers(target: Target) -> None:
    """Whatever a user opens is there."""
    with succeeding(target, on_request(target)) as running:
        pages = ("/", "/metrics", "/status", "/status/rcscheduler", "/health", "/config", "/-/healthy", "/-/ready")
        codes = {page: running.get(page)[0] for page in pages}
        running.stop()
    assert dict.fromkeys(pages, 200) == codes
