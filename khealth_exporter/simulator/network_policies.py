"""Defaults and validation (422) of NetworkPolicies, with the real API server's messages."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator import pod_rules, services
from khealth_exporter.simulator.documents import Document, spec_of
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.pod_rules import invalid, required, unsupported

INGRESS: Final = "Ingress"
EGRESS: Final = "Egress"
_DIRECTIONS: Final = (("ingress", "from"), ("egress", "to"))
_CIDR_RULE: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def fill(policy: Document) -> Document:
    """Return the policy with its defaults."""
    spec = {"podSelector": {}, **spec_of(policy)}
    for direction, _ in _DIRECTIONS:
        if isinstance(spec.get(direction), list):
            spec[direction] = [_rule(rule) for rule in spec[direction]]
    if not spec.get("policyTypes"):
        spec["policyTypes"] = [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]
    return {**policy, "spec": spec}


def _rule(rule: Document) -> Document:
    ports = rule.get("ports")
    return {**rule, "ports": [{"protocol": "TCP", **port} for port in ports]} if ports else rule


def causes(policy: Document) -> Iterator[Cause]:
    """Yield what is wrong with a policy."""
    spec = spec_of(policy)
    yield from pod_rules.labels(spec["podSelector"].get("matchLabels") or {}, "spec.podSelector.matchLabels")
    for direction, peers in _DIRECTIONS:
        for index, rule in enumerate(spec.get(direction) or []):
            yield from _rule_causes(rule, peers, f"spec.{direction}[{index}]")
    for index, kind in enumerate(spec["policyTypes"]):
        if kind not in {INGRESS, EGRESS}:
            yield unsupported(f"spec.policyTypes[{index}]", kind, INGRESS, EGRESS)


def update_causes(_before: Document, after: Document) -> Iterator[Cause]:
    """Yield what is wrong with an update of a policy."""
    return causes(after)


def _rule_causes(rule: Document, peers: str, field: str) -> Iterator[Cause]:
    for index, port in enumerate(rule.get("ports") or []):
        if isinstance(port.get("port"), int):
            yield from services.number(port["port"], f"{field}.ports[{index}].port")
    for index, peer in enumerate(rule.get(peers) or []):
        where = f"{field}.{peers}[{index}]"
        if not peer:
            yield required(where, "must specify a peer")
        elif "ipBlock" in peer and len(peer) > 1:
            why = "Forbidden: may not specify both ipBlock and another peer"
            yield Cause("FieldValueForbidden", why, where)
        elif "ipBlock" in peer and not _is_network(peer["ipBlock"].get("cidr")):
            yield invalid(f"{where}.ipBlock.cidr", peer["ipBlock"].get("cidr"), _CIDR_RULE)


def _is_network(text: object) -> bool:
    try:
        ipaddress.ip_network(str(text))
    except ValueError:
        return False
    return "/" in str(text)
