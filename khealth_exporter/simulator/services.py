"""Defaults, validation (422) and addresses of Services, with the real API server's messages."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator import pod_rules
from khealth_exporter.simulator.documents import Document, spec_of
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.network.addresses import Network, service_address
from khealth_exporter.simulator.pod_rules import invalid, required, unsupported
from khealth_exporter.simulator.resources import SERVICES
from khealth_exporter.simulator.store import Store, key_of

HEADLESS: Final = "None"
"""The clusterIP of a Service without an address."""
EXTERNAL_NAME: Final = "ExternalName"
_TYPES: Final = ("ClusterIP", EXTERNAL_NAME, "LoadBalancer", "NodePort")
_WITH_NODE_PORTS: Final = ("LoadBalancer", "NodePort")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_NODE_PORTS: Final = range(30000, 32768)
_HIGHEST_PORT: Final = 65535
_PORT_RULE: Final = f"must be between 1 and {_HIGHEST_PORT}, inclusive"
LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
)
ADDRESS_RULE: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def fill(service: Document) -> Document:
    """Return the Service with its defaults, except its addresses and node ports."""
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **spec_of(service)}
    if isinstance(spec.get("ports"), list):
        spec["ports"] = [_port(port) for port in spec["ports"]]
    if spec["type"] != EXTERNAL_NAME:
        spec = {"internalTrafficPolicy": "Cluster", **spec}
    if spec["type"] in _WITH_NODE_PORTS:
        spec = {"externalTrafficPolicy": "Cluster", **spec}
    if spec["type"] == "LoadBalancer":
        spec = {"allocateLoadBalancerNodePorts": True, **spec}
    return {**service, "spec": spec, "status": {"loadBalancer": {}}}


def _port(port: Document) -> Document:
    return {"protocol": "TCP", "targetPort": port.get("port", 0), **port}


def filled_update(before: Document, after: Document) -> Document:
    """Return an updated Service with the addresses and node ports of the present one where it names none."""
    spec, present = dict(spec_of(after)), spec_of(before)
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(field) and field in present:
            spec[field] = present[field]
    return {**after, "spec": spec}


def allocate(store: Store, network: Network, service: Document, start: int) -> Iterator[Cause]:
    """Give the Service its address and node ports, from a random start on; yield why it cannot have them."""
    spec: Document = service["spec"]
    if spec["type"] == EXTERNAL_NAME:
        return
    others = [spec_of(other) for other in store.all(SERVICES) if key_of(other) != key_of(service)]
    wanted = spec.get("clusterIP")
    if wanted != HEADLESS:
        taken = {str(other.get("clusterIP")) for other in others}
        if wanted:
            yield from _unavailable(network, taken, wanted)
        else:
            spec["clusterIP"] = service_address(network, taken, start) or HEADLESS
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec |= {"ipFamilies": spec.get("ipFamilies") or ["IPv4"]}
    spec |= {"ipFamilyPolicy": spec.get("ipFamilyPolicy") or "SingleStack"}
    if spec["type"] in _WITH_NODE_PORTS:
        used = {port.get("nodePort") for other in others for port in other.get("ports") or []}
        free = (number for number in [*_NODE_PORTS[start % len(_NODE_PORTS) :], *_NODE_PORTS] if number not in used)
        spec["ports"] = [{**port, "nodePort": port.get("nodePort") or next(free)} for port in spec["ports"]]


def _unavailable(network: Network, taken: set[str], wanted: str) -> Iterator[Cause]:
    told = f"failed to allocate IP {wanted}: "
    if ipaddress.ip_address(wanted) not in network:
        yield invalid("spec.clusterIPs", [wanted], f"{told}the provided network does not match the current range")
    elif wanted in taken:
        yield invalid("spec.clusterIPs", [wanted], f"{told}provided IP is already allocated")


def causes(service: Document) -> Iterator[Cause]:
    """Yield what is wrong with a Service."""
    spec = spec_of(service)
    kind, address = spec["type"], spec.get("clusterIP")
    if kind not in _TYPES:
        yield unsupported("spec.type", kind, *_TYPES)
    elif kind == EXTERNAL_NAME:
        if not spec.get("externalName"):
            yield required("spec.externalName")
        return
    yield from pod_rules.labels(spec.get("selector") or {}, "spec.selector")
    if address == HEADLESS and kind in _WITH_NODE_PORTS:
        yield invalid("spec.clusterIPs[0]", address, f"may not be set to 'None' for {kind} services")
    elif address not in {None, "", HEADLESS} and not is_address(address):
        yield invalid("spec.clusterIPs[0]", address, ADDRESS_RULE)
    if not spec.get("ports") and address != HEADLESS:
        yield required("spec.ports")
    yield from _ports(spec)


def _ports(spec: Document) -> Iterator[Cause]:
    ports: list[Document] = spec.get("ports") or []
    names: list[object] = []
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        yield from _name(port.get("name"), names, field, needed=len(ports) > 1)
        names.append(port.get("name"))
        yield from number(port.get("port"), f"{field}.port")
        if port["protocol"] not in _PROTOCOLS:
            yield unsupported(f"{field}.protocol", port["protocol"], *_PROTOCOLS)
        if isinstance(port["targetPort"], int):
            yield from number(port["targetPort"], f"{field}.targetPort")
        if port.get("nodePort") and spec["type"] not in _WITH_NODE_PORTS:
            why = f"Forbidden: may not be used when `type` is '{spec['type']}'"
            yield Cause("FieldValueForbidden", why, f"{field}.nodePort")


def _name(name: object, earlier: list[object], field: str, *, needed: bool) -> Iterator[Cause]:
    if not name:
        if needed:
            yield required(f"{field}.name")
        return
    if not re.fullmatch(LABEL, str(name)):
        yield invalid(f"{field}.name", name, LABEL_RULE)
    if name in earlier:
        yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{field}.name")


def number(port: object, field: str) -> Iterator[Cause]:
    """Yield what is wrong with the number of a port."""
    if not isinstance(port, int) or not 0 < port <= _HIGHEST_PORT:
        yield invalid(field, port, _PORT_RULE)


def is_address(text: object) -> bool:
    """Tell whether the text is an IP address."""
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def update_causes(before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of a Service: its address never changes."""
    yield from causes(after)
    given, present = spec_of(after).get("clusterIP"), spec_of(before).get("clusterIP")
    if present and given != present and spec_of(after)["type"] != EXTERNAL_NAME:
        yield invalid("spec.clusterIPs[0]", [given], "may not change once set")
