"""Whether Kubernetes would take what is rendered, and what kube-score thinks of it."""

import json
import subprocess
from typing import Any

import charts
import kubernetes_validate
import pytest
from tools import needs

from deploy.render import FILE

VERSIONS = [f"1.{minor}" for minor in range(31, 38)]


@pytest.fixture(scope="session")
def manifests(helm: charts.Helm) -> list[dict[str, Any]]:
    """Return everything that any set of values makes, once each, but what Kubernetes itself does not know."""
    texts = {json.dumps(document) for values in charts.SETS.values() for document in helm.template(values)}
    return [document for text in sorted(texts) if (document := json.loads(text))["kind"] not in charts.CUSTOM]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(manifests: list[dict[str, Any]], version: str) -> None:
    """Strictly: no field that this version of Kubernetes does not know."""
    for document in manifests:
        _validate(document, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_installs_on_every_version_that_is_validated(helm: charts.Helm, version: str) -> None:
    """The chart says from which on."""
    assert helm.template({}).kinds == helm.template({}, f"--kube-version={version}").kinds


def test_it_does_not_install_where_nobody_has_looked(helm: charts.Helm) -> None:
    """An older Kubernetes is refused, not tried."""
    assert "chart requires kubeVersion: >=1.31.0-0" in helm.refusal({}, "--kube-version=1.30")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_single_file_is_valid(version: str) -> None:
    """As it is committed, without helm."""
    for document in charts.Manifests(FILE.read_text()):
        _validate(document, version)


def test_what_is_not_valid_would_be_found() -> None:
    """A field of nobody's, a number that must be text, a kind that there is not."""
    for wrong in (
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": []}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"b": 1}},
        {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"}},
    ):
        with pytest.raises(AssertionError):
            _validate(wrong, VERSIONS[-1])


def _validate(document: dict[str, Any], version: str) -> None:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except Exception as error:
        name = f"{document['kind']} {document['metadata']['name']}"
        raise AssertionError(f"{name} is not valid in {version}: {error}") from error


def test_no_more_is_argued_than_has_to_be(helm: charts.Helm) -> None:
    """Three findings, with their reasons beside them; requests and a limit of memory are there."""
    manifests = helm.template({})
    argued = manifests.one("Deployment")["metadata"]["annotations"]["kube-score/ignore"]
    assert "container-resources,container-image-pull-policy,container-ephemeral-storage-request-and-limit" == argued
    assert {"limits": ["memory"], "requests": ["cpu", "memory"]} == {
        key: sorted(amounts) for key, amounts in manifests.container["resources"].items()
    }


CHOSEN = {"bare", "everything"}
"""Sets that choose what kube-score is against: no NetworkPolicy, and a container of somebody else's."""


@pytest.mark.parametrize("name", sorted(charts.SETS.keys() - CHOSEN))
def test_kube_score_has_nothing_critical_to_say(helm: charts.Helm, name: str) -> None:
    """But for what is argued in the template, beside the annotation that says so."""
    done = subprocess.run(  # noqa: S603 - kube-score itself
        [needs("kube-score"), "score", "--output-format=json", "-"],
        input=helm.template(charts.SETS[name]).text,
        capture_output=True,
        text=True,
        check=False,
    )
    critical = 1
    assert [] == [
        f"{scored['object_name']}: {check['check']['id']}: {[c['summary'] for c in check['comments'] or []]}"
        for scored in json.loads(done.stdout)
        for check in scored["checks"]
        if not check["skipped"] and check["grade"] <= critical
    ]
