"""What a MutatingAdmissionPolicy puts into canaries; it needs no webhook server, and Kubernetes 1.36 or later."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bodies.target import Target, wait_for
from kubernetes.client.exceptions import ApiException

from khealth_exporter.canaries.pod_spec import PAUSE

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
RESTRICTED = (
    "Object.spec.{0}.securityContext{{allowPrivilegeEscalation: false,"
    ' capabilities: Object.spec.{0}.securityContext.capabilities{{drop: ["ALL"]}}}}'
)
SIDECAR = (
    '[JSONPatch{op: "add", path: "/spec/initContainers",'
    f' value: [Object.spec.initContainers{{name: "proxy", image: "{PAUSE}",'
    f' restartPolicy: "Always", securityContext: {RESTRICTED.format("initContainers")}}}]}}]'
)
CONTAINER = (
    '[JSONPatch{op: "add", path: "/spec/containers/-",'
    f' value: Object.spec.containers{{name: "proxy", image: "{PAUSE}",'
    f" securityContext: {RESTRICTED.format('containers')}}}}}]"
)
INIT = SIDECAR.replace(' restartPolicy: "Always",', "")
NO_IMAGE = INIT.replace(PAUSE, "registry.invalid/nothing:1")
NO_COMMAND = SIDECAR.replace(' restartPolicy: "Always",', ' restartPolicy: "Always", command: ["/nothing"],')
GATE = 'Object{spec: Object.spec{schedulingGates: [Object.spec.schedulingGates{name: "example.com/gate"}]}}'
NO_PATCH = 'Object{metadata: Object.metadata{labels: {"example.com/team": object.metadata.labels["no-such-label"]}}}'
ANNOTATION = 'Object{metadata: Object.metadata{annotations: {"example.com/injected": "no"}}}'


@contextmanager
def mutated(target: Target, expression: str) -> Iterator[None]:
    """Have each pod of the namespace changed in the block."""
    name = target.namespace
    labels = {"matchLabels": {"kubernetes.io/metadata.name": name}}
    target.admission.create_mutating_admission_policy(
        {
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [RULE], "namespaceSelector": labels},
                "mutations": [_mutation(expression)],
            },
        }
    )
    try:
        target.admission.create_mutating_admission_policy_binding(
            {"metadata": {"name": name}, "spec": {"policyName": name}}
        )
        wait_for("the policy to be in force", lambda: _changed(target))
        yield
    finally:
        target.admission.delete_mutating_admission_policy_binding(name)
        target.admission.delete_mutating_admission_policy(name)


def _mutation(expression: str) -> dict[str, object]:
    """Return a mutation; what changes atomic lists has to be a patch."""
    if expression.startswith("["):
        return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def _changed(target: Target) -> bool:
    """Tell whether the API server changes, or refuses, a pod that is created on trial."""
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "pause", "image": PAUSE, "securityContext": own}],
    }
    pod = {"metadata": {"name": "trial"}, "spec": spec}
    try:
        made = target.core.create_namespaced_pod(target.namespace, pod, dry_run="All")
    except ApiException as error:
        return target.namespace in str(error.body)
    more = made.spec.init_containers or len(made.spec.containers) > 1 or made.spec.scheduling_gates
    return bool(more or made.metadata.annotations)


@pytest.mark.parametrize(
    ("expression", "injected"),
    [(SIDECAR, ["sidecar proxy"]), (CONTAINER, ["container proxy"]), (ANNOTATION, [])],
    ids=["sidecar", "container", "annotation"],
)
def test_what_is_injected_makes_a_sample_foreign(target: Target, expression: str, injected: list[str]) -> None:
    """It succeeds all the same, leaves nothing, and says what was injected."""
    with mutated(target, expression):
        found = target.once(target.quick(replicas=1))
    (sample,) = found.attempt["samples"]
    assert ((0, "success", None), []) == (found.verdict, target.objects()), found.attempt["note"]
    assert injected == sample.get("injected", [])
    # A busy machine may make it worse, which says nothing of this.
    expected = {"foreign", "degraded", "discarded"} if injected else {"exact", "degraded", "discarded"}
    assert sample["quality"] in expected


@pytest.mark.parametrize(
    ("expression", "verdict", "said"),
    [
        (GATE, (3, "inconclusive", "pod_gated"), "example.com/gate"),
        (NO_PATCH, (1, "failure", "api_rejected"), "no such key"),
        (NO_IMAGE, (1, "failure", "image_pull_failed"), "init container proxy"),
        (NO_COMMAND, (1, "failure", "pod_not_started"), "sidecar proxy"),
    ],
    ids=["gate", "patch", "image", "command"],
)
def test_what_others_break_in_canaries_is_named(
    target: Target, expression: str, verdict: tuple[int, str, str], said: str
) -> None:
    """The gate, the policy, or the container."""
    with mutated(target, expression):
        found = target.once(target.quick(replicas=1))
    assert (verdict, True) == (found.verdict, said in found.attempt["note"]), found.attempt["note"]
