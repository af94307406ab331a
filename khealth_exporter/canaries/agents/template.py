"""The pod of an agent: a canary that stays, and that khealth alone may ask."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from khealth_exporter.canaries.canary_spec import CanarySettings, Mount, canary_spec
from khealth_exporter.cluster.objects import Node, Pod
from khealth_exporter.cluster.ownership import AGENT, COMPONENT, RUN, Ownership

PORT = 8079
"""Where agents listen, TCP and UDP."""
KEY = "secret"
"""The key of the Secret that holds what agents and khealth share."""
ZONE = "topology.kubernetes.io/zone"
FOLDER = "/etc/khealth/agent"
PERIOD, FAILURES, PATIENCE = 5, 2, 2
"""Of the readiness probe: seconds from one to the next, how many must fail, and seconds that one may take."""
PER_ZONE, MOST = 2, 10
"""Agents to run where nothing else is configured: in each zone, and at most."""

HOST: dict[str, Any] = {"hostNetwork": True}
"""What puts a pod into the network of its node."""

_FIELDS = {"KHEALTH_POD_IP": "status.podIP", "KHEALTH_NODE": "spec.nodeName"}
_COMMAND = ("agent", "--address", "$(KHEALTH_POD_IP)", "--port", str(PORT), "--secret-file", f"{FOLDER}/{KEY}")


def is_agent(pod: Pod) -> bool:
    """Tell whether a pod is an agent's: the chart's, or one that a khealth runs itself."""
    return pod.metadata.labels.get(COMPONENT) == AGENT


def of_chart(pod: Pod) -> bool:
    """Tell whether an agent is one of the chart's: those that a khealth runs itself have its label."""
    return is_agent(pod) and RUN not in pod.metadata.labels


def on_host(pod: Pod) -> bool:
    """Tell whether an agent is in the network of its node."""
    return pod.spec.host_network


def count(nodes: Sequence[Node], wanted: int = 0) -> int:
    """Return how many agents to run on nodes that take them; `wanted`, if it is not 0, as far as there are nodes."""
    zones = len({node.metadata.labels.get(ZONE, "") for node in nodes})
    return max(1, min(wanted or PER_ZONE * zones, len(nodes), wanted or MOST))


def manifest(settings: CanarySettings, ownership: Ownership, secret: str) -> Mapping[str, object]:
    """Return an agent's pod of khealth's own, with the Secret of this name."""
    labels = {**ownership.labels, COMPONENT: AGENT}
    metadata = ownership.metadata() | {
        "labels": settings.labelled(labels),
        "annotations": {**settings.marks, **ownership.annotations},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": agent_spec(settings, labels, secret)}


def host_manifest(settings: CanarySettings, ownership: Ownership, secret: str, node: str) -> Mapping[str, object]:
    """Return the same in the network of one node."""
    made = manifest(settings, ownership, secret)
    spec: Mapping[str, Any] = made["spec"]  # type: ignore[assignment]  # it is a mapping
    return {**made, "spec": {**spec, **HOST, **replace(settings.placement, node=node).affinity}}


def agent_spec(settings: CanarySettings, labels: Mapping[str, str], secret: str) -> Mapping[str, object]:
    """Return the specification of an agent with these labels: it passes the *restricted* Pod Security Standard."""
    mount = Mount("agent", FOLDER, {"secret": {"secretName": secret, "optional": True}})
    spec: dict[str, Any] = {**canary_spec(settings, labels, _COMMAND, (mount,))}
    (container,) = spec["containers"]
    (place,) = container["volumeMounts"]
    (spread,) = spec["topologySpreadConstraints"]
    probe = {
        "httpGet": {"path": "/ready", "port": PORT},
        "periodSeconds": PERIOD,
        "failureThreshold": FAILURES,
        "timeoutSeconds": PATIENCE,
    }
    own = {
        "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in _FIELDS.items()],
        "ports": [{"name": f"agent-{of.lower()}", "containerPort": PORT, "protocol": of} for of in ("TCP", "UDP")],
        "readinessProbe": probe,
        "volumeMounts": [{**place, "readOnly": True}],
    }
    return {
        **spec,
        "restartPolicy": "Always",
        "topologySpreadConstraints": [{**spread, "topologyKey": ZONE}, spread],
        "containers": [{**container, **own}],
    }
