"""deploy/khealth.yaml: what `kubectl apply -f` installs."""

import re

import charts

from deploy.render import FILE, rendered
from deploy.render import helm as command


def test_it_is_what_the_chart_renders(helm: charts.Helm) -> None:
    """`make render` would change nothing."""
    assert helm
    assert FILE.read_text() == rendered(str(command()))


def test_its_objects() -> None:
    """All of khealth; the namespace first, which everything else needs."""
    manifests = charts.Manifests(FILE.read_text())
    assert "Namespace" == next(iter(manifests))["kind"]
    assert [
        "ClusterRole/khealth-khealth-nodes",
        "ClusterRoleBinding/khealth-khealth-nodes",
        "ConfigMap/khealth",
        "Deployment/khealth",
        "Namespace/khealth",
        "NetworkPolicy/khealth",
        "PriorityClass/khealth-canary",
        "ResourceQuota/khealth-canaries",
        "Role/khealth",
        "RoleBinding/khealth",
        "Service/khealth",
        "Service/khealth-metrics",
        "ServiceAccount/khealth",
    ] == manifests.kinds


def test_everything_of_it_is_in_the_namespace_khealth() -> None:
    """Wherever kubectl happens to be."""
    placed = {d["metadata"].get("namespace") for d in charts.Manifests(FILE.read_text())}
    assert {"khealth", None} == placed


def test_it_says_what_it_is_and_nothing_of_helm() -> None:
    """It is no release of helm's, and not to be changed by hand."""
    text = FILE.read_text()
    assert text.startswith(
        "# All of khealth, in the namespace khealth: kubectl apply -f khealth.yaml\n# Written by `make render`"
    )
    assert [] == re.findall(r"(?i)^.*helm.*$", text, re.MULTILINE)
