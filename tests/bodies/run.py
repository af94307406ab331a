"""What `khealth run` shows while it runs, and what is left when it ends, however it ends."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from bodies.target import Running, Target, wait_for
from khealth_exporter.cli.main import main

BACKLOG = {"khealth-test": "backlog"}
"""Labels of what the garbage collector has to delete besides the canaries."""


def holding(target: Target, **settings: Any) -> Any:
    """Return a configuration whose pods are held long enough to break something meanwhile."""
    bounds = {"interval": "45s", "timeout": f"{target.timeout:g}s", "pod_ttl": "20s", "poll_interval": "1s"}
    return target.configure(**bounds | settings)


def short(target: Target) -> Any:
    """Return a configuration whose attempts follow each other quickly."""
    bounds = {"timeout": f"{target.timeout:g}s", "pod_ttl": "1s", "poll_interval": "500ms"}
    return target.configure(interval=f"{2 * target.timeout + 1:g}s", **bounds)


def all_held(target: Target) -> bool:
    """Tell whether the three pods are Ready and stay."""
    pods = target.pods()
    ready = [c for pod in pods for c in pod.status.conditions or [] if c.type == "Ready" and c.status == "True"]
    return len(pods) == len(ready) == 3 and not any(pod.metadata.deletion_timestamp for pod in pods)


def counted(running: Running, counter: str, reason: str) -> Callable[[], bool]:
    """Return a condition: that this reason has been counted."""
    return lambda: bool(running.metric(f"khealth_{counter}_total", reason=reason))


def test_nothing_is_known_before_the_first_verdict(target: Target) -> None:
    """503, and the gauges that need a verdict are absent, not 0; counters stand at 0."""
    with target.running(holding(target)) as running:
        shown = running.state(), running.metric("khealth_success")
        attempts = running.metric("khealth_attempts_total")
        running.stop()
    assert ((503, None), 0.0) == (shown, attempts)


def test_an_attempt_begins_when_it_is_asked_for(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    """Long before its turn, by `khealth run-now`; it is made like any other, and a second request is refused."""
    settings = target.configure(interval="1h", timeout=f"{target.timeout:g}s", pod_ttl="3s", poll_interval="500ms")
    with target.running(settings) as running:
        wait_for("the first success", lambda: running.metric("khealth_attempts_total") == 1, target.patience)
        wait_for("its end", lambda: not target.objects(), target.patience)
        url = f"http://{running.address}"
        codes = [main(["run-now", "rcscheduler/rcscheduler", "--url", url]) for _ in range(2)]
        unknown = running.post("/-/run/rcscheduler/other")[0]
        wait_for("the second success", lambda: running.metric("khealth_attempts_total") == 2, target.patience)
        running.stop()
    begun = "rcscheduler/rcscheduler: attempt 2 begun\n"
    refused = "rcscheduler/rcscheduler: no attempt begun: an attempt is running\n"
    assert ([0, 1], (begun, refused), 404) == (codes, capsys.readouterr(), unknown)


def test_a_pod_that_is_evicted_in_the_hold_is_a_disruption(target: Target) -> None:
    """A drain is no failure of the cluster."""
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
        name = target.pods()[0].metadata.name
        eviction = {"metadata": {"name": name, "namespace": target.namespace}}
        target.core.create_namespaced_pod_eviction(name, target.namespace, eviction)
        wait_for("the verdict", counted(running, "inconclusive", "disrupted"))
        shown = running.state(), running.metric("khealth_consecutive_failures")
        running.stop()
    assert (503, 0.0) == shown


def test_a_pod_that_a_stranger_deletes_in_the_hold_is_lost(target: Target) -> None:
    """Its controller stays: a component that deletes what it should not would look the same."""
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
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
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
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
    with target.running(short(target)) as running:
        wait_for("the first success", lambda: running.state() == 200)
        with target.broken("scheduler-stalled"):
            wait_for("the failure", counted(running, "failures", "pod_not_scheduled"), 4 * target.timeout + 5)
            failing = running.state(), running.metric("khealth_success")
        wait_for("recovery", lambda: running.state() == 200, 4 * target.timeout + 10)
        well = running.metric("khealth_success"), running.metric("khealth_consecutive_failures")
        running.stop()
    assert ((500, 0.0), (1.0, 0.0)) == (failing, well)


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
    with target.running(holding(target, pod_ttl="10s", interval=f"{2 * target.timeout + 10:g}s")) as running:
        wait_for("the hold", lambda: all_held(target))
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
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
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
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
        code = running.stop()
    assert (0, []) == (code, target.objects())


@pytest.mark.alone
@pytest.mark.parametrize("fault", ["controller-stalled", "kubelet-stalled"])
def test_nothing_is_left_by_a_cleanup_that_nobody_helps(target: Target, fault: str) -> None:
    """Neither a dead controller manager nor dead kubelets keep it from ending, with nothing left."""
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
        with target.broken(fault):
            code, left = running.stop(), target.objects()
    assert (0, []) == (code, left)


@pytest.mark.alone
def test_a_second_signal_ends_at_once(target: Target) -> None:
    """With 128 + its number, although the cleanup cannot end."""
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
        with target.broken("controller-stalled"):
            running.process.send_signal(signal.SIGTERM)
            wait_for("stopping", lambda: "a second signal ends at once" in running.log)
            running.process.send_signal(signal.SIGINT)
            code = running.process.wait(5)
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
    with target.running(holding(target)) as running:
        wait_for("the hold", lambda: all_held(target))
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
        swept = running.metric("khealth_swept_objects_total", kind="ReplicationController")
        running.stop()
    assert 1.0 == swept


def _nothing() -> dict[str, Any]:
    return {"containers": [{"name": "none", "image": "registry.k8s.io/pause:3.10.1"}]}


def test_every_page_answers(target: Target) -> None:
    """Whatever a user opens is there."""
    with target.running(short(target)) as running:
        wait_for("the first success", lambda: running.state() == 200)
        pages = ("/", "/metrics", "/status", "/status/rcscheduler", "/health", "/config", "/-/healthy", "/-/ready")
        codes = {page: running.get(page)[0] for page in pages}
        running.stop()
    assert dict.fromkeys(pages, 200) == codes
