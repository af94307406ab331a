"""The readiness probes of processes: a pod is ready as long as it answers."""

import asyncio
from http import HTTPStatus
from typing import Final

from khealth_exporter.simulator.controllers import pod_status
from khealth_exporter.simulator.controllers.node_agent import NodeAgent
from khealth_exporter.simulator.documents import Document, has_condition, spec_of, status_of
from khealth_exporter.simulator.network.pod_side import real_port
from khealth_exporter.simulator.store import Key

_FIRST_LINE: Final = 1024


class Probes(NodeAgent):
    """Asks the process of a pod whether it is ready."""

    async def follow(self, key: Key, pod: Document, node: str) -> None:
        """Ask again and again, and report whenever the pod becomes ready or not ready."""
        container = spec_of(pod)["containers"][0]
        probe = container["readinessProbe"]
        row, last, period = 0, False, probe["periodSeconds"]
        # A kubelet asks when the container has started; its clock ticks since it has accepted the pod.
        pause = self.world.random.uniform(0.0, period)
        await asyncio.sleep(self.world.scaled(probe.get("initialDelaySeconds", 0)))
        while True:
            await self.unless(node, "never-ready")
            answered = await _answers(container, str(status_of(self.pod(key)).get("podIP")))
            row, last = (row + 1 if answered is last else 1), answered
            await self.turn(node)
            found = self.pod(key)
            if answered and row >= probe["successThreshold"] and not has_condition(found, "Ready"):
                self.report(key, pod_status.became_ready(found, self.world.now()))
            elif not answered and row >= probe["failureThreshold"] and has_condition(found, "Ready"):
                self.report(key, pod_status.became_unready(found, self.world.now()))
            await asyncio.sleep(self.world.scaled(pause))
            pause = period


async def _answers(container: Document, address: str) -> bool:
    """Tell whether the process passes its probe: one that is not over HTTP always does."""
    probe = container["readinessProbe"]
    asked = probe.get("httpGet")
    if asked is None:
        return True
    named = {port.get("name"): port["containerPort"] for port in container.get("ports") or []}
    port = asked["port"] if isinstance(asked["port"], int) else named.get(asked["port"], 0)
    try:
        async with asyncio.timeout(probe["timeoutSeconds"]):
            return await _get(str(asked.get("host") or address), port, str(asked.get("path") or "/"))
    except (OSError, TimeoutError, ValueError, asyncio.LimitOverrunError):
        return False


async def _get(host: str, port: int, path: str) -> bool:
    reader, writer = await asyncio.open_connection(host, real_port(port), limit=_FIRST_LINE)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).split()[1:2]
        return bool(status) and HTTPStatus.OK <= int(status[0]) < HTTPStatus.BAD_REQUEST
    finally:
        writer.transport.abort()
