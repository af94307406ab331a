"""Pods of agents, whose program is that of `small_agent.py`, and what they reach."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from integration.simulator.simulator_client import NAMESPACE, PODS, RESTRICTED, Client, is_ready

from khealth_exporter.simulator import programs
from khealth_exporter.simulator.programs import Launch, Program

PORT = 8079
PATIENCE, SILENCE = 15.0, 0.4
"""Seconds for an answer that must come, and until one that does not come is silence."""
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
_COMMAND = ["python3", "-m", programs.MODULE, "agent", "--address", "$(KHEALTH_POD_IP)", "--port", str(PORT)]
_FIELDS = {"KHEALTH_POD_IP": "status.podIP", "KHEALTH_NODE": "spec.nodeName"}


async def run_small_agent(launch: Launch) -> Program:
    """Start the small agent in place of the real one."""
    program = Path(__file__).with_name("small_agent.py")
    script = launch.arguments[2].replace(
        f'runpy.run_module("{programs.MODULE}", run_name="__main__", alter_sys=True)',
        f'runpy.run_path("{program}", run_name="__main__")',
    )
    return await programs.run(replace(launch, arguments=(*launch.arguments[:2], script, *launch.arguments[3:])))


def agent(name: str, node: str, *arguments: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Any:
    """Return the pod of an agent on a node."""
    container = {
        "name": "canary",
        "image": "khealth:simulated",
        "command": [*_COMMAND, "--secret-file", "/etc/khealth/secret", *arguments],
        "env": [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in _FIELDS.items()],
        "ports": [{"name": "agent", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "failureThreshold": 2, "timeoutSeconds": 1},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "secret", "mountPath": "/etc/khealth"}],
    }
    volume = {"name": "secret", "secret": {"secretName": "agent", "optional": True}}
    basics = {"nodeName": node, "containers": [container], "volumes": [volume]}
    return {
        "metadata": {"name": name, "labels": {"app": "agent", "name": name, **(labels or {})}},
        "spec": basics | spec,
    }


@dataclass(frozen=True)
class Agents:
    """Ready agents by name, and their addresses."""

    client: Client
    addresses: Mapping[str, str]
    seconds: float = PATIENCE
    """How long a try waits for its answer."""

    @property
    def hasty(self) -> Self:
        """The same agents; their tries wait only as long as silence takes."""
        return replace(self, seconds=SILENCE)

    async def ask(self, name: str, path: str) -> str:
        """Return an agent's answer to a request through the API server."""
        return str((await self.client.get(f"{PODS}/{name}:{PORT}/proxy{path}")).body)

    async def attempt(self, name: str, protocol: str, address: str, port: int = PORT, **further: Any) -> str:
        """Let an agent try to reach an address, and return what came of it."""
        asked = {"protocol": protocol, "address": address, "port": port, "seconds": self.seconds, **further}
        return await self.ask(name, "/try?" + "&".join(f"{key}={value}" for key, value in asked.items()))

    async def between(self, protocol: str, **further: Any) -> str:
        """Return what comes of a try from `a` to `b`."""
        return await self.attempt("a", protocol, self.addresses["b"], **further)


async def started(client: Client, *pods: Any) -> Agents:
    """Create agents, and return them when they are ready."""
    addresses = {}
    for pod in pods:
        reply = await client.post(PODS, pod)
        assert reply.code == 201, json.dumps(reply.body)
    for pod in pods:
        name = pod["metadata"]["name"]
        found = await client.reaches(PODS, is_ready, fieldSelector=f"metadata.name={name}")
        addresses[name] = found["status"]["podIP"]
    return Agents(client, addresses)


def service(name: str, port: int = PORT, **spec: Any) -> Any:
    """Return a Service of all agents."""
    basics = {"selector": {"app": "agent"}, "ports": [{"port": port, "targetPort": PORT}]}
    return {"metadata": {"name": name}, "spec": basics | spec}
