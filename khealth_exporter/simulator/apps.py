"""Defaults and validation (422) of Deployments, ReplicaSets and StatefulSets, with the real API server's messages."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from khealth_exporter.simulator import pod_rules
from khealth_exporter.simulator.documents import Document, labels_of, spec_of
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.pod_rules import invalid, unsupported
from khealth_exporter.simulator.selection import label_tests

ROLLING: Final = "RollingUpdate"
RECREATE: Final = "Recreate"
ON_DELETE: Final = "OnDelete"
PARALLEL: Final = "Parallel"
_ORDERED: Final = "OrderedReady"
_WHOLE: Final = 100
_PERCENT: Final = "[0-9]+%"
_PERCENT_RULE: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    f"validation is '{_PERCENT}')"
)
_IMMUTABLE: Final = "field is immutable"


def deployment_defaults(spec: Document) -> Document:
    """Return the spec of a Deployment with its defaults, except those of the pod template."""
    strategy = {"type": ROLLING, **(spec.get("strategy") or {})}
    if strategy["type"] == ROLLING:
        given = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **given}
    filled = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, **spec}
    return {**filled, "strategy": strategy}


def replica_set_defaults(spec: Document) -> Document:
    """Return the spec of a ReplicaSet with its defaults, except those of the pod template."""
    return {"replicas": 1, **spec}


def stateful_set_defaults(spec: Document) -> Document:
    """Return the spec of a StatefulSet with its defaults, except those of the pod template."""
    strategy = dict(spec.get("updateStrategy") or {})
    if not strategy.get("type"):
        strategy = {"rollingUpdate": {}, **strategy, "type": ROLLING}
    if strategy["type"] == ROLLING and "rollingUpdate" in strategy:
        strategy["rollingUpdate"] = {"partition": 0, "maxUnavailable": 1, **(strategy["rollingUpdate"] or {})}
    kept = {"whenDeleted": "Retain", "whenScaled": "Retain", **(spec.get("persistentVolumeClaimRetentionPolicy") or {})}
    filled = {"replicas": 1, "podManagementPolicy": _ORDERED, "revisionHistoryLimit": 10, **spec}
    return {**filled, "updateStrategy": strategy, "persistentVolumeClaimRetentionPolicy": kept}


def deployment_causes(deployment: Document) -> Iterator[Cause]:
    """Yield what is wrong with a Deployment."""
    spec = spec_of(deployment)
    yield from pod_rules.not_negative(spec, "replicas")
    yield from _selector_and_template(spec, "deployment", "ReplicaSet")
    yield from _strategy(spec["strategy"], "spec.strategy")
    for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from pod_rules.not_negative(spec, field)
    deadline = spec["progressDeadlineSeconds"]
    if deadline <= spec.get("minReadySeconds", 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def replica_set_causes(replica_set: Document) -> Iterator[Cause]:
    """Yield what is wrong with a ReplicaSet."""
    spec = spec_of(replica_set)
    yield from pod_rules.not_negative(spec, "replicas")
    yield from pod_rules.not_negative(spec, "minReadySeconds")
    yield from _selector_and_template(spec, "deployment", "ReplicaSet")


def stateful_set_causes(stateful_set: Document) -> Iterator[Cause]:
    """Yield what is wrong with a StatefulSet."""
    spec = spec_of(stateful_set)
    policy, strategy = spec["podManagementPolicy"], spec["updateStrategy"]
    if policy not in {_ORDERED, PARALLEL}:
        yield invalid("spec.podManagementPolicy", policy, f"must be '{_ORDERED}' or '{PARALLEL}'")
    if strategy["type"] not in {ROLLING, ON_DELETE}:
        yield invalid("spec.updateStrategy", strategy, f"must be '{ROLLING}' or '{ON_DELETE}'")
    elif strategy["type"] == ON_DELETE and "rollingUpdate" in strategy:
        rule = f"only allowed for updateStrategy '{ROLLING}'"
        yield invalid("spec.updateStrategy.rollingUpdate", strategy["rollingUpdate"], rule)
    yield from pod_rules.not_negative(spec, "replicas")
    yield from pod_rules.not_negative(spec, "minReadySeconds")
    yield from _selector_and_template(spec, "statefulset", "StatefulSet")


def deployment_update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of a Deployment."""
    yield from deployment_causes(after)
    yield from _kept(before, after, "selector")


def replica_set_update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of a ReplicaSet."""
    yield from replica_set_causes(after)
    yield from _kept(before, after, "selector")


def stateful_set_update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of a StatefulSet."""
    yield from stateful_set_causes(after)
    yield from _kept(before, after, "selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


def _kept(before: Document, after: Document, *fields: str) -> Iterator[Cause]:
    for field in fields:
        given = spec_of(after).get(field)
        if given != spec_of(before).get(field):
            yield invalid(f"spec.{field}", given, _IMMUTABLE)


def _selector_and_template(spec: Document, word: str, owner: str) -> Iterator[Cause]:
    selector: Mapping[str, object] | None = spec.get("selector")
    template = spec.get("template") or {}
    labels, pod = labels_of(template), template.get("spec") or {}
    if selector is None:
        yield pod_rules.required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {word}")
    elif not all(test(labels) for test in label_tests(dict(selector))):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from pod_rules.labels(labels, "spec.template.labels")
    yield from pod_rules.pod_spec(pod, "spec.template.spec")
    if pod.get("restartPolicy", "Always") != "Always":
        yield unsupported("spec.template.spec.restartPolicy", pod["restartPolicy"], "Always")
    if pod.get("activeDeadlineSeconds") is not None:
        why = f"Forbidden: activeDeadlineSeconds in {owner} is not Supported"
        yield Cause("FieldValueForbidden", why, "spec.template.spec.activeDeadlineSeconds")


def _strategy(strategy: Document, field: str) -> Iterator[Cause]:
    if strategy["type"] == RECREATE:
        if "rollingUpdate" in strategy:
            why = f"Forbidden: may not be specified when strategy `type` is '{RECREATE}'"
            yield Cause("FieldValueForbidden", why, f"{field}.rollingUpdate")
        return
    if strategy["type"] != ROLLING:
        yield unsupported(field, strategy, RECREATE, ROLLING)
        return
    given, field = strategy["rollingUpdate"], f"{field}.rollingUpdate"
    for name in ("maxUnavailable", "maxSurge"):
        yield from _int_or_percent(given, name, field)
    unavailable = given["maxUnavailable"]
    if _is_zero(unavailable) and _is_zero(given["maxSurge"]):
        yield invalid(f"{field}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    if isinstance(unavailable, str) and unavailable.rstrip("%").isdigit() and int(unavailable.rstrip("%")) > _WHOLE:
        yield invalid(f"{field}.maxUnavailable", unavailable, "must not be greater than 100%")


def _int_or_percent(given: Document, name: str, field: str) -> Iterator[Cause]:
    value = given[name]
    if not isinstance(value, str):
        yield from pod_rules.not_negative(given, name, field)
    elif not re.fullmatch(_PERCENT, value):
        yield invalid(f"{field}.{name}", value, _PERCENT_RULE)


def _is_zero(value: object) -> bool:
    return value == 0 or (isinstance(value, str) and set(value.rstrip("%")) == {"0"})
