"""What the chart makes of its values."""

import json
import math
import random
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import charts
import pytest
import yaml
from charts import Json
from pydantic import ValidationError

from deploy.render import CHART
from khealth_exporter.canaries.pod_spec import Resources
from khealth_exporter.config import load
from khealth_exporter.config.off import off_because
from khealth_exporter.core.runner import OVERTIME
from khealth_exporter.modules import MODULES
from khealth_exporter.routines.rcscheduler import RcSchedulerSettings
from khealth_exporter.simulator.pod_security import violations
from khealth_exporter.vocabulary.settings import parse_duration

DEFAULTS = [
    "ClusterRole/khealth-khealth-nodes",
    "ClusterRoleBinding/khealth-khealth-nodes",
    "ConfigMap/khealth",
    "Deployment/khealth",
    "NetworkPolicy/khealth",
    "Pod/khealth-test",
    "PriorityClass/khealth-canary",
    "ResourceQuota/khealth-canaries",
    "Role/khealth",
    "RoleBinding/khealth",
    "Service/khealth",
    "Service/khealth-metrics",
    "ServiceAccount/khealth",
]


_RUNNING = [
    kind
    for module in MODULES
    for kind in module.routines
    if module.name != "rcscheduler" and not off_because(module, kind, "khealth")
]
OTHERS = {kind.name: kind.Settings().timeout for kind in _RUNNING}
"""Routines of the other modules that run by default, with their `timeout` in seconds."""
OTHER_PODS = sum("pod" in kind.Settings.model_fields for kind in _RUNNING)
"""How many canaries they have, one each."""


def routine(label: str = "rcscheduler", **settings: Any) -> Json:
    """Return values with one routine."""
    return {"config": {"modules": {"rcscheduler": {label: settings}}}}


def told(helm: charts.Helm, values: Json) -> Json:
    """Return the one routine of the rendered configuration."""
    modules = yaml.safe_load(helm.template(values).config)["modules"]
    return modules["rcscheduler"]["rcscheduler"] or {}


def test_canaries_of_khealths_own_image_have_its_pull_secrets(helm: charts.Helm) -> None:
    """And those of all canaries; the others' image is another."""
    values = {
        "imagePullSecrets": ["own"],
        "global": {"imagePullSecrets": [{"name": "all"}]},
        "canaries": {"pod": {"imagePullSecrets": ["pause"]}},
    }
    modules = yaml.safe_load(helm.template(values).config)["modules"]["workloads"]
    names = {label: [one["name"] for one in modules[label]["pod"]["imagePullSecrets"]] for label in ("job", "pod")}
    assert {"job": ["pause", "own", "all"], "pod": ["pause"]} == names


@pytest.mark.parametrize("name", charts.SETS)
def test_helm_finds_nothing_wrong(helm: charts.Helm, name: str, tmp_path: Path) -> None:
    """Not even what it only recommends."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(charts.SETS[name]))
    done = helm.run("lint", "--strict", "--quiet", str(CHART), f"--values={file}")
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_what_is_made_by_default(helm: charts.Helm) -> None:
    """No more than that."""
    assert DEFAULTS == helm.template({}).kinds


def test_what_is_made_at_least(helm: charts.Helm) -> None:
    """Everything that can be left out."""
    left = {"ConfigMap", "Deployment", "Role", "RoleBinding", "Service", "ServiceAccount"}
    assert left == {kind.partition("/")[0] for kind in helm.template(charts.BARE).kinds}


def test_names_follow_the_release(helm: charts.Helm) -> None:
    """And leave room for suffixes, however long they are."""
    done = helm.run("template", "one", str(CHART), "--show-only=templates/service.yaml")
    assert ["one-khealth", "one-khealth-metrics"] == [d["metadata"]["name"] for d in charts.Manifests(done.stdout)]
    long = helm.template({"fullnameOverride": "a" * 70}).one("ResourceQuota")["metadata"]["name"]
    assert f"{'a' * 47}-canaries" == long


def test_every_object_is_labelled(helm: charts.Helm) -> None:
    """By what it is of; common labels do not displace khealth's own."""
    labels = {"team": "sre", "app.kubernetes.io/name": "other"}
    for document in helm.template({"commonLabels": labels}):
        own = document["metadata"]["labels"]
        assert ("khealth", "khealth", "sre") == (
            own["app.kubernetes.io/name"],
            own["app.kubernetes.io/instance"],
            own["team"],
        )


@pytest.mark.parametrize("name", charts.SETS)
def test_everything_is_in_its_namespace(helm: charts.Helm, name: str) -> None:
    """What has none would land wherever kubectl happens to be."""
    whole = {"ClusterRole", "ClusterRoleBinding", "PriorityClass", "Namespace"}
    expected = {"khealth", "canaries", "monitoring"}
    for document in helm.template({**charts.SETS[name], "extraManifests": []}):
        assert (document["kind"] in whole) == (document["metadata"].get("namespace") not in expected)


# --- the pod


def test_one_khealth_at_a_time(helm: charts.Helm) -> None:
    """Two would exercise the cluster twice."""
    spec = helm.template({}).one("Deployment")["spec"]
    assert (1, {"type": "Recreate"}) == (spec["replicas"], spec["strategy"])


@pytest.mark.parametrize("kind", ["Deployment", "Pod"])
@pytest.mark.parametrize("name", [name for name in charts.SETS if name != "everything"])
def test_its_pods_pass_the_restricted_pod_security_standard(helm: charts.Helm, name: str, kind: str) -> None:
    """In the namespace that is labelled so, they are let in."""
    pods = [d["spec"] for d in helm.template(charts.SETS[name]) if d["kind"] == kind]
    assert [] == [v for pod in pods for v in violations(pod.get("template") or {"spec": pod}, "restricted")]


def test_the_container_is_locked_down(helm: charts.Helm) -> None:
    """It writes nowhere, gains nothing, and is nobody in particular."""
    manifests = helm.template({})
    pod, container = manifests.pod["securityContext"], manifests.container["securityContext"]
    assert (
        {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    ) == (pod, container)


def test_the_user_can_be_left_to_the_cluster(helm: charts.Helm) -> None:
    """OpenShift gives each namespace users of its own."""
    given = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    expected = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert expected == helm.template(given).pod["securityContext"]


def test_memory_is_bounded_and_the_cpu_is_not(helm: charts.Helm) -> None:
    """A throttled khealth measures itself."""
    expected = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}}
    assert expected == helm.template({}).container["resources"]


def test_khealth_knows_its_own_pod(helm: charts.Helm) -> None:
    """What it makes is owned by that Pod; `helm test` does the same."""
    manifests = helm.template({})
    for container in (manifests.container, manifests.one("Pod")["spec"]["containers"][0]):
        fields = {entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] for entry in container["env"]}
        assert {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"} == fields


def test_only_its_own_pods_have_a_token(helm: charts.Helm) -> None:
    """The account itself hands out none."""
    manifests = helm.template({})
    given = manifests.one("ServiceAccount")["automountServiceAccountToken"]
    assert (False, True) == (given, manifests.pod["automountServiceAccountToken"])


def test_probes_are_patient(helm: charts.Helm) -> None:
    """A busy node makes it slow, not sick."""
    container = helm.template({}).container
    for probe, path in (("livenessProbe", "/-/healthy"), ("readinessProbe", "/-/ready")):
        expected = {
            "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        }
        assert expected == container[probe]


def test_the_command_line(helm: charts.Helm) -> None:
    """Every flag is one that khealth has."""
    assert [
        "run",
        "--client-mode=in-cluster",
        "--config=/etc/khealth/khealth.yaml",
        "--listen=:8080",
        "--log.level=info",
        "--log.format=logfmt",
    ] == helm.template({}).container["args"]


def test_the_configuration_can_change_under_way(helm: charts.Helm) -> None:
    """It is a whole folder, and nothing in the pod changes with it: khealth notices, and no pod is restarted."""
    pods = [helm.template(routine(replicas=count)).pod for count in (2, 9)]
    (mount,) = pods[0]["containers"][0]["volumeMounts"]
    assert {"name": "config", "mountPath": "/etc/khealth", "readOnly": True} == mount
    assert pods[0] == pods[1]


SHARED_SECRET: Json = {"existingSecret": "web", "scheme": "http"}
CERTIFIED: Json = {"tls_server_config": {"cert_file": "a", "key_file": "b"}}
TCP: Json = {"probes": {"type": "tcp"}, "metrics": {"discovery": "none"}}


def classed(**values: Any) -> Json:
    """Return values with another PriorityClass of the canaries."""
    return {"canaries": {"priorityClass": values}}


@pytest.mark.parametrize(
    ("before", "after", "replaced"),
    [
        ({}, {"canaries": {"namespace": "canaries"}}, True),
        ({}, {"canaries": {"namespace": "khealth"}}, False),
        ({**TCP, "web": SHARED_SECRET}, {**TCP, "web": {**SHARED_SECRET, "scheme": "https"}}, True),
        ({**TCP, "web": {"config": {"rate_limit": {}}}}, {**TCP, "web": {"config": CERTIFIED}}, True),
        ({**TCP, "web": {"config": CERTIFIED}}, {**TCP, "web": {"config": {**CERTIFIED, "rate_limit": {}}}}, False),
        ({}, routine(interval="5m"), False),
        ({}, classed(value=-20), True),
        (classed(value=-20), classed(value=-30), True),
        (classed(value=-20), {}, True),
        (classed(name="low"), classed(name="lower"), True),
        ({}, classed(create=False), True),
        (classed(create=False), classed(name="low"), True),
        ({}, classed(value=-11), False),
        (classed(value=-20), {**classed(value=-20), **routine(pod={"priorityClassName": "own"})}, False),
    ],
)  # fmt: skip
def test_what_a_reload_refuses_replaces_the_pod(helm: charts.Helm, before: Json, after: Json, replaced: bool) -> None:
    """Another namespace of the canaries, TLS on or off, or a class that Helm deletes: khealth would keep the old one."""
    templates = [helm.template(values).one("Deployment")["spec"]["template"] for values in (before, after)]
    assert replaced is (templates[0] != templates[1])


def test_what_replaces_the_pod_cannot_be_lost(helm: charts.Helm) -> None:
    """More annotations of the pod do not displace it."""
    key = "khealth.io/restart-for"
    spec = helm.template({"podAnnotations": {key: "other", "a": "b"}}).one("Deployment")["spec"]
    annotations = spec["template"]["metadata"]["annotations"]
    assert ("http of canaries in khealth", "b") == (annotations[key], annotations["a"])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "khealth:0.1.0"),
        ({"tag": "2"}, "khealth:2"),
        ({"registry": "r.example", "repository": "a/b"}, "r.example/a/b:0.1.0"),
        ({"registry": "r.example:5000/a"}, "r.example:5000/a/khealth:0.1.0"),
        ({"tag": "2", "digest": f"sha256:{'a' * 64}"}, f"khealth@sha256:{'a' * 64}"),
    ],
)
def test_the_image(helm: charts.Helm, image: Json, expected: str) -> None:
    """A digest wins over a tag, which follows the chart's appVersion."""
    assert expected == helm.template({"image": image}).container["image"]


def test_a_registry_for_all_wins(helm: charts.Helm) -> None:
    """As in other charts: where a cluster has a mirror."""
    values = {"global": {"imageRegistry": "mirror.example"}, "image": {"registry": "r.example"}}
    assert "mirror.example/khealth:0.1.0" == helm.template(values).container["image"]


def test_what_is_given_reaches_the_pod(helm: charts.Helm) -> None:
    """Scheduling, network and extras, as they are."""
    pod = helm.template(charts.EVERYTHING).pod
    given = charts.EVERYTHING
    as_they_are = ("tolerations", "affinity", "topologySpreadConstraints", "hostAliases", "dnsPolicy", "dnsConfig")
    assert {key: given[key] for key in as_they_are} == {key: pod[key] for key in as_they_are}
    assert ("high", {"kubernetes.io/os": "linux", "pool": "b"}) == (pod["priorityClassName"], pod["nodeSelector"])
    assert [{"name": "own"}, {"name": "all"}] == pod["imagePullSecrets"]
    assert given["extraContainers"] == pod["containers"][1:]
    assert given["extraVolumes"] == pod["volumes"][-1:]
    container = pod["containers"][0]
    assert (given["extraArgs"], given["extraEnv"]) == (container["args"][-1:], container["env"][-1:])
    assert given["extraVolumeMounts"] == container["volumeMounts"][-1:]


def test_selectors_cannot_be_lost(helm: charts.Helm) -> None:
    """More labels of the pod do not displace those that it is found by."""
    labels = {"app.kubernetes.io/component": "other", "pool": "a"}
    spec = helm.template({"podLabels": labels, "commonLabels": labels}).one("Deployment")["spec"]
    own = {"khealth.io/release": "khealth", "pool": "a"}
    assert spec["selector"]["matchLabels"] | own == spec["template"]["metadata"]["labels"]


def test_the_deployments_selector_is_that_of_every_release(helm: charts.Helm) -> None:
    """It cannot be changed: with any other, an upgrade would fail."""
    expected = {
        "app.kubernetes.io/instance": "khealth",
        "app.kubernetes.io/name": "khealth",
        "app.kubernetes.io/component": "exporter",
    }
    assert expected == helm.template({}).one("Deployment")["spec"]["selector"]["matchLabels"]


SELECTING: Json = {**charts.OPERATOR, "replicaCount": 2, "service": {"type": "NodePort"}}


def test_nothing_else_selects_by_a_label_that_tools_rewrite(helm: charts.Helm) -> None:
    """Argo CD sets `app.kubernetes.io/instance` to its application's name, kustomize and Flux have labels of their own."""
    manifests = helm.template(SELECTING)
    selectors = [
        manifests.one("ServiceMonitor")["spec"]["selector"]["matchLabels"],
        manifests.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        manifests.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(d["spec"]["selector"] for d in manifests if d["kind"] == "Service"),
    ]
    found = {(key, value) for selector in selectors for key, value in selector.items()}
    assert {key for key, _ in found} <= {"khealth.io/release", "app.kubernetes.io/component"}
    assert ("khealth.io/release", "khealth") in found


def test_two_releases_in_one_namespace_do_not_meet(helm: charts.Helm) -> None:
    """Each selects its own pods and Services."""
    one, two = helm.template(SELECTING), helm.template(SELECTING, release="other")
    monitor = two.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = [d for d in one if d["kind"] == "Service"]
    pod = two.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert (2, []) == (len(services), [s for s in services if monitor <= s["metadata"]["labels"].items()])
    assert [] == [s for s in services if s["spec"]["selector"].items() <= pod]


@pytest.mark.parametrize("place", ["global", "own", "canaries"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (["regcred"], [{"name": "regcred"}]),
        ([{"name": "regcred"}], [{"name": "regcred"}]),
        (["a", {"name": "b"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}]),
    ],
)
def test_a_pull_secret_is_a_name_or_an_object(helm: charts.Helm, place: str, given: list[Any], sent: list[Any]) -> None:
    """As charts have it: most take objects, many take names."""
    secrets: Json = {"imagePullSecrets": given}
    places: dict[str, Json] = {
        "global": {"global": secrets},
        "own": secrets,
        "canaries": {"canaries": {"pod": secrets}},
    }
    values = places[place]
    pod = told(helm, values)["pod"] if place == "canaries" else helm.template(values).pod
    assert sent == pod["imagePullSecrets"]


def emptied(values: Json) -> Json:
    """Return values with null for whatever is empty by default."""
    inner = {key: emptied(value) for key, value in values.items() if isinstance(value, dict) and value}
    return inner | {key: None for key, value in values.items() if value in ([], {}, "")}


def test_a_value_that_is_null_is_not_set(helm: charts.Helm) -> None:
    """Helm removes the default of whatever is null: a map, a list, or a text."""
    values = emptied(yaml.safe_load((CHART / "values.yaml").read_text()))
    assert None is values["config"] is values["global"]["imagePullSecrets"]
    flags = "--set=prometheusRule.enabled=true,dashboards.enabled=true,metrics.discovery=serviceMonitor"
    assert helm.template({}, flags).text == helm.template(values, flags).text


@pytest.mark.parametrize("user", [None, 1000650000])
def test_the_canaries_user_is_khealths_to_know(helm: charts.Helm, user: int | None, tmp_path: Path) -> None:
    """Null reaches khealth, although Helm takes it for *not set*; the usual user is not repeated."""
    file = tmp_path / "khealth.yaml"
    file.write_text(helm.template({"canaries": {"pod": {"runAsUser": user}}}).config)
    assert {user} == {r.settings.pod.runAsUser for r in load(file).routines if hasattr(r.settings, "pod")}
    assert "runAsUser" not in told(helm, {"canaries": {"pod": {"runAsUser": 65535}}})["pod"]


LATER = {"labels", "resources", "runAsUser"}
"""Values of `canaries.pod` that the chart's first release did not have."""


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the chart as `helm upgrade --reuse-values` uses it: with the values of the first release alone."""
    chart = tmp_path_factory.mktemp("upgraded") / "chart"
    shutil.copytree(CHART, chart)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values["canaries"]["pod"] = {key: value for key, value in values["canaries"]["pod"].items() if key not in LATER}
    (chart / "values.yaml").write_text(yaml.safe_dump(values))
    return chart


@pytest.mark.parametrize("name", charts.SETS)
def test_reused_values_mean_what_they_meant(helm: charts.Helm, upgraded: Path, name: str) -> None:
    """A value that they lack is not null: it has its default."""
    values: Json = json.loads(json.dumps(charts.SETS[name]))
    pod = values.get("canaries", {}).get("pod", {})
    for key in LATER & pod.keys():
        del pod[key]
    assert helm.template(values).text == helm.template(values, chart=upgraded).text


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"runAsUser": None}, {"runAsUser": None}),
        ({"runAsUser": 1000}, {"runAsUser": 1000}),
        ({"runAsUser": 65535}, {}),
        ({"nodeSelector": {"a": "b"}}, {"nodeSelector": {"a": "b"}}),
    ],
)
def test_reused_values_can_be_added_to(helm: charts.Helm, upgraded: Path, given: Json, sent: Json) -> None:
    """Null as well, although the old values do not have the key."""
    modules = yaml.safe_load(helm.template({"canaries": {"pod": given}}, chart=upgraded).config)["modules"]
    assert {"priorityClassName": "khealth-canary", **sent} == modules["rcscheduler"]["rcscheduler"]["pod"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "khealth-canary"),
        ({"value": -11}, "khealth-canary"),
        ({"value": -20}, "khealth-canary-minus-20"),
        ({"value": 0}, "khealth-canary-0"),
        ({"value": 1000000}, "khealth-canary-1000000"),
        ({"name": "low"}, "low"),
        ({"name": "low", "value": -20}, "low-minus-20"),
    ],
)
def test_another_value_is_another_priority_class(helm: charts.Helm, given: Json, name: str) -> None:
    """Kubernetes refuses to change the value of a class; canaries and their quota follow."""
    manifests = helm.template({"canaries": {"priorityClass": given}})
    made = manifests.one("PriorityClass")
    assert (name, given.get("value", -11)) == (made["metadata"]["name"], made["value"])
    assert name == told(helm, {"canaries": {"priorityClass": given}})["pod"]["priorityClassName"]
    assert [name] == manifests.one("ResourceQuota")["spec"]["scopeSelector"]["matchExpressions"][0]["values"]


LOW: Json = {"priorityClass": {"name": "low", "value": -20}}


@pytest.mark.parametrize(
    "values",
    [
        {"canaries": {**LOW, "pod": {"priorityClassName": "low"}}},
        {"canaries": LOW, **routine(pod={"priorityClassName": "low"})},
        {"canaries": LOW, **routine("gpu", kind="rcscheduler", pod={"priorityClassName": "low"})},
    ],
)
def test_the_class_of_an_earlier_release_is_not_used(helm: charts.Helm, values: Json) -> None:
    """It had no value in its name, and Helm deletes it."""
    message = (
        "values: priorityClassName: low is the name of the chart's PriorityClass without its value: "
        "leave it empty, or write low-minus-20"
    )
    assert message in helm.refusal(values)


@pytest.mark.parametrize(
    "values",
    [
        {"canaries": {"pod": {"priorityClassName": "khealth-canary"}}},
        {"canaries": {**LOW, "pod": {"priorityClassName": "low-minus-20"}}},
        {"canaries": {"priorityClass": {**LOW["priorityClass"], "create": False}, "pod": {"priorityClassName": "low"}}},
        {"canaries": {**LOW, "pod": {"priorityClassName": "other"}}},
    ],
)
def test_a_class_that_exists_can_be_named(helm: charts.Helm, values: Json) -> None:
    """The chart's own by its whole name, and any other."""
    assert values["canaries"]["pod"]["priorityClassName"] == told(helm, values)["pod"]["priorityClassName"]


# --- how long it may take to stop


def test_another_longest_timeout_replaces_the_pod(helm: charts.Helm) -> None:
    """It has to be let stop for longer, which a pod is told when it is made; as docs/install.md says."""
    pods = [helm.template(routine(timeout=text)).pod for text in ("20s", "25s")]
    assert pods[0] != pods[1]


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, 20 + 25),
        (charts.TWO_POOLS, 70 + 25),
        (routine(timeout="500ms"), max(1, *OTHERS.values()) + 25),
        ({**charts.TWO_POOLS, "terminationGracePeriodSeconds": 7}, 7),
        ({"terminationGracePeriodSeconds": 0}, 0),
    ],
)  # fmt: skip
def test_stopping_takes_as_long_as_the_slowest_cleanup(helm: charts.Helm, values: Json, seconds: int) -> None:
    """Its timeout, the time for the diagnosis, and ten seconds."""
    manifests = helm.template(values)
    assert seconds == manifests.pod["terminationGracePeriodSeconds"]
    assert OVERTIME == 15.0


def test_durations_are_read_as_khealth_reads_them(helm: charts.Helm) -> None:
    """Rounded up to full seconds, whatever units they are written with."""
    chance = random.Random(1)
    units = {"h": (0, 20), "m": (0, 300), "s": (0, 4000), "ms": (0, 5000)}
    texts = ["500ms", "1m30s", "1h1m1s1ms", "010m08s", "0.25s", "2m", "7ms", "1.5s500ms", "1h5ms"]
    while len(texts) < 150:
        parts = [(f"{chance.randint(*bounds)}", unit) for unit, bounds in units.items() if chance.random() < 0.5]
        texts += ["".join(number + unit for number, unit in parts)] if parts else []
    call = '{{ include "khealth.seconds" (dict "where" "here" "text" %r) }}'
    lines = "\n".join(f'  "{number}": {call % text}'.replace("'", '"') for number, text in enumerate(texts))
    manifest = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: seconds}}\ndata:\n{lines}"
    read = helm.template({"extraManifests": [manifest]}).one("ConfigMap", "seconds")["data"]
    assert {text: math.ceil(parse_duration(text)) for text in texts} == {
        text: read[str(number)] for number, text in enumerate(texts)
    }


@pytest.mark.parametrize("text", [60, "60", "5 s", "1s1m", "1.5m", "-5s", "s"])
def test_what_is_no_duration_is_refused(helm: charts.Helm, text: object) -> None:
    """With the place where it stands, and the cure."""
    message = (
        f"values: config.modules.rcscheduler.rcscheduler.timeout: {text} is not a duration: "
        "write a number with its unit, as in 500ms, 5s or 2m"
    )
    assert message in helm.refusal(routine(timeout=text), "--skip-schema-validation")
    assert "at '/config/modules/rcscheduler/rcscheduler/timeout'" in helm.refusal(routine(timeout=text))


# --- the configuration


@pytest.mark.parametrize("name", charts.SETS)
def test_khealth_can_read_its_configuration(helm: charts.Helm, name: str, tmp_path: Path) -> None:
    """Every routine that is listed runs, and those of modules that are not mentioned."""
    file = tmp_path / "khealth.yaml"
    file.write_text(helm.template(charts.SETS[name]).config)
    labels = {*charts.SETS[name].get("config", {}).get("modules", {}).get("rcscheduler", ())} - {"suspend"}
    written = {label for module in yaml.safe_load(file.read_text())["modules"].values() for label in module}
    found = {routine.label for routine in load(file).routines}
    assert (labels or {"rcscheduler"}) | {*OTHERS} <= found
    assert written - {"suspend"} == found


def test_the_configuration_is_passed_on_to_the_letter(helm: charts.Helm) -> None:
    """What is not the canaries' pods stays as it was written."""
    document = yaml.safe_load(helm.template(charts.TWO_POOLS).config)
    given = charts.TWO_POOLS["config"]
    first = given["modules"]["rcscheduler"]["rcscheduler"]
    assert {"loop_lag": "30ms"} == document["measurement"]
    assert {**first, "pod": {"priorityClassName": "khealth-canary"}} == document["modules"]["rcscheduler"][
        "rcscheduler"
    ]
    assert given["modules"]["rcscheduler"]["arm64"] == document["modules"]["rcscheduler"]["arm64"]


def test_what_all_canaries_are_is_told_to_each_routine(helm: charts.Helm) -> None:
    """A routine that says something else of its pods keeps it; what is not said is left to khealth."""
    shared = {"image": "mirror.example/pause", "nodeSelector": {"pool": "a"}}
    values = {"canaries": {"pod": shared}, **routine(pod={"nodeSelector": {"zone": "b"}})}
    expected = {
        "image": "mirror.example/pause",
        "nodeSelector": {"zone": "b"},
        "priorityClassName": "khealth-canary",
    }
    assert expected == told(helm, values)["pod"]


@pytest.mark.parametrize("others", [{}, {"other": {"kind": "rcscheduler", "interval": "5m"}}])
def test_a_module_can_be_suspended(helm: charts.Helm, others: Json, tmp_path: Path) -> None:
    """The key is no routine: what rests is what would run without it, and khealth is told."""
    modules = {"rcscheduler": {"suspend": True, **others}}
    file = tmp_path / "khealth.yaml"
    file.write_text(helm.template({"config": {"modules": modules}}).config)
    expected = {(label, True) for label in others or ["rcscheduler"]}
    found = {(r.label, r.settings.suspend) for r in load(file).routines if r.module == "rcscheduler"}
    assert expected == found


@pytest.mark.parametrize("written", ["2026-12-24T06:00:00Z", "2026-12-24T07:00:00+01:00"])
def test_a_module_can_have_a_maintenance_window(helm: charts.Helm, written: str, tmp_path: Path) -> None:
    """Its end reaches khealth, and is no routine either."""
    file = tmp_path / "khealth.yaml"
    file.write_text(helm.template({"config": {"modules": {"rcscheduler": {"suspend_until": written}}}}).config)
    end = datetime(2026, 12, 24, 6, tzinfo=UTC).timestamp()
    found = {(r.label, r.settings.suspend_until) for r in load(file).routines if r.module == "rcscheduler"}
    assert {("rcscheduler", end)} == found


def examples() -> list[Json]:
    """Return the values that docs/install.md shows."""
    text = (CHART.parent.parent / "docs" / "install.md").read_text()
    found = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return [values for values in found if "resources" not in values]


def test_what_is_shown_can_be_installed(helm: charts.Helm, tmp_path: Path) -> None:
    """Every example of values, and khealth can read what comes of it."""
    file = tmp_path / "khealth.yaml"
    routines = []
    for values in examples():
        file.write_text(helm.template(values).config)
        routines.append([routine.label for routine in load(file).routines if routine.module == "rcscheduler"])
    assert [["gpu", "rcscheduler"], *[["rcscheduler"]] * (len(routines) - 1)] == sorted(routines)


def test_khealths_own_defaults_stay_its_own(helm: charts.Helm) -> None:
    """The chart says nothing that nobody asked for."""
    assert {} == told(helm, {"canaries": {"priorityClass": {"create": False}}})
    assert {} == told(helm, {"canaries": {"priorityClass": {"create": False}}, **routine(pod=None)})


def test_canaries_can_live_elsewhere(helm: charts.Helm) -> None:
    """Khealth is told, by its configuration."""
    assert "canaries" == yaml.safe_load(helm.template(charts.ELSEWHERE).config)["namespace"]
    assert "namespace" not in yaml.safe_load(helm.template({}).config)


def test_modules_of_packages_are_written_as_they_are(helm: charts.Helm) -> None:
    """The chart knows nothing of them but that their name is no typing error; their timeouts count."""
    shop = {"suspend": False, "orders": {"timeout": "30m", "limit": 3}}
    chart = helm.template({"packages": ["shop", "other"], "config": {"modules": {"shop": shop}}})
    modules = yaml.safe_load(chart.config)["modules"]
    assert (shop, False) == (modules["shop"], "other" in modules)
    pod = chart.one("Deployment")["spec"]["template"]["spec"]
    assert 1800 < pod["terminationGracePeriodSeconds"] < 1900
    defaults = helm.template({"packages": ["shop"], "config": {"modules": {"shop": {}}}})
    assert {} == yaml.safe_load(defaults.config)["modules"]["shop"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (routine("suspend", interval="5m"), "at '/config/modules/rcscheduler/suspend': got object, want boolean"),
        (routine(pod="small"), "at '/config/modules/rcscheduler/rcscheduler/pod': got string, want null or object"),
        (
            {"web": {"config": {"basic_auth_users": ["a"]}}},
            "at '/web/config/basic_auth_users': got array, want null or object",
        ),
        (
            {"config": {"modules": {"rcshceduler": {}}}},
            "values: config.modules.rcshceduler: khealth 0.1.0 has no module of this name; it has "
            + ", ".join(sorted(module.name for module in MODULES)),
        ),
        ({"packages": ["storage"]}, "values: packages: storage is one of khealth's own modules"),
        (
            routine("arm64"),
            (
                "values: config.modules.rcscheduler.arm64: its kind is arm64, which this module has not; it has rcscheduler: "
                "say `kind: …`"
            ),
        ),
        (
            routine(intervals="5m"),
            "at '/config/modules/rcscheduler/rcscheduler': additional properties 'intervals' not allowed",
        ),
        (routine(interval=5), "at '/config/modules/rcscheduler/rcscheduler/interval': got number, want string"),
        (
            routine("other", kind="rcscheduler", replicsa=5),
            "at '/config/modules/rcscheduler/other': additional properties 'replicsa' not allowed",
        ),
        (
            routine(pod={"imgae": "a"}),
            "at '/config/modules/rcscheduler/rcscheduler/pod': additional properties 'imgae' not allowed",
        ),
        (routine("ARM64", kind="rcscheduler"), "'ARM64' does not match pattern"),
        (
            {"canaries": {"pod": {"tolerations": [{"kye": "a"}]}}},
            "at '/canaries/pod/tolerations/0': additional properties 'kye' not allowed",
        ),
        (
            {"config": {"measurement": {"loop_lga": "1s"}}},
            "at '/config/measurement': additional properties 'loop_lga' not allowed",
        ),
        (
            {"web": {"config": {"basic_auth_user": {}}}},
            "at '/web/config': additional properties 'basic_auth_user' not allowed",
        ),
        (
            {"web": {"config": {"tls_server_config": {"cert": "a", "kye": "b"}}}},
            "at '/web/config/tls_server_config': additional properties 'kye' not allowed",
        ),
        ({"config": {"namespace": "x"}}, "at '/config': additional properties 'namespace' not allowed"),
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"service": {"type": "ExternalName"}}, "at '/service/type': value must be one of"),
        ({"metrics": {"discovery": "both"}}, "at '/metrics/discovery': value must be one of"),
        ({"canaries": {"pod": {"nodeName": "a"}}}, "at '/canaries/pod': additional properties 'nodeName' not allowed"),
        (
            {"image": {"registry": "https://r.example"}},
            "at '/image/registry': 'https://r.example' does not match pattern",
        ),
        ({"image": {"registry": "r.example/"}}, "at '/image/registry': 'r.example/' does not match pattern"),
        (
            {"global": {"imageRegistry": "r.example/"}},
            "at '/global/imageRegistry': 'r.example/' does not match pattern",
        ),
        ({"imagePullSecrets": [""]}, "at '/imagePullSecrets/0': minLength: got 0, want 1"),
        ({"imagePullSecrets": [1]}, "at '/imagePullSecrets/0': got number, want string or object"),
        (
            {"canaries": {"pod": {"resources": {"limits": {"cpu": "1 core"}}}}},
            "at '/canaries/pod/resources/limits/cpu': '1 core' does not match pattern",
        ),
        ({"canaries": {"pod": {"labels": {"a b": "c"}}}}, "at '/canaries/pod/labels': additional properties 'a b'"),
        *(
            (values, f"at '{place}/{key.replace('/', '~1')}': false schema")
            for key in ("app.kubernetes.io/managed-by", "khealth.io/run", "khealth.io/x", "khealth.io")
            for values, place in (
                ({"canaries": {"pod": {"labels": {key: "x"}}}}, "/canaries/pod/labels"),
                (
                    routine(pod={"labels": {key: "x"}}),
                    "/config/modules/rcscheduler/rcscheduler/pod/labels",
                ),
            )
        ),
        ({"canaries": {"pod": {"runAsUser": 0}}}, "at '/canaries/pod/runAsUser': minimum: got 0, want 1"),
        ({"image": {"digest": "sha256:1"}}, "at '/image/digest': 'sha256:1' does not match pattern"),
        (
            {"canaries": {"priorityClass": {"value": "low"}}},
            "at '/canaries/priorityClass/value': got string, want integer",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(helm: charts.Helm, values: Json, message: str) -> None:
    """With its place, before anything is installed."""
    assert message in helm.refusal(values)


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        ("2", "1"), (2, 1), ("1", "999m"), ("1100u", "1m"), ("1", "999999999n"), (".5", "499m"), (1, 0),
        ("1Gi", "1G"), ("1Mi", "1048575"), ("1E", "1e17"), ("1k", "1e2"), ("1025Ki", "1Mi"), (8388609, "8Mi"),
    ],
)  # fmt: skip
def test_a_request_that_exceeds_its_limit_is_refused(
    helm: charts.Helm, request_: str | float, limit: str | float
) -> None:
    """As khealth would refuse it, after the installation; the other way round both accept it."""
    resources = {"requests": {"memory": request_}, "limits": {"memory": limit}}
    everywhere = helm.refusal({"canaries": {"pod": {"resources": resources}}})
    one = helm.refusal(routine(pod={"resources": resources}))
    assert "values: canaries.pod.resources: the request of memory (" in everywhere
    assert "values: config.modules.rcscheduler.rcscheduler.pod.resources: the request of memory (" in one
    with pytest.raises(ValidationError, match="exceeds its limit"):
        Resources.model_validate(resources)
    turned = {"requests": {"memory": limit}, "limits": {"memory": request_}}
    assert {"resources"} < told(helm, {"canaries": {"pod": {"resources": turned}}})["pod"].keys()
    assert Resources.model_validate(turned)


@pytest.mark.parametrize(
    "resources",
    [
        {"limits": {"memory": "4Mi"}},
        {"limits": {"cpu": "100u", "memory": 1}},
        {"requests": {"cpu": "100m"}, "limits": {"cpu": ".1"}},
        {"requests": {"memory": "1Gi"}, "limits": {"memory": 1073741824}},
        {"requests": {"cpu": 2}, "limits": {"memory": "4Mi"}},
        {"requests": {}, "limits": {}},
    ],
)
def test_khealth_accepts_the_resources_that_the_chart_accepts(
    helm: charts.Helm, resources: Json, tmp_path: Path
) -> None:
    """A limit below the usual request among them."""
    file = tmp_path / "khealth.yaml"
    file.write_text(helm.template({"canaries": {"pod": {"resources": resources}}}).config)
    assert load(file).routines


def test_every_refusal_says_that_a_value_is_to_blame() -> None:
    """Helm names a template before it, which is not."""
    texts = [path.read_text() for path in (CHART / "templates").rglob("*.*")]
    refusals = [line for text in texts for line in re.findall(r"\bfail .*", text)]
    assert refusals
    assert [] == [line for line in refusals if not re.match(r'fail (\(printf )?"values: ', line)]


# --- canaries


def test_canaries_are_of_the_least_importance(helm: charts.Helm) -> None:
    """No node is added for them, and nobody has to go."""
    made = helm.template({}).one("PriorityClass")
    assert (-11, "Never", False) == (made["value"], made["preemptionPolicy"], made["globalDefault"])


@pytest.mark.parametrize(
    ("values", "classes", "pods"),
    [
        ({}, ["khealth-canary"], 3 * (3 + OTHER_PODS) + 5),
        (charts.TWO_POOLS, ["khealth-canary", "low"], 3 * (4 + 3 + OTHER_PODS) + 5),
        ({"replicaCount": 2}, ["khealth-canary"], (2 * 2 + 1) * (3 + OTHER_PODS) + 5),
        ({"canaries": {"quota": {"pods": 7}}}, ["khealth-canary"], 7),
        ({"canaries": {"pod": {"priorityClassName": "low"}}}, ["low"], 3 * (3 + OTHER_PODS) + 5),
    ],
)  # fmt: skip
def test_the_quota_counts_canaries_alone(helm: charts.Helm, values: Json, classes: list[str], pods: int) -> None:
    """By their PriorityClasses: an attempt, an earlier one that still ends and a `helm test` always fit."""
    spec = helm.template(values).one("ResourceQuota")["spec"]
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": classes}
    assert {"hard": {"pods": str(pods)}, "scopeSelector": {"matchExpressions": [scope]}} == spec


@pytest.mark.parametrize("canaries", [{"priorityClass": {"create": False}}, {"quota": {"enabled": False}}])
def test_there_is_no_quota_that_could_count_khealth_itself(helm: charts.Helm, canaries: Json) -> None:
    """Canaries without a class cannot be told from it."""
    assert "ResourceQuota/khealth-canaries" not in helm.template({"canaries": canaries}).kinds


def test_khealth_may_not_be_counted_as_a_canary(helm: charts.Helm) -> None:
    """Or stuck canaries would keep it from coming back."""
    message = (
        "values: priorityClassName: khealth-canary is the canaries' class: their quota would count khealth's own pod"
    )
    assert message in helm.refusal({"priorityClassName": "khealth-canary"})


def test_the_quota_knows_how_many_pods_there_are_by_default() -> None:
    """It is counted with khealth's own default."""
    assert 3 == RcSchedulerSettings().replicas


# --- who finds it, and who may talk to it


def test_people_find_it_at_the_node_port(helm: charts.Helm) -> None:
    """As the first khealth's users do."""
    spec = helm.template({}).one("Service", "khealth")["spec"]
    (port,) = spec["ports"]
    assert ("NodePort", 31337, "http") == (spec["type"], port["nodePort"], port["targetPort"])


def test_prometheus_finds_pods_that_are_not_ready(helm: charts.Helm) -> None:
    """It must be scraped above all when something is wrong."""
    spec = helm.template({}).one("Service", "khealth-metrics")["spec"]
    assert ("None", True) == (spec["clusterIP"], spec["publishNotReadyAddresses"])


def test_services_do_not_select_the_test(helm: charts.Helm) -> None:
    """It serves nothing."""
    manifests = helm.template({})
    test = manifests.one("Pod")["metadata"]["labels"]
    own = manifests.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    for name in ("khealth", "khealth-metrics"):
        selector = manifests.one("Service", name)["spec"]["selector"]
        assert (True, False) == (selector.items() <= own.items(), selector.items() <= test.items())


@pytest.mark.parametrize(
    ("discovery", "annotated", "monitored"),
    [("annotations", True, False), ("serviceMonitor", False, True), ("none", False, False)],
)
def test_prometheus_finds_it_in_one_way_at_most(
    helm: charts.Helm, discovery: str, annotated: bool, monitored: bool
) -> None:
    """Scraped twice, everything would count twice."""
    manifests = helm.template({"metrics": {"discovery": discovery}})
    found = manifests.text.count("prometheus.io/scrape:"), manifests.text.count("kind: ServiceMonitor")
    assert (int(annotated), int(monitored)) == found


def test_the_pod_says_how_to_scrape_it(helm: charts.Helm) -> None:
    """The usual annotations of the usual configuration of Prometheus."""
    annotations = helm.template({}).one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert {
        "khealth.io/restart-for": "http of canaries in khealth",
        "kubectl.kubernetes.io/default-container": "khealth",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
        "prometheus.io/scheme": "http",
    } == annotations


def test_the_service_monitor_selects_the_headless_service_alone(helm: charts.Helm) -> None:
    """The one for people has the same pods behind it."""
    manifests = helm.template(charts.OPERATOR)
    monitor = manifests.one("ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    selected = [
        d["metadata"]["name"]
        for d in manifests
        if d["kind"] == "Service" and selector <= d["metadata"]["labels"].items()
    ]
    assert (["khealth-metrics"], ["khealth"]) == (selected, monitor["spec"]["namespaceSelector"]["matchNames"])


def test_the_service_monitor_is_what_is_asked_for(helm: charts.Helm) -> None:
    """Labels for its Prometheus, and everything of the endpoint."""
    monitor = helm.template(charts.OPERATOR).one("ServiceMonitor")
    given = charts.OPERATOR["metrics"]["serviceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    passed = ("interval", "scrapeTimeout", "honorLabels", "relabelings", "metricRelabelings", "scheme", "tlsConfig", "basicAuth")  # fmt: skip
    assert {"port": "http", "path": "/metrics", **{key: given[key] for key in passed}} == endpoint
    assert ("monitoring", "prometheus") == (monitor["metadata"]["namespace"], monitor["metadata"]["labels"]["release"])
    assert (5000, given["jobLabel"]) == (monitor["spec"]["sampleLimit"], monitor["spec"]["jobLabel"])


def test_the_network_policy_lets_it_do_its_work(helm: charts.Helm) -> None:
    """Egress to DNS and to the API by port; ingress on its own port."""
    spec = helm.template({}).one("NetworkPolicy")["spec"]
    ports = [[f"{port['port']}/{port['protocol']}" for port in rule["ports"]] for rule in spec["egress"]]
    assert [["53/UDP", "53/TCP", "5353/UDP", "5353/TCP"], ["443/TCP", "6443/TCP"]] == ports
    prometheus = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}
    http = [{"port": "http", "protocol": "TCP"}]
    assert [{"from": [prometheus], "ports": http}, {"ports": http}] == spec["ingress"]


def test_only_prometheus_comes_in_without_a_node_port(helm: charts.Helm) -> None:
    """You can add others."""
    for service in ({"enabled": False}, {"type": "ClusterIP"}):
        spec = helm.template({"service": service}).one("NetworkPolicy")["spec"]
        assert [True] == ["from" in rule for rule in spec["ingress"]]


def test_nobody_comes_in_where_nobody_is_let_in(helm: charts.Helm) -> None:
    """An empty list of peers would mean everybody."""
    values = {"service": {"enabled": False}, "networkPolicy": {"prometheus": []}}
    assert None is helm.template(values).one("NetworkPolicy")["spec"]["ingress"]


@pytest.mark.parametrize(
    ("empty", "left"),
    [(["dnsPorts"], [443, 6443]), (["apiPorts"], [53, 53, 5353, 5353]), (["dnsPorts", "apiPorts"], [])],
)
def test_no_ports_are_no_way_out(helm: charts.Helm, empty: list[str], left: list[int]) -> None:
    """A rule without ports would mean every port."""
    spec = helm.template({"networkPolicy": {key: [] for key in empty}}).one("NetworkPolicy")["spec"]
    assert left == [port["port"] for rule in spec["egress"] or () for port in rule["ports"]]
    assert "Egress" in spec["policyTypes"]


def test_the_network_policy_selects_khealth_and_no_canary(helm: charts.Helm) -> None:
    """Its own pod, and that of `helm test`, which needs the API too."""
    manifests = helm.template({})
    selector = manifests.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    own = manifests.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    test = manifests.one("Pod")["metadata"]["labels"].items()
    assert (True, True) == (selector <= own, selector <= test)
    assert "app.kubernetes.io/managed-by" not in dict(selector)


@pytest.mark.parametrize(("replicas", "budgets"), [(0, 0), (1, 0), (2, 1)])
def test_a_disruption_budget_needs_two(helm: charts.Helm, replicas: int, budgets: int) -> None:
    """For one it would only keep a node from being drained."""
    kinds = helm.template({"replicaCount": replicas}).kinds
    assert budgets == kinds.count("PodDisruptionBudget/khealth")


# --- TLS and passwords


def test_what_it_serves_with_is_secret(helm: charts.Helm) -> None:
    """Hashes are nobody's business; a certificate is mounted, so that its renewals arrive."""
    manifests = helm.template(charts.SECURED)
    config = yaml.safe_load(manifests.one("Secret")["stringData"]["web-config.yaml"])
    assert {
        "basic_auth_users": {"alice": "$2y$10$hash"},
        "tls_server_config": {"cert_file": "/etc/khealth-tls/tls.crt", "key_file": "/etc/khealth-tls/tls.key"},
    } == config
    volumes = {v["name"]: v["secret"]["secretName"] for v in manifests.pod["volumes"] if "secret" in v}
    assert {"web": "khealth-web", "tls": "khealth-tls"} == volumes
    assert "--web.config.file=/etc/khealth-web/web-config.yaml" in manifests.container["args"]
    mounts = {mount["name"]: mount["mountPath"] for mount in manifests.container["volumeMounts"]}
    assert {"config": "/etc/khealth", "web": "/etc/khealth-web", "tls": "/etc/khealth-tls"} == mounts


def test_the_kubelet_and_prometheus_are_told_of_tls(helm: charts.Helm) -> None:
    """And of the password, as far as it was given."""
    manifests = helm.template(charts.SECURED)
    probe = manifests.container["livenessProbe"]["httpGet"]
    assert ("HTTPS", charts.SECURED["probes"]["httpHeaders"]) == (probe["scheme"], probe["httpHeaders"])
    annotations = manifests.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert "https" == annotations["prometheus.io/scheme"]


PASSWORD: Json = {"web": {"config": {"basic_auth_users": {"a": "b"}}}, "probes": {"type": "tcp"}}
CERTIFICATE: Json = {
    "web": {"config": {"tls_server_config": {"client_auth_type": "RequireAndVerifyClientCert"}}},
    "probes": {"type": "tcp"},
}


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        (
            PASSWORD,
            "basicAuth",
            (
                "values: metrics.serviceMonitor.basicAuth: web.config wants a password, and Prometheus has none; "
                "name the Secret that holds one"
            ),
        ),
        (
            CERTIFICATE,
            "tlsConfig",
            (
                "values: metrics.serviceMonitor.tlsConfig: web.config wants a certificate of every client "
                "(RequireAndVerifyClientCert), and Prometheus has none; name the Secret that holds one"
            ),
        ),
    ],
)
def test_a_service_monitor_has_what_khealth_asks_for(helm: charts.Helm, values: Json, key: str, message: str) -> None:
    """Or Prometheus would never be answered."""
    bare = {**values, "metrics": {"discovery": "serviceMonitor"}}
    assert message in helm.refusal(bare)
    given = charts.OPERATOR["metrics"]["serviceMonitor"][key]
    told = {**values, "metrics": {"discovery": "serviceMonitor", "serviceMonitor": {key: given}}}
    (endpoint,) = helm.template(told).one("ServiceMonitor")["spec"]["endpoints"]
    assert given == endpoint[key]


def test_a_secret_of_ones_own_is_used_as_it_is(helm: charts.Helm) -> None:
    """The chart makes none beside it."""
    manifests = helm.template(charts.EVERYTHING)
    volumes = {v["name"]: v["secret"]["secretName"] for v in manifests.pod["volumes"] if "secret" in v}
    assert ({"web": "web"}, False) == (volumes, "kind: Secret" in manifests.text)
    assert {"port": "http"} == manifests.container["readinessProbe"]["tcpSocket"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"web": {"config": {"tls_server_config": {"client_auth_type": "RequireAndVerifyClientCert"}}}},
            (
                "values: probes.type: web.config wants a certificate of every client (RequireAndVerifyClientCert), "
                "and the kubelet has none; set probes.type to tcp"
            ),
        ),
        (
            {"web": {"config": {"tls_server_config": {"client_allowed_sans": ["a"]}}}},
            "values: probes.type: web.config wants a certificate of every client (client_allowed_sans)",
        ),
        (
            {"web": {"config": {"rate_limit": {"interval": "100ms", "burst": 9}}}},
            (
                "values: probes.type: web.config's rate_limit also counts the kubelet's probes, "
                "so a client that exhausts it restarts khealth; set probes.type to tcp"
            ),
        ),
        (
            {"web": {"config": {"basic_auth_users": {"a": "b"}}}},
            (
                "values: probes.httpHeaders: web.config wants a password, and the kubelet has none; "
                "add a header Authorization, or set probes.type to tcp"
            ),
        ),
        (
            {"web": {"existingSecret": "web"}},
            (
                "values: web.scheme: the chart cannot see what web.existingSecret holds; "
                "say http, or https if it has a tls_server_config"
            ),
        ),
        (
            {"web": {"existingSecret": "web", "scheme": "http", "config": {"rate_limit": {}}}},
            "values: web: config and existingSecret are two places for one thing; leave one of them empty",
        ),
        (
            {"web": {"scheme": "https"}},
            "values: web.scheme: is https, but web.config and web.tlsSecret make khealth serve http; leave it empty",
        ),
    ],
)
def test_what_could_not_work_is_refused(helm: charts.Helm, values: Json, message: str) -> None:
    """A probe that is never answered would restart khealth again and again."""
    assert message in helm.refusal(values)


@pytest.mark.parametrize(("interval", "probe"), [("100ms", "tcp"), (0, "http"), ("0s", "http"), (None, "http")])
def test_a_rate_that_cannot_restart_khealth_is_taken(helm: charts.Helm, interval: object, probe: str) -> None:
    """Where the kubelet only connects, or where nothing is limited."""
    limit = {"rate_limit": {"interval": interval, "burst": 9}}
    manifests = helm.template({"probes": {"type": probe}, "web": {"config": limit}})
    assert ("tcpSocket" in manifests.container["livenessProbe"]) is (probe == "tcp")


# --- helm test, and what comes later


def test_helm_test_is_one_attempt(helm: charts.Helm) -> None:
    """With khealth's own rights and configuration; what is left of a good one is removed."""
    pod = helm.template({}).one("Pod")
    hooks = {key: value for key, value in pod["metadata"]["annotations"].items() if key.startswith("helm.sh/")}
    assert {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    } == hooks
    (container,) = pod["spec"]["containers"]
    assert ["once", "--client-mode=in-cluster", "--config=/etc/khealth/khealth.yaml", "--timeout=4m"] == container[
        "args"
    ]
    assert ("khealth", "Never") == (pod["spec"]["serviceAccountName"], pod["spec"]["restartPolicy"])


def test_namespaces_are_restricted(helm: charts.Helm) -> None:
    """Each object is valid for the version of Kubernetes."""
    made = {d["metadata"]["name"]: d["metadata"]["labels"] for d in helm.template(charts.ELSEWHERE) if d["kind"] == "Namespace"}  # fmt: skip
    security = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "audit", "warn")
        for suffix, value in (("", "restricted"), ("-version", "latest"))
    }
    assert {"khealth", "canaries"} == set(made)
    assert [security] * 2 == [{k: v for k, v in labels.items() if "pod-security" in k} for labels in made.values()]


def test_dashboards_become_objects(helm: charts.Helm, tmp_path: Path) -> None:
    """One for each file, as it is: what Grafana puts into braces is not helm's."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    shutil.rmtree(chart / "files" / "dashboards", ignore_errors=True)
    (chart / "files" / "dashboards").mkdir()
    (chart / "files" / "dashboards" / "khealth.json").write_text('{"a": "{{b}}"}')
    manifests = helm.template(
        {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Cluster"}}}, chart=chart
    )
    dashboard = manifests.one("ConfigMap", "khealth-dashboard-khealth")
    assert ({"khealth.json": '{"a": "{{b}}"}'}, "1", {"grafana_folder": "Cluster"}) == (
        dashboard["data"],
        dashboard["metadata"]["labels"]["grafana_dashboard"],
        dashboard["metadata"]["annotations"],
    )


def test_more_manifests_are_evaluated(helm: charts.Helm) -> None:
    """Objects and texts."""
    kinds = helm.template(charts.EVERYTHING).kinds
    assert {"ConfigMap/khealth-object", "ConfigMap/text"} <= set(kinds)


def notes(helm: charts.Helm, values: Json) -> str:
    """Return what is said after an installation."""
    words = ("install", "khealth", str(CHART), "--namespace=khealth", "--dry-run=client", "--values=-")
    return helm.run(*words, given=json.dumps(values)).stdout.partition("NOTES:")[2]


def test_the_notes_say_what_to_do_next(helm: charts.Helm) -> None:
    """Where it is, how Prometheus finds it, how to test it, and what is still to be done."""
    told = notes(helm, {})
    for line in (
        "http://ADDRESS-OF-ANY-NODE:31337/",
        "kubectl -n khealth port-forward deployment/khealth 8080",
        "Prometheus finds it by the annotations of its pod.",
        "helm test khealth --namespace khealth",
        "kubectl label namespace khealth pod-security.kubernetes.io/enforce=restricted",
    ):
        assert re.search(rf"^ *{re.escape(line)}$", told, re.MULTILINE), told


def test_the_notes_say_which_level_the_namespace_needs(helm: charts.Helm) -> None:
    """Who follows them must not keep the agents in the networks of nodes out."""
    agents = {"config": {"modules": {"network": {"latency": {}}}}, "agents": {"hostNetwork": True}}
    told = notes(helm, {**agents, "canaries": {"namespace": "canaries"}})
    assert "label namespace khealth pod-security.kubernetes.io/enforce=restricted" in told
    assert "label namespace canaries pod-security.kubernetes.io/enforce=privileged" in told


@pytest.mark.parametrize("discovery", ["annotations", "none"])
def test_the_notes_say_that_prometheus_needs_a_password(helm: charts.Helm, discovery: str) -> None:
    """Annotations cannot carry it."""
    found = {"metrics": {"discovery": discovery}}
    needed = "Its scrape job needs the password"
    assert (True, False) == (needed in notes(helm, {**PASSWORD, **found}), needed in notes(helm, found))
