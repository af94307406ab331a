"""Admission: checks and defaults from namespaces, service accounts, limit ranges, quotas and policies."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from khealth_exporter.simulator import errors, pod_security, quantities, quota, storage
from khealth_exporter.simulator.documents import (
    Document,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    spec_of,
)
from khealth_exporter.simulator.errors import ApiError, Cause
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.resources import (
    LIMIT_RANGES,
    NAMESPACES,
    PODS,
    POLICIES,
    POLICY_BINDINGS,
    PRIORITY_CLASSES,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    Resource,
)
from khealth_exporter.simulator.selection import label_tests
from khealth_exporter.simulator.store import Store

_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_WEBHOOK = "pods.simulated.example"
_WEBHOOK_DOWN = (
    f'failed calling webhook "{_WEBHOOK}": failed to call webhook: Post '
    '"https://webhook.simulated.svc:443/validate?timeout=10s": dial tcp 10.96.0.99:443: connect: connection refused'
)


@dataclass(frozen=True, slots=True)
class Admission:
    """The admission chain for create requests."""

    store: Store
    faults: Faults

    def begin(self, resource: Resource, namespace: str, document: Document) -> Document:
        """Run the mutating plugins and return the object. Raises `ApiError` (403, 404)."""
        name = name_of(document) or str(metadata(document).get("generateName") or "")
        if namespace:
            self._namespace_lifecycle(resource, namespace, name)
        if resource in storage.PROTECTION:
            return storage.admitted(self.store, resource, document)
        if resource is not PODS:
            return document
        self._service_account(namespace, name, document)
        self._runtime_class(name, document)
        return self._limit_defaults(namespace, self._prioritized(name, document))

    def finish(self, resource: Resource, namespace: str, document: Document, *, dry_run: bool) -> None:
        """Run the validating plugins. Raises `ApiError` (400, 403, 422, 500)."""
        if resource is PODS:
            self._webhook(dry_run=dry_run)
            self._limits(namespace, document)
            self._pod_security(namespace, document)
            self._policies(namespace, document)
        quota.check(self.store, resource, namespace, document)

    def _webhook(self, *, dry_run: bool) -> None:
        if dry_run and self.faults.active("webhook-no-dry-run"):
            raise errors.bad_request(f'admission webhook "{_WEBHOOK}" does not support dry run')
        if self.faults.active("webhook-down"):
            raise errors.internal_error(_WEBHOOK_DOWN)

    def _namespace_lifecycle(self, resource: Resource, namespace: str, name: str) -> None:
        found = self.store.get(NAMESPACES, ("", namespace))
        if found is None:
            raise errors.not_found(NAMESPACES, namespace)
        if is_deleting(found):
            cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(resource, name, why, [cause])

    def _service_account(self, namespace: str, name: str, pod: Document) -> None:
        account = spec_of(pod).get("serviceAccountName") or "default"
        if self.store.get(SERVICE_ACCOUNTS, (namespace, account)) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise errors.forbidden(PODS, name, why)

    def _prioritized(self, name: str, pod: Document) -> Document:
        named = str(spec_of(pod).get("priorityClassName") or "")
        if not named:
            return pod
        found = self.store.get(PRIORITY_CLASSES, ("", named))
        value = _SYSTEM_PRIORITIES.get(named) if found is None else found.get("value", 0)
        if value is None:
            raise errors.forbidden(PODS, name, f"no PriorityClass with name {named} was found")
        return {**pod, "spec": {**spec_of(pod), "priority": value}}

    def _runtime_class(self, name: str, pod: Document) -> None:
        named = str(spec_of(pod).get("runtimeClassName") or "")
        if named and self.store.get(RUNTIME_CLASSES, ("", named)) is None:
            raise errors.forbidden(PODS, name, f'pod rejected: RuntimeClass "{named}" not found')

    def _limit_items(self, namespace: str) -> Iterator[Document]:
        for limits in self.store.all(LIMIT_RANGES, namespace):
            for item in spec_of(limits).get("limits") or []:
                if item.get("type") == "Container":
                    yield item

    def _limit_defaults(self, namespace: str, pod: Document) -> Document:
        containers = spec_of(pod).get("containers") or []
        for item in self._limit_items(namespace):
            containers = [_with_limits(container, item) for container in containers]
        return {**pod, "spec": {**spec_of(pod), "containers": containers}}

    def _limits(self, namespace: str, pod: Document) -> None:
        told = [
            complaint
            for item in self._limit_items(namespace)
            for container in spec_of(pod).get("containers") or []
            for complaint in _limit_complaints(container.get("resources") or {}, item)
        ]
        if told:
            listing = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
            raise errors.forbidden(PODS, name_of(pod), listing)

    def _pod_security(self, namespace: str, pod: Document) -> None:
        labels = labels_of(self.store.get(NAMESPACES, ("", namespace)) or {})
        level = labels.get("pod-security.kubernetes.io/enforce", "privileged")
        found = [] if self.faults.active("admission-bypassed") else pod_security.violations(pod, level)
        if found:
            version = labels.get("pod-security.kubernetes.io/enforce-version", "latest")
            why = f'violates PodSecurity "{level}:{version}": {", ".join(found)}'
            raise errors.forbidden(PODS, name_of(pod), why)

    def _policies(self, namespace: str, pod: Document) -> None:
        """Deny what a bound policy whose only expression is `false` matches; other expressions are not evaluated."""
        labels = labels_of(self.store.get(NAMESPACES, ("", namespace)) or {})
        for binding in self.store.all(POLICY_BINDINGS):
            policy = self.store.get(POLICIES, ("", str(spec_of(binding).get("policyName"))))
            if policy is None or "Deny" not in (spec_of(binding).get("validationActions") or []):
                continue
            validations = spec_of(policy).get("validations") or []
            if [validation.get("expression") for validation in validations] != ["false"] or not _matches_pod_creates(
                policy
            ):
                continue
            selector = (spec_of(policy).get("matchConstraints") or {}).get("namespaceSelector") or {}
            if all(test(labels) for test in label_tests(selector)):
                said = str(validations[0].get("message") or "failed expression: false")
                raise _denied(name_of(pod), name_of(policy), name_of(binding), said)


def _with_limits(container: Document, item: Document) -> Document:
    resources = container.get("resources") or {}
    given = resources.get("limits") or {}
    limits = {**(item.get("default") or {}), **given}
    requests = {**(item.get("defaultRequest") or {}), **given, **(resources.get("requests") or {})}
    filled = {**({"limits": limits} if limits else {}), **({"requests": requests} if requests else {})}
    return {**container, "resources": {**resources, **filled}}


def _limit_complaints(resources: Document, item: Document) -> Iterator[str]:
    for word, edge, kind in (("minimum", "min", "request"), ("maximum", "max", "limit")):
        for name, bound in (item.get(edge) or {}).items():
            value = (resources.get(f"{kind}s") or {}).get(name)
            if value is None:
                yield f"{word} {name} usage per Container is {bound}.  No {kind} is specified"
            elif (quantities.parse(value) - quantities.parse(bound)) * (1 if edge == "max" else -1) > 0:
                yield f"{word} {name} usage per Container is {bound}, but {kind} is {value}"


def _matches_pod_creates(policy: Document) -> bool:
    rules = (spec_of(policy).get("matchConstraints") or {}).get("resourceRules") or []
    return any(
        {"pods", "*"} & set(rule.get("resources") or ()) and {"CREATE", "*"} & set(rule.get("operations") or ())
        for rule in rules
    )


def _denied(pod: str, policy: str, binding: str, said: str) -> ApiError:
    why = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {said}"
    details: Document = {"name": pod, "kind": "pods", "causes": [{"message": why}]}
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", f'pods "{pod}" is forbidden: {why}', details=details)
