"""In a cluster all that khealth makes goes with its own Pod, whatever becomes of khealth and of its rights."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bodies.account import Account, account, right
from bodies.begun import in_hold
from bodies.run import PATIENT
from bodies.target import SERVING, Running, Target, wait_for
from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.cluster.ownership import Identity, Owner

OURS = "khealth-0"
"""Name of the Pod that stands in for khealth's own."""
COLLECTED = 60.0
"""Seconds for the garbage collector, and for kubelets that end pods at once."""


def stand_in(target: Target) -> Owner:
    """Make the Pod that khealth is told it runs in."""
    labels = {"app": "stand-in"}
    body = {"metadata": {"name": OURS, "labels": labels}, "spec": pod_spec(PodSettings(), labels)}
    made = target.core.create_namespaced_pod(target.namespace, body)
    return Owner(OURS, made.metadata.uid)


@contextmanager
def in_a_pod(target: Target, khealth: Account, owner: Owner) -> Iterator[Running]:
    """Run khealth for the block as if in that Pod, in a hold: its credentials, and its name and uid by the downward API."""
    with inside(target, khealth, owner) as command, first_of(target, command) as running:
        yield running


Command = Callable[..., tuple[list[str], dict[str, str]]]
"""Returns khealth's command line with some arguments, and its environment."""


@contextmanager
def inside(target: Target, khealth: Account, owner: Owner) -> Iterator[Command]:
    """Yield what makes a command line of khealth as if in that Pod."""
    bounds = {"interval": "90s", "timeout": "10s", "pod_ttl": "60s", "poll_interval": "1s"}
    lasting, single = (
        target.configure(**bounds),
        target.configure(**bounds | {"interval": "150s", "timeout": f"{PATIENT:g}s"}),
    )
    with target.for_pods() as server:
        folder = target.folder / "service-account"
        folder.mkdir()
        (folder / "token").symlink_to(khealth.token_file)
        (folder / "ca.crt").write_text(server.authority)
        (folder / "namespace").write_text(target.namespace)
        start = [sys.executable, str(Path(__file__).with_name("in_pod.py")), str(folder)]
        given = {"POD_NAME": owner.name, "POD_UID": owner.uid}
        where = {"KUBERNETES_SERVICE_HOST": server.host, "KUBERNETES_SERVICE_PORT": str(server.port)}

        def command(verb: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
            configured = () if verb == "sweep" else ("rcscheduler",)
            settings = single if verb == "once" else lasting
            words = [*start, verb, "--config", str(settings), "--client-mode", "in-cluster", *arguments, *configured]
            return words, {**os.environ, **given, **where}

        yield command


def first_of(target: Target, command: Command) -> AbstractContextManager[Running]:
    """Run the first khealth of a Pod for the block, in a hold."""
    words, environment = command("run", *SERVING)
    return in_hold(target, lambda: target.started(words, environment))


def references(item: Any) -> list[Mapping[str, Any]]:
    """Return what an object says of its owners, without what it leaves open."""
    fields = ("api_version", "kind", "name", "uid", "controller", "block_owner_deletion")
    found = [{field: getattr(owner, field) for field in fields} for owner in item.metadata.owner_references or []]
    return [{field: value for field, value in owner.items() if value is not None} for owner in found]


def test_what_khealth_makes_in_a_pod_is_owned_by_that_pod(target: Target) -> None:
    """It blocks nobody's deletion of that Pod; the canaries are owned by their controller."""
    with account(target) as khealth:
        owner = stand_in(target)
        with in_a_pod(target, khealth, owner) as running:
            (controller,) = target.core.list_namespaced_replication_controller(target.namespace).items
            owners = {reference["uid"] for pod in target.pods() for reference in references(pod)}
            running.stop()
    expected = {"api_version": "v1", "kind": "Pod", "name": OURS, "uid": owner.uid}
    assert ([expected], {controller.metadata.uid}) == (references(controller), owners)


@pytest.mark.parametrize("end", ["killed", "asked to end"])
def test_nothing_is_left_when_khealth_goes_with_all_its_rights_in_mid_attempt(target: Target, end: str) -> None:
    """Roles, service account and Pod go at one moment; its own cleanup, if it still tries, is refused."""
    with account(target) as khealth:
        owner = stand_in(target)
        with in_a_pod(target, khealth, owner) as running:
            khealth.rbac.delete_namespaced_role_binding(khealth.name, target.namespace)
            khealth.rbac.delete_namespaced_role(khealth.name, target.namespace)
            target.core.delete_namespaced_service_account(khealth.name, target.namespace)
            wait_for("the end of all rights", lambda: not khealth.may(right("delete", "replicationcontrollers")))
            if end == "killed":
                running.process.kill()
            else:
                running.process.terminate()
                wait_for("the refusal", lambda: '"forbidden"' in running.log, COLLECTED)
            before = len(target.objects())
            target.core.delete_namespaced_pod(owner.name, target.namespace)
            wait_for("an empty namespace", lambda: not target.objects(), COLLECTED)
            running.process.wait(COLLECTED)
    assert 4 == before


def test_what_was_still_under_way_when_the_pod_had_gone_is_collected(target: Target) -> None:
    """A write that comes in after its owner's end is no orphan."""
    owner = stand_in(target)
    target.core.delete_namespaced_pod(owner.name, target.namespace, grace_period_seconds=0)
    identity = Identity("late0000", target.namespace, owner)
    ownership = identity.of_attempt("rcscheduler", "rcscheduler", 1, 3600.0)
    labels = dict(ownership.labels)
    pods = {"metadata": {"labels": labels}, "spec": pod_spec(PodSettings(), labels)}
    body = {
        "metadata": ownership.metadata(),
        "spec": {"replicas": 1, "selector": labels, "template": pods},
    }
    made = target.core.create_namespaced_replication_controller(target.namespace, body)
    wait_for("an empty namespace", lambda: not target.objects(), COLLECTED)
    assert [owner.uid] == [reference["uid"] for reference in references(made)]


@pytest.mark.parametrize("verb", ["once", "sweep"])
def test_a_second_khealth_in_the_pod_leaves_the_first_ones_objects_alone(target: Target, verb: str) -> None:
    """`kubectl exec deploy/khealth -- khealth once`, the most natural smoke test there is, harms neither of the two."""
    with account(target) as khealth:
        owner = stand_in(target)
        with inside(target, khealth, owner) as command, first_of(target, command) as running:
            before = {pod.metadata.uid for pod in target.pods()}
            words, environment = command(verb)
            ended = subprocess.run(  # noqa: S603 - khealth itself
                words, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
            left = {pod.metadata.uid for pod in target.pods()}
            lost = running.metric("khealth_failures_total", reason="pod_lost")
            running.stop()
    assert (0, True, 0.0) == (ended.returncode, before <= left, lost), ended.stderr


def test_what_a_killed_process_of_the_pod_left_is_taken_by_the_next_one(target: Target) -> None:
    """At once, young as it is: the process is gone."""
    with account(target) as khealth:
        owner = stand_in(target)
        with inside(target, khealth, owner) as command:
            with first_of(target, command) as running:
                killed = {pod.metadata.uid for pod in target.pods()}
                running.process.kill()
                running.process.wait()
            words, environment = command("run", *SERVING)
            with target.started(words, environment) as running:
                wait_for("the sweep", lambda: not killed & {pod.metadata.uid for pod in target.pods()}, COLLECTED)
                running.stop()
    wait_for("an empty namespace", lambda: not target.objects(), COLLECTED)
