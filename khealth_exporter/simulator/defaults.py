"""The default values that the API server sets."""

from collections.abc import Callable, Mapping
from typing import Final

from khealth_exporter.simulator import (
    apps,
    batch,
    endpoint_slices,
    network_policies,
    pod_volumes,
    secrets,
    services,
    storage,
)
from khealth_exporter.simulator.documents import Document, labels_of, metadata, name_of, spec_of
from khealth_exporter.simulator.resources import (
    CLAIMS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    LIMIT_RANGES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    POLICIES,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUMES,
    Resource,
)

_POD_SPEC: Final[Document] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_TOLERATIONS: Final = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
)
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")


def fill(resource: Resource, document: Document) -> Document:
    """Return the object with its defaults."""
    return _FILL[resource](document) if resource in _FILL else document


def _pod(pod: Document) -> Document:
    spec = _pod_spec(spec_of(pod))
    account = spec.get("serviceAccountName") or "default"
    spec |= {"serviceAccountName": account, "serviceAccount": account}
    tolerations = list(spec.get("tolerations") or [])
    named = {toleration.get("key") for toleration in tolerations if toleration.get("effect") in {None, "NoExecute"}}
    everything = any(not toleration.get("key") and not toleration.get("effect") for toleration in tolerations)
    if not everything:
        tolerations += [dict(toleration) for toleration in _TOLERATIONS if toleration["key"] not in named]
    spec["tolerations"] = tolerations
    spec = {"priority": 0, "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority", **spec}
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": quality_of_service(spec)}}


def _pod_spec(spec: Document) -> Document:
    filled = {**_POD_SPEC, **pod_volumes.fill(spec)}
    containers = [_container(container) for container in spec.get("containers") or []]
    filled["containers"] = list(map(_with_host_ports, containers)) if spec.get("hostNetwork") else containers
    return filled


def _with_host_ports(container: Document) -> Document:
    ports = [{"hostPort": port["containerPort"], **port} for port in container.get("ports") or []]
    return {**container, **({"ports": ports} if ports else {})}


def _container(container: Document) -> Document:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    given = _with_requests(container)
    if ports := container.get("ports"):
        given = {**given, "ports": [{"protocol": "TCP", **port} for port in ports]}
    probes: Document = {name: _probe(container[name]) for name in _PROBES if name in container}
    return {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always" if tag in {"", "latest"} and "@" not in image else "IfNotPresent",
        **given,
        **probes,
    }


def _probe(probe: Document) -> Document:
    filled = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, **probe}
    if "httpGet" in probe:
        filled["httpGet"] = {"scheme": "HTTP", **probe["httpGet"]}
    return filled


def _with_requests(container: Document) -> Document:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if not limits:
        return container
    return {**container, "resources": {**resources, "requests": {**limits, **(resources.get("requests") or {})}}}


def quality_of_service(spec: Document) -> str:
    """Return the pod's QoS class."""
    demands = [container.get("resources") or {} for container in spec.get("containers") or []]
    if not any(demand.get("requests") or demand.get("limits") for demand in demands):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= (demand.get("limits") or {}).keys() and demand.get("limits") == demand.get("requests")
        for demand in demands
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _replication_controller(controller: Document) -> Document:
    spec = dict(spec_of(controller))
    template = dict(spec.get("template") or {})
    template["spec"] = _pod_spec(template.get("spec") or {})
    template_labels = labels_of(template)
    labels = labels_of(controller) or template_labels
    filled = {"replicas": 1, "selector": template_labels, **spec, "template": template}
    return {
        **controller,
        "metadata": {**metadata(controller), **({"labels": labels} if labels else {})},
        "spec": filled,
        "status": {"replicas": 0},
    }


def _with_template(defaults: Callable[[Document], Document], *counts: str) -> Callable[[Document], Document]:
    """Return what fills in a workload: its spec by `defaults`, its pod template, and these counts in its status."""

    def fill(workload: Document) -> Document:
        spec = spec_of(workload)
        template = dict(spec.get("template") or {})
        template["metadata"] = {key: value for key, value in metadata(template).items() if value not in ({}, [], None)}
        template["spec"] = _pod_spec(template.get("spec") or {})
        return {**workload, "spec": {**defaults(spec), "template": template}, "status": dict.fromkeys(counts, 0)}

    return fill


def _job(job: Document) -> Document:
    filled = batch.fill(job)
    spec = spec_of(filled)
    template = {**spec["template"], "spec": _pod_spec(spec_of(spec["template"]))}
    return {**filled, "spec": {**spec, "template": template}}


def _namespace(namespace: Document) -> Document:
    labels = {**labels_of(namespace), "kubernetes.io/metadata.name": name_of(namespace)}
    return {
        **namespace,
        "metadata": {**metadata(namespace), "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _limit_range(limits: Document) -> Document:
    items = []
    for item in spec_of(limits).get("limits") or []:
        maximum, minimum = item.get("max") or {}, item.get("min") or {}
        default = {**maximum, **(item.get("default") or {})}
        requests = {**minimum, **default, **(item.get("defaultRequest") or {})}
        filled = dict(item)
        if item.get("type") == "Container":
            filled |= {"default": default} if default else {}
            filled |= {"defaultRequest": requests} if requests else {}
        items.append(filled)
    return {**limits, "spec": {"limits": items}}


def _with_status(document: Document) -> Document:
    return {**document, "spec": spec_of(document), "status": {}}


def _node(node: Document) -> Document:
    return {**node, "spec": spec_of(node), "status": node.get("status") or {}}


_FILL: Final[Mapping[Resource, Callable[[Document], Document]]] = {
    PODS: _pod,
    REPLICATION_CONTROLLERS: _replication_controller,
    DEPLOYMENTS: _with_template(apps.deployment_defaults),
    REPLICA_SETS: _with_template(apps.replica_set_defaults, "replicas"),
    STATEFUL_SETS: _with_template(apps.stateful_set_defaults, "replicas", "availableReplicas"),
    NAMESPACES: _namespace,
    LIMIT_RANGES: _limit_range,
    RESOURCE_QUOTAS: _with_status,
    POLICIES: _with_status,
    NODES: _node,
    JOBS: _job,
    CLAIMS: storage.fill_claim,
    VOLUMES: storage.fill_volume,
    STORAGE_CLASSES: storage.fill_class,
    SECRETS: secrets.fill,
    SERVICES: services.fill,
    ENDPOINT_SLICES: endpoint_slices.fill,
    NETWORK_POLICIES: network_policies.fill,
}
