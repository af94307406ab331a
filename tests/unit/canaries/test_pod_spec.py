"""A canary pod: small, restricted, spread over the nodes, and nobody's obstacle."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from khealth_exporter.canaries.pod_spec import (
    PAUSE,
    UNTOUCHED,
    UNTOUCHED_LABELS,
    PodSettings,
    Toleration,
    pod_spec,
)
from khealth_exporter.cluster import scheduling

LABELS = {"khealth.io/run": "ab12"}


def spec(**settings: Any) -> dict[str, Any]:
    """Return the specification as it is sent."""
    sent: dict[str, Any] = json.loads(json.dumps(pod_spec(PodSettings.model_validate(settings), LABELS)))
    return sent


def test_it_passes_the_restricted_pod_security_standard() -> None:
    """Every control of the standard that a pod has to say something of."""
    made = spec()
    (container,) = made["containers"]
    security = {**made["securityContext"], **container["securityContext"]}
    assert {
        "runAsNonRoot": True,
        "runAsUser": 65535,
        "seccompProfile": {"type": "RuntimeDefault"},
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == security
    assert set() == {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"} & made.keys()


def test_it_is_small() -> None:
    """It takes nobody's room."""
    assert {"requests": {"cpu": "1m", "memory": "8Mi"}} == spec()["containers"][0]["resources"]


def test_its_kubelet_takes_it_away() -> None:
    """A grace period of 0 would leave out what is to be measured."""
    assert 1 == spec()["terminationGracePeriodSeconds"]


def test_it_has_no_token_and_no_service_links() -> None:
    """It talks to nobody."""
    made = spec()
    assert (False, False) == (made["automountServiceAccountToken"], made["enableServiceLinks"])


def test_it_is_spread_over_hosts_where_it_can_be() -> None:
    """A wish, not a demand: a broken node looks least loaded, and would attract them all."""
    (spread,) = spec()["topologySpreadConstraints"]
    assert {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": LABELS},
    } == spread


def test_it_runs_on_linux() -> None:
    """Its image is Linux's; other labels add to that."""
    assert {"kubernetes.io/os": "linux", "zone": "a"} == spec(nodeSelector={"zone": "a"})["nodeSelector"]


def test_what_is_not_given_is_not_sent() -> None:
    """An empty PriorityClass is not the same as none."""
    assert set() == {"priorityClassName", "runtimeClassName", "imagePullSecrets"} & spec().keys()


def test_what_is_given_is_sent_in_kubernetes_words() -> None:
    """Settings are the API's own fields."""
    made = spec(
        priorityClassName="low", runtimeClassName="gvisor", imagePullSecrets=[{"name": "s"}], image="mirror/pause"
    )
    assert ("low", "gvisor", [{"name": "s"}], "mirror/pause") == (
        made["priorityClassName"],
        made["runtimeClassName"],
        made["imagePullSecrets"],
        made["containers"][0]["image"],
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"key": "dedicated", "value": "x"}, {"key": "dedicated", "value": "x"}),
        ({"operator": "Exists"}, {"operator": "Exists"}),
        (
            {"key": "a", "effect": "NoExecute", "tolerationSeconds": 0},
            {"key": "a", "effect": "NoExecute", "tolerationSeconds": 0},
        ),
    ],
)
def test_tolerations_are_sent_as_they_are_given(given: dict[str, Any], sent: dict[str, Any]) -> None:
    """Nothing is added; toleration for 0 s is not unlimited toleration."""
    assert [sent] == spec(tolerations=[given])["tolerations"]


def test_it_is_safe_to_evict_and_free_of_sidecars() -> None:
    """Its own annotations, and the user's beside them."""
    marks = PodSettings(annotations={"team": "sre", "sidecar.istio.io/inject": "true"}).marks
    assert UNTOUCHED | {"team": "sre", "sidecar.istio.io/inject": "true"} == marks


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"limits": {"cpu": "10m", "memory": "16Mi"}}, {"requests": {"cpu": "1m", "memory": "8Mi"}}),
        ({"requests": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Mi"}}, {}),
        ({"requests": {"cpu": ".5"}, "limits": {"cpu": "500m"}}, {}),
        ({"limits": {"memory": "4Mi"}}, {"requests": {"cpu": "1m", "memory": "4Mi"}}),
        ({"limits": {"cpu": "0", "memory": "1e6"}}, {"requests": {"cpu": "0", "memory": "1e6"}}),
    ],
)
def test_resources_are_sent_as_they_are_given(given: dict[str, Any], sent: dict[str, Any]) -> None:
    """Limits leave the usual requests unless they are lower, other requests replace them."""
    assert sent | given == spec(resources=given)["containers"][0]["resources"]


def test_a_quantity_can_be_a_number() -> None:
    """YAML reads `cpu: 1` as one."""
    assert {"cpu": "1", "memory": "0.5"} == spec(resources={"limits": {"cpu": 1, "memory": 0.5}, "requests": {}})[
        "containers"
    ][0]["resources"]["limits"]


def test_what_is_no_quantity_is_refused_in_words() -> None:
    """A pattern would tell nobody how to write one."""
    with pytest.raises(ValidationError, match="'64MB' is not a quantity: write an amount such as 500m, 1 or 64Mi"):
        spec(resources={"limits": {"memory": "64MB"}})


@pytest.mark.parametrize(("user", "sent"), [(None, {}), (1000650000, {"runAsUser": 1000650000})])
def test_its_user_can_be_left_out(user: int | None, sent: dict[str, int]) -> None:
    """OpenShift's restricted-v2 allows none but those of the namespace's range, and sets one of them itself."""
    other = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert other | sent == spec(runAsUser=user)["securityContext"]


def test_its_labels_are_the_users_and_those_of_the_attempt() -> None:
    """The user's displace what keeps sidecars out, and not what khealth finds its pods by."""
    settings = PodSettings(labels={"team": "sre", "sidecar.istio.io/inject": "true"})
    expected = UNTOUCHED_LABELS | {"team": "sre", "sidecar.istio.io/inject": "true"} | LABELS
    assert expected == settings.labelled(LABELS)


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("sidecar.istio.io/inject", "false", "label"),
        ("sidecar.istio.io/inject", "false", "annotation"),
        ("istio.io/dataplane-mode", "none", "label"),
        ("linkerd.io/inject", "disabled", "annotation"),
        ("kuma.io/sidecar-injection", "disabled", "label"),
        ("kuma.io/sidecar-injection", "disabled", "annotation"),
        ("consul.hashicorp.com/connect-inject", "false", "annotation"),
    ],
)
def test_each_mesh_is_told_where_it_looks(key: str, value: str, where: str) -> None:
    """A sidecar would be measured as the pod's own start."""
    settings = PodSettings()
    assert value == {"label": settings.labelled(LABELS), "annotation": settings.marks}[where][key]


def test_its_placement_says_where_it_may_run() -> None:
    """Image, selector (Linux nodes only) and the whole tolerations: nodes are judged by it."""
    settings = PodSettings(nodeSelector={"zone": "a"}, tolerations=(Toleration(key="dedicated", value="x"),))
    placement = settings.placement
    assert (PAUSE, {"kubernetes.io/os": "linux", "zone": "a"}, (scheduling.Toleration("dedicated", "Equal", "x"),)) == (
        placement.image,
        placement.selector,
        placement.tolerations,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"image": ""}, {"imagePullSecrets": [{"name": ""}]}, {"tolerations": [{"operator": "Like"}]},
        {"tolerations": [{"effect": "Never"}]}, {"nodeName": "node-1"},
        {"tolerations": [{"value": "x"}]}, {"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]},
        {"tolerations": [{"key": "a", "operator": "Lt", "value": "1.5"}]},
        {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]},
        {"labels": {"a b": "c"}}, {"labels": {"a/b/c": "d"}}, {"labels": {"a": "b c"}}, {"labels": {"a": "b" * 64}},
        {"labels": {"khealth.io/run": "x"}}, {"labels": {"app.kubernetes.io/managed-by": "me"}},
        {"resources": {"requests": {"cpu": "-1"}}}, {"resources": {"limits": {"cpu": "1 core"}}},
        {"resources": {"limits": {"cpu": True}}}, {"resources": {"claims": []}}, {"runAsUser": 0}, {"runAsUser": 2**31},
        {"resources": {"requests": {"cpu": "1.5"}, "limits": {"cpu": 1}}},
    ],
)  # fmt: skip
def test_what_kubernetes_would_refuse_is_refused_at_the_start(settings: dict[str, Any]) -> None:
    """A slip in the file is found before anything starts."""
    with pytest.raises(ValidationError):
        PodSettings.model_validate(settings)
