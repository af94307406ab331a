"""Kuberhealthy's manifests become a configuration that khealth accepts."""

import contextlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings, strategies

from khealth_exporter.cli import go_duration
from khealth_exporter.cli.convert import convert
from khealth_exporter.cli.main import main
from khealth_exporter.config import ConfigError

_WORDS = strategies.sampled_from([
    "name", "namespace", "labels", "annotations", "metadata", "spec", "containers", "image", "securityContext",
    "capabilities", "drop", "runInterval", "timeout", "podSpec", "extraLabels", "terminationGracePeriodSeconds", "x",
])  # fmt: skip

V2 = """\
apiVersion: comcast.github.io/v1
kind: KuberhealthyCheck
metadata: {name: dns-status, namespace: kuberhealthy}
spec:
  runInterval: 10m
  timeout: 1m30s
  extraAnnotations: {comcast.com/test: a}
  extraLabels: {team: shop}
  podSpec:
    containers:
    - name: main
      image: kuberhealthy/dns-resolution-check:v1.5.0
      env: [{name: HOSTNAME, value: kubernetes.default}]
      args: ["-c", "echo a\\necho b\\n"]
    serviceAccountName: dns
"""
V3 = """\
apiVersion: kuberhealthy.github.io/v2
kind: HealthCheck
metadata: {name: http}
spec:
  runInterval: 5m
  timeout: 2m
  extraLabels: {team: shop}
  podSpec:
    metadata: {labels: {team: other, tier: web}, annotations: {a: b}}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: http}]
"""
SAFE = """\
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - {name: main, image: http, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
"""
QUIET = V3.replace("      containers: [{name: main, image: http}]\n", SAFE)
"""Of which everything is carried over."""


class Converted:
    """What came of a conversion."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
        self.file = folder / "checks.yaml"
        self.file.write_text(text, encoding="utf-8")
        self.code = main(["convert", "kuberhealthy", str(self.file)])
        self.text, told = capsys.readouterr()
        self.told = told.replace(f"{self.file}:", "").splitlines()

    @property
    def routines(self) -> dict[str, Any]:
        """The routines, by name."""
        assert 0 == self.code
        found: dict[str, Any] = yaml.safe_load(self.text)["modules"]["custom"]
        return found


@pytest.fixture
def converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what converts a text."""
    return lambda text: Converted(tmp_path, capsys, text)


@pytest.mark.parametrize("text", [V2, V3, f"{V2}---\n{V3}"], ids=["v2", "v3", "both"])
def test_what_is_converted_is_a_configuration(converted: Any, tmp_path: Path, text: str) -> None:
    """check-config says so."""
    made = tmp_path / "khealth.yaml"
    made.write_text(converted(text).text)
    assert 0 == main(["check-config", str(made)])


def test_a_check_of_v2_is_carried_over(converted: Any) -> None:
    """With its times, its pod, its labels and annotations."""
    pod = yaml.safe_load(V2)["spec"]["podSpec"]
    expected = {
        "kind": "check",
        "protocol": "kuberhealthy",
        "interval": "10m",
        "timeout": "90s",
        "template": {
            "kind": "Pod",
            "metadata": {"labels": {"team": "shop"}, "annotations": {"comcast.com/test": "a"}},
            "spec": pod,
        },
    }
    assert {"dns-status": expected} == converted(V2).routines


def test_a_check_of_v3_is_carried_over(converted: Any) -> None:
    """Its pod's specification is one level deeper; extra labels win over the pod's."""
    template = converted(V3).routines["http"]["template"]
    assert {"labels": {"team": "shop", "tier": "web"}, "annotations": {"a": "b"}} == template["metadata"]
    assert {"containers": [{"name": "main", "image": "http"}]} == template["spec"]


def test_nothing_is_said_of_what_is_carried_over(converted: Any) -> None:
    """Standard error is empty."""
    assert (0, []) == (converted(QUIET).code, converted(QUIET).told)


def test_scripts_stay_readable(converted: Any) -> None:
    """Line by line."""
    assert "- |\n" in converted(V2).text


def test_lists_and_several_documents_are_read(converted: Any) -> None:
    """As kubectl prints them, in YAML or JSON; empty documents are nothing."""
    items = "\n".join(f"  {line}" if number else f"- {line}" for number, line in enumerate(QUIET.splitlines()))
    text = f"---\n---\napiVersion: v1\nkind: List\nitems:\n{items}\n---\n{QUIET.replace('http', 'other')}"
    assert ["http", "other"] == list(converted(text).routines)


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("timeout: 2m", "timeout: 15m", "1:1: http timeout is 150s instead of 15m: twice the timeout must fit"),
        ("5m\n  timeout: 2m", "40s\n  timeout: 30s", "1:1: http runInterval is 1m instead of 40s: twice the timeout"),
        ("runInterval: 5m", "runInterval: 999h", "1:1: http runInterval is 168h instead of 999h: "),
        ("  runInterval: 5m\n", "", "1:1: http has no runInterval: it gets the original's default, 10m"),
        ("  timeout: 2m\n", "", "1:1: http has no timeout: it gets the original's default, 30s"),
        ("  timeout: 2m", "  timeout: 2m\n  singleRunOnly: true", "1:1: http ran once; it is suspended, and"),
        ("  timeout: 2m", "  timeout: 2m\n  retries: 3", "7:12: spec.retries: retries is not carried over"),
        ("{name: http}", "{name: http.example}", "1:1: http.example is called http-example here: "),
        ("{name: http}", "{name: http, namespace: a}", "1:1: http ran in namespace a, and runs in khealth's own namespace"),
        ("restartPolicy: Never", "restartPolicy: OnFailure", "1:1: http has restartPolicy Never here: "),
        ("Never", "Never\n      serviceAccountName: s", "1:1: http runs in khealth's own namespace, where it needs"),
        ("Never", "Never\n      terminationGracePeriodSeconds: 60", "1:1: http has terminationGracePeriodSeconds 30 "),
        ("Never", "Never\n      activeDeadlineSeconds: 60", "1:1: http loses activeDeadlineSeconds 60: khealth ends it"),
        ("{team: shop}", "{khealth.io/run: a}", "1:1: http loses label khealth.io/run, which khealth sets itself"),
        ("runAsNonRoot: true, ", "", "1:1: http lacks runAsNonRoot: the Pod Security Standard restricted wants that"),
        (", capabilities: {drop: [ALL]}", "", "1:1: http lacks capabilities.drop: [ALL]: "),
    ],
)  # fmt: skip
def test_what_is_not_carried_over_is_said(converted: Any, old: str, new: str, warning: str) -> None:
    """On standard error, with its place; the rest is converted."""
    assert old in QUIET
    made = converted(QUIET.replace(old, new, 1))
    assert (0, 1) == (made.code, len(made.told))
    assert made.told[0].startswith(warning)


def test_what_is_no_check_is_said(converted: Any) -> None:
    """A check may need it."""
    made = converted(f"kind: Role\napiVersion: rbac.authorization.k8s.io/v1\n---\n{QUIET}")
    expected = ["1:1: Role is not converted: what a check needs must be in its namespace"]
    assert (0, expected) == (made.code, made.told)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (V2, "kind: KuberhealthyCheck", "kind: KuberhealthyJob"),
        (V3, "  timeout: 2m", "  timeout: 2m\n  singleRunOnly: true"),
    ],
    ids=["job", "single run"],
)
@pytest.mark.parametrize("timeout", ["2m", "30m", "1h"])
def test_what_ran_once_keeps_its_timeout(converted: Any, text: str, old: str, new: str, timeout: str) -> None:
    """There is no interval that it must fit into."""
    once = text.replace(old, new, 1).replace("timeout: 2m", f"timeout: {timeout}").replace("1m30s", timeout)
    (routine,) = converted(once).routines.values()
    assert (True, timeout) == (routine["suspend"], routine["timeout"])


def test_a_job_of_v2_is_suspended(converted: Any) -> None:
    """It ran once."""
    text = V2.replace("KuberhealthyCheck", "KuberhealthyJob").replace("  runInterval: 10m\n", "")
    routine = converted(text).routines["dns-status"]
    assert (True, "10m") == (routine["suspend"], routine["interval"])


@pytest.mark.parametrize("name", ["a" * 40, "7up", "suspend", "Web_1", "-"])
def test_any_name_becomes_a_routine_s(converted: Any, name: str) -> None:
    """Two of one name stay two."""
    text = QUIET.replace("{name: http}", f'{{name: "{name}"}}')
    assert 2 == len(converted(f"{text}---\n{text}").routines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has none of HealthCheck, KuberhealthyCheck, KuberhealthyJob"),
        ("kind: Role\n", "has none of HealthCheck, KuberhealthyCheck, KuberhealthyJob"),
        ("just words\n", "1:1: must be a mapping, not the string 'just words'"),
        ("a: [\n", "2:1: invalid YAML: "),
        (V3.replace("github.io/v2", "github.io/v9"), "1:1: no version of Kuberhealthy has HealthCheck in apiVersion 'k"),
        (V3.replace("{name: http}", "{}"), "1:1: metadata.name is missing"),
        (V3.replace("podSpec:", "pod:"), "1:1: spec.podSpec is missing"),
        (V3.replace("[{name: main, image: http}]", "[]"), "11:7: spec.podSpec.spec: has no containers"),
        (V3.replace("timeout: 2m", "timeout: soon"), "6:12: spec.timeout: 'soon' is not a duration of Go"),
        (V3.replace("runInterval: 5m", "runInterval: 5"), "5:16: spec.runInterval: '5' is not a duration of Go"),
        (V3.replace("timeout: 2m", "timeout: -2m"), "6:12: spec.timeout: must be at least a second"),
        (V3.replace("image: http", "image: ''"), "1:1: template.spec.containers[0].image: must not be empty"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(converted: Any, text: str, problem: str) -> None:
    """With exit code 2, and its place."""
    made = converted(text)
    assert (2, "") == (made.code, made.text)
    assert problem in made.told[0].replace(str(made.file), "")


_ANYTHING = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=5),
    lambda inner: strategies.lists(inner, max_size=2) | strategies.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=8,
)


@example("spec", {"podSpec": None, "name": None, "runInterval": []})
@given(strategies.sampled_from(["metadata", "spec", "podSpec", "inner", "container"]), _ANYTHING)
@settings(max_examples=200, deadline=None)
def test_no_manifest_makes_it_crash(at: str, anything: object) -> None:
    """Whatever stands somewhere in it: it is converted or refused."""
    manifest: dict[str, Any] = yaml.safe_load(V3)
    inner = manifest["spec"]["podSpec"]["spec"]
    match at:
        case "podSpec":
            manifest["spec"]["podSpec"] = anything
        case "inner":
            manifest["spec"]["podSpec"]["spec"] = anything
        case "container":
            inner["containers"] = [anything, inner["containers"][0]]
        case _:
            manifest[at] = anything
    with TemporaryDirectory() as folder:
        file = Path(folder) / "checks.json"
        file.write_text(json.dumps(manifest))
        with contextlib.suppress(ConfigError):
            assert convert(file).routines


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("1.5m", 90), (".5s", 0.5), ("1h0m0.25s", 3600.25), ("250ms", 0.25), ("0", 0), ("-1m", -60)],
)
def test_durations_are_read_as_go_does(text: str, seconds: float) -> None:
    """Several units, and fractions."""
    assert seconds == go_duration.parse(text)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "1d", "1h-5m", ".s", "1m5"])
def test_what_go_does_not_read_is_no_duration(text: str) -> None:
    """A number needs its unit."""
    with pytest.raises(ValueError, match="is not a duration of Go"):
        go_duration.parse(text)
