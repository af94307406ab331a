"""The template of a check: what cannot be is refused, with its place."""

import re
from pathlib import Path

import pytest

from khealth_exporter.config import Config, ConfigError, load

GOOD = """
modules:
  custom:
    shop:
      kind: check
      template:
        kind: Pod
        apiVersion: v1
        metadata: {labels: {team: shop}}
        spec:
          hostAliases: [{ip: 10.0.0.1}]
          containers:
            - name: shop
              image: busybox
"""


def read(text: str) -> Config:
    """Return the configuration with this content."""
    return load(text.encode())


def test_a_template_may_have_every_key_of_kubernetes() -> None:
    """Khealth passes what it does not know."""
    (routine,) = (one for one in read(GOOD).routines if one.module == "custom")
    assert ("shop", "check") == (routine.label, routine.kind.name)


def test_the_example_of_the_documentation_is_a_check() -> None:
    """It has the step that it reports, and passes Pod Security."""
    page = (Path(__file__).parents[3] / "docs" / "custom-checks.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (routine,) = (one for one in read(example).routines if one.module == "custom")
    assert "front_page" in {step.name for step in routine.steps}


def test_a_check_without_a_template_is_refused() -> None:
    """There is nothing to run."""
    with pytest.raises(ConfigError, match=r"custom\.shop\.template: is missing"):
        read("modules: {custom: {shop: {kind: check}}}")


def test_no_check_runs_unless_it_is_configured() -> None:
    """There is no default one."""
    assert [] == [one for one in read("modules: {custom: {}}").routines if one.module == "custom"]


@pytest.mark.parametrize(
    ("before", "after", "place", "why"),
    [
        ("kind: Pod", "kind: Deployment", "7:15: modules.custom.shop.template.kind", "must be 'Pod' or 'Job'"),
        ("apiVersion: v1", "apiVersion: v2", "8:21: modules.custom.shop.template.apiVersion", "must be 'v1'"),
        ("team: shop", "khealth.io/run: a", "9:28: ", "khealth itself sets the label khealth.io/run"),
        ("{labels: {team: shop}}", "{name: shop}", "9:20: ", "unknown key; known: annotations, labels"),
        ("hostAliases: [{ip: 10.0.0.1}]", "restartPolicy: Always", "11:26: ", "must be 'Never'"),
        ("hostAliases: [{ip: 10.0.0.1}]", "terminationGracePeriodSeconds: 60", "5:7: ", "exceeds a quarter of timeout"),
        ("hostAliases: [{ip: 10.0.0.1}]", "activeDeadlineSeconds: 60", "5:7: ", "activeDeadlineSeconds is below timeout"),
        ("image: busybox", "command: [a]", "13:15: ", "is missing"),
    ],
)  # fmt: skip
def test_an_impossible_template_is_refused_with_its_place(before: str, after: str, place: str, why: str) -> None:
    """A user looks at the line."""
    with pytest.raises(ConfigError) as caught:
        read(GOOD.replace(before, after, 1))
    told = str(caught.value)
    assert place in told
    assert why in told


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("{check: {}}", "step check is one of khealth's own"),
        ("{Login: {}}", "a name has at most 30 lowercase letters"),
        ("{login: {edges: [1, 1]}}", "in ascending order"),
        ("{login: {edges: []}}", "must not be empty"),
        ("{login: {edges: [0]}}", "greater than 0"),
        (str({f"s{number}": {} for number in range(21)}), "must have at most 20 entries"),
    ],
)  # fmt: skip
def test_steps_that_cannot_be_are_refused(steps: str, why: str) -> None:
    """Each of them is a histogram."""
    with pytest.raises(ConfigError, match=why):
        read(GOOD.replace("kind: check", f"kind: check\n      steps: {steps}", 1))


@pytest.mark.parametrize("where", ["job", "pod"])
def test_a_deadline_of_kubernetes_own_must_not_come_first(where: str) -> None:
    """It would look as if somebody else had ended the check."""
    deadline = "activeDeadlineSeconds: 60, "
    pod = f"{{{deadline if where == 'pod' else ''}containers: [{{name: a, image: b}}]}}"
    job = f"{{kind: Job, spec: {{{deadline if where == 'job' else ''}template: {{spec: {pod}}}}}}}"
    document = f"modules: {{custom: {{shop: {{kind: check, timeout: TIMEOUT, template: {job}}}}}}}"
    assert read(document.replace("TIMEOUT", "1m")).routines
    with pytest.raises(ConfigError, match="activeDeadlineSeconds is below timeout"):
        read(document.replace("TIMEOUT", "61s"))


@pytest.mark.parametrize("key", ["completions: 2", "parallelism: 3", "backoffLimit: 6", "suspend: true"])
def test_a_job_that_is_not_one_pod_once_is_refused(key: str) -> None:
    """A verdict is one pod's."""
    job = f"{{kind: Job, spec: {{{key}, template: {{spec: {{containers: [{{name: a, image: b}}]}}}}}}}}"
    with pytest.raises(ConfigError, match=f"{key.partition(':')[0]}: must be"):
        read(f"modules: {{custom: {{shop: {{kind: check, template: {job}}}}}}}")
