"""khealth as its users run it: installed by one command, scraped, allowed nothing more, and gone without a trace."""

import json
import os
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bodies.target import wait_for
from deployment import CHART, PATIENCE, SINGLE_FILE, Installed, asked, cluster_wide, documents, kubectl, prometheus, ran
from tools import needs, needs_variable

from khealth_exporter.cluster import namespace
from khealth_exporter.config.off import off_because
from khealth_exporter.modules import MODULES

NODE_PORT = 31337
TARGETS = {
    "job_name": "pods",
    "relabel_configs": [
        {
            "source_labels": ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"],
            "action": "keep",
            "regex": "true",
        },
        {
            "source_labels": ["__meta_kubernetes_pod_ip", "__meta_kubernetes_pod_annotation_prometheus_io_port"],
            "separator": ":",
            "target_label": "__address__",
        },
    ],
}
"""What most Prometheus configurations do with annotated pods."""


DEFAULTS = [kind for module in MODULES for kind in module.routines if not off_because(module, kind, "khealth")]
"""The kinds that run by default where the canaries' image is known."""


@pytest.fixture(scope="module")
def applied() -> Iterator[tuple[Installed, str]]:
    """The single file, applied as it is but for the image's name; with what kubectl said to that on standard error."""
    text = SINGLE_FILE.read_text()
    (own,) = {c["image"] for d in documents(text) if d["kind"] == "Deployment" for c in _containers(d)}
    text = text.replace(own, needs_variable("KHEALTH_IMAGE"))
    kubectl("delete", "-f", "-", "--ignore-not-found", given=text)
    said = kubectl("apply", "-f", "-", given=text).stderr
    yield Installed("khealth"), said
    kubectl("delete", "-f", "-", "--ignore-not-found", given=text)


def _containers(deployment: Any) -> list[Any]:
    return list(deployment["spec"]["template"]["spec"]["containers"])


def test_applying_the_single_file_warns_of_nothing(applied: tuple[Installed, str]) -> None:
    """Neither deprecated fields nor Pod Security have anything to say."""
    _, said = applied
    assert "" == said


def test_the_applied_khealth_exercises_its_cluster(applied: tuple[Installed, str]) -> None:
    """It becomes Ready, and its first attempt succeeds."""
    installed, _ = applied
    assert wait_for("a success", lambda: installed.metric("khealth_success"), PATIENCE)


def test_a_prometheus_that_finds_annotated_pods_scrapes_it_once(applied: tuple[Installed, str], tmp_path: Path) -> None:
    """One target, that is up and has our series."""
    installed, _ = applied
    needs_variable("KHEALTH_NODE_ADDRESS")
    installed.pod()
    where = {"role": "pod", "kubeconfig_file": os.environ["KUBECONFIG"], "namespaces": {"names": ["khealth"]}}
    with prometheus(tmp_path, {**TARGETS, "kubernetes_sd_configs": [where]}) as address:
        series = wait_for("a scrape", lambda: asked(address, "khealth_attempts_total"))
        up = [result["value"][1] for result in asked(address, "up")]
    assert (sorted(kind.name for kind in DEFAULTS), ["1"]) == (sorted(s["metric"]["routine"] for s in series), up)


def test_the_node_port_answers(applied: tuple[Installed, str]) -> None:
    """People and the first khealth's users find it on every node."""
    installed, _ = applied
    address = needs_variable("KHEALTH_NODE_ADDRESS")
    installed.pod()

    def answered() -> int | None:
        try:
            with urllib.request.urlopen(f"http://{address}:{NODE_PORT}/-/ready", timeout=5) as answer:
                return int(answer.status)
        except OSError:
            return None

    assert wait_for("the NodePort", answered) == 200


def test_its_rights_are_those_that_it_says_it_needs(applied: tuple[Installed, str]) -> None:
    """What its service account may, less what everybody may, is the derived table: no less and no more."""
    installed, _ = applied
    installed.pod()
    stranger = "default"
    mine = _rights(installed.namespace, _service_account(installed)) - _rights(installed.namespace, stranger)
    assert needed() == mine


def needed() -> set[tuple[str, str, str]]:
    """Return the rights that the core and the default routines say they need inside of a cluster."""
    said = (*namespace.PERMISSIONS, *(p for kind in DEFAULTS for p in kind.all_permissions()))
    return {(p.verb, p.group, p.resource) for p in said if not (p.outside or p.when)}


def _service_account(installed: Installed) -> str:
    return str(installed.pod()["spec"]["serviceAccountName"])


def _rights(namespace: str, account: str) -> set[tuple[str, str, str]]:
    """Return (verb, group, resource) of all that a service account may in a namespace, as `can-i --list` has it."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    who = f"--as=system:serviceaccount:{namespace}:{account}"
    said = kubectl("create", "-f", "-", "-o", "json", "--validate=false", who, given=json.dumps(review)).stdout
    return {
        (verb, group, resource)
        for rule in json.loads(said)["status"]["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_what_it_makes_is_owned_by_its_pod(applied: tuple[Installed, str]) -> None:
    """So it goes with the Pod, whatever khealth may still do itself."""
    installed, _ = applied
    pod = installed.pod()["metadata"]
    owners = [
        (owner["kind"], owner["name"], owner["uid"], owner.get("blockOwnerDeletion"))
        for made in installed.wait_for_hold()
        if made["kind"] == "ReplicationController"
        for owner in made["metadata"]["ownerReferences"]
    ]
    assert [("Pod", pod["name"], pod["uid"], None)] == owners


def test_a_smoke_test_in_its_own_pod_harms_nothing(applied: tuple[Installed, str]) -> None:
    """`kubectl exec deploy/khealth -- khealth once` passes, and the running khealth loses no pod to it."""
    installed, _ = applied
    installed.wait_for_hold()
    said = kubectl("exec", "-n", "khealth", "deploy/khealth", "--", "khealth", "once", "control-plane", "rcscheduler")
    lost = installed.metric("khealth_failures_total", routine="rcscheduler", reason="pod_lost")
    assert ("result: success", 0.0) == (said.stdout.strip().splitlines()[-1], lost)


def test_a_sweep_in_its_own_pod_takes_nothing_of_the_run(applied: tuple[Installed, str]) -> None:
    """`kubectl exec deploy/khealth -- khealth sweep`: what a living process of the same Pod holds is not left behind."""
    installed, _ = applied
    installed.wait_for_hold()
    said = kubectl("exec", "-n", "khealth", "deploy/khealth", "--", "khealth", "sweep").stdout
    lost = installed.metric("khealth_failures_total", routine="rcscheduler", reason="pod_lost")
    kept, *_ = said.splitlines()
    assert ("nothing to delete in namespace khealth", 0.0) == (kept, lost), said


def test_deleting_the_single_file_in_mid_attempt_leaves_nothing(applied: tuple[Installed, str]) -> None:
    """Neither in the namespace, nor the namespace, nor anything outside."""
    installed, _ = applied
    installed.wait_for_hold()
    kubectl("delete", "-f", str(SINGLE_FILE))
    assert ("", "") == (cluster_wide(), kubectl("get", "namespace", "khealth", "--ignore-not-found").stdout)


@pytest.fixture(scope="module")
def released() -> Iterator[Installed]:
    """The chart, installed by helm in a namespace of its own."""
    kubectl("delete", "-f", str(SINGLE_FILE), "--ignore-not-found")  # It has the node port and the PriorityClass.
    installed = Installed(f"khealth-helm-{secrets.token_hex(2)}")
    try:
        _helm("install", installed, "--create-namespace", "--wait", "--timeout=3m")
        yield installed
    finally:
        ran(needs("helm"), "uninstall", "khealth", "-n", installed.namespace, "--ignore-not-found")
        kubectl("delete", "namespace", installed.namespace, "--ignore-not-found")


def _helm(command: str, installed: Installed, *words: str) -> None:
    repository, _, tag = needs_variable("KHEALTH_IMAGE").rpartition(":")
    named = ("--set", f"image.repository={repository},image.tag={tag}")
    ran(needs("helm"), command, "khealth", str(CHART), "-n", installed.namespace, *named, *words)


def test_an_upgrade_with_a_changed_configuration_restarts_nothing(released: Installed) -> None:
    """The kubelet swaps the ConfigMap's link, khealth notices, and its process goes on."""
    before = released.pod()["metadata"]["uid"]
    _helm("upgrade", released, "--set", "config.modules.rcscheduler.rcscheduler.interval=90s")
    wait_for(
        "the new interval", lambda: released.metric("khealth_interval_seconds", routine="rcscheduler") == 90, PATIENCE
    )
    pod = released.pod()
    restarts = [status["restartCount"] for status in pod["status"]["containerStatuses"]]
    assert (before, [0], 1.0) == (
        pod["metadata"]["uid"],
        restarts,
        released.metric("khealth_config_last_reload_successful"),
    )


def test_helm_test_is_a_smoke_test(released: Installed) -> None:
    """`helm test` runs `khealth once` beside the release, and passes."""
    said = ran(needs("helm"), "test", "khealth", "-n", released.namespace, "--timeout=3m").stdout
    assert "Succeeded" in said


def test_the_image_is_what_it_says(released: Installed) -> None:
    """Its user is nobody in particular, what it adds cannot be written, has no pip, and is below 150 MB."""
    probe = (
        "import importlib.util, os, pathlib, shutil\n"
        "size = sum(f.lstat().st_size for f in pathlib.Path('/opt/khealth').rglob('*'))\n"
        "print(os.getuid(), os.getgid(), os.access('/opt/khealth', os.W_OK), importlib.util.find_spec('pip'),"
        " shutil.which('cc'), size < 150_000_000)"
    )
    name = released.pod()["metadata"]["name"]
    said = kubectl("exec", "-n", released.namespace, name, "--", "python", "-c", probe).stdout
    assert "65532 65532 False None None True" == said.strip()


def test_uninstalling_in_mid_attempt_leaves_nothing(released: Installed) -> None:
    """Although its rights are gone before it is: what it made goes with its Pod."""
    released.wait_for_hold()
    ran(needs("helm"), "uninstall", "khealth", "-n", released.namespace)
    wait_for("an empty namespace", lambda: not released.everything(), PATIENCE)
    assert "" == cluster_wide()
