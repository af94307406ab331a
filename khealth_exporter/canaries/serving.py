"""A canary that answers agents: a server behind a Service, or the target of a policy."""

from khealth_exporter.canaries.agents.template import PORT
from khealth_exporter.canaries.bare_canary import Task
from khealth_exporter.canaries.pod_spec import READY_PATH
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace

_PORT_NAME = "agent"


def serving(name: str, linger: float = 0.0) -> Task:
    """Return what a canary does that answers with its name; asked to end, it answers for `linger` seconds.

    It is an agent without a secret: no agent, and no client, gets more from it than its name.
    """
    address = {"name": "KHEALTH_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    probe = {"httpGet": {"path": READY_PATH, "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 2}
    container = {
        "env": [address],
        "ports": [{"name": _PORT_NAME, "containerPort": PORT}],
        # Without it, the pod would be Ready before it listens.
        "readinessProbe": {**probe, "failureThreshold": 3},
    }
    words = ("agent", "--address", "$(KHEALTH_POD_IP)", "--port", str(PORT), "--name", name)
    return Task((*words, "--linger", f"{linger:g}"), container=container)


def place(trace: Trace[Pod] | None) -> tuple[str, str]:
    """Return a pod's address and node, as its kubelet has told them; empty as long as it has not."""
    return (trace.item.status.pod_ip, trace.item.spec.node_name) if trace else ("", "")
