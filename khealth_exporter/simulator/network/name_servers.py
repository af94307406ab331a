"""The cluster's DNS: the Service, the Deployment, and what its pods answer."""

import asyncio
import struct
from contextlib import suppress
from typing import Final

from khealth_exporter.simulator.documents import Document, labels_of, phase_of, status_of, uid_of
from khealth_exporter.simulator.network import dns, names
from khealth_exporter.simulator.network.dns import Result
from khealth_exporter.simulator.network.pod_side import real_port
from khealth_exporter.simulator.resources import DEPLOYMENTS, PODS, SERVICES
from khealth_exporter.simulator.settings import FAKE_LABEL
from khealth_exporter.simulator.store import Commit
from khealth_exporter.simulator.world import Component, World

NAMESPACE: Final = "kube-system"
SERVICE: Final = "kube-dns"
IMAGE: Final = "registry.k8s.io/coredns/coredns:v1.15.0"
PORT: Final = 53
_LABELS: Final = {"k8s-app": SERVICE}
_SERVICE_NUMBER: Final = 10
"""The Service's place among the addresses of Services, as in most clusters."""
REPLICAS: Final = 2
_WRONG: Final = dns.address("192.0.2.66")
_LONGEST: Final = 65535


class NameServers(Component):
    """Runs CoreDNS in its pods, and answers at their addresses."""

    def __init__(self, world: World) -> None:
        """Listen to the pods."""
        super().__init__(world)
        self._servers: dict[str, _Server] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        world.store.listen(self._listen)

    def populate(self) -> str:
        """Install the Service and the Deployment, and return the Service's address."""
        address = str(self.world.registry.services[_SERVICE_NUMBER])
        ports = [{"name": name, "port": PORT, "protocol": kind} for name, kind in (("dns", "UDP"), ("dns-tcp", "TCP"))]
        about = {"name": SERVICE, "labels": _LABELS | {"kubernetes.io/name": "CoreDNS"}}
        spec: Document = {"clusterIP": address, "selector": _LABELS, "ports": ports}
        self.world.registry.create(SERVICES, NAMESPACE, {"metadata": about, "spec": spec})
        declared = [{"name": port["name"], "containerPort": PORT, "protocol": port["protocol"]} for port in ports]
        container = {"name": "coredns", "image": IMAGE, "ports": declared}
        real = {"matchExpressions": [{"key": FAKE_LABEL, "operator": "DoesNotExist"}]}
        affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [real]}}
        pod = {
            "dnsPolicy": "Default",
            "priorityClassName": "system-cluster-critical",
            "affinity": {"nodeAffinity": affinity},
            "containers": [container],
        }
        template = {"metadata": {"labels": _LABELS}, "spec": pod}
        deployed = {
            "replicas": REPLICAS if self.world.settings.nodes else 0,
            "selector": {"matchLabels": _LABELS},
            "template": template,
        }
        about = {"name": "coredns", "labels": _LABELS}
        self.world.registry.create(DEPLOYMENTS, NAMESPACE, {"metadata": about, "spec": deployed})
        return address

    async def opened(self) -> None:
        """Wait until every server listens whose pod runs."""
        await asyncio.gather(*self._opening)

    async def close(self) -> None:
        """Stop answering."""
        self._closed = True
        await self.opened()
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def resolver_file(self, namespace: str) -> str:
        """Return the resolver's configuration of a pod in that namespace."""
        domains = [f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
        address = self.world.registry.services[_SERVICE_NUMBER]
        return f"search {' '.join(domains)}\nnameserver {address}\noptions ndots:5\n"

    def _listen(self, commit: Commit) -> None:
        pod = commit.document
        if commit.resource is not PODS or commit.key[0] != NAMESPACE or not _LABELS.items() <= labels_of(pod).items():
            return
        uid = uid_of(pod)
        if commit.kind == "DELETED" or not _runs(pod):
            server = self._servers.pop(uid, None)
            if server is not None:
                server.close()
        elif uid not in self._servers and not self._closed:
            self._servers[uid] = server = _Server(self, uid)
            opening = self.spawn(server.open, str(status_of(pod)["podIP"]))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def answer(self, uid: str, message: bytes, longest: int) -> bytes | None:
        """Return what the server in a pod answers; None if it does not answer."""
        active = self.world.faults.active
        if active("dns-down") or (active("dns-one-down") and uid == min(self._servers)):
            return None
        try:
            question = dns.parse(message)
        except (ValueError, struct.error):
            return dns.malformed(message)
        result = names.look_up(self.world.store, question)
        if active("dns-servfail"):
            result = Result(dns.SERVER_FAILURE)
        elif active("dns-wrong") and any(kind == dns.A for kind, _ in result.records):
            result = Result(records=(_WRONG,))
        return dns.build(question, result, longest=longest)


class _Server(asyncio.DatagramProtocol):
    """The sockets of one pod."""

    def __init__(self, servers: NameServers, uid: str) -> None:
        self._servers, self._uid = servers, uid
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._closed = False

    async def open(self, address: str) -> None:
        """Listen; an address that cannot be had stays without an answer."""
        with suppress(OSError):
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(lambda: self, local_addr=(address, real_port(PORT)))
            self._server = await asyncio.start_server(self._converse, address, real_port(PORT))
        if self._closed:
            self.close()

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        answer = self._servers.answer(self._uid, data, dns.LONGEST_DATAGRAM)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, client)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    answer = self._servers.answer(self._uid, await reader.readexactly(length), _LONGEST)
                    if answer is not None:
                        writer.write(len(answer).to_bytes(2, "big") + answer)
                        await writer.drain()
        finally:
            writer.close()


def _runs(pod: Document) -> bool:
    statuses = status_of(pod).get("containerStatuses") or []
    return bool(statuses) and phase_of(pod) == "Running" and all("running" in found["state"] for found in statuses)
