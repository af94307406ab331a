"""What NetworkPolicies allow, between two pods."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator.documents import Document, labels_of, namespace_of, spec_of, status_of
from khealth_exporter.simulator.network_policies import EGRESS, INGRESS
from khealth_exporter.simulator.selection import label_tests

_PEERS: Final = {INGRESS: ("ingress", "from"), EGRESS: ("egress", "to")}


@dataclass(frozen=True, slots=True)
class Rules:
    """The policies that are in force, and the labels of the namespaces by name."""

    policies: Sequence[Document] = ()
    namespaces: Mapping[str, Mapping[str, str]] | None = None

    def allow(self, source: Document, target: Document) -> bool:
        """Tell whether the source may connect to a port that the target's containers declare."""
        return self._allow(INGRESS, target, source, target) and self._allow(EGRESS, source, target, target)

    def _allow(self, direction: str, selected: Document, peer: Document, target: Document) -> bool:
        policies = [
            policy
            for policy in self.policies
            if namespace_of(policy) == namespace_of(selected)
            and direction in spec_of(policy)["policyTypes"]
            and _matches(spec_of(policy)["podSelector"], labels_of(selected))
        ]
        field, peers = _PEERS[direction]
        return not policies or any(
            self._admits(rule.get(peers) or [], namespace_of(policy), peer) and _opens(rule, target)
            for policy in policies
            for rule in spec_of(policy).get(field) or []
        )

    def _admits(self, peers: Sequence[Document], namespace: str, pod: Document) -> bool:
        return not peers or any(self._is(peer, namespace, pod) for peer in peers)

    def _is(self, peer: Document, namespace: str, pod: Document) -> bool:
        if block := peer.get("ipBlock"):
            address = ipaddress.ip_address(str(status_of(pod).get("podIP")))
            return address in ipaddress.ip_network(block["cidr"]) and not any(
                address in ipaddress.ip_network(left_out) for left_out in block.get("except") or []
            )
        if (selector := peer.get("namespaceSelector")) is not None:
            near = _matches(selector, (self.namespaces or {}).get(namespace_of(pod), {}))
        else:
            near = namespace_of(pod) == namespace
        return near and _matches(peer.get("podSelector") or {}, labels_of(pod))


def _matches(selector: Document, labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector matches; an empty one matches everything."""
    return all(test(labels) for test in label_tests(selector))


def _opens(rule: Document, target: Document) -> bool:
    """Tell whether the rule opens a port of the target's containers."""
    ports = rule.get("ports")
    if not ports:
        return True
    declared = [port for container in spec_of(target)["containers"] for port in container.get("ports") or []]
    return any(_covers(port, found) for port in ports for found in declared)


def _covers(port: Document, declared: Document) -> bool:
    wanted, number = port.get("port"), declared["containerPort"]
    if wanted is None or wanted == declared.get("name"):
        return True
    return isinstance(wanted, int) and wanted <= number <= port.get("endPort", wanted)
