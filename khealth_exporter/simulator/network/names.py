"""The names of a cluster, as CoreDNS answers for them."""

import struct
from typing import Final

from khealth_exporter.simulator.controllers.slices import SERVICE_NAME
from khealth_exporter.simulator.documents import Document, labels_of, namespace_of, spec_of
from khealth_exporter.simulator.network import dns
from khealth_exporter.simulator.network.dns import AAAA, SRV, A, Question, Result
from khealth_exporter.simulator.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from khealth_exporter.simulator.services import EXTERNAL_NAME, HEADLESS
from khealth_exporter.simulator.store import Store

DOMAIN: Final = "cluster.local."
_SERVICES: Final = ["svc", "cluster", "local"]
_ADDRESSES: Final = {A: 4, AAAA: 6}
_ABROAD: Final = {f"example.{domain}.": ("192.0.2.80", "2001:db8::80") for domain in ("com", "net", "org")}
"""The names outside the cluster that are known, with addresses for documentation (RFC 5737, RFC 3849)."""
_NOTHING: Final = Result(dns.NO_SUCH_NAME)


def look_up(store: Store, question: Question) -> Result:
    """Return what the cluster's DNS servers know about a name."""
    labels = question.name.rstrip(".").split(".")
    if question.name in _ABROAD:
        return _of_kind(question, [dns.address(text) for text in _ABROAD[question.name]])
    if labels[-3:] != _SERVICES:
        return Result() if question.name == DOMAIN else _NOTHING
    given = labels[:-3]
    if not given:
        return Result()
    namespace, rest = given[-1], given[:-1]
    if not rest:
        return Result() if store.get(NAMESPACES, ("", namespace)) is not None else _NOTHING
    service = store.get(SERVICES, (namespace, rest[-1]))
    return _NOTHING if service is None else _of_service(store, question, service, rest[:-1])


def _of_service(store: Store, question: Question, service: Document, before: list[str]) -> Result:
    spec = spec_of(service)
    if spec["type"] == EXTERNAL_NAME:
        return Result(records=((dns.CNAME, dns.encoded(str(spec["externalName"]))),)) if not before else _NOTHING
    if len(before) == 2 and all(label.startswith("_") for label in before):  # noqa: PLR2004  # _port and _protocol
        return _of_port(question, service, before[0][1:], before[1][1:].upper())
    if spec.get("clusterIP") != HEADLESS:
        return _NOTHING if before else _of_kind(question, [dns.address(spec["clusterIP"])])
    known = [
        (endpoint.get("hostname") or address.replace(".", "-"), address)
        for endpoint in _endpoints(store, service)
        for address in endpoint["addresses"]
    ]
    records = [dns.address(address) for name, address in known if not before or [name] == before]
    return _of_kind(question, records) if records else _NOTHING


def _of_port(question: Question, service: Document, name: str, protocol: str) -> Result:
    ports = [
        port
        for port in spec_of(service).get("ports") or []
        if port.get("name") == name and port["protocol"] == protocol
    ]
    if not ports:
        return _NOTHING
    target = dns.encoded(question.name.split(".", 2)[2])
    return _of_kind(question, [(SRV, struct.pack("!3H", 0, 100, port["port"]) + target) for port in ports])


def _of_kind(question: Question, records: list[tuple[int, bytes]]) -> Result:
    return Result(records=tuple(record for record in records if record[0] == question.kind))


def _endpoints(store: Store, service: Document) -> list[Document]:
    """Return the ready endpoints of a Service."""
    ready_anyway = spec_of(service).get("publishNotReadyAddresses")
    return [
        endpoint
        for found in store.all(ENDPOINT_SLICES, namespace_of(service))
        if labels_of(found).get(SERVICE_NAME) == service["metadata"]["name"]
        for endpoint in found.get("endpoints") or []
        if ready_anyway or (endpoint.get("conditions") or {}).get("ready", True)
    ]
